"""What a model's confidence means, learned from the validation images once the training is done.

A confidence is a number of the network's own. Here it becomes the error to expect, in px, and the error that
19 of 20 points stay below: the mean and the quantile among validation points of about that confidence, made
to fall as the confidence rises (isotonic regression), times what each landmark is worse or better than all.

An image unlike all of these is told by what a model finds there: it is less sure than of nearly every
validation image, or its points make a shape, size or turn that the landmarks of no such image make.
"""

from typing import Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from raymark.core.sections import Section
from raymark.methods.base import LandmarkNetwork, standardised
from raymark.training.batches import Samples, batches

BINS = 20  # of about equally many points
FEWEST = 8  # validation images from which limits can be learned
MOST_POINTS = 0.95  # lie within the larger of the two errors
# Share of validation images beyond a limit, before it is widened by so many deviations of them all.
USUAL, MARGIN = 0.02, 1.5
LEAST_DEVIATION_PX = 1.0
LEAST_SHARE = 1e-3  # of confidence and size, whose logarithms are looked at
BATCH = 16


class Limits(Section):
    """What nearly all validation images keep within: quantiles of theirs, widened by their deviation."""

    confidence: float = Field(description="least mean confidence")
    unlike: float = Field(description="largest distance from the mean shape, in deviations")
    turn_deg: tuple[float, float]
    size: tuple[float, float] = Field(description="against the mean shape")


class Calibration(Section):
    """Errors by confidence, and the mean shape of the validation images with its limits."""

    confidence: list[float] = Field(description="rising")
    expected_px: list[float] = Field(description="mean error at each confidence")
    most_px: list[float] = Field(description="error that MOST_POINTS stay below there")
    factors: list[float] = Field(description="of each landmark's errors against those of all")
    shape_px: list[tuple[float, float]]
    deviations_px: list[float] = Field(description="of each landmark from the shape laid onto it")
    limits: Limits | None = Field(None, description="null: too few validation images to tell")

    def errors_px(
        self, confidence: np.ndarray, landmark: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the error to expect, and that which few exceed, of points (...,) of landmarks by number (...,)."""
        expected, most = (
            np.interp(confidence, self.confidence, values) * np.array(self.factors)[landmark]
            for values in (self.expected_px, self.most_px)
        )
        return expected, most

    def unlike(self, points_px: np.ndarray, confidence: np.ndarray) -> list[str]:
        """Say why an image with points (l, 2) of confidence (l,) is unlike the training images; else nothing."""
        if self.limits is None:
            return []
        turn_deg, size, away = self._laid_onto(points_px[None])
        limits, said = self.limits, []
        if confidence.mean() < limits.confidence:
            said.append(
                f"mean confidence {confidence.mean():.2f}, of those {limits.confidence:.2f} or more"
            )
        if not limits.turn_deg[0] <= turn_deg[0] <= limits.turn_deg[1]:
            said.append(f"landmarks turned by {turn_deg[0]:.0f}°")
        if not limits.size[0] <= size[0] <= limits.size[1]:
            said.append(f"landmarks spread over {size[0]:.2g} times as much")
        elif away[0] > limits.unlike:
            said.append("landmarks in another shape")
        return [f"unlike the training images: {'; '.join(said)}"] if said else []

    def _laid_onto(self, points_px: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return laid_onto(np.array(self.shape_px), np.array(self.deviations_px), points_px)

    @classmethod
    def learned(
        cls, points_px: np.ndarray, confidence: np.ndarray, truth_px: np.ndarray
    ) -> Self | None:
        """Learn from predictions (image, l, 2), (image, l) and the truth, NaN where a landmark is not shown."""
        error_px = np.linalg.norm(points_px - truth_px, axis=-1)
        known = np.isfinite(error_px)
        if known.sum() < BINS or not known.any(axis=0).all():
            return None
        knots, expected, _ = _by_confidence(confidence[known], error_px[known])
        told = np.interp(confidence, knots, expected)
        factors = np.nansum(error_px, axis=0) / np.maximum((told * known).sum(axis=0), 1e-6)
        of_all = error_px / np.maximum(factors, 1e-6)
        knots, expected, most = _by_confidence(confidence[known], of_all[known])
        shape, deviations = _mean_shape(truth_px)
        calibration = cls(
            confidence=knots.tolist(),
            expected_px=expected.tolist(),
            most_px=most.tolist(),
            factors=factors.tolist(),
            shape_px=[(x, y) for x, y in shape.tolist()],
            deviations_px=deviations.tolist(),
        )
        if len(points_px) < FEWEST:
            return calibration
        limits = _limits(confidence.mean(axis=1), *calibration._laid_onto(points_px))
        return calibration.model_copy(update={"limits": limits})


@torch.no_grad()
def calibrated(network: LandmarkNetwork, views: Samples) -> Calibration | None:
    """Learn what `network` is worth from views whose landmarks are known; None where these are too few."""
    network.eval()
    device = next(network.parameters()).device
    groups = np.split(np.arange(len(views)), range(BATCH, len(views), BATCH))
    found: list[tuple[Tensor, ...]] = []
    for batch in batches(views, groups, device):
        points, confidence = network.decode(network(standardised(batch.image)))
        truth = batch.landmarks.masked_fill(~batch.visible[..., None], torch.nan)
        found.append((points, confidence.clamp(0, 1), truth))
    parts = (torch.cat(part).double().cpu().numpy() for part in zip(*found, strict=True))
    return Calibration.learned(*parts)


def laid_onto(
    shape_px: np.ndarray, deviations_px: np.ndarray, points_px: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lay a shape (l, 2) onto points (n, l, 2) by similarities; NaN points take no part.

    Returns its turns in degrees, its sizes, and how far the points are from it then: the root of the mean
    square, in the landmarks' deviations (l,).
    """
    shape, points = (a[..., 0] + 1j * a[..., 1] for a in (shape_px, points_px))
    shown = np.isfinite(points)
    weight = shown / shown.sum(axis=-1, keepdims=True).clip(1)
    points = np.where(shown, points, 0)
    of_shape = shape - (weight * shape).sum(axis=-1, keepdims=True)
    of_points = points - (weight * points).sum(axis=-1, keepdims=True)
    spread = (weight * np.abs(of_shape) ** 2).sum(axis=-1)
    fit = (weight * of_points * of_shape.conj()).sum(axis=-1) / spread.clip(1e-9)
    away = np.abs(of_points - fit[:, None] * of_shape) / deviations_px
    return np.degrees(np.angle(fit)), np.abs(fit), np.sqrt((weight * away**2).sum(axis=-1))


def _by_confidence(
    confidence: np.ndarray, error_px: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return confidences, and at each the mean error and the one that few exceed; both fall."""
    from scipy.optimize import isotonic_regression  # a third of a second, once

    order = np.argsort(confidence, kind="stable")
    bins = [part for part in np.array_split(order, BINS) if len(part)]
    at, sizes = np.array([confidence[part].mean() for part in bins]), [len(part) for part in bins]
    means, most = (
        isotonic_regression([measure(error_px[p]) for p in bins], weights=sizes, increasing=False).x
        for measure in (np.mean, lambda errors: np.quantile(errors, MOST_POINTS))
    )
    return at, means, most


def _mean_shape(truth_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (l, 2) of the true points, and how far each deviates once it is laid onto an image's."""
    shape = np.nanmean(truth_px, axis=0)
    around = truth_px - np.nanmean(truth_px, axis=1, keepdims=True)
    own = around - (shape - shape.mean(axis=0))
    deviations = np.sqrt(np.nanmean((own**2).sum(axis=-1), axis=0))
    return shape, np.maximum(deviations, LEAST_DEVIATION_PX)


def _limits(
    confidence: np.ndarray, turn_deg: np.ndarray, size: np.ndarray, away: np.ndarray
) -> Limits:
    def ends(values: np.ndarray) -> np.ndarray:
        margin = np.array([-MARGIN, MARGIN]) * values.std()
        return np.quantile(values, [USUAL, 1 - USUAL]) + margin

    turn, spread = ends(turn_deg), np.exp(ends(np.log(size.clip(LEAST_SHARE))))
    return Limits(
        confidence=float(np.exp(ends(np.log(confidence.clip(LEAST_SHARE)))[0])),
        unlike=float(ends(away)[1]),
        turn_deg=(float(turn[0]), float(turn[1])),
        size=(float(spread[0]), float(spread[1])),
    )
