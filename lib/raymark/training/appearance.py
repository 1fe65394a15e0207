"""Random changes of how an X-ray looks: what lies between the log intensities and the picture of it.

A network that has seen only rendered images fails on real ones for their looks as much as for their
content. Others found these changes to carry over: inverted grey values, blur, letters and collimator edges
painted in (Gao et al. 2023, SyntheX), and slow changes of brightness evened out, as the compression of the
dynamic range in every X-ray system does (Stahl et al. 2000).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from raymark.config.method import Augmentation
from raymark.methods.base import slow_part

BLUR_REACH = 3  # a Gaussian is cut off so many deviations from its middle


@dataclass(frozen=True)
class Look:
    """The random values of one image.

    `evened` is the share of the slow changes of brightness that is taken away, `blur_px` the deviation of a
    Gaussian. `covers` (n, 5) are rectangles painted over: left, top, right, bottom, as shares of the
    image, and the grey value, as a share of the image's range.
    """

    evened: float
    blur_px: float
    covers: np.ndarray
    inverted: bool


def draw_look(config: Augmentation, random: np.random.Generator) -> Look:
    """Draw one image's look; every call takes the same number of values from `random`."""
    evened = config.evened * random.uniform()
    blur_px = config.blur_px * random.uniform()
    inverted = random.uniform() < config.inversion_probability
    letters = _letters(random) if random.uniform() < config.letter_probability else []
    edges = _edges(random) if random.uniform() < config.collimation_probability else []
    return Look(evened, blur_px, np.array([*edges, *letters]).reshape(-1, 5), inverted)


def _letters(random: np.random.Generator) -> list[tuple[float, ...]]:
    """Draw the strokes of a letter of lead, such as the side's."""
    size, left, top = random.uniform(0.02, 0.08), *random.uniform(0, 0.95, 2)
    strokes = random.uniform(0, 0.8, (4, 2))
    upright = random.permutation([True, True, False, False])
    spans = [(0.2, 1.0) if tall else (1.0, 0.2) for tall in upright]
    return [
        (left + x * size, top + y * size, left + (x + w) * size, top + (y + h) * size, 1.0)
        for (x, y), (w, h) in zip(strokes, spans, strict=True)
    ]


def _edges(random: np.random.Generator) -> list[tuple[float, ...]]:
    """Draw what a collimator shuts out on each side."""
    left, top, right, bottom = random.uniform(-0.1, 0.12, 4).clip(0)
    grey = random.uniform(0, 0.1)
    sides = [(0, 0, left, 1), (0, 0, 1, top), (1 - right, 0, 1, 1), (0, 1 - bottom, 1, 1)]
    return [(*side, grey) for side in sides]


def seen_as(image: Tensor, looks: list[Look]) -> Tensor:
    """Return images (b, 1, y, x) as they look after one look each; nothing in them moves."""
    if not any(look.evened or look.blur_px or look.inverted or len(look.covers) for look in looks):
        return image
    evened = torch.tensor([look.evened for look in looks], device=image.device)
    slow = slow_part(image)
    image = image - evened[:, None, None, None].to(image.dtype) * (
        slow - slow.mean((-2, -1), keepdim=True)
    )
    image = torch.stack(
        [_covered(one, look.covers) for one, look in zip(image, looks, strict=True)]
    )
    image = _blurred(image, [look.blur_px for look in looks])
    sign = torch.tensor([-1.0 if look.inverted else 1.0 for look in looks], device=image.device)
    return image * sign[:, None, None, None].to(image.dtype)


def _covered(image: Tensor, covers: np.ndarray) -> Tensor:
    """Paint rectangles over an image (1, y, x)."""
    low, span = image.amin(), image.amax() - image.amin()
    height, width = image.shape[-2:]
    painted = image.clone()
    for left, top, right, bottom, grey in covers:
        rows = slice(round(top * height), round(bottom * height))
        columns = slice(round(left * width), round(right * width))
        painted[:, rows, columns] = low + grey * span
    return painted


def _blurred(image: Tensor, deviations_px: list[float]) -> Tensor:
    """Blur each image (b, 1, y, x) by a Gaussian of its own; borders are repeated."""
    reach = math.ceil(BLUR_REACH * max(deviations_px))
    if not reach:
        return image
    steps = torch.arange(-reach, reach + 1, device=image.device)
    deviations = torch.tensor(deviations_px, device=image.device).clamp_min(1e-3)[:, None]
    weights = torch.exp(-0.5 * (steps / deviations) ** 2)
    weights = weights.masked_fill(
        steps.abs() > BLUR_REACH * deviations, 0
    )  # whatever else is in the batch
    weights = (weights / weights.sum(1, keepdim=True)).to(image.dtype)[:, None]
    together = image.transpose(0, 1)  # each image a channel, with its own kernel
    for kernel, pad in (
        (weights[:, :, None], (reach, reach, 0, 0)),
        (weights[..., None], (0, 0, reach, reach)),
    ):
        together = F.conv2d(F.pad(together, pad, mode="replicate"), kernel, groups=len(image))
    return together.transpose(0, 1)
