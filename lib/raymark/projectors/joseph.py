"""Joseph's method, ray by ray: the exact reference on the CPU.

Joseph, "An improved algorithm for reprojecting rays through pixel images", IEEE Trans. Med. Imaging
1(3), 1982, in three dimensions: each ray is cut by the slices across the voxel axis it is most
parallel to, the density there is interpolated bilinearly, and the sum is multiplied by the ray's
length from one slice to the next.
"""

import numpy as np
from numba import njit

from raymark.geometry.camera import Camera

BORDER = 2
# Sums may be reordered, but infinity must stay infinity: rays run along the grid's planes.
FASTMATH = {"reassoc", "contract", "arcp", "nsz"}


class Joseph:
    """Line integrals by Joseph's method; same interface and frame as every projector.

    Outside the grid the density is zero, as if the grid went on with voxels of zero: linear
    interpolation brings it from a border voxel's value to zero over one voxel. The ray starts at
    the source: slices behind it do not count. One view uses one thread; several threads may project
    at once.
    """

    side_by_side = True
    interpolates = True

    def __init__(self, density_mxyz: np.ndarray, voxel_to_world: np.ndarray):
        density = np.asarray(density_mxyz, dtype=np.float32)
        self._padded = np.pad(density, ((0, 0), *[(BORDER, BORDER)] * 3))
        self.world_to_voxel = np.linalg.inv(np.asarray(voxel_to_world, dtype=np.float64))

    def project(self, camera: Camera) -> np.ndarray:
        """Return the line integrals (material, row, column), float32, in density times mm."""
        rotation, translation = self.world_to_voxel[:3, :3], self.world_to_voxel[:3, 3]
        image = np.zeros((len(self._padded), *camera.shape_yx), np.float32)
        _integrate(
            self._padded.reshape(len(self._padded), -1),
            np.array(self._padded.shape[1:]),
            rotation @ camera.source_world_mm + translation + BORDER,
            np.ascontiguousarray(rotation @ camera.pixel_to_ray),
            np.linalg.inv(camera.K),
            image,
        )
        return image


@njit(cache=True, nogil=True, fastmath=FASTMATH, error_model="numpy")
def _integrate(voxels, shape, source, pixel_to_ray, pixel_to_camera, image):
    """Fill `image` (material, row, column); `voxels` (material, x·y·z) has a border of zeros."""
    materials, height, width = image.shape
    strides = (shape[1] * shape[2], shape[2], 1)
    for row in range(height):
        for column in range(width):
            ray = _apply(pixel_to_ray, column, row)
            axis, u, v = 0, 1, 2
            if abs(ray[1]) > abs(ray[axis]):
                axis, u, v = 1, 0, 2
            if abs(ray[2]) > abs(ray[axis]):
                axis, u, v = 2, 0, 1
            slope_u, slope_v = ray[u] / ray[axis], ray[v] / ray[axis]
            start_u = source[u] - slope_u * source[axis]
            start_v = source[v] - slope_v * source[axis]
            first, last = 1.0, shape[axis] - 2.0
            if ray[axis] > 0:
                first = max(first, np.floor(source[axis]) + 1)
            else:
                last = min(last, np.ceil(source[axis]) - 1)
            first, last = _clip(first, last, start_u, slope_u, shape[u])
            first, last = _clip(first, last, start_v, slope_v, shape[v])
            a, b, _ = _apply(pixel_to_camera, column, row)
            step_mm = np.sqrt(a * a + b * b + 1) / abs(ray[axis])
            for material in range(materials):
                total = np.float32(0)
                for k in range(int(first), int(last) + 1):
                    at_u, at_v = start_u + slope_u * k, start_v + slope_v * k
                    i, j = int(at_u), int(at_v)
                    p, q = np.float32(at_u - i), np.float32(at_v - j)
                    near = k * strides[axis] + i * strides[u] + j * strides[v]
                    far = near + strides[u]
                    value = voxels[material, near]
                    low = value + q * (voxels[material, near + strides[v]] - value)
                    value = voxels[material, far]
                    high = value + q * (voxels[material, far + strides[v]] - value)
                    total += low + p * (high - low)
                image[material, row, column] = total * np.float32(step_mm)


@njit(inline="always")
def _apply(matrix, x, y):
    return (
        matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2],
        matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2],
        matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2],
    )


@njit(inline="always")
def _clip(first, last, start, slope, size):
    """The slices at which the four voxels about the ray are all in the padded grid.

    What this leaves out is zero: the border is wider than interpolation reaches.
    """
    low, high = 1.0, size - 2.0
    if slope == 0:
        return (first, last) if low <= start <= high else (1.0, 0.0)
    ends = (low - start) / slope, (high - start) / slope
    return max(first, np.ceil(min(ends))), min(last, np.floor(max(ends)))


Projector = Joseph
