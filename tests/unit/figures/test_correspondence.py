import numpy as np
import pandas as pd
import pytest

from raymark.correspondence.matches import METHODS
from raymark.figures.correspondence import cumulative_curves, match_overlays
from tests.unit.correspondence.examples import matches_of, textured


@pytest.fixture
def matches():
    return pd.concat([matches_of(method, [[0.0, 1.0, 3.0], [70.0]]) for method in METHODS])


def test_the_distance_of_far_apart_regions_is_marked(matches, pages):
    cumulative_curves(matches, "stem")
    for axes in pages[0].axes:
        far = [line.get_xdata() for line in axes.lines if line.get_label() == "64 mm"]
        assert far == [[64, 64]]
        assert axes.get_xlim()[1] > 64
    units = [axes.get_xlabel() for axes in pages[0].axes]
    assert units == ["error (mm in the slice)"] * 3 + ["error (mm in space)"]


def test_a_row_shows_the_matches_of_its_slice_in_both_images(matches, pages):
    stack = textured(2)
    images = zip(stack.image_zyx / 255, stack.image_zyx / 255, strict=True)
    match_overlays(matches, dict(zip(stack.z_mm, images, strict=True)), "stem")
    for axes, count in zip(pages[0].axes, [3] * 6 + [1] * 6, strict=True):
        assert len(axes.collections[0].get_offsets()) == count
    left, right = (np.unique(axes.collections[0].get_offsets()[:, 0]) for axes in pages[0].axes[:2])
    assert (left, right) == ([20.0], [22.0])
