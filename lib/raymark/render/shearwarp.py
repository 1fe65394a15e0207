"""Perspective shear-warp: the fast projector for CPUs.

The idea is Lacroute and Levoy's (SIGGRAPH 1994), here for line integrals: the voxel axis most
parallel to the central ray cuts the volume into slices; a regular lattice of rays is followed
through them, so that every slice is resampled separably, rows first, then columns, and added to one
*base image*; a single bilinear warp takes the base image to the detector. All of it happens in voxel
indices, where any affine grid is a unit lattice and rays stay straight, so spacing and orientation
cost nothing and lose nothing.

A ray of the lattice has the integer label (i, j) and passes slice k at

    u = source_u + i * step_k,    v = source_v + j * step_k,    step_k = pitch * (k - source_a) / d

with d the distance from the source to the middle slice: `pitch` is the lattice's spacing there.

What makes it fast: voxels are int16, rows are read in order, sixteen at a time; sixteen
neighbouring samples need at most a few more than sixteen neighbouring voxels, so interpolation along
a row is a sum of shifted reads times weights and needs no gather; empty ends of rows are skipped.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit, parallel_chunksize, prange

from raymark.geometry import Camera
from raymark.render.joseph import Joseph
from raymark.render.lanes import LANES, hat, load, multiply_add, ramp, splat, store

PITCH_VOXELS = 1.0
STEEPEST_SLOPE = 2.0
TILE_ROWS = 16
GROUP_ROWS = 4
MARGIN = 4 * LANES
INT16_MAX = np.iinfo(np.int16).max


class ShearWarp:
    """Line integrals by perspective shear-warp; same interface and frame as every projector.

    `density_mxyz` is float32 (material, x, y, z); it is kept, together with int16 copies of it (one
    or two, made when first needed; the rounding is 1/65534 of a material's largest magnitude).

    A view is left to `Joseph`, ray by ray, when slices across one axis cannot serve all its rays:
    the source is between the first and the last slice (or within a voxel of them), or a ray at the
    image's corner moves more than `STEEPEST_SLOPE` voxels sideways from one slice to the next.

    The result does not depend on the number of threads, bit by bit.
    """

    def __init__(self, density_mxyz: np.ndarray, voxel_to_world: np.ndarray):
        self.density_mxyz = np.asarray(density_mxyz, dtype=np.float32)
        self.voxel_to_world = np.asarray(voxel_to_world, dtype=np.float64)
        self.world_to_voxel = np.linalg.inv(self.voxel_to_world)
        magnitude_m = np.abs(self.density_mxyz).max(axis=(1, 2, 3))
        self.quantum_m = np.where(magnitude_m > 0, magnitude_m, 1).astype(np.float32) / INT16_MAX

    @cached_property
    def joseph(self) -> Joseph:
        """The exact projector for the views that shear-warp does not serve."""
        return Joseph(self.density_mxyz, self.voxel_to_world)

    @cached_property
    def _rows_along_z(self) -> "_Voxels":
        return _Voxels.pack(self.density_mxyz, self.quantum_m, (1, 2, 3))

    @cached_property
    def _rows_along_x(self) -> "_Voxels":
        return _Voxels.pack(self.density_mxyz, self.quantum_m, (3, 2, 1))

    def _slices(self, axis: int) -> "_Voxels":
        """The volume as (material, slice, row, column) with slices across voxel axis 0, 1 or 2."""
        if axis == 2:
            return self._rows_along_x
        return self._rows_along_z if axis == 0 else self._rows_along_z.rows_as_slices

    def project(self, camera: Camera) -> np.ndarray:
        """Return the line integrals (material, row, column), float32, in density times mm."""
        source = self.world_to_voxel[:3, :3] @ camera.source_world_mm + self.world_to_voxel[:3, 3]
        pixel_to_ray = self.world_to_voxel[:3, :3] @ camera.pixel_to_ray
        right, bottom = camera.width_px - 1, camera.height_px - 1
        centre_ray = pixel_to_ray @ (right / 2, bottom / 2, 1)
        axis = int(np.argmax(np.abs(centre_ray)))
        order = [axis, *((1, 0) if axis == 2 else (1 - axis, 2))]
        voxels = self._slices(axis)
        source, pixel_to_ray, ahead = source[order], pixel_to_ray[order], np.sign(centre_ray[axis])
        corners = pixel_to_ray @ np.array([[0, right, right, 0], [0, 0, bottom, bottom], [1] * 4])
        near, far = sorted(ahead * (np.array([0, voxels.shape[1] - 1]) - source[0]))
        if far < 0 and (ahead * corners[0] > 0).all():
            return np.zeros((len(self.quantum_m), *camera.shape_yx), np.float32)
        slopes = corners[1:] / corners[0]
        if near < 1 or (ahead * corners[0] <= 0).any() or np.abs(slopes).max() > STEEPEST_SLOPE:
            return self.joseph.project(camera)
        distance = ahead * (near + far) / 2
        steps = PITCH_VOXELS * (np.arange(voxels.shape[1]) - source[0]) / distance
        polygon = slopes * distance / PITCH_VOXELS
        base, corner = _base_image(voxels, source, steps, polygon)
        if base.size == 0:
            return np.zeros((len(self.quantum_m), *camera.shape_yx), np.float32)
        slope_to_base = np.array(
            [
                [-corner[0], distance / PITCH_VOXELS, 0],
                [-corner[1], 0, distance / PITCH_VOXELS],
                [1, 0, 0],
            ]
        )
        image = np.empty((len(base), *camera.shape_yx), np.float32)
        # Per slice a ray advances |world direction| / |index direction along the axis| mm.
        _warp(base, slope_to_base @ pixel_to_ray, np.linalg.inv(camera.K), self.quantum_m, image)
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
    strides: tuple[int, int, int]
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
        filled = packed.reshape(*shape[:3], vectors, LANES).any(axis=-1)
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

    @property
    def empty(self) -> bool:
        return not (self.first <= self.last).any()

    @cached_property
    def box(self) -> np.ndarray:
        """Lowest and highest index (2, 3) along slice, row, column outside which all is zero."""
        filled = (self.first <= self.last).any(axis=0)
        ranges = [np.flatnonzero(filled.any(axis=1 - axis))[[0, -1]] for axis in (0, 1)]
        columns = LANES * self.first.min(), LANES * self.last.max() + LANES - 1
        return np.array([*ranges, columns]).T


def _base_image(voxels, source, steps, polygon):
    """Sum the slices along the rays of the lattice that the detector and the volume share.

    `source` (3,) in voxels along slice, row, column; `steps` (slice,); `polygon` (2, 4): the labels
    (j, i) of the detector's corners. Returns the base image (material, row, column) in quanta and
    the labels (j, i) of its first element; the image is empty when there is nothing to see.
    """
    materials = voxels.shape[0]
    if voxels.empty:
        return np.zeros((materials, 0, 0), np.float32), (0, 0)
    ends = steps[voxels.box[:, 0]]
    low, high = np.empty(2), np.empty(2)
    for axis in (0, 1):
        faces = voxels.box[:, axis + 1] + np.array([-1, 1]) - source[axis + 1]
        shadow = np.divide.outer(faces, ends)
        low[axis] = max(shadow.min(), polygon[axis].min())
        high[axis] = min(shadow.max(), polygon[axis].max())
    if (low > high).any():
        return np.zeros((materials, 0, 0), np.float32), (0, 0)
    corner = np.floor(low).astype(np.int64)
    rows, columns = np.floor(high).astype(np.int64) + 2 - corner
    tiles, vectors = -(-rows // TILE_ROWS), -(-columns // LANES)
    first_row = corner[0] + TILE_ROWS * np.arange(tiles)
    seen = _seen(polygon, first_row - 1, first_row + TILE_ROWS) - corner[1]
    seen_vectors = np.clip(
        np.floor([seen[0], seen[1] + 1]) // LANES, [[0], [-1]], [[vectors], [vectors - 1]]
    )
    base = np.zeros((materials, tiles * TILE_ROWS, vectors * LANES), np.float32)
    with parallel_chunksize(1):
        _sum_slices(
            voxels.values,
            voxels.shape,
            voxels.strides,
            voxels.first,
            voxels.last,
            source,
            steps,
            (corner[0], corner[1]),
            np.ascontiguousarray(seen_vectors.T.astype(np.int64)),
            vectors * LANES,
            base.reshape(-1),
        )
    return base, corner


def _seen(polygon, low, high):
    """Least and largest i (2, tile) at which a convex polygon (2, 4) meets strips low <= j <= high."""
    (j, i), (j_next, i_next) = polygon[:, :, None], np.roll(polygon, -1, axis=1)[:, :, None]
    rise = np.where(j_next == j, 1e-9, j_next - j)
    part = np.clip((np.stack([low, high])[:, None] - j) / rise, 0, 1)
    ends = i + part * (i_next - i)
    outside = (np.maximum(j, j_next) < low) | (np.minimum(j, j_next) > high)
    return np.stack(
        [
            np.where(outside, np.inf, ends).min(axis=(0, 1)),
            np.where(outside, -np.inf, ends).max(axis=(0, 1)),
        ]
    )


@njit(parallel=True, cache=True)
def _sum_slices(voxels, shape, strides, first, last, source, steps, corner, seen, columns, base):
    """Fill `base` (material, tile, row, column), flat; tiles of one material are independent."""
    tiles = len(seen)
    for item in prange(shape[0] * tiles):
        material, tile = item // tiles, item % tiles
        _sum_tile(
            voxels[material * strides[0] :],
            (shape[1], shape[2]),
            (strides[1], strides[2]),
            first[material],
            last[material],
            source,
            steps,
            corner[0] + tile * TILE_ROWS,
            corner[1],
            seen[tile],
            columns,
            base[item * TILE_ROWS * columns : (item + 1) * TILE_ROWS * columns],
        )


@njit(cache=True, error_model="numpy")
def _sum_tile(
    voxels, shape, strides, first, last, source, steps, j_first, i_first, seen, columns, base
):
    """Add all slices to one tile (row, column), flat, of the base image.

    Per slice: interpolate between two voxel rows for each of the tile's rows, then along the rows.
    A vector of samples starts at column `offsets` and takes `taps` shifted reads, weighted.
    """
    width = strides[1] + 2 * MARGIN
    rows = np.zeros(GROUP_ROWS * width, np.float32)
    weights = np.empty((columns // LANES) * (LANES + 2) * LANES, np.float32)
    offsets = np.empty(columns // LANES, np.int64)
    for k in range(shape[0]):
        step = steps[k]
        v_low = source[1] + j_first * step
        v_high = source[1] + (j_first + TILE_ROWS - 1) * step
        filled_low, filled_high = shape[1], -1
        for v in range(max(0, int(np.floor(v_low))), min(shape[1], int(np.floor(v_high)) + 2)):
            filled_low, filled_high = min(filled_low, first[k, v]), max(filled_high, last[k, v])
        start = source[2] + i_first * step
        lowest = int(np.floor((filled_low * LANES - 1 - start) / step)) // LANES
        highest = int(np.floor((filled_high * LANES + LANES - start) / step)) // LANES
        lowest, highest = max(lowest, seen[0]), min(highest, seen[1])
        if filled_low > filled_high or lowest > highest:
            continue
        taps = _weigh(start, step, lowest, highest, weights, offsets)
        read_low = offsets[lowest] // LANES
        read_high = (offsets[highest] + taps + LANES - 2) // LANES
        filled_low, filled_high = max(filled_low, read_low), min(filled_high, read_high)
        for group in range(0, TILE_ROWS, GROUP_ROWS):
            for row in range(GROUP_ROWS):
                v = source[1] + (j_first + group + row) * step
                v_floor = int(np.floor(v))
                part = np.float32(v - v_floor)
                upper = part if -1 <= v_floor < shape[1] - 1 else np.float32(0)
                lower = np.float32(1) - part if 0 <= v_floor < shape[1] else np.float32(0)
                low_at = k * strides[0] + min(max(v_floor, 0), shape[1] - 1) * strides[1]
                high_at = k * strides[0] + min(max(v_floor + 1, 0), shape[1] - 1) * strides[1]
                to = row * width + MARGIN
                for vector in range(read_low, filled_low):
                    store(rows, to + vector * LANES, splat(0))
                for vector in range(filled_low, filled_high + 1):
                    at = vector * LANES
                    low = multiply_add(load(voxels, low_at + at), splat(lower), splat(0))
                    mixed = multiply_add(load(voxels, high_at + at), splat(upper), low)
                    store(rows, to + at, mixed)
                for vector in range(filled_high + 1, read_high + 1):
                    store(rows, to + vector * LANES, splat(0))
            for vector in range(lowest, highest + 1):
                at = MARGIN + offsets[vector]
                to = group * columns + vector * LANES
                sum_0 = load(base, to)
                sum_1 = load(base, to + columns)
                sum_2 = load(base, to + 2 * columns)
                sum_3 = load(base, to + 3 * columns)
                for tap in range(taps):
                    weight = load(weights, (vector * taps + tap) * LANES)
                    sum_0 = multiply_add(load(rows, at + tap), weight, sum_0)
                    sum_1 = multiply_add(load(rows, at + tap + width), weight, sum_1)
                    sum_2 = multiply_add(load(rows, at + tap + 2 * width), weight, sum_2)
                    sum_3 = multiply_add(load(rows, at + tap + 3 * width), weight, sum_3)
                store(base, to, sum_0)
                store(base, to + columns, sum_1)
                store(base, to + 2 * columns, sum_2)
                store(base, to + 3 * columns, sum_3)


@njit(cache=True, error_model="numpy")
def _weigh(start, step, lowest, highest, weights, offsets):
    """Fill the weights (vector, tap, lane) and offsets (vector,) of one slice; return the taps.

    Sample `lane` of a vector lies at `x + lane * step` and reads voxels `offset + lane + tap`.
    """
    taps = int(np.ceil((LANES - 1) * abs(step - 1))) + 2
    for vector in range(lowest, highest + 1):
        x = start + vector * LANES * step
        offset = int(np.floor(min(x, x + (LANES - 1) * (step - 1))))
        offsets[vector] = offset
        for tap in range(taps):
            away = ramp(np.float32(x - offset - tap), np.float32(step - 1))
            store(weights, (vector * taps + tap) * LANES, hat(away))
    return taps


@njit(parallel=True, cache=True, fastmath=True, error_model="numpy")
def _warp(base, pixel_to_base, pixel_to_camera, quantum_m, image):
    """Fill `image` (material, row, column) from the base image, times mm per slice and quantum."""
    rows, columns = base.shape[1:]
    for y in prange(image.shape[1]):
        for x in range(image.shape[2]):
            depth = pixel_to_base[2, 0] * x + pixel_to_base[2, 1] * y + pixel_to_base[2, 2]
            j = (pixel_to_base[0, 0] * x + pixel_to_base[0, 1] * y + pixel_to_base[0, 2]) / depth
            i = (pixel_to_base[1, 0] * x + pixel_to_base[1, 1] * y + pixel_to_base[1, 2]) / depth
            a = pixel_to_camera[0, 0] * x + pixel_to_camera[0, 1] * y + pixel_to_camera[0, 2]
            b = pixel_to_camera[1, 0] * x + pixel_to_camera[1, 1] * y + pixel_to_camera[1, 2]
            step_mm = np.sqrt(a * a + b * b + 1) / abs(depth)
            inside = 0 <= j < rows - 1 and 0 <= i < columns - 1
            row, column = (int(j), int(i)) if inside else (0, 0)
            p, q = np.float32(j - row), np.float32(i - column)
            for material in range(image.shape[0]):
                scale = np.float32(step_mm) * quantum_m[material] if inside else np.float32(0)
                low = base[material, row, column] * (1 - q) + base[material, row, column + 1] * q
                high = (
                    base[material, row + 1, column] * (1 - q)
                    + base[material, row + 1, column + 1] * q
                )
                image[material, y, x] = scale * (low * (1 - p) + high * p)
