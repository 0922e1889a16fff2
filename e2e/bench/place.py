"""Where it is measured: a control plane with our kinds, the operator's rights, and its process."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from e2e.bench.handoffs import NAMESPACE
from e2e.cluster import ControlPlane

ROOT = Path(__file__).parents[2]
SYSTEM = "modelhandoff-system"
USER = f"system:serviceaccount:{SYSTEM}:modelhandoff"
IDENTITY = "modelhandoff-0"
TICKS = os.sysconf("SC_CLK_TCK")

Raw = dict[str, Any]

ROUTE_CRD: Raw = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": "httproutes.gateway.networking.k8s.io",
        "annotations": {"api-approved.kubernetes.io": "unapproved, for a benchmark"},
    },
    "spec": {
        "group": "gateway.networking.k8s.io",
        "names": {
            "kind": "HTTPRoute",
            "listKind": "HTTPRouteList",
            "plural": "httproutes",
            "singular": "httproute",
        },
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}
"""The kind alone: the gateway is played, so nothing of its schema is needed."""


def chart_rules() -> list[Raw]:
    """The rules that the chart grants, read from it."""
    text = (ROOT / "charts/modelhandoff/templates/_helpers.tpl").read_text()
    found = re.search(r'define "modelhandoff.rules" -}}\n(.*?)\{\{- end', text, re.S)
    if found is None:
        raise RuntimeError("the chart has no template modelhandoff.rules")
    rules: list[Raw] = yaml.safe_load(found[1])
    return [
        *rules,
        {
            "apiGroups": ["modelhandoff.dev"],
            "resources": ["handoffpolicies"],
            "verbs": ["list", "watch"],
        },
    ]


def install(plane: ControlPlane) -> None:
    """Kinds, namespaces and rights."""
    plane.apply([ROUTE_CRD])
    for file in sorted((ROOT / "crds").glob("*.yaml")):
        plane.apply(file)
    plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    role = {"apiVersion": "rbac.authorization.k8s.io/v1"}
    subject = [{"kind": "ServiceAccount", "name": "modelhandoff", "namespace": SYSTEM}]
    lease = {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "verbs": ["get", "create", "update"],
    }
    bound = {"kind": "ClusterRole", "apiGroup": "rbac.authorization.k8s.io"}
    plane.apply(
        [
            *(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
                for name in (SYSTEM, NAMESPACE)
            ),
            {
                **role,
                "kind": "ClusterRole",
                "metadata": {"name": "modelhandoff"},
                "rules": chart_rules(),
            },
            {
                **role,
                "kind": "ClusterRoleBinding",
                "metadata": {"name": "modelhandoff"},
                "roleRef": {**bound, "name": "modelhandoff"},
                "subjects": subject,
            },
            {
                **role,
                "kind": "Role",
                "metadata": {"name": "modelhandoff", "namespace": SYSTEM},
                "rules": [lease],
            },
            {
                **role,
                "kind": "RoleBinding",
                "metadata": {"name": "modelhandoff", "namespace": SYSTEM},
                "roleRef": {**bound, "kind": "Role", "name": "modelhandoff"},
                "subjects": subject,
            },
        ]
    )


class StandinProcess:
    """The Prometheus stand-in as a process."""

    def __init__(self, scrape: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "e2e.bench.standin", "--scrape", f"{scrape:g}"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the Prometheus stand-in did not start")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


class Operator:
    """``modelhandoff run`` as a process of its own, in one pod as far as the lease can tell."""

    def __init__(
        self, plane: ControlPlane, prometheus: str, scrape: float, log: Path, profile: str = ""
    ) -> None:
        self._command = [
            *((sys.executable, "-m", "cProfile", "-o", profile) if profile else ()),
            str(Path(sys.executable).parent / "modelhandoff"),
            *("run", "--kubeconfig", str(plane.kubeconfig_for(USER))),
            *("--prometheus-url", prometheus, "--scrape-interval", f"{scrape:g}"),
            *("--lease-namespace", SYSTEM, "--identity", IDENTITY),
            *("--fetch-image", "registry.example/operator@sha256:" + "cd" * 32),
            *("--listen-host", "127.0.0.1", "--listen-port", "0", "--log-level", "INFO"),
        ]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=log, stderr=log)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when it does not end."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()

    def cpu(self) -> float:
        """CPU seconds used so far."""
        return cpu_of(self.pid)

    def memory(self) -> tuple[float, float]:
        """MiB in use now, and the most so far."""
        return memory_of(self.pid)


def cpu_of(pid: int) -> float:
    """CPU seconds of a process, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_of(pid: int) -> tuple[float, float]:
    """MiB resident now, and at most so far."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = {key: int(kb) / 1024 for key, kb in re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", text)}
    return found["VmRSS"], found["VmHWM"]


async def until(what: str, condition: Any, patience: float = 300.0, every: float = 0.5) -> float:
    """Await a condition; returns the seconds it took.

    Raises:
        TimeoutError: it did not hold in time.
    """
    started = time.monotonic()
    while not await condition():
        if time.monotonic() - started > patience:
            raise TimeoutError(f"{what}: not after {patience:.0f} s")
        await asyncio.sleep(every)
    return time.monotonic() - started
