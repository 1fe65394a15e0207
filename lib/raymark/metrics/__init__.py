"""Metrics: arrays in, numbers out; they know no method and no file."""
