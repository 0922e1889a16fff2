"""What earlier rollouts of a handoff say about the noise of its counts, as an attempt stores it.

:mod:`inheriting` finds it. It is stored in the attempt's status in the same write as the first
evidence and never changes afterwards, because the plan that the evidence belongs to rests on it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

from modelhandoff.analysis import Histogram, Interval, MetricPlan
from modelhandoff.analysis.past import ENOUGH, MetricPast, with_past
from modelhandoff.analysis.wire import decode, encode
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.monitoring import RATE_TYPES, Metric, MetricType

VERSION: Final = 1
MAX_TEXT: Final = 60_000
"""Most characters that are stored."""

_KINDS: Final = (*RATE_TYPES, MetricType.LATENCY, MetricType.COUNT)
_LIMITS: Final = {"role", "critical", "max", "max_drop"}
"""What may change without making the counts other counts."""


@dataclass(frozen=True, slots=True)
class Known:
    """One metric's past, and what was measured: a metric defined otherwise starts anew."""

    definition: str
    past: MetricPast

    @property
    def edges(self) -> frozenset[float]:
        """Latency edges in it; none for other metrics."""
        return frozenset(part.edge for part in self.past.parts if part.edge is not None)


@dataclass(frozen=True, slots=True)
class History:
    """What earlier attempts say.

    Attributes:
        baseline: what the attempt was compared with: ``own``, or name and uid of an adopted one.
        end: end of the newest interval in it, unix seconds.
        metrics: by name.
        dropped: why an earlier history was not taken over, or "".
    """

    baseline: str = ""
    end: float = 0.0
    metrics: Mapping[str, Known] = field(default_factory=dict)
    dropped: str = ""

    def to_text(self) -> str:
        """Compact JSON of bounded length; metrics that do not fit are left out."""
        body: dict[str, Any] = {"v": VERSION, "baseline": self.baseline, "end": self.end}
        if self.dropped:
            body["dropped"] = self.dropped
        metrics: dict[str, Any] = {}
        left = MAX_TEXT
        for name, known in self.metrics.items():
            one = encode(known)
            left -= len(json.dumps(one, separators=(",", ":"))) + len(name) + 4
            if left > 0:
                metrics[name] = one
        return json.dumps({**body, "metrics": metrics}, separators=(",", ":"))

    @classmethod
    def read(cls, text: str) -> History | None:
        """Read what :meth:`to_text` wrote; ``None`` for nothing, another version, or damage.

        Whoever cannot read a history judges without: that is always valid.
        """
        return _read(text)


@lru_cache(maxsize=256)
def _read(text: str) -> History | None:
    # Kept, because every status of a running attempt tells what it is judged with.
    try:
        body = json.loads(text)
        if body["v"] != VERSION:
            return None
        metrics = {str(name): decode(Known, one, name) for name, one in body["metrics"].items()}
        dropped = str(body.get("dropped", ""))
        return History(str(body["baseline"]), float(body["end"]), metrics, dropped)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def definition(metric: Metric, spec: ModelHandoffSpec) -> str:
    """Twelve digits for what is counted, and how: all but roles and limits."""
    told = metric.model_dump(mode="json", exclude_none=True, exclude=_LIMITS)
    told["interval"] = spec.monitoring.interval.total_seconds()
    told["source"] = spec.monitoring.source
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def with_history(
    made: MetricPlan, metric: Metric, spec: ModelHandoffSpec, history: History | None
) -> MetricPlan:
    """The metric's plan with its history; as it is while there is none or too little."""
    known = _of(metric, spec, history)
    return (with_past(made, known.past) or made) if known is not None else made


def _of(metric: Metric, spec: ModelHandoffSpec, history: History | None) -> Known | None:
    known = history.metrics.get(metric.name) if history is not None else None
    return known if known and known.definition == definition(metric, spec) else None


def fitting(text: str, intervals: Sequence[Interval]) -> str:
    """The history without latency metrics whose edges the servers do not have now.

    Edges are chosen before the rollout; one that no bucket has would leave the metric unknown for
    ever. Asked once, with the intervals that the first evidence is made of.
    """
    history = History.read(text)
    if history is None:
        return text
    kept = {
        name: known
        for name, known in history.metrics.items()
        if known.edges <= _edges(name, intervals)
    }
    return (
        text if kept.keys() == history.metrics.keys() else replace(history, metrics=kept).to_text()
    )


def _edges(name: str, intervals: Sequence[Interval]) -> frozenset[float]:
    found = (one.metrics.get(name) for one in intervals)
    return frozenset(next((h.edges for h in found if isinstance(h, Histogram)), ()))


def told(spec: ModelHandoffSpec, text: str) -> str:
    """One sentence for people: judged with how much history, or why without."""
    history = History.read(text) if text else None
    metrics = [m for m in spec.monitoring.metrics if m.type in _KINDS]
    if not metrics:
        return ""
    seen = {m.name: _intervals(_of(m, spec, history)) for m in metrics}
    ready = {name: count for name, count in seen.items() if count >= ENOUGH}
    short = {name: count for name, count in seen.items() if count < ENOUGH}
    parts = []
    if ready:
        least = min(ready.values())
        parts.append(f"Judged with {least:,} intervals of baseline history: {', '.join(ready)}.")
    if short:
        head = "Without history" if ready else "Judged without baseline history"
        names = f" ({', '.join(short)})" if ready else ""
        parts.append(f"{head}{names}: {_why(history, short)}.")
    return " ".join(parts)


def _why(history: History | None, short: Mapping[str, int]) -> str:
    most = max(short.values())
    if history is not None and history.dropped:
        return history.dropped
    if most:
        return f"{most} of {ENOUGH} intervals so far"
    if history is not None and any(name in history.metrics for name in short):
        return "it was measured in another way before"
    return "none is known from earlier rollouts"


def _intervals(known: Known | None) -> int:
    return known.past.intervals if known is not None else 0
