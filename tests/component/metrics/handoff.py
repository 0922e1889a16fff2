"""The tests' controller: collects in real time and keeps everything that was closed."""

from __future__ import annotations

import asyncio
import time

from modelhandoff.analysis.intervals import Interval, Rate
from modelhandoff.api.monitoring import Metric
from modelhandoff.metrics.collect import PrometheusCollector
from modelhandoff.metrics.collector import (
    Answer,
    Arms,
    Closed,
    CollectRequest,
    Cursor,
    NotYet,
    Segment,
    Unknown,
)

from .exposition import Pod

METRICS = (
    Metric.model_validate({"name": "errors", "type": "ErrorRate", "max": 0.01}),
    Metric.model_validate(
        {"name": "latency", "type": "Latency", "quantile": 0.95, "budget": "30ms"}
    ),
)
INTERVAL = 1.0
LAG = 0.75


class Handoff:
    """One handoff under observation, from ``begin`` on."""

    def __init__(
        self, collector: PrometheusCollector, candidate: str, baseline: str | None = None
    ) -> None:
        self._collector = collector
        begin = time.time()
        self.request = CollectRequest(
            key=f"shop/{candidate}",
            source="main",
            namespace="shop",
            arms=Arms(candidate, baseline),
            metrics=METRICS,
            interval=INTERVAL,
            lag=LAG,
            schedule=(Segment(0.0, 0, 10),),
            begin=begin,
        )
        self.cursor: str | None = None
        self.intervals: list[Interval] = []
        self.warnings: list[str] = []
        self.unknowns: list[Unknown] = []

    @property
    def first(self) -> float:
        """Begin of the first interval, Unix seconds."""
        return -(-self.request.begin // INTERVAL) * INTERVAL

    async def look(self) -> Answer:
        """One look; what is closed is kept, with the cursor as stored text."""
        cursor = None if self.cursor is None else Cursor.from_json(self.cursor)
        answer = await self._collector.collect(self.request, cursor, time.time())
        if isinstance(answer, Closed):
            self.intervals += answer.intervals
            self.warnings += answer.warnings
            self.cursor = answer.cursor.to_json()
        elif isinstance(answer, Unknown):
            self.unknowns.append(answer)
        return answer

    async def closed_through(self, moment: float, patience: float = 15.0) -> None:
        """Look whenever the collector says so until everything up to ``moment`` is closed."""
        deadline = time.time() + patience
        while not self.intervals or self.intervals[-1].end < moment:
            answer = await self.look()
            if isinstance(answer, Closed):
                continue
            until = answer.until if isinstance(answer, NotYet) else answer.retry_at
            assert time.time() < deadline, f"not closed through {moment}: {answer}"
            await asyncio.sleep(max(until - time.time(), 0.01))

    def counted(self) -> float:
        """Requests of the candidate, over all closed intervals."""
        return sum(one.requests[0] for one in self.intervals)

    def counted_baseline(self) -> float:
        """Requests of the baseline."""
        return sum(one.requests[1] or 0 for one in self.intervals)

    def errors(self) -> float:
        """Failed requests of the candidate."""
        rates = [one.metrics["errors"] for one in self.intervals]
        return sum(one.candidate[0] for one in rates if isinstance(one, Rate))


async def until(moment: float) -> None:
    """Wait for a moment (Unix seconds)."""
    await asyncio.sleep(max(moment - time.time(), 0))


async def exposed(*pods: Pod) -> None:
    """Wait until everything that the pods have answered so far was scraped."""
    wanted = [one.scraped + 2 for one in pods]
    deadline = time.time() + 10
    while any(one.scraped < goal for one, goal in zip(pods, wanted, strict=True)):
        assert time.time() < deadline, "Prometheus stopped scraping"
        await asyncio.sleep(0.02)
