"""Files of volumes that the pod mounts: regular files of the volume itself, and nothing else."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from modelhandoff.api.addresses import CONFIG_MAP, Mounted
from modelhandoff.verify.access import Access, Unavailable


@contextmanager
def opened_in(where: Mounted, access: Access) -> Iterator[BinaryIO]:
    """A file of a claim or a ConfigMap.

    Raises:
        Unavailable: it is not there, leads out of its volume, or is no regular file.
    """
    is_key = where.scheme == CONFIG_MAP
    root = (access.configmaps if is_key else access.claims) / where.name
    with _regular(_inside(root, where, is_key)) as file:
        yield file


@contextmanager
def opened_file(path: Path) -> Iterator[BinaryIO]:
    """A file by its path.

    Raises:
        Unavailable: it is not there, or is no regular file.
    """
    with _regular(path) as file:
        yield file


def _inside(root: Path, where: Mounted, is_key: bool) -> Path:
    """The file behind all links, none of which may lead out of the volume."""
    try:
        found = (root / where.path).resolve(strict=True)
    except RuntimeError:
        raise Unavailable("links in a circle", transient=False) from None
    except OSError as error:
        # The kubelet is told to mount a ConfigMap that is missing as an empty folder.
        said = (
            f"there is no ConfigMap {where.name} with a key {where.path} in this namespace"
            if is_key
            else f"claim {where.name} has no file {where.path}: {error.strerror}"
        )
        raise Unavailable(said, transient=False) from None
    if not found.is_relative_to(root.resolve()):
        raise Unavailable(f"{where.path} is a link that leads out of its volume", transient=False)
    return found


@contextmanager
def _regular(path: Path) -> Iterator[BinaryIO]:
    """Open without following a link that appeared since, and without waiting for a pipe."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}", transient=False) from None
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise Unavailable(f"{path}: not a regular file", transient=False)
    with os.fdopen(number, "rb") as file:
        yield file
