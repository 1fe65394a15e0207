"""Joseph's method, ray by ray: the exact reference on the CPU.

Joseph, "An improved algorithm for reprojecting rays through pixel images", IEEE Trans. Med. Imaging
1(3), 1982, in three dimensions: each ray is cut by the slices across the voxel axis it is most
parallel to, the density there is interpolated bilinearly, and the sum is multiplied by the ray's
length from one slice to the next.
"""

import math

import numpy as np
from numba import njit, prange

from raymark.geometry import Camera

BORDER = 2


class Joseph:
    """Line integrals by Joseph's method; same interface and frame as every projector.

    Outside the grid the density is zero, as if the grid went on with voxels of zero: linear
    interpolation brings it from a border voxel's value to zero over one voxel. The ray starts at
    the source: slices behind it do not count. The result does not depend on the number of threads.
    """

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


@njit(parallel=True, cache=True)
def _integrate(voxels, shape, source, pixel_to_ray, pixel_to_camera, image):
    """Fill `image` (material, row, column); `voxels` (material, x·y·z) has a border of zeros."""
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    for row in prange(image.shape[1]):
        for column in range(image.shape[2]):
            ray = _apply(pixel_to_ray, column, row)
            axis = np.argmax(np.abs(ray))
            others = (axis + 1) % 3, (axis + 2) % 3
            first, last = 1.0, shape[axis] - 2.0
            if ray[axis] > 0:
                first = max(first, math.floor(source[axis]) + 1)
            else:
                last = min(last, math.ceil(source[axis]) - 1)
            slope = np.empty(2)
            start = np.empty(2)
            for n in range(2):
                other = others[n]
                slope[n] = ray[other] / ray[axis]
                start[n] = source[other] - slope[n] * source[axis]
                # Only where all four neighbours are in the padded grid, which loses nothing.
                low, high = 1.0, shape[other] - 2.0
                if slope[n] != 0:
                    ends = (low - start[n]) / slope[n], (high - start[n]) / slope[n]
                    first, last = max(first, math.ceil(min(ends))), min(last, math.floor(max(ends)))
                elif not low <= start[n] <= high:
                    last = first - 1
            step_mm = _norm(_apply(pixel_to_camera, column, row)) / abs(ray[axis])
            stride, stride_0, stride_1 = strides[axis], strides[others[0]], strides[others[1]]
            for material in range(image.shape[0]):
                total = np.float32(0)
                density = voxels[material]
                for k in range(int(first), int(last) + 1):
                    u, v = start[0] + slope[0] * k, start[1] + slope[1] * k
                    i, j = int(u), int(v)
                    p, q = np.float32(u - i), np.float32(v - j)
                    at = k * stride + i * stride_0 + j * stride_1
                    low = density[at] + q * (density[at + stride_1] - density[at])
                    at += stride_0
                    high = density[at] + q * (density[at + stride_1] - density[at])
                    total += low + p * (high - low)
                image[material, row, column] = total * step_mm


@njit(inline="always")
def _apply(matrix, x, y):
    return matrix[:, 0] * x + matrix[:, 1] * y + matrix[:, 2]


@njit(inline="always")
def _norm(vector):
    return math.sqrt(vector[0] ** 2 + vector[1] ** 2 + vector[2] ** 2)
