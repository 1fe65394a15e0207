"""DeepLabv3 (Chen et al. 2017) with its last layer changed from classes to landmarks.

A residual network whose last stage is dilated instead of strided (output stride 16) and atrous
spatial pyramid pooling: convolutions at several dilation rates side by side, and the image's mean.
The original upsamples its class scores bilinearly; the maxima of a map upsampled like that lie at
centres of the coarse cells, so here the features are upsampled and the last layer follows.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from raymark.core.sections import Section
from raymark.geometry import decoding
from raymark.geometry.belief_maps import cell_to_px
from raymark.methods._residual import convolution, stage, stem
from raymark.methods.base import Batch, LandmarkNetwork, cropped, padded, start_bias, target_maps

OUTPUT_STRIDE = 16


class Config(Section):
    """Hyper-parameters; those of the network are Chen et al.'s for ResNet-50 at output stride 16."""

    sigma_px: float = Field(
        3.0, gt=0, description="standard deviation of the true heat maps, image px"
    )
    stride: Literal[1, 2, 4, 8, 16] = Field(4, description="image px per cell of the heat maps")
    blocks: tuple[int, int, int] = Field(
        (3, 4, 6), description="bottlenecks of the stages before the dilated one"
    )
    atrous: tuple[int, ...] = Field(
        (2, 4, 8),
        min_length=1,
        description="dilation of each bottleneck of the last stage: 2 x the multi-grid (1, 2, 4)",
    )
    width: int = Field(
        64, gt=0, description="channels inside the first stage's bottlenecks; they double per stage"
    )
    rates: tuple[int, ...] = Field(
        (6, 12, 18), description="dilations of the pooling pyramid's branches"
    )
    pooled: int = Field(256, gt=0, description="channels of each of the pyramid's branches")


class Network(LandmarkNetwork):
    """Output: heat maps (b, landmark, row, column)."""

    def __init__(self, config: Config, landmark_count: int):
        super().__init__()
        self.config = config
        self.stride = config.stride
        self.stem = stem(config.width)
        dilations = [*((1,) * blocks for blocks in config.blocks), config.atrous]
        inputs, stages = config.width, []
        for number, stride in enumerate((1, 2, 2, 1)):
            width = config.width * 2**number
            stages.append(stage(inputs, width, stride, dilations[number]))
            inputs = 4 * width
        self.stages = nn.Sequential(*stages)
        self.pyramid = AtrousPyramid(inputs, config.pooled, config.rates)
        self.last = nn.Sequential(
            *convolution(config.pooled, config.pooled, 3), _output(config.pooled, landmark_count)
        )

    def forward(self, image: Tensor) -> Tensor:
        features = self.pyramid(self.stages(self.stem(padded(image, OUTPUT_STRIDE))))
        scale = float(OUTPUT_STRIDE // self.stride)
        fine = F.interpolate(features, scale_factor=scale, mode="bilinear")
        return cropped(self.last(fine), image, self.stride)

    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error, summed over cells, averaged over images and landmarks."""
        truth = target_maps(batch, self.stride, self.config.sigma_px)
        squares = (output.float() - truth).square().sum((-2, -1)).mean()
        return squares, {"heat_maps": squares}

    def decode(self, output: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.maps(output)
        cell, belief = decoding.maximum(maps)
        return cell_to_px(decoding.refined_log_quadratic(maps, cell), self.stride), belief

    def maps(self, output: Tensor) -> Tensor:
        return output.float()


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling (section 3.3): 1x1, 3x3 at each rate, and the image's mean."""

    def __init__(self, inputs: int, outputs: int, rates: tuple[int, ...]):
        super().__init__()
        self.branches = nn.ModuleList(
            [
                nn.Sequential(*convolution(inputs, outputs, 1)),
                *(nn.Sequential(*convolution(inputs, outputs, 3, dilation=r)) for r in rates),
            ]
        )
        # The mean is a single cell: only all channels together have a deviation to divide by.
        layer, _, relu = convolution(inputs, outputs, 1)
        self.image = nn.Sequential(layer, nn.GroupNorm(1, outputs), relu)
        self.merge = nn.Sequential(*convolution((len(rates) + 2) * outputs, outputs, 1))

    def forward(self, features: Tensor) -> Tensor:
        local = [branch(features) for branch in self.branches]
        whole = self.image(features.mean((-2, -1), keepdim=True)).expand_as(local[0])
        return self.merge(torch.cat([*local, whole], dim=1))


def _output(inputs: int, landmark_count: int) -> nn.Conv2d:
    """The last layer, scaled so that heat maps start near zero."""
    convolution = nn.Conv2d(inputs, landmark_count, 1)
    nn.init.normal_(convolution.weight, std=0.01)
    start_bias(convolution)
    return convolution
