"""Belief maps: one Gaussian per landmark on a grid `stride` times coarser than the image.

Cell j of a map covers the pixels ``stride*j`` to ``stride*j + stride - 1``; its centre is at pixel
``stride*j + (stride - 1)/2``. A map has ``ceil(size / stride)`` cells along each axis. The peak is 1
at the landmark's true place, between cell centres or not (Wei 2016; Bier 2018, section 2.1).
"""

import numpy as np
import torch


def belief_shape(shape_yx: tuple[int, int], stride: int) -> tuple[int, int]:
    """Return the (rows, columns) of the belief maps of an image of `shape_yx` px."""
    return -(-shape_yx[0] // stride), -(-shape_yx[1] // stride)


def cell_to_px(cell: torch.Tensor | np.ndarray, stride: int):
    """Convert positions in cells to positions in image px."""
    return cell * stride + (stride - 1) / 2


def belief_maps(
    points_px: torch.Tensor,
    visible: torch.Tensor,
    shape_yx: tuple[int, int],
    stride: int,
    sigma_px: float,
) -> torch.Tensor:
    """Render belief maps (..., landmark, row, column) on the device of `points_px`.

    `points_px` is (..., landmark, 2) as (x, y) in image px, `visible` (..., landmark); a landmark
    that is not visible, or whose position is not finite, has an empty map. `sigma_px` is in image px.
    """
    rows, columns = belief_shape(shape_yx, stride)
    present = visible & torch.isfinite(points_px).all(-1)
    points = torch.where(present[..., None], points_px, torch.zeros_like(points_px))
    centres_x = cell_to_px(torch.arange(columns, device=points.device, dtype=points.dtype), stride)
    centres_y = cell_to_px(torch.arange(rows, device=points.device, dtype=points.dtype), stride)
    along_x = torch.exp(-((centres_x - points[..., 0:1]) ** 2) / (2 * sigma_px**2))
    along_y = torch.exp(-((centres_y - points[..., 1:2]) ** 2) / (2 * sigma_px**2))
    along_y = along_y * present[..., None]
    return along_y[..., :, None] * along_x[..., None, :]
