"""Where a landmark becomes a pixel and a belief map, and how a belief map becomes a point again."""
