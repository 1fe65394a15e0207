from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from raymark.config.papers import read_paper
from raymark.correspondence.evaluation import FOLLOW_UP, _rows, summary
from raymark.correspondence.pairs import Affine, Transformation
from raymark.correspondence.report import (
    METHODS,
    correspondence_table,
    cumulative_curves,
    follow_up_overlays,
    match_overlays,
    place_colours,
)
from raymark.tables._formats import markdown
from tests.unit.correspondence.examples import TINY, textured


def matches_of(method, errors_by_pair, kind="elastic"):
    """Matches on slices at heights 0, 5, ...; a pair without errors has no match."""
    rows = []
    for pair, errors_mm in enumerate(errors_by_pair):
        for error_mm in errors_mm or [np.nan]:
            rows.append(
                {"subject": "texture0", "z_mm": 5.0 * pair, "transformation": kind,
                 "method": method, "x1_px": 20.0, "y1_px": 30.0, "x2_px": 22.0, "y2_px": 30.0,
                 "error_mm": error_mm}
            )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def matches():
    every = [
        matches_of(method, [[0.0, 1.0, 3.0], [70.0]], kind)
        for kind in ("elastic", "affine", "intensity")
        for method in METHODS
    ]
    return pd.concat(every, ignore_index=True)


def test_summary_by_hand():
    row = summary(matches_of("network", [[0.0, 1.0, 3.0], [], [70.0]])).iloc[0]
    # Matches per pair 3, 0, 1; errors 0, 1, 3, 70.
    assert (row.pairs, row.matches) == (3, 1)
    assert (row.matches_low, row.matches_high) == (0.5, 2)
    assert row.error_mm == 2
    assert (row.within_2_mm, row.within_4_mm, row.far) == (0.5, 0.75, 0.25)


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


def test_table_has_the_published_values_beside_ours(matches, follow_up):
    table = correspondence_table(
        matches, follow_up, read_paper("correspondence"), "demo scale", "Where."
    )
    kinds = ["intensity", "affine", "elastic", "follow-up"]
    assert table.frame["transformation"].tolist()[::3] == kinds
    assert table.frame["method"].tolist()[:3] == list(METHODS)
    text = markdown(table)
    for cell in (
        "639 (547–729)",
        "370 (293–452)",
        "711 (594–862)",
        "1.0 (0.0–1.4)",
        "Where.",
        "4.2 mm off",
    ):
        assert cell in text
    row = table.frame.set_index(["transformation", "method"]).loc[("affine", "network")]
    assert row.published_error_mm == "1.0 (0.0–1.4)"
    shares = table.frame.set_index(["transformation", "method"])["published_share"]
    assert shares["intensity", "network"] == "> 99 % within 2 mm (abstract)"
    assert shares["intensity", "sift_ratio"] == "> 90 % within 2 mm (section 4.1)"
    assert shares["affine", "network"] == "> 99 % within 4 mm (section 4.1)"
    assert shares["elastic", "sift_ratio"] == "about 3 % beyond 64 mm (section 4.1)"
    assert shares["affine", "sift_inverse"] == shares["follow-up", "network"] == ""
    assert "20 ms on a GPU" in text


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
