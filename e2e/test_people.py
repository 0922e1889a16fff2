"""What people do while traffic flows: abort, retry, pause, delete, adopt what serves already."""

from __future__ import annotations

import json

import pytest

from e2e.cases import Case, Raw, condition
from e2e.cluster import images
from e2e.cluster.addons import OPT_IN

pytestmark = [pytest.mark.full_stack, pytest.mark.timeout(300, func_only=True)]


def test_pause_keeps_the_weight_and_abort_takes_it_off(case: Case) -> None:
    old = case.serve("v1")
    case.apply("v2", {"rollout": {"steps": [{"weight": 10, "minDuration": "4s"},
                                            {"weight": 50, "minDuration": "20m"}]}})  # fmt: skip
    status = case.wait_weight(10)
    attempt, new = status["attemptRef"]["name"], case.workload(status)
    case.annotate("pause", attempt)
    case.until(lambda s: condition(s, "Paused")["status"] == "True", "paused")
    # Long enough for the step to pass, were it not paused: looks go on meanwhile.
    case.wait_looks(case.attempt()["status"].get("looks", 0) + 12)
    assert case.routes.of(new) == [0, 10]
    case.annotate("pause", None)
    case.wait_weight(50)
    case.annotate("abort", attempt)
    status = case.wait("Aborted", timeout=60)
    assert case.routes.of(new) == [0, 10, 50, 0]
    assert case.routes.last == {old: 100}
    assert "retry" in status["nextAction"]
    # Nobody sent anywhere, nobody needed: its GPU is free again.
    case.kubectl("wait", f"deployment/{new}", "--for=jsonpath={.spec.replicas}=0", "--timeout=60s")
    case.nothing_lost()


def test_deleting_the_handoff_in_the_foreground_leaves_what_serves(case: Case) -> None:
    old = case.serve("v1")
    case.apply("v2", {"rollout": {"steps": [{"weight": 50, "minDuration": "20m"}]}})
    case.wait_weight(50)
    case.kubectl("delete", "mho", "fraud", "--cascade=foreground", "--timeout=60s")
    assert case.routes.last == {old: 100}
    gone = f"every Deployment but {old} to be gone"
    case.stack.cluster.wait(lambda: deployments(case) == [old], gone, 60)
    mark = case.traffic.now()
    case.stack.cluster.wait(lambda: case.traffic.summary(since=mark).answered > 300, "answers", 30)
    assert case.traffic.summary(since=mark).share("1.0.0") == 1.0
    case.nothing_lost()


def test_a_deployment_that_serves_already_is_adopted_and_left_alone(case: Case) -> None:
    cluster, where = case.stack.cluster, f"--namespace={case.namespace}"
    cluster.apply(legacy(case))
    case.kubectl("rollout", "status", "deployment/legacy", "--timeout=60s")
    before = {kind: cluster.get(kind, "legacy", where) for kind in ("deployment", "service")}
    document = case.handoff("v2")
    document["spec"]["baseline"] = {"workloadRef": {"name": "legacy"}}
    case.stack.apply(document)
    case.send()
    status = case.wait("Promoted", timeout=180)
    new = case.workload(status)
    assert case.routes.of(new) == [0, 10, 50, 100]
    assert case.attempt()["spec"]["kind"] == "Rollout", "it was judged, not waved through"
    cluster.wait(lambda: cluster.get("deployment", new, where)["status"].get("readyReplicas"), "it")
    for kind, was in before.items():
        now = cluster.get(kind, "legacy", where)
        assert now["spec"] == was["spec"], "Never is the default of baseline.scaleDown"
        for part in ("labels", "annotations", "ownerReferences", "finalizers", "generation"):
            assert now["metadata"].get(part) == was["metadata"].get(part), part
    assert case.nothing_lost().share("1.0.0") > 0.2


def deployments(case: Case) -> list[str]:
    items = case.stack.cluster.get("deployments", f"--namespace={case.namespace}")["items"]
    return [item["metadata"]["name"] for item in items]


def legacy(case: Case) -> list[Raw]:
    """A Deployment and its Service as another team wrote them, long before."""
    bundle = case.handoff("v1")["spec"]["candidate"]
    artifacts = [
        {**artifact, "file": artifact["uri"].rsplit("/", 1)[1]} for artifact in bundle["artifacts"]
    ]
    secure = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    mounts = [{"name": "model", "mountPath": "/models"}]
    env = {
        "MODEL_DIR": "/models",
        "MODELHANDOFF_MODEL_NAME": "fraud",
        "MODELHANDOFF_MODEL_VERSION": "1.0.0",
        "MODELHANDOFF_REFERENCE": "reference.json",
        "MODELHANDOFF_LATENCY_BUDGET": "2s",
    }
    fetch = {
        "name": "fetch",
        "image": images.image_ref("serve"),
        "command": ["python", "-m", "modelhandoff.verify.fetch"],
        "env": [
            {"name": "MODEL_DIR", "value": "/models"},
            {"name": "MODELHANDOFF_ARTIFACTS", "value": json.dumps(artifacts)},
            {"name": "MODELHANDOFF_ALLOW_HTTP", "value": "true"},
        ],
        "securityContext": secure,
        "volumeMounts": mounts,
    }
    server = {
        "name": "model",
        "image": images.image_ref("serve"),
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/v2/health/ready", "port": 8080}},
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
        "securityContext": secure,
        "volumeMounts": mounts,
    }
    labels = {"app": "legacy"}
    where = {"name": "legacy", "namespace": case.namespace}
    template = {
        "metadata": {
            "labels": {**labels, OPT_IN: "true"},
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
        },
        "spec": {
            "automountServiceAccountToken": False,
            "initContainers": [fetch],
            "containers": [server],
            "volumes": [{"name": "model", "emptyDir": {}}],
        },
    }
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": where,
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": where,
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    ]
