"""From series to processes: which scrape target a series came from, and what each scrape said.

A pod is one process as far as counting goes. Two scrapers of one process (the same address
under two jobs, or two replicas of Prometheus) show every counter twice; one of them is read and
the others must agree. Two *different* addresses of one pod at the same time could be one process
or two, and nobody here can know: that is refused by name.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from modelhandoff.metrics.cursor import Key
from modelhandoff.metrics.samples import STARTED, UP, Labels, Series
from modelhandoff.metrics.trouble import MetricsError, Trouble

__all__ = ["Naming", "Process", "Scrape", "processes", "shown"]

USUAL: Final = frozenset(
    {
        "cluster", "container", "endpoint", "env", "environment", "host", "instance", "job",
        "namespace", "node", "pod", "prometheus", "prometheus_replica", "receive", "region",
        "replica", "service", "tenant_id", "zone",
    }
)  # fmt: skip
"""Labels that scraping adds; used where the pod's own ``up`` series is not at hand."""


@dataclass(frozen=True, slots=True)
class Naming:
    """What is known about metrics by their names.

    Attributes:
        own: the labels that the process itself gives (known families). Of other metrics every
            label counts that is no label of the target.
        signed: sums of values that may be negative; they rise and fall without being reset.
    """

    own: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    signed: frozenset[str] = frozenset()


@dataclass(slots=True)
class Scrape:
    """One scrape of one target: when (Unix milliseconds), and every counter it showed."""

    at: int
    values: dict[Key, float] = field(default_factory=dict)
    started: float | None = None


@dataclass(frozen=True, slots=True)
class Process:
    """What was read of one pod: the endpoint chosen and its scrapes in order of time."""

    pod: str
    endpoint: str
    scrapes: tuple[Scrape, ...]
    failed: int = 0


@dataclass(slots=True)
class _Target:
    pod: str
    instance: str
    endpoint: str
    series: list[Series] = field(default_factory=list)
    up: Series | None = None
    started: Series | None = None


def processes(
    series: Iterable[Series], labels: Labels, preferred: Mapping[str, str], naming: Naming
) -> dict[str, Process]:
    """Group series into one :class:`Process` per pod.

    Args:
        series: everything one query returned for the pods of one handoff.
        labels: names of the target labels.
        preferred: endpoint read so far, by pod (from the cursor), so that a duplicate is
            always taken from the same scraper as long as that one lives.
        naming: how to read the metrics.

    Raises:
        MetricsError: two series that cannot both be counted, or a sample that is no count.
    """
    pods: dict[str, list[Series]] = {}
    for one in series:
        pod = one.labels.get(labels.pod, "")
        if pod and one.times:
            pods.setdefault(pod, []).append(one)
    return {
        pod: _process(pod, found, labels, preferred.get(pod), naming) for pod, found in pods.items()
    }


def _target_labels(series: Iterable[Series], labels: Labels) -> frozenset[str]:
    """The labels of this pod's targets: exactly those that ``up`` carries."""
    told = [one for one in series if one.name == UP] or [
        one for one in series if one.name == STARTED
    ]
    if not told:
        return USUAL | {labels.namespace, labels.pod, labels.job, labels.instance}
    return frozenset(name for one in told for name in one.labels)


def _split(pod: str, series: list[Series], labels: Labels, names: frozenset[str]) -> list[_Target]:
    told = sum(one.name == UP for one in series)
    if told == 1 and sum(one.name == STARTED for one in series) <= 1:
        return [_single(pod, series, labels, names)]
    targets: dict[tuple[str, ...], _Target] = {}
    ordered = sorted(names)
    for one in series:
        identity = tuple(one.labels.get(name, "") for name in ordered)
        target = targets.get(identity)
        if target is None:
            target = targets[identity] = _Target(pod, *_named(one, labels, identity))
        _sort(target, one)
    return list(targets.values())


def _single(pod: str, series: list[Series], labels: Labels, names: frozenset[str]) -> _Target:
    """The usual case, one target per pod, without looking at every label of every series."""
    told = next(one for one in series if one.name == UP)
    identity = tuple(told.labels.get(name, "") for name in sorted(names))
    target = _Target(pod, *_named(told, labels, identity))
    for one in series:
        _sort(target, one)
    return target


def _named(one: Series, labels: Labels, identity: tuple[str, ...]) -> tuple[str, str]:
    """Address and short name of a target."""
    instance = one.labels.get(labels.instance, "")
    mark = hashlib.sha256("\0".join(identity).encode()).hexdigest()[:6]
    return instance, f"{one.labels.get(labels.job, '')}|{instance}#{mark}"


def _sort(target: _Target, one: Series) -> None:
    if one.name == UP:
        target.up = _only(target.up, one)
    elif one.name == STARTED:
        target.started = _only(target.started, one)
    else:
        target.series.append(one)


def _only(before: Series | None, one: Series) -> Series:
    if before is not None:
        raise _twice(before, one)
    return one


def _twice(one: Series, other: Series) -> MetricsError:
    return MetricsError(
        Trouble.AMBIGUOUS,
        f"two series where one is expected: {one} and {other}",
        user_action="scrape every pod once, or make the scrapes differ in job or instance",
    )


def _process(
    pod: str,
    series: list[Series],
    labels: Labels,
    preferred: str | None,
    naming: Naming,
) -> Process:
    names = _target_labels(series, labels)
    targets = _split(pod, series, labels, names)
    # A sidecar's port tells its own start time but none of the counters: it is no second process.
    telling = [one for one in targets if one.series] or [one for one in targets if one.started]
    failed = sum(one.up.values.count(0.0) for one in targets if one.up)
    if not telling:
        return Process(pod, "", (), failed)
    read = [(target, _scrapes(target, names, naming)) for target in telling]
    read.sort(key=lambda pair: (pair[1][0].at, pair[0].endpoint))
    chosen: list[tuple[_Target, list[Scrape]]] = []
    for target, scrapes in read:
        if chosen and scrapes[0].at <= chosen[-1][1][-1].at:
            other, seen = chosen[-1]
            if other.instance != target.instance:
                raise _two_addresses(pod, other, target)
            _agree((other, seen), (target, scrapes), naming.signed)
            if _better(target, scrapes, other, seen, preferred):
                chosen[-1] = (target, scrapes)
            continue
        chosen.append((target, scrapes))
    # One after the other (a restarted sandbox has a new address): one history of one pod.
    kept = [scrape for _, part in chosen for scrape in part]
    return Process(pod, chosen[-1][0].endpoint, tuple(kept), failed)


def _two_addresses(pod: str, one: _Target, other: _Target) -> MetricsError:
    return MetricsError(
        Trouble.AMBIGUOUS,
        f"pod {pod} is scraped at two addresses at once, {one.endpoint} and {other.endpoint}: "
        "one process or two cannot be told",
        user_action="keep one port per pod in the scrape configuration",
    )


def _better(
    target: _Target,
    scrapes: list[Scrape],
    other: _Target,
    seen: list[Scrape],
    preferred: str | None,
) -> bool:
    """Whether ``target`` is read instead of ``other``; never by values, so that it cannot bias."""
    if preferred in (target.endpoint, other.endpoint):
        return target.endpoint == preferred
    return (-len(scrapes), target.endpoint) < (-len(seen), other.endpoint)


def _agree(
    one: tuple[_Target, list[Scrape]], other: tuple[_Target, list[Scrape]], signed: frozenset[str]
) -> None:
    """Refuse two scrapers that tell different stories about one process.

    A counter read by one between two reads of the other, without a reset, must lie between
    them; one scrape is allowed on either side because a scrape takes time.
    """
    (a, seen), (b, scrapes) = one, other
    times = [scrape.at for scrape in seen]
    for scrape in scrapes:
        low, high = bisect_left(times, scrape.at) - 2, bisect_right(times, scrape.at) + 1
        if low < 0 or high >= len(seen):
            continue
        span = seen[low : high + 1]
        for key, value in scrape.values.items():
            if key[0] in signed:
                continue
            known = [step.values[key] for step in span if key in step.values]
            if len(known) < len(span) or any(x > y for x, y in pairwise(known)):
                continue
            if not known[0] <= value <= known[-1]:
                raise MetricsError(
                    Trouble.AMBIGUOUS,
                    f"two scrapers disagree about {shown(key)} of pod {a.pod}: {a.endpoint} read "
                    f"{known[0]:.15g} to {known[-1]:.15g}, {b.endpoint} read {value:.15g} "
                    "in between",
                    user_action="scrape every pod once",
                )


def shown(key: Key) -> str:
    """A key as people write it, ``name{label="value"}``."""
    pairs = zip(key[1::2], key[2::2], strict=True)
    inside = ",".join(f'{label}="{value}"' for label, value in pairs)
    return f"{key[0]}{{{inside}}}" if inside else key[0]


def _scrapes(target: _Target, names: frozenset[str], naming: Naming) -> list[Scrape]:
    by_time: dict[int, Scrape] = {}
    if target.up is not None:
        for at, value in zip(target.up.times, target.up.values, strict=True):
            if value == 1.0:
                by_time[at] = Scrape(at)
    if target.started is not None:
        for at, value in zip(target.started.times, target.started.values, strict=True):
            if not math.isfinite(value):
                raise _no_count(target.started, value)
            by_time.setdefault(at, Scrape(at)).started = value
    seen: dict[Key, Series] = {}
    for one in target.series:
        key = _key(one, naming.own.get(one.name), names)
        if key in seen:
            raise _twice(seen[key], one)
        seen[key] = one
        _check(one, one.name in naming.signed)
        for at, value in zip(one.times, one.values, strict=True):
            scrape = by_time.get(at)
            if scrape is None:
                scrape = by_time[at] = Scrape(at)
            scrape.values[key] = value
    return [by_time[at] for at in sorted(by_time)]


def _key(one: Series, own: tuple[str, ...] | None, targets: frozenset[str]) -> Key:
    if own is not None:
        names = [name for name in own if name in one.labels]
    else:
        names = [name for name in one.labels if name not in targets]
    if len(names) == 1:
        return (one.name, names[0], one.labels[names[0]])
    return (one.name, *(part for name in sorted(names) for part in (name, one.labels[name])))


def _check(one: Series, signed: bool) -> None:
    least = -math.inf if signed else 0.0
    # NaN makes every comparison false, wherever it stands.
    for value in one.values:
        if not (least <= value < math.inf) or value == -math.inf:
            raise _no_count(one, value)


def _no_count(one: Series, value: float) -> MetricsError:
    return MetricsError(
        Trouble.NOT_A_COUNT,
        f"{one} has the value {value}; a counter is finite and never negative",
    )
