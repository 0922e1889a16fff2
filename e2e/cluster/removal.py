"""Removing instances: on purpose, and those that a killed run left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

from . import cgroups, network, paths, process, registry
from .errors import ClusterError
from .progress import SILENT, Progress
from .registry import Level, Record


def mounts_below(folder: Path, mountinfo: str | None = None) -> list[str]:
    """Mount points at or below `folder` in the caller's mount namespace, deepest first."""
    text = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
    points = [line.split()[4].replace("\\040", " ") for line in text.splitlines()]
    inside = [p for p in points if p == str(folder) or p.startswith(f"{folder}/")]
    return sorted(inside, key=lambda p: p.count("/"), reverse=True)


def _end_processes(record: Record) -> None:
    inside: set[int] = set()
    shepherd = record.shepherd_pid
    with contextlib.suppress(OSError), process.held_namespace(shepherd, "pid") as theirs:
        # Held first, asked then: now both, the number and the namespace, are the shepherd's.
        if process.is_alive(shepherd, record.shepherd_started):
            inside.add(shepherd)
            if theirs != process.namespace(os.getpid(), "pid"):
                inside |= set(process.in_namespace(theirs, "pid"))
    process.kill_and_wait(sorted(inside))
    # What waits for the shepherd (`unshare`) buries it and then ends by itself. Killed with it, it
    # would leave a zombie to process 1, and not every machine's process 1 buries soon.
    waiting = {pid: process.start_time(pid) for pid in process.marked(record.folder)}
    left = process.wait_gone({p: s for p, s in waiting.items() if s is not None}, timeout=2)
    if record.level is Level.FULL:
        left += cgroups.processes(record.scope)
    left = process.kill_and_wait(sorted(set(left)))
    if left:
        raise ClusterError(f"instance {record.name!r}: processes that do not end: {left}")


def remove(record: Record, *, keep_logs: Path | None = None) -> None:
    """Remove everything that belongs to an instance. Safe to repeat. Hold `registry.lock`.

    Args:
        record: which instance.
        keep_logs: a folder that its logs are moved to.

    Raises:
        ClusterError: something would not go.
    """
    _end_processes(record)
    for point in mounts_below(record.folder):
        subprocess.run(["umount", "-l", point], check=False, capture_output=True)
    if record.level is Level.FULL:
        network.remove(record.scope, record.veth)
        _remove_cgroups(record.scope)
    logs = record.folder / "logs"
    if keep_logs is not None and logs.is_dir():
        shutil.rmtree(keep_logs, ignore_errors=True)
        keep_logs.parent.mkdir(parents=True, exist_ok=True)
        logs.rename(keep_logs)
    _remove_tree(record.folder)


def _remove_cgroups(scope: str) -> None:
    deadline = time.monotonic() + 5
    # The kernel takes a moment to drop a killed process from its cgroup.
    while stuck := cgroups.remove(scope):
        if time.monotonic() > deadline:
            raise ClusterError(f"cgroups that cannot be removed: {', '.join(map(str, stuck[:3]))}")
        time.sleep(0.02)


def _remove_tree(folder: Path) -> None:
    # The record goes last: while anything is left, a later clean-up can still find it.
    if not folder.exists():
        return
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != "record.json":
            entry.unlink()
    shutil.rmtree(folder)


def collect(progress: Progress = SILENT) -> list[str]:
    """Remove all orphans; returns their names. Takes `registry.lock`.

    Orphans are instances whose owner is gone (see `registry.is_orphan`), instance folders without
    a record, and network namespaces, links and cgroups of ours that no record names and no process
    uses.
    """
    with registry.lock():
        gone = collect_recorded(progress)
        if os.geteuid() == 0:
            gone += _collect_nameless({r.scope for r in registry.records()}, progress)
    return gone


def collect_recorded(progress: Progress = SILENT) -> list[str]:
    """Remove the orphans that have a folder. Hold `registry.lock`."""
    gone = []
    for name in registry.names():
        record = registry.load(name)
        if record is None:
            _remove_tree(paths.instances_dir() / name)
            gone.append(name)
        elif registry.is_orphan(record):
            remove(record)
            gone.append(name)
    for name in gone:
        progress.note(f"removed what was left of {name}")
    return gone


def unclaimed(found: set[str], claimed: set[str], busy: set[str]) -> list[str]:
    """Scopes on this machine that no record claims and no process uses."""
    return sorted(found - claimed - busy)


def _collect_nameless(claimed: set[str], progress: Progress) -> list[str]:
    spaces = set(network.namespaces())
    groups = cgroups.scopes(network.PREFIX)
    busy = {s for s in groups if cgroups.processes(s)} | {s for s in spaces if _netns_busy(s)}
    out = unclaimed(spaces | groups, claimed, busy)
    for scope in out:
        # Its link ends with the namespace: deleting one end of a pair deletes the other.
        network.remove(scope, None)
        _remove_cgroups(scope)
        progress.note(f"removed namespace and cgroup {scope}, which no record named")
    return out


def _netns_busy(scope: str) -> bool:
    done = subprocess.run(
        ["ip", "netns", "pids", scope], capture_output=True, text=True, check=False
    )
    return bool(done.stdout.strip())
