"""The residual network (He et al. 2016) that several methods take their features from."""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


def stem(width: int) -> nn.Sequential:
    """From the image to `width` channels at a quarter of its size."""
    return nn.Sequential(*convolution(1, width, 7, stride=2), nn.MaxPool2d(3, stride=2, padding=1))


def stage(inputs: int, width: int, stride: int, dilations: Sequence[int]) -> nn.Sequential:
    """One bottleneck for each dilation; the first has the stage's stride."""
    first = Bottleneck(inputs, width, stride, dilations[0])
    rest = (Bottleneck(4 * width, width, 1, dilation) for dilation in dilations[1:])
    return nn.Sequential(first, *rest)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution beside a shortcut (section 3.3)."""

    def __init__(self, inputs: int, width: int, stride: int, dilation: int):
        super().__init__()
        self.layers = nn.Sequential(
            *convolution(inputs, width, 1),
            *convolution(width, width, 3, stride, dilation),
            *convolution(width, 4 * width, 1)[:-1],
        )
        same = inputs == 4 * width and stride == 1
        projection = nn.Sequential(*convolution(inputs, 4 * width, 1, stride)[:-1])
        self.shortcut = nn.Identity() if same else projection

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(self.layers(features) + self.shortcut(features))


def convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1
) -> list[nn.Module]:
    """Convolution, normalisation, ReLU.

    The original is batch normalisation; groups of channels serve batches of any size.
    """
    padding = dilation * (kernel // 2)
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return [layer, nn.GroupNorm(math.gcd(outputs, 8), outputs), nn.ReLU(inplace=True)]
