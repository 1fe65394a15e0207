"""The deep appearance-context network (Reddy et al., section III).

The output is the product of two maps per landmark (eq. 2): the local appearance, a U-Net whose every
level ends in an attention block, and the global context, dilated convolutions on a coarse map of the
local appearance and the image. What looks like the landmark in the wrong place is multiplied away.
The loss is the sum of squares to Gaussian heat maps (eq. 1 and 3).
"""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from raymark.core.sections import Section
from raymark.geometry import decoding
from raymark.geometry.belief_maps import belief_maps, cell_to_px
from raymark.methods.base import Batch, LandmarkNetwork, cropped, padded, start_bias


class Config(Section):
    """Hyper-parameters; the defaults are the paper's for cephalograms, or of the works it adapts."""

    depth: int = Field(4, ge=1, le=10, description="how often the U-Net halves the image")
    channels: int = Field(
        64, gt=0, description="channels at full resolution; they double per level"
    )
    attention_reduction: int = Field(
        16, gt=0, description="how many times narrower the channel attention's hidden layer is"
    )
    context_map: tuple[PositiveInt, PositiveInt] = Field(
        (32, 32), description="rows and columns of the global context's coarse map"
    )
    context_channels: int = Field(128, gt=0, description="filters of each dilated convolution")
    context_kernel: tuple[PositiveInt, PositiveInt] = Field(
        (3, 3), description="rows and columns of the dilated convolutions' kernels"
    )
    dilations: tuple[PositiveInt, ...] = Field(
        (1, 2, 3, 4, 3, 2, 1),
        min_length=1,
        description="one dilated convolution for each: cells between its kernel's taps",
    )
    sigma_px: float = Field(
        5.0, gt=0, description="standard deviation of the true heat maps, image px"
    )
    stride: int = Field(1, ge=1, description="image px per pixel of the scaled image it works on")
    read_off: Literal["maximum", "centre"] = Field(
        "maximum",
        description="what of a heat map is the point: its maximum, refined, or the centre of mass of its "
        "squares, which errs less far where a landmark is taken for its like on the next vertebra",
    )


class Network(LandmarkNetwork):
    """Output: heat maps (b, landmark, row, column), one cell per pixel of the scaled image."""

    def __init__(self, config: Config, landmark_count: int):
        super().__init__()
        self.config = config
        self.stride = config.stride
        self.local = LocalAppearance(config, landmark_count)
        self.context = global_context(config, landmark_count)

    def forward(self, image: Tensor) -> Tensor:
        local, context = self.factors(image)
        return local * context

    def factors(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return local appearance and global context, each (b, landmark, row, column)."""
        whole = padded(image, self.stride * 2**self.config.depth)
        scaled = F.avg_pool2d(whole, self.stride)
        seen = torch.cat([self.local(scaled), scaled], dim=1)
        seen = cropped(seen, image, self.stride)
        local = seen[:, :-1]
        context = self.context(downscaled(seen, self.config.context_map))
        context = F.interpolate(context, local.shape[-2:], mode="bilinear", align_corners=False)
        return local, context

    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum of squares over landmarks and cells (eq. 3); mean over the images of the batch."""
        shape_yx = batch.image.shape[-2:]
        truth = belief_maps(
            batch.landmarks, batch.visible, shape_yx, self.stride, self.config.sigma_px
        )
        squares = (output.float() - truth).square().sum((1, 2, 3)).mean()
        return squares, {"heat_maps": squares}

    def decode(self, output: Tensor) -> tuple[Tensor, Tensor]:
        maps = output.float()
        cell, value = decoding.maximum(maps)
        if self.config.read_off == "centre":
            cell = decoding.centre_of_squares(maps)
        else:
            cell = decoding.refined_log_quadratic(maps, cell)
        return cell_to_px(cell, self.stride), value


class LocalAppearance(nn.Module):
    """A U-Net (Ronneberger et al. 2015) with attention at every level of encoder and decoder.

    Images (b, 1, y, x) with sides divisible by 2^depth become maps (b, landmark, y, x).
    """

    def __init__(self, config: Config, landmark_count: int):
        super().__init__()
        widths = [config.channels * 2**level for level in range(config.depth + 1)]
        upwards = widths[-2::-1]
        self.encoder = nn.ModuleList(
            _level(before, width, config)
            for before, width in zip([1, *widths], widths, strict=False)
        )
        self.enlarge = nn.ModuleList(
            nn.ConvTranspose2d(2 * width, width, 2, stride=2, bias=False) for width in upwards
        )
        self.decoder = nn.ModuleList(_level(2 * width, width, config) for width in upwards)
        self.output = nn.Conv2d(config.channels, landmark_count, 1)
        nn.init.normal_(self.output.weight, std=0.01)
        start_bias(self.output)

    def forward(self, image: Tensor) -> Tensor:
        features, skipped = image, []
        for level, block in enumerate(self.encoder):
            features = block(F.max_pool2d(features, 2) if level else features)
            skipped.append(features)
        below = skipped.pop()
        for enlarge, block in zip(self.enlarge, self.decoder, strict=True):
            below = block(torch.cat([skipped.pop(), enlarge(below)], dim=1))
        return self.output(below)


class Attention(nn.Module):
    """The convolutional block attention module (Woo et al. 2018): channels first, then places."""

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.shared = nn.Sequential(
            nn.Linear(channels, hidden, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, channels, bias=False),
        )
        self.summary = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        features = features * self.of_channels(features)
        return features * self.of_places(features)

    def of_channels(self, features: Tensor) -> Tensor:
        """Return each channel's weight (b, channel, 1, 1), from its mean and maximum (eq. 2 there)."""
        mean, maximum = features.mean((-2, -1)), features.amax((-2, -1))
        return (self.shared(mean) + self.shared(maximum)).sigmoid()[..., None, None]

    def of_places(self, features: Tensor) -> Tensor:
        """Return each place's weight (b, 1, y, x), from its channels' mean and maximum (eq. 3 there)."""
        mean, maximum = features.mean(1, keepdim=True), features.amax(1, keepdim=True)
        return self.summary(torch.cat([mean, maximum], dim=1)).sigmoid()


def global_context(config: Config, landmark_count: int) -> nn.Sequential:
    """Build the dilated convolutions: coarse maps (b, landmark + 1, row, column) to (b, landmark, …)."""
    layers, channels = [], landmark_count + 1
    for dilation in config.dilations:
        layers += _hidden(channels, config.context_channels, config.context_kernel, dilation)
        channels = config.context_channels
    output = nn.Conv2d(channels, landmark_count, 1)
    nn.init.normal_(output.weight, std=0.01)
    # Two factors that both start near zero hardly have a gradient. From a context of one everywhere,
    # the local appearance learns first as if it were alone.
    start_bias(output, 1.0)
    return nn.Sequential(*layers, output)


def downscaled(maps: Tensor, shape: tuple[int, int]) -> Tensor:
    """Average maps (b, c, y, x) over the cells of a grid of `shape` that covers them all.

    A pixel on the border of two cells counts in each by the share that lies in it.
    """
    rows, columns = (
        _shares(size, cells).to(maps) for size, cells in zip(maps.shape[-2:], shape, strict=True)
    )
    return rows @ maps @ columns.T


def _shares(size: int, cells: int) -> Tensor:
    """Return the weight (cell, pixel) of each pixel in each cell's mean."""
    edges = torch.arange(cells + 1) * size / cells
    pixels = torch.arange(size)
    covered = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    return covered.clamp_min(0) * cells / size


def _level(inputs: int, outputs: int, config: Config) -> nn.Sequential:
    """Two convolutions and the attention block that refines them."""
    return nn.Sequential(
        *_hidden(inputs, outputs, (3, 3)),
        *_hidden(outputs, outputs, (3, 3)),
        Attention(outputs, config.attention_reduction),
    )


def _hidden(
    inputs: int, outputs: int, kernel: tuple[int, int], dilation: int = 1
) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding="same", dilation=dilation, bias=False)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
