"""Metrics of a scored test set as functions of how often each cluster counts. Pure.

scikit-learn has the same metrics for one weighting of the rows; a bootstrap needs ten thousand.
So the rows are sorted once, and a whole block of weightings is summed at a time. Tests hold every
one of these against scikit-learn.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis.offline import Array, Statistic

Codes = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Units:
    """What is measured: rows, or queries.

    Attributes:
        cluster: of each unit, 0 to ``clusters`` - 1.
        weight: of each unit, >= 0.
        clusters: their number.
    """

    cluster: Codes
    weight: Array
    clusters: int

    def sums(self, values: Array) -> Array:
        """Weighted sums by cluster."""
        return np.bincount(
            self.cluster, weights=values * self.weight, minlength=self.clusters
        ).astype(np.float64)

    def only(self, chosen: NDArray[np.bool_]) -> "Units":
        """Some of the units; the clusters stay."""
        return Units(self.cluster[chosen], self.weight[chosen], self.clusters)


def average(units: Units, values: Array) -> Statistic:
    """Weighted mean of one value per unit: a loss, a hit, the NDCG of a query."""
    sums, sizes = units.sums(values), units.sums(np.ones(len(values)))
    return lambda counts: _ratio(counts @ sums, counts @ sizes)


def root_average(units: Units, values: Array) -> Statistic:
    """Root of the weighted mean: RMSE from squared errors."""
    mean = average(units, values)
    return lambda counts: np.sqrt(mean(counts))


def roc_auc(units: Units, label: Array, score: Array) -> Statistic:
    """Share of pairs in which the positive scores higher; ties count half."""

    def of(positive: Array, negative: Array) -> Array:
        # Blocks come from the highest score down: what lies below is what has not come yet.
        total = negative.sum(axis=1, keepdims=True)
        below = total - np.cumsum(negative, axis=1) + 0.5 * negative
        return _ratio((positive * below).sum(axis=1), positive.sum(axis=1) * total[:, 0])

    return _ranked(units, label, score, of)


def average_precision(units: Units, label: Array, score: Array) -> Statistic:
    """Average precision, the area under the precision-recall curve in steps."""

    def of(positive: Array, negative: Array) -> Array:
        found = np.cumsum(positive, axis=1)
        precision = _ratio(found, found + np.cumsum(negative, axis=1))
        # Nothing was found where there is no precision, and nothing is added there.
        area = (positive * np.nan_to_num(precision)).sum(axis=1)
        return _ratio(area, found[:, -1])

    return _ranked(units, label, score, of)


def recall_at(precision: float) -> Callable[[Units, Array, Array], Statistic]:
    """The largest recall of any threshold whose precision is at least this."""

    def metric(units: Units, label: Array, score: Array) -> Statistic:
        def of(positive: Array, negative: Array) -> Array:
            found = np.cumsum(positive, axis=1)
            kept = _ratio(found, found + np.cumsum(negative, axis=1)) >= precision
            return _ratio(np.where(kept, found, 0.0).max(axis=1), found[:, -1])

        return _ranked(units, label, score, of)

    return metric


def _ranked(
    units: Units, label: Array, score: Array, of: Callable[[Array, Array], Array]
) -> Statistic:
    """A metric of the weights of positives and negatives by score, from the highest down."""
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    cluster, weight, hit = units.cluster[order], units.weight[order], label[order] == 1.0

    def statistic(counts: Array) -> Array:
        weights = counts[:, cluster] * weight
        positive = np.add.reduceat(np.where(hit, weights, 0.0), starts, axis=1)
        return of(positive, np.add.reduceat(weights, starts, axis=1) - positive)

    return statistic


def _ratio(above: Array, below: Array) -> Array:
    """Quotient; NaN where nothing is divided by."""
    found: Array = np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0.0)
    return found
