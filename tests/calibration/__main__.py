"""``make calibrate``: simulate the engine and write docs/calibration.md."""

from __future__ import annotations

import argparse
import json
import math
import os
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.calibration import endings, noises, rivals, shapes
from tests.calibration.crossings import RateCell
from tests.calibration.world import BIG

SEED = 20240229
ROOT = Path(__file__).parents[2]
Cells = Mapping[str, list[Any]]


class Playable(Protocol):
    """A cell: pure, picklable, one list of results per list of seeds."""

    def play(self, seeds: Sequence[np.random.SeedSequence]) -> list[Any]: ...


@dataclass(frozen=True)
class Work:
    """One cell: its key, how many seeds (a seed may be a group of runs), seeds per task."""

    key: str
    cell: Playable
    seeds: int
    chunk: int


def works(scale: float, only: str) -> list[Work]:
    """Everything that is simulated; ``scale`` shrinks the number of runs."""

    def some(number: int) -> int:
        return max(1, round(number * scale))

    out = [
        Work(
            f"ending/{c.truth}/{c.size}/{'A' if c.history else 'B'}",
            c,
            some(200 if c.size is BIG else 100),
            5,
        )
        for c in endings.cells()
    ]
    out += [Work(c.name, c, some(_groups(c)), 1) for c in noises.everything()]
    out += [
        Work(c.name, c, some(4 if isinstance(c, shapes.MeanCell) else 2), 1)
        for c in shapes.everything()
    ]
    out += [Work(c.name, c, some(100), 10) for c in rivals.everything()]
    return [one for one in out if one.key.startswith(only)]


def _groups(cell: RateCell) -> int:
    """Groups of 100 runs: 400 for error rates, 200 where only a median is asked."""
    return 4 if cell.name.startswith(("false/", "falseproof/", "open/")) else 2


def play(cell: Playable, seeds: Sequence[np.random.SeedSequence]) -> list[Any]:
    """One task of a worker: results as plain JSON values."""
    return [_plain(one) for one in cell.play(seeds)]


def _plain(one: Any) -> Any:
    if isinstance(one, dict):
        return {name: list(result) for name, result in one.items()}
    if isinstance(one, tuple):
        return [None if math.isinf(value) else value for value in one]
    return [str(one.decision), one.look, one.reason]


def simulate(todo: list[Work], jobs: int, keep: Callable[[Cells], None]) -> None:
    """All cells over the cores; the answer does not depend on their number or order.

    ``keep`` is called with everything so far whenever a cell is complete.
    """
    found: dict[str, dict[int, list[Any]]] = {work.key: {} for work in todo}
    expected = {work.key: math.ceil(work.seeds / work.chunk) for work in todo}
    bar = Progress(
        TextColumn("{task.description:<60}"), BarColumn(), MofNCompleteColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with bar, ProcessPoolExecutor(jobs) as pool:
        waiting = {}
        for work in todo:
            root = np.random.SeedSequence([SEED, zlib.crc32(work.key.encode())])
            seeds = root.spawn(work.seeds)
            for at in range(0, work.seeds, work.chunk):
                task = pool.submit(play, work.cell, seeds[at : at + work.chunk])
                waiting[task] = (work.key, at)
        progress = bar.add_task("calibrating", total=len(waiting))
        for done in as_completed(waiting):
            key, at = waiting[done]
            found[key][at] = done.result()
            bar.update(progress, advance=1, description=key[:60])
            if len(found[key]) == expected[key]:
                keep(
                    {
                        key: [one for at in sorted(parts) for one in parts[at]]
                        for key, parts in found.items()
                        if len(parts) == expected[key]
                    }
                )


def main() -> None:
    """Parse the command line, simulate, keep the raw results, write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.calibration", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the runs, e.g. 0.1")
    parser.add_argument("--only", default="", help="cells whose key begins like this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "calibration.md")
    parser.add_argument("--raw", type=Path, default=ROOT / ".work" / "calibration.json")
    parser.add_argument("--render", action="store_true", help="only write the page from --raw")
    asked = parser.parse_args()
    if not asked.render:
        begin = time.monotonic()
        asked.raw.parent.mkdir(parents=True, exist_ok=True)

        def keep(cells: Cells) -> None:
            head = {
                "date": datetime.now(UTC).date().isoformat(),
                "seed": SEED,
                "minutes": round((time.monotonic() - begin) / 60.0, 1),
                "jobs": asked.jobs,
                "load": round(os.getloadavg()[0], 1),
                "scale": asked.scale,
            }
            asked.raw.write_text(json.dumps({"head": head, "cells": cells}))

        simulate(works(asked.scale, asked.only), asked.jobs, keep)
    from tests.calibration.report import write

    write(json.loads(asked.raw.read_text()), asked.output)
    print(f"wrote {asked.output}")


if __name__ == "__main__":
    main()
