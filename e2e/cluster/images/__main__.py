"""Build, list, pack and load images from a shell; `python -m e2e.cluster.images --help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from e2e.cluster import images
from e2e.cluster.errors import ClusterError
from e2e.cluster.images.builder import Builder
from e2e.cluster.progress import Progress


def main(arguments: list[str]) -> int:
    """Run one command; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster.images", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="build what is out of date")
    build.add_argument("names", nargs="*", default=list(images.ALL), metavar="NAME")
    build.add_argument("--programs", type=Path, help="folder with the compiled programs")
    commands.add_parser("list", help="print references by digest")
    commands.add_parser("archive", help="write one archive of all images, print its path")
    context = commands.add_parser("context", help="write a build context for any builder")
    context.add_argument("name", choices=images.ALL)
    context.add_argument("folder", type=Path)
    load = commands.add_parser("load", help="import into a running cluster what it lacks")
    load.add_argument("names", nargs="*", default=list(images.ALL), metavar="NAME")
    load.add_argument("--cluster", default=None, help="instance name")
    given = parser.parse_args(arguments)
    try:
        _run(given)
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _run(given: argparse.Namespace) -> None:
    progress = Progress()
    match given.command:
        case "build":
            programs = None
            if given.programs:
                programs = {p.name: p for p in given.programs.iterdir()}
            for reference in images.build(
                given.names, programs=programs, progress=progress
            ).values():
                print(reference)
        case "list":
            for name in images.ALL:
                print(images.image_ref(name))
        case "archive":
            print(images.write_archive())
        case "context":
            builder = Builder(images.cache(), images.REPOSITORY, progress)
            programs = {} if given.name in images.NOT_COMPILED else images.compiled()
            arguments = builder.write_context(given.name, given.folder, programs)
            flags = " ".join(f"--build-arg {n}={v}" for n, v in arguments.items())
            print(f"docker build --build-arg BASE=IMAGE {flags} {given.folder}")
        case "load":
            from e2e.cluster import Cluster, connect

            cluster = connect(given.cluster)
            if not isinstance(cluster, Cluster):
                raise ClusterError("load: the cluster has no containerd of ours")
            for reference in images.load(cluster, given.names).values():
                print(reference)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
