"""Matches on test slices under every kind of transformation, and how far they are off (section 3)."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from raymark.correspondence.config import KINDS, Correspondence
from raymark.correspondence.matching import Points, match_by_network, match_by_sift
from raymark.correspondence.network import Network
from raymark.correspondence.pairs import Pair, Transformation, pair_for_testing
from raymark.correspondence.slices import PIXEL_MM, Stack


def evaluate_network(
    network: Network, stacks: list[Stack], settings: Correspondence
) -> pd.DataFrame:
    """Return the network's matches on every test pair, as `raymark.correspondence.matches` has them."""
    rows = []
    for place, pair, transformation in _all_pairs(stacks, settings):
        matched = match_by_network(network, pair.image1, pair.image2, settings.matching)
        rows.append(_rows(place | {"method": "network"}, matched, transformation))
    return pd.concat(rows, ignore_index=True)


def evaluate_sift(stacks: list[Stack], settings: Correspondence) -> pd.DataFrame:
    """Return both baselines' matches on every test pair, as `raymark.correspondence.matches` has them."""
    rows = []
    for place, pair, transformation in _all_pairs(stacks, settings):
        for method, matched in match_by_sift(pair.image1, pair.image2, settings.matching).items():
            rows.append(_rows(place | {"method": method}, matched, transformation))
    return pd.concat(rows, ignore_index=True)


def _all_pairs(
    stacks: list[Stack], settings: Correspondence
) -> Iterator[tuple[dict, Pair, Transformation]]:
    for stack in stacks:
        for k in range(len(stack)):
            for kind in KINDS:
                place = {"subject": stack.subject, "z_mm": stack.z_mm[k], "transformation": kind}
                yield place, *pair_for_testing(stack, k, kind, settings)


def _rows(place: dict, matched: Points, transformation: Transformation) -> pd.DataFrame:
    """Measure matches: points of image 2 are projected onto image 1 (section 3.3)."""
    points1, points2 = matched
    if not len(points1):
        points1 = points2 = np.full((1, 2), np.nan)
    error_px = np.linalg.norm(transformation.phi(points2) - points1, axis=-1)
    return pd.DataFrame(
        {
            **place,
            "x1_px": points1[:, 0],
            "y1_px": points1[:, 1],
            "x2_px": points2[:, 0],
            "y2_px": points2[:, 1],
            "error_mm": error_px * PIXEL_MM,
        }
    )
