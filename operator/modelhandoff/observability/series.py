"""PromQL for what a handoff's metrics name: the same series that the operator judges."""

from __future__ import annotations

import re
from collections.abc import Iterable

from modelhandoff.api.monitoring import (
    HistogramSelector,
    Metric,
    MetricType,
    Selector,
    ServerKind,
    TimeUnit,
)
from modelhandoff.api.names import HASH_LENGTH
from modelhandoff.metrics.families import FAMILIES, Family, Pick, Rated, Where
from modelhandoff.metrics.reads import matcher, quoted

_PLAIN = re.compile(r"[A-Za-z0-9_:/-]")
_PLAIN_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*(:[a-zA-Z0-9_]+)*")


def pods_of(namespace: str, handoff: str, adopted: str = "") -> tuple[str, ...]:
    """Matchers for every pod of a handoff, whichever revision, and of an adopted Deployment."""
    names = [f"{handoff}-[0-9a-f]{{{HASH_LENGTH}}}", *([adopted] if adopted else [])]
    either = "|".join(names)
    return (f"namespace={quoted(namespace)}", f"pod=~{quoted(f'(?:{either})-.+')}")


def events_and_trials(metric: Metric, pods: Iterable[str]) -> tuple[str, str] | None:
    """Rates of bad and of all requests; ``None`` where the server publishes nothing of the kind."""
    if metric.counters is not None:
        bad, total = metric.counters.bad, metric.counters.total
        return _sum([_own(bad, pods)]), _sum([_own(total, pods)])
    rated = _rated(metric.type, _family(metric))
    if rated is None:
        return None
    events = _sum(_picked(pick, pods) for pick in rated.events)
    return events, _sum(_picked(pick, pods) for pick in rated.trials)


def buckets(metric: Metric, pods: Iterable[str]) -> tuple[str, float] | None:
    """Rates of a latency histogram's buckets, by ``le``, and seconds per unit of ``le``."""
    own = metric.histogram
    if own is not None:
        scale = 0.001 if own.unit is TimeUnit.MILLISECONDS else 1.0
        return f"sum by (le) (rate({_bucket(own, pods)}[5m]))", scale
    latency = _family(metric).latency
    if not latency:
        return None
    return f"sum by (le) (rate({_picked(latency[0].buckets, pods)}[5m]))", latency[0].scale


def requests(server: ServerKind | None, pods: Iterable[str]) -> str:
    """Rate of all requests of a server that is known."""
    family = FAMILIES[server or ServerKind.MODEL_HANDOFF]
    return _sum(_picked(pick, pods) for pick in family.requests)


def _family(metric: Metric) -> Family:
    return FAMILIES[metric.server or ServerKind.MODEL_HANDOFF]


def _rated(kind: MetricType, family: Family) -> Rated | None:
    return {
        MetricType.ERROR_RATE: family.errors,
        MetricType.ABSTAIN_RATE: family.abstentions,
        MetricType.CONTRACT_VIOLATIONS: family.violations,
    }.get(kind)


def _sum(selectors: Iterable[str]) -> str:
    return " + ".join(f"sum(rate({one}[{{window}}]))" for one in selectors)


def _own(selector: Selector, pods: Iterable[str]) -> str:
    return _select(selector.metric, [*map(matcher, selector.matchers), *pods])


def _bucket(histogram: HistogramSelector, pods: Iterable[str]) -> str:
    return _select(f"{histogram.metric}_bucket", [*map(matcher, histogram.matchers), *pods])


def _picked(pick: Pick, pods: Iterable[str]) -> str:
    return _select(pick.name, [*map(_where, pick.where), *pods])


def _select(name: str, matchers: Iterable[str]) -> str:
    inside = ", ".join(matchers)
    if _PLAIN_NAME.fullmatch(name):
        return f"{name}{{{inside}}}"
    return f"{{__name__={quoted(name)}, {inside}}}"


def _where(where: Where) -> str:
    ways = [f"{_literal(one)}.*" for one in where.begins]
    ways += [f".*{_literal(one)}" for one in where.ends]
    return f"{where.label}=~{quoted('|'.join(ways))}"


def _literal(text: str) -> str:
    return "".join(c if _PLAIN.fullmatch(c) else f"\\{c}" for c in text)
