"""What the candidate's pods must show before any weight: stored first, judged once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelhandoff.rollout.actions import ApplyRoute, RunWarmup, WriteAttempt
from tests.unit.rollout.model import Model

PROMISES = f"sha256:{'b' * 64}"
LINE = "golden.jsonl:3: header X-Model-Version of the answer is wrong; got 2; allowed 1.4.0 (pod p)"


def check(name: str = "CanaryContract", state: str = "Passed", message: str = "1 pod.") -> Any:
    return {"name": name, "state": state, "message": message, "numbers": {}}


def said(*checks: Any, promises: str = PROMISES) -> str:
    """The termination message of the warm-up Job."""
    return json.dumps({"verdict": "Warm", "canary": {"promises": promises, "checks": list(checks)}})


def condition(model: Model, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(c for c in model.status["conditions"] if c["type"] == kind)
    return found


def test_what_the_pods_kept_is_stored_before_it_is_judged_and_asked_once() -> None:
    model = Model(promises=PROMISES, canary=said(check()))
    model.run()

    assert model.state.phase == "Promoted"
    assert [c["name"] for c in model.state.checks] == ["CanaryContract"]
    assert sum(isinstance(w, RunWarmup) for w in model.writes) == 1
    stored = [w for w in model.writes if isinstance(w, WriteAttempt) and w.status.get("checks")]
    assert stored[0].status["phase"] == "WarmingUp"
    assert condition(model, "ContractsValid")["status"] == "True"
    assert condition(model, "ArtifactsVerified")["reason"] == "DigestsMatch"
    assert condition(model, "GovernanceComplete")["reason"] == "NotDeclared"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("CanaryContract", "ContractBroken"),
        ("CanaryGoldenCases", "AcceptanceFailed"),
    ],
)
def test_a_broken_promise_is_rejected_with_its_line_and_gets_no_weight(
    name: str, reason: str
) -> None:
    model = Model().promoted()
    before = len(model.weights)
    model.promises, model.canary = PROMISES, said(check(name, "Failed", LINE))
    model.edit("2.0.0")
    model.run()

    assert model.state.phase == "Rejected"
    assert model.state.verdict is not None
    assert (model.state.verdict.reason, model.state.verdict.message) == (reason, f"{name}: {LINE}")
    assert condition(model, "AcceptancePassed")["status"] != "True"
    assert all(len(weights) == 1 for weights in model.weights[before:])
    assert not any(isinstance(w, ApplyRoute) and len(w.backends) > 1 for w in model.writes)


@pytest.mark.parametrize(
    ("canary", "outcome", "reason"),
    [
        ("nothing", "Inconclusive", "ReportUnreadable"),
        ('{"verdict":"Warm"}', "Inconclusive", "ReportUnreadable"),
        (said(check("Artifacts")), "Inconclusive", "ReportUnreadable"),
        (said(check(state="Inconclusive")), "Inconclusive", "CheckInconclusive"),
        (said(check(), promises=f"sha256:{'c' * 64}"), "Rejected", "TamperedSpec"),
    ],
)
def test_what_is_no_report_on_these_promises_lets_nothing_through(
    canary: str, outcome: str, reason: str
) -> None:
    model = Model(promises=PROMISES, canary=canary)
    model.run()

    assert model.state.phase == outcome
    assert model.state.verdict is not None
    assert model.state.verdict.reason == reason


def test_a_job_that_is_done_is_waited_for_until_its_pod_is_seen() -> None:
    model = Model(promises=PROMISES)
    model.run()
    assert model.state.phase == "WarmingUp"

    model.pass_time(minutes=20)
    model.run()
    assert model.state.phase == "Inconclusive"


def test_a_job_of_an_older_operator_that_was_told_nothing_only_warms_up() -> None:
    model = Model(canary='{"verdict":"Warm","wanted":50}')
    model.run()

    assert model.state.phase == "Promoted"
    assert model.state.checks == ()


def test_promises_are_checked_where_no_example_request_is_asked_for() -> None:
    model = Model(promises=PROMISES, canary=said(check(state="Failed", message=LINE)))
    model.raw_spec = {
        **model.raw_spec,
        "rollout": {**model.raw_spec["rollout"], "warmup": {"requests": 0}},
    }
    model.run()

    assert model.state.phase == "Rejected"
