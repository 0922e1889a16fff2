"""What can be done with any cluster, whoever started it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from .errors import ClusterError


class Access:
    """A kubeconfig and the programs to use it with.

    Attributes:
        name: for messages.
        kubeconfig: an administrator's.
        url: of the API server.
        ca, client_cert, client_key: files; None where the kubeconfig authenticates in another way.
    """

    def __init__(
        self,
        name: str,
        *,
        kubeconfig: Path,
        kubectl_command: Sequence[str | Path],
        url: str,
        ca: Path | None,
        client_cert: Path | None,
        client_key: Path | None,
        cache: Path,
    ) -> None:
        self.name = name
        self.kubeconfig = kubeconfig
        self.url = url
        self._ca = ca
        self._client_cert = client_cert
        self._client_key = client_key
        self._kubectl = [str(part) for part in kubectl_command]
        self._cache = cache

    @property
    def ca(self) -> Path:
        return self._need(self._ca, "CA file")

    @property
    def client_cert(self) -> Path:
        return self._need(self._client_cert, "client certificate")

    @property
    def client_key(self) -> Path:
        return self._need(self._client_key, "client key")

    def _need(self, path: Path | None, what: str) -> Path:
        if path is None:
            raise ClusterError(f"cluster {self.name!r}: its kubeconfig has no {what}")
        return path

    def environment(self, kubeconfig: Path | None = None) -> dict[str, str]:
        """Environment variables for programs that shall use this cluster."""
        return {
            **os.environ,
            "KUBECONFIG": str(kubeconfig or self.kubeconfig),
            "KUBECACHEDIR": str(self._cache),
            # A proxy of the machine leads away from a cluster on the machine.
            "NO_PROXY": "*",
            "no_proxy": "*",
        }

    def kubectl_command(self, *args: str | Path) -> list[str]:
        return [*self._kubectl, *map(str, args)]

    def kubectl(
        self,
        *args: str | Path,
        stdin: str | None = None,
        timeout: float = 60,
        kubeconfig: Path | None = None,
    ) -> str:
        """Run kubectl and return what it printed.

        Args:
            args: of kubectl.
            stdin: text to feed it.
            timeout: seconds.
            kubeconfig: another person's, see `kubeconfig_for`.

        Raises:
            ClusterError: it failed or took too long; the message carries its complaint.
        """
        command = self.kubectl_command(*args)
        try:
            done = subprocess.run(
                command,
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
                env=self.environment(kubeconfig),
            )
        except subprocess.TimeoutExpired:
            raise ClusterError(
                f"kubectl {' '.join(map(str, args))}: no end after {timeout:.0f} s"
            ) from None
        if done.returncode != 0:
            raise ClusterError(f"kubectl {' '.join(map(str, args))}: {done.stderr.strip()}")
        return done.stdout

    def get(self, *args: str) -> dict[str, Any]:
        """`kubectl get ARGS -o json`, parsed."""
        return dict(json.loads(self.kubectl("get", *args, "-o", "json")))

    def apply(
        self,
        source: Path | str | Mapping[str, Any] | Iterable[Mapping[str, Any]],
        *,
        server_side: bool = True,
    ) -> str:
        """`kubectl apply` of a file or folder, or of manifests given as dicts."""
        flags = ["apply", *(["--server-side", "--force-conflicts"] if server_side else [])]
        if isinstance(source, str | Path):
            return self.kubectl(*flags, "-f", source)
        manifests = [source] if isinstance(source, Mapping) else list(source)
        text = yaml.safe_dump_all([dict(m) for m in manifests], sort_keys=False)
        return self.kubectl(*flags, "-f", "-", stdin=text)
