"""Times, shares and limits as the report says them; the engine's own words where it has some."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from modelhandoff.analysis import wording
from modelhandoff.api.monitoring import RATE_TYPES, Direction, Metric, MetricRole, MetricType

_WHAT = {
    MetricType.ERROR_RATE: "failed requests",
    MetricType.ABSTAIN_RATE: "abstained rows",
    MetricType.CONTRACT_VIOLATIONS: "broken values",
    MetricType.MEAN: "mean value",
    MetricType.COUNT: "events",
}


def moment(at: datetime) -> str:
    """A time to the second: "2026-11-25 00:00:34 UTC"."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def unix(seconds: float) -> datetime:
    """Unix seconds as a time."""
    return datetime.fromtimestamp(seconds, UTC)


def span(length: timedelta) -> str:
    """A length of time in the words of the handoff's status."""
    seconds = max(0, round(length.total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def percent(share: float) -> str:
    """A share as a percentage without needless zeros: 0.05 is "5 %"."""
    return f"{100.0 * share:.4g} %"


def what(metric: Metric) -> str:
    """What a metric measures, in a few words."""
    if metric.type is MetricType.LATENCY and metric.quantile and metric.budget:
        budget = wording.latency(metric.budget.total_seconds(), "s")
        return f"requests over {budget} (p{100.0 * metric.quantile:.6g})"
    if metric.type is MetricType.DRIFT:
        of = f"feature {metric.feature}" if metric.feature else f"{metric.of or 'Output'}".lower()
        return f"drift of the {of}, KL in nats" if not metric.feature else f"drift of {of}, KL"
    return _WHAT.get(metric.type, str(metric.type))


def role(metric: Metric) -> str:
    """What a metric may do, and whether it counts more."""
    told = {
        MetricRole.GUARDRAIL: "guardrail",
        MetricRole.SUCCESS: "success",
        MetricRole.WATCH: "watch, rolls back only",
        MetricRole.QUALITY: "quality, holds only",
        MetricRole.INFO: "info, decides nothing",
    }[metric.role]
    return f"{told}, critical" if metric.critical else told


def value(metric: Metric, found: float | None) -> str:
    """A value of one arm."""
    if found is None or not math.isfinite(found):
        return "-"
    if metric.type in RATE_TYPES or metric.type is MetricType.LATENCY:
        return wording.percent(found)
    return wording.number(found)


def limit(metric: Metric) -> str:
    """The limit as the spec sets it."""
    if metric.type in RATE_TYPES:
        return f"at most {percent(metric.max or 0.0)}"
    if metric.type is MetricType.LATENCY and metric.quantile:
        told = f"at most {percent(1.0 - metric.quantile)}"
        if metric.max_relative_increase is not None:
            told += f", growth at most {percent(metric.max_relative_increase)}"
        return told
    if metric.type is MetricType.DRIFT:
        return f"KL at most {metric.max_kl or 0.0:g}"
    if metric.type is MetricType.COUNT:
        return f"at least {percent(1.0 - (metric.max_drop or 0.1))} of the baseline"
    better = "fall" if (metric.direction or Direction.INCREASE) is Direction.INCREASE else "rise"
    told = f"may {better} by {percent(metric.max_regression or 0.05)}"
    if metric.min_lift is not None:
        told += f", must improve by {percent(metric.min_lift)}"
    return told


def interval(metric: Metric, found: tuple[float, float] | None, *, ratio: bool) -> str:
    """An interval of a ratio or of a value, open ends in words; "" when it tells nothing."""
    if found is None:
        return ""
    low, high = found
    if math.isnan(low) or math.isnan(high) or (low <= 0.0 and math.isinf(high)):
        return ""

    def show(end: float) -> str:
        return f"{wording.number(end)}x" if ratio else value(metric, end)

    if math.isinf(high):
        return f"{show(low)} or more"
    if low <= 0.0:
        return f"up to {show(high)}"
    return f"{show(low)} to {show(high)}"


def power(log_e: float) -> str:
    """An e-value from its natural log."""
    if log_e > 690.0:
        return "over 10^299"
    if log_e < math.log(0.005):
        return "under 0.01"
    return wording.evidence(math.exp(log_e))
