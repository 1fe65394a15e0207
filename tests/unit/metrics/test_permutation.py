"""The paired permutation test and Holm's correction, against definitions written out here."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from raymark.metrics.bootstrap import Clusters, clusters_of
from raymark.metrics.permutation import EXACT_CLUSTERS, holm, paired_test


def clusters_named(names):
    names = np.asarray(names)
    return clusters_of(names, names, np.arange(len(names)).astype(str))


def measured(differences, names, permutations=999, seed=0):
    rng = np.random.default_rng(seed)
    return paired_test(
        np.asarray(differences, float), clusters_named(names), permutations=permutations, rng=rng
    )


def by_brute_force(differences, names):
    """Flip each name's rows in every way; compare mean differences one by one."""
    groups = sorted(set(names))
    found, as_large = abs(np.mean(differences)), 0
    for signs in product([1, -1], repeat=len(groups)):
        sign = dict(zip(groups, signs, strict=True))
        mean = np.mean([sign[name] * d for name, d in zip(names, differences, strict=True)])
        as_large += abs(mean) >= found - 1e-9
    return as_large / 2 ** len(groups)


@pytest.mark.parametrize("seed", range(12))
def test_exact_p_is_that_of_brute_force(seed):
    rng = np.random.default_rng(seed)
    names = rng.choice(list("abcdefg"), 25)
    differences = rng.normal(0.4, 1, 25)
    test = measured(differences, names)
    assert test.exact
    assert test.p == pytest.approx(by_brute_force(differences, names), abs=1e-12)
    assert test.difference == pytest.approx(differences.mean())


@pytest.mark.parametrize(
    ("differences", "names", "p"),
    [
        ([-1, -2, -3], "abc", 2 / 8),  # all alike: only the two extreme ways are as large
        ([1, 1, 1, 1], "abcd", 2 / 16),
        ([1, -1], "ab", 1.0),
        ([0, 0, 0], "abc", 1.0),
        ([3, 1], "ab", 0.5),  # |±3 ± 1| ≥ 4 in two of four ways
        ([2, 1, -3, 5], "aabb", 0.5),  # sums 3 and 2 of two patients, not four points
    ],
)
def test_hand_made_cases(differences, names, p):
    assert measured(differences, list(names)).p == pytest.approx(p)


def test_one_cluster_can_show_nothing():
    assert paired_test(
        np.ones(9), Clusters(np.zeros(9, int), 1, "-"), permutations=9, rng=None
    ).p == pytest.approx(1.0)


def test_order_and_sign_of_the_difference_change_nothing():
    rng = np.random.default_rng(3)
    names, differences = rng.choice(list("abcdefghij"), 40), rng.normal(0.3, 1, 40)
    order = rng.permutation(40)
    p = measured(differences, names).p
    assert measured(differences[order], names[order]).p == pytest.approx(p)
    assert measured(-differences, names).p == pytest.approx(p)


def test_sampled_p_is_near_the_exact_one_and_never_zero():
    """Seventeen clusters, of which three differ by nothing: as fourteen, but sampled."""
    rng = np.random.default_rng(1)
    differences = rng.normal(0.45, 1, EXACT_CLUSTERS)
    exact = measured(differences, range(EXACT_CLUSTERS))
    sampled = measured([*differences, 0, 0, 0], range(EXACT_CLUSTERS + 3), permutations=20_000)
    assert exact.exact
    assert not sampled.exact
    assert sampled.p == pytest.approx(exact.p, abs=4 * np.sqrt(exact.p / 20_000))
    assert measured(np.ones(60), range(60), permutations=99).p == pytest.approx(1 / 100)


def test_sampled_p_is_the_same_for_the_same_seed():
    differences = np.random.default_rng(5).normal(0.2, 1, 30)
    first, again, other = (measured(differences, range(30), seed=s).p for s in (7, 7, 8))
    assert first == again != other


@pytest.mark.parametrize(("clusters", "rows"), [(10, 30), (40, 80)])
def test_p_is_uniform_without_a_difference(clusters, rows):
    """Errors of one distribution, alike within patients: p below x in a share x of the cases."""
    rng = np.random.default_rng(clusters)
    names = np.arange(rows) % clusters
    p = []
    for _ in range(400):
        patient = rng.normal(0, 2, clusters)[names]
        p.append(measured(patient + rng.standard_t(4, rows), names, 199, rng.integers(1e9)).p)
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert np.mean(np.array(p) <= 0.05) < 0.085


def test_points_taken_for_patients_would_be_too_sure():
    """Why patients are exchanged: the same rows, each as a cluster, find a difference too often."""
    rng = np.random.default_rng(0)
    names = np.arange(80) % 8
    right, wrong = [], []
    for _ in range(200):
        differences = rng.normal(0, 2, 8)[names] + rng.normal(0, 1, 80)
        right.append(measured(differences, names).p <= 0.05)
        wrong.append(measured(differences, range(80), 199, rng.integers(1e9)).p <= 0.05)
    assert np.mean(right) < 0.1 < 0.3 < np.mean(wrong)


def test_holm_by_hand():
    """0.01·4, 0.02·3, 0.03·2, 0.5·1: 0.06 twice, since none may fall below one before it."""
    assert holm([0.5, 0.01, 0.03, 0.02]) == pytest.approx([0.5, 0.04, 0.06, 0.06])
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8])
    assert holm([0.7, 0.9, 0.8]) == pytest.approx([1, 1, 1])
    assert holm([]).size == 0


def test_what_was_not_tested_does_not_count():
    assert holm([0.01, np.nan, 0.04]) == pytest.approx([0.02, np.nan, 0.04], nan_ok=True)


@pytest.mark.parametrize("seed", range(5))
def test_holm_rejects_what_the_step_down_procedure_rejects(seed):
    rng = np.random.default_rng(seed)
    p = rng.uniform(0, 0.2, 9) ** 2
    p[3] = p[5]
    for alpha in (0.01, 0.05, 0.2):
        rejected = set()
        for step, k in enumerate(np.argsort(p, kind="stable")):  # Holm 1979, section 3
            if p[k] > alpha / (len(p) - step):
                break
            rejected.add(int(k))
        assert set(np.flatnonzero(holm(p) <= alpha)) == rejected
