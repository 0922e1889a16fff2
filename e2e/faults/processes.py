"""The processes of a pod, seen from the machine that the node runs on."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

Raw = dict[str, Any]


def processes(pod: Raw, command: str) -> list[int]:
    """Process ids of a pod's processes whose command line contains ``command``.

    The kernel knows the pod by its cgroup, so that nobody else's process is ever meant.
    """
    uid = pod["metadata"]["uid"]
    marks = (f"pod{uid}", f"pod{uid.replace('-', '_')}")
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            cgroup = (folder / "cgroup").read_text()
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if command in line and any(mark in cgroup for mark in marks):
            found.append(int(folder.name))
    return found


def send(pod: Raw, command: str, number: signal.Signals) -> None:
    """Send a signal to them; AssertionError when there is none."""
    found = processes(pod, command)
    assert found, f"pod {pod['metadata']['name']} has no process {command!r}"
    for pid in found:
        os.kill(pid, number)
