import numpy as np
import pandas as pd
import pytest

from raymark.config.papers import read_paper
from raymark.correspondence.evaluation import _rows, summary
from raymark.correspondence.matches import FOLLOW_UP, METHODS
from raymark.correspondence.pairs import Affine, Transformation
from raymark.correspondence.report import correspondence_table
from raymark.tables.formats import markdown
from tests.unit.correspondence.examples import matches_of


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
