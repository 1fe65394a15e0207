"""Shares with Wilson's intervals, and medians with quartiles."""

import pandas as pd

from raymark.config.project import Project
from raymark.metrics.bootstrap import wilson_interval


def share(project: Project, key: str, right: pd.Series) -> dict[str, float]:
    """Return the share of rows that are `right`, and the ends of its interval."""
    confidence = project.config.evaluation.confidence
    low, high = wilson_interval(int(right.sum()), len(right), confidence)
    return {key: float(right.mean()), f"{key}_low": low, f"{key}_high": high}


def captured(project: Project, rows: pd.DataFrame) -> dict[str, float]:
    """Return the share of rows that end near the truth."""
    return share(project, "captured", rows["mtre_mm"] < project.config.pose.captured_mm)


def quartiles(key: str, values: pd.Series) -> dict[str, float]:
    """Return the median of the known values, and the quartiles as its ends."""
    low, middle, high = values.dropna().quantile([0.25, 0.5, 0.75])
    return {key: middle, f"{key}_low": low, f"{key}_high": high}
