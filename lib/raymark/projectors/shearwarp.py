"""Perspective shear-warp: the fast projector for CPUs.

The plan is Lacroute and Levoy's (SIGGRAPH 1994), here for line integrals: the voxel axis most
parallel to the central ray cuts the volume into slices; a regular lattice of rays is followed
through them, so that every slice is resampled separably, across rows, then along them, and added to
one *base image*; a single warp takes the base image to the detector. All of it happens in
voxel indices, where any affine grid is a unit lattice and rays stay straight, so spacing and
orientation cost nothing and lose nothing.

The ray of the lattice with the integer label (j, i) passes slice k at row v and column u,

    v = source_v + j * step_k,    u = source_u + i * step_k,    step_k = PITCH * (k - source_a) / d,

where d is the distance from the source to the middle slice.

Point samples of a slice would put small things up to 0.3 px beside their projection, because samples
that drift against the voxels weigh both sides of a bead unequally. Each sample is therefore the mean
of the voxels, taken as boxes, under a hat as wide as the lattice. These weights add up to one for
every sample, and for every voxel they keep its mass and its centre exactly. For the same reason the
warp interpolates with quadratic B-splines: linear ones beat against the pixels. At half a voxel of
pitch, box, hat and spline together are about as wide as trilinear interpolation (a variance of 0.19
against 0.17 square voxels).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from raymark.geometry.camera import Camera
from raymark.projectors._lanes import LANES
from raymark.projectors._shearwarp_kernels import RUN, TILE_ROWS, sum_slices, warp
from raymark.projectors.joseph import Joseph

PITCH_VOXELS = 0.5  # at the middle slice; the kernels rely on steps below one voxel anywhere
STEEPEST_SLOPE = 2.0
INT16_MAX = np.iinfo(np.int16).max


class ShearWarp:
    """Line integrals by perspective shear-warp; same interface and frame as every projector.

    `density_mxyz` is float32 (material, x, y, z); it is kept, together with int16 copies of it (one
    or two, made when first needed; the rounding is 1/65534 of a material's largest magnitude).

    A view is left to `Joseph`, ray by ray, when slices across one axis cannot serve all its rays:
    the source is between the first and the last slice or within a voxel of them, or a ray at the
    image's corner moves more than `STEEPEST_SLOPE` voxels sideways from one slice to the next.

    One view uses one thread; several threads may project at once.
    """

    side_by_side = True
    interpolates = True

    def __init__(self, density_mxyz: np.ndarray, voxel_to_world: np.ndarray):
        self.density_mxyz = np.asarray(density_mxyz, dtype=np.float32)
        self.voxel_to_world = np.asarray(voxel_to_world, dtype=np.float64)
        self._world_to_voxel = np.linalg.inv(self.voxel_to_world)
        voxels_m = self.density_mxyz.reshape(len(self.density_mxyz), -1)
        magnitude_m = np.maximum(voxels_m.max(axis=1), -voxels_m.min(axis=1))
        self._quantum_m = np.where(magnitude_m > 0, magnitude_m, 1).astype(np.float32) / INT16_MAX

    @cached_property
    def _joseph(self) -> Joseph:
        return Joseph(self.density_mxyz, self.voxel_to_world)

    @cached_property
    def _rows_along_z(self) -> "_Voxels":
        return _Voxels.pack(self.density_mxyz, self._quantum_m, (1, 2, 3))

    @cached_property
    def _rows_along_x(self) -> "_Voxels":
        return _Voxels.pack(self.density_mxyz, self._quantum_m, (3, 2, 1))

    def _across(self, axis: int) -> tuple["_Voxels", list[int]]:
        """The volume cut across voxel axis 0, 1 or 2, and which axes are its slice, row, column."""
        if axis == 0:
            return self._rows_along_z, [0, 1, 2]
        if axis == 1:
            return self._rows_along_z.rows_as_slices, [1, 0, 2]
        return self._rows_along_x, [2, 1, 0]

    def project(self, camera: Camera) -> np.ndarray:
        """Return the line integrals (material, row, column), float32, in density times mm."""
        image = np.zeros((len(self._quantum_m), *camera.shape_yx), np.float32)
        to_voxel = self._world_to_voxel
        right, bottom = camera.width_px - 1, camera.height_px - 1
        pixel_to_ray = to_voxel[:3, :3] @ camera.pixel_to_ray
        central_ray = pixel_to_ray @ (right / 2, bottom / 2, 1)
        voxels, order = self._across(int(np.argmax(np.abs(central_ray))))
        source = (to_voxel[:3, :3] @ camera.source_world_mm + to_voxel[:3, 3])[order]
        pixel_to_ray = pixel_to_ray[order]
        corners = pixel_to_ray @ np.array([[0, right, right, 0], [0, 0, bottom, bottom], [1] * 4])

        ahead = np.sign(central_ray[order[0]])
        slices = np.arange(voxels.shape[1])
        near, far = sorted(ahead * (slices[[0, -1]] - source[0]))
        slopes = corners[1:] / corners[0]
        one_sided = (ahead * corners[0] > 0).all()
        if voxels.empty or (one_sided and far < 0):
            return image
        if near < 1 or not one_sided or np.abs(slopes).max() > STEEPEST_SLOPE:
            return self._joseph.project(camera)

        slope_to_label = ahead * (near + far) / 2 / PITCH_VOXELS
        steps = (slices - source[0]) / slope_to_label
        lattice = _lattice(voxels, source, steps, slopes * slope_to_label)
        if lattice is None:
            return image
        base = np.empty((len(image), *lattice.shape), np.float32)
        sum_slices(
            voxels.values,
            voxels.shape,
            voxels.strides,
            voxels.first,
            voxels.last,
            source,
            steps,
            lattice.corner,
            lattice.first_run,
            lattice.last_run,
            base,
        )
        j, i = lattice.corner
        ray_to_base = np.array([[-j, slope_to_label, 0], [-i, 0, slope_to_label], [1, 0, 0]])
        warp(base, ray_to_base @ pixel_to_ray, np.linalg.inv(camera.K), self._quantum_m, image)
        return image


@dataclass(frozen=True)
class _Voxels:
    """int16 voxels with rows padded to whole vectors, and where each row is not empty.

    `shape` is (material, slice, row, column); `strides` are those of the first three axes, in
    elements of the one-dimensional `values`; columns are contiguous. `first` and `last`
    (material, slice, row) are the first and last vector of a row that holds a non-zero voxel.
    """

    values: np.ndarray
    shape: tuple[int, int, int, int]
    strides: tuple[int, ...]
    first: np.ndarray
    last: np.ndarray

    @classmethod
    def pack(
        cls, density_mxyz: np.ndarray, quantum_m: np.ndarray, order: tuple[int, int, int]
    ) -> "_Voxels":
        """Quantise the density with its three spatial axes in the given order."""
        density = density_mxyz.transpose(0, *order)
        shape = density.shape
        vectors = -(-shape[3] // LANES)
        packed = np.zeros((*shape[:3], vectors * LANES), np.int16)
        for material, quantum in enumerate(quantum_m):
            for index in range(shape[1]):
                packed[material, index, :, : shape[3]] = np.rint(density[material, index] / quantum)
        filled = np.any(packed.reshape(*shape[:3], vectors, LANES), axis=-1)
        empty = ~filled.any(axis=-1)
        first = np.where(empty, vectors, filled.argmax(axis=-1)).astype(np.int32)
        last = np.where(empty, -1, vectors - 1 - filled[..., ::-1].argmax(axis=-1)).astype(np.int32)
        strides = tuple(stride // packed.itemsize for stride in packed.strides[:3])
        return cls(packed.reshape(-1), shape, strides, first, last)

    @cached_property
    def rows_as_slices(self) -> "_Voxels":
        """The same voxels seen with slice and row exchanged."""
        return _Voxels(
            self.values,
            tuple(np.take(self.shape, (0, 2, 1, 3))),
            tuple(np.take(self.strides, (0, 2, 1))),
            np.ascontiguousarray(self.first.swapaxes(1, 2)),
            np.ascontiguousarray(self.last.swapaxes(1, 2)),
        )

    @cached_property
    def empty(self) -> bool:
        return not (self.first <= self.last).any()

    @cached_property
    def box(self) -> np.ndarray:
        """Lowest and highest index (2, 3) along slice, row, column of what is not zero."""
        filled = np.any(self.first <= self.last, axis=0)
        ranges = [np.flatnonzero(filled.any(axis=1 - axis))[[0, -1]] for axis in (0, 1)]
        columns = LANES * self.first.min(), LANES * self.last.max() + LANES - 1
        return np.array([*ranges, columns]).T


@dataclass(frozen=True)
class _Lattice:
    """The part of the lattice of rays that both the volume and the detector see.

    `corner` is the label (j, i) of the base image's first element, `shape` its size, whole tiles by
    whole runs; `first_run` and `last_run` (tile,) say which runs of a tile the detector sees.
    """

    corner: tuple[int, int]
    shape: tuple[int, int]
    first_run: np.ndarray
    last_run: np.ndarray


def _lattice(
    voxels: _Voxels, source: np.ndarray, steps: np.ndarray, detector: np.ndarray
) -> _Lattice | None:
    """Lay the lattice over the volume's shadow within the detector, or None where they miss.

    `source` (3,) in voxels along slice, row, column; `steps` (slice,) in voxels; `detector` (2, 4)
    the labels (j, i) of its corners.
    """
    ends = steps[voxels.box[:, 0]]
    low, high = detector.min(axis=1), detector.max(axis=1)
    for axis in (0, 1):
        faces = voxels.box[:, axis + 1] + np.array([-0.5, 0.5]) - source[axis + 1]
        shadow = np.divide.outer(faces, ends)
        low[axis] = max(low[axis], shadow.min() - 1)
        high[axis] = min(high[axis], shadow.max() + 1)
    if (low > high).any():
        return None
    corner = np.floor(low).astype(np.int64) - 1
    rows, columns = np.floor(high).astype(np.int64) + 3 - corner
    tiles, runs = -(-rows // TILE_ROWS), -(-columns // RUN)
    first_row = corner[0] + TILE_ROWS * np.arange(tiles)
    least, largest = _seen(detector, first_row - 2, first_row + TILE_ROWS + 1) - corner[1]
    return _Lattice(
        (corner[0], corner[1]),
        (tiles * TILE_ROWS, runs * RUN),
        np.clip((least - 2) // RUN, 0, runs).astype(np.int64),
        np.clip((largest + 2) // RUN, -1, runs - 1).astype(np.int64),
    )


def _seen(polygon: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Least and largest i (2, tile) where a convex polygon (2, 4) meets the strips low <= j <= high."""
    (j, i), (j_next, i_next) = polygon[:, :, None], np.roll(polygon, -1, axis=1)[:, :, None]
    rise = np.where(j_next == j, 1e-9, j_next - j)
    part = np.clip((np.stack([low, high])[:, None] - j) / rise, 0, 1)
    ends = i + part * (i_next - i)
    outside = (np.maximum(j, j_next) < low) | (np.minimum(j, j_next) > high)
    least = np.where(outside, np.inf, ends).min(axis=(0, 1))
    largest = np.where(outside, -np.inf, ends).max(axis=(0, 1))
    return np.stack([least, largest])


Projector = ShearWarp
