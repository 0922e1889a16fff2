"""Progress lines with measured times, for people who wait."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO


def duration(seconds: float) -> str:
    """`4.2 s` below a minute, `3 min 05 s` above."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


class Progress:
    """Prints `[elapsed] text` lines; safe to use from several threads.

    Args:
        out: where to print; `None` prints nothing.
        clock: seconds that only grow.
        every: least seconds between two `step` lines of one kind.
    """

    def __init__(
        self,
        out: TextIO | None = sys.stderr,
        *,
        clock: Callable[[], float] = time.monotonic,
        every: float = 10.0,
    ) -> None:
        self._out = out
        self._clock = clock
        self._every = every
        self._started = clock()
        self._last_step: dict[str, float] = {}
        self._lock = threading.Lock()
        self.phases: list[tuple[str, float]] = []

    def note(self, text: str) -> None:
        """Print one line."""
        if self._out is not None:
            with self._lock:
                print(f"[{duration(self._clock() - self._started):>12}] {text}", file=self._out)
                self._out.flush()

    @contextmanager
    def phase(self, title: str) -> Iterator[None]:
        """Announce a phase, then print how long it took; also when it fails."""
        begun = self._clock()
        self.note(f"{title} ...")
        try:
            yield
        except BaseException:
            self.note(f"{title}: FAILED after {duration(self._clock() - begun)}")
            raise
        took = self._clock() - begun
        self.phases.append((title, took))
        self.note(f"{title}: {duration(took)}")

    def step(self, done: float, total: float, what: str, *, eta: float | None = None) -> None:
        """Print `what: done of total`, at most every `every` seconds.

        Args:
            done: units finished.
            total: units in all.
            what: names the unit and the thing, e.g. `compile: packages`.
            eta: seconds still to go, when the caller can estimate it.
        """
        now = self._clock()
        with self._lock:
            if done < total and now - self._last_step.get(what, float("-inf")) < self._every:
                return
            self._last_step[what] = now
        left = f", about {duration(eta)} to go" if eta is not None and done < total else ""
        self.note(f"{what}: {done:.0f} of {total:.0f}{left}")


SILENT = Progress(None)
