"""A control plane: etcd, API server, controller manager and, on demand, scheduler."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import os
import re
import signal
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import yaml

from . import build, kubeconfig
from .access import Access
from .addresses import Addresses
from .instance import Instance, require
from .pki import Authority, Subject
from .progress import SILENT, Progress
from .registry import Level

Audit = Literal["writes", "all"]
CLUSTER_DOMAIN = "cluster.local"
_numbers = itertools.count(1)

# Parts talk to one API server on the same machine; the default limits of 20
# requests a second would make their start five times as long.
_RATE = {"qps": 500, "burst": 1000}


@dataclass(frozen=True)
class Endpoints:
    """Where the parts of a control plane listen."""

    host: str
    port: int
    etcd: int
    etcd_peer: int

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}"


def endpoints(level: Level, addresses: Addresses) -> Endpoints:
    """Well-known ports inside a namespace, the instance's own on loopback."""
    if level is Level.FULL:
        return Endpoints(addresses.node_ip, 6443, 2379, 2380)
    port, etcd, peer = addresses.ports[:3]
    return Endpoints("127.0.0.1", port, etcd, peer)


def subjects(at: Endpoints, addresses: Addresses, node: str) -> list[tuple[str, Subject]]:
    """The certificates of a cluster: file stem and what they say."""
    api = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]
    api += [f"kubernetes.default.svc.{CLUSTER_DOMAIN}", "127.0.0.1", addresses.api_service_ip]
    if at.host not in api:
        api.append(at.host)
    masters = ("system:masters",)
    return [
        ("apiserver", Subject("kube-apiserver", hosts=tuple(api))),
        ("apiserver-kubelet", Subject("kube-apiserver-kubelet-client", masters)),
        ("admin", Subject("admin", masters)),
        ("controller-manager", Subject("system:kube-controller-manager")),
        ("scheduler", Subject("system:kube-scheduler")),
        ("proxy", Subject("system:kube-proxy")),
        ("kubelet-client", Subject(f"system:node:{node}", ("system:nodes",))),
        ("kubelet", Subject(f"system:node:{node}", ("system:nodes",), (node, addresses.node_ip))),
    ]


def audit_policy(audit: Audit) -> dict[str, Any]:
    """What the request log holds.

    Every request, once, when it is complete. `writes`: bodies of writes only; `all`: of everything.
    Never the content of Secrets and tokens.
    """
    secret = [
        {"group": "", "resources": ["secrets", "serviceaccounts/token"]},
        {"group": "authentication.k8s.io"},
    ]
    rules: list[dict[str, Any]] = [
        {"level": "None", "nonResourceURLs": ["/readyz*", "/livez*", "/healthz*"]},
        {"level": "Metadata", "resources": secret},
    ]
    if audit == "writes":
        verbs = ["create", "update", "patch", "delete", "deletecollection"]
        rules += [{"level": "RequestResponse", "verbs": verbs}, {"level": "Metadata"}]
    else:
        rules.append({"level": "RequestResponse"})
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        # Only a watch has a ResponseStarted; without it a watch is in the log once it has ended.
        "omitStages": ["RequestReceived"],
        "omitManagedFields": True,
        "rules": rules,
    }


def etcd_arguments(at: Endpoints, folder: Path) -> list[str]:
    """Nothing of it must survive a power cut, hence no fsync; one member needs no long election."""
    client = f"http://127.0.0.1:{at.etcd}"
    peer = f"http://127.0.0.1:{at.etcd_peer}"
    return [
        "--name=one",
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=one={peer}",
        "--unsafe-no-fsync",
        "--heartbeat-interval=20",
        "--election-timeout=100",
        "--log-level=warn",
    ]


def apiserver_arguments(
    level: Level, at: Endpoints, addresses: Addresses, folder: Path
) -> list[str]:
    """Flags of kube-apiserver."""
    pki = folder / "pki"
    out = [
        f"--etcd-servers=http://127.0.0.1:{at.etcd}",
        f"--secure-port={at.port}",
        f"--service-cluster-ip-range={addresses.service_range}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--service-account-issuer=https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
        f"--service-account-key-file={pki / 'sa.pub'}",
        f"--service-account-signing-key-file={pki / 'sa.key'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--audit-policy-file={folder / 'audit-policy.yaml'}",
        f"--audit-log-path={folder / 'audit.log'}",
        # Megabytes until the log is rotated; a reader must never lose events.
        "--audit-log-maxsize=100000",
        "--profiling=false",
    ]
    if level is Level.FULL:
        return [
            *out,
            "--bind-address=0.0.0.0",
            f"--advertise-address={at.host}",
            f"--kubelet-client-certificate={pki / 'apiserver-kubelet.crt'}",
            f"--kubelet-client-key={pki / 'apiserver-kubelet.key'}",
            f"--kubelet-certificate-authority={pki / 'ca.crt'}",
            # Else `kubectl logs` hangs on a DNS lookup of the node's name.
            "--kubelet-preferred-address-types=InternalIP",
        ]
    # No pod will want the `kubernetes` Service, and its endpoint may not be a loopback address.
    return [
        *out,
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
    ]


def controller_manager_arguments(
    level: Level, addresses: Addresses, folder: Path, controllers: str
) -> list[str]:
    """Flags of kube-controller-manager."""
    pki = folder / "pki"
    out = [
        f"--kubeconfig={folder / 'controller-manager.kubeconfig'}",
        f"--controllers={controllers}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--service-account-private-key-file={pki / 'sa.key'}",
        f"--cluster-signing-cert-file={pki / 'ca.crt'}",
        f"--cluster-signing-key-file={pki / 'ca.key'}",
        f"--kube-api-qps={_RATE['qps']}",
        f"--kube-api-burst={_RATE['burst']}",
        "--secure-port=0",
        "--profiling=false",
    ]
    if level is Level.FULL:
        out += [
            "--allocate-node-cidrs=true",
            f"--cluster-cidr={addresses.pod_range}",
            "--node-cidr-mask-size=24",
            f"--service-cluster-ip-range={addresses.service_range}",
        ]
    return out


def scheduler_configuration(folder: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": False},
        "clientConnection": {"kubeconfig": str(folder / "scheduler.kubeconfig"), **_RATE},
    }


class LocalCluster(Access):
    """A cluster that this tool started: a control plane, and all that can be done to its parts."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        record = instance.record
        self.addresses = record.addresses
        self.at = endpoints(record.level, record.addresses)
        folder = instance.folder
        super().__init__(
            record.name,
            kubeconfig=folder / "admin.kubeconfig",
            kubectl_command=[build.binaries("kube").kube, "kubectl"],
            url=self.at.url,
            ca=folder / "pki" / "ca.crt",
            client_cert=folder / "pki" / "admin.crt",
            client_key=folder / "pki" / "admin.key",
            cache=folder / "kubectl-cache",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.instance.destroy(keep_logs=error is not None)

    # -- starting

    def _prepare(self, audit: Audit, node: str) -> None:
        folder = self.instance.folder
        self.authority.issue_all(subjects(self.at, self.addresses, node))
        for stem in ("admin", "controller-manager", "scheduler", "proxy", "kubelet-client"):
            self._write_kubeconfig(folder / f"{stem}.kubeconfig", stem, stem)
        (folder / "audit-policy.yaml").write_text(yaml.safe_dump(audit_policy(audit)))
        (folder / "scheduler.yaml").write_text(yaml.safe_dump(scheduler_configuration(folder)))

    def _write_kubeconfig(self, path: Path, stem: str, user: str) -> Path:
        pki = self.authority
        text = kubeconfig.render(
            self.name, self.url, ca=pki.ca, cert=pki.cert(stem), key=pki.key(stem), user=user
        )
        return kubeconfig.write(path, text)

    def _start_program(self, name: str, arguments: Sequence[str]) -> None:
        kube = build.binaries("kube").kube
        self.instance.start_part(name, [kube, name, *arguments])

    def _start_control_plane(
        self, *, scheduler: bool, controllers: str, apiserver_args: Sequence[str]
    ) -> None:
        level, folder = self.instance.record.level, self.instance.folder
        self._start_program("etcd", etcd_arguments(self.at, folder))
        flags = apiserver_arguments(level, self.at, self.addresses, folder)
        self._start_program("kube-apiserver", [*flags, *apiserver_args])
        self.wait_api()
        flags = controller_manager_arguments(level, self.addresses, folder, controllers)
        self._start_program("kube-controller-manager", flags)
        if scheduler:
            self._start_program(
                "kube-scheduler", [f"--config={folder / 'scheduler.yaml'}", "--secure-port=0"]
            )

    def wait_api(self, timeout: float = 60) -> None:
        """Wait until the API server says that it is ready."""
        self.instance.wait_part(
            "kube-apiserver", lambda: self.status("/readyz") == 200, "/readyz", timeout
        )

    def wait_controllers(self, timeout: float = 60) -> None:
        """Wait until pods can be created: their default ServiceAccount exists."""
        path = "/api/v1/namespaces/default/serviceaccounts/default"
        self.instance.wait_part(
            "kube-controller-manager",
            lambda: self.status(path) == 200,
            "the default ServiceAccount",
            timeout,
        )

    # -- using

    @property
    def authority(self) -> Authority:
        return Authority(self.instance.folder / "pki")

    def status(self, path: str, timeout: float = 5) -> int:
        """HTTP status of a GET as administrator; 0 when there is no answer."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(self.client_cert, self.client_key)
        connection = http.client.HTTPSConnection(
            self.at.host, self.at.port, timeout=timeout, context=context
        )
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig for another person, with a certificate of their own.

        Args:
            user: the name that RBAC and the audit log will see.
            groups: the groups they are in.
        """
        identity = hashlib.sha256("\0".join((user, *groups)).encode()).hexdigest()[:12]
        stem = f"user-{re.sub(r'[^a-zA-Z0-9.@]+', '_', user)[:40]}-{identity}"
        path = self.instance.folder / f"{stem}.kubeconfig"
        if not path.exists():
            self.authority.issue(stem, Subject(user, tuple(groups)))
            self._write_kubeconfig(path, stem, user)
        return path

    @property
    def audit_log(self) -> Path:
        return self.instance.folder / "audit.log"

    def audit_offset(self) -> int:
        """Where the request log ends now; for `audit_events(since=...)`."""
        return self.audit_log.stat().st_size if self.audit_log.exists() else 0

    def audit_events(self, since: int = 0) -> list[dict[str, Any]]:
        """All complete events of the request log from the offset `since` on, oldest first."""
        with open(self.audit_log, "rb") as log:
            log.seek(since)
            whole = log.read().rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line]

    # -- disturbing

    @property
    def pids(self) -> dict[str, int]:
        """Running parts and their process ids."""
        return self.instance.pids

    def logs(self, part: str) -> Path:
        return self.instance.log(part)

    def kill(self, part: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a part; SIGKILL waits until it is gone."""
        self.instance.signal_part(part, number)

    def restart(self, part: str) -> None:
        """Start a part that has ended, as it was started before."""
        self.instance.restart_part(part)

    def kill_apiserver(self) -> None:
        self.kill("kube-apiserver")

    def start_apiserver(self) -> None:
        """Start it again and wait until it is ready."""
        self.restart("kube-apiserver")
        self.wait_api()

    def wait(self, condition: Callable[[], Any], what: str, timeout: float = 60) -> Any:
        """Poll until `condition()` is true; returns its value; ClusterError after `timeout` s."""
        return self.instance.wait(condition, what, timeout)

    def stop(self) -> None:
        """End everything and remove every trace."""
        self.instance.destroy()


class ControlPlane(LocalCluster):
    """API server and controllers on loopback ports, without nodes. Needs no root."""

    @classmethod
    def start(
        cls,
        name: str | None = None,
        *,
        scheduler: bool = False,
        controllers: str = "*",
        apiserver_args: Sequence[str] = (),
        audit: Audit = "writes",
        attached: bool = True,
        keep: bool = False,
        progress: Progress = SILENT,
    ) -> Self:
        """Start one and wait until pods can be created.

        Args:
            name: of the instance; made up when None.
            scheduler: start the scheduler too.
            controllers: for `--controllers` of the controller manager.
            apiserver_args: more flags for the API server.
            audit: see `audit_policy`.
            attached: end with the calling process, however that ends.
            keep: leave what runs when the start fails, to look at it.
            progress: told about phases.

        Raises:
            ClusterError: a part did not start; its logs are kept below `logs/NAME`.
        """
        require("openssl")
        build.binaries("kube", progress=progress)
        name = name or f"cp-{os.getpid()}-{next(_numbers)}"
        instance = Instance.create(name, Level.CONTROL_PLANE, attached=attached, progress=progress)
        try:
            with progress.phase("Start the control plane"):
                self = cls(instance)
                self._prepare(audit, node=name)
                self._start_control_plane(
                    scheduler=scheduler, controllers=controllers, apiserver_args=apiserver_args
                )
                self.wait_controllers()
            instance.mark_ready()
        except BaseException:
            if keep:
                instance.mark_ready()
            else:
                instance.destroy(keep_logs=True)
            raise
        return self
