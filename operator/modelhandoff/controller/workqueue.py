"""The work queue: which handoffs want a look, and when.

A key is queued at most once and worked on by at most one worker. A key added while it is being
worked on is queued again afterwards, so that no change is missed. Nothing here is remembered
across a restart: every handoff is queued at the start and computes its deadline from status.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from modelhandoff.controller.clock import Clock

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds before a key that failed ``n`` times is tried again: doubled, capped, jittered.

    The jitter takes off up to half, so that keys which failed together do not return together.
    """

    first: float = 0.5
    most: float = 60.0

    def seconds(self, failures: int, rng: random.Random) -> float:
        """The wait after the ``failures``-th failure in a row (1 is the first)."""
        whole = min(self.most, self.first * 2.0 ** min(failures - 1, 30))
        return whole * (0.5 + 0.5 * rng.random())


class WorkQueue(Generic[K]):
    """Keys that want work: de-duplicated, urgent first, delayed, backed off per key."""

    def __init__(self, *, clock: Clock, rng: random.Random, backoff: Backoff | None = None) -> None:
        self._clock = clock
        self._rng = rng
        self._backoff = backoff or Backoff()
        self._urgent: deque[K] = deque()
        self._ordinary: deque[K] = deque()
        self._since: dict[K, float] = {}
        self._working: set[K] = set()
        self._again: dict[K, bool] = {}
        self._due: dict[K, float] = {}
        self._timers: list[tuple[float, int, K]] = []
        self._sequence = 0
        self._failures: dict[K, int] = {}
        self._ready = asyncio.Event()
        self._timers_changed = asyncio.Event()
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._empty_handed = asyncio.Event()
        self._empty_handed.set()

    # What people and metrics ask

    @property
    def depth(self) -> int:
        """Keys that wait for a worker now."""
        return len(self._since)

    @property
    def age(self) -> float:
        """Seconds for which the longest-waiting key has waited for a worker."""
        oldest = min(self._since.values(), default=None)
        return 0.0 if oldest is None else max(0.0, self._clock.monotonic() - oldest)

    @property
    def working(self) -> int:
        """Keys that a worker has in hand."""
        return len(self._working)

    @property
    def idle(self) -> bool:
        """Nothing waits for a worker and nothing is in hand; timers may be running."""
        return self._idle.is_set()

    @property
    def next_due(self) -> float | None:
        """Monotonic time of the earliest timer."""
        return min(self._due.values(), default=None)

    def failures(self, key: K) -> int:
        """How often in a row the key has failed."""
        return self._failures.get(key, 0)

    async def wait_idle(self) -> None:
        """Return when nothing waits and nothing is in hand."""
        await self._idle.wait()

    async def wait_empty_handed(self) -> None:
        """Return when no worker has anything in hand."""
        await self._empty_handed.wait()

    # Adding

    def add(self, key: K, *, urgent: bool = False) -> None:
        """Queue a key now; an urgent one goes ahead of all that are not."""
        self._due.pop(key, None)
        if key in self._working:
            self._again[key] = self._again.get(key, False) or urgent
            return
        if key in self._since:
            if urgent and key in self._ordinary:
                self._ordinary.remove(key)
                self._urgent.append(key)
            return
        self._since[key] = self._clock.monotonic()
        (self._urgent if urgent else self._ordinary).append(key)
        self._ready.set()
        self._idle.clear()

    def add_after(self, key: K, seconds: float) -> None:
        """Queue a key in some seconds; the earlier of two deadlines wins."""
        if seconds <= 0:
            self.add(key)
            return
        if key in self._since:
            return
        due = self._clock.monotonic() + seconds
        if due >= self._due.get(key, float("inf")):
            return
        self._due[key] = due
        self._sequence += 1
        heapq.heappush(self._timers, (due, self._sequence, key))
        self._timers_changed.set()

    def retry(self, key: K, at_least: float = 0.0) -> float:
        """Queue a key that failed, later each time; returns the wait in seconds."""
        self._failures[key] = self._failures.get(key, 0) + 1
        seconds = max(at_least, self._backoff.seconds(self._failures[key], self._rng))
        self.add_after(key, seconds)
        return seconds

    def forget(self, key: K) -> None:
        """The key succeeded: its next failure is a first one."""
        self._failures.pop(key, None)

    # Taking

    @contextlib.asynccontextmanager
    async def take(self) -> AsyncIterator[K]:
        """The next key, held by the caller for as long as the block runs."""
        while not self._since or self._closed:
            self._ready.clear()
            await self._ready.wait()
        key = (self._urgent or self._ordinary).popleft()
        del self._since[key]
        self._working.add(key)
        self._empty_handed.clear()
        try:
            yield key
        finally:
            self._working.discard(key)
            if not self._working:
                self._empty_handed.set()
            again = self._again.pop(key, None)
            if again is not None:
                self.add(key, urgent=again)
            elif not self._since and not self._working:
                self._idle.set()

    def close(self) -> None:
        """Hand out nothing more; what is in hand may end."""
        self._closed = True

    async def run(self, workers: int, work: Callable[[K], Awaitable[None]]) -> None:
        """Work for ever with so many workers; ``work`` must not raise.

        An exception is a bug of the caller: it ends the queue, and with it the process.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_timers(), name="queue timers")
            for number in range(workers):
                group.create_task(self._work(work), name=f"worker {number}")

    async def _work(self, work: Callable[[K], Awaitable[None]]) -> None:
        while True:
            async with self.take() as key:
                await work(key)

    async def _run_timers(self) -> None:
        while True:
            self._timers_changed.clear()
            now = self._clock.monotonic()
            while self._timers and self._timers[0][0] <= now:
                due, _, key = heapq.heappop(self._timers)
                if self._due.get(key) == due:  # else replaced by an earlier one, or added since
                    self.add(key)
            until = self._timers[0][0] if self._timers else None
            await self._clock.wait(self._timers_changed, until)
