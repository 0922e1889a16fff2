"""The same verbs against a real API server, with its TLS, its RBAC and its watch."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster import ControlPlane
from modelhandoff.api import names
from modelhandoff.cli.kubectl import verbs
from tests.builders import handoff
from tests.unit.cli.kubectl.conftest import Call

pytestmark = pytest.mark.control_plane

CRDS = Path(__file__).parents[4] / "crds"
ATTEMPT = "fraud-0123456789"
REVISION = "v1-" + "ab" * 32
ROUTES = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": "httproutes.gateway.networking.k8s.io",
        "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
    },
    "spec": {
        "group": "gateway.networking.k8s.io",
        "scope": "Namespaced",
        "names": {"kind": "HTTPRoute", "plural": "httproutes", "singular": "httproute"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
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


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane.start("kubectl-handoff") as plane:
        for file in sorted(CRDS.glob("*.yaml")):
            plane.kubectl("apply", "--server-side", "-f", str(file))
        plane.kubectl("apply", "-f", "-", stdin=json.dumps(ROUTES))
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        plane.kubectl("create", "namespace", "payments")
        yield plane


@pytest.fixture
def running(plane, monkeypatch) -> Iterator[ControlPlane]:
    """A handoff at 10 %, written by hand as the operator would."""
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig))
    monkeypatch.setattr(verbs, "LEASE_PATIENCE", 0.0)
    apply(plane, handoff())
    uid = plane.kubectl("get", "mho", "fraud", "-n", "payments", "-o", "jsonpath={.metadata.uid}")
    apply(plane, {
        "apiVersion": names.API_VERSION, "kind": "HandoffAttempt",
        "metadata": {"name": ATTEMPT, "namespace": "payments",
                     "labels": {names.LABEL_HANDOFF: "fraud"}},
        "spec": {"handoffRef": {"name": "fraud", "uid": uid.strip()}, "bundleHash": REVISION,
                 "revision": REVISION, "ordinal": 1, "kind": "Rollout", "snapshot": "{}"},
    })  # fmt: skip
    candidate = names.workload_name("fraud", REVISION)
    apply(plane, {
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "fraud", "namespace": "payments",
                     "annotations": {names.ANNOTATION_OWNER: f"payments/fraud/{uid.strip()}"}},
        "spec": {"rules": [{"backendRefs": [
            {"name": "fraud-old", "port": 80, "weight": 90},
            {"name": candidate, "port": 80, "weight": 10},
        ]}]},
    })  # fmt: skip
    write_status(plane, "Progressing", "10 % on 1.4.0: no harm found.", Reconciling="True")
    yield plane
    for kind in ("mho", "handoffattempt", "httproute"):
        plane.kubectl("delete", kind, "--all", "-n", "payments", "--wait=true")


def apply(plane: ControlPlane, thing: dict[str, Any]) -> None:
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(thing))


def write_status(plane: ControlPlane, phase: str, sentence: str, **conditions: str) -> None:
    at = "2026-01-01T00:00:00Z"
    status = {
        "observedGeneration": 1, "phase": phase, "message": sentence,
        "attemptRef": {"name": ATTEMPT, "ordinal": 1},
        "candidate": {"version": "1.4.0", "revision": REVISION},
        "stable": {"version": "1.3.2", "revision": "old", "since": at},
        "step": {"index": 1, "count": 2, "label": "1/2", "weight": 10},
        "conditions": [{"type": kind, "status": value, "reason": phase, "lastTransitionTime": at}
                       for kind, value in conditions.items()],
    }  # fmt: skip
    plane.kubectl("patch", "mho", "fraud", "-n", "payments", "--subresource=status",
                  "--type=merge", "-p", json.dumps({"status": status}))  # fmt: skip


def test_get_and_status_show_it(running, call: Call):
    listed, shown = call("get", "-A"), call("status", "fraud", "-n", "payments")

    assert listed.out.splitlines()[1].split()[:6] == [
        "payments", "fraud", "Progressing", "1/2", "10", "1.4.0"
    ]  # fmt: skip
    assert shown.code == 0
    assert shown.out.startswith("10 % on 1.4.0: no harm found.")
    assert "! The operator is not at work" in shown.out


def test_pause_and_resume_arrive(running, call: Call):
    path = "jsonpath={.metadata.annotations.modelhandoff\\.dev/pause}"

    assert call("pause", "fraud", "-n", "payments").code == 0
    assert running.kubectl("get", "mho", "fraud", "-n", "payments", "-o", path) == ATTEMPT

    assert call("resume", "fraud", "-n", "payments").code == 0
    assert running.kubectl("get", "mho", "fraud", "-n", "payments", "-o", path) == ""


def test_abort_without_an_operator_takes_the_weight_away(running, call: Call):
    answer = call("abort", "fraud", "-n", "payments", "--yes")

    assert answer.code == 0, answer.err
    weights = "jsonpath={.spec.rules[0].backendRefs[*].weight}"
    assert running.kubectl("get", "httproute", "fraud", "-n", "payments", "-o", weights) == "100 0"
    asked = "jsonpath={.metadata.annotations.modelhandoff\\.dev/abort}"
    assert running.kubectl("get", "mho", "fraud", "-n", "payments", "-o", asked) == ATTEMPT


def test_wait_sees_the_verdict_through_a_watch(running, call: Call):
    timer = threading.Timer(
        1.0, write_status, (running, "RolledBack", "Rolled back."), {"Stalled": "True"}
    )
    timer.start()

    answer = call("wait", "fraud", "-n", "payments", "--timeout", "60s")
    timer.join()

    assert (answer.code, answer.out) == (2, "Rolled back.\n")


def test_an_edit_makes_wait_forget_the_old_verdict(running, call: Call):
    write_status(running, "RolledBack", "Rolled back.", Stalled="True")
    apply(running, handoff(candidate={"model": {"version": "1.4.1"}}))

    answer = call("wait", "fraud", "-n", "payments", "--timeout", "2s")

    assert answer.code == 124
    assert answer.err.startswith("waiting for the operator to look at the handoff")


def test_a_reader_may_look_and_not_steer(running, call: Call, monkeypatch):
    person = running.kubeconfig_for("eve")
    running.kubectl("create", "clusterrole", "reader", "--verb=get,list,watch",
                    "--resource=modelhandoffs,handoffattempts")  # fmt: skip
    running.kubectl("create", "clusterrolebinding", "reader", "--clusterrole=reader", "--user=eve")
    monkeypatch.setenv("KUBECONFIG", str(person))

    assert "fraud" in call("get", "-n", "payments").out
    shown = call("status", "fraud", "-n", "payments")
    assert shown.code == 0
    assert "for lack of rights: Deployments, pods" in shown.out
    refused = call("abort", "fraud", "-n", "payments")
    assert refused.code == 1
    assert refused.line.startswith("no right to change modelhandoffs fraud")
    doctor = call("doctor", "-n", "payments")
    assert "you may not patch modelhandoffs.modelhandoff.dev in namespace payments" in doctor.out


def test_lint_finds_what_the_server_refuses(running, call: Call, tmp_path):
    bad = handoff(name="bad", rollout={"steps": [{"weight": 100, "minDuration": "1h"}]})
    file = tmp_path / "bad.yaml"
    file.write_text(yaml.safe_dump(bad))

    answer = call("lint", str(file))

    assert answer.code == 1
    with pytest.raises(Exception, match=r"spec\.rollout\.steps"):
        apply(running, bad)
    assert "spec.rollout.steps[0].weight" in answer.out


def test_the_installed_crds_are_the_ones_this_program_knows(running, call: Call):
    out = call("doctor").out

    for kind in ("ModelHandoff", "HandoffAttempt", "HandoffApproval", "HandoffPolicy"):
        assert f"✓ CRD {kind}: v1alpha1 is served, as this program" in out
    assert "✗ operator: there is none" in out
