"""Looks at stored samples without any network: the pure half of the collector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from modelhandoff.analysis.intervals import Interval
from modelhandoff.api.monitoring import Metric
from modelhandoff.metrics.collector import (
    Arms,
    Closed,
    CollectRequest,
    Cursor,
    Exclusion,
    Segment,
)
from modelhandoff.metrics.look import Look
from modelhandoff.metrics.samples import STARTED, UP, Labels

from .history import START, Stored

ERRORS = {"name": "errors", "type": "ErrorRate", "max": 0.01}
LATENCY = {"name": "latency", "type": "Latency", "quantile": 0.95, "budget": "30ms"}


def metric(**fields: Any) -> Metric:
    return Metric.model_validate(fields)


def request(
    metrics: Sequence[dict[str, Any]] = (ERRORS,),
    *,
    candidate: str = "fraud-v2",
    baseline: str | None = None,
    interval: float = 10.0,
    lag: float = 5.0,
    begin: float = START,
    schedule: tuple[Segment, ...] = (Segment(0.0, 0, 10),),
    exclusions: tuple[Exclusion, ...] = (),
    **more: Any,
) -> CollectRequest:
    return CollectRequest(
        key=f"shop/{candidate}",
        source="main",
        namespace="shop",
        arms=Arms(candidate, baseline),
        metrics=tuple(metric(**one) for one in metrics),
        interval=interval,
        lag=lag,
        schedule=schedule,
        exclusions=exclusions,
        begin=begin,
        **more,
    )


@dataclass
class Watcher:
    """Looks again and again, keeping the cursor as text, as the controller stores it."""

    stored: Stored
    request: CollectRequest
    cursor: str | None = None
    intervals: list[Interval] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def look(self, now: float) -> Closed | None:
        """Close what can be closed; ``None`` when it is too early."""
        cursor = None if self.cursor is None else Cursor.from_json(self.cursor)
        look = Look(self.request, cursor, now)
        if look.too_early is not None:
            return None
        asked = {*look.reads.names, UP, STARTED}
        found = self.stored.window(look.window.end, look.window.length, now)
        series = [one for one in found if one.name in asked]
        closed = look.close(series, Labels())
        self.cursor = closed.cursor.to_json()
        self.intervals += closed.intervals
        self.warnings += closed.warnings
        return closed

    @property
    def counted(self) -> float:
        return sum(one.requests[0] for one in self.intervals)
