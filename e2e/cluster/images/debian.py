"""A program out of a Debian package of the base image's release; nothing is installed anywhere."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

from e2e.cluster.images.base import MIRROR, SUITE, run_mmdebstrap


def fetch_program(package: str, target: Path) -> None:
    """Write the program of a package, which is called like it, to `target`.

    Raises:
        ClusterError: the package cannot be had.
    """
    files = target.with_name(f"{target.name}.tar")
    mirror = os.environ.get(MIRROR)
    run_mmdebstrap(
        [
            *("mmdebstrap", "--quiet", "--variant=extract", f"--include={package}"),
            *(SUITE, str(files)),
            *([mirror] if mirror else []),
        ]
    )
    with tarfile.open(files) as archive:
        member = next(m for m in archive if m.isfile() and m.name.endswith(f"/bin/{package}"))
        source = archive.extractfile(member)
        assert source is not None
        with target.open("wb") as out:
            shutil.copyfileobj(source, out)
    target.chmod(0o755)
    files.unlink()
