from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from raymark.correspondence.evaluation import _rows
from raymark.correspondence.matches import FOLLOW_UP, METHODS
from raymark.correspondence.pairs import Affine, Transformation
from raymark.correspondence.report import (
    cumulative_curves,
    follow_up_overlays,
    match_overlays,
    place_colours,
)
from tests.unit.correspondence.examples import TINY, matches_of, textured


@pytest.fixture
def matches():
    every = [
        matches_of(method, [[0.0, 1.0, 3.0], [70.0]], kind)
        for kind in ("elastic", "affine", "intensity")
        for method in METHODS
    ]
    return pd.concat(every, ignore_index=True)


def test_error_is_the_distance_to_the_projected_point():
    transformation = Transformation(Affine(2 * np.eye(2), np.zeros(2)))
    points1, points2 = np.array([[10.0, 10.0], [4.0, 9.0]]), np.array([[5.0, 5.0], [2.0, 3.0]])
    table = _rows({"subject": "p"}, (points1, points2), transformation)
    assert table["error_mm"].tolist() == [0.0, 3.0]
    nothing = _rows({"subject": "p"}, (points1[:0], points2[:0]), transformation)
    assert nothing["subject"].tolist() == ["p"]
    assert nothing["error_mm"].isna().all()


@pytest.fixture
def follow_up():
    tables = [matches_of(method, [[1.0, 2.0], []], FOLLOW_UP) for method in METHODS]
    return pd.concat(tables, ignore_index=True).assign(unmatched_mm=4.25)


def test_figures_are_drawn(matches, follow_up, tmp_path):
    cumulative_curves(pd.concat([matches, follow_up]), tmp_path / "curves")
    match_overlays(matches, textured(2), TINY, tmp_path / "overlays")
    follow_up_overlays(follow_up, textured(2), textured(2, seed=1), tmp_path / "follow_up")
    for name in ("curves", "overlays", "follow_up"):
        assert (tmp_path / f"{name}.svg").stat().st_size > 1000
        assert (tmp_path / f"{name}.png").stat().st_size > 1000


def test_the_distance_of_far_apart_regions_is_marked(matches, monkeypatch, tmp_path):
    pages = []

    @contextmanager
    def kept(*size_and_stem):
        pages.append(Figure(layout="constrained"))
        yield pages[-1]

    monkeypatch.setattr("raymark.correspondence.report.figure", kept)
    cumulative_curves(matches, tmp_path / "curves")
    for axes in pages[0].axes:
        assert [line.get_xdata() for line in axes.lines if line.get_label() == "64 mm"] == [
            [64, 64]
        ]
        assert axes.get_xlim()[1] > 64


def test_colours_tell_places_apart():
    corners = np.array([[0, 0], [99, 0], [0, 49], [99, 49]], dtype=float)
    colours = place_colours(corners, (50, 100))
    apart = np.linalg.norm(colours[:, None] - colours[None], axis=-1)
    assert apart[~np.eye(4, dtype=bool)].min() > 0.4
    middle = place_colours(np.array([[49.5, 24.5]]), (50, 100))[0]
    np.testing.assert_allclose(middle, colours.mean(axis=0))
