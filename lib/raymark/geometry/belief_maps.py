"""Belief maps: one Gaussian per landmark on a grid `stride` times coarser than the image.

Cell j of a map covers the pixels ``stride*j`` to ``stride*j + stride - 1``; its centre is at pixel
``stride*j + (stride - 1)/2``. A map has ``ceil(size / stride)`` cells along each axis. The peak is 1
at the landmark's true place, between cell centres or not (Wei 2016; Bier 2018, section 2.1).
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

Array = Any  # a NumPy array or a torch tensor; torch is imported only where tensors come in


def belief_shape(shape_yx: Sequence[int], stride: int) -> tuple[int, int]:
    """Return the (rows, columns) of the belief maps of an image of `shape_yx` px."""
    # Rounded up without negative numbers, which ONNX divides towards zero.
    return (shape_yx[0] + stride - 1) // stride, (shape_yx[1] + stride - 1) // stride


def cell_to_px(cell: Array, stride: float) -> Array:
    """Convert positions in cells to positions in image px."""
    return cell * stride + (stride - 1) / 2


def belief_maps(
    points_px: Array,
    visible: Array,
    shape_yx: Sequence[int],
    stride: int,
    sigma_px: float | Array,
) -> Array:
    """Render belief maps (..., landmark, row, column) of the kind and on the device of `points_px`.

    `points_px` is (..., landmark, 2) as (x, y) in image px, `visible` (..., landmark); a landmark
    that is not visible, or whose position is not finite, has an empty map. `sigma_px` is one number
    in px, or one for each landmark: (..., landmark, 1).
    """
    xp = np if isinstance(points_px, np.ndarray) else import_module("torch")
    present = visible & xp.isfinite(points_px).all(-1)
    points = xp.where(present[..., None], points_px, xp.zeros_like(points_px))
    rows, columns = belief_shape(shape_yx, stride)

    def along(size: int, axis: int) -> Array:
        centres = cell_to_px(np.arange(size), stride)
        centres = xp.asarray(centres, dtype=points.dtype, device=points.device)
        return xp.exp(-((centres - points[..., axis : axis + 1]) ** 2) / (2 * sigma_px**2))

    along_y = along(rows, 1) * present[..., None]
    return along_y[..., :, None] * along(columns, 0)[..., None, :]
