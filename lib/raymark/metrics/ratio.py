"""A metric as a ratio of sums over rows, so that one definition gives the number and its interval."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ratio:
    """``sum(numerator) / sum(denominator)`` over rows (n,), or its square root.

    With `group_n` (integers from 0) the ratio is taken in each group and the groups that have rows
    are averaged with equal weight. A row that takes no part has zero in both; nothing to divide by
    gives NaN.
    """

    numerator_n: np.ndarray
    denominator_n: np.ndarray
    root: bool = False
    group_n: np.ndarray | None = None

    @property
    def value(self) -> float:
        one_cluster = np.zeros(len(self.numerator_n), dtype=int)
        return float(self.of_sums(*self.cluster_sums(one_cluster, 1))[0])

    @property
    def count(self) -> int:
        """How many rows take part."""
        return int(np.count_nonzero(self.denominator_n))

    def cluster_sums(self, cluster_n: np.ndarray, clusters: int) -> tuple[np.ndarray, np.ndarray]:
        """Add up numerators and denominators: two arrays (cluster, group)."""
        group_n = np.zeros_like(cluster_n) if self.group_n is None else self.group_n
        groups = int(group_n.max(initial=0)) + 1
        cell_n = cluster_n * groups + group_n

        def added(values_n: np.ndarray) -> np.ndarray:
            sums = np.bincount(cell_n, weights=values_n, minlength=clusters * groups)
            return sums.reshape(clusters, groups)

        return added(self.numerator_n), added(self.denominator_n)

    def of_sums(self, numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
        """Return the metric (...,) of sums (..., group)."""
        filled = denominator > 0
        ratio = np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=filled)
        if self.root:
            ratio = np.sqrt(np.maximum(ratio, 0.0))
        groups = filled.sum(axis=-1)
        total = np.where(filled, ratio, 0.0).sum(axis=-1)
        return np.divide(total, groups, out=np.full(total.shape, np.nan), where=groups > 0)
