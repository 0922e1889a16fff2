"""How much memory an instance uses, its containers included."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from . import process
from .registry import Level, Record


@dataclass(frozen=True)
class Memory:
    """Bytes. `rss` counts shared pages once per process, `pss` once in all."""

    rss: int
    pss: int


def parse(rollup: str) -> Memory:
    """Read the text of a `smaps_rollup` file."""
    found = {"Rss:": 0, "Pss:": 0}
    for line in rollup.splitlines():
        fields = line.split()
        if fields and fields[0] in found:
            found[fields[0]] = int(fields[1]) * 1024
    return Memory(found["Rss:"], found["Pss:"])


def of(record: Record) -> Memory:
    """Of all processes of an instance, now."""
    if record.level is Level.FULL:
        space = process.namespace(record.shepherd_pid, "pid")
        pids = process.in_namespace(space, "pid") if space else []
    else:
        pids = list(process.marked(record.folder))
    rss = pss = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            used = parse(Path(f"/proc/{pid}/smaps_rollup").read_text())
            rss, pss = rss + used.rss, pss + used.pss
    return Memory(rss, pss)
