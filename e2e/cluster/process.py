"""Facts about processes, read from /proc."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

MARKER = "MODELHANDOFF_INSTANCE"
"""Environment variable that every process the tool starts carries: the instance's folder."""


def start_time(pid: int) -> int | None:
    """Ticks since boot when `pid` started; with the pid it names one process for ever.

    None: there is no such process, or only its zombie.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    if fields[0] in {"Z", "X"}:
        return None
    return int(fields[19])


def is_alive(pid: int, started: int) -> bool:
    """Whether exactly that process still runs (a zombie does not)."""
    return pid > 0 and start_time(pid) == started


def all_pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def namespace(pid: int, kind: str) -> str | None:
    """An identifier of the namespace of `kind` (`pid`, `net`, `mnt`) that `pid` is in."""
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}")
    except OSError:
        return None


@contextlib.contextmanager
def held_namespace(pid: int, kind: str) -> Iterator[str]:
    """The identifier of a namespace, kept from being given to a new one meanwhile.

    Raises:
        OSError: no such process, or no right to look.
    """
    handle = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield os.readlink(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)


def in_namespace(identifier: str, kind: str) -> list[int]:
    """All processes in that namespace."""
    return [pid for pid in all_pids() if namespace(pid, kind) == identifier]


def outer_pids(inner: str) -> dict[int, int]:
    """For the pid namespace `inner`: its own pids -> the pids the caller sees."""
    out = {}
    for pid in in_namespace(inner, "pid"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("NSpid:"):
                    out[int(line.split()[-1])] = pid
    return out


def marked(folder: Path) -> Iterator[int]:
    """Processes whose environment says that they belong to the instance in `folder`."""
    wanted = f"{MARKER}={folder}".encode()
    for pid in all_pids():
        if pid == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                yield pid


def kill_and_wait(pids: list[int], timeout: float = 10.0) -> list[int]:
    """SIGKILL the processes and wait until they are gone; returns those that are not."""
    known = {pid: start_time(pid) for pid in pids}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    return wait_gone({p: s for p, s in known.items() if s is not None}, timeout)


def wait_gone(processes: dict[int, int], timeout: float = 10.0) -> list[int]:
    """Wait until none of `{pid: start time}` runs; returns the pids that still do."""
    deadline = time.monotonic() + timeout
    while True:
        left = [pid for pid, started in processes.items() if is_alive(pid, started)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.01)
