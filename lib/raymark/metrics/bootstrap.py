"""Confidence intervals by resampling patients.

The points of one patient err together, so the patients are drawn, not the points; of a single patient
its subjects, or else its views. A drawn sample's metric needs only each patient's sums, which makes a
resampling cost as much as there are patients, however many rows they have.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from raymark.metrics.ratio import Ratio

PATIENTS = "patients"
SUBJECTS = "subjects of one patient"
VIEWS = "views (one patient)"
NOTHING = "not estimable"
_COUNTS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Clusters:
    """Which cluster each row (n,) belongs to, how many there are, and what they are."""

    index_n: np.ndarray
    count: int
    kind: str


def clusters_of(patient: np.ndarray, subject: np.ndarray, view: np.ndarray) -> Clusters:
    """Group rows by the first of `patient`, `subject` and `view`, each (n,), of which there are several.

    The views of one anatomy err together as the points of one view do, so that the subjects of one
    patient (its CTs and their deformed copies) are drawn whole. The spread over patients cannot be
    estimated from one of them: an interval over its subjects or views speaks of that patient alone,
    and its `kind` says so. It tells the number of subjects, which stands in no column of its own.
    """
    for kind, labels in ((PATIENTS, patient), (SUBJECTS, subject), (VIEWS, view)):
        names, index_n = np.unique(labels, return_inverse=True)
        if len(names) > 1:
            told = f"{kind} ({len(names)})" if kind == SUBJECTS else kind
            return Clusters(index_n, len(names), told)
    return Clusters(np.zeros(len(view), dtype=int), 1, NOTHING)


def interval(
    metric: Ratio,
    clusters: Clusters,
    *,
    resamplings: int,
    confidence: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Return the bias-corrected and accelerated (BCa) bootstrap interval of a metric.

    Efron (1987), the acceleration from the jackknife over clusters. Where BCa is undefined (every
    resampled value on one side of the estimate) the percentile interval is returned; with fewer
    than two clusters, NaN.
    """
    numerator_cg, denominator_cg = metric.cluster_sums(clusters.index_n, clusters.count)
    taking_part = (denominator_cg > 0).any(axis=1)
    numerator_cg, denominator_cg = numerator_cg[taking_part], denominator_cg[taking_part]
    if len(numerator_cg) < 2:
        return np.nan, np.nan
    resampled = _resampled(metric, numerator_cg, denominator_cg, resamplings, rng)
    estimate = metric.of_sums(numerator_cg.sum(axis=0), denominator_cg.sum(axis=0))
    left_out = metric.of_sums(
        numerator_cg.sum(axis=0) - numerator_cg, denominator_cg.sum(axis=0) - denominator_cg
    )
    levels = _bca_levels(resampled, estimate, left_out, confidence)
    low, high = np.nanquantile(resampled, levels)
    return float(low), float(high)


def wilson_interval(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """Return the interval of a share of independent trials by Wilson (1927); NaN without trials.

    For shares of 0 or 1, of which resampling finds no spread, it keeps its width.
    """
    if not trials:
        return np.nan, np.nan
    z, share = NormalDist().inv_cdf((1 + confidence) / 2), successes / trials
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    spread = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + (z / trials) ** 2 / 4)
    return float(max(middle - spread, 0.0)), float(min(middle + spread, 1.0))


def _resampled(
    metric: Ratio,
    numerator_cg: np.ndarray,
    denominator_cg: np.ndarray,
    resamplings: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the metric of `resamplings` samples of as many clusters, drawn with replacement."""
    clusters = len(numerator_cg)
    share = np.full(clusters, 1.0 / clusters)
    step = max(1, _COUNTS_AT_ONCE // clusters)
    values = []
    for start in range(0, resamplings, step):
        drawn_rc = rng.multinomial(clusters, share, size=min(step, resamplings - start))
        drawn_rc = drawn_rc.astype(float)
        values.append(metric.of_sums(drawn_rc @ numerator_cg, drawn_rc @ denominator_cg))
    return np.concatenate(values)


def _bca_levels(
    resampled: np.ndarray, estimate: np.ndarray, left_out: np.ndarray, confidence: float
) -> list[float]:
    """Return the two quantile levels of the BCa interval."""
    normal = NormalDist()
    tails = (1 - confidence) / 2, (1 + confidence) / 2
    known = resampled[np.isfinite(resampled)]
    below = np.mean(known < estimate) + np.mean(known == estimate) / 2 if known.size else 0.0
    if not 0 < below < 1:
        return list(tails)
    bias = normal.inv_cdf(below)
    deviation = np.nanmean(left_out) - left_out[np.isfinite(left_out)]
    squares = np.sum(deviation**2)
    acceleration = np.sum(deviation**3) / (6 * squares**1.5) if squares > 0 else 0.0

    def corrected(level: float) -> float:
        z = bias + normal.inv_cdf(level)
        return normal.cdf(bias + z / (1 - acceleration * z))

    return [corrected(level) for level in tails]
