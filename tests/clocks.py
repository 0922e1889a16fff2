"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SETTLE = 10


class ManualClock:
    """Wall clock and steady clock in one; ``advance`` wakes whoever waited for a moment passed."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._seconds = 0.0
        self._waiting: dict[asyncio.Event, float] = {}

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._seconds)

    def monotonic(self) -> float:
        return self._seconds

    async def wait(self, event: asyncio.Event, until: float | None) -> bool:
        if until is None:
            await event.wait()
            return True
        alarm = asyncio.Event()
        self._waiting[alarm] = until
        self._ring()
        tasks = [asyncio.ensure_future(one.wait()) for one in (event, alarm)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting.pop(alarm, None)
            for task in tasks:
                task.cancel()
        return event.is_set()

    def move(self, seconds: float) -> None:
        """Let time pass; those it wakes run when the caller awaits."""
        self._seconds += seconds
        self._ring()

    async def advance(self, seconds: float) -> None:
        """Let time pass and give everyone it wakes a turn."""
        self.move(seconds)
        for _ in range(SETTLE):
            await asyncio.sleep(0)

    @property
    def sleepers(self) -> int:
        """How many wait for a moment that has not come yet."""
        return sum(until > self._seconds for until in self._waiting.values())

    def _ring(self) -> None:
        for alarm, until in self._waiting.items():
            if until <= self._seconds:
                alarm.set()
