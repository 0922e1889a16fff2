"""The cgroup below which the kubelet of an instance keeps its pods, in every hierarchy."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from .errors import ClusterError

MOUNTINFO = Path("/proc/self/mountinfo")


@dataclass(frozen=True)
class Hierarchy:
    """A mounted cgroup tree: version 1 (one or more controllers) or 2."""

    mount: Path
    version: int

    @property
    def controllers(self) -> list[str]:
        """Controllers that children of a version 2 root can be given."""
        if self.version == 1:
            return []
        with contextlib.suppress(OSError):
            return (self.mount / "cgroup.controllers").read_text().split()
        return []


def parse(mountinfo: str) -> list[Hierarchy]:
    """The cgroup hierarchies in the text of a mountinfo file."""
    found = {}
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind = right.split()[0] if right else ""
        if kind in {"cgroup", "cgroup2"}:
            mount = Path(left.split()[4])
            found[mount] = Hierarchy(mount, 2 if kind == "cgroup2" else 1)
    return list(found.values())


def hierarchies() -> list[Hierarchy]:
    return parse(MOUNTINFO.read_text())


def create(scope: str) -> None:
    """Make `scope` in every hierarchy, usable by a kubelet.

    Raises:
        ClusterError: there is no cgroup file system, or it cannot be written.
    """
    trees = hierarchies()
    if not trees:
        raise ClusterError("no cgroup file system is mounted; the kubelet needs one")
    for tree in trees:
        folder = tree.mount / scope
        try:
            if tree.controllers:
                _delegate(tree.mount, tree.controllers)
            folder.mkdir(exist_ok=True)
            if tree.controllers:
                _delegate(folder, tree.controllers)
            # A new cpuset of version 1 is empty, and no process may enter an empty one.
            for name in ("cpuset.cpus", "cpuset.mems"):
                if tree.version == 1 and (folder / name).exists():
                    (folder / name).write_text((tree.mount / name).read_text())
        except OSError as why:
            raise ClusterError(f"{folder}: cannot make this cgroup: {why.strerror}") from why


def _delegate(folder: Path, controllers: list[str]) -> None:
    have = (folder / "cgroup.subtree_control").read_text().split()
    for controller in controllers:
        if controller not in have:
            # Some controllers cannot be delegated everywhere; the kubelet names those it misses.
            with contextlib.suppress(OSError):
                (folder / "cgroup.subtree_control").write_text(f"+{controller}")


def remove(scope: str) -> list[Path]:
    """Remove `scope` and everything below it, deepest first; returns what would not go."""
    stuck = []
    for tree in hierarchies():
        top = tree.mount / scope
        for folder, _, _ in os.walk(top, topdown=False):
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                pass
            except OSError:
                stuck.append(Path(folder))
    return stuck


def processes(scope: str) -> set[int]:
    """All processes below `scope` in any hierarchy."""
    out = set()
    for tree in hierarchies():
        for folder, _, _ in os.walk(tree.mount / scope):
            with contextlib.suppress(OSError):
                out |= {int(p) for p in (Path(folder) / "cgroup.procs").read_text().split()}
    return out


def scopes(prefix: str) -> set[str]:
    """Names of all top-level cgroups that begin with `prefix`."""
    return {p.name for t in hierarchies() for p in t.mount.glob(prefix + "*") if p.is_dir()}
