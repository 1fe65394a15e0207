"""From maps to points: maxima, their sub-pixel refinement, and the soft-argmax.

Maps are (..., row, column); positions are (..., 2) as (x, y) in cells, cell centres at integers.
`raymark.beliefs.cell_to_px` turns them into image px. Everything is batched and runs on any device.
"""

import torch
from torch import Tensor


def maximum(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cell of each map's largest value (the first of equals), (..., 2), and the value."""
    value, index = maps.flatten(-2).max(-1)
    columns = maps.shape[-1]
    cell = torch.stack([index % columns, index // columns], dim=-1)
    return cell.to(maps.dtype), value


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
    size = torch.tensor([maps.shape[-1], maps.shape[-2]], device=maps.device)
    inside = (cell > 0) & (cell < size - 1)
    return cell + torch.where(inside & (curvature > 0), shift, torch.zeros_like(shift))


def soft_argmax(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return each map's expected position (..., 2) under ``softmax(logits / temperature)``.

    Differentiable; a small temperature approaches the maximum (registration-loss paper, eq. 1-2).
    """
    rows, columns = logits.shape[-2:]
    weight = (logits.flatten(-2) / temperature).softmax(-1).unflatten(-1, (rows, columns))
    x = torch.arange(columns, dtype=logits.dtype, device=logits.device)
    y = torch.arange(rows, dtype=logits.dtype, device=logits.device)
    return torch.stack([(weight.sum(-2) * x).sum(-1), (weight.sum(-1) * y).sum(-1)], dim=-1)


def _neighbours(maps: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the values at, before and after `cell`, each (..., 2) along x and y; borders repeat."""
    rows, columns = maps.shape[-2:]
    x, y = cell.long().unbind(-1)
    flat = maps.flatten(-2)

    def value(x: Tensor, y: Tensor) -> Tensor:
        index = y.clamp(0, rows - 1) * columns + x.clamp(0, columns - 1)
        return flat.gather(-1, index[..., None])[..., 0]

    here = value(x, y)
    before = torch.stack([value(x - 1, y), value(x, y - 1)], dim=-1)
    after = torch.stack([value(x + 1, y), value(x, y + 1)], dim=-1)
    return torch.stack([here, here], dim=-1), before, after
