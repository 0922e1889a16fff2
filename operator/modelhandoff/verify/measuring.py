"""One metric of one test set: its value by scikit-learn, and how it moves with the clusters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from modelhandoff.analysis.offline import MIN_CLUSTERS, Statistic
from modelhandoff.analysis.quality import (
    Units,
    average,
    average_precision,
    recall_at,
    roc_auc,
    root_average,
)
from modelhandoff.api.acceptance import OfflineMetric, Quality
from modelhandoff.verify.findings import Failed, Inconclusive
from modelhandoff.verify.scoring import Answers, Codes, Floats, Scored

BINARY: Final = frozenset(
    {Quality.AUC, Quality.PRAUC, Quality.RECALL_AT_PRECISION, Quality.LOG_LOSS, Quality.BRIER}
)
RANKED: Final = frozenset({Quality.AUC, Quality.PRAUC, Quality.RECALL_AT_PRECISION})
_PROBABILITIES: Final = frozenset({Quality.LOG_LOSS, Quality.BRIER})
_AGREE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric of one model: its value, and the same as a function of the clusters' counts."""

    value: float
    statistic: Statistic


@dataclass(frozen=True, slots=True)
class Question:
    """A metric on a test set, before anybody has answered.

    Attributes:
        metric: which one.
        at: positions of NDCG, precision of the recall; 0 for the others.
        label: of each row that counts.
        units: rows, or queries.
        queries: first row of each query and one past the end, for NDCG only.
        order: of the rows, so that those of a query stand together.
        threshold: from which a score is a positive decision.
    """

    metric: Quality
    at: float
    label: Floats
    units: Units
    queries: Codes
    order: Codes
    threshold: float

    @property
    def clusters(self) -> int:
        """Number of clusters."""
        return self.units.clusters

    def answered(self, answers: Answers, whose: str) -> Measured:
        """The metric of a model's answers to every row of the test set.

        Raises:
            Failed: the answers are no probabilities where those are needed.
            Inconclusive: our own sum is not scikit-learn's; nothing may rest on it.
        """
        score = answers.values[self.order]
        if self.metric in _PROBABILITIES and not ((score >= 0.0) & (score <= 1.0)).all():
            odd = score[(score < 0.0) | (score > 1.0)][0]
            raise Failed(f"{self.metric} needs probabilities; {whose} answers {odd:g}")
        if self.metric is Quality.NDCG:
            value, statistic = self._ndcg(score)
        elif self.metric is Quality.ACCURACY:
            decided = score if answers.classes else (score >= self.threshold).astype(np.float64)
            value, statistic = self._rows(decided)
        else:
            value, statistic = self._rows(score)
        again = float(statistic(np.ones((1, self.units.clusters)))[0])
        if not abs(again - value) <= _AGREE * max(1.0, abs(value)):
            raise Inconclusive(
                f"{self.metric}: the resampled metric is not scikit-learn's; "
                f"got {again!r}; allowed {value!r}"
            )
        return Measured(value, statistic)

    def _rows(self, score: Floats) -> tuple[float, Statistic]:
        from sklearn import metrics

        label, units = self.label, self.units
        weight = units.weight
        if self.metric is Quality.RECALL_AT_PRECISION:
            precision, recall, _ = metrics.precision_recall_curve(
                label, score, sample_weight=weight
            )
            value = float(recall[precision >= self.at].max())
            return value, recall_at(self.at)(units, label, score)
        by_sklearn, ours = _ROWS[self.metric]
        options = {"labels": [0, 1]} if self.metric is Quality.LOG_LOSS else {}
        value = float(getattr(metrics, by_sklearn)(label, score, sample_weight=weight, **options))
        return value, ours(units, label, score)

    def _ndcg(self, score: Floats) -> tuple[float, Statistic]:
        from sklearn.metrics import ndcg_score

        k = int(self.at)
        each = np.array(
            [
                ndcg_score(self.label[None, start:end], score[None, start:end], k=k)
                for start, end in zip(self.queries[:-1], self.queries[1:], strict=True)
            ]
        )
        return float(np.average(each, weights=self.units.weight)), average(self.units, each)


def _log_loss(units: Units, label: Floats, score: Floats) -> Statistic:
    tiny = np.finfo(np.float64).eps  # as scikit-learn: a certain error is bad, not infinite
    sure = np.clip(np.where(label == 1.0, score, 1.0 - score), tiny, 1.0 - tiny)
    return average(units, -np.log(sure))


_ROWS: Final[Mapping[Quality, tuple[str, Callable[[Units, Floats, Floats], Statistic]]]] = {
    Quality.AUC: ("roc_auc_score", roc_auc),
    Quality.PRAUC: ("average_precision_score", average_precision),
    Quality.LOG_LOSS: ("log_loss", _log_loss),
    Quality.BRIER: ("brier_score_loss", lambda u, y, s: average(u, (s - y) ** 2)),
    Quality.RMSE: ("root_mean_squared_error", lambda u, y, s: root_average(u, (s - y) ** 2)),
    Quality.MAE: ("mean_absolute_error", lambda u, y, s: average(u, np.abs(s - y))),
    Quality.ACCURACY: ("accuracy_score", lambda u, y, s: average(u, (s == y).astype(np.float64))),
}


def question(scored: Scored, metric: OfflineMetric, query: str, threshold: float) -> Question:
    """A metric of ``acceptance.offline`` on a test set.

    Raises:
        Failed: labels or clusters that the metric has no value or no interval on.
    """
    if metric.metric is Quality.NDCG:
        return _by_query(scored, metric, query)
    asked = Question(
        metric.metric,
        metric.at_precision or 0.0,
        scored.label,
        row_units(scored, metric.cluster_by),
        np.empty(0, dtype=np.intp),
        np.arange(len(scored.label)),
        threshold,
    )
    check_labels(asked, scored.file)
    few = too_few(asked)
    if few:
        raise Failed(f"{scored.file}: {few}")
    return asked


def row_units(scored: Scored, cluster_by: str | None) -> Units:
    """Every row, in the clusters of a column, or each for itself."""
    if cluster_by is None:
        rows = len(scored.label)
        return Units(np.arange(rows), scored.weight, rows)
    column = scored.columns[cluster_by]
    return Units(column.codes, scored.weight, len(column.words))


def check_labels(asked: Question, file: str) -> None:
    """Labels are such that the metric has a value.

    Raises:
        Failed: other than 0 and 1 where only those mean something, or all the same.
    """
    if asked.metric not in BINARY:
        return
    odd = (asked.label != 0.0) & (asked.label != 1.0)
    if odd.any():
        got = asked.label[odd][0]
        raise Failed(f"{file}: {asked.metric} needs labels 0 and 1; got {got:g}")
    if asked.metric in RANKED and len(np.unique(asked.label)) < 2:
        got = asked.label[0]
        raise Failed(f"{file}: {asked.metric} needs both labels; got {got:g} in every row")


def too_few(asked: Question) -> str:
    """Why no interval can be trusted; "" when one can."""
    units = asked.units
    kinds = [("clusters", units.weight > 0.0)]
    if asked.metric in RANKED:
        kinds = [
            (f"clusters with label {value:g}", (asked.label == value) & (units.weight > 0.0))
            for value in (1.0, 0.0)
        ]
    for what, there in kinds:
        found = len(np.unique(units.cluster[there]))
        if found < MIN_CLUSTERS:
            return f"too few {what} for an interval; got {found}; allowed at least {MIN_CLUSTERS}"
    return ""


def _by_query(scored: Scored, metric: OfflineMetric, query: str) -> Question:
    column = scored.columns[query]
    if (scored.label < 0.0).any():
        got = scored.label[scored.label < 0.0][0]
        raise Failed(f"{scored.file}: NDCG needs labels of at least 0; got {got:g}")
    order = np.argsort(column.codes, kind="stable")
    codes = column.codes[order]
    sizes = np.bincount(codes)
    # Of a single row every order is the best: scikit-learn gives it no value, and neither do we.
    order = order[sizes[codes] > 1]
    codes = column.codes[order]
    starts = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]])[: len(codes)])
    queries = np.append(starts, len(codes))
    group = np.repeat(np.arange(len(starts)), np.diff(queries))
    for name, values in (("weight", scored.weight), *_clusters(scored, metric)):
        mixed = values[order] != values[order[starts]][group] if len(starts) else np.empty(0, bool)
        if mixed.any():
            word = column.words[codes[int(mixed.argmax())]]
            raise Failed(
                f"{scored.file}: {query} {word!r} has rows with different {name}; allowed one"
            )
    if metric.cluster_by is None:
        units = Units(np.arange(len(starts)), scored.weight[order[starts]], len(starts))
    else:
        found, cluster = np.unique(
            scored.columns[metric.cluster_by].codes[order[starts]], return_inverse=True
        )
        units = Units(cluster, scored.weight[order[starts]], len(found))
    asked = Question(
        metric.metric, float(metric.k or 1), scored.label[order], units, queries, order, 0.0
    )
    few = too_few(asked)
    if few:
        what = "queries of more than one row" if metric.cluster_by is None else "clusters"
        raise Failed(f"{scored.file}: {few.replace('clusters', what)}")
    return asked


def _clusters(scored: Scored, metric: OfflineMetric) -> tuple[tuple[str, Codes], ...]:
    if metric.cluster_by is None:
        return ()
    return ((metric.cluster_by, scored.columns[metric.cluster_by].codes),)
