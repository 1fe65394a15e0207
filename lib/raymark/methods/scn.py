"""The SpatialConfiguration-Net of Payer et al. 2019 (Medical Image Analysis 54), 2D.

The output is the product of two maps per landmark: the local appearance, accurate but ambiguous, and
the spatial configuration, large kernels on a coarse map of the local appearance alone. The width of
each landmark's Gaussian heat map is learned with the weights: a narrow, high map costs more while it is
missed, a wide one is penalised. (Their first version, MICCAI 2016, has fixed widths.)
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from raymark.core.sections import Section
from raymark.geometry import decoding
from raymark.geometry.belief_maps import belief_maps, cell_to_px
from raymark.methods.base import Batch, LandmarkNetwork, cropped, padded, start_bias, total


class Config(Section):
    """Hyper-parameters; the defaults are those of Payer et al. 2019 in 2D."""

    levels: int = Field(
        4, ge=1, description="resolutions of the local appearance, each half as fine"
    )
    channels: int = Field(128, gt=0, description="filters of every hidden convolution")
    dropout: float = Field(0.5, ge=0, lt=1, description="share of features left out in training")
    configuration_stride: int = Field(
        16, gt=0, description="heat-map cells per cell of the coarse map, along both axes"
    )
    configuration_kernel: int = Field(11, gt=0, description="side of the kernels on the coarse map")
    sigma_cells: float = Field(
        3.0, gt=0, description="standard deviation of the true heat maps that learning starts from"
    )
    heat_map_scale: float = Field(100.0, gt=0, description="sum over the cells of a true heat map")
    sigma_penalty: float = Field(
        5.0, ge=0, description="weight in the loss of the squares of these deviations"
    )
    weight_penalty: float = Field(
        5e-4, ge=0, description="weight in the loss of the squares of the kernels"
    )
    stride: int = Field(1, ge=1, description="image px per pixel of the scaled image it works on")


class Network(LandmarkNetwork):
    """Output: heat maps (b, landmark, row, column), one cell per pixel of the scaled image."""

    def __init__(self, config: Config, landmark_count: int):
        super().__init__()
        self.config = config
        self.stride = config.stride
        channels, kernel = config.channels, config.configuration_kernel
        self.local = LocalAppearance(config, landmark_count)
        self.configuration = nn.Sequential(
            *_hidden(landmark_count, channels, kernel),
            *_hidden(channels, channels, kernel),
            *_hidden(channels, channels, kernel),
            _output(channels, landmark_count, kernel),
        )
        # Its logarithm, so that no step of the optimizer leads to a deviation below zero.
        self.log_sigma = nn.Parameter(torch.full((landmark_count,), math.log(config.sigma_cells)))

    @property
    def sigma_cells(self) -> Tensor:
        """The learned deviation of each landmark's heat map (landmark,)."""
        return self.log_sigma.exp()

    def forward(self, image: Tensor) -> Tensor:
        local, configuration = self.factors(image)
        return local * configuration

    def factors(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return local appearance and spatial configuration, each (b, landmark, row, column)."""
        coarser = self.config.configuration_stride
        whole = padded(image, self.stride * math.lcm(2 ** (self.config.levels - 1), coarser))
        local = self.local(F.avg_pool2d(whole, self.stride))
        coarse = self.configuration(F.avg_pool2d(local, coarser))
        enlarged = F.interpolate(
            coarse, scale_factor=float(coarser), mode="bicubic", align_corners=False
        )
        return cropped(local, image, self.stride), cropped(enlarged.tanh(), image, self.stride)

    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Squares of errors, deviations and kernels, each a sum; mean over the images of the batch.

        The deviation of a landmark that an image does not show is not penalised there: nothing would
        hold it up.
        """
        truth = self.heat_maps(batch.landmarks, batch.visible, batch.image.shape[-2:])
        deviations = (batch.visible * self.sigma_cells.square()).sum(1).mean()
        kernels = [m.weight.square().sum() for m in self.modules() if isinstance(m, nn.Conv2d)]
        parts = {
            "heat_maps": (output.float() - truth).square().sum((1, 2, 3)).mean(),
            "sigmas": self.config.sigma_penalty * deviations,
            "kernels": self.config.weight_penalty * torch.stack(kernels).sum(),
        }
        return total(parts), parts

    def heat_maps(self, points_px: Tensor, visible: Tensor, shape_yx: Sequence[int]) -> Tensor:
        """Render the true heat maps (b, landmark, row, column), differentiable in the deviations."""
        # One deviation per landmark, broadcast over the cells along each axis.
        sigma_px = self.stride * self.sigma_cells[:, None]
        shapes = belief_maps(points_px, visible, shape_yx, self.stride, sigma_px)
        return self.peaks()[:, None, None] * shapes

    def peaks(self) -> Tensor:
        """Return the height of each landmark's true heat map (landmark,)."""
        return self.config.heat_map_scale / (2 * math.pi * self.sigma_cells.square())

    def decode(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Return points, and as confidence the maximum as a share of the height it should have."""
        maps = output.float()
        cell, value = decoding.maximum(maps)
        cell = decoding.refined_log_quadratic(maps, cell)
        return cell_to_px(cell, self.stride), value / self.peaks()


class LocalAppearance(nn.Module):
    """Three convolutions per level, average pooling after the second, sums on the way up.

    Images (b, 1, y, x) with sides divisible by 2^(levels - 1) become maps (b, landmark, y, x).
    """

    def __init__(self, config: Config, landmark_count: int):
        super().__init__()
        channels = config.channels
        self.contracting = nn.ModuleList(
            nn.Sequential(
                *_hidden(channels if level else 1, channels, 3),
                nn.Dropout(config.dropout),
                *_hidden(channels, channels, 3),
            )
            for level in range(config.levels)
        )
        self.across = nn.ModuleList(
            nn.Sequential(*_hidden(channels, channels, 3)) for _ in range(config.levels)
        )
        self.output = _output(channels, landmark_count, 3)

    def forward(self, image: Tensor) -> Tensor:
        features, levels = image, []
        for level, block in enumerate(self.contracting):
            features = block(F.avg_pool2d(features, 2) if level else features)
            levels.append(self.across[level](features))
        below = levels.pop()
        while levels:
            enlarged = F.interpolate(below, scale_factor=2.0, mode="bilinear", align_corners=False)
            below = levels.pop() + enlarged
        return self.output(below)


def _hidden(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding="same")
    nn.init.kaiming_normal_(convolution.weight, a=0.1, nonlinearity="leaky_relu")
    start_bias(convolution)
    return [convolution, nn.LeakyReLU(0.1)]


def _output(inputs: int, landmark_count: int, kernel: int) -> nn.Conv2d:
    """A linear convolution that starts near zero, as the authors' own."""
    convolution = nn.Conv2d(inputs, landmark_count, kernel, padding="same")
    nn.init.normal_(convolution.weight, std=0.001)
    start_bias(convolution)
    return convolution
