"""The U-Net trained with the pose-estimation loss (registration-loss paper, section 2.4).

The network is the baseline's own, so that a model of one can start the training of the other; only
the loss differs: segmentation and pose-estimation loss, each with its weight (eq. 9).
"""

from typing import Self

from pydantic import Field, model_validator
from torch import Tensor

from raymark.geometry import decoding
from raymark.geometry.belief_maps import cell_to_px
from raymark.methods import unet
from raymark.methods._pose_loss import PoseSettings, pose_estimation_loss
from raymark.methods.base import Batch, total


class Config(unet.Config):
    """The U-Net's hyper-parameters and those of the loss; the paper states the depth alone."""

    segmentation_weight: float = Field(
        1.0, ge=0, description="weight of the cross-entropy; 0 leaves it out"
    )
    pose_weight: float = Field(
        0.001, ge=0, description="weight of the pose-estimation loss, 1/px; 0 leaves it out"
    )
    pose: PoseSettings = PoseSettings()

    @model_validator(mode="after")
    def _something_is_minimised(self) -> Self:
        if self.segmentation_weight == self.pose_weight == 0:
            raise ValueError("segmentation_weight and pose_weight must not both be 0")
        return self


class Network(unet.Network):
    """Output: logits (b, landmark, row, column)."""

    config: Config

    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sum of the cross-entropy and the pose-estimation loss; a weight of 0 omits one."""
        parts = {}
        if self.config.segmentation_weight:
            cross_entropy, _ = super().loss(output, batch)
            parts["segmentation"] = self.config.segmentation_weight * cross_entropy
        if self.config.pose_weight:
            cell = decoding.soft_argmax(output.float(), self.config.pose.temperature)
            points = cell_to_px(cell, self.stride)
            distance = pose_estimation_loss(points, batch, self.config.pose)
            parts["pose"] = self.config.pose_weight * distance
        return total(parts), parts
