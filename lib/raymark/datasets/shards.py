"""Shards: some views of one subject in one file that any framework can read.

A shard is one zarr v3 group in one uncompressed zip, so that it moves, is checked and appears as a
whole. Its arrays, of which images and belief maps have one chunk per view:

    image            float16 (view, y, x)                  −ln of the detector's signal
    landmarks        float32 (view, landmark, xy)          px
    visible          bool    (view, landmark)              on the detector
    beliefs          float16 (view, landmark, row, column) peak 1, cells of `stride` px
    landmarks_world  float32 (view, landmark, xyz)         mm, world RAS
    K                float64 (view, 3, 3)                  px
    world_to_camera  float64 (view, 4, 4)                  mm

Attributes: `view` (ids), `subject` (of each view), `landmarks` (names), `flip_pairs`, `pixel_mm`,
`stride`, `sigma_px`, `units`, `digest` (of what made it). Equal content gives equal bytes.
"""

import json
import math
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import tensorstore as ts
from numcodecs import Blosc, blosc
from numcodecs.checksum32 import CRC32C

from raymark.core.digests import text_digest
from raymark.core.errors import InputError
from raymark.core.files import atomic

Result = TypeVar("Result")

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
LARGE = ("image", "beliefs")
SMALL = tuple(name for name in TYPES if name not in LARGE)
ATTRIBUTES = {"view", "subject", "landmarks", "flip_pairs", "pixel_mm", "stride", "digest"}
LISTS = ("view", "subject", "landmarks")  # those that list names
DESCRIPTION_BYTES = 64 << 20  # of `zarr.json`: far above what any number of views needs
LZ4_RATIO = 256  # LZ4 makes nothing smaller than by this
# Several threads of its own would put the parts of a chunk in the order in which they end.
blosc.use_threads = False
CODECS = [Blosc(cname="lz4", clevel=1, shuffle=Blosc.SHUFFLE), CRC32C(location="end")]
REMEDY = (
    "Run raymark check --delete, then the command that it tells: it is made anew, to the same bytes"
)


def write_shard(
    path: str | Path,
    views: Iterable[Mapping[str, np.ndarray]],
    count: int,
    attributes: Mapping[str, object],
) -> None:
    """Write `count` views, each a mapping from array name to that view's values, as one shard.

    Images and belief maps go into the file as they come, so that memory does not grow with the
    number of views. The file appears under its name only when it is whole.
    """
    small: dict[str, list[np.ndarray]] = {name: [] for name in SMALL}
    shapes = {}
    with atomic(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for index, view in enumerate(views):
            for name in LARGE:
                chunk = np.ascontiguousarray(view[name], dtype=TYPES[name])
                shapes[name] = chunk.shape
                for codec in CODECS:
                    chunk = codec.encode(chunk)
                _add(archive, chunk_name(name, index), chunk.data)
            for name, rows in small.items():
                rows.append(np.asarray(view[name], dtype=TYPES[name]))
        large = {name: (count, *shape) for name, shape in shapes.items()}
        stacked = {name: np.stack(rows) for name, rows in small.items()}
        for name, content in _described(large, stacked, attributes):
            _add(archive, name, content)


def _described(
    large: Mapping[str, tuple], small: Mapping[str, np.ndarray], attributes: Mapping[str, object]
) -> list[tuple[str, bytes]]:
    """Return all of a group but the chunks of its large arrays, of which only shapes are given."""
    import zarr  # only those who write need it
    from zarr.abc.buffer import Buffer
    from zarr.codecs import BloscCodec, Crc32cCodec
    from zarr.storage import MemoryStore

    files: dict[str, Buffer] = {}
    group = zarr.create_group(MemoryStore(files), attributes=dict(attributes) | {"units": UNITS})

    def array(name: str, shape: tuple, chunks: tuple) -> zarr.Array:
        return group.create_array(
            name,
            shape=shape,
            chunks=chunks,
            dtype=TYPES[name],
            compressors=[BloscCodec(cname="lz4", clevel=1, shuffle="shuffle"), Crc32cCodec()],
            dimension_names=DIMENSIONS[name],
            config={"write_empty_chunks": True},
        )

    for name, shape in large.items():
        array(name, shape, chunks=(1, *shape[1:]))
    for name, values in small.items():
        array(name, values.shape, chunks=values.shape)[:] = values
    return [(name, buffer.to_bytes()) for name, buffer in sorted(files.items())]


def chunk_name(name: str, index: int) -> str:
    """Return the name, inside the zip, of the chunk `index` of an array along its views."""
    return "/".join([name, "c", str(index), *["0"] * (len(DIMENSIONS[name]) - 1)])


def _add(archive: zipfile.ZipFile, name: str, content: bytes | memoryview) -> None:
    archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), content)


def read_attributes(path: str | Path) -> dict:
    """Read a shard's attributes; InputError if the file is not a shard."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("zarr.json").file_size > DESCRIPTION_BYTES:
                raise ValueError("its description is too large")
            attributes = json.loads(archive.read("zarr.json"))["attributes"]
            if missing := ATTRIBUTES - attributes.keys():
                raise ValueError(f"it lacks {min(missing)!r}")
    except Exception as error:  # a damaged zip has zipfile raise errors of many kinds
        raise InputError(path, f"is not a whole shard ({error})", REMEDY) from None
    for name in LISTS:
        value = attributes[name]
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise InputError(path, f"is not a whole shard ({name!r} lists no names)", REMEDY)
    if len(attributes["view"]) != len(attributes["subject"]):
        raise InputError(path, "does not name the subject of every view", REMEDY)
    return attributes


def check_shard(path: str | Path) -> None:
    """Read every byte of a shard; InputError if the file is not, or not all of, what was written."""
    views = len(read_attributes(path)["view"])
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # as above
        damaged = str(error)
    if damaged:
        raise InputError(path, f"is damaged ({damaged})", REMEDY)
    # A reader takes a chunk that is not there for zeros.
    chunks = {chunk_name(name, index) for name in LARGE for index in range(views)}
    chunks |= {chunk_name(name, 0) for name in SMALL}
    found = _result(path, ts.KvStore.open(_zip(path)).result().list())
    if missing := chunks - {name.decode() for name in found}:
        raise InputError(path, f"lacks {min(missing)!r}", REMEDY)
    for name in DIMENSIONS:
        array = _open(path, name)
        if array.shape[0] != views:
            raise InputError(path, f"does not hold {views} views in {name!r}", REMEDY)
        for index in range(views):
            _result(path, array[index].read())


def _checksums(path: str | Path) -> list[str]:
    """List name and checksum of each part of a shard but its description of what made it."""
    with zipfile.ZipFile(path) as archive:
        parts = [part for part in archive.infolist() if part.filename != "zarr.json"]
        return [f"{part.filename} {part.CRC}" for part in parts]


def _zip(path: str | Path) -> dict:
    return {"driver": "zip", "base": f"file://{Path(path).resolve()}"}


def _open(path: str | Path, name: str) -> ts.TensorStore:
    store = _zip(path) | {"path": f"{name}/"}
    try:
        array = ts.open({"driver": "zarr3", "kvstore": store}, open=True, read=True).result()
    except (ValueError, OSError) as error:
        reason = str(error).splitlines()[0][:120]
        raise InputError(path, f"has no readable array {name!r} ({reason})", REMEDY) from None
    # What a chunk is said to hold is allocated before it is read.
    chunk_shape = cast(tuple[int, ...], array.chunk_layout.read_chunk.shape)  # known once open
    chunk_bytes = math.prod(chunk_shape) * array.dtype.numpy_dtype.itemsize
    if chunk_bytes > LZ4_RATIO * Path(path).stat().st_size:
        raise InputError(path, f"is too small for its array {name!r}", REMEDY)
    if array.dtype.name != TYPES[name] or array.rank != len(DIMENSIONS[name]):
        raise InputError(path, f"has an array {name!r} of another kind", REMEDY)
    return array


def _result(path: str | Path, read: ts.Future[Result]) -> Result:
    """Wait for what is being read."""
    try:
        return read.result()
    except ValueError as error:
        raise InputError(path, f"is damaged ({str(error)[:120]})", REMEDY) from None


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
        self._refuse_repeated()
        self.subjects: list[str] = [subject for a in self.attributes for subject in a["subject"]]
        counts = [len(a["view"]) for a in self.attributes]
        self._shard_of = np.repeat(np.arange(len(counts)), counts)
        self._index_of = np.concatenate([np.arange(count) for count in counts])

    def _refuse_repeated(self) -> None:
        """Refuse a shard in the place of another: its views would count twice."""
        of: dict[str, Path] = {}
        for path, attributes in zip(self.paths, self.attributes, strict=True):
            for view in attributes["view"]:
                if view in of:
                    raise InputError(path, f"holds {view!r}, as does {of[view]}", REMEDY)
                of[view] = path

    @cached_property
    def digest(self) -> str:
        """A digest of all content, by the checksums that the files hold of their parts."""
        return text_digest(*(line for path in self.paths for line in _checksums(path)))

    def __len__(self) -> int:
        return len(self.views)

    def __reduce__(self) -> tuple[type["Shards"], tuple[list[Path]]]:
        """Leave open files behind, so that other processes can have a copy."""
        return Shards, (self.paths,)

    @cached_property
    def _images(self) -> list[ts.TensorStore]:
        images = [_open(path, "image") for path in self.paths]
        for path, image in zip(self.paths, images, strict=True):
            if image.shape[1:] != images[0].shape[1:]:
                raise InputError(path, f"differs from {self.paths[0]} in image size", REMEDY)
        return images

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Size of the images in px."""
        _, height, width = self._images[0].shape
        return height, width

    @cached_property
    def small(self) -> dict[str, np.ndarray]:
        """Everything but images and belief maps, for all views."""
        return {
            name: np.concatenate([_result(p, _open(p, name).read()) for p in self.paths])
            for name in SMALL
        }

    def place_of(self, number: int) -> tuple[int, int]:
        """Return which shard a view lies in, and at which index there."""
        return int(self._shard_of[number]), int(self._index_of[number])

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Return the arrays (all but the belief maps) of the views with these numbers."""
        shards = self._shard_of[indices]
        reads = [
            self._images[s][i].read() for s, i in zip(shards, self._index_of[indices], strict=True)
        ]
        paths = [self.paths[s] for s in shards]
        images = np.stack([_result(p, r) for p, r in zip(paths, reads, strict=True)])
        return {"image": images, **{name: a[indices] for name, a in self.small.items()}}
