"""Predictions against the truth: the tables of errors."""
