"""A second stage for any method: small patches of the full image about each point of the first stage.

One small network serves all landmarks and is told which one a patch is of (feature-wise modulation,
Perez et al. 2018). The landmarks of a member of a chain, such as the corners of a vertebra, share one patch.
Beside each patch it sees a wider one, which shows where it lies. Both are turned and
scaled by the anatomy about the landmark: by the similarity that lays its neighbours in the mean shape onto
those that the first stage found. Each further look starts from what the look before found, usually at a
finer pitch. The first stage is frozen, and a part of this network, so that one model file holds both.
"""

import math
from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from raymark.core.sections import Section
from raymark.geometry import decoding
from raymark.geometry.belief_maps import cell_to_px
from raymark.geometry.local_frames import inverse_frame, local_frames, nearness, turned
from raymark.methods._chain import CHAIN, Chain
from raymark.methods.base import Batch, SecondStage, standardised

STRIDE = 2  # patch px per cell of a patch's map
TEMPERATURE = 0.5  # of the soft-argmax: the centre of the squared probabilities


class Config(Section):
    """Hyper-parameters of the second stage."""

    size: int = Field(48, ge=16, multiple_of=8, description="side of a patch, patch px")
    pitches_px: list[Annotated[float, Field(gt=0)]] = Field(
        [4.0, 1.5],
        min_length=1,
        description="image px per patch px where the anatomy has its mean size, one for each look",
    )
    surroundings: float = Field(
        4.0, gt=1, description="a patch is also shown so many times as wide, at the same size"
    )
    neighbours: int = Field(
        6, ge=1, description="a patch is turned and scaled by about so many nearest landmarks"
    )
    channels: int = Field(
        16, gt=0, description="channels at half the patch's resolution; they double twice"
    )
    sigma_cells: float = Field(1.0, gt=0, description="width of the true maps, cells of 2 patch px")
    chain: list[list[int | None]] | None = CHAIN


class Looks(NamedTuple):
    """What each look saw: `centres` and `frames` (look, b, m, 2), `logits` (look, b, m, part, row, column).

    There is a patch for each of m members, about the middle of its landmarks, its parts. A frame is the complex
    number (x, y) px that one patch px to the right becomes in the image. `first_seen` (b, l): whether the
    first stage detected the landmark.
    """

    centres: Tensor
    frames: Tensor
    logits: Tensor
    first_seen: Tensor


class Network(SecondStage):
    """Output: `Looks`. Without a first stage, the mean shape is what it refines."""

    stride = 1
    nearness: Tensor

    def __init__(self, config: Config, landmark_count: int):
        super().__init__(landmark_count)
        self.config = config
        self.chain = Chain(config.chain or [[number] for number in range(landmark_count)])
        self.register_buffer("nearness", torch.zeros(landmark_count, landmark_count))
        kinds = len(config.pitches_px) * self.chain.members
        self.patches = PatchNetwork(config.channels, kinds, self.chain.parts)

    def set_shape(self, shape_px: Tensor) -> None:
        super().set_shape(shape_px)
        self.nearness.copy_(nearness(shape_px, self.config.neighbours))

    def forward(
        self, image: Tensor, guess: Tensor | None = None, seen: Tensor | None = None
    ) -> Looks:
        if guess is None or seen is None:
            guess, seen = self.first_guess(image)
        points, looks = guess, []
        for number, pitch_px in enumerate(self.config.pitches_px):
            frames = local_frames(self.shape_px, points, self.nearness, seen)
            centres, frames = (self.chain.means(part) for part in (points, pitch_px * frames))
            wide = self.config.surroundings
            patches = self.cut(image, centres, frames, pitch_px)
            around = self.cut(image, centres, wide * frames, wide * pitch_px)
            told = self._told(centres, number)
            logits = self.patches(torch.cat([patches, around], dim=1), told)
            logits = logits.float().unflatten(0, centres.shape[:2])
            looks.append((centres, frames, logits))
            points = self._points(*looks[-1]).detach()
        centres, frames, logits = (torch.stack(parts) for parts in zip(*looks, strict=True))
        return Looks(centres, frames, logits, seen)

    def cut(self, image: Tensor, points: Tensor, frames: Tensor, pitch_px: float) -> Tensor:
        """Return patches (b·m, 1, size, size), each standardised; borders of images are repeated.

        Where pixels of a patch, of about `pitch_px`, are coarser than the image's, these are averaged before.
        """
        size, by = self.config.size, max(1, int(pitch_px))
        step = torch.arange(size, device=image.device) - (size - 1) / 2
        steps = torch.stack(torch.meshgrid(step, step, indexing="xy"), dim=-1)
        places = points[:, :, None, None] + turned(steps, frames[:, :, None, None])
        coarse = F.avg_pool2d(image, by, ceil_mode=True) if by > 1 else image
        height, width = coarse.shape[-2:]
        x, y = ((places - (by - 1) / 2) / by).unbind(-1)
        grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
        cut = F.grid_sample(coarse, grid.flatten(1, 2), padding_mode="border", align_corners=False)
        return standardised(cut.unflatten(2, (-1, size)).squeeze(1).flatten(0, 1)[:, None])

    def loss(self, output: Looks, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy from a Gaussian about the true place, of every look; 0 where it is unknown.

        Means over images and landmarks. A place outside of a patch is drawn to its border: the next look
        starts nearer.
        """
        truth, known = self.chain.by_member(batch.landmarks, batch.visible)
        from_centre = truth - output.centres[:, :, :, None]
        cell = self._cell(turned(from_centre, inverse_frame(output.frames)[:, :, :, None]))
        cells = torch.arange(self.config.size // STRIDE, device=cell.device)
        away = (cells - cell.clamp(0, len(cells) - 1)[..., None]).square()
        squares = away[..., 1, :, None] + away[..., 0, None, :]
        target = (-squares / (2 * self.config.sigma_cells**2)).flatten(-2).softmax(-1)
        entropy = -(target * output.logits.flatten(-2).log_softmax(-1)).sum(-1)
        means = (entropy * known).sum((1, 2, 3)) / batch.visible.numel()
        parts = {f"look_{number}": mean for number, mean in enumerate(means)}
        return means.sum(), parts

    def decode(self, output: Looks) -> tuple[Tensor, Tensor]:
        """Return points, and as confidence the share of the last map about the point.

        It is 0 where the first stage did not detect the landmark.
        """
        centres, frames, logits = output.centres[-1], output.frames[-1], output.logits[-1]
        confidence = decoding.mass_about(logits, decoding.soft_argmax(logits, TEMPERATURE))
        points = self._points(centres, frames, logits)
        return points, self.chain.by_landmark(confidence) * output.first_seen

    def _points(self, centres: Tensor, frames: Tensor, logits: Tensor) -> Tensor:
        cell = decoding.soft_argmax(logits, TEMPERATURE)
        from_centre = turned(
            cell_to_px(cell, STRIDE) - (self.config.size - 1) / 2, frames[:, :, None]
        )
        return self.chain.by_landmark(centres[:, :, None] + from_centre)

    def _cell(self, from_centre: Tensor) -> Tensor:
        """Turn places in patch px from a patch's centre into cells of its map."""
        return (from_centre + (self.config.size - 1) / 2 - (STRIDE - 1) / 2) / STRIDE

    def _told(self, centres: Tensor, look: int) -> Tensor:
        """Return the number (b·m,) of each patch's kind: its look and member."""
        count = centres.shape[1]
        kinds = torch.arange(count, device=centres.device) + look * count
        return kinds.expand(centres.shape[:2]).flatten()


class PatchNetwork(nn.Module):
    """Patches and their surroundings (n, 2, y, x), of `kinds` kinds, become maps (n, part, row, column).

    These are of half their size, one for each of `parts`.
    """

    def __init__(self, channels: int, kinds: int, parts: int):
        super().__init__()
        fine, middle, coarse = channels, 2 * channels, 4 * channels
        self.stem = Modulated(2, fine, kinds, kernel=5, stride=STRIDE)
        self.down = nn.ModuleList(
            [Modulated(fine, middle, kinds, stride=2), Modulated(middle, coarse, kinds, stride=2)]
        )
        self.bottom = Modulated(coarse, coarse, kinds)
        self.narrow = nn.ModuleList([nn.Conv2d(coarse, middle, 1), nn.Conv2d(middle, fine, 1)])
        self.up = nn.ModuleList([Modulated(middle, middle, kinds), Modulated(fine, fine, kinds)])
        self.output = nn.Conv2d(fine, parts, 3, padding=1, bias=False)
        nn.init.normal_(self.output.weight, std=0.01)

    def forward(self, patches: Tensor, kind: Tensor) -> Tensor:
        levels = [self.stem(patches, kind)]
        for layer in self.down:
            levels.append(layer(levels[-1], kind))
        below = self.bottom(levels.pop(), kind)
        for narrow, layer in zip(self.narrow, self.up, strict=True):
            enlarged = F.interpolate(narrow(below), scale_factor=2.0, mode="bilinear")
            below = layer(enlarged + levels.pop(), kind)
        return self.output(below)


class Modulated(nn.Module):
    """Convolution, normalisation, a factor and a shift for each kind and channel, ReLU."""

    def __init__(self, inputs: int, outputs: int, kinds: int, kernel: int = 3, stride: int = 1):
        super().__init__()
        self.layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        nn.init.kaiming_normal_(self.layer.weight, nonlinearity="relu")
        self.norm = nn.GroupNorm(math.gcd(outputs, 4), outputs)
        self.by_kind = nn.Parameter(torch.zeros(kinds, 2 * outputs))

    def forward(self, features: Tensor, kind: Tensor) -> Tensor:
        factor, shift = self.by_kind[kind][..., None, None].chunk(2, dim=1)
        return F.relu(self.norm(self.layer(features)) * (1 + factor) + shift)
