"""Whether 3D points lie in the body of their CT, and which mistake would explain it if they do not.

A point belongs to a body: within a few millimetres of it there is tissue, and most landmarks are of
bone. Points in another frame or unit miss both, and hit them once the mistake is undone.
"""

from collections.abc import Callable

import numpy as np

from raymark.ct import Volume

NEAR_MM = 5.0
TISSUE_HU, BONE_HU = -300, 200
ONE_SPOT_MM = 10.0  # no four landmarks of an anatomy lie so close together
FEW, MOST = 0.5, 0.9  # shares of points
CLEARER, CLEARER_POINTS = 0.25, 2  # so many more must lie in the body, or on bone
Change = Callable[[np.ndarray, Volume], np.ndarray]


def _from_voxels(points: np.ndarray, volume: Volume) -> np.ndarray:
    return points @ volume.affine[:3, :3].T + volume.affine[:3, 3]


MISTAKES: dict[str, Change] = {
    "LPS taken for RAS": lambda points, _: points * [-1, -1, 1],
    "x counted to the left": lambda points, _: points * [-1, 1, 1],
    "y counted to the back": lambda points, _: points * [1, -1, 1],
    "x and y exchanged": lambda points, _: points[:, [1, 0, 2]],
    "centimetres taken for millimetres": lambda points, _: points * 10,
    "metres taken for millimetres": lambda points, _: points * 1000,
    "LPS centimetres taken for RAS millimetres": lambda points, _: points * [-10, -10, 10],
    "LPS metres taken for RAS millimetres": lambda points, _: points * [-1000, -1000, 1000],
    "voxels taken for millimetres": _from_voxels,
}


def likely_mistake(points_mm: np.ndarray, volume: Volume) -> tuple[str, bool]:
    """Name the mistake that would explain where points (n, 3) lie in their CT; empty where none would.

    The second value says whether it is sure: few points lie in the body as given, nearly all after.
    """
    if not len(points_mm):
        return "", False
    in_body, on_bone = _shares(points_mm, volume)
    margin = max(CLEARER, CLEARER_POINTS / len(points_mm))
    at_one_spot = len(points_mm) > 3 and bool(np.ptp(points_mm, axis=0).max() < ONE_SPOT_MM)
    if at_one_spot:  # wherever that is, the body's points cannot be there
        in_body, on_bone = 0.0, 0.0
    best, explained = "", (in_body, on_bone)
    for name, change in MISTAKES.items():
        if at_one_spot and "metres" not in name:
            continue
        shares = _shares(change(points_mm, volume), volume)
        better = shares[0] >= MOST and sum(shares) > sum(explained) + 1e-9
        clearer = shares[0] >= in_body + margin or (
            shares[1] >= MOST and shares[1] >= on_bone + margin
        )
        if better and clearer:
            best, explained = name, shares
    return best, bool(best) and (in_body < FEW or at_one_spot)


def _shares(points_mm: np.ndarray, volume: Volume) -> tuple[float, float]:
    """Return which share of points has tissue near by, and which has bone."""
    to_voxel = np.linalg.inv(volume.affine)
    middles = points_mm @ to_voxel[:3, :3].T + to_voxel[:3, 3]
    reach = np.maximum(np.ceil(NEAR_MM / volume.spacing_mm), 1)
    shape = np.array(volume.hu_xyz.shape)
    highest = []
    for middle in middles:
        inside = ((middle > -0.5) & (middle < shape - 0.5)).all()
        low = np.clip(np.floor(middle - reach), 0, shape - 1).astype(int)
        high = np.clip(np.ceil(middle + reach), 0, shape - 1).astype(int) + 1
        box = volume.hu_xyz[tuple(map(slice, low, high))]
        highest.append(box.max() if inside else -1024)
    hu = np.array(highest)
    return float((hu > TISSUE_HU).mean()), float((hu > BONE_HU).mean())
