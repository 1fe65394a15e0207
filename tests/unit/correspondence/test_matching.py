import numpy as np
import pytest

from raymark.correspondence.config import Matching
from raymark.correspondence.matching import (
    by_ratio,
    consistent,
    match_by_network,
    match_by_sift,
    sift,
)
from raymark.correspondence.network import build
from tests.unit.correspondence.examples import TINY, textured

DISTANCE = np.array(
    [
        [0.1, 0.5, 0.9],
        [0.2, 0.6, 0.4],
        [0.7, 0.3, 0.8],
        [0.9, 0.35, 0.5],
    ]
)


def test_inverse_consistency_by_hand():
    # Row 1 prefers column 0, which prefers row 0; row 3 prefers column 1, which prefers row 2;
    # column 2 prefers row 1, which prefers column 0.
    assert consistent(DISTANCE).tolist() == [[0, 0], [2, 1]]
    assert consistent(DISTANCE.T).tolist() == [[0, 0], [1, 2]]


def test_both_costs_must_agree():
    other = DISTANCE.copy()
    other[2, 1] = 0.95  # now row 3 is the best of column 1 by this cost
    assert consistent(DISTANCE, other).tolist() == [[0, 0]]
    assert consistent(DISTANCE, 3 * DISTANCE + 1).tolist() == [[0, 0], [2, 1]]


def test_nothing_matches_nothing():
    for shape in ((0, 3), (3, 0), (0, 0)):
        assert consistent(np.empty(shape)).shape == (0, 2)
        assert by_ratio(np.empty(shape), 0.8).shape == (0, 2)


def test_ratio_test_by_hand():
    # Nearest over second: 0.2, 0.5, 0.43 and 0.7.
    assert by_ratio(DISTANCE, 0.8).tolist() == [[0, 0], [1, 0], [2, 1], [3, 1]]
    assert by_ratio(DISTANCE, 0.45).tolist() == [[0, 0], [2, 1]]
    assert by_ratio(DISTANCE[:, :1], 0.8).shape == (0, 2)


def test_sift_finds_a_shift():
    image = textured(1, side=96).image_zyx[0] / 255
    moved = np.roll(image, (3, 5), axis=(0, 1))
    for points1, points2 in match_by_sift(image, moved, Matching()).values():
        assert len(points1) > 10
        off = points2 - points1 - [5, 3]
        assert np.median(np.linalg.norm(off, axis=1)) < 0.05


def test_sift_of_an_empty_image_is_empty():
    points, descriptors = sift(np.zeros((64, 64)))
    assert (len(points), len(descriptors)) == (0, 0)


def test_network_matches_an_image_with_itself_point_by_point():
    image = textured(1, side=96).image_zyx[0] / 255
    network = build(TINY.network, seed=1).eval()
    points1, points2 = match_by_network(network, image, image, Matching(probability=0.0))
    assert len(points1) > 100
    assert (points1 == points2).all()


@pytest.mark.parametrize("probability", [0.0, 0.5, 0.999])
def test_unlikely_landmarks_are_dropped(probability):
    image = textured(1, side=96).image_zyx[0] / 255
    network = build(TINY.network, seed=1).eval()
    network.landmark.bias.data.fill_(2.0)
    points, _ = match_by_network(network, image, image, Matching(probability=probability))
    everyone, _ = match_by_network(network, image, image, Matching(probability=0.0))
    assert {tuple(p) for p in points} <= {tuple(p) for p in everyone}
    if probability == 0.999:
        assert len(points) == 0
