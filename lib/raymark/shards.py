"""Shards: some views of one subject in one file that any framework can read.

A shard is one zarr v3 group in one uncompressed zip, so that it moves, is checked and appears as a
whole. Its arrays, one chunk per view:

    image            float16 (view, y, x)                  −ln of the detector's signal
    landmarks        float32 (view, landmark, xy)          px
    visible          bool    (view, landmark)              on the detector
    beliefs          float16 (view, landmark, row, column) peak 1, cells of `stride` px
    landmarks_world  float32 (view, landmark, xyz)         mm, world RAS
    K                float64 (view, 3, 3)                  px
    world_to_camera  float64 (view, 4, 4)                  mm

Attributes: `view` (ids), `subject` (of each view), `landmarks` (names), `flip_pairs`, `pixel_mm`, `stride`, `sigma_px`,
`units`, `digest` (of what made it). Equal content gives equal bytes.
"""

import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import tensorstore as ts
import zarr
from zarr.codecs import BloscCodec

from raymark.errors import InputError
from raymark.files import atomic
from raymark.provenance import text_digest

DIMENSIONS = {
    "image": ("view", "y", "x"),
    "landmarks": ("view", "landmark", "xy"),
    "visible": ("view", "landmark"),
    "beliefs": ("view", "landmark", "row", "column"),
    "landmarks_world": ("view", "landmark", "xyz"),
    "K": ("view", "row", "column"),
    "world_to_camera": ("view", "row", "column"),
}
TYPES = {
    "image": "float16",
    "landmarks": "float32",
    "visible": "bool",
    "beliefs": "float16",
    "landmarks_world": "float32",
    "K": "float64",
    "world_to_camera": "float64",
}
UNITS = {
    "image": "1 (negative logarithm of the signal)",
    "landmarks": "px",
    "landmarks_world": "mm",
    "K": "px",
    "world_to_camera": "mm",
}
REMEDY = "Delete it and run the workflow again: it is rendered anew, to the same bytes"


def write_shard(
    path: str | Path,
    views: Iterable[Mapping[str, np.ndarray]],
    count: int,
    attributes: Mapping[str, object],
) -> None:
    """Write `count` views, each a mapping from array name to that view's values, as one shard.

    Views are written as they come, so memory does not grow with their number. The file appears
    under its name only when it is whole.
    """
    with atomic(path) as partial:
        folder = partial.with_suffix("")
        group = zarr.open_group(folder, mode="w", attributes=dict(attributes) | {"units": UNITS})
        arrays: dict[str, zarr.Array] = {}
        for index, view in enumerate(views):
            if not arrays:
                arrays = {name: _array(group, name, view[name], count) for name in DIMENSIONS}
            for name, array in arrays.items():
                array[index] = view[name]
        _pack(folder, partial)


def _array(group: zarr.Group, name: str, first: np.ndarray, count: int) -> zarr.Array:
    shape = np.shape(first)
    return group.create_array(
        name,
        shape=(count, *shape),
        chunks=(1, *shape),
        dtype=TYPES[name],
        compressors=BloscCodec(cname="lz4", clevel=1, shuffle="shuffle"),
        dimension_names=DIMENSIONS[name],
    )


def _pack(folder: Path, path: Path) -> None:
    """Pack a folder into a zip whose bytes depend on nothing but names and contents."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = zipfile.ZipInfo(file.relative_to(folder).as_posix(), (1980, 1, 1, 0, 0, 0))
            archive.writestr(name, file.read_bytes())


def read_attributes(path: str | Path) -> dict:
    """Read a shard's attributes; InputError if the file is not a shard."""
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("zarr.json"))["attributes"]
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise InputError(path, f"is not a whole shard ({error})", REMEDY) from None


def check_shard(path: str | Path) -> None:
    """Read every byte of a shard; InputError if any is not what was written."""
    attributes = read_attributes(path)
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (OSError, zipfile.BadZipFile) as error:
        damaged = str(error)
    if damaged:
        raise InputError(path, f"is damaged ({damaged})", REMEDY)
    views = len(attributes["view"])
    for name in DIMENSIONS:
        if _open(path, name).shape[0] != views:
            raise InputError(path, f"does not hold {views} views in {name!r}", REMEDY)


def _open(path: str | Path, name: str) -> ts.TensorStore:
    store = {"driver": "zip", "base": f"file://{Path(path).resolve()}", "path": f"{name}/"}
    try:
        return ts.open({"driver": "zarr3", "kvstore": store}, open=True, read=True).result()
    except (ValueError, OSError) as error:
        reason = str(error).splitlines()[0][:120]
        raise InputError(path, f"has no readable array {name!r} ({reason})", REMEDY) from None


class Shards:
    """Random access to the views of many shards, in the order of the paths.

    Images are read when asked for; the small arrays are read once.
    """

    def __init__(self, paths: Sequence[str | Path]):
        """Open shards that must agree in image size, landmarks and pixel pitch."""
        if not paths:
            raise InputError("shards", "none are given", "Check the data set's view sets")
        self.paths = [Path(path) for path in paths]
        self.attributes = [read_attributes(path) for path in self.paths]
        first = self.attributes[0]
        for path, attributes in zip(self.paths, self.attributes, strict=True):
            for key in ("landmarks", "flip_pairs", "pixel_mm", "stride"):
                if attributes[key] != first[key]:
                    raise InputError(path, f"differs from {self.paths[0]} in {key}", REMEDY)
        self.landmarks: list[str] = first["landmarks"]
        self.flip_pairs = [tuple(pair) for pair in first["flip_pairs"]]
        self.pixel_mm: float = first["pixel_mm"]
        self.views: list[str] = [view for a in self.attributes for view in a["view"]]
        self.subjects: list[str] = [subject for a in self.attributes for subject in a["subject"]]
        self.digest = text_digest(*(a["digest"] for a in self.attributes), *self.views)
        counts = [len(a["view"]) for a in self.attributes]
        self._shard_of = np.repeat(np.arange(len(counts)), counts)
        self._index_of = np.concatenate([np.arange(count) for count in counts])

    def __len__(self) -> int:
        return len(self.views)

    def __getstate__(self) -> dict:
        """Leave open files behind, so that other processes can have a copy."""
        return {"paths": self.paths}

    def __setstate__(self, state: dict) -> None:
        self.__init__(state["paths"])

    @cached_property
    def _images(self) -> list[ts.TensorStore]:
        return [_open(path, "image") for path in self.paths]

    @cached_property
    def small(self) -> dict[str, np.ndarray]:
        """Everything but images and belief maps, for all views."""
        names = ("landmarks", "visible", "landmarks_world", "K", "world_to_camera")
        reads = {n: [_open(path, n).read() for path in self.paths] for n in names}
        return {n: np.concatenate([read.result() for read in r]) for n, r in reads.items()}

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Return the arrays (all but the belief maps) of the views with these numbers."""
        reads = [self._images[self._shard_of[i]][self._index_of[i]].read() for i in indices]
        try:
            images = np.stack([read.result() for read in reads])
        except ValueError as error:
            shards = sorted({str(self.paths[self._shard_of[i]]) for i in indices})
            reason = str(error).splitlines()[0][:120]
            raise InputError(" or ".join(shards), f"is damaged ({reason})", REMEDY) from None
        return {"image": images, **{name: a[indices] for name, a in self.small.items()}}
