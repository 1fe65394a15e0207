"""The U-Net baseline of the pelvic registration-loss paper (sections 2.1 and 2.4).

Each landmark is a segmentation: its mask is a disc about the landmark, the loss is the binary
cross-entropy with logits, the decoded point is the pixel of the highest logit and its confidence the
probability there.
"""

import math
from collections.abc import Sequence
from typing import Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from raymark.core.sections import Section
from raymark.geometry import decoding
from raymark.geometry.belief_maps import belief_shape, cell_to_px
from raymark.methods.base import Batch, LandmarkNetwork, cropped, padded, start_bias


class Config(Section):
    """Hyper-parameters; the paper states the depth alone."""

    depth: int = Field(5, ge=1, description="how often the encoder halves the image")
    channels: int = Field(
        32, gt=0, description="channels at full resolution; they double per level"
    )
    most_channels: int = Field(512, gt=0, description="no level has more channels")
    radius_px: float = Field(8.0, gt=0, description="radius of the landmark discs, image px")
    stride: Literal[1, 2, 4, 8] = Field(
        1, description="image px per output pixel; above 1 the decoder's last levels are left out"
    )

    @model_validator(mode="after")
    def _stride_is_reached(self) -> Self:
        if self.stride > 2**self.depth:
            raise ValueError(f"stride {self.stride} needs a depth of {int(math.log2(self.stride))}")
        return self


class Network(LandmarkNetwork):
    """Output: logits (b, landmark, row, column)."""

    def __init__(self, config: Config, landmark_count: int):
        super().__init__()
        self.config = config
        self.stride = config.stride
        widths = [
            min(config.channels * 2**level, config.most_channels)
            for level in range(config.depth + 1)
        ]
        self.encoder = nn.ModuleList(
            _block(before, width) for before, width in zip([1, *widths], widths, strict=False)
        )
        self.output_level = int(math.log2(config.stride))
        self.decoder = nn.ModuleList(
            _block(widths[level + 1] + widths[level], widths[level])
            for level in reversed(range(self.output_level, config.depth))
        )
        self.output = nn.Conv2d(widths[self.output_level], landmark_count, 1)
        nn.init.normal_(self.output.weight, std=0.01)
        start_bias(self.output, -5.0)  # almost every pixel is background

    def forward(self, image: Tensor) -> Tensor:
        features = padded(image, 2**self.config.depth)
        skipped = []
        for level, block in enumerate(self.encoder):
            features = block(F.max_pool2d(features, 2) if level else features)
            skipped.append(features)
        below = skipped.pop()
        for block in self.decoder:
            above = F.interpolate(below, scale_factor=2.0, mode="nearest")
            below = block(torch.cat([above, skipped.pop()], dim=1))
        return cropped(self.output(below), image, self.stride)

    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean binary cross-entropy over images, landmarks and pixels."""
        shape_yx = batch.image.shape[-2:]
        masks = discs(batch.landmarks, batch.visible, shape_yx, self.stride, self.config.radius_px)
        cross_entropy = F.binary_cross_entropy_with_logits(output.float(), masks)
        return cross_entropy, {"segmentation": cross_entropy}

    def decode(self, output: Tensor) -> tuple[Tensor, Tensor]:
        cell, logit = decoding.maximum(output.float())
        return cell_to_px(cell, self.stride), logit.sigmoid()


def discs(
    points_px: Tensor, visible: Tensor, shape_yx: Sequence[int], stride: int, radius_px: float
) -> Tensor:
    """Render masks (b, l, row, column): 1 where a cell's centre is within `radius_px` of its landmark.

    `points_px` (b, l, 2) as (x, y) in image px; a landmark not `visible` (b, l) has an empty mask.
    """
    rows, columns = belief_shape(shape_yx, stride)
    dtype, device = points_px.dtype, points_px.device
    x = cell_to_px(torch.arange(columns, dtype=dtype, device=device), stride)
    y = cell_to_px(torch.arange(rows, dtype=dtype, device=device), stride)
    from_x = (x - points_px[..., 0:1]).square()
    from_y = (y - points_px[..., 1:2]).square()
    near = from_y[..., :, None] + from_x[..., None, :] <= radius_px**2
    return (near & visible[..., None, None]).to(dtype)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*_convolution(inputs, outputs), *_convolution(outputs, outputs))


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    return [convolution, nn.GroupNorm(math.gcd(outputs, 8), outputs), nn.ReLU(inplace=True)]
