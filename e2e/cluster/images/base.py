"""The base image: the smallest Debian with Python, made by mmdebstrap from a package mirror."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from e2e.cluster.errors import ClusterError
from e2e.cluster.images.catalogue import BASE_PACKAGES
from e2e.cluster.images.keys import key

SUITE = "bookworm"
MIRROR = "MODELHANDOFF_DEBIAN_MIRROR"
"""Names the address of a Debian mirror."""
UNUSED = ("doc", "man", "info", "locale", "lintian")
"""Folders of /usr/share that no container reads."""


def mmdebstrap_command(target: Path, mirror: str | None) -> list[str]:
    """The command that writes the root file system as a tar to `target`.

    Args:
        target: file to write.
        mirror: address of a Debian mirror; None lets mmdebstrap choose its default.
    """
    return [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={','.join(BASE_PACKAGES)}",
        *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in UNUSED),
        # The image must name neither the mirror nor the resolver of the machine that made it.
        '--customize-hook=rm -f "$1"/etc/apt/sources.list.d/* && : > "$1/etc/apt/sources.list"',
        '--customize-hook=: > "$1/etc/resolv.conf" && : > "$1/etc/hostname"',
        '--customize-hook=rm -rf "$1"/var/log/* "$1"/var/cache/ldconfig/*',
        SUITE,
        str(target),
        *([mirror] if mirror else []),
    ]


def base_key() -> str:
    """Changes with what goes into the base image, not with the mirror it comes from."""
    return key(*mmdebstrap_command(Path("base.tar"), None))


def make_rootfs(target: Path) -> None:
    """Write the root file system as a tar.

    Raises:
        ClusterError: mmdebstrap is missing or failed; the message has its last lines.
    """
    partial = target.with_name(f"partial-{target.name}")
    partial.unlink(missing_ok=True)
    try:
        run_mmdebstrap(mmdebstrap_command(partial, os.environ.get(MIRROR)))
    except ClusterError:
        partial.unlink(missing_ok=True)
        raise
    partial.rename(target)


def run_mmdebstrap(command: list[str]) -> None:
    """Run it.

    Raises:
        ClusterError: it is missing or failed; the message has its last lines.
    """
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise ClusterError(
            "mmdebstrap is not installed; run: python -m e2e.cluster prepare"
        ) from error
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-15:])
        raise ClusterError(f"mmdebstrap failed; are Debian's packages reachable?\n{tail}")
