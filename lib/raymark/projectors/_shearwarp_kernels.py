"""The compiled loops of perspective shear-warp; `shearwarp` says what they compute and why.

Everything hot works on vectors of sixteen (`lanes`). Two things keep gathers out of it. A vector
holds every other sample of a row (`STRIDE`), because samples lie about half a voxel apart: sixteen of
them then need little more than sixteen neighbouring voxels, so interpolation along a row is a short
sum of shifted reads times weights. And the weights of a slice are computed once for a whole tile of
rows. Rows of one tile stay in the first-level cache while all slices pass.

The kernels use one thread and release the interpreter's lock: views are projected side by side.
"""

import numpy as np
from numba import njit

from raymark.projectors._lanes import (
    LANES,
    hat_integral,
    load,
    multiply_add,
    ramp,
    splat,
    store,
    subtract,
)

TILE_ROWS = 24
GROUP_ROWS = 4  # rows that share each read of a weight; the loops spell out four sums
STRIDE = 2
RUN = STRIDE * LANES
# Steps are below one voxel, so a vector spans less than 2 * 15 voxels: these bounds are never met.
MOST_TAPS = LANES + 4
MARGIN = 4 * LANES


@njit(cache=True, nogil=True)
def sum_slices(
    voxels, shape, strides, first, last, source, steps, corner, first_run, last_run, base
):
    """Fill `base` (material, row, column), tile of rows by tile of rows."""
    for material in range(shape[0]):
        for tile in range(len(first_run)):
            _sum_tile(
                voxels[material * strides[0] :],
                (shape[1], shape[2]),
                (strides[1], strides[2]),
                first[material],
                last[material],
                source,
                steps,
                (corner[0] + tile * TILE_ROWS, corner[1]),
                (first_run[tile], last_run[tile]),
                base[material, tile * TILE_ROWS : (tile + 1) * TILE_ROWS],
            )


@njit(cache=True, error_model="numpy")
def _sum_tile(voxels, shape, strides, first, last, source, steps, corner, runs, base):
    """Fill one tile (row, column) of the base image with the sum over all slices."""
    columns = base.shape[1]
    width = strides[1] + 2 * MARGIN
    rows = np.zeros(GROUP_ROWS * width, np.float32)
    weights = np.empty(columns * MOST_TAPS, np.float32)
    offsets = np.empty(columns // LANES, np.int64)
    sums = np.zeros(TILE_ROWS * columns, np.float32)
    for k in range(shape[0]):
        step = steps[k]
        v, u = source[1] + corner[0] * step, source[2] + corner[1] * step
        v_end = v + (TILE_ROWS - 1) * step
        row_low = max(int(np.ceil(v - step - 0.5)), 0)
        row_high = min(int(np.floor(v_end + step + 0.5)), shape[1] - 1)
        low, high = strides[1], -1  # the vectors of the rows that are not all zero
        for row in range(row_low, row_high + 1):
            low, high = min(low, first[k, row]), max(high, last[k, row])
        if low > high:
            continue
        label_low = int(np.floor((low * LANES - 0.5 - u) / step)) - 1
        label_high = int(np.floor((high * LANES + LANES - 0.5 - u) / step)) + 1
        begin = max(label_low // RUN, runs[0]) * STRIDE
        end = min(label_high // RUN, runs[1]) * STRIDE + STRIDE
        if begin >= end:
            continue
        taps = _weigh(u, step, begin, end, weights, offsets)
        # Reads reach beyond what is filled or even beyond the row: there the scratch rows are zero.
        read_low = offsets[begin] // LANES
        read_high = (offsets[end - 1] + taps + LANES - 2) // LANES
        low, high = max(low, read_low), min(high, read_high)
        for group in range(0, TILE_ROWS, GROUP_ROWS):
            for row in range(GROUP_ROWS):
                at = row * width + MARGIN
                for vector in range(read_low, low):
                    store(rows, at + vector * LANES, splat(0))
                for vector in range(high + 1, read_high + 1):
                    store(rows, at + vector * LANES, splat(0))
                v_row = v + (group + row) * step
                _mix_rows(
                    voxels, k * strides[0], strides[1], shape[1], v_row, step, low, high, rows, at
                )
            for vector in range(begin, end):
                at = MARGIN + offsets[vector]
                to = group * columns + vector * LANES
                sum_0 = load(sums, to)
                sum_1 = load(sums, to + columns)
                sum_2 = load(sums, to + 2 * columns)
                sum_3 = load(sums, to + 3 * columns)
                for tap in range(taps):
                    weight = load(weights, (vector * taps + tap) * LANES)
                    sum_0 = multiply_add(load(rows, at + tap), weight, sum_0)
                    sum_1 = multiply_add(load(rows, at + tap + width), weight, sum_1)
                    sum_2 = multiply_add(load(rows, at + tap + 2 * width), weight, sum_2)
                    sum_3 = multiply_add(load(rows, at + tap + 3 * width), weight, sum_3)
                store(sums, to, sum_0)
                store(sums, to + columns, sum_1)
                store(sums, to + 2 * columns, sum_2)
                store(sums, to + 3 * columns, sum_3)
    for row in range(TILE_ROWS):
        for vector in range(columns // LANES):
            for lane in range(LANES):
                column = vector // STRIDE * RUN + lane * STRIDE + vector % STRIDE
                base[row, column] = sums[row * columns + vector * LANES + lane]


@njit(cache=True, error_model="numpy")
def _mix_rows(voxels, slice_at, row_stride, n_rows, v, step, low, high, mixed, to):
    """Write the weighted mean of the voxel rows (at most three) under the hat about row v."""
    row = int(np.ceil(v - step - 0.5))
    edge_0 = _hat_integral((row + 0.5 - v) / step)
    edge_1 = _hat_integral((row + 1.5 - v) / step)
    weight_0 = splat(np.float32(edge_0 if 0 <= row < n_rows else 0.0))
    weight_1 = splat(np.float32(edge_1 - edge_0 if 0 <= row + 1 < n_rows else 0.0))
    weight_2 = splat(np.float32(1.0 - edge_1 if 0 <= row + 2 < n_rows else 0.0))
    at_0 = slice_at + min(max(row, 0), n_rows - 1) * row_stride
    at_1 = slice_at + min(max(row + 1, 0), n_rows - 1) * row_stride
    at_2 = slice_at + min(max(row + 2, 0), n_rows - 1) * row_stride
    for vector in range(low, high + 1):
        at = vector * LANES
        value = multiply_add(load(voxels, at_0 + at), weight_0, splat(0))
        value = multiply_add(load(voxels, at_1 + at), weight_1, value)
        value = multiply_add(load(voxels, at_2 + at), weight_2, value)
        store(mixed, to + at, value)


@njit(inline="always")
def _hat_integral(x):
    x = min(max(x, -1.0), 1.0)
    return 0.5 + x * (1.0 - 0.5 * abs(x))


@njit(cache=True, error_model="numpy")
def _weigh(u, step, begin, end, weights, offsets):
    """Fill weights (vector, tap, lane) and offsets (vector,) of one slice; return the taps.

    Lane l of a vector at x is the sample at x + l · STRIDE · step; its voxels are
    offset + l + tap, each weighted by the part of the hat between the voxel's edges.
    """
    drift = (LANES - 1) * (STRIDE * step - 1)
    slope = np.float32((1 - STRIDE * step) / step)
    taps = int(np.ceil(abs(drift) + 2 * step + 1))
    for vector in range(begin, end):
        x = u + (vector // STRIDE * RUN + vector % STRIDE) * step
        offset = int(np.ceil(min(x, x + drift) - step - 0.5))
        offsets[vector] = offset
        below = hat_integral(ramp(np.float32((offset - 0.5 - x) / step), slope))
        for tap in range(taps):
            above = hat_integral(ramp(np.float32((offset + tap + 0.5 - x) / step), slope))
            store(weights, (vector * taps + tap) * LANES, subtract(above, below))
            below = above
    return taps


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def warp(base, pixel_to_base, pixel_to_camera, quantum_m, image):
    """Fill `image` (material, row, column) from the base image, times mm per slice and quantum.

    `pixel_to_base` (3, 3) is the homography to (row, column) of the base image, its depth the
    voxels along the slice axis per mm of depth. Outside the base image the volume casts no shadow.
    Each pixel weighs 3 × 3 elements by quadratic B-splines.
    """
    materials, height, width = image.shape
    rows, columns = base.shape[1:]
    at = np.empty(width, np.int32)
    part_j, part_i, step_mm = np.empty((3, width), np.float32)
    for y in range(height):
        j_start, i_start, depth_start = pixel_to_base[:, 1] * y + pixel_to_base[:, 2]
        a_start, b_start, _ = pixel_to_camera[:, 1] * y + pixel_to_camera[:, 2]
        for x in range(width):
            reciprocal = 1 / (pixel_to_base[2, 0] * x + depth_start)
            j = (pixel_to_base[0, 0] * x + j_start) * reciprocal
            i = (pixel_to_base[1, 0] * x + i_start) * reciprocal
            a = pixel_to_camera[0, 0] * x + a_start
            b = pixel_to_camera[1, 0] * x + b_start
            inside = (j > 0.5) & (i > 0.5) & (j < rows - 1.5) & (i < columns - 1.5)
            row = min(max(np.int32(j + 0.5), 1), rows - 2)
            column = min(max(np.int32(i + 0.5), 1), columns - 2)
            at[x] = (row - 1) * columns + column - 1
            part_j[x] = j - row
            part_i[x] = i - column
            step_mm[x] = abs(reciprocal) * np.sqrt(a * a + b * b + 1) * inside
        for material in range(materials):
            flat = base[material].reshape(-1)
            for x in range(width):
                below, here, above = _spline(part_i[x])
                n = at[x]
                first = below * flat[n] + here * flat[n + 1] + above * flat[n + 2]
                n += columns
                second = below * flat[n] + here * flat[n + 1] + above * flat[n + 2]
                n += columns
                third = below * flat[n] + here * flat[n + 1] + above * flat[n + 2]
                below, here, above = _spline(part_j[x])
                value = below * first + here * second + above * third
                image[material, y, x] = step_mm[x] * quantum_m[material] * value


@njit(inline="always")
def _spline(part):
    """The quadratic B-spline's weights of the elements before, at and after the nearest one."""
    half, below, above = np.float32(0.5), np.float32(0.5) - part, np.float32(0.5) + part
    return half * below * below, np.float32(0.75) - part * part, half * above * above
