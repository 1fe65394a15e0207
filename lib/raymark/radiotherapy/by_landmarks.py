"""Displacement of the patient from landmarks: planned ones, known by name, and those found.

LandmarkNet registers the MV image to the kV rendering "by landmark alignment" and does not say how.
Some landmarks are found by name, others only as instances of a type (a spinous process, not which),
any may be wrong or missing, so the displacement is the one on which most of them agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ROUNDS = 5  # of taking the mean of what agrees, and looking again at what agrees with it


@dataclass(frozen=True)
class Planned:
    """The planned landmarks in the reference image: names, the type of each ("" for none), their
    places (landmark, 2) in px, and the mm that a px is at the depth of each (landmark,)."""

    names: Sequence[str]
    kinds: Sequence[str]
    points_px: np.ndarray
    mm_per_px: np.ndarray


@dataclass(frozen=True)
class Match:
    """A displacement (x, y) in mm and the pairs (found, planned) that agree on it."""

    displacement_mm: np.ndarray
    pairs: tuple[tuple[int, int], ...]


def matched(
    names: Sequence[str], points_px: np.ndarray, planned: Planned, inlier_mm: float
) -> Match | None:
    """Return the displacement on which most landmarks agree, or None where none has a partner.

    `names` of the found landmarks (n,) are names or types; `points_px` (n, 2) their places. Every
    possible pairing proposes its displacement; what lies within `inlier_mm` of it agrees, each
    landmark once; their mean replaces the proposal until the pairs stay. Most pairs win, then the
    smallest displacement: patients lie near the plan, and equal processes repeat along the spine.
    """
    possible = [
        (f, p)
        for f, name in enumerate(names)
        for p, own in enumerate(zip(planned.names, planned.kinds, strict=True))
        if name in own
    ]
    if not possible:
        return None
    found, plan = np.array(possible).T
    moved_mm = (points_px[found] - planned.points_px[plan]) * planned.mm_per_px[plan, None]
    matches = [_settled(start, found, plan, moved_mm, inlier_mm) for start in moved_mm]
    return min(matches, key=lambda m: (-len(m.pairs), round(np.hypot(*m.displacement_mm), 6)))


def _settled(
    start_mm: np.ndarray,
    found: np.ndarray,
    plan: np.ndarray,
    moved_mm: np.ndarray,
    inlier_mm: float,
) -> Match:
    """Turn one proposal into the mean of the pairs that agree with it."""
    displacement_mm = start_mm
    kept: list[int] = []
    for _ in range(ROUNDS):
        agreeing = _agreeing(displacement_mm, found, plan, moved_mm, inlier_mm)
        if agreeing == kept or not agreeing:
            break
        kept, displacement_mm = agreeing, moved_mm[agreeing].mean(axis=0)
    pairs = tuple((int(found[k]), int(plan[k])) for k in kept)
    return Match(displacement_mm, pairs)


def _agreeing(
    displacement_mm: np.ndarray,
    found: np.ndarray,
    plan: np.ndarray,
    moved_mm: np.ndarray,
    inlier_mm: float,
) -> list[int]:
    """Choose the pairs near a displacement, the nearest first, every landmark at most once."""
    away_mm = np.hypot(*(moved_mm - displacement_mm).T)
    chosen, used_found, used_plan = [], set(), set()
    for k in np.argsort(away_mm, kind="stable"):
        if away_mm[k] > inlier_mm:
            break
        if found[k] not in used_found and plan[k] not in used_plan:
            chosen.append(int(k))
            used_found.add(found[k])
            used_plan.add(plan[k])
    return sorted(chosen)
