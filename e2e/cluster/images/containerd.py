"""A containerd folder with all images unpacked; clusters start from a copy made of hard links.

Importing all images into an empty containerd takes half a minute of unpacking, and each cluster
would hold a copy of its own. Files of images are only ever read, as lower layers and as blobs, so
clusters can share them; only the two small databases are copied.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from e2e.cluster.errors import ClusterError

_CONFIG = """\
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = [
  "io.containerd.grpc.v1.cri",
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.native",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "{state}/containerd.sock"
[ttrpc]
  address = "{state}/containerd.sock.ttrpc"
"""


def link_root(source: Path, target: Path) -> None:
    """Make `target` a containerd folder with the images of `source`, which no containerd may use.

    Raises:
        ClusterError: they lie on different file systems, or `target` exists.
    """
    try:
        shutil.copytree(source, target, symlinks=True, copy_function=_copy_or_link)
    except shutil.Error as error:
        raise ClusterError(
            f"{target}: cannot be made from {source}: {error.args[0][0][2]}"
        ) from error


def _copy_or_link(source: str, target: str) -> None:
    if source.endswith(".db"):
        shutil.copy2(source, target)
    else:
        os.link(source, target, follow_symlinks=False)


class Containerd:
    """A containerd of our own on `root`, as long as a `with` block; it runs no containers."""

    def __init__(self, root: Path, socket: Path) -> None:
        self._root = root
        self._socket = socket

    @classmethod
    @contextlib.contextmanager
    def running(cls, root: Path) -> Iterator[Containerd]:
        """Start it, wait until it answers, end it.

        Raises:
            ClusterError: it did not start.
        """
        with tempfile.TemporaryDirectory(prefix="containerd-") as state:
            config = Path(state) / "config.toml"
            config.write_text(_CONFIG.format(root=root, state=state))
            log = Path(state) / "log"
            with log.open("w") as out:
                process = subprocess.Popen(
                    # Its mounts while it unpacks end with it.
                    ["unshare", "--mount", "containerd", "--config", str(config)],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            try:
                self = cls(root, Path(state) / "containerd.sock")
                self._wait(process, log)
                yield self
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def ctr(self, *arguments: str) -> str:
        """Run containerd's client in the kubelet's namespace; its output."""
        done = self._run(arguments)
        if done.returncode:
            raise ClusterError(f"ctr {' '.join(arguments)}: {done.stderr.strip()[-600:]}")
        return done.stdout

    def import_images(self, paths: list[Path]) -> None:
        """Import image archives and unpack them."""
        for path in paths:
            self.ctr("images", "import", str(path))

    def _run(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        command = ["ctr", "--address", str(self._socket), "--namespace", "k8s.io", *arguments]
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def _wait(self, process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + 20
        while self._run(["version"]).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join(log.read_text().splitlines()[-10:])
                raise ClusterError(f"containerd does not start:\n{tail}")
            time.sleep(0.05)
