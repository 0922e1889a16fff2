"""The grid of closed intervals: absolute multiples of the interval, in whole milliseconds.

Interval ``i`` covers ``(i * length, (i + 1) * length]``: a sample taken exactly on a border
belongs to the interval that ends there. Prometheus keeps milliseconds, so the arithmetic is
exact, and all handoffs of one source share the same borders and hence the same queries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Grid", "milliseconds"]


def milliseconds(seconds: float) -> int:
    """Unix seconds as whole milliseconds."""
    return round(seconds * 1000)


@dataclass(frozen=True, slots=True)
class Grid:
    """Borders of intervals of ``length`` seconds (at least 1 ms)."""

    length: float

    @property
    def step(self) -> int:
        """Length in milliseconds."""
        return milliseconds(self.length)

    def index(self, at: int) -> int:
        """The interval that a sample at ``at`` (Unix milliseconds) belongs to."""
        return (at - 1) // self.step

    def start(self, index: int) -> int:
        """Begin of an interval, Unix milliseconds (not part of it)."""
        return index * self.step

    def end(self, index: int) -> int:
        """End of an interval, Unix milliseconds (part of it)."""
        return (index + 1) * self.step

    def first(self, begin: float) -> int:
        """The first interval that lies wholly after ``begin`` (Unix seconds)."""
        return -(-milliseconds(begin) // self.step)

    def ready(self, now: float, lag: float) -> int:
        """The last interval that has been over for ``lag`` seconds at ``now``."""
        return math.floor((milliseconds(now) - milliseconds(lag)) / self.step) - 1
