"""Where a volume lies as seen from a camera."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from raymark.geometry.camera import Camera


def depth_range_mm(
    shape_xyz: Sequence[int], voxel_to_world: np.ndarray, camera: Camera
) -> tuple[float, float]:
    """Return the least and the greatest depth (mm from the source) of a voxel grid.

    The grid is taken to end one voxel beyond its outermost centres, where an interpolated density
    has fallen to zero.
    """
    corners = np.array(list(product(*((-1, size) for size in shape_xyz))), dtype=np.float64)
    world = corners @ voxel_to_world[:3, :3].T + voxel_to_world[:3, 3]
    depths = (world - camera.source_world_mm) @ camera.world_to_camera[2, :3]
    return float(depths.min()), float(depths.max())
