"""Views on their way into a network: read ahead in a thread, moved to the device."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Protocol

import numpy as np
import torch

from raymark.core.digests import text_digest
from raymark.core.names import flip_pairs
from raymark.core.threads import in_order
from raymark.landmarks.types import Types, channels_of
from raymark.methods.base import Batch


class Samples(Protocol):
    """Views in random access, and what they have in common."""

    landmarks: list[str]
    flip_pairs: list[tuple[str, str]]
    digest: str

    @property
    def pixel_mm(self) -> float | None:
        """The pitch of the images' pixels, where it is known."""

    def __len__(self) -> int: ...

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Return the arrays of a shard, by name, for the views with these numbers."""
        ...


class NamedSamples(Samples, Protocol):
    """Samples that tell which view of which subject each of them is."""

    views: list[str]
    subjects: list[str]


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

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Return the arrays of the samples, of all their landmarks."""
        return self.samples.read(indices)


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
    for batch in in_order(partial(_read, samples), groups, threads=1):
        yield batch.to(device)


def _read(samples: Samples, group: np.ndarray) -> Batch:
    arrays = samples.read(group)
    landmarks = arrays["landmarks"].astype(np.float32)
    known = ~np.isnan(landmarks[..., 0])  # else not marked in this image: it teaches nothing
    image = torch.as_tensor(arrays["image"].astype(np.float32))[:, None]
    return Batch(
        image=image,
        landmarks=torch.as_tensor(np.where(known[..., None], landmarks, np.float32(0))),
        visible=torch.as_tensor(arrays["visible"].astype(bool) & known),
        K=torch.as_tensor(arrays["K"].astype(np.float64)),
        world_to_camera=torch.as_tensor(arrays["world_to_camera"].astype(np.float64)),
        landmarks_world=torch.as_tensor(arrays["landmarks_world"].astype(np.float32)),
        channels=samples.channels if isinstance(samples, ByType) else None,
    )
