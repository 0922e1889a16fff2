"""One look of one handoff: which window to ask for, and which intervals the answer closes.

Pure: an answer and a cursor go in, closed intervals and the next cursor come out.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from modelhandoff.analysis.intervals import Interval
from modelhandoff.analysis.wire import WireError
from modelhandoff.metrics.batching import Window
from modelhandoff.metrics.collector import Closed, CollectRequest, Cursor
from modelhandoff.metrics.cursor import Target
from modelhandoff.metrics.grid import Grid, milliseconds
from modelhandoff.metrics.histograms import Flaw, mend
from modelhandoff.metrics.increments import Span, Walk, carried, walk
from modelhandoff.metrics.measure import Arm, Measured, measure
from modelhandoff.metrics.queries import arm_of
from modelhandoff.metrics.reads import Reads, reads
from modelhandoff.metrics.samples import Labels, Series
from modelhandoff.metrics.schedule import placed
from modelhandoff.metrics.targets import Naming, Process, processes
from modelhandoff.metrics.trouble import MetricsError, Trouble

__all__ = ["Look"]

MOST_AT_ONCE: Final = 40
"""Intervals read in detail after an outage; whatever lies before them is settled as one."""

FIRST_LOOK_BACK: Final = 120.0
"""Seconds before the evidence begins in which the first look searches for where to start."""

FORGOTTEN_AFTER: Final = 600.0
"""Seconds (at least 20 intervals) after which a silent pod leaves the cursor."""


_POISON: Final = frozenset({Trouble.AMBIGUOUS, Trouble.NOT_A_COUNT})


@dataclass(frozen=True, slots=True)
class _Pods:
    """Everything known about the pods of both arms."""

    found: Mapping[str, Process]
    before: Mapping[str, Target]
    owners: Mapping[str, str]

    def of(self, workload: str) -> list[str]:
        return [pod for pod, owner in self.owners.items() if owner == workload]


class Look:
    """One request at one time."""

    def __init__(self, request: CollectRequest, cursor: Cursor | None, now: float) -> None:
        self.request = request
        self.reads: Reads = reads(request.metrics)
        self._cursor = cursor
        grid = self._grid = Grid(request.interval)
        self._first = cursor.first if cursor else grid.first(request.begin)
        self._closed = cursor.closed if cursor else self._first - 1
        self._ready = grid.ready(now, request.lag)
        detailed = min(max(self._ready - self._closed, 1), MOST_AT_ONCE)
        back = max(milliseconds(request.lag), 1)
        if cursor is None:
            # Where counting starts must be seen even if the pods are scraped seldom.
            back = max(back, milliseconds(FIRST_LOOK_BACK))
        self.window = Window(
            end=grid.end(self._ready),
            length=detailed * grid.step + back,
            interval=grid.step,
            steady=detailed == 1 and cursor is not None,
        )

    @property
    def too_early(self) -> float | None:
        """When the next interval closes (Unix seconds), if none is ready yet."""
        if self._ready > self._closed:
            return None
        return self._grid.end(self._closed + 1) / 1000 + self.request.lag

    @property
    def identity(self) -> tuple[object, ...]:
        """Two looks with the same identity have the same answer."""
        request = self.request
        return (request.key, request.source, request.arms, self._first, self._closed, self._ready)

    @property
    def next_window(self) -> float:
        """When there is something new to ask for, Unix seconds."""
        return self._grid.end(self._ready + 1) / 1000 + self.request.lag

    def close(self, series: Iterable[Series], labels: Labels) -> Closed:
        """Close every interval that both arms have data for.

        Raises:
            MetricsError: none can be closed, or the answer cannot be believed.
        """
        cursor, request = self._cursor, self.request
        if cursor is not None and cursor.interval != request.interval:
            raise MetricsError(
                Trouble.MISCONFIGURED,
                f"the interval changed from {cursor.interval:g} s to {request.interval:g} s "
                "within one evidence",
            )
        found = list(series)
        try:
            return self._close(found, labels)
        except MetricsError as error:
            newest = self.window.end - self._grid.step - max(milliseconds(request.lag), 1)
            if error.trouble not in _POISON or self.window.end - self.window.length >= newest:
                raise
        # Samples that cannot be believed would spoil every look until they leave the window.
        # Counters telescope, so the newest interval alone settles the time since the last close.
        return self._close([one for each in found if (one := _since(each, newest))], labels)

    def _close(self, series: Iterable[Series], labels: Labels) -> Closed:
        cursor, request = self._cursor, self.request
        pods = self._pods(series, labels)
        ends = self._closable(pods)
        flaws = [flaw for process in pods.found.values() for flaw in mend(process)]
        walks, silent, warnings = self._walk(pods, ends[-1])
        intervals: list[Interval] = []
        edges: dict[str, tuple[float, ...]] = dict(cursor.edges) if cursor else {}
        missing: list[str] = []
        last = self._closed
        for end in ends:
            made = self._measure(last + 1, end, pods, walks, edges)
            intervals.append(self._interval(last + 1, end, made, flaws))
            edges = made.edges | edges
            missing += made.missing
            last = end
        if not any(interval.metrics for interval in intervals):
            raise MetricsError(Trouble.MISSING, "; ".join(dict.fromkeys(missing)))
        warnings += [*missing, *(flaw.message for flaw in flaws)]
        targets = [*(one.target for one in walks.values()), *silent]
        return Closed(
            tuple(intervals),
            Cursor(
                interval=request.interval,
                first=self._first,
                closed=last,
                targets=self._remembered(targets, last),
                asked=self.reads.names,
                edges=edges,
            ),
            tuple(dict.fromkeys(warnings)),
            edges,
        )

    def _pods(self, series: Iterable[Series], labels: Labels) -> _Pods:
        before = {one.pod: one for one in self._cursor.targets} if self._cursor else {}
        preferred = {pod: one.endpoint for pod, one in before.items()}
        arms = self.request.arms
        workloads = {arms.candidate} if arms.baseline is None else {arms.candidate, arms.baseline}
        found = processes(series, labels, preferred, Naming(self.reads.labels, self.reads.signed))
        owners = {
            pod: owner
            for pod in sorted({*found, *before})
            if (owner := arm_of(pod, workloads)) is not None
        }
        return _Pods({pod: one for pod, one in found.items() if pod in owners}, before, owners)

    def _closable(self, pods: _Pods) -> list[int]:
        """Ends of the intervals in which every arm was scraped at least once.

        An interval without a scrape of one arm is not closed alone: the next one that both arms
        have data for settles it for both, so that the arms always cover the same time.
        """
        arms = {"candidate": self.request.arms.candidate}
        if self.request.arms.baseline is not None:
            arms["baseline"] = self.request.arms.baseline
        scraped: list[set[int]] = []
        for role, workload in arms.items():
            indices = {
                self._grid.index(scrape.at)
                for pod in pods.of(workload)
                if pod in pods.found
                for scrape in pods.found[pod].scrapes
            }
            current = {one for one in indices if self._closed < one <= self._ready}
            if not current:
                raise self._nothing(role, workload, pods)
            scraped.append(current)
        both = sorted(set.intersection(*scraped))
        if not both:
            raise MetricsError(
                Trouble.STALE, "candidate and baseline were never scraped in the same interval"
            )
        return both

    def _nothing(self, role: str, workload: str, pods: _Pods) -> MetricsError:
        """Why an arm has no data: never seen, or not lately."""
        known = pods.of(workload)
        seen = [
            *(pods.found[pod].scrapes[-1].at for pod in known if _scraped(pods, pod)),
            *(milliseconds(pods.before[pod].scraped) for pod in known if pod in pods.before),
        ]
        end = self._grid.end(self._ready)
        if seen:
            newest = max(seen)
            return MetricsError(
                Trouble.STALE,
                f"{role}: the newest sample of the pods of {workload} is "
                f"{(end - newest) / 1000:.0f} s old at {_clock(end)} (from {_clock(newest)}); "
                f"allowed {self.request.interval:g} s",
            )
        failed = sum(pods.found[pod].failed for pod in known if pod in pods.found)
        scrapes = f"; {failed} scrapes of them failed" if failed else ""
        return MetricsError(
            Trouble.MISSING,
            f"{role}: no samples of pods {workload}-* in namespace {self.request.namespace} in the "
            f"{self.window.length / 1000:g} s before {_clock(end)}{scrapes}",
            user_action="check that Prometheus scrapes the pods with the labels namespace and pod",
        )

    def _walk(self, pods: _Pods, until: int) -> tuple[dict[str, Walk], list[Target], list[str]]:
        forgotten = milliseconds(self._memory())
        young = max(self._grid.start(self._first), self._grid.end(self._closed) - forgotten)
        asked = self._cursor.asked if self._cursor else self.reads.names
        span = Span(
            grid=self._grid,
            first=self._first,
            closed=self._closed,
            until=until,
            young=young / 1000,
            new=self.reads.names - asked,
            signed=self.reads.signed,
            requests=frozenset(pick.name for pick in self.reads.requests),
        )
        walks: dict[str, Walk] = {}
        silent: list[Target] = []
        warnings: list[str] = []
        for pod in pods.owners:
            process, before = pods.found.get(pod), pods.before.get(pod)
            made = None
            if process is not None and process.scrapes:
                made = walk(process, before, span)
            if made is not None:
                walks[pod] = made
                warnings += made.warnings
            elif before is not None:
                target, said = carried(before, self._grid.end(until))
                silent.append(target)
                warnings += said
        return walks, silent, warnings

    def _measure(
        self,
        begin: int,
        end: int,
        pods: _Pods,
        walks: Mapping[str, Walk],
        edges: Mapping[str, tuple[float, ...]],
    ) -> Measured:
        def arm(workload: str) -> Arm:
            known, added = {}, {}
            for pod in pods.of(workload):
                if pod not in walks:
                    continue
                parts = [
                    counts
                    for index, counts in walks[pod].increments.items()
                    if begin <= index <= end
                ]
                if not parts:
                    continue
                total = dict(parts[0])
                for part in parts[1:]:
                    for key, value in part.items():
                        total[key] = total.get(key, 0.0) + value
                known[pod] = walks[pod].target.readings.keys()
                added[pod] = total
            return Arm(known, added)

        arms = self.request.arms
        baseline = None if arms.baseline is None else arm(arms.baseline)
        try:
            return measure(
                self.reads, arm(arms.candidate), baseline, {**edges, **self.request.bins}
            )
        except WireError as error:
            raise MetricsError(
                Trouble.NOT_A_COUNT, f"the counters contradict themselves: {error}"
            ) from None

    def _interval(self, begin: int, end: int, made: Measured, flaws: Iterable[Flaw]) -> Interval:
        start, stop = self._grid.start(begin), self._grid.end(end)
        step, weight, excluded = placed(
            start / 1000, stop / 1000, self.request.schedule, self.request.exclusions
        )
        quality = {flaw.quality.value for flaw in flaws if start < flaw.at <= stop}
        return Interval(
            index=end,
            start=start / 1000,
            end=stop / 1000,
            step=step,
            weight=weight,
            requests=made.requests,
            metrics=made.metrics,
            excluded=excluded,
            quality=tuple(sorted(quality)),
            halves=made.halves,
        )

    def _remembered(self, targets: Iterable[Target], closed: int) -> tuple[Target, ...]:
        oldest = self._grid.end(closed) / 1000 - self._memory()
        kept = [one for one in targets if one.scraped >= oldest]
        return tuple(sorted(kept, key=lambda one: one.pod))

    def _memory(self) -> float:
        return max(FORGOTTEN_AFTER, 20 * self.request.interval)


def _since(one: Series, begin: int) -> Series | None:
    """The part of a series after ``begin`` (Unix milliseconds), if there is any."""
    place = bisect_right(one.times, begin)
    if place == len(one.times):
        return None
    return replace(one, times=one.times[place:], values=one.values[place:])


def _scraped(pods: _Pods, pod: str) -> bool:
    return pod in pods.found and bool(pods.found[pod].scrapes)


def _clock(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%H:%M:%SZ")
