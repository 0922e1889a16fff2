"""A containerd folder with images in it, made once and cloned by hard links.

Importing a few hundred megabytes of images unpacks tens of thousands of files, and takes longer
than everything else that a start does. Unpacked layers never change: containers write into folders
of their own. So one folder is filled once per set of archives, and every instance gets a copy whose
files are links.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import build, paths, pauseimage
from .errors import ClusterError
from .node import containerd_configuration
from .process import children
from .progress import SILENT, Progress

KEPT = 3
"""Stores of earlier sets of archives that stay; each is as large as its unpacked images."""


def key(archives: Sequence[Path]) -> str:
    """Names a set of archives by name, size and time of change: reading them would take seconds."""
    facts = sorted(f"{p.name}\0{p.stat().st_size}\0{p.stat().st_mtime_ns}" for p in archives)
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:16]


def make(images: Sequence[Path], target: Path, progress: Progress = SILENT) -> None:
    """Make the containerd folder `target` with the archives' images and the sandbox image.

    Raises:
        ClusterError: containerd refused an archive, or the copy failed.
    """
    folder = paths.home() / "stores"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as handle:
        # Held while cloning too: another process may want to forget the very store.
        fcntl.flock(handle, fcntl.LOCK_EX)
        archives = [_pause(folder), *images]
        store = folder / key(archives)
        if not store.exists():
            with progress.phase(f"Unpack {len(archives)} image archives, once"):
                draft = folder / ".new"
                if draft.exists():
                    shutil.rmtree(draft)
                _fill(draft, archives)
                draft.rename(store)
        os.utime(store)
        _forget(folder, store)
        clone(store, target)


def _pause(folder: Path) -> Path:
    program = build.binaries("kube").pause
    target = folder / f"{program.parent.name}.tar"
    if not target.exists():
        pauseimage.write(program, target)
    return target


def _forget(folder: Path, newest: Path) -> None:
    stores = [p for p in folder.iterdir() if p.is_dir() and p != newest and p.name[0] != "."]
    stores.sort(key=lambda p: p.stat().st_mtime, reverse=True)
    for old in stores[KEPT:]:
        shutil.rmtree(old)


def _fill(root: Path, archives: Sequence[Path]) -> None:
    with _containerd(root) as ctr:
        for archive in archives:
            done = subprocess.run(
                [*ctr, "images", "import", str(archive)],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise ClusterError(f"{archive}: import failed: {done.stderr.strip()[-600:]}")


@contextlib.contextmanager
def _containerd(root: Path) -> Iterator[list[str]]:
    """A containerd on `root` that runs no containers; gives the command of its client."""
    work = paths.home() / "stores" / ".work"
    if work.exists():
        shutil.rmtree(work)
    work.mkdir()
    (work / "config.toml").write_text(containerd_configuration(work, root))
    log = work / "log"
    # In namespaces of its own, ended with its parent: unpacking mounts each layer for a moment.
    script = (
        "mkdir -p /run/containerd; mount -t tmpfs tmpfs /run/containerd; "
        f"exec containerd --config {work}/config.toml"
    )
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with open(log, "wb") as out:
        process = subprocess.Popen([*command, "sh", "-ec", script], stdout=out, stderr=out)
    ctr = ["ctr", "--address", f"{work}/containerd.sock", "--namespace", "k8s.io"]
    try:
        deadline = time.monotonic() + 30
        while subprocess.run([*ctr, "version"], capture_output=True, check=False).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
                raise ClusterError(f"containerd did not start:\n{tail}")
            time.sleep(0.05)
        yield ctr
    finally:
        _end(process)
    shutil.rmtree(work)


def _end(unshare: subprocess.Popen[bytes]) -> None:
    """Stop containerd so that its databases are complete: SIGTERM is for it, not for `unshare`."""
    for child in children(unshare.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
    try:
        unshare.wait(10)
    except subprocess.TimeoutExpired:
        unshare.kill()
        unshare.wait()


def clone(store: Path, target: Path) -> None:
    """Copy a store: databases as such, everything else, which never changes, as hard links.

    Raises:
        ClusterError: the copy failed, e.g. because the folders are on different file systems.
    """
    done = subprocess.run(
        ["cp", "-al", str(store), str(target)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ClusterError(f"cannot clone {store}: {done.stderr.strip()[-400:]}")
    for database in target.rglob("*.db"):
        original = store / database.relative_to(target)
        database.unlink()
        shutil.copy2(original, database)
