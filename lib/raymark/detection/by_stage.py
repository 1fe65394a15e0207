"""How the belief in landmarks changes from stage to stage of a network that predicts in stages."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from raymark.geometry import decoding
from raymark.geometry.belief_maps import cell_to_px
from raymark.methods.base import LandmarkNetwork, standardised
from raymark.training.batches import Samples, batches

BATCH = 4


@dataclass(frozen=True)
class Stages:
    """What every stage believes of some views.

    `numbers` (view,) are the views'; `beliefs` (view, stage, landmark, row, column); `points_px`
    (view, stage, landmark, 2) are their maxima, refined as those of tables are; `error_px` (view, stage, landmark) is NaN for a
    landmark that is not visible.
    """

    numbers: np.ndarray
    beliefs: np.ndarray
    points_px: np.ndarray
    error_px: np.ndarray

    @property
    def peaks(self) -> np.ndarray:
        """The largest belief (view, stage, landmark)."""
        return self.beliefs.max(axis=(-2, -1))


@torch.inference_mode()
def stages_of(network: LandmarkNetwork, samples: Samples, views: Sequence[int]) -> Stages:
    """Look at the views with these numbers; the network must offer `stage_maps`."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.to(device)
    numbers = np.asarray(views)
    groups = np.split(numbers, range(BATCH, len(numbers), BATCH))
    parts = []
    for batch in batches(samples, groups, device):
        beliefs = network.stage_maps(network(standardised(batch.image))).float()
        cells = decoding.refined_log_quadratic(beliefs, decoding.maximum(beliefs)[0])
        points = cell_to_px(cells, network.stride)
        error = (points - batch.landmarks[:, None]).norm(dim=-1)
        error = torch.where(batch.visible[:, None], error, torch.nan)
        parts.append([tensor.cpu().numpy() for tensor in (beliefs, points, error)])
    return Stages(numbers, *(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def most_resolved(stages: Stages, near_px: float, count: int) -> list[tuple[int, int]]:
    """Choose visible landmarks, as (view, landmark), whose error fell most over the stages.

    Only those count whose last stage is nearer than `near_px`; no landmark is chosen twice.
    """
    first, last = stages.error_px[:, 0], stages.error_px[:, -1]
    return _largest(np.where(last < near_px, first - last, np.nan), count)


def most_withdrawn(stages: Stages, threshold: float, count: int) -> list[tuple[int, int]]:
    """Choose landmarks outside the image, as (view, landmark), whose largest belief fell most.

    Only those count that the last stage does not detect; no landmark is chosen twice.
    """
    first, last = stages.peaks[:, 0], stages.peaks[:, -1]
    absent = np.isnan(stages.error_px[:, 0]) & (last < threshold)
    return _largest(np.where(absent, first - last, np.nan), count)


def _largest(value: np.ndarray, count: int) -> list[tuple[int, int]]:
    """Return the places (view, landmark) of the largest positive values of different landmarks."""
    chosen: list[tuple[int, int]] = []
    for place in np.argsort(-np.nan_to_num(value, nan=-np.inf), axis=None, kind="stable"):
        view, landmark = (int(n) for n in np.unravel_index(place, value.shape))
        if len(chosen) == count or not value[view, landmark] > 0:
            break
        if landmark not in [other for _, other in chosen]:
            chosen.append((view, landmark))
    return chosen
