"""Shards as a PyTorch data set, for a loop of one's own: safe with worker processes, forked or spawned.

tensorstore, by which `Shards` reads, has threads that do not survive a fork, and an open zip that several
processes share gives one the bytes that another asked for. Here every process opens each file for itself,
when it first reads from it, and decodes chunks without threads.
"""

import json
import math
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from raymark.core.errors import InputError
from raymark.datasets.shards import CODECS, REMEDY, SMALL, TYPES, Shards, chunk_name


class TorchViews(Dataset):
    """The views of shards, one an item, in the order of the paths.

    An item is a dict: `image` float32 (1, y, x), bone bright; `landmarks` float32 (landmark, xy) px, NaN
    where an imported image lacks one; `visible` bool (landmark,); `landmarks_world` float32
    (landmark, xyz) mm; `K` (3, 3) px and `world_to_camera` (4, 4) mm, float64; `view` and `subject`, names.
    """

    def __init__(self, paths: Sequence[str | Path]):
        """Take shards that agree as those of `Shards` must; nothing stays open."""
        self.shards = Shards(paths)
        self.landmarks, self.flip_pairs = self.shards.landmarks, self.shards.flip_pairs
        self.pixel_mm = self.shards.pixel_mm
        self._process = -1  # whose the open files are
        self._open: dict[int, _OpenShard] = {}

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor | str]:
        if not -len(self) <= number < len(self):
            raise IndexError(f"there are {len(self)} views, no number {number}")
        number %= len(self)
        shard, index = self.shards.place_of(number)
        opened = self._opened(shard)
        arrays = {name: values[index] for name, values in opened.small.items()}
        image = opened.chunk("image", index)[0].astype(np.float32)
        tensors = {name: torch.from_numpy(values.copy()) for name, values in arrays.items()}
        return {
            "image": torch.from_numpy(image)[None],
            **tensors,
            "view": self.shards.views[number],
            "subject": self.shards.subjects[number],
        }

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_open": {}, "_process": -1}

    def _opened(self, shard: int) -> "_OpenShard":
        if self._process != os.getpid():
            self._open, self._process = {}, os.getpid()
        if shard not in self._open:
            self._open[shard] = _OpenShard(self.shards.paths[shard])
        return self._open[shard]


class _OpenShard:
    """One file, open in one process."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self.archive = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(path, f"is not a whole shard ({error})", REMEDY) from None
        self.small = {name: self.chunk(name, 0) for name in SMALL}

    def chunk(self, name: str, index: int) -> np.ndarray:
        """Return a chunk of an array, its checksum verified; InputError if it is damaged."""
        try:
            description = json.loads(self.archive.read(f"{name}/zarr.json"))
            shape = description["chunk_grid"]["configuration"]["chunk_shape"]
            encoded: bytes | np.ndarray = self.archive.read(chunk_name(name, index))
            for codec in reversed(CODECS):
                encoded = codec.decode(encoded)
            if len(encoded) != math.prod(shape) * np.dtype(TYPES[name]).itemsize:
                raise ValueError("a chunk of another size")
            return np.frombuffer(encoded, TYPES[name]).reshape(shape)
        except Exception as error:  # a damaged zip has zipfile raise errors of many kinds
            raise InputError(self.path, f"is damaged ({error})", REMEDY) from None
