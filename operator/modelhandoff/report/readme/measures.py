"""Metrics and acceptance criteria in plain words, and how long their proofs take."""

from __future__ import annotations

import math
from collections.abc import Iterator

from modelhandoff.analysis import wording
from modelhandoff.analysis.planner import Needs
from modelhandoff.api.monitoring import (
    RATE_TYPES,
    Direction,
    DriftAction,
    DriftOf,
    HistogramSelector,
    LabelMatcher,
    Metric,
    MetricRole,
    MetricType,
    RateCounters,
    Selector,
    ServerKind,
)
from modelhandoff.report import words
from modelhandoff.report.document import Block, Code, Line, Paragraph, Row, Table
from modelhandoff.report.readme.subject import Subject

_SELECTOR = ("metric", "matchers[].label", "matchers[].operator", "matchers[].value")
_SERIES = ("counters.bad", "counters.total", "histogram", "sum", "sumOfSquares", "count", "counter")
_PLAIN = (
    "name", "type", "role", "critical", "server", "max", "quantile", "budget",
    "maxRelativeIncrease", "of", "feature", "maxKL", "sustainedFor", "window", "action", "minLift",
    "maxRegression", "direction", "maxDrop", "histogram.unit",
)  # fmt: skip
METRIC_TERMS = frozenset(
    {
        *(f"monitoring.metrics[].{one}" for one in _PLAIN),
        *(f"monitoring.metrics[].{one}.{part}" for one in _SERIES for part in _SELECTOR),
    }
)

_MAY = {
    MetricRole.GUARDRAIL: "guardrail: must be proven before promotion; harm rolls back",
    MetricRole.SUCCESS: "success: must be proven; harm rolls back",
    MetricRole.WATCH: "watch: harm rolls back; no proof is needed",
    MetricRole.QUALITY: "quality: can hold the rollout, no more",
    MetricRole.INFO: "info: shown, decides nothing",
}


def metrics(subject: Subject) -> Iterator[Block]:
    """What must hold, metric by metric."""
    decision = subject.spec.rollout.decision
    yield Paragraph(
        (
            "The candidate is compared with the version that serves, on the same live traffic at "
            "the same time. It graduates when every guardrail and success metric below is proven; "
            "it is rolled back when harm is proven by all of them together. Numbers not known yet "
            "prove nothing.",
        )
    )
    yield Table(
        ("Metric", "What must hold", "What it may do", "Read from"),
        tuple(
            Row(((Code(one.name),), (_claim(one),), (_may(one),), _source(one)))
            for one in subject.spec.monitoring.metrics
        ),
    )
    if any(one.type in RATE_TYPES for one in subject.spec.monitoring.metrics):
        yield Paragraph((_beside(decision.harm_margin, decision.safe_margin),))


def _beside(harm: float, safe: float | None) -> str:
    told = f"Rates are also compared: above {harm:g} times the baseline's is harm"
    proof = f"; below {safe:g} times must be proven" if safe is not None else ""
    return f"{told}{proof}."


def _claim(one: Metric) -> str:
    match one.type:
        case MetricType.ERROR_RATE:
            return f"at most {words.percent(one.max or 0.0)} of the requests fail"
        case MetricType.ABSTAIN_RATE:
            return f"the model abstains in at most {words.percent(one.max or 0.0)} of the rows"
        case MetricType.CONTRACT_VIOLATIONS:
            return f"at most {words.percent(one.max or 0.0)} of the values break the data contract"
        case MetricType.LATENCY:
            return _latency(one)
        case MetricType.DRIFT:
            return _drift(one)
        case MetricType.MEAN:
            return _mean(one)
        case MetricType.COUNT:
            return f"at most {words.percent(one.max_drop or 0.1)} fewer events per request"


def _latency(one: Metric) -> str:
    share, budget = one.quantile or 0.0, one.budget
    told = f"{words.percent(share)} of the requests are answered"
    if budget is not None:
        told += f" within {wording.latency(budget.total_seconds(), 's')}"
    if one.max_relative_increase is not None:
        told += f", and slow ones grow by at most {words.percent(one.max_relative_increase)}"
    return told


def _drift(one: Metric) -> str:
    of = f"feature {one.feature}" if one.of is DriftOf.FEATURE else "the output"
    told = f"the distribution of {of} stays within KL {one.max_kl or 0.0:g} nats"
    if one.sustained_for is None or one.window is None:
        return told
    does = "an alert" if one.action is DriftAction.ALERT else "a rollback"
    lasts = wording.duration(one.sustained_for.total_seconds())
    window = wording.duration(one.window.total_seconds())
    return f"{told}; drift over {lasts}, judged in windows of {window}, is {does}"


def _mean(one: Metric) -> str:
    up = (one.direction or Direction.INCREASE) is Direction.INCREASE
    if one.min_lift is not None:
        return f"the mean {'rises' if up else 'falls'} by at least {words.percent(one.min_lift)}"
    loss = words.percent(one.max_regression or 0.0)
    return f"the mean {'falls' if up else 'rises'} by at most {loss}"


def _may(one: Metric) -> str:
    return _MAY[one.role] + ("; counts three times" if one.critical else "")


def _source(one: Metric) -> Line:
    series: RateCounters | HistogramSelector | None = one.counters or one.histogram
    if isinstance(series, RateCounters):
        return (_selected(series.bad), " of ", _selected(series.total))
    if isinstance(series, HistogramSelector):
        unit = str(series.unit).lower()
        return (_selected(series), f" in {unit}")
    if one.sum is not None and one.count is not None:
        squares: Line = ()
        if one.sum_of_squares is not None:
            squares = (", squares ", _selected(one.sum_of_squares))
        return (_selected(one.sum), " by ", _selected(one.count), *squares)
    if one.counter is not None:
        return (_selected(one.counter),)
    return (f"the {one.server or ServerKind.MODEL_HANDOFF} server's own metrics",)


def _selected(series: Selector | HistogramSelector) -> Code:
    where = ",".join(_matcher(one) for one in series.matchers)
    return Code(f"{series.metric}{{{where}}}" if where else series.metric)


def _matcher(one: LabelMatcher) -> str:
    value = one.value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{one.label}{one.operator.sign}"{value}"'


def proofs(subject: Subject) -> Iterator[Block]:
    """What the planner expects: how long each proof takes at the traffic there may be."""
    if not subject.outlooks:
        return
    yield Paragraph(
        (
            "How long the proofs take, with 80 % power, for a candidate that is as good as the "
            "baseline and a baseline at half of its limit, by requests of both versions:",
        )
    )
    heads = [f"At {one.per_second:g}/s" for one in subject.outlooks]
    rows = []
    for at, metric in enumerate(subject.spec.monitoring.metrics):
        cells = [_need(one.metrics[at].safe_most) for one in subject.outlooks]
        if any(cells):
            rows.append(Row(((metric.name,), *((cell or "-",) for cell in cells))))
    if rows:
        yield Table(("Metric", *heads), tuple(rows))
    told = [one.metrics for one in subject.outlooks[-1:]]
    lines = [one.sentence for found in told for one in found if one.sentence]
    if len(subject.outlooks) == 1 and lines:
        yield Paragraph((" ".join(lines),), quiet=True)
    yield Paragraph(
        ("Shares of the two versions are those of the steps; ", Code("modelhandoff plan"),
         " says more."), quiet=True
    )  # fmt: skip


def _need(need: Needs | None) -> str:
    if need is None:
        return ""
    if not math.isfinite(need.looks):
        return "never at this rate"
    return f"{wording.duration(need.seconds)}, {wording.count(need.requests)} requests"
