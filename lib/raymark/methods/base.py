"""The contract between a method and the loop that trains it, and nothing more."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raymark.geometry.belief_maps import belief_maps, belief_shape, cell_to_px
from raymark.methods import definition_of


@dataclass(frozen=True)
class Batch:
    """Training images and everything known about them, all on one device.

    `image` (b, 1, y, x) has zero mean and unit deviation per image; `landmarks` (b, l, 2) is in px as
    (x, y), `visible` (b, l) bool; `K` (b, 3, 3) and `world_to_camera` (b, 4, 4) project
    `landmarks_world` (b, l, 3), in mm, onto `landmarks`, after augmentation too. `channels` lists the
    landmarks of each of the network's channels; None: a channel for each. A second stage in training
    also has `guess` (b, l, 2), the points in px that it is to refine, and `guess_seen` (b, l), whether a
    first stage would have detected each.
    """

    image: Tensor
    landmarks: Tensor
    visible: Tensor
    K: Tensor
    world_to_camera: Tensor
    landmarks_world: Tensor
    channels: tuple[tuple[int, ...], ...] | None = None
    guess: Tensor | None = None
    guess_seen: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on `device`."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        tensors = {name: v.to(device) for name, v in values.items() if isinstance(v, Tensor)}
        return Batch(**values | tensors)


class LandmarkNetwork(nn.Module):
    """What a method's `Network` offers, built as ``Network(config, landmark_count)``.

    `stride`: image px per cell of the network's maps (see `raymark.geometry.belief_maps`). `of_chains`: whether
    all landmarks must be parts of a chain's members, which a key `chain` of its `Config` lists.
    """

    stride: int
    of_chains = False

    def forward(self, image: Tensor) -> Any:
        """Map standardised images (b, 1, y, x) of any size to this method's own kind of output."""
        raise NotImplementedError

    def loss(self, output: Any, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar to minimise and its parts by name; the parts are only recorded."""
        raise NotImplementedError

    def decode(self, output: Any) -> tuple[Tensor, Tensor]:
        """Return points (b, l, 2) in image px as (x, y), and their confidence (b, l)."""
        raise NotImplementedError

    def learn_from(self, landmarks: Tensor) -> None:
        """Take what the training views' landmarks (view, l, 2) px tell, NaN where unknown, before all else."""

    def maps(self, output: Any) -> Tensor | None:
        """Return the belief maps (b, l, row, column) that `decode` reads.

        Only a method with such maps, trained towards `target_maps`, can predict landmark types.
        """
        return None

    def stage_maps(self, output: Any) -> Tensor:
        """Return every stage's belief maps (b, stage, l, row, column).

        Only methods of `raymark.methods.IN_STAGES`, which refine their beliefs in stages, have it.
        """
        raise NotImplementedError


class SecondStage(LandmarkNetwork):
    """A network that refines the points of a `first` one, which is frozen; without one, a mean shape.

    Trained on points with errors like those of the first stage, which the loop draws (`Batch.guess`).
    `shape_px` (l, 2) is the mean of the data set's landmarks, 0 where none is known.
    """

    shape_px: Tensor

    def __init__(self, landmark_count: int):
        super().__init__()
        self.first: LandmarkNetwork | None = None
        self.first_threshold = 0.0
        self.register_buffer("shape_px", torch.zeros(landmark_count, 2))

    def set_first(self, first: LandmarkNetwork, threshold: float) -> None:
        """Take over a trained network, which detects what it is as sure of as `threshold`."""
        self.first, self.first_threshold = first.eval().requires_grad_(False), threshold

    def set_shape(self, shape_px: Tensor) -> None:
        """Take over the mean shape (l, 2) in image px, not finite where unknown."""
        self.shape_px.copy_(torch.nan_to_num(shape_px))

    def train(self, mode: bool = True) -> "SecondStage":
        super().train(mode)
        if self.first is not None:
            self.first.eval()
        return self

    def forward(
        self, image: Tensor, guess: Tensor | None = None, seen: Tensor | None = None
    ) -> Any:
        """Refine points `guess` (b, l, 2) in px, of which those `seen` (b, l) tell of the anatomy.

        Without them these are the points of `first_guess`.
        """
        raise NotImplementedError

    @torch.no_grad()
    def first_guess(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first stage's points (b, l, 2) in px, and which it detects (b, l)."""
        if self.first is None:
            points = self.shape_px.expand(len(image), -1, -1)
            return points, torch.ones_like(points[..., 0], dtype=torch.bool)
        points, confidence = self.first.decode(self.first(image))
        return points.float(), confidence >= self.first_threshold


class Reduced(LandmarkNetwork):
    """A network that has been trained on images reduced `by` a whole number, for images of full size.

    Everything is in px of the full image. Pixels beyond the last whole cell of `by` px are not seen.
    """

    def __init__(self, network: LandmarkNetwork, by: int):
        super().__init__()
        self.network, self.by = network, by
        self.stride = by * network.stride

    def forward(self, image: Tensor) -> Any:
        return self.network(standardised(F.avg_pool2d(image, self.by)))

    def decode(self, output: Any) -> tuple[Tensor, Tensor]:
        points, confidence = self.network.decode(output)
        return cell_to_px(points, self.by), confidence

    def maps(self, output: Any) -> Tensor | None:
        return self.network.maps(output)

    def stage_maps(self, output: Any) -> Tensor:
        return self.network.stage_maps(output)


def reduced(network: LandmarkNetwork, by: int) -> LandmarkNetwork:
    """Return a network that has seen images reduced `by`, 1 or more, for images of full size."""
    return network if by == 1 else Reduced(network, by)


def build(
    module: str, settings: dict, landmark_count: int, seed: int, source: str | Path
) -> LandmarkNetwork:
    """Build the network of the method `module`, initialised from `seed` alone.

    `settings` holds its hyper-parameters; an InputError names `source` and the wrong key. The weights
    are laid out channels last: convolutions are then up to twice as fast on CPUs and GPUs alike.
    """
    definition, config = definition_of(module, settings, source)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: LandmarkNetwork = definition.Network(config, landmark_count)
    # PyTorch takes this keyword, but its signatures leave it out.
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def target_maps(batch: Batch, stride: int, sigma_px: float) -> Tensor:
    """Render what belief maps should be, (b, channel, row, column): a Gaussian per visible landmark.

    Where landmarks share a channel, each cell has the highest of their Gaussians, so that near
    instances keep their peaks apart and at 1.
    """
    shape_yx = batch.image.shape[-2:]
    maps = belief_maps(batch.landmarks, batch.visible, shape_yx, stride, sigma_px)
    if batch.channels is None:
        return maps
    return torch.stack([maps[:, list(members)].amax(1) for members in batch.channels], dim=1)


def squared_errors(points: Tensor, batch: Batch) -> Tensor:
    """Return the squared distances (n,) in px of points (b, channel, 2) from visible landmarks.

    A channel that landmarks share has one point here; it is measured from the nearest of them.
    """
    if batch.channels is None:
        return (points - batch.landmarks).square().sum(-1)[batch.visible]
    nearest = []
    for point, members in zip(points.unbind(1), map(list, batch.channels), strict=True):
        squares = (point[:, None] - batch.landmarks[:, members]).square().sum(-1)
        visible = batch.visible[:, members]
        nearest.append(squares.masked_fill(~visible, torch.inf).amin(1)[visible.any(1)])
    return torch.cat(nearest)


def total(parts: Mapping[str, Tensor]) -> Tensor:
    """Add up the parts of a loss, of which there is at least one."""
    return cast(Tensor, sum(parts.values()))


def start_bias(layer: nn.Conv2d, value: float = 0.0) -> None:
    """Set the bias of a convolution, which must have one."""
    assert layer.bias is not None
    nn.init.constant_(layer.bias, value)


def standardised(image: Tensor) -> Tensor:
    """Shift and scale each image (..., y, x) to zero mean and unit standard deviation.

    Raw intensities of rendered and real X-rays have little in common; this makes them comparable.
    """
    mean = image.mean((-2, -1), keepdim=True)
    return (image - mean) / image.std((-2, -1), keepdim=True, correction=0).clamp_min(1e-6)


def slow_part(image: Tensor) -> Tensor:
    """Return the slow changes of brightness of images (b, 1, y, x): means over about an eighth of the height."""
    by = max(1, image.shape[-2] // 64)
    small = F.avg_pool2d(image, by, ceil_mode=True, count_include_pad=False)
    mean = F.avg_pool2d(F.pad(small, (4, 4, 4, 4), mode="replicate"), 9, stride=1)
    return F.interpolate(mean, size=image.shape[-2:], mode="bilinear")


def locally_standardised(image: Tensor) -> Tensor:
    """Shift and scale images (b, 1, y, x) to zero mean and unit deviation about each pixel.

    Dark lungs and a bright abdomen then show bone alike; what is flat stays so: deviations below a tenth of
    the whole image's count as that.
    """
    away = image - slow_part(image)
    spread = slow_part(away.square()).clamp_min(0).sqrt()
    least = 0.1 * image.std((-2, -1), keepdim=True, correction=0)
    return away / spread.maximum(least).clamp_min(1e-6)


def padded(image: Tensor, multiple: int) -> Tensor:
    """Pad images (b, c, y, x) with zeros, right and below, to sides divisible by `multiple`."""
    height, width = image.shape[-2:]
    return F.pad(image, (0, -width % multiple, 0, -height % multiple))


def cropped(maps: Tensor, image: Tensor, stride: int) -> Tensor:
    """Cut maps (b, l, row, column) of a padded image back to the cells of `image` itself."""
    rows, columns = belief_shape(image.shape[-2:], stride)
    return maps[..., :rows, :columns]
