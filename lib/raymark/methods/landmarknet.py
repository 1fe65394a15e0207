"""LandmarkNet: a residual network, a feature pyramid supervised at each level, and a second one.

Source: "LandmarkNet: a 2D digital radiograph landmark estimator for registration", section Methods,
Figs. 1-2 and Table 1. The first pyramid hands semantically strong features down to fine levels, and
every level predicts heat maps of its own for intermediate supervision. The second brings all levels
to the same number of channels and to one resolution, side by side (D in the paper). From D come the
heat maps and, by two fully connected layers, one weight per landmark that scales its map.
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from raymark.core.sections import Section
from raymark.geometry import decoding
from raymark.geometry.belief_maps import cell_to_px
from raymark.methods._residual import convolution, stage, stem
from raymark.methods.base import (
    Batch,
    LandmarkNetwork,
    cropped,
    padded,
    start_bias,
    target_maps,
    total,
)

LEVEL_STRIDES = (4, 8, 16, 32)


class Config(Section):
    """Hyper-parameters; the defaults are the paper's, except where a description says so."""

    sigma_px: float = Field(
        3.0, gt=0, description="standard deviation of the true heat maps, image px"
    )
    level_sigma_cells: float = Field(
        3.0,
        gt=0,
        description="standard deviation of the true maps of each level, in cells of that level",
    )
    stride: Literal[1, 2, 4] = Field(1, description="image px per cell of the final heat maps")
    blocks: tuple[int, int, int, int] = Field((3, 4, 6, 3), description="bottlenecks of each stage")
    width: int = Field(
        64, gt=0, description="channels inside the first stage's bottlenecks; they double per stage"
    )
    pyramid: int = Field(256, gt=0, description="channels of the first feature pyramid")
    detection: int = Field(128, gt=0, description="channels of each level of the second pyramid")
    gate: int = Field(
        32,
        gt=0,
        description="hidden units of the gate, which weighs each landmark's map; the paper does not say",
    )


class Maps(NamedTuple):
    """Heat maps (b, landmark, row, column): the final ones, and each level's from fine to coarse."""

    final: Tensor
    levels: list[Tensor]


class Network(LandmarkNetwork):
    """Output: `Maps`."""

    def __init__(self, config: Config, landmark_count: int):
        super().__init__()
        self.config = config
        self.stride = config.stride
        widths = [config.width * 2**number for number in range(4)]
        inputs = [config.width, *(4 * width for width in widths)]
        self.stem = stem(config.width)
        self.stages = nn.ModuleList(
            stage(inputs[n], widths[n], stride=2 if n else 1, dilations=(1,) * config.blocks[n])
            for n in range(4)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(4 * width, config.pyramid, 1) for width in widths)
        self.reduce = nn.ModuleList(nn.Conv2d(config.pyramid, config.pyramid, 1) for _ in range(3))
        self.supervised = nn.ModuleList(
            _output(config.pyramid, landmark_count) for _ in LEVEL_STRIDES
        )
        self.connections = nn.ModuleList(
            nn.Sequential(
                *convolution(config.pyramid, config.detection, 3),
                *convolution(config.detection, config.detection, 3),
            )
            for _ in LEVEL_STRIDES
        )
        merged = config.detection * len(LEVEL_STRIDES)
        self.head = nn.Sequential(
            *convolution(merged, config.detection, 3), _output(config.detection, landmark_count)
        )
        self.gate = nn.Sequential(
            nn.Linear(merged, config.gate), nn.ReLU(), nn.Linear(config.gate, landmark_count)
        )

    def forward(self, image: Tensor) -> Maps:
        levels = self._first_pyramid(padded(image, LEVEL_STRIDES[-1]))
        merged = self._second_pyramid(levels)
        weight = self.gate(merged.mean((-2, -1))).sigmoid()
        final = self.head(merged) * weight[..., None, None]
        supervised = [
            cropped(head(level), image, stride)
            for head, level, stride in zip(self.supervised, levels, LEVEL_STRIDES, strict=True)
        ]
        return Maps(cropped(final, image, self.stride), supervised)

    def _first_pyramid(self, image: Tensor) -> list[Tensor]:
        """Return the merged features P of the four levels, from fine to coarse."""
        features, bottom_up = self.stem(image), []
        for residual in self.stages:
            features = residual(features)
            bottom_up.append(features)
        levels = [self.lateral[3](bottom_up[3])]
        for level in (2, 1, 0):
            # The paper upsamples first; a 1x1 convolution of equal cells gives the same, four times
            # dearer.
            from_above = F.interpolate(self.reduce[level](levels[0]), scale_factor=2.0)
            levels.insert(0, self.lateral[level](bottom_up[level]) + from_above)
        return levels

    def _second_pyramid(self, levels: list[Tensor]) -> Tensor:
        """Return D: all levels at the final resolution, concatenated."""
        return torch.cat(
            [
                F.interpolate(connection(level), scale_factor=float(stride // self.stride))
                for connection, level, stride in zip(
                    self.connections, levels, LEVEL_STRIDES, strict=True
                )
            ],
            dim=1,
        )

    def loss(self, output: Maps, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of the final maps plus that of each level's, all of equal weight.

        Each is summed over the cells and averaged over images and landmarks. Averaged over cells as
        well, the coarsest of the paper's maps would weigh about a thousand times the final ones.
        """

        def error(maps: Tensor, stride: int, sigma_px: float) -> Tensor:
            return (
                (maps.float() - target_maps(batch, stride, sigma_px)).square().sum((-2, -1)).mean()
            )

        parts = {"final": error(output.final, self.stride, self.config.sigma_px)}
        for number, (maps, stride) in enumerate(
            zip(output.levels, LEVEL_STRIDES, strict=True), start=1
        ):
            parts[f"level{number}"] = error(maps, stride, self.config.level_sigma_cells * stride)
        return total(parts), parts

    def decode(self, output: Maps) -> tuple[Tensor, Tensor]:
        maps = self.maps(output)
        cell, belief = decoding.maximum(maps)
        return cell_to_px(decoding.refined_log_quadratic(maps, cell), self.stride), belief

    def maps(self, output: Maps) -> Tensor:
        return output.final.float()


def _output(inputs: int, landmark_count: int) -> nn.Conv2d:
    """A last layer, scaled so that heat maps start near zero."""
    convolution = nn.Conv2d(inputs, landmark_count, 1)
    nn.init.normal_(convolution.weight, std=0.01)
    start_bias(convolution)
    return convolution
