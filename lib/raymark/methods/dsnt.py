"""DSNT, the differentiable spatial to numerical transform (Nibali et al. 2018), with its regulariser.

A dilated residual network gives one logit map per landmark. Its softmax is a distribution over the
map's cells and the point is that distribution's mean, so the loss acts on coordinates directly. The
Jensen-Shannon divergence from a narrow Gaussian at the true point keeps the distribution compact.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from raymark.core.sections import Section
from raymark.geometry import decoding
from raymark.geometry.belief_maps import belief_maps, cell_to_px
from raymark.methods._residual import stage, stem
from raymark.methods.base import Batch, LandmarkNetwork, cropped, padded, total


class Config(Section):
    """Hyper-parameters; the defaults are those of Nibali et al.'s ResNet-50 with 28 px heat maps."""

    sigma_cells: float = Field(
        1.0, gt=0, description="standard deviation of the target Gaussian, cells"
    )
    regularisation: float = Field(
        1.0, ge=0, description="weight of the divergence from the target Gaussian"
    )
    blocks: tuple[int, int, int, int] = Field((3, 4, 6, 3), description="bottlenecks of each stage")
    width: int = Field(
        64, gt=0, description="channels inside the first stage's bottlenecks; they double per stage"
    )


class Network(LandmarkNetwork):
    """Output: logits (b, landmark, row, column) at 1/8 of the image."""

    stride = 8

    def __init__(self, config: Config, landmark_count: int):
        super().__init__()
        self.config = config
        self.stem = stem(config.width)
        inputs, stages = config.width, []
        # The last two stages are dilated where the classifier would halve the resolution.
        for number, (stride, dilation) in enumerate([(1, 1), (2, 1), (1, 2), (1, 4)]):
            width = config.width * 2**number
            stages.append(stage(inputs, width, stride, (dilation,) * config.blocks[number]))
            inputs = 4 * width
        self.stages = nn.Sequential(*stages)
        # No bias: it would not change the softmax.
        self.output = nn.Conv2d(inputs, landmark_count, 1, bias=False)
        nn.init.normal_(self.output.weight, std=0.01)

    def forward(self, image: Tensor) -> Tensor:
        features = self.stages(self.stem(padded(image, self.stride)))
        return cropped(self.output(features), image, self.stride)

    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean over the visible landmarks of distance and divergence (section 4, equations 4-8).

        Distances are in units of half the map's longer side, as in the original's coordinates from
        -1 to 1. A landmark that is not visible has no place to regress and is left out.
        """
        logits = output.float()
        visible = batch.visible
        points = torch.where(visible[..., None], batch.landmarks, 0.0)
        away_px = cell_to_px(decoding.soft_argmax(logits), self.stride) - points
        half_side_px = self.stride * max(logits.shape[-2:]) / 2
        distance = torch.linalg.vector_norm(away_px, dim=-1) / half_side_px
        shape_yx, sigma_px = batch.image.shape[-2:], self.config.sigma_cells * self.stride
        target = belief_maps(points, visible, shape_yx, self.stride, sigma_px)
        count = visible.sum().clamp_min(1)
        parts = {
            "distance": torch.where(visible, distance, 0.0).sum() / count,
            "divergence": self.config.regularisation
            * torch.where(visible, divergence(logits, target), 0.0).sum()
            / count,
        }
        return total(parts), parts

    def decode(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means, and as confidence the probability within three target deviations.

        A landmark found without doubt has almost all of its probability there, so a confidence near
        1; a distribution that is spread, or has two peaks with the mean between them, has little.
        """
        logits = output.float()
        cell = decoding.soft_argmax(logits)
        confidence = decoding.mass_about(logits, cell, 3 * self.config.sigma_cells)
        return cell_to_px(cell, self.stride), confidence


def divergence(logits: Tensor, target: Tensor) -> Tensor:
    """Return the Jensen-Shannon divergence, in nats, of softmax maps from target maps.

    Both are (..., row, column); the target need not sum to 1. The result is (...), at most log 2.
    """
    log_p = logits.flatten(-2).log_softmax(-1)
    tiny = torch.finfo(log_p.dtype).tiny
    q = target.flatten(-2)
    q = q / q.sum(-1, keepdim=True).clamp_min(tiny)
    p = log_p.exp()
    log_middle = ((p + q) / 2).clamp_min(tiny).log()
    from_p = (p * (log_p - log_middle)).sum(-1)
    from_q = (torch.xlogy(q, q) - q * log_middle).sum(-1)
    return (from_p + from_q) / 2
