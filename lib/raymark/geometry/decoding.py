"""From maps to points: maxima, several of them, their sub-pixel refinement, and the soft-argmax.

Maps are (..., row, column); positions are (..., 2) as (x, y) in cells, cell centres at integers.
`raymark.geometry.belief_maps.cell_to_px` turns them into image px. Everything is batched and runs on any device.
`DECODERS` has each whole decoder, from a belief map to a position and its confidence.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def maximum(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cell of each map's largest value (the first of equals), (..., 2), and the value."""
    value, index = maps.flatten(-2).max(-1)
    columns = maps.shape[-1]
    row = index // columns
    cell = torch.stack([index - row * columns, row], dim=-1)  # ONNX has no % by a varying width
    return cell.to(maps.dtype), value


def peaks(
    maps: Tensor, count: int, distance_cells: float, threshold: float
) -> tuple[Tensor, Tensor]:
    """Return up to `count` instances per map: cells (..., instance, 2), values (..., instance).

    An instance is a cell that no neighbour exceeds, of at least `threshold`, and at least
    `distance_cells` from every higher one taken before it (greedy non-maximum suppression; among
    equals the first in reading order). Values fall; where there are fewer than `count`, the position
    is NaN and the value 0. To refine instances, pass ``maps[..., None, :, :]`` as their maps.
    """
    rows, columns = maps.shape[-2:]
    around = F.max_pool2d(maps.reshape(-1, 1, rows, columns), 3, stride=1, padding=1)
    is_peak = (maps >= around.reshape(maps.shape)) & (maps >= threshold)
    left = torch.where(is_peak, maps, -torch.inf)
    x = torch.arange(columns, device=maps.device)
    y = torch.arange(rows, device=maps.device)[:, None]
    cells, values = [], []
    for _ in range(count):
        cell, value = maximum(left)
        found = torch.isfinite(value)
        cells.append(torch.where(found[..., None], cell, torch.nan))
        values.append(torch.where(found, value, 0))
        from_x, from_y = (x - cell[..., 0, None, None], y - cell[..., 1, None, None])
        near = from_x.square() + from_y.square() < distance_cells**2
        itself = (from_x == 0) & (from_y == 0)
        left = left.masked_fill(near | itself, -torch.inf)
    return torch.stack(cells, dim=-2), torch.stack(values, dim=-1)


def refined_quarter(maps: Tensor, cell: Tensor) -> Tensor:
    """Move each maximum a quarter cell towards its higher neighbour, along x and y.

    The habit of heat-map papers since Newell et al. 2016; biased, kept for comparison.
    """
    _, before, after = _neighbours(maps, cell)
    return cell + 0.25 * torch.sign(after - before)


def refined_log_quadratic(maps: Tensor, cell: Tensor) -> Tensor:
    """Move each maximum to the vertex of the parabola through the logarithms about it.

    Exact for a Gaussian, whatever its width (the idea of Zhang et al. 2020, "DARK", here along x and
    y separately). No move along an axis on which the maximum lies at the map's border.
    """
    tiny = torch.finfo(torch.float32).tiny
    here, before, after = (v.clamp_min(tiny).log() for v in _neighbours(maps, cell))
    curvature = 2 * here - before - after
    shift = 0.5 * (after - before) / curvature.clamp_min(1e-12)
    x, y = cell.unbind(-1)
    inside = torch.stack(
        [(x > 0) & (x < maps.shape[-1] - 1), (y > 0) & (y < maps.shape[-2] - 1)], dim=-1
    )
    return cell + torch.where(inside & (curvature > 0), shift, torch.zeros_like(shift))


def refined_centroid(maps: Tensor, cell: Tensor, radius_cells: int = 2) -> Tensor:
    """Move each maximum to the centre of mass of the square window of `radius_cells` about it.

    Exact for a peak that lies wholly inside the window, and for one that is symmetric about its
    cell; a wider peak is cut off unevenly and drawn towards the maximum. Values below 0, and cells
    beyond the map, weigh nothing; a window without weight does not move.
    """
    steps = range(-radius_cells, radius_cells + 1)
    offsets = torch.tensor([(dx, dy) for dy in steps for dx in steps], device=maps.device)
    x, y = (cell.long()[..., None, :] + offsets).unbind(-1)
    inside = (x >= 0) & (x < maps.shape[-1]) & (y >= 0) & (y < maps.shape[-2])
    weight = _values(maps, x, y).clamp_min(0) * inside
    mass = weight.sum(-1, keepdim=True)
    shift = (weight[..., None] * offsets).sum(-2) / mass.clamp_min(torch.finfo(mass.dtype).tiny)
    return cell + shift


def centre_of_squares(maps: Tensor) -> Tensor:
    """Return the centre of mass (..., 2) of each whole map's squares; values below 0 weigh nothing.

    Exact for one Gaussian away from the border. Of two peaks, the landmark's and that of its like on
    the next vertebra, it takes a place between, nearer to the higher, and so for all corners of a
    vertebra alike; their maxima may lie on different vertebrae, and its tilt is then arbitrary.
    """
    rows, columns = maps.shape[-2:]
    weight = maps.clamp_min(0).square()
    mass = weight.sum((-2, -1)).clamp_min(torch.finfo(maps.dtype).tiny)
    x = torch.arange(columns, dtype=maps.dtype, device=maps.device)
    y = torch.arange(rows, dtype=maps.dtype, device=maps.device)
    along_x, along_y = (weight.sum(-2) * x).sum(-1), (weight.sum(-1) * y).sum(-1)
    return torch.stack([along_x, along_y], dim=-1) / mass[..., None]


def soft_argmax(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return each map's expected position (..., 2) under ``softmax(logits / temperature)``.

    Differentiable; a small temperature approaches the maximum (registration-loss paper, eq. 1-2).
    """
    rows, columns = logits.shape[-2:]
    weight = (logits.flatten(-2) / temperature).softmax(-1).unflatten(-1, (rows, columns))
    x = torch.arange(columns, dtype=logits.dtype, device=logits.device)
    y = torch.arange(rows, dtype=logits.dtype, device=logits.device)
    return torch.stack([(weight.sum(-2) * x).sum(-1), (weight.sum(-1) * y).sum(-1)], dim=-1)


def mass_about(logits: Tensor, cell: Tensor, radius_cells: float = 3.0) -> Tensor:
    """Return the share (...) of ``softmax(logits)`` within `radius_cells` of the position `cell`.

    The confidence of a soft-argmax: 1 for one narrow peak, small for a flat map or for several peaks,
    between which the expected position falls.
    """
    rows, columns = logits.shape[-2:]
    weight = logits.flatten(-2).softmax(-1).unflatten(-1, (rows, columns))
    from_x = torch.arange(columns, device=logits.device) - cell[..., 0, None, None]
    from_y = torch.arange(rows, device=logits.device)[:, None] - cell[..., 1, None, None]
    return (weight * (from_x.square() + from_y.square() <= radius_cells**2)).sum((-2, -1))


Decoder = Callable[[Tensor], tuple[Tensor, Tensor]]


def _refined_maximum(refine: Callable[[Tensor, Tensor], Tensor]) -> Decoder:
    def decode(maps: Tensor) -> tuple[Tensor, Tensor]:
        cell, value = maximum(maps)
        return refine(maps, cell), value

    return decode


def _soft(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Decode belief maps as probabilities: the expected position under the map scaled to sum 1."""
    logits = maps.clamp_min(torch.finfo(maps.dtype).tiny).log()
    cell = soft_argmax(logits)
    return cell, mass_about(logits, cell)


# From belief maps (..., row, column) to positions (..., 2) in cells and confidence (...): the map's
# value at its maximum or, for the soft-argmax, the share of the map about the position.
DECODERS: dict[str, Decoder] = {
    "maximum": maximum,
    "quarter offset": _refined_maximum(refined_quarter),
    "log-quadratic": _refined_maximum(refined_log_quadratic),
    "local centroid": _refined_maximum(refined_centroid),
    "soft-argmax": _soft,
}


def _neighbours(maps: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the values at, before and after `cell`, each (..., 2) along x and y; borders repeat."""
    x, y = cell.long()[..., None].unbind(-2)
    here = _values(maps, x, y)
    before = torch.cat([_values(maps, x - 1, y), _values(maps, x, y - 1)], dim=-1)
    after = torch.cat([_values(maps, x + 1, y), _values(maps, x, y + 1)], dim=-1)
    return torch.cat([here, here], dim=-1), before, after


def _values(maps: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the values (..., place) at the cells `x`, `y` (..., place); beyond a border, its own."""
    rows, columns = maps.shape[-2:]
    index = y.clamp(0, rows - 1) * columns + x.clamp(0, columns - 1)
    return maps.flatten(-2).expand(*index.shape[:-1], -1).gather(-1, index)
