"""A displacement from landmarks of which some are wrong, missing or without a name."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from raymark.radiotherapy.by_landmarks import Planned, matched

KIND = "spinous_process"
NAMES = ["t3", "t4", "t5", "t6", "t7", "carina", "sternal_angle"]
KINDS = {name: KIND for name in NAMES[:5]}
PLAN_PX = np.array([[80, 30], [81, 45], [79, 61], [80, 76], [82, 92], [90, 60], [84, 41.0]])
MM_PER_PX = 1.6


def planned(count=7) -> Planned:
    names = NAMES[:count]
    scale = np.full(count, MM_PER_PX)
    return Planned(names, [KINDS.get(n, "") for n in names], PLAN_PX[:count], scale)


def seen(shift_mm, names=NAMES, unnamed=False):
    points = np.array([PLAN_PX[NAMES.index(n)] for n in names]) + np.asarray(shift_mm) / MM_PER_PX
    return [KINDS.get(n, n) if unnamed else n for n in names], points


@given(
    shift=st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
    kept=st.sets(st.sampled_from(NAMES[:5]), min_size=2),
    unnamed=st.booleans(),
    outliers=st.integers(0, 2),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_matching_recovers_a_shift_with_outliers_and_missing_instances(
    shift, kept, unnamed, outliers, seed
):
    """With both named landmarks, two or more processes and fewer wrong points than right ones."""
    rng = np.random.default_rng(seed)
    found = [*sorted(kept), "carina", "sternal_angle"]
    names, points = seen(shift, found, unnamed)
    points += rng.uniform(-1, 1, points.shape)
    wrong = [KIND if unnamed else n for n in NAMES if n not in found][:outliers]
    far = PLAN_PX[0] + np.array([60, 0]) + rng.uniform(-5, 5, (len(wrong), 2))
    order = rng.permutation(len(names) + len(wrong))
    names, points = [*names, *wrong], np.concatenate([points, far])
    match = matched([names[k] for k in order], points[order], planned(), inlier_mm=8)
    np.testing.assert_allclose(
        match.displacement_mm, shift, atol=2.3
    )  # 1 px of noise, and the mean
    assert len(match.pairs) >= len(found)


def test_exact_points_give_the_exact_shift_and_every_pair():
    for unnamed in (False, True):
        match = matched(*seen((13, -9), unnamed=unnamed), planned(), inlier_mm=8)
        np.testing.assert_allclose(match.displacement_mm, (13, -9), atol=1e-9)
        assert match.pairs == tuple((k, k) for k in range(7))


def test_named_landmarks_decide_by_which_vertebra_the_spine_is_off():
    """One vertebra lower fits three processes as well; the carina says which it is."""
    names, points = seen((0, 24), ["t3", "t4", "t5", "carina"], unnamed=True)
    match = matched(names, points, planned(), inlier_mm=6)
    np.testing.assert_allclose(match.displacement_mm, (0, 24), atol=1e-9)
    alone = matched(names[:3], points[:3], planned(5), inlier_mm=6)
    assert abs(alone.displacement_mm[1]) < 4  # ties go to the smallest displacement


def test_the_order_of_what_was_found_does_not_matter():
    names, points = seen((7, 5), unnamed=True)
    points[2] += 30
    forward = matched(names, points, planned(), 8)
    backward = matched(names[::-1], points[::-1], planned(), 8)
    np.testing.assert_allclose(forward.displacement_mm, backward.displacement_mm, atol=1e-12)


def test_a_planned_landmark_has_one_partner_only():
    names, points = seen((0, 0), ["carina", "sternal_angle"])
    match = matched([*names, "carina"], np.vstack([points, points[0] + 2]), planned(), 8)
    assert match.pairs == ((0, 5), (1, 6))


def test_nothing_found_or_nothing_known_is_no_match():
    assert matched([], np.zeros((0, 2)), planned(), 8) is None
    assert matched(["heart"], np.zeros((1, 2)), planned(), 8) is None
