"""Cobb angles: spines of known tilt, what must not change them, and the angles the public data ships."""

import csv
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymark.metrics.cobb import (
    ANGLES,
    MEAN_ANGLES,
    cobb_angles,
    cobb_by_view,
    compare_angles,
    corner_names,
    shows_spine,
    smape_percent,
    true_columns,
)

HEIGHT_PX = 1000.0


def spine(tilts_deg, top_px=(200.0, 40.0), pitch_px=50.0) -> np.ndarray:
    """Vertebrae (n, 4, 2) of given tilts, each stacked along its own axis on the one above.

    A positive tilt lowers the right side of a vertebra (y is down).
    """
    centre, corners = np.array(top_px), []
    for tilt in np.deg2rad(tilts_deg):
        across = np.array([np.cos(tilt), np.sin(tilt)])
        down = np.array([-np.sin(tilt), np.cos(tilt)])
        centre = centre + down * pitch_px / 2
        corners.append([centre + 15 * y * down + 20 * x * across for y in (-1, 1) for x in (-1, 1)])
        centre = centre + down * pitch_px / 2
    return np.array(corners)


def mirrored(corners_px, width_px=600.0):
    """The mirror image, its corners named again by where the picture shows them."""
    flipped = corners_px * [-1, 1] + [width_px, 0]
    return flipped[..., [1, 0, 3, 2], :]


S_TILTS = [5, -3, -15, -8, 2, 10, 20, 5, -10, -25, -12, -20]


def test_a_straight_spine_has_no_angles():
    np.testing.assert_allclose(cobb_angles(spine([0] * 17), HEIGHT_PX), 0, atol=1e-9)
    np.testing.assert_allclose(cobb_angles(spine([7] * 17), HEIGHT_PX), 0, atol=1e-6)


@pytest.mark.parametrize("count", [2, 3, 5, 12, 17, 24])
def test_an_arc_has_the_angle_of_its_end_plates_and_nothing_beyond(count):
    arc = spine(np.linspace(-20, 25, count))
    np.testing.assert_allclose(cobb_angles(arc, HEIGHT_PX), [45, 0, 0], atol=1e-9)


def test_one_curve_gives_the_angles_to_the_first_and_the_last_vertebra():
    tilts = [10, 18, 30, 10, -10, -25, -20]  # all on one side of its chord
    found = cobb_angles(spine(tilts), HEIGHT_PX)
    np.testing.assert_allclose(found, [55, 20, 5], atol=1e-9)


@pytest.mark.parametrize(
    ("top_y", "third"),
    [
        (40, 13),  # in the upper half: from the lower end vertebra downwards
        (300, 20),  # in the lower half: from the crest of PT upwards
    ],
)
def test_an_s_shaped_spine_in_the_upper_and_in_the_lower_half(top_y, third):
    found = cobb_angles(spine(S_TILTS, top_px=(300, top_y)), HEIGHT_PX)
    np.testing.assert_allclose(found, [45, 35, third], atol=1e-9)


def test_an_angle_beyond_90_is_measured():
    assert cobb_angles(spine([-50, 0, 60]), HEIGHT_PX)[0] == pytest.approx(110)


@st.composite
def spines(draw, curve=lambda tilts: tilts):
    """A spine of tilts that never tie: a tie between end vertebrae, or a chord touched, is no case."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return spine(curve(rng.uniform(-40, 40, draw(st.integers(2, 20)))))


@given(spines(), st.floats(0.1, 20), st.floats(-500, 500))
def test_scale_side_shift_and_mirror_leave_the_angles(corners, scale, shift):
    expected = cobb_angles(corners, HEIGHT_PX)
    changed = corners * scale + [shift, 0]
    np.testing.assert_allclose(cobb_angles(changed, HEIGHT_PX * scale), expected, atol=1e-6)
    np.testing.assert_allclose(cobb_angles(mirrored(corners), HEIGHT_PX), expected, atol=1e-6)


@given(spines(np.sort), st.floats(-500, 500))
def test_a_shift_down_leaves_the_angles_of_one_curve(corners, shift):
    expected = cobb_angles(corners, HEIGHT_PX)
    moved = corners + np.array([0, shift])
    np.testing.assert_allclose(cobb_angles(moved, HEIGHT_PX), expected, atol=1e-6)


def test_many_images_at_once_equal_one_by_one():
    rng = np.random.default_rng(0)
    corners = np.stack([spine(rng.uniform(-30, 30, 17)) for _ in range(12)])
    heights = rng.uniform(500, 2000, 12)
    alone = [cobb_angles(c, h) for c, h in zip(corners, heights, strict=True)]
    np.testing.assert_array_equal(cobb_angles(corners, heights), alone)
    grid = cobb_angles(corners.reshape(3, 4, 17, 4, 2), heights.reshape(3, 4))
    np.testing.assert_array_equal(grid.reshape(12, 3), alone)


def test_a_spine_with_a_corner_missing_has_no_angles():
    corners = np.stack([spine(S_TILTS), spine(S_TILTS)])
    corners[0, 3, 2] = np.nan
    found = cobb_angles(corners, HEIGHT_PX)
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


def test_smape_by_hand():
    truth = np.array([[30.0, 10, 20], [40, 0, 0], [0, 0, 0], [20, 10, 10]])
    found = np.array([[20.0, 10, 10], [40, 10, 10], [0, 0, 0], [np.nan] * 3])
    by_image = [20 / 100, 20 / 100, 0, 1]
    assert smape_percent(found, truth).value == pytest.approx(100 * np.mean(by_image))
    assert smape_percent(truth, truth).value == 0


def errors_of(corners_by_view: dict, true_by_view: dict, method: str) -> pd.DataFrame:
    names = corner_names([f"v{i}" for i in range(12)])
    rows = []
    for view, corners in corners_by_view.items():
        points, truth = corners.reshape(-1, 2), true_by_view[view].reshape(-1, 2)
        for name, (x, y), (tx, ty) in zip(names, points, truth, strict=True):
            rows.append((method, view, f"patient {view}", view, name, 0, x, y, tx, ty))
    columns = ["method", "view", "patient", "subject", "landmark", "instance"]
    table = pd.DataFrame(rows, columns=[*columns, "x_px", "y_px", "x_true_px", "y_true_px"])
    return table.sort_values(["view", "landmark"])  # the order of errors tables


def test_a_table_of_errors_becomes_a_table_of_angles_with_both_constants():
    names = corner_names([f"v{i}" for i in range(12)])
    truth = {"a": spine(S_TILTS), "b": spine(np.linspace(-20, 20, 12))}
    straight = {view: spine([0] * 12) for view in truth}
    perfect = errors_of(truth, truth, "perfect")
    mean_shape = errors_of(straight, truth, "mean_position")
    by_view = cobb_by_view(perfect, names, HEIGHT_PX)
    expected = [cobb_angles(c, HEIGHT_PX) for c in truth.values()]
    np.testing.assert_allclose(by_view[list(ANGLES)], expected, atol=1e-9)
    np.testing.assert_allclose(by_view[true_columns()], expected, atol=1e-9)
    assert by_view["patient"].tolist() == ["patient a", "patient b"]
    assert by_view["subject"].tolist() == ["a", "b"]

    training = perfect[perfect["view"] == "b"]
    table = compare_angles(pd.concat([perfect, mean_shape]), names, HEIGHT_PX, training)
    table = table.set_index("method")
    assert table.index.tolist() == ["mean_position", "perfect", MEAN_ANGLES]
    assert table.loc["perfect", "smape_percent"] == pytest.approx(0, abs=1e-9)
    assert table.loc["mean_position", "smape_percent"] == pytest.approx(100)
    mean_angles = np.tile(expected[1], (2, 1))
    assert table.loc[MEAN_ANGLES, "smape_percent"] == pytest.approx(
        smape_percent(mean_angles, np.array(expected)).value
    )
    assert table.loc["mean_position", "mt_deg"] == pytest.approx((45 + 40) / 2)


@pytest.mark.skipif(
    "RAYMARK_SPINE_AP" not in os.environ,
    reason="set RAYMARK_SPINE_AP to the folder of the public AP spine data",
)
def test_the_public_data_s_own_angles():
    from PIL import Image

    folder = Path(os.environ["RAYMARK_SPINE_AP"])
    with open(folder / "filenames.csv", encoding="utf-8") as file:
        files = [row[0] for row in csv.reader(file) if row]
    fractions = np.loadtxt(folder / "landmarks.csv", delimiter=",")
    sizes = np.array([Image.open(folder / "images" / file).size for file in files])
    points = np.stack(np.split(fractions, 2, axis=1), axis=-1) * sizes[:, None]
    found = cobb_angles(points.reshape(len(files), 17, 4, 2), sizes[:, 1])
    official = np.loadtxt(folder / "angles.csv", delimiter=",")
    equal = (np.abs(found - official) <= 0.05).all(axis=1)
    assert equal.sum() >= len(files) * 466 / 481


def test_a_spine_is_known_by_its_corners():
    names = corner_names(["t1", "t2", "l1"])
    assert shows_spine(names)
    assert not shows_spine(names[1:] + names[:1])
    assert not shows_spine(names[:-1])
    assert not shows_spine(["carina"])
    assert not shows_spine([])
