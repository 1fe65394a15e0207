"""The contract between a method and the loop that trains it, and nothing more."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raymark.geometry.belief_maps import belief_maps, belief_shape
from raymark.methods import definition_of


@dataclass(frozen=True)
class Batch:
    """Training images and everything known about them, all on one device.

    `image` (b, 1, y, x) has zero mean and unit deviation per image; `landmarks` (b, l, 2) is in px as
    (x, y), `visible` (b, l) bool; `K` (b, 3, 3) and `world_to_camera` (b, 4, 4) project
    `landmarks_world` (b, l, 3), in mm, onto `landmarks`, after augmentation too. `channels` lists the
    landmarks of each of the network's channels; None: a channel for each.
    """

    image: Tensor
    landmarks: Tensor
    visible: Tensor
    K: Tensor
    world_to_camera: Tensor
    landmarks_world: Tensor
    channels: tuple[tuple[int, ...], ...] | None = None

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on `device`."""
        tensors = [f.name for f in fields(self) if f.name != "channels"]
        return replace(self, **{name: getattr(self, name).to(device) for name in tensors})


class LandmarkNetwork(nn.Module):
    """What a method's `Network` offers, built as ``Network(config, landmark_count)``.

    `stride`: image px per cell of the network's maps (see `raymark.geometry.belief_maps`).
    """

    stride: int

    def forward(self, image: Tensor) -> Any:
        """Map standardised images (b, 1, y, x) of any size to this method's own kind of output."""
        raise NotImplementedError

    def loss(self, output: Any, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar to minimise and its parts by name; the parts are only recorded."""
        raise NotImplementedError

    def decode(self, output: Any) -> tuple[Tensor, Tensor]:
        """Return points (b, l, 2) in image px as (x, y), and their confidence (b, l)."""
        raise NotImplementedError

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


def padded(image: Tensor, multiple: int) -> Tensor:
    """Pad images (b, c, y, x) with zeros, right and below, to sides divisible by `multiple`."""
    height, width = image.shape[-2:]
    return F.pad(image, (0, -width % multiple, 0, -height % multiple))


def cropped(maps: Tensor, image: Tensor, stride: int) -> Tensor:
    """Cut maps (b, l, row, column) of a padded image back to the cells of `image` itself."""
    rows, columns = belief_shape(image.shape[-2:], stride)
    return maps[..., :rows, :columns]
