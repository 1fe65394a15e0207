"""A detector of structures with repeated parts: vertebrae, teeth, ribs.

One heat map for each landmark confuses neighbours that look alike. Here the network finds the members of a
chain by their centres, and from each centre looks to all landmarks of its member at once (centres and corner
vectors: Yi et al. 2020, vertebra-focused landmark detection). Each cell of its map says which member's centre
it is, or none; which of the peaks is which member is then decided for the whole chain
(`raymark.geometry.chains`), with the spacing and direction of the members learned from training images.

What the members are, and which landmarks each has, the landmark types tell: the n-th landmarks of all types
belong to member n (docs/landmarks.md).
"""

import math
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from raymark.core.sections import Section
from raymark.geometry import chains
from raymark.geometry.belief_maps import belief_maps, cell_to_px
from raymark.methods._chain import CHAIN, Chain
from raymark.methods.base import (
    Batch,
    LandmarkNetwork,
    cropped,
    locally_standardised,
    padded,
    total,
)

STRIDE = 4  # image px per cell
CANDIDATES = 2  # for each member
LEAST_BELIEF = 0.02  # that a candidate is any member
CERTAIN = 1e-3  # beliefs are kept this far from 0


class Config(Section):
    """Hyper-parameters of the network."""

    channels: int = Field(16, gt=0, description="channels at half of the image's resolution")
    depth: int = Field(3, ge=1, description="how often the map of a quarter's resolution is halved")
    sigma_px: float = Field(6.0, gt=0, description="deviation of the true centre maps, image px")
    vector_weight: float = Field(1.0, gt=0, description="weight in the loss of the vectors")
    chain: list[list[int | None]] | None = CHAIN


class Output(NamedTuple):
    """`logits` (b, member + 1, row, column), the last for no member; `vectors` (b, part, 2, row, column) px."""

    logits: Tensor
    vectors: Tensor


class Network(LandmarkNetwork):
    """Output: `Output`. A member is where the mean of its visible landmarks is."""

    stride, of_chains = STRIDE, True
    usual: Tensor

    def __init__(self, config: Config, landmark_count: int):
        super().__init__()
        self.config = config
        self.chain = Chain(config.chain or [[number] for number in range(landmark_count)])
        self.members, self.parts = self.chain.members, self.chain.parts
        for name, part in chains.unknown(self.members)._asdict().items():
            self.register_buffer(name, part)
        self.register_buffer("usual", torch.zeros(self.members, self.parts, 2))
        width = 2 * config.channels
        self.trunk = Trunk(config.channels, config.depth)
        # At first almost every cell is of no member.
        self.named = _head(width, F.pad(torch.zeros(self.members), (0, 1), value=6.0))
        self.looking = _head(width, torch.zeros(2 * self.parts))

    @property
    def prior(self) -> chains.ChainPrior:
        return chains.ChainPrior(*(getattr(self, name) for name in chains.ChainPrior._fields))

    def learn_from(self, landmarks: Tensor) -> None:
        points, known = self.chain.by_member(landmarks, torch.isfinite(landmarks).all(-1))
        centres, shown = _centres(points, known)
        centres = centres.masked_fill(~shown[..., None], torch.nan)
        for name, part in chains.learned(centres.double().cpu().numpy())._asdict().items():
            getattr(self, name).copy_(part)
        from_centre = (points - centres[:, :, None]).masked_fill(~known[..., None], torch.nan)
        self.usual.copy_(torch.nan_to_num(from_centre.nanmean(0)))

    def forward(self, image: Tensor) -> Output:
        seen = torch.cat([image, locally_standardised(image)], dim=1)
        features = self.trunk(padded(seen, STRIDE * 2**self.config.depth))
        logits = cropped(self.named(features), image, STRIDE)
        vectors = cropped(self.looking(features), image, STRIDE).unflatten(1, (self.parts, 2))
        usual = self.usual.mean(0)[..., None, None]
        return Output(logits.float(), usual + self.config.sigma_px * vectors.float())

    def loss(self, output: Output, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of which member each cell is, and how far cells near a centre look past its landmarks.

        Both are sums over cells, for each visible member; distances count in deviations of the centre maps.
        """
        points, known = self.chain.by_member(batch.landmarks, batch.visible)
        centres, shown = _centres(points, known)
        near = belief_maps(centres, shown, batch.image.shape[-2:], STRIDE, self.config.sigma_px)
        count = shown.sum().clamp_min(1)
        target = torch.cat([near, (1 - near.sum(1, keepdim=True)).clamp_min(0)], dim=1)
        target = target / target.sum(1, keepdim=True)
        entropy = -(target * output.logits.log_softmax(1)).sum() / count
        weight, member = near.max(1)
        places = cell_to_px(_cells(output.vectors), STRIDE) + output.vectors
        true, seen = (self._at_cells(values, member) for values in (points, known[..., None]))
        away = (places - true).abs().sum(2) * seen[:, :, 0] * weight[:, None]
        vectors = away.sum() / (count * self.parts * self.config.sigma_px)
        parts = {"members": entropy, "vectors": self.config.vector_weight * vectors}
        return total(parts), parts

    def decode(self, output: Output) -> tuple[Tensor, Tensor]:
        """Return points, and as confidence the belief that their member is where the chain has it."""
        belief = output.logits.softmax(1)
        any_member = 1 - belief[:, -1]
        cells, log_odds = self._candidates(belief, any_member)
        places = cell_to_px(cells, STRIDE)
        area_px = float(STRIDE**2) * any_member.shape[-2] * any_member.shape[-1]
        names = chains.named(self.prior, places, log_odds, area_px)
        found, chosen = names >= 0, names.clamp_min(0)[..., None].expand(-1, -1, 2)
        places = chains.completed(self.prior, places.gather(1, chosen), found)
        seen = self._seen_from(output.vectors, any_member, places)
        points = torch.where(found[..., None, None], seen, places[:, :, None] + self.usual)
        confidence = _values(belief, (places - (STRIDE - 1) / 2) / STRIDE).diagonal(dim1=1, dim2=2)
        confidence = (confidence * found)[..., None].expand(-1, -1, self.parts)
        return self.chain.by_landmark(points), self.chain.by_landmark(confidence)

    def _candidates(self, belief: Tensor, any_member: Tensor) -> tuple[Tensor, Tensor]:
        """Return the highest peaks, in cells (b, c, 2), and the log odds (b, c, member) that each is a member."""
        around = F.max_pool2d(any_member[:, None], 3, stride=1, padding=1)[:, 0]
        peaks = any_member.masked_fill(any_member < around, 0).flatten(1)
        height, index = peaks.topk(CANDIDATES * self.members)
        columns = any_member.shape[-1]
        row = index // columns
        cells = torch.stack([index - row * columns, row], dim=-1).to(belief.dtype)
        logs = _values(belief, cells).clamp_min(CERTAIN).log()
        log_odds = logs[..., :-1] - logs[..., -1:]
        return cells, log_odds.masked_fill((height < LEAST_BELIEF)[..., None], chains.NEVER)

    def _seen_from(self, vectors: Tensor, weight: Tensor, places: Tensor) -> Tensor:
        """Return what the cells about places (b, member, 2) px see, by their weight: (b, member, part, 2) px."""
        steps = torch.tensor([(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)], device=places.device)
        cells = (places[:, :, None] - (STRIDE - 1) / 2) / STRIDE + steps
        seen = (cell_to_px(_cells(vectors), STRIDE) + vectors).flatten(1, 2)
        seen = _values(seen, cells.flatten(1, 2)).unflatten(1, (self.members, len(steps)))
        weights = _values(weight[:, None], cells.flatten(1, 2)).unflatten(1, (self.members, -1))
        weights = weights.clamp_min(CERTAIN) / weights.clamp_min(CERTAIN).sum(2, keepdim=True)
        return (seen * weights).sum(2).unflatten(-1, (self.parts, 2))

    def _at_cells(self, values: Tensor, member: Tensor) -> Tensor:
        """Return values (b, member, part, n) of the member (b, row, column) of each cell: (b, part, n, row, column)."""
        index = member.flatten(1)[:, :, None, None].expand(-1, -1, *values.shape[2:])
        return values.gather(1, index).movedim(1, -1).unflatten(-1, member.shape[1:])


class Trunk(nn.Module):
    """Images (b, 2, y, x) become features (b, 2 * channels, row, column) at a quarter of their size."""

    def __init__(self, channels: int, depth: int):
        super().__init__()
        widths = [2 * channels + 2 * channels * level for level in range(depth + 1)]
        self.stem = nn.Sequential(
            *_convolution(2, channels, 5, stride=2), *_convolution(channels, widths[0], 3, stride=2)
        )
        self.down = nn.ModuleList(
            nn.Sequential(*_convolution(before, width, stride=2), *_convolution(width, width))
            for before, width in pairwise(widths)
        )
        self.bottom = nn.Sequential(
            *_convolution(widths[-1], widths[-1]), *_convolution(widths[-1], widths[-1])
        )
        self.narrow = nn.ModuleList(nn.Conv2d(below, above, 1) for above, below in pairwise(widths))
        self.up = nn.ModuleList(nn.Sequential(*_convolution(width, width)) for width in widths[:-1])

    def forward(self, image: Tensor) -> Tensor:
        levels = [self.stem(image)]
        for layer in self.down:
            levels.append(layer(levels[-1]))
        below = self.bottom(levels.pop())
        for narrow, layer in zip(reversed(self.narrow), reversed(self.up), strict=True):
            enlarged = F.interpolate(narrow(below), scale_factor=2.0, mode="bilinear")
            below = layer(enlarged + levels.pop())
        return below


def _head(width: int, start: Tensor) -> nn.Sequential:
    """Return a head that puts out about `start` (channel,) before it has learned anything."""
    last = nn.Conv2d(width, len(start), 1)
    nn.init.normal_(last.weight, std=0.01)
    last.bias = nn.Parameter(start)
    return nn.Sequential(*_convolution(width, width), last)


def _convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return [layer, nn.GroupNorm(math.gcd(outputs, 8), outputs), nn.ReLU(inplace=True)]


def _centres(points: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean (b, member, 2) of each member's known points, and whether it has any (b, member)."""
    count = known.sum(-1)
    total = points.masked_fill(~known[..., None], 0).sum(-2)
    return total / count.clamp_min(1)[..., None], count > 0


def _cells(maps: Tensor) -> Tensor:
    """Return each cell's own place (2, row, column), x and y in cells, of maps (..., row, column)."""
    y, x = (torch.arange(size, device=maps.device) for size in maps.shape[-2:])
    return torch.stack(torch.meshgrid(x, y, indexing="xy"))


def _values(maps: Tensor, cell: Tensor) -> Tensor:
    """Return the values (b, n, channel) of maps (b, channel, row, column) at the nearest cells (b, n, 2)."""
    rows, columns = maps.shape[-2:]
    x, y = cell.round().long().unbind(-1)
    index = y.clamp(0, rows - 1) * columns + x.clamp(0, columns - 1)
    return maps.flatten(2).gather(2, index[:, None].expand(-1, maps.shape[1], -1)).transpose(1, 2)
