"""One control plane for all tests of a session: CRDs, the operator's rights, namespaces.

Deployments, Jobs and pods are played here as on the API in this process; the real garbage
collector runs, so deletions cascade as they do in production.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from e2e.cluster import ClusterError, ControlPlane, build, paths

ROOT = Path(__file__).parents[3]
LEASES = "ops"
OPERATOR = "operator"
CONTROLLERS = "garbage-collector-controller,serviceaccount-controller"
FLAGS = (
    # Pods are played: none needs a token.
    "--disable-admission-plugins=ServiceAccount",
    # A few Services for each of hundreds of stories.
    "--service-cluster-ip-range=10.240.0.0/16",
    "--audit-log-path=",
)
MANAGER = "kube-controller-manager"


class Plane:
    """A running control plane with everything installed that a handoff needs."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self.control_plane = control_plane
        self.url = control_plane.url
        self.ca = control_plane.ca
        self._numbers = itertools.count(1)
        self._users: dict[str, tuple[str, str]] = {}

    @classmethod
    def install(cls, control_plane: ControlPlane) -> Plane:
        """Put CRDs and the operator's rights there, and let the garbage collector see them."""
        plane = cls(control_plane)
        for source in (ROOT / "crds", gateway_crds()):
            for file in sorted(source.glob("*modelhandoff*.yaml")) or [
                source / "gateway.networking.k8s.io_httproutes.yaml"
            ]:
                control_plane.kubectl("apply", "--server-side", "-f", file)
        control_plane.kubectl(
            "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"
        )
        control_plane.apply([namespace(LEASES), *rights(OPERATOR)])
        for path in (
            "modelhandoff.dev/v1alpha1/handoffattempts",
            "modelhandoff.dev/v1alpha1/handoffapprovals",
            "modelhandoff.dev/v1alpha1/modelhandoffs",
            "modelhandoff.dev/v1alpha1/handoffpolicies",
            "gateway.networking.k8s.io/v1/httproutes",
        ):
            # Established, and yet it answers 429 for a moment: its storage is being opened.
            control_plane.wait(lambda: control_plane.status(f"/apis/{path}") == 200, path)  # noqa: B023
        # The collector looks for new kinds every 30 s only; a new one sees them at its start.
        control_plane.kill(MANAGER)
        control_plane.restart(MANAGER)
        return plane

    def new_namespace(self) -> str:
        """The name of a fresh namespace; whoever uses it creates it from :func:`namespace`."""
        return f"cell-{next(self._numbers)}"

    def admin(self) -> tuple[str, str]:
        """Certificate and key of an administrator."""
        return str(self.control_plane.client_cert), str(self.control_plane.client_key)

    def user(self, name: str = "") -> tuple[str, str]:
        """Certificate and key of another user; without a name, of the operator's."""
        name = name or OPERATOR
        if name not in self._users:
            path = self.control_plane.kubeconfig_for(name)
            user = yaml.safe_load(path.read_text())["users"][0]["user"]
            both = (user["client-certificate-data"], user["client-key-data"])
            pem = path.with_suffix(".pem")
            pem.touch(mode=0o600)
            pem.write_bytes(b"".join(map(base64.b64decode, both)))
            self._users[name] = (str(pem), str(pem))
        return self._users[name]


def gateway_crds() -> Path:
    """The folder of the Gateway API's CRDs, in its Go module."""
    go = build.find_go()
    if go is None:
        raise ClusterError("Go is missing; run: python -m e2e.cluster prepare")
    done = subprocess.run(
        [go, "mod", "download", "-json", "sigs.k8s.io/gateway-api"],
        cwd=paths.go_dir(),
        env=build.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(json.loads(done.stdout)["Dir"]) / "config" / "crd" / "standard"


def chart_rules() -> list[dict[str, Any]]:
    """What the chart lets the operator do in a namespace, read from its template."""
    text = (ROOT / "charts/modelhandoff/templates/_helpers.tpl").read_text()
    found = re.search(r'{{- define "modelhandoff.rules" -}}\n(.*?){{- end -}}', text, re.DOTALL)
    assert found is not None
    rules: list[dict[str, Any]] = yaml.safe_load(found[1])
    return rules


def rights(user: str) -> list[dict[str, Any]]:
    """The chart's roles for a user: everywhere, policies, and the lease."""
    policies = {
        "apiGroups": ["modelhandoff.dev"],
        "resources": ["handoffpolicies"],
        "verbs": ["list", "watch"],
    }
    leases = {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "verbs": ["get", "create", "update"],
    }
    return [
        _role("ClusterRole", user, [policies, *chart_rules()]),
        binding(user),
        _role("Role", user, [leases], LEASES),
        binding(user, LEASES),
    ]


def binding(user: str, namespace: str = "") -> dict[str, Any]:
    """What gives a user the role of their name."""
    kind = "Role" if namespace else "ClusterRole"
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": f"{kind}Binding",
        "metadata": {"name": user, **({"namespace": namespace} if namespace else {})},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": user},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }


def _role(kind: str, name: str, rules: list[dict[str, Any]], namespace: str = "") -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
        "rules": rules,
    }


def namespace(name: str) -> dict[str, Any]:
    """One in which only pods of the strictest kind may run."""
    strict = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": strict},
    }
