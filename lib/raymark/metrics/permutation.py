"""Paired tests by permutation: do two methods' errors differ by more than chance would make them?

If two methods were equally good, exchanging their names on a patient would be as likely a result as
the one found. So the sign of each patient's difference is flipped, in every possible way or in many
drawn ones, and the p-value is the share of ways that give at least as large a mean difference
(Fisher's randomisation test; Good, Permutation Tests, 2000). The points of one patient err together
and are exchanged together; of a single patient, those of a deformed copy, or else of a view
(`raymark.metrics.bootstrap.clusters_of`).
"""

from dataclasses import dataclass

import numpy as np

from raymark.metrics.bootstrap import Clusters

EXACT_CLUSTERS = 14  # 2**14 ways are counted one by one; more clusters are sampled
_SIGNS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class PairedTest:
    """Mean difference, two-sided p-value, and whether all ways of exchanging were counted."""

    difference: float
    p: float
    exact: bool


def paired_test(
    difference_n: np.ndarray, clusters: Clusters, *, permutations: int, rng: np.random.Generator
) -> PairedTest:
    """Test whether the mean of paired differences (n,), all finite, is zero; two-sided.

    Up to `EXACT_CLUSTERS` clusters the p-value is exact, and at least ``2 / 2**clusters``. Beyond,
    it is ``(b + 1) / (permutations + 1)`` with b of the drawn ways as large as the one found, which
    never errs towards significance (Phipson & Smyth, Stat Appl Genet Mol Biol 9:39, 2010, eq. 2).
    """
    sum_c = np.bincount(clusters.index_n, weights=difference_n, minlength=clusters.count)
    exact = clusters.count <= EXACT_CLUSTERS
    # Sums in another order differ by rounding: what is equal must count as equal.
    limit = abs(sum_c.sum()) - 1e-9 * np.abs(sum_c).sum()
    if exact:
        p = float(np.mean(np.abs(_every_sign(clusters.count) @ sum_c) >= limit))
    else:
        p = (_as_large(sum_c, limit, permutations, rng) + 1) / (permutations + 1)
    return PairedTest(float(np.mean(difference_n)), p, exact)


def _every_sign(clusters: int) -> np.ndarray:
    """Return all ways (way, cluster) of giving clusters a sign."""
    bit_wc = np.arange(2**clusters)[:, None] >> np.arange(clusters)
    return 1.0 - 2.0 * (bit_wc & 1)


def _as_large(sum_c: np.ndarray, limit: float, permutations: int, rng: np.random.Generator) -> int:
    """Count the drawn ways whose sum is at least as far from zero as `limit`."""
    step, count = max(1, _SIGNS_AT_ONCE // len(sum_c)), 0
    for start in range(0, permutations, step):
        shape = (min(step, permutations - start), len(sum_c))
        sign_wc = 1.0 - 2.0 * rng.integers(0, 2, shape)
        count += int(np.count_nonzero(np.abs(sign_wc @ sum_c) >= limit))
    return count


def holm(p_k: np.ndarray) -> np.ndarray:
    """Correct p-values (k,) for their number (Holm, Scand J Stat 6:65, 1979); NaN is no test.

    Below `alpha` they keep the chance of even one false finding among all of them below `alpha`,
    however the tests depend on each other.
    """
    p_k = np.asarray(p_k, float)
    corrected_k = np.full(p_k.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(p_k))
    order = tested[np.argsort(p_k[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected_k[order] = np.minimum(np.maximum.accumulate(factors * p_k[order]), 1.0)
    return corrected_k
