"""How far an estimated pose is from the true one.

Poses are `world_to_camera` (4, 4) in mm with proper rotations, points are (n, 3) in world mm. Errors
are taken in the camera's frame, where depth (z) is what a single X-ray shows worst.
"""

from collections.abc import Sequence

import numpy as np

from raymark.geometry.camera import project

RELIABLE = 0.95  # share of successes down to which a start is within the capture range


def rotation_error_deg(pose: np.ndarray, truth: np.ndarray) -> float:
    """The angle in degrees of the one rotation from the true orientation to the estimated one.

    From the Frobenius norm, which keeps its digits at small angles (Hartley et al. 2013, section 4).
    """
    distance = np.linalg.norm(pose[:3, :3] - truth[:3, :3])
    return float(np.rad2deg(2 * np.arcsin(min(distance / np.sqrt(8), 1.0))))


def translation_error_mm(
    pose: np.ndarray, truth: np.ndarray, isocentre_world_mm: np.ndarray
) -> float:
    """The distance in mm, in the camera's frame, between the isocentre under both poses.

    Of a pose's own translation column, the place of the world's origin, any error of the rotation
    would make a long lever; at the isocentre it is what a C-arm would have to be moved by.
    """
    return mtre_mm(pose, truth, np.asarray(isocentre_world_mm)[None])


def mtre_mm(pose: np.ndarray, truth: np.ndarray, points_world_mm: np.ndarray) -> float:
    """Mean target registration error: the mean distance in mm between points under both poses.

    In the camera's frame, depth included (van de Kraats et al. 2005, for 2D/3D registration).
    """
    motion = pose - truth
    return float(np.linalg.norm(points_world_mm @ motion[:3, :3].T + motion[:3, 3], axis=-1).mean())


def reprojection_error_px(
    K: np.ndarray, pose: np.ndarray, truth: np.ndarray, points_world_mm: np.ndarray
) -> float:
    """The mean distance in px between points projected at both poses; NaN without points.

    A point that the estimated pose puts behind the source makes it NaN.
    """
    if not len(points_world_mm):
        return np.nan
    apart_px = project(K, pose, points_world_mm) - project(K, truth, points_world_mm)
    return float(np.linalg.norm(apart_px, axis=-1).mean())


def capture_range_mm(
    ends_mm: Sequence[float], success_low: Sequence[float], success_high: Sequence[float]
) -> tuple[float, float]:
    """Return between which mm the capture range lies (van de Kraats et al. 2005: it ends where the
    share of successful registrations first falls below `RELIABLE`).

    Both ends of the share's interval are given by bins of the mTRE at the start, the first from 0,
    which end at `ends_mm`, ascending. The range is at least the bins up to which all lower ends are
    `RELIABLE`, and at most those up to which all upper ends are; infinity where these are all bins.
    """
    at_least = _reached_mm(ends_mm, success_low)
    at_most = _reached_mm(ends_mm, success_high)
    return at_least, at_most if at_most < ends_mm[-1] else np.inf


def _reached_mm(ends_mm: Sequence[float], success: Sequence[float]) -> float:
    reached_mm = 0.0
    for end_mm, share in zip(ends_mm, success, strict=True):
        if share < RELIABLE:
            break
        reached_mm = end_mm
    return reached_mm
