"""``doctor``: what is broken, what you may not do, and what to do about it."""

from __future__ import annotations

import copy

import pytest

from modelhandoff.api import crds, names
from modelhandoff.cli.kubectl import doctor
from tests.unit.cli.kubectl.world import operator

PROXY = "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/api/v1/query"


@pytest.fixture
def healthy(server, monkeypatch):
    """A cluster in which everything is as it should be."""
    monkeypatch.setattr(doctor, "_LEASE_PATIENCE", 0.0)
    for kind in crds.KINDS:
        made = copy.deepcopy(crds.crd(kind))
        made["status"] = {"conditions": [{"type": "Established", "status": "True"}]}
        server.add("customresourcedefinitions", made)
    server.add("gateways", {
        "metadata": {"name": "public", "namespace": "edge"},
        "status": {"conditions": [{"type": "Programmed", "status": "True"}]},
    })  # fmt: skip
    server.add(names.POLICIES, {
        "metadata": {"name": "default"},
        "spec": {"metricSources": [
            {"name": "default", "url": "http://prometheus.monitoring.svc:9090"}
        ]},
    })  # fmt: skip
    rules = [{"apiGroups": [names.GROUP], "resources": [names.APPROVALS]}]
    server.add("validatingadmissionpolicies", {
        "metadata": {"name": "approvals"},
        "spec": {"matchConstraints": {"resourceRules": rules}},
    })  # fmt: skip
    server.raw[PROXY] = {"status": "success"}
    return server


def test_a_sound_installation_is_all_green(healthy, call):
    answer = call("doctor")

    assert answer.code == 0, answer.out
    assert "10 of 10 checks are fine, 0 are broken." in answer.out
    assert "version v1.37.0" in answer.out


def test_an_installation_is_checked_without_the_callers_own_rights(healthy, call):
    healthy.allowed = lambda verb, plural: verb != "patch"

    assert "you may not patch" in call("doctor").out
    answer = call("doctor", "--installation")

    assert answer.code == 0
    assert "9 of 9 checks are fine, 0 are broken." in answer.out
    assert "rights" not in answer.out


def test_nothing_proves_who_signs(healthy, call):
    healthy.remove("validatingadmissionpolicies", None, "approvals")

    answer = call("doctor")

    assert answer.code == 0
    assert "! signatures: no admission policy proves who signs an approval." in answer.out
    assert "admission.enabled=true" in answer.out


def test_missing_crds(healthy, call):
    healthy.objects = {k: v for k, v in healthy.objects.items() if "modelhandoffs" not in k}

    answer = call("doctor")

    assert answer.code == 1
    assert "✗ CRD ModelHandoff: is not installed." in answer.out
    assert "helm install" in answer.out


def test_crds_of_another_version_are_told(healthy, call):
    path = next(k for k in healthy.objects if k.endswith("modelhandoffs.modelhandoff.dev"))
    schema = healthy.objects[path]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["spec"]["properties"]["suspend"]

    answer = call("doctor")

    assert answer.code == 0
    assert "! CRD ModelHandoff: v1alpha1 is served, but its schema is of another" in answer.out


@pytest.mark.parametrize(
    ("down", "told"),
    [
        ({"renewed_ago": 3600.0}, "the lease of modelhandoff-0 was last renewed 60 min ago"),
        ({"available": 0}, "modelhandoff-system/modelhandoff has no available pod"),
    ],
)
def test_an_operator_that_is_down(healthy, call, down, told):
    operator(healthy, **down)

    answer = call("doctor")

    assert answer.code == 1
    assert f"✗ operator: {told}." in answer.out
    assert "kubectl logs deployment/modelhandoff -n modelhandoff-system" in answer.out


def test_a_lease_that_only_looks_stale_is_alive(healthy, call, monkeypatch):
    operator(healthy, renewed_ago=3600.0)
    monkeypatch.setattr(doctor, "_LEASE_PATIENCE", 3.0)
    monkeypatch.setattr("time.sleep", lambda _: operator(healthy, renewed_ago=3599.0))
    monkeypatch.setattr(
        doctor, "listen",
        lambda api, ns, patience: real_listen(api, ns, patience=patience,
                                              sleep=lambda _: operator(healthy, renewed_ago=3599)),
    )  # fmt: skip

    assert "✓ operator: modelhandoff-0 leads" in call("doctor").out


def test_rights_that_are_missing_are_named_with_what_they_are_for(healthy, call):
    healthy.allowed = lambda verb, plural: (verb, plural) != ("patch", "httproutes")

    answer = call("doctor")

    assert answer.code == 0
    assert (
        "! your rights: you may not patch httproutes.gateway.networking.k8s.io in namespace "
        "payments: no abort without an operator."
    ) in answer.out


def test_no_gateway_api(healthy, call):
    del healthy.kinds["gateways"]

    answer = call("doctor")

    assert answer.code == 1
    assert "✗ Gateway API: is not installed" in answer.out


def test_a_metric_source_that_does_not_answer(healthy, call):
    del healthy.raw[PROXY]
    healthy.refused["GET", PROXY] = (503, "no endpoints available")

    answer = call("doctor")

    assert answer.code == 1
    assert "✗ metric source default: http://prometheus.monitoring.svc:9090: " in answer.out
    assert "no endpoints available" in answer.out


def test_without_the_right_to_look_it_says_unknown_and_not_broken(healthy, call):
    for path in ("/apis/apps", "/apis/coordination.k8s.io", "/apis/apiextensions.k8s.io", PROXY):
        healthy.refused["GET", path] = (403, "forbidden")

    answer = call("doctor")

    assert answer.code == 0
    assert "? operator: not known" in answer.out
    assert "? metric source default" in answer.out
    assert "✓ CRD ModelHandoff: v1alpha1 is served" in answer.out


real_listen = doctor.listen
