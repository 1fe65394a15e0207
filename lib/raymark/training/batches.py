"""Views on their way into a network: read ahead in a thread, moved to the device."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch

from raymark.core.digests import text_digest
from raymark.landmarks.table import flip_pairs
from raymark.landmarks.types import Types, channels_of
from raymark.methods.base import Batch

READ_AHEAD = 2


class Samples(Protocol):
    """Views in random access, and what they have in common."""

    landmarks: list[str]
    flip_pairs: list[tuple[str, str]]
    pixel_mm: float | None
    digest: str

    def __len__(self) -> int: ...

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Return the arrays of a shard, by name, for the views with these numbers."""
        ...


class ByType:
    """Samples of which the landmarks of a type share a channel; `landmarks` names the channels."""

    def __init__(self, samples: Samples, types: Types):
        channels = channels_of(samples.landmarks, types)
        self.samples, self.pixel_mm = samples, samples.pixel_mm
        self.landmarks = list(channels)
        self.flip_pairs = flip_pairs(self.landmarks)
        self.channels = tuple(
            tuple(samples.landmarks.index(name) for name in members)
            for members in channels.values()
        )
        self.digest = text_digest(samples.digest, repr(channels))

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, indices: np.ndarray) -> dict:
        """Return the arrays of the samples, and `channels` (see `Batch`)."""
        return self.samples.read(indices) | {"channels": self.channels}


def partners(samples: Samples) -> np.ndarray:
    """Return for each landmark of the samples' views the number of the one it swaps sides with.

    A landmark without a partner is its own.
    """
    views = samples.samples if isinstance(samples, ByType) else samples
    number = {name: index for index, name in enumerate(views.landmarks)}
    partner = np.arange(len(views.landmarks))
    for left, right in views.flip_pairs:
        partner[[number[left], number[right]]] = number[right], number[left]
    return partner


def batches(
    samples: Samples, groups: Iterable[np.ndarray], device: torch.device
) -> Iterator[Batch]:
    """Yield one batch, on `device`, per group of view numbers; the next ones are read meanwhile."""
    with ThreadPoolExecutor(1, thread_name_prefix="loading") as thread:
        ahead = deque()
        for group in groups:
            ahead.append(thread.submit(_read, samples, group))
            if len(ahead) > READ_AHEAD:
                yield ahead.popleft().result().to(device)
        while ahead:
            yield ahead.popleft().result().to(device)


def _read(samples: Samples, group: np.ndarray) -> Batch:
    arrays = samples.read(group)
    image = torch.as_tensor(arrays["image"].astype(np.float32))[:, None]
    return Batch(
        image=image,
        landmarks=torch.as_tensor(arrays["landmarks"].astype(np.float32)),
        visible=torch.as_tensor(arrays["visible"].astype(bool)),
        K=torch.as_tensor(arrays["K"].astype(np.float64)),
        world_to_camera=torch.as_tensor(arrays["world_to_camera"].astype(np.float64)),
        landmarks_world=torch.as_tensor(arrays["landmarks_world"].astype(np.float32)),
        channels=arrays.get("channels"),
    )
