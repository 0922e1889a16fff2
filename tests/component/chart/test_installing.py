"""Install, upgrade and uninstall with a real Helm on a real API server.

No kubelet: pods are made and stay Pending, which is enough to see that the strictest Pod Security
lets them in. ``e2e/test_chart.py`` has the rest.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from e2e.cluster import ClusterError, ControlPlane
from tests.builders import handoff
from tests.component.chart.helm import CHART, Raw, helm
from tests.component.realapi.plane import namespace

pytestmark = [pytest.mark.control_plane, pytest.mark.timeout(300)]

SYSTEM = "modelhandoff-system"
ACCOUNT = f"system:serviceaccount:{SYSTEM}:modelhandoff"
CRDS = {
    f"{plural}.modelhandoff.dev"
    for plural in ("modelhandoffs", "handoffattempts", "handoffpolicies", "handoffapprovals")
}


class Site:
    """A cluster with the chart on it, or not."""

    def __init__(self, plane: ControlPlane, home: Path) -> None:
        self.plane = plane
        self.home = home

    def helm(self, *words: str) -> str:
        return helm(*words, "--namespace", SYSTEM, home=self.home, kubeconfig=self.plane.kubeconfig)

    def upgrade(self, values: Raw) -> str:
        """``helm upgrade --install`` with these values and no others."""
        file = self.home / "values.yaml"
        file.write_text(yaml.safe_dump(values))
        return self.helm(
            "upgrade", "--install", "modelhandoff", str(CHART), "--reset-values", "-f", str(file)
        )

    def may(self, verb: str, what: str, where: str = "") -> bool:
        """Whether the operator may."""
        scope = ["-n", where] if where else ["--all-namespaces"]
        try:
            said = self.plane.kubectl("auth", "can-i", verb, what, f"--as={ACCOUNT}", *scope)
        except ClusterError:
            return False
        return said.strip().endswith("yes")

    def doctor(self, account: str) -> str:
        """What ``kubectl handoff doctor`` says with the rights of a service account."""
        token = self.plane.kubectl("create", "token", account, "-n", SYSTEM).strip()
        file = self.home / "account.yaml"
        file.write_text(yaml.safe_dump({
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": account}}],
            "clusters": [{"name": "test", "cluster": {
                "server": self.plane.url, "certificate-authority": str(self.plane.ca)}}],
            "users": [{"name": account, "user": {"token": token}}],
        }))  # fmt: skip
        program = Path(sys.executable).with_name("kubectl-handoff")
        done = subprocess.run(
            [str(program), "doctor", "--installation", "--kubeconfig", str(file),
             "--operator-namespace", SYSTEM, "-n", SYSTEM],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.stderr == ""
        return done.stdout

    def there(self, kinds: str) -> set[str]:
        """Names of objects that carry the release's label."""
        label = "app.kubernetes.io/instance=modelhandoff"
        found = self.plane.get(kinds, "-A", "-l", label)
        return {f"{o['kind']}/{o['metadata']['name']}" for o in found["items"]}

    def crds(self) -> set[str]:
        found = self.plane.get("crd")
        return {o["metadata"]["name"] for o in found["items"]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ControlPlane.start("chart") as plane:
        plane.apply([namespace(SYSTEM), namespace("payments"), namespace("search")])
        yield Site(plane, tmp_path_factory.mktemp("helm"))


def test_a_release_from_its_install_to_its_end(site: Site) -> None:
    """One story, because each chapter needs the one before."""
    plane = site.plane

    # Installed for the whole cluster: CRDs, rights, pods that are let in.
    notes = site.upgrade({"replicas": 2, "networkPolicy": {"enabled": True},
                          "dashboards": {"enabled": True}})  # fmt: skip
    assert "serves the whole cluster" in notes
    assert site.crds() >= CRDS
    pods = "-l", "app.kubernetes.io/component=operator"
    plane.wait(lambda: len(plane.get("pods", "-n", SYSTEM, *pods)["items"]) == 2, "two pods")
    assert site.may("patch", "modelhandoffs.modelhandoff.dev")
    assert site.may("list", "nodes")
    assert not site.may("get", "secrets", "payments")
    assert not site.may("create", "pods", "payments")
    assert not site.may("patch", "clusterroles")

    # The test's own pod and rights are legal and enough; they exist only while it runs.
    shown = site.helm("template", "modelhandoff", str(CHART), "--show-only",
                      "templates/tests/doctor.yaml")  # fmt: skip
    assert not {name for name in site.there("pods,roles,clusterroles") if "test" in name}
    *rights, pod = [one for one in yaml.safe_load_all(shown) if one]
    assert pod["kind"] == "Pod"
    plane.apply(rights)
    said = plane.kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))
    assert "pod/modelhandoff-test created (server dry run)" in said
    found = site.doctor("modelhandoff-test")
    assert "✓ CRD ModelHandoff: v1alpha1 is served, as this program" in found
    assert "✗ operator: modelhandoff-system/modelhandoff has no available pod" in found
    assert "! policies: there is no HandoffPolicy" in found
    assert "✗ Gateway API: is not installed" in found
    assert "✓ signatures: approvals are checked by admission" in found
    plane.kubectl("delete", "-f", "-", stdin=yaml.safe_dump_all(rights))

    # Upgraded to two namespaces: rights there, and none elsewhere.
    plane.apply([handoff(namespace="payments")])
    notes = site.upgrade({"namespaces": ["payments", "search"], "watchNodes": False})
    assert "serves payments, search" in notes
    assert "helm show crds" in notes
    assert site.may("patch", "modelhandoffs.modelhandoff.dev", "search")
    assert not site.may("list", "modelhandoffs.modelhandoff.dev")
    assert not site.may("list", "nodes")
    assert site.may("list", "handoffpolicies.modelhandoff.dev")
    assert "PodDisruptionBudget/modelhandoff" not in site.there("pdb")

    # CRDs are brought up to date by kubectl, since Helm never does; Helm goes on afterwards.
    newer = [one for one in yaml.safe_load_all(helm("show", "crds", str(CHART), home=site.home))
             if one]  # fmt: skip
    assert {one["metadata"]["name"] for one in newer} == CRDS
    for one in newer:
        one["metadata"].setdefault("labels", {})["example/newer"] = "yes"
    server_side = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    for _ in range(2):
        plane.kubectl(*server_side, stdin=yaml.safe_dump_all(newer))
    site.upgrade({"namespaces": ["payments"]})
    labelled = plane.get("crd", "-l", "example/newer=yes")["items"]
    assert {one["metadata"]["name"] for one in labelled} == CRDS, "Helm has not put them back"

    # Uninstalled: the operator and its rights are gone, what people wrote is not.
    site.helm("uninstall", "modelhandoff", "--wait")
    kinds = "deployments,roles,rolebindings,clusterroles,clusterrolebindings,sa,netpol,cm,pdb"
    kinds += ",validatingadmissionpolicies,validatingadmissionpolicybindings"
    assert site.there(kinds) == set()
    assert site.crds() >= CRDS
    kept = json.loads(plane.kubectl("get", "mho", "-n", "payments", "-o", "json"))
    assert [one["metadata"]["name"] for one in kept["items"]] == ["fraud"]

    # And again, with the CRDs that are there.
    site.upgrade({})
    assert "Deployment/modelhandoff" in site.there("deployments")
