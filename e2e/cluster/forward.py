"""A Service of a cluster whose addresses this machine does not reach: by `kubectl port-forward`."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence

from .errors import ClusterError

_FROM = re.compile(rb"Forwarding from 127\.0\.0\.1:(\d+) ")
# Whoever asked may be killed; nobody else would end it then. Where this is missing it stays.
_WITH_US = ("setpriv", "--pdeathsig", "TERM")


class Forward:
    """One port of a Service at a port of the loopback interface, until it is stopped.

    The kernel ends it with the thread that made it: make it in one that stays.

    Attributes:
        address: `127.0.0.1:PORT`.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], timeout: float = 30
    ) -> None:
        """Start it and wait until it listens.

        Args:
            command: `kubectl port-forward` with its target and `:PORT`.
            environment: that names the cluster.
            timeout: seconds.

        Raises:
            ClusterError: kubectl ended, or did not listen in time.
        """
        # A file, not a pipe: a line for every connection follows, and nobody reads them.
        with tempfile.TemporaryFile() as said:
            self._process = subprocess.Popen(
                [*(_WITH_US if shutil.which(_WITH_US[0]) else ()), *command],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
            deadline = time.monotonic() + timeout
            while True:
                ended = self._process.poll() is not None
                said.seek(0)
                words = said.read()
                if found := _FROM.search(words):
                    self.address = f"127.0.0.1:{int(found[1])}"
                    return
                if ended or time.monotonic() > deadline:
                    break
                time.sleep(0.05)
        self.stop()
        why = words.decode("utf-8", "replace").strip()[-400:] or f"silent for {timeout:.0f} s"
        raise ClusterError(f"{' '.join(command)}: {why}")

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()
