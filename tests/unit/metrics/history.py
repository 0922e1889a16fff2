"""Pods, scrapes and samples in memory: the ground truth of the tests of counting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from modelhandoff.metrics.samples import Series

START = 1_700_000_000.0
"""A round moment: a multiple of every interval used in the tests."""


@dataclass
class Stored:
    """Raw samples as a database keeps them, each with the time it can be queried from."""

    samples: dict[tuple[str, tuple[tuple[str, str], ...]], list[tuple[int, float, float]]] = field(
        default_factory=dict
    )

    def put(
        self,
        at: float,
        name: str,
        value: float,
        labels: Mapping[str, str],
        visible: float | None = None,
    ) -> None:
        key = (name, tuple(sorted(labels.items())))
        row = (round(at * 1000), float(value), at if visible is None else visible)
        self.samples.setdefault(key, []).append(row)

    def window(self, end: int, length: int, now: float = float("inf")) -> list[Series]:
        """What a range selector over ``(end - length, end]`` milliseconds returns at ``now``."""
        found = []
        for (name, labels), rows in self.samples.items():
            seen = sorted((t, v) for t, v, when in rows if end - length < t <= end and when <= now)
            if seen:
                times, values = zip(*seen, strict=True)
                found.append(Series(name, dict(labels), times, values))
        return found


@dataclass
class Server:
    """A model server with counters; every scrape stores what it shows."""

    stored: Stored
    pod: str
    started: float
    namespace: str = "shop"
    job: str = "pods"
    instance: str = "10.0.0.1:8080"
    extra: Mapping[str, str] = field(default_factory=dict)
    counts: dict[tuple[str, tuple[tuple[str, str], ...]], float] = field(default_factory=dict)
    tells_start: bool = True

    @property
    def target(self) -> dict[str, str]:
        return {
            "namespace": self.namespace, "pod": self.pod, "job": self.job,
            "instance": self.instance, **self.extra,
        }  # fmt: skip

    def add(self, name: str, times: float = 1.0, **labels: str) -> None:
        key = (name, tuple(sorted(labels.items())))
        self.counts[key] = self.counts.get(key, 0.0) + times

    def requests(self, times: float = 1.0, code: int = 200) -> None:
        self.add("modelhandoff_server_requests_total", times, code=str(code))

    def observe(
        self, value: float, edges: Iterable[float], name: str, times: int = 1, **labels: str
    ) -> None:
        """Count a value in a classic histogram."""
        for edge in (*edges, float("inf")):
            text = "+Inf" if edge == float("inf") else f"{edge:g}"
            self.add(f"{name}_bucket", times if value <= edge else 0, le=text, **labels)

    def restart(self, started: float) -> None:
        self.counts = {}
        self.started = started

    def scrape(self, at: float, visible: float | None = None) -> None:
        self.stored.put(at, "up", 1.0, self.target, visible)
        if self.tells_start:
            self.stored.put(at, "process_start_time_seconds", self.started, self.target, visible)
        for (name, labels), value in self.counts.items():
            self.stored.put(at, name, value, {**self.target, **dict(labels)}, visible)

    def fail(self, at: float) -> None:
        """A scrape that got no answer."""
        self.stored.put(at, "up", 0.0, self.target)
