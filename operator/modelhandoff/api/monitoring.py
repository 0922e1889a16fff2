"""Monitoring: which measurements decide, and where the limits lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated

from pydantic import Field, StringConstraints

from modelhandoff.api.base import SpecModel, Word
from modelhandoff.api.cel import Rule, positive
from modelhandoff.api.quantities import (
    HINT,
    Duration,
    Label63,
    ListOf,
    Word63,
)


class MetricType(Word):
    """What a metric measures, and so which test judges it."""

    ERROR_RATE = "ErrorRate"
    LATENCY = "Latency"
    DRIFT = "Drift"
    MEAN = "Mean"
    COUNT = "Count"
    ABSTAIN_RATE = "AbstainRate"
    CONTRACT_VIOLATIONS = "ContractViolations"


RATE_TYPES = (MetricType.ERROR_RATE, MetricType.ABSTAIN_RATE, MetricType.CONTRACT_VIOLATIONS)
"""Metrics that are a share of requests."""
ALONE_TYPES = (*RATE_TYPES, MetricType.LATENCY)
"""Metrics with a limit of their own: they say something without a baseline beside the candidate."""


class MetricRole(Word):
    """What a metric may do.

    Guardrail: harm rolls back, safety must be proven. Success: must be proven, harm rolls back.
    Watch: harm rolls back. Quality: holds only. Info: shown only.
    """

    GUARDRAIL = "Guardrail"
    SUCCESS = "Success"
    WATCH = "Watch"
    QUALITY = "Quality"
    INFO = "Info"


class ServerKind(Word):
    """The server whose built-in metric names are read."""

    MODEL_HANDOFF = "ModelHandoff"
    OPEN_INFERENCE = "OpenInference"
    TRITON = "Triton"
    VLLM = "VLLM"


class DriftOf(Word):
    """Which distribution is compared."""

    OUTPUT = "Output"
    FEATURE = "Feature"


class DriftAction(Word):
    """What drift that lasted does."""

    ROLLBACK = "Rollback"
    ALERT = "Alert"


class Direction(Word):
    """Which way is better."""

    INCREASE = "Increase"
    DECREASE = "Decrease"


class MatchOperator(Word):
    """How a label is compared; patterns are Prometheus' own, anchored at both ends."""

    EQUAL = "Equal"
    NOT_EQUAL = "NotEqual"
    MATCHES = "Matches"
    NOT_MATCHES = "NotMatches"

    @property
    def sign(self) -> str:
        """As PromQL writes it."""
        return _SIGNS[self]


_SIGNS = {
    MatchOperator.EQUAL: "=",
    MatchOperator.NOT_EQUAL: "!=",
    MatchOperator.MATCHES: "=~",
    MatchOperator.NOT_MATCHES: "!~",
}


class TimeUnit(Word):
    """Unit of a histogram's edges."""

    SECONDS = "Seconds"
    MILLISECONDS = "Milliseconds"


class LabelMatcher(SpecModel):
    """One condition on a label. The namespace and the pods are added by the operator."""

    label: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=63),
        Field(json_schema_extra={HINT: "a Prometheus label name"}),
    ]
    """Name of the label."""
    operator: MatchOperator = MatchOperator.EQUAL
    """How the label is compared. Equal when not set."""
    value: Annotated[str, StringConstraints(max_length=256)]
    """Value or pattern."""

    rules = (
        Rule(
            cel="!(self.label in ['namespace', 'pod', '__name__'])",
            holds=lambda self: self.label not in ("namespace", "pod", "__name__"),
            at="label",
            wrong="this label is chosen by the operator",
            allowed="any label but namespace, pod and __name__",
        ),
    )


class Selector(SpecModel):
    """Counter series of your own: a metric name and label matchers, never a query."""

    metric: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z_:][A-Za-z0-9_:]*$", max_length=128),
        Field(json_schema_extra={HINT: "a Prometheus metric name"}),
    ]
    """Name of the metric."""
    matchers: Annotated[tuple[LabelMatcher, ...], ListOf(8)] = ()
    """Conditions on its labels."""


class RateCounters(SpecModel):
    """The two counters of a rate."""

    bad: Selector
    """Requests that count against the candidate."""
    total: Selector
    """All requests."""


class HistogramSelector(SpecModel):
    """A classic histogram of your own."""

    metric: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z_:][A-Za-z0-9_:]*$", max_length=120),
        Field(json_schema_extra={HINT: "a Prometheus metric name, without _bucket"}),
    ]
    """Name of the histogram, without _bucket."""
    matchers: Annotated[tuple[LabelMatcher, ...], ListOf(8)] = ()
    """Conditions on its labels."""
    unit: TimeUnit = TimeUnit.SECONDS
    """Unit of the edges. Seconds when not set."""


# Which fields belong to which type: required ones first, then optional ones. Everything else
# is refused, so that a limit written under the wrong type is never silently without effect.
_RATE = ("max",), ("counters", "server")
FIELDS: Mapping[MetricType, tuple[tuple[str, ...], tuple[str, ...]]] = {
    MetricType.ERROR_RATE: _RATE,
    MetricType.ABSTAIN_RATE: _RATE,
    MetricType.CONTRACT_VIOLATIONS: _RATE,
    MetricType.LATENCY: (
        ("quantile", "budget"),
        ("histogram", "server", "maxRelativeIncrease"),
    ),
    MetricType.DRIFT: (
        ("of", "maxKL"),
        (
            "histogram",
            "server",
            "feature",
            "sustainedFor",
            "window",
            "action",
        ),
    ),
    MetricType.MEAN: (
        ("sum", "count"),
        ("sumOfSquares", "minLift", "maxRegression", "direction"),
    ),
    MetricType.COUNT: (("counter", "maxDrop"), ()),
}
_COMMON = ("name", "role", "critical", "type")


def _has_all(kind: MetricType, fields: frozenset[str]) -> Callable[[Metric], bool]:
    return lambda metric: metric.type is not kind or metric.written() >= fields


def _has_none(kind: MetricType, fields: frozenset[str]) -> Callable[[Metric], bool]:
    return lambda metric: metric.type is not kind or not metric.written() & fields


def _type_rules() -> tuple[Rule, ...]:
    typed = sorted({field for pair in FIELDS.values() for group in pair for field in group})
    rules = []
    for kind, (required, optional) in FIELDS.items():
        needed = " && ".join(f"has(self.{field})" for field in required)
        rules.append(
            Rule(
                cel=f"self.type != '{kind}' || ({needed})",
                holds=_has_all(kind, frozenset(required)),
                wrong=f"a metric of type {kind} lacks its limit or its series",
                allowed=f"type: {kind} with {' and '.join(required)}",
            )
        )
        foreign = [field for field in typed if field not in (*required, *optional)]
        absent = " && ".join(f"!has(self.{field})" for field in foreign)
        rules.append(
            Rule(
                cel=f"self.type != '{kind}' || ({absent})",
                holds=_has_none(kind, frozenset(foreign)),
                wrong=f"a metric of type {kind} has a field of another type",
                allowed=", ".join((*_COMMON, *required, *optional)),
            )
        )
    return tuple(rules)


class Metric(SpecModel):
    """One measurement, its limit and its role. Which fields it needs depends on its type."""

    name: Label63
    """Name of the metric, unique in the handoff."""
    type: MetricType
    """What is measured."""
    role: MetricRole = MetricRole.GUARDRAIL
    """What the metric may do. Guardrail when not set."""
    critical: bool = False
    """Counts three times when the chance of a wrong rollback is shared out."""
    server: ServerKind | None = None
    """Server whose built-in names are read. ModelHandoff when neither this nor series are set."""
    max: Annotated[float, Field(ge=1e-6, le=0.5)] | None = None
    """ErrorRate, AbstainRate, ContractViolations: largest share of requests, at most 0.5: count the
    rarer outcome."""
    counters: RateCounters | None = None
    """ErrorRate, AbstainRate, ContractViolations: counters of your own, instead of server."""
    quantile: Annotated[float, Field(ge=0.5, le=0.9999)] | None = None
    """Latency: the quantile that must stay within the budget, for example 0.95."""
    budget: Duration | None = None
    """Latency: the time that the quantile must stay within."""
    max_relative_increase: Annotated[float, Field(ge=0.01, le=10)] | None = None
    """Latency: largest growth over the baseline, 0.2 for 20 %."""
    histogram: HistogramSelector | None = None
    """Latency, Drift: a histogram of your own, instead of server."""
    of: DriftOf | None = None
    """Drift: the distribution that is compared."""
    feature: Word63 | None = None
    """Drift: name of the feature, with of: Feature."""
    max_kl: Annotated[float, Field(ge=1e-4, le=10)] | None = Field(default=None, alias="maxKL")
    """Drift: largest Kullback-Leibler divergence from the reference, in nats."""
    sustained_for: Duration | None = None
    """Drift: how long drift must last to be acted on; at least one window."""
    window: Duration | None = None
    """Drift, with sustainedFor: span of time that is judged as one."""
    action: DriftAction | None = None
    """Drift, with sustainedFor: what drift that lasted does. Rollback when not set."""
    sum: Selector | None = None
    """Mean: counter of the sum of the values."""
    sum_of_squares: Selector | None = None
    """Mean: counter of the sum of their squares."""
    count: Selector | None = None
    """Mean: counter of the number of values."""
    min_lift: Annotated[float, Field(ge=0, le=10)] | None = None
    """Mean: smallest relative improvement, 0.02 for 2 %."""
    max_regression: Annotated[float, Field(ge=1e-4, le=0.99)] | None = None
    """Mean: largest relative loss, 0.05 for 5 %."""
    direction: Direction | None = None
    """Mean: which way is better. Increase when not set."""
    counter: Selector | None = None
    """Count: the counter."""
    max_drop: Annotated[float, Field(ge=0.01, le=0.49)] | None = None
    """Count: largest relative loss per request, 0.1 for 10 %."""

    rules = (
        *_type_rules(),
        positive("budget", "budget"),
        positive("window", "window"),
        Rule(
            cel="!has(self.server) || (!has(self.counters) && !has(self.histogram))",
            holds=lambda self: (
                self.server is None or (self.counters is None and self.histogram is None)
            ),
            at="server",
            wrong="the series are named twice",
            allowed="either server, or counters or histogram of your own",
        ),
        Rule(
            cel="!has(self.of) || (self.of == 'Feature') == has(self.feature)",
            holds=lambda self: (
                self.of is None or (self.of is DriftOf.FEATURE) == (self.feature is not None)
            ),
            at="of",
            wrong="drift of a feature names the feature, and drift of the output does not",
            allowed="of: Feature with feature, or of: Output without",
        ),
        Rule(
            cel=(
                "self.type != 'Drift' || (has(self.sustainedFor) == has(self.window)"
                " && (has(self.sustainedFor) || !has(self.action)))"
            ),
            holds=lambda self: (
                self.type is not MetricType.DRIFT
                or (
                    (self.sustained_for is None) == (self.window is None)
                    and (self.sustained_for is not None or self.action is None)
                )
            ),
            at="sustainedFor",
            wrong="drift is sustained over windows, and only sustained drift has an action",
            allowed="sustainedFor and window, with or without action; or none of the three",
        ),
        Rule(
            cel=(
                "!has(self.sustainedFor) || !has(self.window)"
                " || duration(self.sustainedFor) >= duration(self.window)"
            ),
            holds=lambda self: (
                self.sustained_for is None
                or self.window is None
                or self.sustained_for >= self.window
            ),
            at="sustainedFor",
            wrong="nothing can last shorter than the window it is measured in",
            allowed="sustainedFor >= window",
        ),
        Rule(
            cel="self.type != 'Mean' || has(self.minLift) != has(self.maxRegression)",
            holds=lambda self: (
                self.type is not MetricType.MEAN
                or (self.min_lift is None) != (self.max_regression is None)
            ),
            wrong="a mean needs one limit",
            allowed="exactly one of minLift, maxRegression",
        ),
        Rule(
            cel="!has(self.role) || self.role != 'Success' || self.type != 'Mean'"
            " || has(self.minLift)",
            holds=lambda self: (
                self.role is not MetricRole.SUCCESS
                or self.type is not MetricType.MEAN
                or self.min_lift is not None
            ),
            at="role",
            wrong="a mean that must succeed promises nothing",
            allowed="role: Success with minLift",
        ),
    )

    def written(self) -> set[str]:
        """Names (camelCase) of the fields that are set."""
        return {
            field.alias or name
            for name, field in type(self).model_fields.items()
            if getattr(self, name) is not None
        }


def _has_guardrail(metrics: tuple[Metric, ...]) -> bool:
    return any(metric.role is MetricRole.GUARDRAIL for metric in metrics)


class Monitoring(SpecModel):
    """What is measured while both versions serve."""

    source: Label63 = "default"
    """A metric source that the policy names; never an address."""
    interval: Duration = timedelta(seconds=30)
    """Length of one look. 30s when not set."""
    metrics: Annotated[tuple[Metric, ...], ListOf(50, minimum=1, key="name")]
    """The measurements."""

    rules = (
        Rule(
            cel="self.metrics.exists(m, !has(m.role) || m.role == 'Guardrail')",
            holds=lambda self: _has_guardrail(self.metrics),
            at="metrics",
            wrong="no metric can stop a bad candidate",
            allowed="at least one metric with role: Guardrail",
        ),
        Rule(
            cel=(
                "!has(self.interval) || (duration(self.interval) >= duration('1s')"
                " && duration(self.interval) <= duration('1h'))"
            ),
            holds=lambda self: timedelta(seconds=1) <= self.interval <= timedelta(hours=1),
            at="interval",
            wrong="the interval is out of range",
            allowed="1s to 1h",
        ),
    )
