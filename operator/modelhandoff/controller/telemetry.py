"""What the operator tells Prometheus about itself.

Labels are bounded: closed sets of words, the handoff's own name, names of metrics and of metric
sources; never a pod, never free text. Nothing here writes or asks anything: counters are counted
where things happen, everything else is read when Prometheus comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import Metric

from modelhandoff.controller.handoff_series import HandoffSeries, LastLook, Objects

SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Telemetry:
    """All metrics of one process, on a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        build = Gauge("modelhandoff_build_info", "Always 1.", ["version"], registry=self.registry)
        build.labels(_version()).set(1)
        self.reconcile_seconds = Histogram(
            "modelhandoff_reconcile_seconds",
            "Time of one look at a handoff, waiting for others included, by how it ended.",
            ["result"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.actions = Counter(
            "modelhandoff_actions",
            "Writes that carried out a decision, by kind of action.",
            ["action"],
            registry=self.registry,
        )
        self.decisions = Counter(
            "modelhandoff_decisions",
            "Latched verdicts by outcome and reason.",
            ["outcome", "reason"],
            registry=self.registry,
        )
        self.looks = Counter(
            "modelhandoff_looks",
            "Looks at metrics by answer: closed, not_yet or the reason why nothing is known.",
            ["answer"],
            registry=self.registry,
        )
        self.look_seconds = Histogram(
            "modelhandoff_look_seconds",
            "Time of one look at metrics, shared queries included.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.queries = Counter(
            "modelhandoff_queries",
            "Queries to metric sources by result: Answered or the kind of trouble.",
            ["source", "result"],
            registry=self.registry,
        )
        self.query_seconds = Histogram(
            "modelhandoff_query_seconds",
            "Time of one query to a metric source, failed ones included.",
            ["source"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.last_looks: dict[tuple[str, str], LastLook] = {}
        self.api_requests = Counter(
            "modelhandoff_api_requests",
            "Requests to the Kubernetes API by verb, kind and status (0: no answer).",
            ["verb", "kind", "code"],
            registry=self.registry,
        )
        self.failures = Counter(
            "modelhandoff_reconcile_failures",
            "Looks that ended in an error, by kind of error.",
            ["error"],
            registry=self.registry,
        )
        # Born before the first one happens: an increase from nothing to 1 is none to Prometheus.
        self.failures.labels("Bug")
        self.leader = Gauge(
            "modelhandoff_leader", "1 while this process leads.", registry=self.registry
        )
        self.epoch = Gauge(
            "modelhandoff_epoch", "Number of this process's reign.", registry=self.registry
        )
        self.loop_lag = Gauge(
            "modelhandoff_loop_lag_seconds",
            "How late the event loop last woke up.",
            registry=self.registry,
        )

    def request(self, verb: str, kind: str, code: int) -> None:
        """Count one request to the API server."""
        self.api_requests.labels(verb, kind, str(code)).inc()

    def query(self, source: str, result: str, seconds: float) -> None:
        """Count one query to a metric source."""
        self.queries.labels(source, result).inc()
        self.query_seconds.labels(source).observe(seconds)

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """A gauge whose value is read when it is asked for."""
        Gauge(name, meaning, registry=self.registry).set_function(read)

    def watch_handoffs(
        self, handoffs: Objects, attempts: Objects, now: Callable[[], datetime]
    ) -> None:
        """What every handoff is doing, read from the cache at each scrape."""
        self.registry.register(HandoffSeries(handoffs, attempts, self.last_looks, now))

    def text(self) -> bytes:
        """All metrics in the text format."""
        return generate_latest(self.registry)

    async def exposition(self) -> bytes:
        """The same for a scrape: read at once, written in a thread.

        For 200 handoffs writing takes five times as long as reading (100 ms of CPU for six metrics
        each), and the lease is renewed in this loop.
        """
        return await asyncio.to_thread(generate_latest, _Read(list(self.registry.collect())))


class _Read(CollectorRegistry):
    """What was read of a registry."""

    def __init__(self, families: list[Metric]) -> None:
        super().__init__()
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


def _version() -> str:
    try:
        return version("modelhandoff")
    except PackageNotFoundError:
        return "unknown"
