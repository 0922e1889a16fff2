"""From a fresh machine to everything a cluster needs, side by side where that helps."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import build, packages
from .progress import Progress


def make_ready(progress: Progress) -> list[Path]:
    """Packages, compiled programs, images. Warm it costs a second; cold, what compiling takes.

    Compiling keeps the processors busy; the base image and Python wheels mostly wait for downloads.
    So images that hold nothing compiled are built meanwhile.

    Returns:
        Image archives for `Cluster.start(images=...)`.

    Raises:
        ClusterError: a step failed.
    """
    packages.prepare(progress)
    from . import images

    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(images.build, images.NOT_COMPILED, progress=progress)
        build.binaries("stack", progress=progress)
        early.result()
    return images.build_all(progress)
