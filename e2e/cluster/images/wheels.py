"""Wheels for the images: locked libraries, our own package, and programs that come as wheels."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from e2e.cluster.errors import ClusterError
from e2e.cluster.images.catalogue import PLATFORMS, PYTHON_VERSION, PythonImage
from e2e.cluster.images.keys import requirements_for

PIP = "pip==26.3"
"""Installs the wheels inside the image; not part of it."""


def locked_requirements(repo: Path, image: PythonImage) -> str:
    """The locked libraries of an image, with hashes, as pip reads them."""
    options = [f"--extra={extra}" for extra in image.extras]
    options += [f"--prune={library}" for library in image.pruned]
    exported = _uv(["export", "--frozen", "--no-dev", "--no-emit-project", *options], repo)
    return requirements_for(exported, python=PYTHON_VERSION)


def download(requirements: Path, folder: Path, *, hashed: bool) -> None:
    """Fetch wheels (never sources) that run on the base image into `folder`.

    Args:
        requirements: a requirements file that names everything: nothing is resolved.
        folder: made when missing; wheels already there are not fetched again.
        hashed: every line carries hashes.
    """
    platforms = [f"--platform={platform}" for platform in PLATFORMS]
    _uv(
        [
            *("tool", "run", PIP, "download", "--quiet", "--no-deps", "--only-binary=:all:"),
            *(f"--python-version={PYTHON_VERSION}", "--implementation=cp", *platforms),
            *(["--require-hashes"] if hashed else []),
            *("--dest", str(folder), "-r", str(requirements)),
        ],
        requirements.parent,
    )


def build_own(repo: Path, folder: Path) -> None:
    """Build the wheel of this project into `folder`, alone there."""
    shutil.rmtree(folder, ignore_errors=True)
    _uv(["build", "--quiet", "--wheel", "--out-dir", str(folder)], repo)


def extract_program(wheels: Path, program: str, target: Path) -> None:
    """Take the one file called `program` out of the one wheel in `wheels`."""
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (n for n in archive.namelist() if n.rpartition("/")[2] == program)
        with archive.open(member) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out)
    target.chmod(0o755)


def _uv(arguments: Sequence[str], folder: Path) -> str:
    uv = shutil.which("uv")
    command = [uv] if uv else [sys.executable, "-m", "uv"]
    done = subprocess.run(
        [*command, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-15:])
        raise ClusterError(f"uv {arguments[0]} failed:\n{tail}")
    return done.stdout
