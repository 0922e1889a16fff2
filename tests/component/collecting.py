"""A metric source that plays a script: traffic as told, closed on the same grid as the real one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from modelhandoff.analysis.intervals import Bins, Histogram, Interval, Measurement, Rate
from modelhandoff.api.monitoring import MetricType
from modelhandoff.metrics.collector import (
    Answer,
    Closed,
    CollectRequest,
    NotYet,
    Unknown,
)
from modelhandoff.metrics.cursor import Cursor
from modelhandoff.metrics.grid import Grid
from modelhandoff.metrics.schedule import placed
from modelhandoff.metrics.trouble import Trouble


@dataclass(frozen=True)
class Behaviour:
    """One arm: shares of its requests that fail, and that take longer than the budget.

    Attributes:
        scores: how its answers are distributed over the bins of every drift metric.
    """

    errors: float = 0.002
    slow: float = 0.01
    scores: tuple[float, ...] = (0.1, 0.2, 0.4, 0.3)


HEALTHY = Behaviour()
FAULTY = Behaviour(errors=0.08)
BROKEN = Behaviour(errors=0.5)
DRIFTED = Behaviour(scores=(0.6, 0.2, 0.1, 0.1))

EDGES = (0.25, 0.5, 0.75)
"""Inner edges of the bins, and one more for answers without a score."""


class ScriptedCollector:
    """Deterministic counters.

    Attributes:
        per_second: requests of both arms together.
        candidate, baseline: how they behave from now on.
        trouble: set to answer "not known" instead.
        asked: how often it was really asked (answers that are not due yet excluded).
        closed: every interval handed out, by candidate.
        edges_asked: on which edges the drift metrics were to be read; ``None`` before they are
            fixed.
    """

    def __init__(self) -> None:
        self.per_second = 100.0
        self.candidate = HEALTHY
        self.baseline = HEALTHY
        self.trouble: Trouble | None = None
        self.asked = 0
        self.closed: list[tuple[str, int]] = []
        self.edges_asked: list[tuple[float, ...] | None] = []

    async def collect(self, request: CollectRequest, cursor: Cursor | None, now: float) -> Answer:
        grid = Grid(request.interval)
        first = cursor.first if cursor else grid.first(request.begin)
        done = cursor.closed if cursor else first - 1
        ready = grid.ready(now, request.lag)
        if ready <= done:
            return NotYet(grid.end(done + 1) / 1000 + request.lag)
        self.asked += 1
        if self.trouble is not None:
            reason = self.trouble.reason
            return Unknown(reason, f"scripted {self.trouble}", self.trouble, now + request.interval)
        intervals = tuple(self._interval(request, grid, i) for i in range(done + 1, ready + 1))
        self.closed += [(request.arms.candidate, one.index) for one in intervals]
        drifts = [m.name for m in request.metrics if m.type is MetricType.DRIFT]
        self.edges_asked += [request.bins.get(name) for name in drifts]
        cursor = Cursor(request.interval, first, ready)
        return Closed(intervals, cursor, edges=dict.fromkeys(drifts, EDGES))

    def _interval(self, request: CollectRequest, grid: Grid, index: int) -> Interval:
        start, end = grid.start(index) / 1000, grid.end(index) / 1000
        step, weight, excluded = placed(start, end, request.schedule, request.exclusions)
        total = self.per_second * (end - start)
        mine = float(round(total * weight / 100))
        theirs = total - mine
        metrics: dict[str, Measurement] = {}
        for metric in request.metrics:
            if metric.type is MetricType.ERROR_RATE:
                metrics[metric.name] = Rate(
                    (_share(index, mine, self.candidate.errors), mine),
                    (_share(index, theirs, self.baseline.errors), theirs),
                )
            elif metric.type is MetricType.LATENCY:
                assert metric.budget is not None
                budget = metric.budget.total_seconds()
                metrics[metric.name] = Histogram(
                    (budget / 2, budget, budget * 4, math.inf),
                    _tail(index, mine, self.candidate.slow),
                    _tail(index, theirs, self.baseline.slow),
                )
            elif metric.type is MetricType.DRIFT:
                metrics[metric.name] = Bins(
                    _spread(index, mine, self.candidate.scores),
                    _spread(index, theirs, self.baseline.scores),
                )
        return Interval(
            index=index,
            start=start,
            end=end,
            step=step,
            weight=weight,
            requests=(mine, theirs),
            metrics=metrics,
            excluded=excluded,
        )


def _share(index: int, requests: float, share: float) -> float:
    """Whole events of one interval that add up to the share exactly, over many intervals."""
    return float(math.floor((index + 1) * requests * share) - math.floor(index * requests * share))


def _spread(index: int, requests: float, scores: tuple[float, ...]) -> tuple[float, ...]:
    return (*(_share(index, requests, share) for share in scores), 0.0)


def _tail(index: int, requests: float, slow: float) -> tuple[float, float, float, float]:
    quick = requests - _share(index, requests, slow)
    return (float(quick // 2), quick, requests, requests)
