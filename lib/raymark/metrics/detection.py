"""Whether landmarks are found: rates over visible landmarks and over detections.

`visible` (n,) says that a landmark lies on the image, `detected` (n,) that a method claims to have
found it, `errors` (n,) is the radial error of its point.
"""

import numpy as np
import pandas as pd

from raymark.metrics.ratio import Ratio


def detection_rate(visible: np.ndarray, detected: np.ndarray) -> Ratio:
    """The share of visible landmarks that are detected."""
    return Ratio((visible & detected).astype(float), np.asarray(visible, float))


def correct_keypoints(
    errors: np.ndarray, visible: np.ndarray, detected: np.ndarray, threshold: float
) -> Ratio:
    """PCK: the share of visible landmarks detected within `threshold` (≤).

    After Yang and Ramanan (2013), with an absolute distance in place of a share of the body's size,
    as LandmarkNet uses it at 8 px. An undetected landmark is a miss, so that a method cannot gain
    by staying silent.
    """
    right = visible & detected & (np.asarray(errors, float) <= threshold)
    return Ratio(right.astype(float), np.asarray(visible, float))


def accuracy(
    errors: np.ndarray, visible: np.ndarray, detected: np.ndarray, threshold: float
) -> Ratio:
    """The share of detected landmarks with an error below `threshold` (<; Bier 2018, 15 px).

    The detection of a landmark that is not on the image counts as a wrong one.
    """
    right = visible & detected & (np.asarray(errors, float) < threshold)
    return Ratio(right.astype(float), np.asarray(detected, float))


def accuracy_by_view(
    table: pd.DataFrame, threshold: float, error: str = "error_px"
) -> pd.DataFrame:
    """Return each view's accuracy (Bier 2018, Fig. 4a).

    `table` has the columns view, visible, detected, and `error` in the unit of `threshold`. The result has one row per view:
    view, accuracy (NaN where nothing is detected), detections (their number).
    """
    share = accuracy(
        table[error].to_numpy(),
        table["visible"].to_numpy(),
        table["detected"].to_numpy(),
        threshold,
    )
    rows = pd.DataFrame(
        {
            "view": table["view"].to_numpy(),
            "right": share.numerator_n,
            "detections": share.denominator_n,
        }
    )
    views = rows.groupby("view", as_index=False, sort=True).sum()
    views["accuracy"] = (views["right"] / views["detections"]).where(views["detections"] > 0)
    return views[["view", "accuracy", "detections"]].astype({"detections": int})


def mean_over_views(accuracies: np.ndarray) -> Ratio:
    """The mean over views of a number per view (v,); views where it is NaN take no part."""
    known = np.isfinite(accuracies)
    return Ratio(np.where(known, accuracies, 0.0), known.astype(float))
