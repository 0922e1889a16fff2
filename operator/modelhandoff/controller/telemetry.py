"""What the operator tells Prometheus about itself.

Labels are bounded: closed sets of words and the handoff's own name; never a pod, never free text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from modelhandoff.api.vocabulary import Phase

SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

Handoffs = Callable[[], Iterator[Mapping[str, Any]]]


class Telemetry:
    """All metrics of one process, on a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
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

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """A gauge whose value is read when it is asked for."""
        Gauge(name, meaning, registry=self.registry).set_function(read)

    def watch_handoffs(self, handoffs: Handoffs) -> None:
        """Phase and weight of every handoff, read from the cache at each scrape."""
        self.registry.register(_Handoffs(handoffs))

    def text(self) -> bytes:
        """All metrics in the text format."""
        return generate_latest(self.registry)


class _Handoffs(Collector):
    def __init__(self, handoffs: Handoffs) -> None:
        self._handoffs = handoffs

    def collect(self) -> Iterator[Metric]:
        names = ["namespace", "handoff"]
        phases = GaugeMetricFamily(
            "modelhandoff_phase", "1 for the phase a handoff is in.", labels=[*names, "phase"]
        )
        weights = GaugeMetricFamily(
            "modelhandoff_candidate_weight_percent",
            "Percent of the traffic that the candidate is meant to get.",
            labels=names,
        )
        totals = dict.fromkeys(Phase, 0)
        for handoff in self._handoffs():
            meta, status = handoff["metadata"], handoff.get("status") or {}
            who = [meta.get("namespace", ""), meta["name"]]
            phase = status.get("phase")
            if phase in totals:
                totals[Phase(phase)] += 1
                phases.add_metric([*who, phase], 1)
            weight = (status.get("step") or {}).get("weight")
            if isinstance(weight, int | float):
                weights.add_metric(who, weight)
        count = GaugeMetricFamily("modelhandoff_handoffs", "Handoffs by phase.", labels=["phase"])
        for phase, number in totals.items():
            count.add_metric([phase], number)
        yield from (phases, weights, count)

    def describe(self) -> Iterator[Metric]:
        return iter(())
