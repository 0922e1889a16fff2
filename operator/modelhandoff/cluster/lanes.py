"""How many requests may be in flight at once, and who goes first.

A write that takes traffic off a candidate must not stand in line behind two hundred status
writes: some places are kept free for urgent requests, and a freed place goes to them first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Lanes:
    """A limiter with two lanes: ``total`` places, ``reserved`` of them only for urgent work."""

    def __init__(self, total: int = 16, reserved: int = 2) -> None:
        if not 0 <= reserved < total:
            raise ValueError(f"reserved places: must lie below total; got {reserved} of {total}")
        self._total = total
        self._reserved = reserved
        self._in_flight = 0
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._ordinary: deque[asyncio.Future[None]] = deque()

    @property
    def in_flight(self) -> int:
        """Requests that hold a place now."""
        return self._in_flight

    @asynccontextmanager
    async def place(self, *, urgent: bool = False) -> AsyncIterator[None]:
        """Hold one place; first come first served within each lane."""
        await self._enter(urgent)
        try:
            yield
        finally:
            self._in_flight -= 1
            self._admit()

    async def _enter(self, urgent: bool) -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._urgent if urgent else self._ordinary).append(mine)
        self._admit()
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                # The place was given in the same moment: hand it on.
                self._in_flight -= 1
            self._admit()
            raise

    def _admit(self) -> None:
        for lane, limit in (
            (self._urgent, self._total),
            (self._ordinary, self._total - self._reserved),
        ):
            while lane and self._in_flight < limit:
                waiter = lane.popleft()
                if not waiter.done():
                    self._in_flight += 1
                    waiter.set_result(None)
