"""Closed intervals of increments: what the metrics room produces and ``judge FILE`` reads.

Every number is an increment inside one interval (never a running counter, never a rate).
A metric that could not be read is absent: unknown is never zero.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, TypeAlias

from modelhandoff.analysis.wire import WireError, decode, encode, keys, number, whole

__all__ = ["Bins", "Count", "Histogram", "Interval", "Measurement", "Moments", "Rate"]


@dataclass(frozen=True, slots=True)
class Rate:
    """Events out of trials per arm, e.g. failed requests out of requests: ``(events, trials)``."""

    candidate: tuple[float, float]
    baseline: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        _events(self.candidate, "candidate")
        if self.baseline is not None:
            _events(self.baseline, "baseline")


@dataclass(frozen=True, slots=True)
class Histogram:
    """Cumulative counts of this interval at each edge (``le``), in the unit of the edges.

    ``edges`` rise strictly and end in infinity; ``candidate[i]`` counts the observations
    <= ``edges[i]``, so the last entry is the number of observations.
    """

    edges: tuple[float, ...]
    candidate: tuple[float, ...]
    baseline: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.edges) < 2 or self.edges[-1] != math.inf:
            raise WireError("edges", "at least two edges, the last +Inf", self.edges)
        if any(not a < b for a, b in pairwise(self.edges)):
            raise WireError("edges", "strictly rising edges", self.edges)
        _cumulative(self.candidate, len(self.edges), "candidate")
        if self.baseline is not None:
            _cumulative(self.baseline, len(self.edges), "baseline")


@dataclass(frozen=True, slots=True)
class Bins:
    """Counts in K fixed bins, identical in both arms (drift of a feature or an output)."""

    candidate: tuple[float, ...]
    baseline: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not self.candidate:
            raise WireError("candidate", "at least one bin", self.candidate)
        _counts(self.candidate, "candidate")
        if self.baseline is not None:
            _counts(self.baseline, "baseline")
            if len(self.baseline) != len(self.candidate):
                raise WireError("baseline", f"{len(self.candidate)} bins", self.baseline)


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, sum and sum of squares of a value per arm (winsorise heavy tails before)."""

    candidate: tuple[float, float, float]
    baseline: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        for arm, value in (("candidate", self.candidate), ("baseline", self.baseline)):
            if value is None:
                continue
            if len(value) != 3:
                raise WireError(arm, "count, sum and sum of squares", value)
            number(value[0], f"{arm}[0]", 0.0)
            number(value[1], f"{arm}[1]")
            number(value[2], f"{arm}[2]", 0.0)


@dataclass(frozen=True, slots=True)
class Count:
    """Events without a denominator (conversions, restarts), per exposure.

    Exposure is planned traffic weight x seconds; when left out the engine takes it from the
    interval's weight and length.
    """

    candidate: float
    baseline: float | None = None
    exposure_candidate: float | None = None
    exposure_baseline: float | None = None

    def __post_init__(self) -> None:
        for name in ("candidate", "baseline", "exposure_candidate", "exposure_baseline"):
            value = getattr(self, name)
            if value is not None:
                number(value, name, 0.0)


Measurement: TypeAlias = Rate | Histogram | Bins | Moments | Count

_KINDS: Final[dict[str, type[Any]]] = {
    "rate": Rate, "histogram": Histogram, "bins": Bins, "moments": Moments, "count": Count,
}  # fmt: skip
_TAGS: Final = {kind: tag for tag, kind in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class Interval:
    """One closed interval of the fixed grid t0 + k x length.

    Attributes:
        index: number of the interval, rising by one; gaps are intervals nobody could close.
        start: begin, seconds since the epoch.
        end: end, seconds since the epoch.
        step: index of the traffic step that was in force.
        weight: planned percent of the traffic to the candidate, 0..100.
        requests: requests of candidate and baseline (``None`` = no baseline or unknown).
        metrics: increments by metric name; an absent name is unknown for this interval.
        excluded: non-empty = a planned warm-up or weight change; both arms are ignored (only
            the catastrophe process looks), the clock still runs.
        quality: flags of the reader, e.g. ``BucketMismatch``; any flag holds promotion.
        halves: optional counts of two fixed halves of the *baseline* pods per metric
            (``candidate`` = first half), for the split estimate of dispersion.
    """

    index: int
    start: float
    end: float
    step: int
    weight: int
    requests: tuple[float, float | None]
    metrics: Mapping[str, Measurement]
    excluded: str = ""
    quality: tuple[str, ...] = ()
    halves: Mapping[str, Measurement] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.end > self.start:
            raise WireError("end", f"an end after the start {self.start:g}", self.end)

    def to_json(self) -> dict[str, Any]:
        """The interval as one JSON object (one line of a recording)."""
        out: dict[str, Any] = {
            "index": self.index, "start": self.start, "end": self.end,
            "step": self.step, "weight": self.weight, "requests": list(self.requests),
            "metrics": {name: _tagged(one) for name, one in self.metrics.items()},
        }  # fmt: skip
        if self.excluded:
            out["excluded"] = self.excluded
        if self.quality:
            out["quality"] = list(self.quality)
        if self.halves:
            out["halves"] = {name: _tagged(one) for name, one in self.halves.items()}
        return out

    @classmethod
    def from_json(cls, value: object) -> "Interval":
        """Read one JSON object; raises :class:`WireError` with path, expectation and value."""
        need = ("index", "start", "end", "step", "weight", "requests", "metrics")
        got = keys(value, "", need, ("excluded", "quality", "halves"))
        pair = got["requests"]
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise WireError("requests", "[candidate, baseline]", pair)
        other = None if pair[1] is None else number(pair[1], "requests[1]", 0.0)
        flags = got.get("quality", ())
        if not isinstance(flags, list | tuple) or not all(isinstance(f, str) for f in flags):
            raise WireError("quality", "a list of texts", flags)
        excluded = got.get("excluded", "")
        if not isinstance(excluded, str):
            raise WireError("excluded", "a text", excluded)
        return cls(
            index=whole(got["index"], "index"),
            start=number(got["start"], "start"),
            end=number(got["end"], "end"),
            step=whole(got["step"], "step"),
            weight=whole(got["weight"], "weight", 0, 100),
            requests=(number(pair[0], "requests[0]", 0.0), other),
            metrics=_measurements(got["metrics"], "metrics"),
            excluded=excluded,
            quality=tuple(flags),
            halves=_measurements(got.get("halves", {}), "halves"),
        )


def _tagged(one: Measurement) -> dict[str, Any]:
    return {_TAGS[type(one)]: encode(one)}


def _measurements(value: object, path: str) -> dict[str, Measurement]:
    if not isinstance(value, Mapping):
        raise WireError(path, "an object", value)
    out: dict[str, Measurement] = {}
    for name, one in value.items():
        at = f"{path}.{name}"
        found = keys(one, at, (), tuple(_KINDS))
        if len(found) != 1:
            raise WireError(at, "exactly one of " + ", ".join(_KINDS), sorted(found))
        ((tag, body),) = found.items()
        out[str(name)] = decode(_KINDS[tag], body, f"{at}.{tag}")
    return out


def _events(pair: tuple[float, float], arm: str) -> None:
    if len(pair) != 2:
        raise WireError(arm, "(events, trials)", pair)
    trials = number(pair[1], f"{arm}[1]", 0.0)
    number(pair[0], f"{arm}[0]", 0.0, max(trials, 0.0))


def _counts(values: tuple[float, ...], arm: str) -> None:
    for i, one in enumerate(values):
        number(one, f"{arm}[{i}]", 0.0)


def _cumulative(values: tuple[float, ...], wanted: int, arm: str) -> None:
    if len(values) != wanted:
        raise WireError(arm, f"{wanted} cumulative counts, one per edge", values)
    _counts(values, arm)
    for i, (a, b) in enumerate(pairwise(values)):
        if b < a:
            raise WireError(f"{arm}[{i + 1}]", f"a cumulative count >= {a:g}", b)
