"""Chains against the truth they were drawn from, and against all ways to name a few candidates."""

from itertools import combinations, permutations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from raymark.geometry import chains
from raymark.geometry.chains import NEVER, completed, learned, unknown

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


def named(prior, points, confidence, area_px=AREA_PX):
    """The names of the candidates of one image, each as likely any member as it is none."""
    odds = np.log(confidence / (1 - confidence))
    log_odds = np.repeat(odds[:, None], len(prior.present), axis=1)
    of_image = (torch.as_tensor(a, dtype=torch.float32)[None] for a in (points, log_odds))
    return chains.named(prior, *of_image, area_px)[0].numpy()


def named_members(names, of):
    """Which member each named candidate truly is; -1 where a member has no candidate."""
    return np.array([of[n] if n >= 0 else -1 for n in names])


@pytest.mark.parametrize("seed", range(6))
def test_every_member_is_named_among_clutter(seed):
    random = np.random.default_rng(seed + 100)
    points, of, confidence = candidates(spines(1, random)[0], random, clutter=6)
    assert named_members(named(PRIOR, points, confidence), of).tolist() == [*range(MEMBERS)]


@pytest.mark.parametrize("missing", [(0,), (11,), (5,), (4, 5), (0, 7, 11)])
def test_missing_members_are_told_and_the_others_keep_their_names(missing):
    right = 0
    for seed in range(10):
        random = np.random.default_rng(seed)
        points, of, confidence = candidates(spines(1, random)[0], random, missing, clutter=2)
        expected = [-1 if m in missing else m for m in range(MEMBERS)]
        right += named_members(named(PRIOR, points, confidence), of).tolist() == expected
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
        names = named(PRIOR, points, np.full(len(points), 0.9))
        right += names.tolist() == [*range(MEMBERS)]
    assert right >= 18


def score(names, points, confidence, shown):
    """The logarithm of the odds of some names, with SciPy's normal distributions."""
    present = (np.isfinite(shown[..., 0]).sum(0) + 1) / (len(shown) + 2)
    total, before = 0.0, None
    for member, number in enumerate(names):
        if number < 0:
            total += np.log(1 - present[member])
            continue
        if before is None:
            mean = shown[:, member].mean(0)
            residuals, fitted = shown[:, member] - mean, 1
        else:
            given = np.c_[np.ones(len(shown)), shown[:, before[0]]]
            fit = np.linalg.lstsq(given, shown[:, member], rcond=None)[0]
            mean = np.r_[1, points[before[1]]] @ fit
            residuals, fitted = shown[:, member] - given @ fit, 3
        spread = residuals.T @ residuals / (len(shown) - fitted) + np.eye(2)
        sure = confidence[number]
        total += multivariate_normal(mean, spread).logpdf(points[number]) + np.log(AREA_PX)
        total += np.log(sure / (1 - sure)) + np.log(present[member])
        before = member, number
    return total


@pytest.mark.parametrize("seed", range(5))
def test_no_other_way_to_name_a_few_candidates_is_likelier(seed):
    """All ordered choices of 4 members and 4 candidates in order of height, tried one by one."""
    random = np.random.default_rng(seed)
    shown = spines(40, random, 4)
    points, _, confidence = candidates(
        spines(1, random, 4)[0], random, missing=(seed % 4,), clutter=1
    )
    confidence = random.uniform(0.05, 0.9, len(points))
    best = score(named(learned(shown), points, confidence), points, confidence, shown)
    for size in range(5):
        for members in combinations(range(4), size):
            for chosen in permutations(range(len(points)), size):
                names = np.full(4, -1)
                names[list(members)] = chosen
                assert score(names, points, confidence, shown) <= best + 1e-3


def test_where_nothing_fits_nothing_is_named():
    far = np.array([[900.0, 900.0], [-500.0, 20.0]])
    assert (named(PRIOR, far, np.full(2, 0.5)) == -1).all()
    no_candidate = torch.full((1, 3, MEMBERS), NEVER)
    assert (chains.named(PRIOR, torch.zeros(1, 3, 2), no_candidate, AREA_PX) == -1).all()


def test_what_a_candidate_looks_like_counts_beside_its_place():
    """Of two chains side by side, the one whose members look like themselves."""
    random = np.random.default_rng(4)
    truth = spines(1, random)[0]
    beside = truth + np.array([3.0, 0.0])
    log_odds = np.full((2 * MEMBERS, MEMBERS), -3.0)
    log_odds[np.arange(MEMBERS, 2 * MEMBERS), np.arange(MEMBERS)] = 3.0
    both = torch.as_tensor(np.r_[truth, beside])[None].float()
    names = chains.named(PRIOR, both, torch.as_tensor(log_odds)[None].float(), AREA_PX)
    assert names[0].tolist() == [*range(MEMBERS, 2 * MEMBERS)]


def test_images_of_a_batch_do_not_touch_each_other():
    random = np.random.default_rng(5)
    images = [candidates(spines(1, random)[0], random, (3,), clutter=4) for _ in range(3)]
    points = torch.as_tensor(np.stack([points for points, _, _ in images])).float()
    log_odds = torch.as_tensor(np.stack([np.log(c / (1 - c)) for _, _, c in images])).float()
    log_odds = log_odds[..., None].expand(-1, -1, MEMBERS)
    together = chains.named(PRIOR, points, log_odds, AREA_PX)
    for names, (own, _, confidence) in zip(together, images, strict=True):
        assert names.tolist() == named(PRIOR, own, confidence).tolist()


def test_missing_places_are_where_the_others_lead_to():
    random = np.random.default_rng(6)
    truth = torch.as_tensor(spines(20, random)).float()
    known = torch.ones(20, MEMBERS, dtype=torch.bool)
    known[:, [0, 5, 6]] = False
    places = completed(PRIOR, truth.masked_fill(~known[..., None], 0), known)
    away = (places - truth).norm(dim=-1)
    assert torch.equal(places[known], truth[known])
    assert away[~known].median() < 3
    usual = completed(PRIOR, torch.zeros(1, MEMBERS, 2), torch.zeros(1, MEMBERS, dtype=torch.bool))
    torch.testing.assert_close(usual[0], PRIOR.mean_px)


def test_an_untaught_chain_names_by_looks_alone():
    log_odds = torch.full((1, 3, 3), -8.0)
    log_odds[0, [0, 1, 2], [2, 0, 1]] = 8.0
    points = torch.tensor([[[10.0, 90.0], [10.0, 30.0], [10.0, 60.0]]])
    assert chains.named(unknown(3), points, log_odds, 100.0 * 100.0).tolist() == [[1, 2, 0]]


def test_images_that_lack_members_teach_all_the_same():
    random = np.random.default_rng(3)
    shown = spines(200, random)
    shown[:80, -1] = np.nan
    shown[40:60, 0] = np.nan
    prior = learned(shown)
    assert prior.present[-1].item() == pytest.approx(122 / 202, abs=0.006)
    points, of, confidence = candidates(spines(1, random)[0], random, clutter=3)
    assert named_members(named(prior, points, confidence), of).tolist() == [*range(MEMBERS)]
