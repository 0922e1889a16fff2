"""``make calibrate``: simulate the engine and write docs/calibration.md."""

from __future__ import annotations

import argparse
import json
import math
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.calibration import endings, noises, rivals, shapes
from tests.calibration.crossings import RateCell

SEED = 20240229
ROOT = Path(__file__).parents[2]


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
            some(100),
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
    return 4 if cell.name.startswith(("false/", "falseproof/", "open/", "inherited/")) else 2


def _twin(work: Work) -> bytes:
    """What the seeds depend on: the cell's key, unless it is to see another cell's traffic."""
    twin = work.cell.twin if isinstance(work.cell, RateCell) else ""
    return (twin or work.key).encode()


def play(cell: Playable, seeds: Sequence[np.random.SeedSequence]) -> list[Any]:
    """One task of a worker: results as plain JSON values."""
    return [_plain(one) for one in cell.play(seeds)]


def _plain(one: Any) -> Any:
    if isinstance(one, dict):
        return {name: list(result) for name, result in one.items()}
    if isinstance(one, tuple):
        return [None if math.isinf(value) else value for value in one]
    return [str(one.decision), one.look, one.reason]


def simulate(todo: list[Work], jobs: int, raw: Raw) -> None:
    """All cells over the cores; the answer does not depend on their number or order.

    Every cell advances by the same share of its runs, so that the page can be written at any time.
    Parts that ``raw`` has already are not simulated again.
    """
    bar = Progress(
        TextColumn("{task.description:<60}"), BarColumn(), MofNCompleteColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    tasks: list[tuple[float, Work, int]] = sorted(
        (
            (at / work.seeds, work, at)
            for work in todo
            for at in range(0, work.seeds, work.chunk)
            if at not in raw.parts.get(work.key, {})
        ),
        key=lambda task: task[0],
    )
    roots = {work.key: np.random.SeedSequence([SEED, zlib.crc32(_twin(work))]) for work in todo}
    seeds = {work.key: roots[work.key].spawn(work.seeds) for work in todo}
    with bar, ProcessPoolExecutor(jobs) as pool:
        waiting = {
            pool.submit(play, work.cell, seeds[work.key][at : at + work.chunk]): (work.key, at)
            for _, work, at in tasks
        }
        progress = bar.add_task("calibrating", total=len(waiting))
        for done in as_completed(waiting):
            key, at = waiting[done]
            raw.add(key, at, done.result())
            bar.update(progress, advance=1, description=key[:60])
    raw.save()


class Raw:
    """Results by cell and first seed of the part, kept in a file while they arrive."""

    def __init__(self, path: Path, *, resume: bool) -> None:
        self._path = path
        self._saved = 0.0
        self.parts: dict[str, dict[int, list[Any]]] = {}
        if resume and path.exists():
            found = json.loads(path.read_text())["parts"]
            self.parts = {
                key: {int(at): part for at, part in parts.items()} for key, parts in found.items()
            }

    def add(self, key: str, at: int, part: list[Any]) -> None:
        """Keep one part; written to the file every ten seconds."""
        self.parts.setdefault(key, {})[at] = part
        if time.monotonic() - self._saved > 10.0:
            self.save()

    def save(self) -> None:
        """Write everything so far."""
        self._saved = time.monotonic()
        head = {"date": datetime.now(UTC).date().isoformat(), "seed": SEED}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps({"head": head, "parts": self.parts}))


def cells(raw: Mapping[str, Any], asked: list[Work]) -> dict[str, list[Any]]:
    """The runs of every cell that was asked for, in the order of their seeds."""
    parts = raw["parts"]
    return {
        work.key: [
            one
            for at in sorted(parts[work.key], key=int)
            if int(at) < work.seeds
            for one in parts[work.key][at]
        ]
        for work in asked
        if work.key in parts
    }


def main() -> None:
    """Parse the command line, simulate, keep the raw results, write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.calibration", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the runs, e.g. 0.1")
    parser.add_argument("--only", default="", help="cells whose key begins like this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "calibration.md")
    parser.add_argument("--raw", type=Path, default=ROOT / ".work" / "calibration.json")
    parser.add_argument("--resume", action="store_true", help="keep the runs that --raw has")
    parser.add_argument("--render", action="store_true", help="only write the page from --raw")
    asked = parser.parse_args()
    todo = works(asked.scale, asked.only)
    if not asked.render:
        raw = Raw(asked.raw, resume=asked.resume)
        simulate(todo, asked.jobs, raw)
    from tests.calibration.report import write

    found = json.loads(asked.raw.read_text())
    write(found["head"], cells(found, todo), asked.output)
    print(f"wrote {asked.output}")


if __name__ == "__main__":
    main()
