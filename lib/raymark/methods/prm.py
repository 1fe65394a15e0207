"""Pyramid residual modules (Yang et al. 2017) in a stacked hourglass, its last layers for landmarks.

A pyramid residual module sees its features at several scales at once: beside a bottleneck at full
resolution, branches sub-sample them by ratios between 1 and 1/2, convolve and bring them back
(variant B: the branches share one narrowed input). The modules stand where the stacked hourglass of
Newell et al. 2016 has residual units. Every hourglass predicts heat maps and is supervised; its maps
and features are added to the input of the next one.
"""

import math

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from raymark.core.sections import Section
from raymark.geometry import decoding
from raymark.geometry.belief_maps import cell_to_px
from raymark.methods.base import Batch, LandmarkNetwork, cropped, padded, start_bias, target_maps


class Config(Section):
    """Hyper-parameters; the defaults are Yang et al.'s."""

    stacks: int = Field(8, ge=1, description="hourglasses one after another")
    depth: int = Field(4, ge=1, le=10, description="how often an hourglass halves its maps")
    features: int = Field(256, ge=8, multiple_of=4, description="channels of the hourglasses")
    levels: int = Field(4, ge=1, description="pyramid branches of a module (C in the paper)")
    narrowing: int = Field(
        9, ge=1, description="a pyramid branch has this many times fewer channels than its module"
    )
    sigma_px: float = Field(
        4.0, gt=0, description="standard deviation of the true heat maps, image px"
    )


class Network(LandmarkNetwork):
    """Output: heat maps (b, stack, landmark, row, column) at 1/4 of the image."""

    stride = 4

    def __init__(self, config: Config, landmark_count: int):
        super().__init__()
        self.config = config
        features = config.features
        self.stem = nn.Sequential(
            _convolution(1, features // 4, 7, stride=2),
            Residual(features // 4, features // 2, config),
            nn.MaxPool2d(2),
            Residual(features // 2, features // 2, config),
            Residual(features // 2, features, config),
        )
        self.hourglasses = nn.ModuleList(
            nn.Sequential(
                Hourglass(config, config.depth),
                *_activation(features),
                _convolution(features, features, 1),
                *_activation(features),
            )
            for _ in range(config.stacks)
        )
        self.heads = nn.ModuleList(_output(features, landmark_count) for _ in range(config.stacks))
        between = range(config.stacks - 1)
        self.features_back = nn.ModuleList(_convolution(features, features, 1) for _ in between)
        self.maps_back = nn.ModuleList(_convolution(landmark_count, features, 1) for _ in between)

    def forward(self, image: Tensor) -> Tensor:
        features = self.stem(padded(image, self.stride * 2**self.config.depth))
        stacks = []
        for stack, (hourglass, head) in enumerate(zip(self.hourglasses, self.heads, strict=True)):
            seen = hourglass(features)
            stacks.append(head(seen))
            if stack < self.config.stacks - 1:
                back = self.features_back[stack](seen) + self.maps_back[stack](stacks[-1])
                features = features + back
        return cropped(torch.stack(stacks, dim=1), image, self.stride)

    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Half the sum of squares over stacks, landmarks and cells; mean over the images."""
        truth = target_maps(batch, self.stride, self.config.sigma_px)
        per_stack = (output.float() - truth[:, None]).square().sum((2, 3, 4)).mean(0) / 2
        return per_stack.sum(), {f"stack{n}": loss for n, loss in enumerate(per_stack, start=1)}

    def decode(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last stack's maxima and their values.

        Refined as in the other heat-map methods, not by the original's quarter cell, so that tables
        compare networks.
        """
        maps = self.maps(output)
        cell, belief = decoding.maximum(maps)
        return cell_to_px(decoding.refined_log_quadratic(maps, cell), self.stride), belief

    def maps(self, output: Tensor) -> Tensor:
        return output[:, -1].float()


class Hourglass(nn.Module):
    """Halve, look, and double again, with a branch at this resolution kept beside (depth by depth).

    As in the original, the two lowest resolutions have plain residual units: sub-sampling maps of
    a few cells has nothing to add.
    """

    def __init__(self, config: Config, depth: int):
        super().__init__()
        features = config.features

        def lower(convolved: bool = False) -> "Residual":
            return Residual(features, features, config, depth >= 3, convolved)

        self.beside = Residual(features, features, config, pyramid=depth >= 2)
        self.below = nn.Sequential(
            nn.MaxPool2d(2),
            lower(),
            Hourglass(config, depth - 1) if depth > 1 else lower(),
            # Two sums of identities add up their variances; a convolved shortcut starts anew.
            lower(convolved=True),
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.beside(features) + F.interpolate(self.below(features), scale_factor=2.0)


class Residual(nn.Module):
    """A pre-activated bottleneck; with `pyramid` the pyramid residual module, variant B."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        config: Config,
        pyramid: bool = True,
        convolved: bool = False,
    ):
        super().__init__()
        half = outputs // 2
        self.before = nn.Sequential(*_activation(inputs))
        self.bottleneck = nn.Sequential(
            _convolution(inputs, half, 1), *_activation(half), _convolution(half, half, 3)
        )
        narrow = max(outputs // config.narrowing, 1)
        self.pyramid = Pyramid(inputs, narrow, half, config.levels) if pyramid else None
        self.after = nn.Sequential(*_activation(half), _convolution(half, outputs, 1))
        convolved = convolved or inputs != outputs
        self.shortcut = _convolution(inputs, outputs, 1) if convolved else None

    def forward(self, features: Tensor) -> Tensor:
        active = self.before(features)
        seen = self.bottleneck(active)
        if self.pyramid is not None:
            seen = seen + self.pyramid(active)
        kept = features if self.shortcut is None else self.shortcut(active)
        return kept + self.after(seen)


class Pyramid(nn.Module):
    """The branches of one module: level c of C sees its features at 2^(-c/C) of their resolution."""

    def __init__(self, inputs: int, narrow: int, outputs: int, levels: int):
        super().__init__()
        self.ratios = [2 ** (-level / levels) for level in range(1, levels + 1)]
        self.reduce = nn.Sequential(
            _convolution(inputs, narrow, 1, branches_out=levels), *_activation(narrow)
        )
        self.branches = nn.ModuleList(_convolution(narrow, narrow, 3) for _ in self.ratios)
        self.expand = nn.Sequential(
            *_activation(narrow), _convolution(narrow, outputs, 1, branches_in=levels)
        )

    def forward(self, features: Tensor) -> Tensor:
        reduced = self.reduce(features)
        scales = [
            F.interpolate(
                branch(subsampled(reduced, ratio)), size=reduced.shape[-2:], mode="bilinear"
            )
            for branch, ratio in zip(self.branches, self.ratios, strict=True)
        ]
        return self.expand(sum(scales))


def subsampled(maps: Tensor, ratio: float) -> Tensor:
    """Pool maps (..., row, column) to `ratio` of their size: maxima of 2x2 cells (Graham 2014).

    The windows of fractional max-pooling overlap and lie at random in the original; here they are
    evenly spread, so that a network's output is a function of its input. `ratio` is from 1/2 to 1;
    every cell is in a window.
    """
    for axis in (-2, -1):
        size = maps.shape[axis]
        count = math.ceil(size * ratio)
        cell = torch.arange(count, device=maps.device)
        start = ((2 * cell + 1) * size - count) // (2 * count)
        end = (start + 1).clamp(max=size - 1)
        maps = torch.maximum(maps.index_select(axis, start), maps.index_select(axis, end))
    return maps


def _activation(channels: int) -> list[nn.Module]:
    """Normalisation and ReLU, before a convolution.

    The original is batch normalisation; groups of channels serve batches of any size.
    """
    return [nn.GroupNorm(math.gcd(channels, 8), channels), nn.ReLU()]


def _convolution(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int = 1,
    branches_in: int = 1,
    branches_out: int = 1,
) -> nn.Conv2d:
    """A convolution, initialised for the number of branches summed before and fed after it (3.4)."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    connections = kernel**2 * (branches_in * inputs + branches_out * outputs) / 2
    nn.init.normal_(convolution.weight, std=math.sqrt(2 / connections))
    return convolution


def _output(inputs: int, landmark_count: int) -> nn.Conv2d:
    """The last layer of a stack, scaled so that heat maps start near zero."""
    convolution = nn.Conv2d(inputs, landmark_count, 1)
    nn.init.normal_(convolution.weight, std=0.01)
    start_bias(convolution)
    return convolution
