"""How far points are from where they should be.

All functions take radial errors (n,), the Euclidean distances between predicted and true points in
whatever unit the caller works in. A row without a point has the error NaN: it takes no part in
means, and is a miss for every share of points within a threshold.
"""

import numpy as np

from raymark.metrics.ratio import Ratio


def radial_errors(points: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the Euclidean distances (...,) between points (..., d) and truth (..., d)."""
    return np.linalg.norm(np.asarray(points, float) - np.asarray(truth, float), axis=-1)


def detector_mm(error_px: np.ndarray, pixel_mm: float | np.ndarray) -> np.ndarray:
    """Convert px to mm in the plane of the detector (9.1 px are 5.6 mm in Bier 2018)."""
    return error_px * pixel_mm


def isocentre_mm(
    error_detector_mm: np.ndarray,
    source_to_isocentre_mm: float | np.ndarray,
    source_to_detector_mm: float | np.ndarray,
) -> np.ndarray:
    """Scale mm at the detector to the plane through the isocentre, without its magnification."""
    return error_detector_mm * source_to_isocentre_mm / source_to_detector_mm


def mean_radial_error(errors: np.ndarray) -> Ratio:
    """MRE: the mean of the radial errors (ISBI 2015 cephalometric challenge)."""
    known = np.isfinite(errors)
    return Ratio(np.where(known, errors, 0.0), known.astype(float))


def standard_deviation(errors: np.ndarray) -> float:
    """The population standard deviation of radial errors, as in the ISBI 2015 challenge."""
    known = np.asarray(errors, float)[np.isfinite(errors)]
    return float(known.std()) if known.size else np.nan


def median(errors: np.ndarray) -> float:
    """The median of the radial errors."""
    known = np.asarray(errors, float)[np.isfinite(errors)]
    return float(np.median(known)) if known.size else np.nan


def rmse(errors: np.ndarray) -> Ratio:
    """Root of the mean squared radial error over all rows."""
    known = np.isfinite(errors)
    return Ratio(np.where(known, errors, 0.0) ** 2, known.astype(float), root=True)


def mean_landmark_rmse(errors: np.ndarray, landmark: np.ndarray) -> Ratio:
    """The mean over landmarks (n,) of each landmark's RMSE.

    This, not the RMSE over all points, is the "Mean" column of Table 1 of the pose-estimation-loss
    paper: its eight cells average to the printed mean in every row.
    """
    pooled = rmse(errors)
    _, group_n = np.unique(landmark, return_inverse=True)
    return Ratio(pooled.numerator_n, pooled.denominator_n, root=True, group_n=group_n)


def success_rate(errors: np.ndarray, threshold: float) -> Ratio:
    """SDR: the share of points with an error of at most `threshold` (ISBI 2015, ≤)."""
    errors = np.asarray(errors, float)
    return Ratio((errors <= threshold).astype(float), np.ones(errors.shape))
