import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from raymark.metrics import bootstrap, detection, errors
from raymark.metrics.bootstrap import clusters_of, interval, wilson_interval
from raymark.metrics.pose import capture_range_mm


def bools(*values):
    return np.array(values, dtype=bool)


def test_hand_made_errors():
    radial = errors.radial_errors([[3.0, 4.0], [1.0, 1.0]], [[0.0, 0.0], [1.0, 3.0]])
    assert radial.tolist() == [5.0, 2.0]
    assert errors.mean_radial_error(radial).value == 3.5
    assert errors.standard_deviation(radial) == 1.5  # population, not 2.12
    assert errors.median(np.array([1.0, 2.0, 30.0])) == 2.0
    assert errors.rmse(radial).value == pytest.approx(math.sqrt(14.5))


def test_millimetres_of_paper_1():
    assert errors.detector_mm(9.1, 0.616) == pytest.approx(5.6, abs=0.05)
    assert errors.isocentre_mm(5.6, 750.0, 1200.0) == pytest.approx(3.5)


def test_rows_without_a_point_leave_means_and_are_misses():
    radial = np.array([1.0, np.nan, 3.0])
    assert errors.mean_radial_error(radial).value == 2.0
    assert errors.mean_radial_error(radial).count == 2
    assert errors.standard_deviation(radial) == 1.0
    assert errors.success_rate(radial, 3.0).value == pytest.approx(2 / 3)


def test_nothing_to_measure_is_nan():
    nothing = np.array([np.nan])
    measured = [
        errors.mean_radial_error(nothing).value,
        errors.rmse(nothing).value,
        errors.median(nothing),
        errors.standard_deviation(nothing),
        detection.accuracy(nothing, bools(True), bools(False), 15.0).value,
    ]
    assert all(math.isnan(value) for value in measured)


def test_success_rate_includes_its_threshold_and_accuracy_does_not():
    radial = np.array([2.0, 2.5, 15.0])
    yes = bools(True, True, True)
    assert errors.success_rate(radial, 2.5).value == pytest.approx(2 / 3)
    assert detection.accuracy(radial, yes, yes, 15.0).value == pytest.approx(2 / 3)
    assert detection.correct_keypoints(radial, yes, yes, 15.0).value == 1.0


def test_hand_made_detections():
    radial = np.array([1.0, 1.0, 20.0, 1.0, 1.0])
    visible = bools(1, 1, 1, 0, 0)
    detected = bools(1, 0, 1, 1, 0)
    assert detection.detection_rate(visible, detected).value == pytest.approx(2 / 3)
    assert detection.correct_keypoints(radial, visible, detected, 8.0).value == pytest.approx(1 / 3)
    # of three detections one is far off and one is of a landmark that is not on the image
    assert detection.accuracy(radial, visible, detected, 15.0).value == pytest.approx(1 / 3)


def test_accuracy_by_view():
    table = pd.DataFrame(
        {
            "view": ["b", "a", "a", "c"],
            "error_px": [1.0, 1.0, 16.0, 1.0],
            "visible": True,
            "detected": [True, True, True, False],
        }
    )
    views = detection.accuracy_by_view(table, 15.0)
    assert views["view"].tolist() == ["a", "b", "c"]
    assert views["detections"].tolist() == [2, 1, 0]
    assert views["accuracy"].tolist()[:2] == [0.5, 1.0]
    assert math.isnan(views["accuracy"][2])
    assert detection.mean_over_views(views["accuracy"].to_numpy()).value == 0.75


# Table 1 of the pose-estimation-loss paper: the printed mean and the eight landmarks.
PRINTED = [
    (8.58, [11.49, 4.71, 12.34, 16.66, 5.43, 6.87, 6.00, 5.17]),
    (20.82, [39.95, 13.83, 28.34, 19.51, 15.36, 14.02, 20.00, 15.54]),
    (8.45, [10.27, 6.67, 14.02, 17.75, 3.67, 7.18, 4.12, 3.89]),
    (5.58, [5.68, 8.33, 4.68, 4.01, 8.65, 4.07, 3.07, 6.12]),
    (11.73, [11.63, 23.33, 10.59, 6.15, 10.38, 7.7, 10.46, 13.57]),
    (5.09, [7.45, 8.01, 4.68, 2.03, 2.03, 7.52, 4.48, 4.48]),
]


@pytest.mark.parametrize(("mean", "landmarks"), PRINTED)
def test_mean_landmark_rmse_is_the_papers_mean_column(mean, landmarks):
    """Errors whose RMSE per landmark are the printed cells must give the printed mean."""
    radial = np.outer([0.5, math.sqrt(1.75)], landmarks)  # mean square 1, so RMSE as printed
    names = np.tile([f"L{i}" for i in range(8)], (2, 1))
    metric = errors.mean_landmark_rmse(radial.ravel(), names.ravel())
    assert metric.value == pytest.approx(mean, abs=0.0051)


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=40))
def test_rmse_squared_is_mean_squared_plus_variance(values):
    radial = np.array(values)
    expected = errors.mean_radial_error(radial).value ** 2 + errors.standard_deviation(radial) ** 2
    assert errors.rmse(radial).value ** 2 == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_pck_never_exceeds_the_detection_rate_and_grows_with_the_threshold(rows):
    radial, visible, detected = (np.array(column) for column in zip(*rows, strict=True))
    at = [detection.correct_keypoints(radial, visible, detected, t).value for t in (4, 8, 40)]
    if visible.any():
        assert at == sorted(at)
        assert at[-1] == detection.detection_rate(visible, detected).value


# bootstrap


def clusters_named(patient, subject, view):
    return clusters_of(*(np.array(list(names)) for names in (patient, subject, view)))


def test_clusters_are_patients_or_else_copies_or_else_views():
    """Each is named by a letter a row; a coarser kind that has several is drawn, not a finer one."""
    several = clusters_named("pqp", "abc", "123")
    assert (several.kind, several.count) == (bootstrap.PATIENTS, 2)
    copies = clusters_named("pppp", "aabb", "1234")
    assert (copies.kind, copies.count) == ("subjects of one patient (2)", 2)
    assert copies.index_n.tolist() == [0, 0, 1, 1]
    one = clusters_named("ppp", "aaa", "122")
    assert (one.kind, one.count) == ("views (one patient)", 2)
    assert one.index_n.tolist() == [0, 1, 1]
    assert clusters_named("p", "a", "1").kind == bootstrap.NOTHING


def test_equal_views_of_a_copy_tell_no_more_than_one_of_them():
    """Five equal views of each of six spines: the interval is that of six views, not of thirty."""
    values = np.array([1.0, 2.0, 4.0, 7.0, 11.0, 12.0])
    how = {"resamplings": 500, "confidence": 0.95}
    thirty = clusters_of(np.zeros(30), np.repeat(np.arange(6), 5), np.arange(30))
    six = clusters_of(np.zeros(6), np.arange(6), np.arange(6))
    ends = [
        interval(errors.mean_radial_error(rows), groups, rng=np.random.default_rng(0), **how)
        for rows, groups in ((np.repeat(values, 5), thirty), (values, six))
    ]
    assert ends[0] == pytest.approx(ends[1])


def of_patients(values_pk):
    """Clusters of the rows of `values_pk` (patient, row), flattened."""
    patient = np.repeat(np.arange(len(values_pk)), values_pk.shape[1])
    return clusters_of(patient, patient, np.arange(values_pk.size))


def test_bca_equals_scipy_on_patients_of_one_row():
    """With one row per patient this is the ordinary BCa bootstrap, which SciPy has."""
    values = np.random.default_rng(1).gamma(2.0, 3.0, size=(25, 1))
    low, high = interval(
        errors.mean_radial_error(values.ravel()),
        of_patients(values),
        resamplings=40_000,
        confidence=0.9,
        rng=np.random.default_rng(2),
    )
    expected = stats.bootstrap(
        (values.ravel(),), np.mean, n_resamples=40_000, confidence_level=0.9, rng=3, method="BCa"
    ).confidence_interval
    assert low == pytest.approx(expected.low, abs=0.05)
    assert high == pytest.approx(expected.high, abs=0.05)


@pytest.mark.parametrize("metric", ["rmse", "mean of landmarks"])
def test_sums_of_clusters_equal_recomputing_from_rows(metric):
    """Drawing patients with multiplicity and measuring their rows gives the same numbers."""
    rng = np.random.default_rng(4)
    radial, landmark = rng.gamma(2, 3, 60), rng.integers(0, 3, 60)
    patient = rng.integers(0, 5, 60)

    def measure(rows):
        if metric == "rmse":
            return errors.rmse(radial[rows])
        return errors.mean_landmark_rmse(radial[rows], landmark[rows])

    whole = measure(np.arange(60))
    sums = whole.cluster_sums(patient, 5)
    for _ in range(50):
        drawn = rng.integers(0, 5, 5)
        rows = np.concatenate([np.flatnonzero(patient == p) for p in drawn])
        times = np.bincount(drawn, minlength=5).astype(float)
        assert whole.of_sums(times @ sums[0], times @ sums[1]) == pytest.approx(measure(rows).value)


@pytest.mark.parametrize("views", [1, 20])
def test_intervals_cover_the_truth(views):
    """Nominal 95 %: of 300 simulated studies at least 90 % of intervals hold the true mean."""
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(300):
        patients = rng.normal(10.0, 2.0, size=(20, 1))
        values = patients + rng.normal(0.0, 1.0, size=(20, views))
        low, high = interval(
            errors.mean_radial_error(values.ravel()),
            of_patients(values),
            resamplings=400,
            confidence=0.95,
            rng=rng,
        )
        held += low <= 10.0 <= high
    assert 0.90 <= held / 300 <= 0.985


def test_interval_is_fixed_by_its_generator_and_needs_two_clusters():
    values = np.arange(12.0).reshape(4, 3)

    def once(values_pk):
        return interval(
            errors.rmse(values_pk.ravel()),
            of_patients(values_pk),
            resamplings=200,
            confidence=0.95,
            rng=np.random.default_rng(6),
        )

    assert once(values) == once(values)
    assert np.isnan(once(values[:1, :1])).all()
    assert once(np.full((4, 3), 2.0)) == (2.0, 2.0)


def test_many_clusters_are_drawn_in_parts_of_bounded_memory(monkeypatch):
    values = np.random.default_rng(7).gamma(2.0, 3.0, size=(50, 2))
    monkeypatch.setattr(bootstrap, "_COUNTS_AT_ONCE", 500)
    low, high = interval(
        errors.mean_radial_error(values.ravel()),
        of_patients(values),
        resamplings=999,
        confidence=0.95,
        rng=np.random.default_rng(8),
    )
    assert low < values.mean() < high


# shares of independent trials, and the capture range


def test_wilson_interval_of_published_cases():
    """Newcombe 1998, Statistics in Medicine 17, table I, method 3: 81 of 263, 15 of 148, 0 of 20."""
    for successes, trials, expected in (
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
    ):
        found = wilson_interval(successes, trials, 0.95)
        assert found == pytest.approx(expected, abs=5e-5)
    assert np.isnan(wilson_interval(0, 0, 0.95)).all()


def test_capture_range_ends_before_the_first_interval_that_fails():
    ends_mm = [5, 10, 20, 30]
    high = [1, 0.99, 0.93, 1]
    assert capture_range_mm(ends_mm, [0.96, 0.95, 0.8, 0.96], high) == (10, 10)
    assert capture_range_mm(ends_mm, [0.96, 0.9, 0.8, 0.96], high) == (5, 10)
    assert capture_range_mm(ends_mm, [0.6, 0.96, 0.96, 0.96], [1, 1, 1, 1]) == (0, np.inf)
    assert capture_range_mm(ends_mm, [0.96, 0.96, 0.96, 0.95], [1, 1, 1, 1]) == (30, np.inf)
    assert capture_range_mm(ends_mm, [0.5, 0.96, 0.96, 0.96], [0.9, 1, 1, 1]) == (0, 0)
