"""From apply to promoted or rolled back, with real pods, a real gateway and live traffic.

The client is the oracle: it never stops, and a request that fails on the way (not by a model)
fails the test, whatever the operator believes.
"""

from __future__ import annotations

import time

import pytest

from e2e.conftest import Case
from e2e.cluster.addons import set_gpus

pytestmark = [pytest.mark.full_stack, pytest.mark.timeout(420)]

FAR = {"monitoring": {"metrics": [
    {"name": "errors", "type": "ErrorRate", "max": 0.01},
    {"name": "latency", "type": "Latency", "quantile": 0.95, "budget": "100ms"},
    {"name": "scores", "type": "Drift", "of": "Output", "maxKL": 0.2},
]}}  # fmt: skip


def nothing_lost(case: Case) -> None:
    """No request failed because of a routing change."""
    summary = case.traffic.summary()
    assert summary.answered > 200
    assert summary.not_the_models_fault == 0, summary.failures


def test_a_better_model_is_promoted_and_the_old_one_retired(case: Case) -> None:
    old = case.serve("v1")
    case.apply("v2")
    status = case.wait("Promoted", timeout=240)
    new = case.workload(status)
    assert case.routes.seen[-1] == {new: 100}
    assert [w.get(new, 0) for w in case.routes.seen] == [0, 10, 50, 100]
    assert status["stable"]["version"] == "1.1.0"
    assert case.condition(status, "Ready")["status"] == "True"
    assert case.attempt()["status"]["verdict"]["decision"] == "Promote"
    deadline = time.monotonic() + 90
    while case.stack.cluster.get("deployment", old, f"--namespace={case.namespace}")["spec"][
        "replicas"
    ]:
        assert time.monotonic() < deadline, "the old version is retired after scaleDownDelay"
    nothing_lost(case)


@pytest.mark.parametrize(
    ("version", "metric"), [("v3", "latency"), ("v4", "errors"), ("v5", "scores")]
)
def test_a_bad_model_is_rolled_back_with_its_metric_named(
    case: Case, version: str, metric: str
) -> None:
    old = case.serve("v1")
    mark = case.traffic.now()
    case.apply(version)
    status = case.wait("RolledBack", "Promoted", timeout=240)
    assert status["phase"] == "RolledBack", status["message"]
    assert metric in status["verdict"]["message"]
    bad = case.workload(status)
    assert case.routes.highest(bad) <= 50
    assert case.routes.seen[-1] == {old: 100}
    attempt = case.attempt()
    assert attempt["status"]["verdict"]["totalE"] >= 100
    assert case.condition(status, "Stalled")["reason"] == "RolledBack"
    assert "1.0.0" in status["message"]
    assert case.traffic.summary(since=mark).share(attempt_version(status)) < 0.5
    nothing_lost(case)


def attempt_version(status: dict) -> str:
    return str(status["candidate"]["version"])


def test_the_same_behaviour_under_a_new_version_is_promoted(case: Case) -> None:
    case.serve("v1")
    case.apply("v1", candidate={"model": {"version": "1.0.1"}, "serving": {"env": [
        {"name": "RELEASE", "value": "2"}]}})  # fmt: skip
    status = case.wait("Promoted", "RolledBack", timeout=240)
    assert status["phase"] == "Promoted", status["message"]
    assert status["stable"]["version"] == "1.0.1"
    nothing_lost(case)


def test_no_gpu_is_inconclusive_in_the_schedulers_own_words(case: Case) -> None:
    case.serve("v1")
    set_gpus(case.stack.cluster, 1)
    try:
        case.apply("v2", rollout={"capacity": {"pendingDeadline": "10s"}})
        status = case.wait("Inconclusive", timeout=120)
    finally:
        set_gpus(case.stack.cluster, 4)
    assert "Insufficient nvidia.com/gpu" in status["message"]
    assert "not the model's fault" in status["message"]
    assert case.routes.highest(case.workload(status)) == 0
    case.annotate("retry", status["attemptRef"]["name"])
    assert case.wait("Promoted", timeout=240)["stable"]["version"] == "1.1.0"
    nothing_lost(case)


def test_abort_takes_the_traffic_off_and_retry_starts_again(case: Case) -> None:
    old = case.serve("v1")
    case.apply("v2", rollout={"steps": [{"weight": 10, "minDuration": "10m"}]})
    status = case.wait_weight(10)
    case.annotate("abort", status["attemptRef"]["name"])
    status = case.wait("Aborted", timeout=60)
    assert case.routes.seen[-1] == {old: 100}
    assert "retry" in status["nextAction"]
    nothing_lost(case)


def test_deleting_the_handoff_in_the_foreground_leaves_what_serves(case: Case) -> None:
    old = case.serve("v1")
    case.apply("v2", rollout={"steps": [{"weight": 50, "minDuration": "10m"}]})
    case.wait_weight(50)
    case.stack.cluster.kubectl(
        "delete", "mho", "fraud", f"--namespace={case.namespace}", "--cascade=foreground",
        "--timeout=60s",
    )  # fmt: skip
    assert case.routes.seen[-1] == {old: 100}
    deployments = case.stack.cluster.get("deployments", f"--namespace={case.namespace}")["items"]
    assert [d["metadata"]["name"] for d in deployments] == [old]
    mark = case.traffic.now()
    deadline = time.monotonic() + 30
    while case.traffic.summary(since=mark).answered < 300:
        assert time.monotonic() < deadline
    assert case.traffic.summary(since=mark).share("1.0.0") == 1.0
    nothing_lost(case)
