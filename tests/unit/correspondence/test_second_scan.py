"""A virtual follow-up: where it says that the anatomy went, there it is."""

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import map_coordinates

from raymark.correspondence.config import FollowUp, FollowUpDeformation
from raymark.correspondence.follow_up import Aligned
from raymark.correspondence.second_scan import measure_follow_up, scan_again
from raymark.correspondence.slices import Stack
from tests.unit.correspondence.test_follow_up import scans

SETTINGS = FollowUp(
    deformation=FollowUpDeformation(amplitude_mm=2.0, wavelength_mm=80.0),
    noise_hu=0.0,
    contrast_hu={7: 100},
)


def labels_of(volume):
    labels = np.zeros(volume.hu_xyz.shape, np.int16)
    labels[28:36, 24:32, 16:24] = 7
    return labels


def hu_at(volume, points_mm):
    indices = (points_mm - volume.affine[:3, 3]) @ np.linalg.inv(volume.affine[:3, :3]).T
    return map_coordinates(volume.hu_xyz.astype(float), indices.T, order=1)


@pytest.fixture(scope="module")
def first():
    return scans()[0]


@pytest.fixture(scope="module")
def second(first):
    return scan_again(first, labels_of(first), SETTINGS, "patient", seed=0)


def test_tissue_is_found_where_it_went(first, second):
    points_mm = np.random.default_rng(0).uniform(-45, 45, size=(400, 3))
    outside = np.abs(points_mm).max(axis=1) > 25  # away from the contrast agent
    here, there = hu_at(first, points_mm), hu_at(second.volume, second.of_first(points_mm))
    assert np.corrcoef(here[outside], there[outside])[0, 1] > 0.95
    unmoved = hu_at(second.volume, points_mm)
    assert np.corrcoef(here[outside], unmoved[outside])[0, 1] < 0.5


def test_contrast_agent_raises_its_organ(first, second):
    middle = np.indices((4, 4, 4)).reshape(3, -1).T + np.array([30, 26, 18])
    points_mm = middle @ first.affine[:3, :3].T + first.affine[:3, 3]
    raised = hu_at(second.volume, second.of_first(points_mm)) - hu_at(first, points_mm)
    assert np.median(raised) == pytest.approx(100, abs=15)


def test_noise_has_the_asked_width(first, second):
    noisy = SETTINGS.model_copy(update={"noise_hu": 20.0})
    noisy = scan_again(first, labels_of(first), noisy, "patient", seed=0)
    inside = second.volume.hu_xyz > -500
    difference = noisy.volume.hu_xyz[inside].astype(float) - second.volume.hu_xyz[inside]
    assert difference.std() == pytest.approx(20, rel=0.05)


def test_same_names_make_the_same_scan(first, second):
    again = scan_again(first, labels_of(first), SETTINGS, "patient", seed=0)
    np.testing.assert_array_equal(again.volume.hu_xyz, second.volume.hu_xyz)
    other = scan_again(first, labels_of(first), SETTINGS, "another", seed=0)
    assert not np.allclose(other.lying, second.lying)


def test_errors_are_distances_in_space(first, second):
    """A perfect match of a registration by the known rigid part is off by the deformation alone."""
    stack = Stack(
        "patient", np.array([80.0]), np.zeros((1, 190, 166), np.uint8), np.ones((1, 1, 1))
    )
    x_px, y_px = np.meshgrid(np.arange(60.0, 120, 20), np.arange(60.0, 120, 20))
    points = {"x1_px": x_px.ravel(), "y1_px": y_px.ravel()}
    points |= {"x2_px": points["x1_px"] + 3, "y2_px": points["y1_px"]}
    matches = pd.DataFrame(points).assign(slice_mm=80.0, method="network")
    aligned = Aligned(first, second.lying)
    rows = measure_follow_up(matches, stack, first, aligned, second)
    columns, lines, _ = first.hu_xyz.shape
    voxels = np.column_stack(
        [columns - 1 - points["x1_px"] / 3, lines - 1 - points["y1_px"] / 3, np.full(9, 80 / 4)]
    )
    first_mm = voxels @ first.affine[:3, :3].T + first.affine[:3, 3]
    moved_mm = second.deformation.forward(first_mm)
    np.testing.assert_allclose(rows["unmatched_mm"], np.linalg.norm(moved_mm - first_mm, axis=1))
    matched_mm = first_mm - [3, 0, 0]  # three px to the right in the image are the patient's left
    np.testing.assert_allclose(rows["error_mm"], np.linalg.norm(moved_mm - matched_mm, axis=1))
    nothing = measure_follow_up(matches.assign(slice_mm=84.0), stack, first, aligned, second)
    assert nothing["error_mm"].isna().all()
    assert len(nothing) == 1
