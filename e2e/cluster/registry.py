"""Which instances exist, and which of them have lost their owner.

One folder with a `record.json` per instance. A record is written before the first thing that it
describes is made, so whatever a killed run left behind can be found from it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from . import network, paths, process
from .addresses import Addresses, allocate
from .errors import ClusterError

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?")


class Level(StrEnum):
    """How much of a cluster runs."""

    CONTROL_PLANE = "control-plane"
    FULL = "full"


@dataclass(frozen=True)
class Record:
    """What must be known to use an instance and to remove it."""

    name: str
    level: Level
    index: int
    block: int
    attached: bool
    owner_pid: int
    owner_started: int
    shepherd_pid: int = 0
    shepherd_started: int = 0
    ready: bool = False

    @property
    def addresses(self) -> Addresses:
        return Addresses(self.index, self.block)

    @property
    def folder(self) -> Path:
        return paths.instances_dir() / self.name

    @property
    def scope(self) -> str:
        """Name of its network namespace and of its cgroup."""
        return network.PREFIX + self.name

    @property
    def veth(self) -> str:
        return f"{network.PREFIX}{self.index}"


def is_orphan(record: Record, alive: Callable[[int, int], bool] = process.is_alive) -> bool:
    """Whether nobody can want this instance any more.

    Attached, or not yet complete: its owner is gone. Otherwise: its shepherd is gone,
    so nothing of it runs.
    """
    owner = alive(record.owner_pid, record.owner_started)
    shepherd = alive(record.shepherd_pid, record.shepherd_started)
    if record.attached or not record.ready:
        return not owner
    return not shepherd


def check_name(name: str) -> str:
    """Return `name` when an instance may have it.

    Raises:
        ClusterError: it may not.
    """
    if not _NAME.fullmatch(name):
        raise ClusterError(
            f"name: not usable; got {name[:40]!r}; "
            "allowed 1 to 24 lower-case letters, digits and inner hyphens"
        )
    return name


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """One process at a time creates or removes instances."""
    paths.home().mkdir(parents=True, exist_ok=True)
    with open(paths.home() / "lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def names() -> list[str]:
    """Names of all instance folders, sorted; also of broken ones."""
    folder = paths.instances_dir()
    return sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []


def load(name: str) -> Record | None:
    """The record of an instance; None when it has none (or an unreadable one)."""
    try:
        raw = json.loads((paths.instances_dir() / name / "record.json").read_text())
        return Record(**{**raw, "level": Level(raw["level"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def records() -> list[Record]:
    return [r for r in map(load, names()) if r is not None]


def save(record: Record) -> Record:
    """Write the record, at once and completely."""
    record.folder.mkdir(parents=True, exist_ok=True)
    draft = record.folder / "record.json.new"
    draft.write_text(json.dumps(dataclasses.asdict(record), indent=1))
    draft.replace(record.folder / "record.json")
    return record


def _port_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def reserve(name: str, level: Level, *, attached: bool) -> Record:
    """Take a name and addresses. Hold `lock` while calling.

    Raises:
        ClusterError: an instance of that name exists, or no addresses are free.
    """
    if (paths.instances_dir() / check_name(name)).exists():
        raise ClusterError(
            f"instance {name!r} exists already; "
            f"remove it with: python -m e2e.cluster down --name {name}"
        )
    longest = len(str(paths.instances_dir() / name / "containerd.sock.ttrpc"))
    if longest > 100:
        raise ClusterError(
            f"{paths.home()}: path too long for the sockets below it; "
            "set MODELHANDOFF_HOME to a shorter one"
        )
    used = {r.index for r in records()}
    if level is Level.FULL:
        # Another user of this machine may keep its records elsewhere.
        if network.PREFIX + name in network.namespaces():
            raise ClusterError(
                f"network namespace {network.PREFIX}{name} exists; choose another name, or run gc"
            )
        used |= network.indexes_in_use()
        addresses = allocate(used, network.routes())
    else:
        addresses = allocate(used, (), port_free=_port_free)
    me = os.getpid()
    return save(
        Record(
            name=name,
            level=level,
            index=addresses.index,
            block=addresses.block,
            attached=attached,
            owner_pid=me,
            owner_started=process.start_time(me) or 0,
        )
    )
