"""The convolutional pose machine of Bier et al. 2018 (section 2), after Wei et al. 2016.

Stage 1 predicts belief maps from the image alone. Every later stage predicts them anew from image
features x′, computed once and shared by these stages, and the beliefs of the stage before, whose
large kernels let it weigh where landmarks lie relative to each other. The loss is the sum over all
stages of the squared L2 distance to Gaussian belief maps; landmarks are the maxima of the beliefs
averaged over the stages.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from raymark.core.sections import Section
from raymark.geometry import decoding
from raymark.geometry.belief_maps import belief_maps, cell_to_px
from raymark.methods.base import Batch, LandmarkNetwork, cropped, padded, start_bias


class Config(Section):
    """Hyper-parameters; the defaults are those of Wei et al. 2016, which the paper adapts."""

    stages: int = Field(6, ge=1, description="how often belief maps are predicted")
    sigma_px: float = Field(
        12.0, gt=0, description="standard deviation of the true belief maps, image px"
    )
    features: int = Field(
        128, gt=0, description="channels of the three convolutions that are pooled"
    )
    feature_kernel: int = Field(
        9,
        gt=0,
        description="side of these convolutions' kernels, and of the first in stage 1's head",
    )
    shared: int = Field(
        32, gt=0, description="channels of the image features that a stage's head sees (x′)"
    )
    hidden: int = Field(512, gt=0, description="channels of stage 1's head")
    refinement: int = Field(128, gt=0, description="channels of the later stages")
    refinement_kernel: int = Field(
        11, gt=0, description="side of the later stages' kernels, 1 × 1 ones apart"
    )
    normalisation: Literal["none", "group"] = Field(
        "none", description="normalisation after each hidden convolution"
    )


class Network(LandmarkNetwork):
    """Output: beliefs (b, stage, landmark, row, column) at 1/8 of the image."""

    stride = 8

    def __init__(self, config: Config, landmark_count: int):
        super().__init__()
        self.config = config
        self.first = nn.Sequential(
            *_features(config),
            *_hidden(config, config.shared, config.hidden, config.feature_kernel),
            *_hidden(config, config.hidden, config.hidden, 1),
            _output(config.hidden, landmark_count),
        )
        later = config.stages - 1
        self.shared = nn.Sequential(*_features(config)) if later else None
        self.later = nn.ModuleList(_later_stage(config, landmark_count) for _ in range(later))

    def forward(self, image: Tensor) -> Tensor:
        whole = padded(image, self.stride)
        beliefs = [self.first(whole)]
        if self.shared is not None:
            shared = self.shared(whole)
            for stage in self.later:
                beliefs.append(stage(torch.cat([shared, beliefs[-1]], dim=1)))
        return cropped(torch.stack(beliefs, dim=1), image, self.stride)

    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum of squares over stages, landmarks and cells; mean over the images of the batch."""
        shape_yx = batch.image.shape[-2:]
        truth = belief_maps(
            batch.landmarks, batch.visible, shape_yx, self.stride, self.config.sigma_px
        )
        per_stage = (output.float() - truth[:, None]).square().sum((2, 3, 4)).mean(0)
        return per_stage.sum(), {f"stage{t + 1}": loss for t, loss in enumerate(per_stage)}

    def stage_maps(self, output: Tensor) -> Tensor:
        return output

    def decode(self, output: Tensor) -> tuple[Tensor, Tensor]:
        mean_belief = output.float().mean(1)
        cell, belief = decoding.maximum(mean_belief)
        cell = decoding.refined_log_quadratic(mean_belief, cell)
        return cell_to_px(cell, self.stride), belief


def _features(config: Config) -> list[nn.Module]:
    """Three large convolutions, each followed by pooling, and one that narrows."""
    layers, channels = [], 1
    for _ in range(3):
        layers += [*_hidden(config, channels, config.features, config.feature_kernel)]
        layers += [nn.MaxPool2d(2)]
        channels = config.features
    return [*layers, *_hidden(config, channels, config.shared, 5)]


def _later_stage(config: Config, landmark_count: int) -> nn.Sequential:
    width, kernel = config.refinement, config.refinement_kernel
    return nn.Sequential(
        *_hidden(config, config.shared + landmark_count, width, kernel),
        *_hidden(config, width, width, kernel),
        *_hidden(config, width, width, kernel),
        *_hidden(config, width, width, 1),
        _output(width, landmark_count),
    )


def _hidden(config: Config, inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    start_bias(convolution)
    norm = [nn.GroupNorm(1, outputs)] if config.normalisation == "group" else []
    return [convolution, *norm, nn.ReLU(inplace=True)]


def _output(inputs: int, landmark_count: int) -> nn.Conv2d:
    """The last layer of a stage, scaled so that beliefs start near zero."""
    convolution = nn.Conv2d(inputs, landmark_count, 1)
    nn.init.normal_(convolution.weight, std=0.01)
    start_bias(convolution)
    return convolution
