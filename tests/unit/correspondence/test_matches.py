import numpy as np
import pytest

from raymark.core.errors import InputError
from raymark.correspondence.matches import read_matches, read_slices, store_slices
from tests.unit.correspondence.examples import textured


def test_slices_survive_their_file_and_the_same_give_the_same_bytes(tmp_path):
    first, second = textured(3, side=48), textured(3, seed=1, side=48)
    for name in "ab":
        store_slices(first, second, tmp_path / f"{name}.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    again = read_slices(tmp_path / "a.parquet")
    assert again["subject"].tolist() == ["texture0"] * 3
    np.testing.assert_array_equal(again["z_mm"], first.z_mm)
    for name, stack in (("image1", first), ("image2", second)):
        np.testing.assert_array_equal(np.stack(again[name]), stack.image_zyx)
        assert again[name][0].dtype == np.uint8


def test_slices_are_no_matches(tmp_path):
    store_slices(textured(1), textured(1), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="lacks the columns"):
        read_matches(tmp_path / "a.parquet")
