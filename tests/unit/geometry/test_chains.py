"""Chains against the truth they were drawn from, and against all ways to name a few candidates."""

from itertools import combinations, permutations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from raymark.geometry.chains import CERTAIN, learned, named

AREA_PX = 200.0 * 500.0
MEMBERS = 12


def spines(count: int, random: np.random.Generator, members: int = MEMBERS) -> np.ndarray:
    """Chains (count, members, 2) px from top to bottom: bent, of several sizes, placed about alike."""
    level = np.arange(members)
    spacing = random.uniform(26, 32, (count, 1)) * (1 + 0.03 * (level - members / 2))
    bend = random.normal(0, 25, (count, 1)) * np.sin(np.pi * level / (members - 1))
    x = 100 + random.normal(0, 5, (count, 1)) + bend
    y = 60 + random.normal(0, 6, (count, 1)) + np.cumsum(spacing, axis=1)
    return np.stack([x, y], axis=-1) + random.normal(0, 0.7, (count, members, 2))


PRIOR = learned(spines(300, np.random.default_rng(0)))


def candidates(truth, random, missing=(), clutter=0):
    """Points in a shuffled order, which member each is (-1: none), and confidences."""
    of = [m for m in range(len(truth)) if m not in missing] + [-1] * clutter
    anywhere = random.uniform(0, [200, 500], (len(of), 2))
    points = [truth[m] if m >= 0 else place for m, place in zip(of, anywhere, strict=True)]
    order = random.permutation(len(of))
    confidence = random.uniform(0.5, 0.95, len(of))
    return np.array(points)[order], np.array(of)[order], confidence


def named_members(names, of):
    """Which member each named candidate truly is; -1 where a member has no candidate."""
    return np.array([of[n] if n >= 0 else -1 for n in names])


@pytest.mark.parametrize("seed", range(6))
def test_every_member_is_named_among_clutter(seed):
    random = np.random.default_rng(seed + 100)
    points, of, confidence = candidates(spines(1, random)[0], random, clutter=6)
    assert named_members(named(PRIOR, points, confidence, AREA_PX), of).tolist() == [
        *range(MEMBERS)
    ]


@pytest.mark.parametrize("missing", [(0,), (11,), (5,), (4, 5), (0, 7, 11)])
def test_missing_members_are_told_and_the_others_keep_their_names(missing):
    right = 0
    for seed in range(10):
        random = np.random.default_rng(seed)
        points, of, confidence = candidates(spines(1, random)[0], random, missing, clutter=2)
        expected = [-1 if m in missing else m for m in range(MEMBERS)]
        right += named_members(named(PRIOR, points, confidence, AREA_PX), of).tolist() == expected
    assert right >= 9


@pytest.mark.parametrize("more", [1, 2])
def test_further_parts_that_have_no_name_are_left_over(more):
    """An image that also shows what continues the chain below: the names do not move there."""
    right = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        longer = spines(1, random, MEMBERS)[0]
        step = longer[-1] - longer[-2]
        beyond = longer[-1] + step * np.arange(1, more + 1)[:, None]
        points = np.concatenate([longer, beyond])
        names = named(PRIOR, points, np.full(len(points), 0.9), AREA_PX)
        right += names.tolist() == [*range(MEMBERS)]
    assert right >= 18


def score(names, points, confidence, chains):
    """The logarithm of the odds of some names, with SciPy's normal distributions."""
    present = (np.isfinite(chains[..., 0]).sum(0) + 1) / (len(chains) + 2)
    total, before = 0.0, None
    for member, number in enumerate(names):
        if number < 0:
            total += np.log(1 - present[member])
            continue
        if before is None:
            mean = chains[:, member].mean(0)
            residuals, fitted = chains[:, member] - mean, 1
        else:
            given = np.c_[np.ones(len(chains)), chains[:, before[0]]]
            fit = np.linalg.lstsq(given, chains[:, member], rcond=None)[0]
            mean = np.r_[1, points[before[1]]] @ fit
            residuals, fitted = chains[:, member] - given @ fit, 3
        spread = residuals.T @ residuals / (len(chains) - fitted) + np.eye(2)
        sure = np.clip(confidence[number], CERTAIN, 1 - CERTAIN)
        total += multivariate_normal(mean, spread).logpdf(points[number]) + np.log(AREA_PX)
        total += np.log(sure / (1 - sure)) + np.log(present[member])
        before = member, number
    return total


@pytest.mark.parametrize("seed", range(5))
def test_no_other_way_to_name_a_few_candidates_is_likelier(seed):
    """All ordered choices of 4 members and 4 candidates in order of height, tried one by one."""
    random = np.random.default_rng(seed)
    chains = spines(40, random, 4)
    points, _, confidence = candidates(
        spines(1, random, 4)[0], random, missing=(seed % 4,), clutter=1
    )
    confidence = random.uniform(0.05, 0.9, len(points))
    best = score(named(learned(chains), points, confidence, AREA_PX), points, confidence, chains)
    for size in range(5):
        for members in combinations(range(4), size):
            for chosen in permutations(range(len(points)), size):
                names = np.full(4, -1)
                names[list(members)] = chosen
                assert score(names, points, confidence, chains) <= best + 1e-6


def test_where_nothing_fits_nothing_is_named():
    nothing = np.full(MEMBERS, -1)
    empty = named(PRIOR, np.zeros((0, 2)), np.zeros(0), AREA_PX)
    assert np.array_equal(empty, nothing)
    far = np.array([[900.0, 900.0], [-500.0, 20.0]])
    assert np.array_equal(named(PRIOR, far, np.full(2, 0.5), AREA_PX), nothing)


def test_images_that_lack_members_teach_all_the_same():
    random = np.random.default_rng(3)
    chains = spines(200, random)
    chains[:80, -1] = np.nan
    chains[40:60, 0] = np.nan
    prior = learned(chains)
    assert prior.present[-1] == pytest.approx(121 / 202)
    points, of, confidence = candidates(spines(1, random)[0], random, clutter=3)
    assert named_members(named(prior, points, confidence, AREA_PX), of).tolist() == [
        *range(MEMBERS)
    ]
