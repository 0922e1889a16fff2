"""From apply to promoted or rolled back, with real pods, a real gateway and live traffic.

The client is the oracle: it never stops, and a request that fails on the way (not by a model)
fails the test, whatever the operator believes.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from e2e.cases import Case, condition
from e2e.traffic import Traffic

pytestmark = [pytest.mark.full_stack, pytest.mark.timeout(420, func_only=True)]

TIGHT = {
    "monitoring": {"metrics": [
        {"name": "errors", "type": "ErrorRate", "max": 0.01},
        {"name": "latency", "type": "Latency", "quantile": 0.95, "budget": "150ms"},
    ]},
    "contracts": {"api": {"latency": {"p95": "150ms"}}},
}  # fmt: skip


def test_a_better_model_is_promoted_and_the_old_one_retired(case: Case) -> None:
    old = case.serve("v1")
    case.apply("v2")
    status = case.wait("Promoted", timeout=240)
    new = case.workload(status)
    assert case.routes.of(new) == [0, 10, 50, 100]
    assert case.routes.last == {new: 100}
    assert status["stable"]["version"] == "1.1.0"
    assert condition(status, "Ready")["status"] == "True"
    assert case.attempt()["status"]["verdict"]["decision"] == "Promote"
    service = case.stack.cluster.get("service", "fraud", f"--namespace={case.namespace}")
    assert new.endswith(service["spec"]["selector"]["modelhandoff.dev/revision"])
    # The same pods that were judged serve on: a model is loaded once.
    assert [pod["status"]["containerStatuses"][0]["restartCount"] for pod in case.pods(new)] == [0]
    case.kubectl("wait", f"deployment/{old}", "--for=jsonpath={.spec.replicas}=0", "--timeout=50s")
    case.nothing_lost()


@pytest.mark.parametrize(
    ("version", "metric"),
    [
        pytest.param("v3", "latency", marks=pytest.mark.rate(20), id="slow"),
        pytest.param("v4", "errors", id="errors"),
        pytest.param("v5", "scores", id="drift"),
    ],
)
def test_a_bad_model_is_rolled_back_with_its_metric_named(
    case: Case, version: str, metric: str
) -> None:
    rules = TIGHT if metric == "latency" else {}
    old = case.serve("v1", rules)
    case.apply(version, rules)
    status = case.wait("RolledBack", timeout=240)
    bad = case.workload(status)
    assert metric in status["verdict"]["message"]
    assert case.routes.of(bad) in ([0, 10, 0], [0, 10, 50, 0])
    assert case.routes.last == {old: 100}
    assert case.attempt()["status"]["verdict"]["totalE"] >= 100
    assert condition(status, "Stalled")["reason"] == "RolledBack"
    assert "100 % on 1.0.0" in status["message"]
    mark = case.traffic.now()
    case.stack.cluster.wait(lambda: case.traffic.summary(since=mark).answered > 50, "answers", 30)
    assert case.traffic.summary(since=mark).share("1.0.0") == 1.0
    case.nothing_lost()


def test_the_same_behaviour_under_a_new_version_is_promoted(case: Case) -> None:
    case.serve("v1")
    case.apply("rebuilt")
    status = case.wait("Promoted", timeout=240)
    assert status["stable"]["version"] == "1.0.1"
    assert case.routes.of(case.workload(status)) == [0, 10, 50, 100]
    case.nothing_lost()


def test_harm_that_shows_only_on_probation_sends_all_traffic_back(case: Case) -> None:
    usual = [body for body in case.traffic.plan.bodies if _merchant(body) != NEW_CODE]
    new = [body for body in case.traffic.plan.bodies if _merchant(body) == NEW_CODE]
    case.traffic = Traffic(replace(case.traffic.plan, bodies=usual))
    others = Traffic(replace(case.traffic.plan, bodies=new, rate=10))
    try:
        old = case.serve("v1")
        case.apply("v4", {"rollout": {"probation": "20m"}})
        status = case.wait_weight(100, timeout=240)
        assert status["phase"] == "Progressing"
        case.wait_message("On probation until")
        pods = case.pods(old)
        assert pods, "the way back is warm"
        assert not case.deployment(case.workload(status))["metadata"].get("ownerReferences")
        # Only now somebody asks about the merchants that this model never learnt.
        others.start()
        status = case.wait("RolledBack", timeout=180)
        assert status["verdict"]["message"].startswith("On probation: ")
        assert "errors" in status["verdict"]["message"]
        assert case.routes.of(case.workload(status)) == [0, 10, 50, 100, 0]
        assert case.routes.last == {old: 100}
        assert status["stable"]["version"] == "1.0.0"
        case.nothing_lost()
        assert others.summary().not_the_models_fault == 0
    finally:
        others.stop()
        case.traffic.stop()


NEW_CODE = 19
"""Merchant code of 5 % of the example's requests; version 4 was trained without it."""


def _merchant(body: bytes) -> int:
    return int(json.loads(body)["inputs"][0]["data"][2])
