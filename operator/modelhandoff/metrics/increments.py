"""From raw scrapes of one pod to increments per interval: nothing lost, nothing counted twice.

The rules (section "From Prometheus to increments" of docs/metrics.md):

- increments telescope: each scrape is differenced from the last one that was used, wherever the
  borders of intervals lie; a sample that arrives late falls into the next interval;
- a counter that falls has been reset and counts from 0, and so does every counter of a process
  whose start time has changed, also when it has already overtaken its old value;
- a counter that appears counts from 0 if its target had been scraped without it, or if the
  process started after the evidence began; otherwise its first value is where counting starts;
- a pod that vanishes keeps what was counted; what it never exposed is bounded and named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import median
from typing import Final

from modelhandoff.metrics.cursor import Key, Target
from modelhandoff.metrics.grid import Grid
from modelhandoff.metrics.targets import Process, Scrape

__all__ = ["Span", "Walk", "carried", "walk"]

START_JITTER: Final = 1.5
"""Seconds by which a living process's start time may wander: the kernel's boot time is in whole
seconds and moves by one when the clock is stepped."""

SILENT_AFTER: Final = 2.5
"""Missed scrapes, in scrape intervals, after which a pod is called silent."""


@dataclass(frozen=True, slots=True)
class Span:
    """What one look may use.

    Attributes:
        grid: borders.
        first: first interval of the evidence; what was counted before it is no increment.
        closed: last interval already closed; nothing is added to it any more.
        until: last interval to close now.
        young: Unix seconds; a process that started later cannot have been read before.
        new: names of metrics asked for for the first time: their counters have no earlier value
            although their target has been scraped.
        signed: names of sums that may fall without having been reset; only a restart of their
            process resets them.
        requests: names of metrics that count whole requests, for the bound on what a killed
            process never exposed.
    """

    grid: Grid
    first: int
    closed: int
    until: int
    young: float
    new: frozenset[str] = frozenset()
    signed: frozenset[str] = frozenset()
    requests: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Walk:
    """One pod's increments.

    Attributes:
        target: state at the end of ``Span.until``, for the cursor.
        increments: by interval, then by counter. An interval with a scrape but no increment has
            an entry too (it may be empty), so that "0" differs from "not seen".
        warnings: one line each.
    """

    target: Target
    increments: Mapping[int, Mapping[Key, float]]
    warnings: tuple[str, ...] = ()


def walk(process: Process, before: Target | None, span: Span) -> Walk | None:
    """Increments of one pod between its last known state and the end of the span.

    Args:
        process: the pod's scrapes; those before the known state or after the span are ignored.
        before: the pod in the cursor, ``None`` if it was never seen.
        span: what may be closed.

    Returns:
        ``None`` if the pod was never scraped up to the end of the span.
    """
    walker = _Walker(before, span)
    end = span.grid.end(span.until)
    for scrape in process.scrapes:
        if scrape.at > end:
            break
        if walker.last is None or scrape.at > walker.last:
            walker.take(scrape)
    return walker.finish(process, end)


class _Walker:
    def __init__(self, before: Target | None, span: Span) -> None:
        self._before = before
        self._span = span
        self._new = span.new
        self._readings: dict[Key, float] = dict(before.readings) if before else {}
        self._started = before.started if before else None
        self.last: int | None = round(before.scraped * 1000) if before else None
        self._first_here: int | None = None
        self._gaps: list[int] = []
        self._increments: dict[int, dict[Key, float]] = {}
        self._counted = 0.0
        self._warnings: list[str] = []
        self._restarts: list[tuple[int, int]] = []

    def take(self, scrape: Scrape) -> None:
        """Count one scrape."""
        if self._has_restarted(scrape):
            # Whatever the new process shows was counted from 0, and its buckets may be others.
            self._readings, self._new = {}, frozenset()
            self._restarts.append((self.last or scrape.at, scrape.at))
        into: dict[Key, float] | None = None
        if scrape.at > self._span.grid.start(self._span.first):
            index = max(self._span.grid.index(scrape.at), self._span.closed + 1)
            into = self._increments.setdefault(index, {})
        fallen = self._fallen(scrape)
        readings = self._readings
        for key, value in scrape.values.items():
            known = readings.get(key)
            if known == value and not fallen:
                continue
            added = value - self._base(key, value, known, scrape, fallen)
            readings[key] = value
            if into is not None and added:
                into[key] = into.get(key, 0.0) + added
                if key[0] in self._span.requests:
                    self._counted += added
        if scrape.started is not None:
            self._started = scrape.started
        if self.last is not None:
            self._gaps.append(scrape.at - self.last)
        elif self._first_here is None:
            self._first_here = scrape.at
        self.last = scrape.at

    def finish(self, process: Process, end: int) -> Walk | None:
        """State and warnings at the end of the span."""
        if self.last is None:
            return None
        known = self._before.spacing if self._before else 0.0
        spacing = median(self._gaps) / 1000 if self._gaps else known
        silent = bool(spacing) and (end - self.last) / 1000 > SILENT_AFTER * spacing
        rate = self._rate()
        for stopped, back in self._restarts:
            lost = rate * (back - stopped) / 1000
            self._warnings.append(
                f"pod {process.pod} restarted between its scrapes at {_clock(stopped)} and "
                f"{_clock(back)}: {_unexposed(lost, rate, (back - stopped) / 1000)}"
            )
        if silent and not (self._before and self._before.silent):
            self._warnings.append(
                f"pod {process.pod} silent since its scrape at {_clock(self.last)}: unless it "
                f"comes back, {_unexposed(rate * spacing, rate, spacing)}"
            )
        target = Target(
            pod=process.pod,
            endpoint=process.endpoint or (self._before.endpoint if self._before else ""),
            scraped=self.last / 1000,
            started=self._started,
            readings=self._readings,
            spacing=spacing,
            silent=silent,
        )
        return Walk(target, self._increments, tuple(self._warnings))

    def _rate(self) -> float:
        """Requests per second over the scrapes of this look."""
        begin = round(self._before.scraped * 1000) if self._before else self._first_here
        if begin is None or self.last is None or self.last <= begin:
            return 0.0
        return self._counted / ((self.last - begin) / 1000)

    def _has_restarted(self, scrape: Scrape) -> bool:
        if self.last is None:
            return False
        if scrape.started is not None:
            if self._started is not None:
                return abs(scrape.started - self._started) > START_JITTER
            return scrape.started > self.last / 1000 + START_JITTER
        # Without a start time one counter that falls gives the whole process away.
        return self._started is None and bool(self._fallen(scrape))

    def _fallen(self, scrape: Scrape) -> set[Key]:
        """Counters that were reset alone: the buckets of one histogram fall together."""
        readings, signed = self._readings, self._span.signed
        return {
            _group(key)
            for key, value in scrape.values.items()
            if value < readings.get(key, value) and key[0] not in signed
        }

    def _base(
        self, key: Key, value: float, known: float | None, scrape: Scrape, fallen: set[Key]
    ) -> float:
        """The value from which this scrape's value is counted."""
        if known is not None:
            return 0.0 if fallen and _group(key) in fallen else known
        if key[0] in self._new:
            return value
        if self.last is not None:
            return 0.0
        if scrape.started is not None and scrape.started > self._span.young:
            return 0.0
        return value


def _group(key: Key) -> Key:
    """A histogram's buckets, sum and count share a fate; other counters stand alone."""
    name = key[0]
    for ending in ("_bucket", "_count", "_sum"):
        name = name.removesuffix(ending)
    pairs = zip(key[1::2], key[2::2], strict=True)
    return (name, *(part for pair in pairs if pair[0] != "le" for part in pair))


def _unexposed(lost: float, rate: float, seconds: float) -> str:
    return (
        f"what it answered after it was never exposed, about {lost:.0f} requests at most "
        f"({rate:.3g}/s for {seconds:.3g} s)"
    )


def _clock(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%H:%M:%S.%f")[:-3] + "Z"


def carried(before: Target, end: int) -> tuple[Target, tuple[str, ...]]:
    """A known pod without any scrape in this look: still known, and named when it goes silent."""
    silent = bool(before.spacing) and end / 1000 - before.scraped > SILENT_AFTER * before.spacing
    if before.silent or not silent:
        return before, ()
    warning = (
        f"pod {before.pod} silent since its scrape at {_clock(round(before.scraped * 1000))}: "
        f"what it answered after it, at most {before.spacing:.3g} s of traffic, was never exposed "
        "unless it comes back"
    )
    return replace(before, silent=True), (warning,)
