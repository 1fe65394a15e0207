"""Shards: readable by plain zarr, whole or refused, equal content gives equal bytes."""

import warnings

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from raymark.errors import InputError
from raymark.shards import DIMENSIONS, TYPES, Shards, check_shard, write_shard

SHAPES = {
    "image": (20, 30),
    "landmarks": (2, 2),
    "visible": (2,),
    "beliefs": (2, 3, 4),
    "landmarks_world": (2, 3),
    "K": (3, 3),
    "world_to_camera": (4, 4),
}


def views(first: int, count: int):
    for index in range(first, first + count):
        rng = np.random.default_rng(index)
        yield {name: (rng.random(shape) * 9).astype(TYPES[name]) for name, shape in SHAPES.items()}


def attributes(first: int, count: int) -> dict:
    return {
        "view": [f"train-a-{i:06d}" for i in range(first, first + count)],
        "subject": ["a"] * count,
        "landmarks": ["left_x", "right_x"],
        "flip_pairs": [["left_x", "right_x"]],
        "pixel_mm": 0.5,
        "stride": 8,
        "digest": f"{first}",
    }


def make(path, first: int = 0, count: int = 5):
    write_shard(path, views(first, count), count, attributes(first, count))
    return path


def test_plain_zarr_reads_it_without_a_warning(tmp_path):
    path = make(tmp_path / "00000.zarr.zip")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with zarr.storage.ZipStore(path, mode="r") as store:
            group = zarr.open_group(store, mode="r")
            for name in DIMENSIONS:
                expected = np.stack([view[name] for view in views(0, 5)])
                np.testing.assert_array_equal(group[name][:], expected)
                assert group[name].metadata.dimension_names == DIMENSIONS[name]
            assert group.attrs["units"]["landmarks_world"] == "mm"
            assert group.attrs["flip_pairs"] == [["left_x", "right_x"]]


def test_views_of_many_shards_are_found_in_any_order(tmp_path):
    shards = Shards([make(tmp_path / "0.zarr.zip", 0, 5), make(tmp_path / "1.zarr.zip", 5, 3)])
    assert len(shards) == 8
    order = np.array([7, 0, 4, 5, 5])
    found = shards.read(order)
    expected = list(views(0, 8))
    for name, array in found.items():
        np.testing.assert_array_equal(array, np.stack([expected[i][name] for i in order]))
    assert [shards.views[i] for i in order] == [f"train-a-{i:06d}" for i in order]
    assert shards.flip_pairs == [("left_x", "right_x")]


def test_equal_content_gives_equal_bytes_and_no_scratch_stays(tmp_path):
    make(tmp_path / "a" / "0.zarr.zip")
    make(tmp_path / "b" / "0.zarr.zip")
    a, b = ((tmp_path / side / "0.zarr.zip").read_bytes() for side in "ab")
    assert a == b
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["0.zarr.zip"]


def test_an_interrupted_writer_leaves_no_shard(tmp_path):
    def dying():
        yield from views(0, 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path / "0.zarr.zip", dying(), 5, attributes(0, 5))
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=40, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_changed_byte_is_noticed(tmp_path_factory, where, flip):
    path = make(tmp_path_factory.mktemp("flip") / "0.zarr.zip", count=2)
    whole = path.read_bytes()
    check_shard(path)
    broken = bytearray(whole)
    broken[int(where * len(whole))] ^= flip
    path.write_bytes(broken)
    refusal = None
    try:
        check_shard(path)
    except InputError as error:
        refusal = str(error)
    if refusal:
        assert str(path) in refusal
        return
    # A byte that the content does not depend on: a date, a permission, a version.
    for name, array in Shards([path]).read(np.arange(2)).items():
        np.testing.assert_array_equal(array, np.stack([v[name] for v in views(0, 2)]))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_shard_is_refused_by_name(tmp_path, share):
    path = make(tmp_path / "0.zarr.zip")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"0\.zarr\.zip"):
        Shards([path])


def test_shards_of_different_data_are_not_mixed(tmp_path):
    other = attributes(0, 5) | {"pixel_mm": 0.6}
    write_shard(tmp_path / "1.zarr.zip", views(0, 5), 5, other)
    with pytest.raises(InputError, match="pixel_mm"):
        Shards([make(tmp_path / "0.zarr.zip"), tmp_path / "1.zarr.zip"])
