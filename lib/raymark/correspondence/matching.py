"""From two images to matched points: the network's inference, and two baselines on SIFT.

Every matcher takes images (y, x) from 0 to 1 and returns points (n, 2) of the first and of the
second, matched row by row, (x, y) px.
"""

import numpy as np
import torch
from scipy.spatial.distance import cdist
from skimage.feature import SIFT

from raymark.correspondence.config import Matching
from raymark.correspondence.network import Network, at, covered_px, describe, distances, sample

Points = tuple[np.ndarray, np.ndarray]


@torch.no_grad()
def match_by_network(
    network: Network, image1: np.ndarray, image2: np.ndarray, config: Matching
) -> Points:
    """Match with a trained network (section 2.5)."""
    points, descriptors = [], []
    for image in (image1, image2):
        logits, features = network(torch.as_tensor(image, dtype=torch.float32)[None, None])
        found = sample(logits)
        likely = at(logits, found)[0, :, 0].sigmoid() > config.probability
        found = found[:, likely]
        points.append(found[0].numpy())
        descriptors.append(describe(features, found, covered_px(features)))
    apart = distances(*descriptors)[0].numpy()
    probability = network.match_logits(*descriptors)[0].numpy()
    pairs = consistent(apart, -probability)
    return points[0][pairs[:, 0]].astype(float), points[1][pairs[:, 1]].astype(float)


def consistent(*costs: np.ndarray) -> np.ndarray:
    """Return the inversely consistent pairs (n, 2) of rows and columns, by row.

    In every one of the `costs` (k1, k2), no other pair of that row or that column costs less.
    """
    rows, columns = costs[0].shape
    if not rows or not columns:
        return np.empty((0, 2), dtype=int)
    lowest = np.ones((rows, columns), dtype=bool)
    for cost in costs:
        lowest &= cost == cost.min(axis=1, keepdims=True)
        lowest &= cost == cost.min(axis=0, keepdims=True)
    return np.argwhere(lowest)


def by_ratio(distance: np.ndarray, ratio: float) -> np.ndarray:
    """Return the pairs (n, 2) of each row and its nearest column, where the second is far enough.

    Lowe's test: the nearest distance is below `ratio` times the second nearest.
    """
    if not len(distance) or distance.shape[1] < 2:
        return np.empty((0, 2), dtype=int)
    nearest = distance.argmin(axis=1)
    first, second = np.partition(distance, 1, axis=1)[:, :2].T
    rows = np.flatnonzero(first < ratio * second)
    return np.stack([rows, nearest[rows]], axis=1)


def sift(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return SIFT's points (n, 2) px and descriptors (n, 128).

    scikit-image's defaults are OpenCV's: three layers per octave of an image doubled in size, sigma
    1.6, contrast threshold 0.04 (over the layers), edge threshold 10.
    """
    detector = SIFT()
    try:
        detector.detect_and_extract(image)
    except RuntimeError:  # how it says that it found nothing
        return np.empty((0, 2)), np.empty((0, 128))
    return detector.positions[:, ::-1].astype(float), detector.descriptors.astype(np.float32)


def match_by_sift(image1: np.ndarray, image2: np.ndarray, config: Matching) -> dict[str, Points]:
    """Match by SIFT with inverse consistency and with the ratio test (section 3.1)."""
    (points1, descriptors1), (points2, descriptors2) = sift(image1), sift(image2)
    apart = cdist(descriptors1, descriptors2)
    pairs = {"sift_inverse": consistent(apart), "sift_ratio": by_ratio(apart, config.ratio)}
    return {name: (points1[p[:, 0]], points2[p[:, 1]]) for name, p in pairs.items()}
