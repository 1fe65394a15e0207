"""Cells of the maps over the view sphere."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from raymark.figures._sphere import bin_edges
from tests.unit.evaluation.examples import grid_of_views


def test_a_grid_gives_a_cell_for_each_step():
    edges = bin_edges(grid_of_views(15)["primary_deg"])
    assert edges.tolist() == list(np.arange(-67.5, 68, 15))
    with_a_gap = pd.Series([-30.0, -20.0, 0.0, 10.0])
    assert bin_edges(with_a_gap).tolist() == [-35, -25, -15, -5, 5, 15]


@given(st.lists(st.floats(-90, 90), min_size=1, max_size=200))
def test_cells_cover_all_angles_and_stay_few(angles):
    edges = bin_edges(pd.Series(angles))
    assert edges[0] <= min(angles) + 0.001
    assert edges[-1] >= max(angles) - 0.001
    assert (np.diff(edges) > 0).all()
    assert len(edges) <= 2 * len(set(angles)) + 4
