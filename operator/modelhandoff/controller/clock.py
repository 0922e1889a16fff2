"""Time as an argument: the wall clock for what is stored, a steady one for what is waited for."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the controller knows of time."""

    def now(self) -> datetime:
        """The wall clock, aware UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""
        ...

    async def wait(self, event: asyncio.Event, until: float | None) -> bool:
        """Wait for the event, at most until a monotonic time; whether the event is set."""
        ...


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> datetime:
        """The wall clock, aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""
        return time.monotonic()

    async def wait(self, event: asyncio.Event, until: float | None) -> bool:
        """Wait for the event, at most until a monotonic time; whether the event is set."""
        if until is None:
            await event.wait()
            return True
        try:
            async with asyncio.timeout(max(0.0, until - self.monotonic())):
                await event.wait()
        except TimeoutError:
            return event.is_set()
        return True


def boottime() -> float:
    """Seconds since boot, counting those in which the machine or the container slept.

    A lease runs out while a process is frozen, so its deadline must be read on this clock.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)
