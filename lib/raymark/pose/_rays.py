"""Kernels of the refinement: rays with their derivatives, and what two images' edges have in common."""

import numpy as np
from numba import njit

from raymark.projectors.joseph import FASTMATH, _apply, _clip

FIELDS = 7  # the image and its derivatives by six motions of the body


@njit(cache=True, nogil=True, fastmath=FASTMATH, error_model="numpy")
def cast(voxels, source, pixel_to_ray, pixel_to_camera, fields, turns, wanted, out):
    """Fill `out` (row, column, 7): line integrals by Joseph's method and their derivatives.

    `voxels` (x, y, z) have a border of two zeros; `source` and `pixel_to_ray` are in voxels, a ray of
    depth 1 mm. The body moves along six fields, each linear along a ray: a field is `fields[k]` at the
    source and changes by `turns[k] @ (column, row, 1)` per mm of depth. A body that moves by d changes
    its density by −∇ρ·d, so the integrals A of ∇ρ and B of depth times ∇ρ give all six. Across the
    slices they are sums of the bilinear slopes; along the ray A has none, and B, by parts, −∫ρ.
    """
    shape = voxels.shape
    flat = voxels.reshape(-1)
    strides = (shape[1] * shape[2], shape[2], 1)
    height, width = wanted.shape
    for row in range(height):
        for column in range(width):
            for field in range(FIELDS):
                out[row, column, field] = 0
            if not wanted[row, column]:
                continue
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
            total = a_u = a_v = b_u = b_v = np.float32(0)
            middle = np.float32((first + last) / 2)
            for k in range(int(first), int(last) + 1):
                at_u, at_v = start_u + slope_u * k, start_v + slope_v * k
                i, j = int(at_u), int(at_v)
                p, q = np.float32(at_u - i), np.float32(at_v - j)
                near = k * strides[axis] + i * strides[u] + j * strides[v]
                far = near + strides[u]
                v00, v01 = flat[near], flat[near + strides[v]]
                v10, v11 = flat[far], flat[far + strides[v]]
                low, high = v00 + q * (v01 - v00), v10 + q * (v11 - v10)
                by_u = high - low
                by_v = v01 - v00 + p * (v11 - v10 - v01 + v00)
                total += low + p * by_u
                a_u += by_u
                a_v += by_v
                b_u += (np.float32(k) - middle) * by_u
                b_v += (np.float32(k) - middle) * by_v
            if total == 0:
                continue
            mm = 1 / ray[axis]  # of depth from slice to slice
            depth = (middle - source[axis]) * mm
            b_u, b_v = depth * a_u + mm * b_u, depth * a_v + mm * b_v
            a_axis = -(slope_u * a_u + slope_v * a_v)
            b_axis = -(mm * total + slope_u * b_u + slope_v * b_v)
            x, y, _ = _apply(pixel_to_camera, column, row)
            length = abs(mm) * np.sqrt(x * x + y * y + 1)
            out[row, column, 0] = length * total
            for k in range(6):
                field, turn = fields[k], _apply(turns[k], column, row)
                out[row, column, k + 1] = -length * (
                    a_axis * field[axis] + a_u * field[u] + a_v * field[v]
                    + b_axis * turn[axis] + b_u * turn[u] + b_v * turn[v]
                )  # fmt: skip


@njit(cache=True, nogil=True, fastmath=FASTMATH, error_model="numpy")
def products(rendered, truth, weight, share, fields, out):
    """Fill `out` (1 + fields, 1 + fields) with the weighted products of edges, X-ray first.

    `rendered` (row, column, field) gives edges by central differences; `truth` (row, column, yx) are
    the X-ray's. All are taken less their mean under `share` (row, column), times `weight`, and
    multiplied under `share`.
    """
    height, width = share.shape
    count = fields + 1
    mean, total = np.zeros((count, 2)), 0.0
    edge = np.zeros((count, 2))
    for row in range(1, height - 1):
        for column in range(1, width - 1):
            part = share[row, column]
            if part > 0:
                _edges(rendered, truth, row, column, fields, edge)
                total += part
                for n in range(count):
                    mean[n, 0] += part * edge[n, 0]
                    mean[n, 1] += part * edge[n, 1]
    mean /= max(total, 1e-30)
    out[:] = 0
    for row in range(1, height - 1):
        for column in range(1, width - 1):
            part = share[row, column] * weight[row, column] ** 2
            if part > 0:
                _edges(rendered, truth, row, column, fields, edge)
                for n in range(count):
                    y, x = part * (edge[n, 0] - mean[n, 0]), part * (edge[n, 1] - mean[n, 1])
                    for m in range(n + 1):
                        out[n, m] += y * (edge[m, 0] - mean[m, 0]) + x * (edge[m, 1] - mean[m, 1])
    for n in range(count):
        for m in range(n):
            out[m, n] = out[n, m]


@njit(inline="always")
def _edges(rendered, truth, row, column, fields, edge):
    edge[0, 0], edge[0, 1] = truth[row, column, 0], truth[row, column, 1]
    for n in range(fields):
        edge[n + 1, 0] = rendered[row + 1, column, n] - rendered[row - 1, column, n]
        edge[n + 1, 1] = rendered[row, column + 1, n] - rendered[row, column - 1, n]
