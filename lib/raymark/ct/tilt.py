"""A CT whose gantry was tilted, on a rectangular grid."""

import numpy as np

from raymark.ct.grid import corners_mm, spacing_of
from raymark.ct.values import AIR_HU


def straightened(hu: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Resample HU (3 axes) of a sheared affine (4, 4) linearly to the rectangular grid around it.

    Rows and columns keep their directions and spacing; the third axis becomes their normal, with the
    distance of the slices along it. What lies beside the scan is air.
    """
    from scipy import ndimage

    spacing_mm = spacing_of(affine)
    first, second = affine[:3, 0] / spacing_mm[0], affine[:3, 1] / spacing_mm[1]
    normal = np.cross(first, second)
    normal /= np.linalg.norm(normal)
    normal *= np.sign(normal @ affine[:3, 2])
    axes = np.column_stack(
        [first, np.cross(normal, first) * np.sign(np.cross(normal, first) @ second), normal]
    )
    steps_mm = np.array([spacing_mm[0], spacing_mm[1], normal @ affine[:3, 2]])
    along = corners_mm(affine, hu.shape) @ axes
    low, high = along.min(axis=0), along.max(axis=0)
    shape = tuple(np.ceil((high - low) / steps_mm - 1e-6).astype(int) + 1)
    straight = np.eye(4)
    straight[:3, :3], straight[:3, 3] = axes * steps_mm, axes @ low
    to_old = np.linalg.inv(affine) @ straight
    values = ndimage.affine_transform(
        hu.astype(np.float32), to_old[:3, :3], to_old[:3, 3], shape, order=1, cval=AIR_HU
    )
    return np.rint(values).astype(np.int16), straight
