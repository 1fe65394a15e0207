"""A batch of small images and each method's tiny network."""

import numpy as np
import torch

from raymark.methods.base import Batch, LandmarkNetwork, build
from raymark.training.batches import batches
from tests.unit.training.examples import TINY, Blobs


def example(count: int = 2, shape_yx: tuple[int, int] = (52, 60)) -> Batch:
    return next(batches(Blobs(count, shape_yx), [np.arange(count)], torch.device("cpu")))


def tiny(name: str, seed: int = 0) -> LandmarkNetwork:
    return build(name, TINY[name], 3, seed, "test")


def true_maps(batch: Batch, stride: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Return maps of `shape` (..., landmark, row, column) with a peak of 1 at the first image's points."""
    maps = torch.zeros(shape)
    rows, columns = shape[-2:]
    y, x = torch.arange(rows)[:, None] * stride, torch.arange(columns) * stride
    for landmark, (at_x, at_y) in enumerate(batch.landmarks[0]):
        maps[..., landmark, :, :] = torch.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / 50)
    return maps
