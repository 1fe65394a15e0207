"""Equations 1 to 3 of the paper, and the ground truth they need."""

import torch
import torch.nn.functional as F
from torch import Tensor

from raymark.correspondence.config import CorrespondenceTraining
from raymark.correspondence.network import Network, at, covered_px, describe, distances, sample
from raymark.methods.base import total


def total_loss(
    network: Network, batch: dict[str, Tensor], config: CorrespondenceTraining
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return equation 1 for a batch of pairs, and its parts by name.

    `batch`: image1, image2 (b, y, x); body1, body2 (b, y, x) bool; field2 (b, y, x, 2) px.
    """
    logits, features = network(torch.cat([batch["image1"], batch["image2"]])[:, None])
    points = sample(logits.detach(), config.landmarks)
    logits1, logits2 = at(logits, points)[..., 0].float().chunk(2)
    descriptors1, descriptors2 = describe(features, points, covered_px(features)).chunk(2)
    points1, points2 = points.chunk(2)
    truth = matching(
        points1,
        at(batch["field2"].movedim(-1, 1), points2),
        at(batch["body1"][:, None], points1)[..., 0],
        at(batch["body2"][:, None], points2)[..., 0],
        config.matching_px,
    )
    parts = {
        "landmarks1": landmark_loss(logits1, truth.any(dim=2)),
        "landmarks2": landmark_loss(logits2, truth.any(dim=1)),
        "descriptors": descriptor_loss(
            distances(descriptors1, descriptors2),
            network.match_logits(descriptors1, descriptors2),
            truth,
            config.positive_margin,
            config.negative_margin,
        ),
    }
    share = truth.any(dim=1).float().mean()
    return total(parts), parts | {"matching_share": share}


def matching(
    points1: Tensor, projected2: Tensor, valid1: Tensor, valid2: Tensor, threshold_px: float
) -> Tensor:
    """Tell which landmarks match, (b, k1, k2) bool (section 2.2.2, step 4).

    `points1` (b, k1, 2) and `projected2` (b, k2, 2), those of image 2 projected onto image 1, are
    closer than `threshold_px`, and both lie on the body: `valid1` (b, k1), `valid2` (b, k2).
    """
    apart = torch.linalg.vector_norm(
        points1[:, :, None].float() - projected2[:, None].float(), dim=-1
    )
    return (apart < threshold_px) & valid1[:, :, None] & valid2[:, None, :]


def landmark_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Equation 2, averaged over the batch: `logits` (b, k) of the sampled landmarks' probabilities,
    `truth` (b, k) whether each has a match in the other image."""
    cross_entropy = F.binary_cross_entropy_with_logits(logits, truth.float())
    return (1 - logits.sigmoid()).mean() + cross_entropy


def descriptor_loss(
    distance: Tensor,
    match_logits: Tensor,
    truth: Tensor,
    positive_margin: float,
    negative_margin: float,
) -> Tensor:
    """Equation 3, averaged over the batch; all tensors (b, k1, k2).

    The cross-entropy of matching pairs is weighted by the share of the others and vice versa. A
    pair of images without a match has no term for matches.
    """
    truth = truth.float()
    matches, others = truth.sum((1, 2)), (1 - truth).sum((1, 2))
    near = (truth * F.relu(distance - positive_margin)).sum((1, 2)) / matches.clamp_min(1)
    far = ((1 - truth) * F.relu(negative_margin - distance)).sum((1, 2)) / others.clamp_min(1)
    weight_of_match = (others / (matches + others))[:, None, None]
    weight = truth * weight_of_match + (1 - truth) * (1 - weight_of_match)
    cross_entropy = F.binary_cross_entropy_with_logits(
        match_logits, truth, weight=weight, reduction="none"
    )
    return (near + far + cross_entropy.mean((1, 2))).mean()
