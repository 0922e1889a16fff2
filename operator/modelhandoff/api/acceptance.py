"""Acceptance: what a candidate must show before any traffic, in a Job of the tenant's namespace."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from modelhandoff.api.acceptance_jobs import MAX_TESTS, AcceptanceTest, Reproduction
from modelhandoff.api.base import SpecModel, Word
from modelhandoff.api.cel import Rule
from modelhandoff.api.quantities import ListOf, Ratio, Word63


class Smoke(SpecModel):
    """Golden cases: requests whose right answers were computed when the model was trained.

    They are the first artifact with role TestData, one JSON object with request and response in
    every line. An ONNX model answers them in a verification Job; every model answers them once
    more from its pods, before the first traffic.
    """

    abs_tolerance: Annotated[float, Field(ge=0, le=1_000_000)] = 1e-5
    """Largest difference of a number that is no error whatever its size. 0.00001 when not set."""
    rel_tolerance: Annotated[float, Field(ge=0, le=1)] = 1e-4
    """Largest difference as a share of the right number. 0.0001 when not set."""
    top_k: Annotated[int, Field(ge=1, le=1000)] | None = None
    """For outputs with several numbers per row: instead of the numbers, the positions of so many
    largest ones are compared, in their order. Numbers within the tolerance count as equal."""


class Quality(Word):
    """A metric of a scored test set, by scikit-learn's definition."""

    NDCG = "NDCG"
    AUC = "AUC"
    PRAUC = "PRAUC"
    RECALL_AT_PRECISION = "RecallAtPrecision"
    LOG_LOSS = "LogLoss"
    BRIER = "Brier"
    RMSE = "RMSE"
    MAE = "MAE"
    ACCURACY = "Accuracy"

    @property
    def loss(self) -> bool:
        """Whether less is better."""
        return self in LOSSES


LOSSES = frozenset({Quality.LOG_LOSS, Quality.BRIER, Quality.RMSE, Quality.MAE})
_LOSSES = "['LogLoss', 'Brier', 'RMSE', 'MAE']"


class OfflineRole(Word):
    """Whether a metric decides."""

    PRIMARY = "Primary"
    SECONDARY = "Secondary"


class OfflineMetric(SpecModel):
    """One metric on the test set, and what must be proven of it.

    Proven means: the lower end of a 90 % interval, from a bootstrap over clusters, reaches the
    bound. A better estimate alone is not enough.
    """

    metric: Quality
    """The metric. PRAUC is the average precision."""
    role: OfflineRole = OfflineRole.PRIMARY
    """A Primary metric decides; a Secondary one is measured and reported, whatever it says.
    Primary when not set."""
    k: Annotated[int, Field(ge=1, le=1000)] | None = None
    """For NDCG: how many of the first positions of a query count."""
    at_precision: Annotated[float, Field(gt=0, le=1)] | None = None
    """For RecallAtPrecision: the precision that the threshold must have."""
    cluster_by: Word63 | None = None
    """Column of the test set whose equal values belong together, such as the user. When not set
    NDCG takes the query, and every other metric each row for itself."""
    min_value: Annotated[float, Field(ge=0, le=1)] | None = None
    """Smallest value that must be proven; for metrics of which more is better."""
    max_value: Annotated[float, Field(ge=0, le=1_000_000_000)] | None = None
    """Largest value that must be proven; for LogLoss, Brier, RMSE and MAE."""
    min_relative_change: Annotated[float, Field(ge=0, le=10)] | None = None
    """Smallest improvement over the baseline on the same rows that must be proven, as a share of
    the baseline's value: 0.02 is 2 % more, of a loss 2 % less."""
    non_inferiority_margin: Annotated[float, Field(ge=0, le=1_000_000_000)] | None = None
    """How much worse than the baseline the candidate may be, in the metric's own unit; that it is
    not worse than so must be proven."""

    rules = (
        Rule(
            cel="has(self.k) == (self.metric == 'NDCG')",
            holds=lambda self: (self.k is not None) == (self.metric is Quality.NDCG),
            at="k",
            wrong="NDCG says how many positions count, and nothing else does",
            allowed="k together with metric: NDCG",
        ),
        Rule(
            cel="has(self.atPrecision) == (self.metric == 'RecallAtPrecision')",
            holds=lambda self: (
                (self.at_precision is not None) == (self.metric is Quality.RECALL_AT_PRECISION)
            ),
            at="atPrecision",
            wrong="RecallAtPrecision says at which precision, and nothing else does",
            allowed="atPrecision together with metric: RecallAtPrecision",
        ),
        Rule(
            cel=(
                "(has(self.minValue) ? 1 : 0) + (has(self.maxValue) ? 1 : 0)"
                " + (has(self.minRelativeChange) ? 1 : 0)"
                " + (has(self.nonInferiorityMargin) ? 1 : 0)"
                " <= 1 && (has(self.role) && self.role == 'Secondary' || has(self.minValue)"
                " || has(self.maxValue) || has(self.minRelativeChange)"
                " || has(self.nonInferiorityMargin))"
            ),
            holds=lambda self: (
                len(self.bounds) == 1 or (self.role is OfflineRole.SECONDARY and not self.bounds)
            ),
            wrong="it is not clear what must be proven",
            allowed="exactly one of minValue, maxValue, minRelativeChange, nonInferiorityMargin; "
            "none only with role: Secondary",
        ),
        Rule(
            cel=f"!has(self.minValue) || !(self.metric in {_LOSSES})",
            holds=lambda self: self.min_value is None or not self.metric.loss,
            at="minValue",
            wrong="of a loss less is better",
            allowed="maxValue",
        ),
        Rule(
            cel=f"!has(self.maxValue) || self.metric in {_LOSSES}",
            holds=lambda self: self.max_value is None or self.metric.loss,
            at="maxValue",
            wrong="of this metric more is better",
            allowed="minValue",
        ),
    )

    @property
    def bounds(self) -> tuple[float, ...]:
        """The bounds that are set; one, or none."""
        every = (
            self.min_value,
            self.max_value,
            self.min_relative_change,
            self.non_inferiority_margin,
        )
        return tuple(bound for bound in every if bound is not None)

    @property
    def compares(self) -> bool:
        """Whether nothing can be said of it without a baseline."""
        return self.min_relative_change is not None or self.non_inferiority_margin is not None

    @property
    def title(self) -> str:
        """As people call it: NDCG@10, RecallAtPrecision@0.9, AUC."""
        at = self.k if self.k is not None else self.at_precision
        return str(self.metric) if at is None else f"{self.metric}@{at:g}"


class EvaluationSet(SpecModel):
    """How the test set is read: names of its columns, and which number of the model is judged."""

    label: Word63 = "label"
    """Column with the right answer: a number; 0 or 1 for everything but NDCG, RMSE, MAE and
    Accuracy. label when not set."""
    query: Word63 = "query"
    """Column with the query that a row belongs to, for NDCG. query when not set."""
    weight: Word63 | None = None
    """Column with the weight of a row. All rows count the same when not set."""
    output: Word63 | None = None
    """Output of the model that is judged. The only one when not set."""
    column: Annotated[int, Field(ge=0, le=100_000)] | None = None
    """Which of its numbers, counted from 0, where it has several per row. When not set Accuracy
    takes the position of the largest one."""
    threshold: Ratio = 0.5
    """From which score on a decision is positive, for Accuracy. 0.5 when not set."""


class WithoutBaseline(Word):
    """What becomes of comparisons when there is nothing to compare with."""

    SKIP = "Skip"
    INCONCLUSIVE = "Inconclusive"


class Acceptance(SpecModel):
    """What a candidate must show before it gets any traffic."""

    smoke: Smoke | None = None
    """Golden cases."""
    tests: Annotated[tuple[AcceptanceTest, ...], ListOf(MAX_TESTS, key="name")] = ()
    """Tests in images of your own, each in a Job, one after the other."""
    reproduce: Reproduction | None = None
    """The training in an image of your own: the model is made again, and its metrics compared."""
    offline: Annotated[tuple[OfflineMetric, ...], ListOf(8, minimum=1)] | None = None
    """Metrics on the test set, the artifact with role TestSet, and what must be proven of them.
    Candidate and baseline answer the same rows in the same Job."""
    test_set: EvaluationSet | None = None
    """How the test set is read."""
    without_baseline: WithoutBaseline | None = None
    """What becomes of minRelativeChange and nonInferiorityMargin when there is nothing to compare
    with: nothing serves yet, or what serves is an adopted Deployment. Skip when not set."""

    rules = (
        Rule(
            cel=(
                "has(self.smoke) || has(self.reproduce) || has(self.offline)"
                " || has(self.tests) && size(self.tests) > 0"
            ),
            holds=lambda self: bool(self.smoke or self.reproduce or self.tests or self.offline),
            wrong="nothing is asked for",
            allowed="smoke, tests, reproduce or offline; or leave acceptance out",
        ),
        Rule(
            cel=(
                "!has(self.offline) || self.offline.exists(o, !has(o.role) || o.role == 'Primary')"
            ),
            holds=lambda self: (
                self.offline is None or any(m.role is OfflineRole.PRIMARY for m in self.offline)
            ),
            at="offline",
            wrong="no metric decides",
            allowed="at least one with role: Primary",
        ),
    )

    @property
    def jobs(self) -> tuple[AcceptanceTest | Reproduction, ...]:
        """Everything that runs in an image of the tenant's."""
        return self.tests if self.reproduce is None else (*self.tests, self.reproduce)

    @property
    def judged(self) -> EvaluationSet:
        """How the test set is read, defaults filled in."""
        return self.test_set or EvaluationSet()

    @property
    def compares(self) -> bool:
        """Whether a baseline is asked for."""
        return any(metric.compares for metric in self.offline or ())
