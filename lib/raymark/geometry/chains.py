"""Structures of repeated parts: which of the points found is which member of an ordered chain.

The members of a landmark type, in the order in which the landmark file lists them, are a chain: vertebrae,
teeth of a jaw, ribs. Candidates are points that look like any member; some are none, and some members have
no candidate. The names that fit best are found exactly, by dynamic programming over members and candidates
(as pictorial structures are, Felzenszwalb and Huttenlocher 2005, on a chain with gaps).

A member's place given that of the member named before it is a normal distribution learned from annotated
images, for every pair of members, so that spacing, direction, the place on the image, and how far a gap
leads are all in it. Candidates that are no member are taken to lie anywhere, with equal chance.
"""

from dataclasses import dataclass

import numpy as np

LEAST_DEVIATION_PX = 1.0  # of any place: what annotators agree to
LEAST_IMAGES = 4  # that show both members of a pair; a plane needs three
CERTAIN = 1e-3  # confidence is kept this far from 0 and 1


@dataclass(frozen=True)
class ChainPrior:
    """What annotated images tell of the places (x, y) px of a chain's `members`.

    `mean_px` (l, 2) and `covariance` (l, 2, 2) are of a member by itself; given that member i is at p,
    member j is about ``offset[i, j] + slope[i, j] @ p`` with the covariance `spread[i, j]`. `present` (l,)
    is the share of images that show it. Pairs that too few images show are NaN.
    """

    mean_px: np.ndarray
    covariance: np.ndarray
    offset: np.ndarray
    slope: np.ndarray
    spread: np.ndarray
    present: np.ndarray

    def first(self, points_px: np.ndarray) -> np.ndarray:
        """Return the logarithm of the density (c, l) of points (c, 2) as each member by itself."""
        return _log_normal(points_px[:, None] - self.mean_px, self.covariance)

    def next(self, points_px: np.ndarray, before: int, member: int) -> np.ndarray:
        """Return that of each point (column) as `member`, each point (row) being member `before`."""
        expected = self.offset[before, member] + points_px @ self.slope[before, member].T
        return _log_normal(points_px - expected[:, None], self.spread[before, member])


def learned(chains_px: np.ndarray) -> ChainPrior:
    """Learn from the places (image, l, 2) of a chain's members in images, NaN where not annotated."""
    known = np.isfinite(chains_px).all(-1)
    images, members = known.shape
    mean, covariance = np.full((members, 2), np.nan), np.full((members, 2, 2), np.nan)
    offset, slope = (
        np.full((members, members, 2), np.nan),
        np.full((members, members, 2, 2), np.nan),
    )
    spread = slope.copy()
    for j in range(members):
        if known[:, j].sum() >= LEAST_IMAGES:
            place = chains_px[known[:, j], j]
            mean[j], covariance[j] = place.mean(0), _covariance(place - place.mean(0), 1)
        for i in range(j):
            both = known[:, i] & known[:, j]
            if both.sum() >= LEAST_IMAGES:
                given = np.column_stack([np.ones(both.sum()), chains_px[both, i]])
                fit = np.linalg.lstsq(given, chains_px[both, j], rcond=None)[0]
                offset[i, j], slope[i, j] = fit[0], fit[1:].T
                spread[i, j] = _covariance(chains_px[both, j] - given @ fit, 3)
    present = (known.sum(0) + 1) / (images + 2)  # neither never nor always
    return ChainPrior(mean, covariance, offset, slope, spread, present)


def named(
    prior: ChainPrior, points_px: np.ndarray, confidence: np.ndarray, area_px: float
) -> np.ndarray:
    """Return for each member the number of its candidate, -1 where it is missing, (l,).

    `points_px` (c, 2) are candidates, `confidence` (c,) the chance that each is any member, `area_px` the
    size of the image in px². Of all ways to name candidates in order, with any gaps, it is the likeliest:
    a named candidate counts by its odds and by how much likelier its place is than one anywhere, a member
    without a candidate by the chance that an image lacks it.
    """
    count, members = len(points_px), len(prior.present)
    sure = np.clip(confidence, CERTAIN, 1 - CERTAIN)
    gain = np.log(sure / (1 - sure)) + np.log(area_px)
    here = gain[:, None] + np.log(prior.present)
    gap = np.r_[0.0, np.cumsum(np.log(1 - prior.present))]  # of all members before each
    best = np.nan_to_num(prior.first(points_px), nan=-np.inf) + here + gap[:-1]
    came_from = np.full((count, members, 2), -1)
    for member in range(members):
        for before in range(member):
            step = np.nan_to_num(prior.next(points_px, before, member), nan=-np.inf)
            np.fill_diagonal(step, -np.inf)
            total = best[:, before, None] + step + here[:, member] + gap[member] - gap[before + 1]
            row = total.argmax(0) if count else np.zeros(0, int)
            value = total[row, np.arange(count)]
            better = value > best[:, member]
            best[better, member] = value[better]
            came_from[better, member] = np.column_stack([row, np.full(count, before)])[better]
    ending = best + gap[-1] - gap[1:]
    return _traced(ending, came_from, nothing=gap[-1])


def _traced(ending: np.ndarray, came_from: np.ndarray, nothing: float) -> np.ndarray:
    """Follow the best chain back from its last member; where no candidate at all is better, none."""
    names = np.full(ending.shape[1], -1)
    if not ending.size or not ending.max() > nothing:
        return names
    candidate, member = np.unravel_index(ending.argmax(), ending.shape)
    while candidate >= 0:
        names[member] = candidate
        candidate, member = came_from[candidate, member]
    return names


def _covariance(residuals: np.ndarray, fitted: int) -> np.ndarray:
    """Return the covariance (2, 2) of residuals (n, 2) after so many were fitted along each axis."""
    own = residuals.T @ residuals / max(1, len(residuals) - fitted)
    return own + LEAST_DEVIATION_PX**2 * np.eye(2)


def _log_normal(away: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the logarithm of normal densities (...) at vectors (..., 2) from their means."""
    (a, b), (_, d) = np.moveaxis(covariance, (-2, -1), (0, 1))
    x, y = np.moveaxis(away, -1, 0)
    determinant = a * d - b * b
    squares = (d * x * x - 2 * b * x * y + a * y * y) / determinant
    return -0.5 * squares - 0.5 * np.log(determinant) - np.log(2 * np.pi)
