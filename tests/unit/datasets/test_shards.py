"""A shard is read back by plain zarr and by our reader; whatever is damaged is refused."""

import json
import pickle
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import blosc

from raymark.core.errors import InputError
from raymark.datasets.shards import (
    CODECS,
    DIMENSIONS,
    LARGE,
    TYPES,
    Shards,
    check_shard,
    write_shard,
)

SHAPES = {
    "image": (24, 32),
    "landmarks": (3, 2),
    "visible": (3,),
    "beliefs": (3, 3, 4),
    "landmarks_world": (3, 3),
    "K": (3, 3),
    "world_to_camera": (4, 4),
}


def made_view(seed: int, shape_yx=SHAPES["image"]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = SHAPES | {"image": shape_yx}
    view = {name: rng.normal(size=shape).astype(TYPES[name]) for name, shape in shapes.items()}
    return view | {"visible": rng.random(SHAPES["visible"]) < 0.5}


def made_attributes(views: list[str], **changes) -> dict:
    return {
        "view": views,
        "subject": ["pelvis"] * len(views),
        "landmarks": ["a", "hip_left", "hip_right"],
        "flip_pairs": [["hip_left", "hip_right"]],
        "pixel_mm": 0.6,
        "stride": 8,
        "digest": "0123",
    } | changes


def write_made(path, seeds, shape_yx=SHAPES["image"], **changes):
    views = (made_view(seed, shape_yx) for seed in seeds)
    attributes = made_attributes([f"v{seed}" for seed in seeds], **changes)
    write_shard(path, views, len(seeds), attributes)
    return path


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    return write_made(tmp_path_factory.mktemp("shard") / "00000.zarr.zip", range(5))


def test_plain_zarr_reads_it_without_a_warning(shard):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        group = zarr.open_group(zarr.storage.ZipStore(shard, mode="r"), mode="r")
        assert set(group.array_keys()) == set(DIMENSIONS)
        for name in DIMENSIONS:
            array = group[name]
            expected = np.stack([made_view(seed)[name] for seed in range(5)])
            np.testing.assert_array_equal(array[:], expected)
            assert array.dtype == TYPES[name]
            assert array.metadata.dimension_names == DIMENSIONS[name]
            assert array.chunks[0] == (1 if name in LARGE else 5)
    assert group.attrs["view"] == [f"v{seed}" for seed in range(5)]
    assert group.attrs["units"]["landmarks_world"] == "mm"


def test_equal_content_gives_equal_bytes(shard, tmp_path):
    again = write_made(tmp_path / "another name.zarr.zip", range(5))
    assert again.read_bytes() == shard.read_bytes()


def test_large_chunks_are_compressed_to_equal_bytes_every_time():
    """The compressor's own threads, eight here, must not have a say."""
    smooth = np.random.default_rng(0).normal(size=(52, 1792)).cumsum(axis=1).astype(np.float16)
    before = blosc.set_nthreads(8)
    written = {CODECS[0].encode(smooth) for _ in range(300)}
    blosc.set_nthreads(before)
    assert len(written) == 1


def test_a_whole_shard_passes(shard):
    check_shard(shard)


def test_a_failed_write_leaves_nothing(tmp_path):
    def views():
        yield made_view(0)
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="power"):
        write_shard(tmp_path / "00000.zarr.zip", views(), 2, made_attributes(["v0", "v1"]))
    assert list(tmp_path.iterdir()) == []


@given(st.floats(0, 1, exclude_max=True))
@settings(max_examples=40, deadline=None)
def test_a_truncated_shard_is_refused(shard, tmp_path_factory, part):
    content = shard.read_bytes()
    path = tmp_path_factory.mktemp("truncated") / "00000.zarr.zip"
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(InputError, match="Run raymark check --delete") as refusal:
        check_shard(path)
    assert str(path) in str(refusal.value)


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_a_flipped_bit_is_refused_or_harmless(shard, tmp_path_factory, place, bit):
    content = bytearray(shard.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path = tmp_path_factory.mktemp("flipped") / "00000.zarr.zip"
    path.write_bytes(content)
    try:
        check_shard(path)
    except InputError:
        return
    # Bits that nobody reads: the zip's dates and system fields.
    found, expected = Shards([path]), Shards([shard])
    for name, values in expected.read(np.arange(5)).items():
        np.testing.assert_array_equal(found.read(np.arange(5))[name], values)
    assert found.attributes == expected.attributes


def test_a_bit_flipped_in_an_image_is_refused_by_every_reader(shard, tmp_path):
    with zipfile.ZipFile(shard) as archive:
        start = archive.getinfo("image/c/3/0/0").header_offset
    content = bytearray(shard.read_bytes())
    content[start + 500] ^= 4
    path = tmp_path / "00000.zarr.zip"
    path.write_bytes(content)
    with pytest.raises(InputError, match="image/c/3/0/0"):
        check_shard(path)
    with pytest.raises(InputError, match="Run raymark check --delete"):
        Shards([path]).read(np.arange(5))
    group = zarr.open_group(zarr.storage.ZipStore(path, mode="r"), mode="r")
    with pytest.raises((ValueError, zipfile.BadZipFile)):
        group["image"][3]


def test_a_missing_view_is_refused(shard, tmp_path):
    path = tmp_path / "00000.zarr.zip"
    with zipfile.ZipFile(shard) as whole, zipfile.ZipFile(path, "w") as part:
        for name in whole.namelist():
            if name != "image/c/2/0/0":
                part.writestr(name, whole.read(name))
    with pytest.raises(InputError, match="image/c/2/0/0"):
        check_shard(path)


def test_what_is_no_shard_is_refused(tmp_path):
    path = tmp_path / "00000.zarr.zip"
    with pytest.raises(InputError, match="not a whole shard"):
        check_shard(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("zarr.json", json.dumps({"attributes": {}}))
    with pytest.raises(InputError, match="not a whole shard"):
        check_shard(path)


def test_views_of_many_shards_are_read_in_any_order(tmp_path):
    paths = [
        write_made(tmp_path / f"{n}.zarr.zip", seeds) for n, seeds in enumerate([range(3), [7, 9]])
    ]
    shards = Shards(paths)
    order = np.array([4, 0, 3, 3, 2])
    assert len(shards) == 5
    assert [shards.views[i] for i in order] == ["v9", "v0", "v7", "v7", "v2"]
    assert shards.flip_pairs == [("hip_left", "hip_right")]
    found = shards.read(order)
    assert set(found) == set(DIMENSIONS) - {"beliefs"}
    for name, values in found.items():
        expected = np.stack([made_view(seed)[name] for seed in (9, 0, 7, 7, 2)])
        np.testing.assert_array_equal(values, expected)
    copy = pickle.loads(pickle.dumps(shards))
    np.testing.assert_array_equal(copy.read(order)["image"], found["image"])
    assert copy.digest == shards.digest


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"landmarks": ["a", "b", "c"]}, "landmarks"),
        ({"pixel_mm": 0.3}, "pixel_mm"),
        ({"shape_yx": (24, 33)}, "image size"),
    ],
)
def test_shards_that_differ_are_refused(tmp_path, changes, what):
    paths = [
        write_made(tmp_path / "0.zarr.zip", [0]),
        write_made(tmp_path / "1.zarr.zip", [1], **changes),
    ]
    with pytest.raises(InputError, match=f"1.zarr.zip: differs from .* in {what}"):
        Shards(paths).read(np.array([0, 1]))


def test_no_shards_are_refused():
    with pytest.raises(InputError, match="none are given"):
        Shards([])


MEMORY = """
import resource, sys, numpy as np
from raymark.datasets.shards import TYPES, write_shard
shapes = {"image": (1000, 1000), "beliefs": (1, 9, 9), "landmarks": (1, 2), "visible": (1,),
          "landmarks_world": (1, 3), "K": (3, 3), "world_to_camera": (4, 4)}
def view(seed):
    rng = np.random.default_rng(seed)
    return {name: rng.random(shape).astype(TYPES[name]) for name, shape in shapes.items()}
count = int(sys.argv[2])
write_shard(sys.argv[1], map(view, range(count)), count, {})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_memory_does_not_grow_with_the_number_of_views(tmp_path):
    def peak_mb(count: int) -> float:
        command = [sys.executable, "-c", MEMORY, str(tmp_path / "s.zarr.zip"), str(count)]
        return float(subprocess.run(command, capture_output=True, check=True).stdout)

    few, many = peak_mb(4), peak_mb(64)
    assert many < few + 40  # 60 images more are 120 MB


def test_the_documented_example_runs(shard, capsys):
    page = Path(__file__).parents[3] / "docs" / "datasets.md"
    example = page.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    exec(example.replace("00000.zarr.zip", str(shard)))
    assert capsys.readouterr().out.splitlines()[1].startswith("hip_left ")


@pytest.mark.parametrize(
    "attributes",
    [[1], 5, None]
    + [
        made_attributes(["v0"]) | change for change in ({"view": 5}, {"view": [1]}, {"subject": []})
    ],
)
def test_attributes_of_another_kind_are_refused(tmp_path, attributes):
    path = tmp_path / "0.zarr.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("zarr.json", json.dumps({"attributes": attributes}))
    with pytest.raises(InputError, match=r"0\.zarr\.zip: (is not a whole shard|does not name)"):
        check_shard(path)


def with_array(shard: Path, path: Path, name: str, **changes) -> Path:
    """Copy a shard, another description given to one of its arrays."""
    with zipfile.ZipFile(shard) as old, zipfile.ZipFile(path, "w") as new:
        for each in old.namelist():
            content = old.read(each)
            if each == f"{name}/zarr.json":
                content = json.dumps(json.loads(content) | changes).encode()
            new.writestr(each, content)
    return path


def test_an_image_larger_than_its_file_is_refused_before_it_is_read(shard, tmp_path):
    grid = {"name": "regular", "configuration": {"chunk_shape": [1, 10**6, 10**6]}}
    changes = {"shape": [5, 10**6, 10**6], "chunk_grid": grid}
    path = with_array(shard, tmp_path / "0.zarr.zip", "image", **changes)
    with pytest.raises(InputError, match="too small for its array 'image'"):
        check_shard(path)
    with pytest.raises(InputError, match="too small for its array 'image'"):
        Shards([path]).read(np.arange(2))


def test_an_array_of_another_type_is_refused(shard, tmp_path):
    path = with_array(shard, tmp_path / "0.zarr.zip", "image", data_type="int16", fill_value=0)
    with pytest.raises(InputError, match="'image' of another kind"):
        check_shard(path)


def test_a_blank_image_is_no_damage(tmp_path):
    """Nothing compresses better than one value throughout."""
    view = made_view(0) | {"image": np.zeros((2000, 2000), np.float16)}
    write_shard(tmp_path / "0.zarr.zip", [view], 1, made_attributes(["v0"]))
    check_shard(tmp_path / "0.zarr.zip")


def test_a_shard_in_the_place_of_another_is_refused(shard, tmp_path):
    path = tmp_path / "00001.zarr.zip"
    path.write_bytes(shard.read_bytes())
    with pytest.raises(InputError, match=r"00001\.zarr\.zip: holds 'v0', as does .*00000"):
        Shards([shard, path])
