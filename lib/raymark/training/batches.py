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

    @property
    def digest(self) -> str: ...

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


class Reduced:
    """Samples whose images are reduced `by` a whole number along both axes, by averaging.

    Rows and columns that fill no whole cell are left out, as `raymark.methods.base.Reduced` does.
    """

    def __init__(self, samples: Samples, by: int):
        self.samples, self.by = samples, by
        self.landmarks, self.flip_pairs = samples.landmarks, samples.flip_pairs
        self.pixel_mm = samples.pixel_mm and samples.pixel_mm * by
        self.digest = samples.digest

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Return the arrays, in px of the reduced images."""
        arrays, by = dict(self.samples.read(indices)), self.by
        image = arrays["image"].astype(np.float32)
        rows, columns = (size // by for size in image.shape[1:])
        cells = image[:, : rows * by, : columns * by].reshape(-1, rows, by, columns, by)
        to_reduced = np.array([[1, 0, -(by - 1) / 2], [0, 1, -(by - 1) / 2], [0, 0, by]]) / by
        landmarks = (arrays["landmarks"] - np.float32((by - 1) / 2)) / np.float32(by)
        inside = (landmarks <= np.array([columns - 0.5, rows - 0.5])).all(axis=-1)
        return arrays | {
            "image": cells.mean(axis=(2, 4)),
            "landmarks": landmarks,
            "visible": arrays["visible"] & inside,
            "K": to_reduced @ arrays["K"],
        }


def whole_of(samples: Samples) -> Samples:
    """Return the samples as they are, of all landmarks and at full size."""
    while isinstance(samples, ByType | Reduced):
        samples = samples.samples
    return samples


def partners(samples: Samples) -> np.ndarray:
    """Return for each landmark of the samples' views the number of the one it swaps sides with.

    A landmark without a partner is its own.
    """
    views = whole_of(samples)
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
