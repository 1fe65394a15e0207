"""Data sets as files: shards, what an import wrote, what there is data for."""
