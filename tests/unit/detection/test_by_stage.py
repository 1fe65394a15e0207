"""Belief per stage: what is read off the maps, and which landmarks are shown."""

from importlib import import_module

import numpy as np
import pytest
import torch

from raymark import methods
from raymark.detection.by_stage import Stages, most_resolved, most_withdrawn, stages_of
from raymark.methods.base import LandmarkNetwork
from tests.unit.training.examples import Blobs


def stages(errors, peaks) -> Stages:
    """Made-up stages (view, stage, landmark)."""
    errors, peaks = np.array(errors, float), np.array(peaks, float)
    beliefs = np.zeros((*peaks.shape, 3, 4))
    beliefs[..., 1, 2] = peaks
    return Stages(np.arange(len(errors)), beliefs, np.zeros((*peaks.shape, 2)), errors)


def test_resolved_is_what_gained_most_and_ends_near():
    found = stages(
        [
            [[50, 90, 3], [30, 60, 3], [2, 40, 3]],  # view 0: gains 48; ends far; no gain
            [[70, 20, 30], [30, 15, 9], [4, 5, 1]],  # view 1: gains 66; 15; 29
        ],
        np.ones((2, 3, 3)),
    )
    assert most_resolved(found, 15.0, 2) == [(1, 0), (1, 2)]
    assert most_resolved(found, 15.0, 9) == [(1, 0), (1, 2), (1, 1)]
    assert most_resolved(found, 0.5, 2) == []


def test_withdrawn_is_outside_the_image_and_no_longer_believed():
    nan = np.nan
    found = stages(
        [[[nan, nan, 5], [nan, nan, 5]], [[nan, 7, nan], [nan, 7, nan]]],
        [[[0.9, 0.6, 0.9], [0.5, 0.1, 0.0]], [[0.7, 0.9, 0.2], [0.3, 0.1, 0.3]]],
    )
    assert most_withdrawn(found, 0.4, 3) == [(0, 1), (1, 0)]


@pytest.mark.parametrize("name", methods.names())
def test_methods_in_stages_are_those_that_offer_them(name):
    offered = (
        import_module(f"raymark.methods.{name}").Network.stage_maps
        is not LandmarkNetwork.stage_maps
    )
    assert offered == (name in methods.IN_STAGES)


class Shifting(LandmarkNetwork):
    """Believes in the true place of every landmark, off by 16, 8 and 0 px to the right."""

    stride = 4

    def __init__(self, samples):
        super().__init__()
        self.truth = torch.as_tensor(samples.read(np.arange(len(samples)))["landmarks"])
        self.seen = 0

    def forward(self, image):
        cells = (self.truth[self.seen : self.seen + len(image)] / 4).floor().long()
        self.seen += len(image)
        maps = torch.zeros(len(image), 3, cells.shape[1], 16, 24)
        for b, stage, landmark in np.ndindex(maps.shape[:3]):
            x, y = cells[b, landmark].tolist()
            maps[b, stage, landmark, y, min(x + 4 - 2 * stage, 23)] = 1.0
        return maps

    def stage_maps(self, output):
        return output


def test_errors_are_those_of_each_stages_maximum():
    samples = Blobs(6, (64, 96))
    found = stages_of(Shifting(samples), samples, range(6))
    x_px = samples.read(np.arange(6))["landmarks"][..., 0]
    clear = x_px < 72
    error = np.nanmedian(np.where(clear[:, None], found.error_px, np.nan), axis=(0, 2))
    np.testing.assert_allclose(error, [16, 8, 0], atol=3)
    assert (found.peaks == 1).all()
