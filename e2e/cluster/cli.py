"""`python -m e2e.cluster`: see README.md."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from . import build, memory, packages, registry, removal
from .cluster import Cluster
from .connection import connect
from .controlplane import ControlPlane
from .errors import ClusterError
from .instance import Instance
from .progress import Progress
from .registry import Level

DEFAULT_NAME = "default"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python -m e2e.cluster", description="A real Kubernetes cluster for tests."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    add("prepare", "install Debian packages and Go, where missing")
    one = add("build", "compile the programs into the cache")
    one.add_argument("group", nargs="?", choices=["kube", "stack"], default="stack")
    one = add("up", "start a cluster that stays until `down`")
    one.add_argument("--name", default=DEFAULT_NAME)
    one.add_argument("--level", type=Level, choices=list(Level), default=Level.FULL)
    one.add_argument("--bare", action="store_true", help="full, without images and add-ons")
    one.add_argument("--gpus", default="Tesla-T4=2", metavar="PRODUCT=N", help="of the node")
    one.add_argument("--keep", action="store_true", help="do not tear down what failed")
    one = add("down", "remove clusters")
    one.add_argument("--name", default=DEFAULT_NAME)
    one.add_argument("--all", action="store_true")
    add("status", "list clusters, with the memory they use")
    one = add("load", "bring image archives into a cluster")
    one.add_argument("--name", default=DEFAULT_NAME)
    one.add_argument("archives", nargs="+", type=Path, metavar="ARCHIVE")
    one = add("kubectl", "run kubectl on a cluster: all other arguments are its own")
    one.add_argument("--name")
    one = add("kubeconfig", "print the path of a kubeconfig")
    one.add_argument("--name")
    one.add_argument("--user", help="another person than the administrator")
    one.add_argument("--group", action="append", default=[], help="of that person; repeatable")
    add("gc", "remove what killed runs left behind")
    return top


def up(args: argparse.Namespace, progress: Progress) -> None:
    """Start, install, and say how to go on; undo everything when interrupted."""
    cluster = _start(args, progress)
    try:
        if args.level is Level.FULL and not args.bare:
            from . import addons

            assert isinstance(cluster, Cluster)
            # Killed from here on, it counts as left behind.
            cluster.instance.mark_ready(False)
            addons.install(cluster, progress=progress, gpus=_gpus(args.gpus))
            cluster.instance.mark_ready()
    except BaseException:
        if args.keep:
            cluster.instance.mark_ready()
        else:
            with progress.phase("Tear down"):
                cluster.stop()
        raise
    print(f"export KUBECONFIG={cluster.kubeconfig}")


def _start(args: argparse.Namespace, progress: Progress) -> Cluster | ControlPlane:
    if args.level is Level.CONTROL_PLANE:
        return ControlPlane.start(args.name, attached=False, keep=args.keep, progress=progress)
    if args.bare:
        gpus = _gpus(args.gpus)
        return Cluster.start(
            args.name, gpus=gpus, attached=False, keep=args.keep, progress=progress
        )
    from . import coldstart

    return Cluster.start(
        args.name,
        images=coldstart.make_ready(progress),
        attached=False,
        keep=args.keep,
        progress=progress,
    )


def _gpus(text: str) -> dict[str, int]:
    product, _, count = text.partition("=")
    if not product or not count.isdigit():
        raise ClusterError(f"--gpus: not PRODUCT=NUMBER; got {text[:40]!r}; e.g. Tesla-T4=2")
    return {product: int(count)}


def down(args: argparse.Namespace, progress: Progress) -> None:
    """Remove one or all clusters, and orphans."""
    names = registry.names() if args.all else [args.name]
    for name in names:
        record = registry.load(name)
        if record is not None:
            with progress.phase(f"Remove {name}"):
                Instance(record).destroy()
        elif not args.all:
            raise ClusterError(f"instance {name!r} does not exist")
    removal.collect(progress)


def status() -> None:
    """One line a cluster."""
    rows = [("NAME", "LEVEL", "STATE", "MEMORY", "KUBECONFIG")]
    for name in registry.names():
        record = registry.load(name)
        if record is None:
            rows.append((name, "?", "broken", "-", "-"))
            continue
        orphan = registry.is_orphan(record)
        state = "orphan" if orphan else "running" if record.ready else "starting"
        used = "-" if orphan else f"{memory.of(record).pss / 1e6:.0f} MB"
        rows.append((name, record.level, state, used, str(record.folder / "admin.kubeconfig")))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def load(args: argparse.Namespace) -> None:
    """Docker or OCI archives into the containerd of a full cluster."""
    cluster = connect(args.name)
    if not isinstance(cluster, Cluster):
        raise ClusterError(f"instance {args.name!r}: a control plane runs no images")
    cluster.import_images(args.archives)


def kubectl(args: argparse.Namespace, arguments: Sequence[str]) -> None:
    """Become kubectl."""
    cluster = connect(args.name)
    command = cluster.kubectl_command(*arguments)
    os.execve(command[0], command, cluster.environment())


def kubeconfig(args: argparse.Namespace) -> Path:
    cluster = connect(args.name)
    return cluster.kubeconfig_for(args.user, args.group) if args.user else cluster.kubeconfig


def run(argv: Sequence[str] | None) -> None:
    args, rest = parser().parse_known_args(argv)
    if rest and args.command != "kubectl":
        parser().error(f"unknown argument: {rest[0]}")
    progress = Progress()
    match args.command:
        case "prepare":
            packages.prepare(progress)
        case "build":
            for path in build.binaries(args.group, progress=progress).built.values():
                print(path)
        case "up":
            up(args, progress)
        case "down":
            down(args, progress)
        case "status":
            status()
        case "load":
            load(args)
        case "kubectl":
            kubectl(args, rest)
        case "kubeconfig":
            print(kubeconfig(args))
        case "gc":
            removal.collect(progress)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    # The same tidy end for both; a SIGKILL is what `gc` is for.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        run(argv)
    except ClusterError as why:
        print(f"error: {why}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0
