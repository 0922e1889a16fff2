"""From increments per pod to measurements per arm: what the judgement engine reads."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property

from modelhandoff.analysis.intervals import Bins, Count, Histogram, Measurement, Moments, Rate
from modelhandoff.metrics.cursor import Key
from modelhandoff.metrics.families import Bucketed, Pick
from modelhandoff.metrics.histograms import at_edges, common, edge_of, without_edge
from modelhandoff.metrics.reads import Additive, Binned, Moment, Reads, Total

__all__ = ["Arm", "Measured", "measure"]


@dataclass(frozen=True)
class Arm:
    """All pods of one Deployment in one interval.

    Attributes:
        known: by pod, every counter it has, whether it moved or not.
        increments: by pod, what was added in this interval; counters of a process that has
            died since may be among them.
    """

    known: Mapping[str, Set[Key]]
    increments: Mapping[str, Mapping[Key, float]]

    @cached_property
    def counters(self) -> Mapping[str, list[tuple[str, Key, float]]]:
        """By metric name: pod, counter and its increment, for every counter there is."""
        found: dict[str, list[tuple[str, Key, float]]] = {}
        for pod, keys in self.known.items():
            added = self.increments[pod]
            for key in keys:
                found.setdefault(key[0], []).append((pod, key, added.get(key, 0.0)))
            for key in added.keys() - keys:
                found.setdefault(key[0], []).append((pod, key, added[key]))
        return found

    def has(self, name: str) -> bool:
        """Whether some pod publishes the metric."""
        return name in self.counters

    def sum(self, picks: Iterable[Pick]) -> float:
        """Events in this interval, over all pods."""
        return math.fsum(
            value
            for pick in picks
            for _, key, value in self.counters.get(pick.name, ())
            if pick.takes(key)
        )

    def part(self, pods: frozenset[str]) -> Arm:
        """The arm reduced to some of its pods."""
        return Arm(
            {pod: keys for pod, keys in self.known.items() if pod in pods},
            {pod: counts for pod, counts in self.increments.items() if pod in pods},
        )


@dataclass(slots=True)
class Measured:
    """Measurements of one interval.

    Attributes:
        metrics: by key; what could not be read is absent.
        halves: of the baseline's pods, see ``Interval.halves``.
        requests: of candidate and baseline.
        edges: inner bin edges by key of every drift measurement.
        missing: one line per metric that could not be read.
    """

    metrics: dict[str, Measurement] = field(default_factory=dict)
    halves: dict[str, Measurement] = field(default_factory=dict)
    requests: tuple[float, float | None] = (0.0, None)
    edges: dict[str, tuple[float, ...]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def measure(
    reads: Reads, candidate: Arm, baseline: Arm | None, bins: Mapping[str, tuple[float, ...]]
) -> Measured:
    """Add up one interval.

    Args:
        reads: recipes.
        candidate: the candidate's pods.
        baseline: the baseline's, ``None`` if there is none.
        bins: inner edges fixed at admission, by measurement key.
    """
    out = Measured()
    arms = _Arms(candidate, baseline)
    halves = None if baseline is None else _halves(baseline)
    for name, why in reads.refused.items():
        out.missing.append(f"metric {name}: {why}")
    for name, recipe in reads.recipes.items():
        for key, made in _make(name, recipe, arms, bins, out):
            out.metrics[key] = made
        if halves is not None and name in out.metrics:
            quiet = Measured()
            for key, made in _make(name, recipe, halves, bins, quiet):
                if made.baseline is not None:
                    out.halves[key] = made
    if reads.requests:
        total = None if baseline is None else baseline.sum(reads.requests)
        out.requests = (candidate.sum(reads.requests), total)
    else:
        out.requests = _from_histograms(out.metrics)
    return out


@dataclass(frozen=True, slots=True)
class _Arms:
    candidate: Arm
    baseline: Arm | None

    def publish(self, names: Iterable[str], metric: str, out: Measured) -> _Arms | None:
        """The arms without a baseline that lacks the metric; ``None`` if the candidate does."""
        names = tuple(names)
        lacking = [name for name in names if not _published(self.candidate, name)]
        if lacking:
            out.missing.append(f"metric {metric}: no pod of the candidate publishes {lacking[0]}")
            return None
        if self.baseline is None:
            return self
        lacking = [name for name in names if not _published(self.baseline, name)]
        if lacking:
            out.missing.append(f"metric {metric}: no pod of the baseline publishes {lacking[0]}")
            return _Arms(self.candidate, None)
        return self

    def both(self, of: Callable[[Arm], float]) -> tuple[float, float | None]:
        return of(self.candidate), None if self.baseline is None else of(self.baseline)


def _published(arm: Arm, name: str) -> bool:
    """Whether the metric is there, under this selection or any other one of the same metric.

    "No series matched the bad requests" means none so far if the metric itself exists; if it
    does not exist at all, it means that somebody mistyped it or never set it to 0.
    """
    plain = name.split("{", 1)[0]
    return name in arm.counters or any(one.split("{", 1)[0] == plain for one in arm.counters)


def _make(
    name: str,
    recipe: Total | Additive | Binned | Moment,
    arms: _Arms,
    bins: Mapping[str, tuple[float, ...]],
    out: Measured,
) -> list[tuple[str, Measurement]]:
    match recipe:
        case Additive(rated, clipped):
            needed = {pick.name for pick in (*rated.events, *rated.trials)}
            found = arms.publish(sorted(needed), name, out)
            return [] if found is None else _rate(name, recipe, found, clipped, out)
        case Total(picks):
            found = arms.publish(sorted({pick.name for pick in picks}), name, out)
            if found is None:
                return []
            here, there = found.both(lambda arm: arm.sum(picks))
            return [(name, Count(here, there))]
        case Moment():
            return _moments(name, recipe, arms, out)
        case Binned(drift=True):
            return _drift(name, recipe, arms, bins, out)
        case Binned():
            return _latency(name, recipe, arms, out)


def _rate(
    name: str, recipe: Additive, arms: _Arms, clipped: bool, out: Measured
) -> list[tuple[str, Measurement]]:
    def pair(arm: Arm) -> tuple[float, float]:
        events, trials = arm.sum(recipe.rated.events), arm.sum(recipe.rated.trials)
        return (min(events, trials), trials) if clipped else (events, trials)

    candidate = pair(arms.candidate)
    baseline = None if arms.baseline is None else pair(arms.baseline)
    for arm, one in (("candidate", candidate), ("baseline", baseline)):
        if one is not None and one[0] > one[1]:
            out.missing.append(
                f"metric {name}: the {arm} shows {one[0]:.15g} events out of {one[1]:.15g} trials"
            )
            return []
    return [(name, Rate(candidate, baseline))]


def _moments(
    name: str, recipe: Moment, arms: _Arms, out: Measured
) -> list[tuple[str, Measurement]]:
    picks = [recipe.count, recipe.sum, *([recipe.squares] if recipe.squares else [])]
    found = arms.publish([pick.name for pick in picks], name, out)
    if found is None:
        return []

    def triple(arm: Arm) -> tuple[float, float, float]:
        count, total = arm.sum([recipe.count]), arm.sum([recipe.sum])
        if recipe.squares is not None:
            return count, total, arm.sum([recipe.squares])
        # Without squares the spread inside an interval is unknown; the smallest sum of squares
        # that fits says "none", and the spread between intervals decides.
        return count, total, total * total / count if count else 0.0

    baseline = None if found.baseline is None else triple(found.baseline)
    return [(name, Moments(triple(found.candidate), baseline))]


def _latency(
    name: str, recipe: Binned, arms: _Arms, out: Measured
) -> list[tuple[str, Measurement]]:
    for one in recipe.alternatives:
        if arms.candidate.has(one.buckets.name) or (
            arms.baseline is not None and arms.baseline.has(one.buckets.name)
        ):
            break
    else:
        one = recipe.alternatives[0]
    found = arms.publish([one.buckets.name], name, out)
    if found is None:
        return []
    here = _counts(found.candidate, one)
    there = None if found.baseline is None else _counts(found.baseline, one)
    edges = common([*here.layouts, *(there.layouts if there else ())])
    if len(edges) < 2 or edges[-1] != math.inf:
        out.missing.append(
            f"metric {name}: the pods' {one.buckets.name} share no edges but {edges}; "
            "all pods need the same buckets"
        )
        return []
    made = Histogram(
        edges=tuple(edge * one.scale for edge in edges),
        candidate=at_edges(here.total, edges),
        baseline=None if there is None else at_edges(there.total, edges),
    )
    return [(name, made)]


@dataclass(frozen=True, slots=True)
class _Counts:
    total: Mapping[float, float]
    layouts: tuple[frozenset[float], ...]


def _counts(arm: Arm, one: Bucketed, label: str = "", value: str = "") -> _Counts:
    """Cumulative increments by edge over all pods, and the edges of every single histogram."""
    total: dict[float, float] = {}
    layouts: dict[tuple[str, Key], set[float]] = {}
    for pod, key, added in arm.counters.get(one.buckets.name, ()):
        if one.buckets.takes(key) and _labelled(key, label, value):
            edge = edge_of(key)
            if key in arm.known[pod]:
                layouts.setdefault((pod, without_edge(key)), set()).add(edge)
            total[edge] = total.get(edge, 0.0) + added
    return _Counts(total, tuple(frozenset(edges) for edges in layouts.values()))


def _labelled(key: Key, label: str, value: str) -> bool:
    return not label or (label, value) in zip(key[1::2], key[2::2], strict=True)


def _values(arm: Arm, one: Bucketed, label: str) -> set[str]:
    return {
        value
        for _, key, _ in arm.counters.get(one.buckets.name, ())
        if one.buckets.takes(key)
        for name, value in zip(key[1::2], key[2::2], strict=True)
        if name == label
    }


def _drift(
    name: str,
    recipe: Binned,
    arms: _Arms,
    bins: Mapping[str, tuple[float, ...]],
    out: Measured,
) -> list[tuple[str, Measurement]]:
    one = recipe.alternatives[0]
    found = arms.publish([one.buckets.name], name, out)
    if found is None:
        return []
    if not recipe.split or recipe.only:
        wanted = [(name, recipe.only)]
    else:
        values = sorted(_values(found.candidate, one, recipe.split))
        wanted = [(f"{name}/{value}" if len(values) > 1 else name, value) for value in values]
    pairs = [
        (key, _bins(_Slot(key, name, recipe, value, bins.get(key)), found, out))
        for key, value in wanted
    ]
    return [(key, made) for key, made in pairs if made is not None]


@dataclass(frozen=True, slots=True)
class _Slot:
    """One distribution of a drift metric: its key, and where its bins come from."""

    key: str
    metric: str
    recipe: Binned
    value: str
    agreed: tuple[float, ...] | None

    def counts(self, arm: Arm) -> _Counts:
        label = self.recipe.split if self.value else ""
        return _counts(arm, self.recipe.alternatives[0], label, self.value)

    def lacking(self, role: str) -> str:
        name = self.recipe.alternatives[0].buckets.name
        where = f'{{{self.recipe.split}="{self.value}"}}' if self.value else ""
        return f"metric {self.metric}: no pod of the {role} publishes {name}{where}"


def _bins(slot: _Slot, arms: _Arms, out: Measured) -> Bins | None:
    here = slot.counts(arms.candidate)
    if not here.layouts:
        out.missing.append(slot.lacking("candidate"))
        return None
    there = None if arms.baseline is None else slot.counts(arms.baseline)
    if there is not None and not there.layouts:
        out.missing.append(slot.lacking("baseline"))
        there = None
    edges = common([*here.layouts, *(there.layouts if there else ())])
    if slot.agreed is not None:
        wanted = (*slot.agreed, math.inf)
        lost = sorted(set(wanted) - set(edges))
        if lost:
            out.missing.append(
                f"metric {slot.metric}: not every pod has the agreed bin edges {lost[:5]}"
            )
            return None
        edges = wanted
    if len(edges) < 2 or edges[-1] != math.inf:
        out.missing.append(f"metric {slot.metric}: the pods' histograms share no bin edges")
        return None
    out.edges[slot.key] = edges[:-1]
    lost_here, lost_there = _missing(slot, arms)
    baseline = None
    if there is not None:
        baseline = (*_differences(at_edges(there.total, edges)), *lost_there)
    return Bins((*_differences(at_edges(here.total, edges)), *lost_here), baseline)


def _missing(slot: _Slot, arms: _Arms) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """One more bin for values that were missing, for servers that count them apart."""
    recipe, value = slot.recipe, slot.value
    if recipe.missing is None:
        return (), ()
    every = [arms.candidate, *([arms.baseline] if arms.baseline is not None else [])]
    counts = [
        math.fsum(
            added
            for _, key, added in arm.counters.get(recipe.missing.name, ())
            if recipe.missing.takes(key) and _labelled(key, recipe.split, value)
        )
        for arm in every
    ]
    return (counts[0],), tuple(counts[1:])


def _differences(counts: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(b - a for a, b in zip((0.0, *counts[:-1]), counts, strict=True))


def _halves(baseline: Arm) -> _Arms | None:
    """The baseline's pods in two halves, alternating along the hash of their names."""
    pods = sorted(baseline.known, key=lambda pod: hashlib.sha256(pod.encode()).digest())
    if len(pods) < 2:
        return None
    return _Arms(baseline.part(frozenset(pods[0::2])), baseline.part(frozenset(pods[1::2])))


def _from_histograms(metrics: Mapping[str, Measurement]) -> tuple[float, float | None]:
    for one in metrics.values():
        if isinstance(one, Histogram):
            return one.candidate[-1], None if one.baseline is None else one.baseline[-1]
    return 0.0, None
