import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from raymark.core.drawing import COLOURS, cran_caud, rao_lao, small_copy, spread


def test_colours_differ_in_greyscale_where_curves_are_few():
    """The first three, which most figures stop at, differ by at least 5 % of lightness."""
    rgb = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in COLOURS[:3]])
    grey = np.sort(rgb @ [0.299, 0.587, 0.114]) / 255
    assert np.diff(grey).min() > 0.05


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30), st.floats(0.1, 20))
def test_names_are_spread_in_order_without_overlap_and_inside(wanted, gap):
    wanted = np.sort(wanted)
    placed = spread(wanted, gap, 100.0)
    fits = min(gap, 100.0 / max(len(wanted) - 1, 1))
    assert (np.diff(placed) >= fits - 1e-6).all()
    assert placed.min() >= -1e-6
    assert placed.max() <= 100 + 1e-6


def test_names_that_have_room_stay():
    wanted = np.array([10.0, 30.0, 80.0])
    assert spread(wanted, 5.0, 100.0).tolist() == wanted.tolist()


def test_angles_are_named_by_side():
    assert [rao_lao(a) for a in (-30, 0.2, 15)] == ["RAO 30°", "0°", "LAO 15°"]
    assert [cran_caud(a) for a in (-30, -0.3, 15)] == ["CAUD 30°", "0°", "CRAN 15°"]


def test_the_reports_copy_is_small_and_looks_the_same(tmp_path):
    """Noise as in X-rays, with a coloured square: fewer pixels, the same picture, the same bytes."""
    yx = np.random.default_rng(0).normal(128, 12, (600, 900)).clip(0, 255).astype(np.uint8)
    rgb = np.stack([yx] * 3, -1)
    rgb[200:400, 300:600] = (213, 94, 0)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    for name in ("a.jpg", "b.jpg"):
        small_copy(tmp_path / "a.png", tmp_path / name)
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()
    with Image.open(tmp_path / "a.jpg") as copy:
        assert copy.size == (510, 340)
        pixels = np.asarray(copy, float)
    assert np.abs(pixels[130:210, 190:320] - (213, 94, 0)).max() < 12
    assert pixels[:100].mean() == pytest.approx(rgb[:180].mean(), abs=1)
    assert (tmp_path / "a.jpg").stat().st_size < (tmp_path / "a.png").stat().st_size / 5
