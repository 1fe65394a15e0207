"""How the anatomy lies about each landmark: turned and scaled against a mean shape.

Vectors of the plane are complex numbers x + iy, held as (..., 2); a similarity without its shift is the
complex number that it multiplies by. Sums and products only, element by element: exact enough under
mixed precision, and known to ONNX.
"""

import torch
from torch import Tensor

SCALES = 0.5, 2.0  # of an anatomy against the mean; what is beyond is an error
STIFFNESS = 0.02  # how much the mean shape counts beside the points


def turned(vectors: Tensor, by: Tensor) -> Tensor:
    """Turn and scale vectors (..., 2) by complex numbers (..., 2)."""
    (x, y), (a, b) = vectors.unbind(-1), by.unbind(-1)
    return torch.stack([a * x - b * y, b * x + a * y], dim=-1)


def inverse_frame(by: Tensor) -> Tensor:
    """Return the complex number (..., 2) that undoes `turned`."""
    a, b = by.unbind(-1)
    return torch.stack([a, -b], dim=-1) / (a.square() + b.square())[..., None]


def nearness(shape_px: Tensor, neighbours: int) -> Tensor:
    """Return how much each landmark (column) tells of the anatomy about each other one (row), 0 to 1.

    A Gaussian of their distance in the shape (l, 2), as wide as the `neighbours`-th nearest is far;
    0 where a landmark of the shape is not finite.
    """
    known = torch.isfinite(shape_px).all(-1)
    distance = (shape_px[:, None] - shape_px).norm(dim=-1)
    pairs = known[:, None] & known
    order = distance.masked_fill(~pairs, torch.inf).sort(dim=-1).values
    widths = torch.where(torch.isfinite(order), order, 0)[:, : neighbours + 1].amax(-1)
    widths = widths.clamp_min(torch.finfo(shape_px.dtype).tiny ** 0.25)[:, None]
    return torch.exp(-(distance / widths).square() / 2).masked_fill(~pairs, 0)


def local_frames(shape_px: Tensor, points_px: Tensor, near: Tensor, seen: Tensor) -> Tensor:
    """Fit the shape (l, 2) to points (b, l, 2) about each landmark; return what turns and scales it.

    `near` (l, l) is the shape's `nearness`, `seen` (b, l) which points count. The result (b, l, 2) is a
    complex number of least squares, drawn to 1 as by `STIFFNESS` of all landmarks in their mean place: it
    is 1 where none counts. Its scale is kept within `SCALES`.
    """
    weights = near * seen[:, None]
    total = weights.sum(-1, keepdim=True).clamp_min(1e-6)
    share = (weights / total)[..., None]
    shape = shape_px - (share * shape_px).sum(-2, keepdim=True)
    points = points_px[:, None] - (share * points_px[:, None]).sum(-2, keepdim=True)
    of_shape = (weights[..., None] * shape.square()).sum((-2, -1))
    conjugate = shape * shape.new_tensor([1.0, -1.0])
    of_both = (weights[..., None] * turned(points, conjugate)).sum(-2)
    apart = (shape_px[:, None] - shape_px).square().sum(-1)
    pull = STIFFNESS * (near * apart).sum(-1).clamp_min(1e-6)
    one = shape.new_tensor([1.0, 0.0])
    fit = (of_both + pull[:, None] * one) / (of_shape + pull)[..., None]
    scale = fit.square().sum(-1, keepdim=True).sqrt().clamp_min(1e-6)
    return fit * (scale.clamp(*SCALES) / scale)
