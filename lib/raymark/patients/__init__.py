"""Who takes part: the subject sheet, declared downloads, virtual patients."""
