"""A cluster that somebody else started, named by $KUBECONFIG: the same object, minus its parts.

Tests create, break and delete things. So a cluster has to look as if that is what it is for.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self
from urllib.parse import urlsplit

import yaml

from . import build, kubeconfig, paths, pki
from .access import Access
from .errors import ClusterError, NotATestCluster
from .forward import Forward

PERMISSION = "MODELHANDOFF_TEST_CLUSTER"
_TEST_CONTEXT = re.compile(rf"(kind|k3d|{kubeconfig.CONTEXT_PREFIX.rstrip('-')})-.+|minikube(-.+)?")


@dataclass(frozen=True)
class Context:
    """The current context of a kubeconfig."""

    name: str
    server: str
    cluster: Mapping[str, Any]
    user: Mapping[str, Any]


def current_context(path: Path) -> Context:
    """Read the current context.

    Raises:
        ClusterError: the file is missing or has no complete current context.
    """
    try:
        document = yaml.safe_load(path.read_text()) or {}
        name = document["current-context"]
        context = _named(document, "contexts", name)["context"]
        cluster = _named(document, "clusters", context["cluster"])["cluster"]
        user = _named(document, "users", context["user"])["user"]
        return Context(str(name), str(cluster["server"]), cluster, user or {})
    except OSError as why:
        raise ClusterError(f"KUBECONFIG: cannot read {path}: {why.strerror}") from None
    except (yaml.YAMLError, KeyError, TypeError, StopIteration):
        raise ClusterError(f"KUBECONFIG: {path} has no complete current context") from None


def _named(document: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    return next(entry for entry in document[kind] if entry["name"] == name)


def looks_like_a_test_cluster(context: str, server: str) -> bool:
    """Whether the name is one that tools for test clusters give, or the server is this machine."""
    host = urlsplit(server).hostname or ""
    loopback = host in {"localhost", "::1"} or re.fullmatch(r"127(\.\d+){3}", host) is not None
    return loopback or _TEST_CONTEXT.fullmatch(context) is not None


def refuse_real_clusters(context: str, server: str, env: Mapping[str, str] = os.environ) -> None:
    """Raise unless tests may write to this cluster.

    Raises:
        NotATestCluster: it does not look like one, and the environment does not say otherwise.
    """
    if looks_like_a_test_cluster(context, server) or env.get(PERMISSION) == "yes":
        return
    raise NotATestCluster(
        f"KUBECONFIG: context {context!r} at {server} does not look like a test cluster "
        "(context kind-*, k3d-*, minikube or modelhandoff-*, or a loopback address); "
        f"tests would write to it. To use it all the same set {PERMISSION}=yes"
    )


def image_loader(context: str) -> list[str] | None:
    """The command that, followed by an archive, brings images into such a cluster, if known."""
    if context.startswith("kind-"):
        return ["kind", "load", "image-archive", "--name", context.removeprefix("kind-")]
    if context.startswith("k3d-"):
        return ["k3d", "image", "import", "--cluster", context.removeprefix("k3d-")]
    if context.startswith("minikube"):
        return ["minikube", "--profile", context, "image", "load"]
    if context.startswith(kubeconfig.CONTEXT_PREFIX):
        name = context.removeprefix(kubeconfig.CONTEXT_PREFIX)
        return [sys.executable, "-m", "e2e.cluster", "load", "--name", name]
    return None


class ExternalCluster(Access):
    """What $KUBECONFIG names."""

    def __init__(self, context: Context, path: Path, folder: Path) -> None:
        self.context = context
        self._folder = folder
        self._forwards: dict[tuple[str, ...], Forward] = {}
        super().__init__(
            context.name,
            kubeconfig=path,
            kubectl_command=_kubectl(),
            url=context.server,
            ca=_file(context.cluster, "certificate-authority", folder / "ca.crt", path),
            client_cert=_file(context.user, "client-certificate", folder / "client.crt", path),
            client_key=_file(context.user, "client-key", folder / "client.key", path),
            cache=folder / "kubectl-cache",
        )

    @classmethod
    def connect(cls, path: Path, env: Mapping[str, str] = os.environ) -> Self:
        """Use the current context of a kubeconfig.

        Raises:
            NotATestCluster: see `refuse_real_clusters`.
            ClusterError: it does not answer.
        """
        context = current_context(path)
        refuse_real_clusters(context.name, context.server, env)
        name = hashlib.sha256(f"{path}\0{context.name}".encode()).hexdigest()[:12]
        folder = paths.home() / "external" / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self = cls(context, path, folder)
        self.kubectl("version", "--request-timeout=10s")
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def node(self) -> str:
        """Name of the first node."""
        return str(self.get("nodes")["items"][0]["metadata"]["name"])

    @property
    def dns_ip(self) -> str:
        service = self.get("service", "--namespace=kube-system", "kube-dns")
        return str(service["spec"]["clusterIP"])

    def import_images(self, paths: Sequence[Path]) -> None:
        """Bring image archives into the cluster with the tool that made it.

        Raises:
            ClusterError: no such tool is known or there.
        """
        loader = image_loader(self.context.name)
        if loader is None or shutil.which(loader[0]) is None:
            raise ClusterError(
                f"cluster {self.name!r}: do not know how to bring images into it; "
                f"import these archives yourself: {', '.join(map(str, paths))}"
            )
        for path in paths:
            done = subprocess.run([*loader, str(path)], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise ClusterError(f"{' '.join(loader)} {path}: {done.stderr.strip()[-600:]}")

    def forward(self, namespace: str, target: str, port: int) -> str:
        """Where on this machine a port of the cluster is reached, `127.0.0.1:PORT`, until `stop`.

        Args:
            namespace: of the target.
            target: for example `service/prometheus`.
            port: of the target.

        Raises:
            ClusterError: there is no such thing, or no ready pod of it.
        """
        asked = (f"--namespace={namespace}", target, f":{port}")
        if asked not in self._forwards:
            command = self.kubectl_command("port-forward", "--address=127.0.0.1", *asked)
            self._forwards[asked] = Forward(command, self.environment())
        return self._forwards[asked].address

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig for another person, by a certificate that the cluster itself signs.

        Raises:
            ClusterError: the cluster signs no client certificates.
        """
        name = (
            "modelhandoff-" + hashlib.sha256("\0".join((user, *groups)).encode()).hexdigest()[:12]
        )
        path = self._folder / f"{name}.kubeconfig"
        if path.exists():
            return path
        key, cert = self._folder / f"{name}.key", self._folder / f"{name}.crt"
        request = pki.signing_request(key, pki.Subject(user, tuple(groups)))
        self.kubectl("delete", "csr", name, "--ignore-not-found")
        self.apply(
            {
                "apiVersion": "certificates.k8s.io/v1",
                "kind": "CertificateSigningRequest",
                "metadata": {"name": name},
                "spec": {
                    "request": base64.b64encode(request.encode()).decode(),
                    "signerName": "kubernetes.io/kube-apiserver-client",
                    "usages": ["client auth"],
                },
            }
        )
        self.kubectl("certificate", "approve", name)
        issued = self.wait(
            lambda: self.get("csr", name).get("status", {}).get("certificate"),
            f"the cluster to sign the certificate of {user}",
        )
        cert.write_bytes(base64.b64decode(issued))
        self.kubectl("delete", "csr", name)
        text = kubeconfig.render(self.name, self.url, ca=self.ca, cert=cert, key=key, user=user)
        return kubeconfig.write(path, text)

    def wait(self, condition: Any, what: str, timeout: float = 60) -> Any:
        """Poll until `condition()` is true; returns its value; ClusterError after `timeout` s."""
        deadline = time.monotonic() + timeout
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"cluster {self.name!r}: waited {timeout:.0f} s in vain for {what}"
                )
            time.sleep(0.1)
        return value

    def set_gpus(self, product: str, count: int, *, timeout: float = 60) -> None:
        """As `Cluster.set_gpus`, on the first node."""
        from .cluster import patch_gpus

        patch_gpus(self, product, count, timeout)

    def stop(self) -> None:
        """End what leads into it; whoever started this cluster ends it."""
        while self._forwards:
            self._forwards.popitem()[1].stop()

    down = stop

    @property
    def audit_log(self) -> Path:
        self._no("request log")

    @property
    def pids(self) -> dict[str, int]:
        self._no("processes of its own")

    def kill(self, part: str, number: object = None) -> None:
        self._no("parts that can be killed")

    def _no(self, what: str) -> NoReturn:
        raise ClusterError(f"cluster {self.name!r} was started by somebody else: no {what}")


def _kubectl() -> list[str]:
    found = shutil.which("kubectl")
    return [found] if found else [str(build.binaries("kube").kube), "kubectl"]


def _file(entry: Mapping[str, Any], key: str, target: Path, config: Path) -> Path | None:
    """The file that a kubeconfig entry names or, written to `target`, carries."""
    if data := entry.get(f"{key}-data"):
        target.touch(mode=0o600)
        target.write_bytes(base64.b64decode(data))
        return target
    if named := entry.get(key):
        return config.parent / str(named)
    return None
