"""Looks that fall due together are taken in together: their array calls are shared.

Only spares work. What is prepared here is used when the judgement finds exactly this evidence and
this interval before it; otherwise each look is taken in alone, with the same result bit for bit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from modelhandoff.analysis import Evidence, Interval, observe_all
from modelhandoff.rollout.judging import Memory

__all__ = ["Abreast"]

MOST = 64
"""Looks of one turn of the event loop, some 50 ms: the lease must be renewed meanwhile."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    memory: Memory
    found: Evidence
    interval: Interval
    done: asyncio.Future[None]


class Abreast:
    """Collects the looks of one turn of the event loop."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []

    async def take(self, memory: Memory, intervals: Sequence[Interval]) -> None:
        """Take in the next interval of an attempt whose evidence is remembered."""
        found = memory.found
        if found is None or len(intervals) != 1:
            return
        loop = asyncio.get_running_loop()
        one = _Waiting(memory, found, intervals[0], loop.create_future())
        self._waiting.append(one)
        if len(self._waiting) == 1:
            loop.call_soon(self._run)
        await one.done

    def _run(self) -> None:
        now, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._run)
        try:
            made = observe_all([(one.found, one.interval) for one in now])
        except ValueError:
            made = []  # Each is taken in alone, and the one that is to blame says why.
        for one, after in zip(now, made, strict=False):
            one.memory.ahead = one.found, one.interval, after
        for one in now:
            if not one.done.done():
                one.done.set_result(None)
