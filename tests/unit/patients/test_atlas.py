"""Landmarks by atlas on a drawn body, deformed by a map that is known."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from raymark.core.errors import InputError
from raymark.ct import LabelMap, Volume
from raymark.landmarks.table import XYZ, landmark_table
from raymark.patients.atlas import by_atlas, carried_labels, register_atlas
from raymark.patients.deformation import Bend, Deformation, Scaling, Waves

SHAPE, SPACING_MM = (34, 28, 38), 5.0
AFFINE = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
AFFINE[:3, 3] = -SPACING_MM * (np.array(SHAPE) - 1) / 2
BONES_MM = np.random.default_rng(3).uniform([-45, -35, -60], [45, 35, 60], (20, 3))
DEFORMATION = Deformation(
    (
        Waves(
            np.array([[5.0, 0, 2], [0, 4.0, 3]]), np.array([[0, 0, 0.03], [0.03, 0, 0]]), np.ones(2)
        ),
        Scaling(np.array([1.06, 0.94, 1.05]), np.zeros(3)),
        Bend(cobb_deg=12.0, spine_x_mm=0.0, apex_z_mm=0.0, length_mm=120.0),
    )
)
SHIFT_MM = np.array([12.0, -9.0, 31.0])


def body(bones_mm, points_mm):
    """Return HU and label at points of a body: an ellipsoid of tissue, balls of bone, two lungs."""
    hu = np.where((points_mm / [65, 52, 82]) ** 2 @ np.ones(3) < 1, 40.0, -1000.0)
    for side in (-1, 1):
        lung = ((points_mm - [side * 32, 4, 8]) / [18, 28, 42]) ** 2 @ np.ones(3) < 1
        hu[lung] = -800
    away, nearest = cKDTree(bones_mm).query(points_mm)
    bone = away < 7 + nearest % 6
    return np.where(bone, 800.0, hu).astype(np.int16), np.where(bone, nearest + 1, 0).astype(
        np.uint8
    )


def grid_points():
    return np.moveaxis(np.indices(SHAPE), 0, -1) @ AFFINE[:3, :3] + AFFINE[:3, 3]


def volume(voxels):
    return Volume(voxels, AFFINE)


def moved(affine, shift_mm):
    placed = affine.copy()
    placed[:3, 3] += shift_mm
    return placed


@pytest.fixture(scope="module")
def laid():
    """An atlas, a CT that is its deformed copy elsewhere in the world, and the atlas laid on it."""
    hu, labels = body(BONES_MM, grid_points())
    deformed, truth = body(BONES_MM, DEFORMATION.inverse(grid_points()))
    target = Volume(deformed, moved(AFFINE, SHIFT_MM))
    return volume(hu), target, LabelMap(labels, AFFINE), truth, register_atlas(volume(hu), target)


def table():
    return landmark_table("atlas", [f"p{n}" for n in range(len(BONES_MM))], BONES_MM, "csv")


def test_points_travel_with_the_anatomy(laid):
    atlas, target, _, _, warp = laid
    true_mm = DEFORMATION.forward(BONES_MM) + SHIFT_MM
    carried, fit, doubts = by_atlas(warp, atlas, target, table(), "new", "atlas", "new.nii")
    error_mm = np.linalg.norm(warp.forward(BONES_MM) - true_mm, axis=1)
    before_mm = np.linalg.norm(BONES_MM + SHIFT_MM - true_mm, axis=1)
    assert np.median(before_mm) > 6
    assert np.median(error_mm) < 1.5
    assert np.median(error_mm) < np.median(before_mm) / 4
    assert fit["kept"].mean() > 0.8
    assert set(carried["origin"]) == {"atlas:atlas"}
    assert set(carried["subject"]) == {"new"}
    np.testing.assert_allclose(carried[XYZ], warp.forward(BONES_MM)[fit["kept"]])
    assert doubts[0].startswith("landmarks by atlas (atlas)")


def test_labels_travel_with_the_anatomy(laid):
    _, target, labels, truth, warp = laid
    carried = carried_labels(warp, labels, target).labels_xyz
    dice = 2 * ((carried == truth) & (truth > 0)).sum() / ((carried > 0).sum() + (truth > 0).sum())
    unmoved = 2 * ((labels.labels_xyz == truth) & (truth > 0)).sum()
    unmoved /= (labels.labels_xyz > 0).sum() + (truth > 0).sum()
    assert dice > 0.7
    assert dice > unmoved + 0.2


def test_the_inverse_is_the_maps(laid):
    warp = laid[-1]
    np.testing.assert_allclose(warp.inverse(warp.forward(BONES_MM)), BONES_MM, atol=0.05)


def test_equal_cts_give_equal_points(laid):
    atlas, target, _, _, warp = laid
    again = register_atlas(atlas, target)
    assert np.array_equal(again.linear, warp.linear)
    assert np.array_equal(again.displacement_mm, warp.displacement_mm)


def test_another_body_is_refused():
    others = np.random.default_rng(8).uniform([-45, -35, -60], [45, 35, 60], (20, 3))
    atlas, target = (volume(body(bones, grid_points())[0]) for bones in (BONES_MM, others))
    warp = register_atlas(atlas, target)
    with pytest.raises(
        InputError, match=r"^new.nii: the atlas 'ann' does not fit it: .*correlate by"
    ):
        by_atlas(warp, atlas, target, table(), "new", "ann", "new.nii")


def test_what_the_ct_does_not_show_is_left_out_by_name(laid):
    atlas, target, _, _, warp = laid
    cut = 12
    short = Volume(target.hu_xyz[:, :, cut:], moved(target.affine, [0, 0, cut * SPACING_MM]))
    carried, _, doubts = by_atlas(warp, atlas, short, table(), "new", "atlas", "new.nii")
    edge_mm = short.affine[2, 3]
    below = [f"p{n}" for n, z in enumerate(warp.forward(BONES_MM)[:, 2]) if z < edge_mm]
    assert below
    assert not set(below) & set(carried["landmark"])
    assert set(below) <= set(doubts[1].removeprefix("left out, outside of the CT: ").split(", "))
