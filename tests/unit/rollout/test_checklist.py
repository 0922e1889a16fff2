"""The handoff's checklist: eight conditions from the start, counted, each with the next step."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from modelhandoff.api.checklist import ChecklistPoint, gaps
from modelhandoff.api.job_results import JobReport
from modelhandoff.api.resolve import resolve
from modelhandoff.api.vocabulary import CHECKLIST, ConditionType
from modelhandoff.cli.kubectl.words import words
from modelhandoff.rollout.snapshot import ExemptionView, WorkView
from tests.builders import DIGEST, IMAGE, spec
from tests.unit.rollout.model import OPEN, Model


def file(role: str, name: str) -> dict[str, str]:
    return {"role": role, "uri": f"https://models.example/{name}", "digest": DIGEST}


PLAN = "Scale fraud-1.3.2 up, point the route at it, tell the payments team."
AGAIN = {
    "image": IMAGE,
    "command": ["train"],
    "tolerance": 0.02,
    "metrics": [{"name": "auc", "value": 0.91}],
}
COMPLETE: dict[str, Any] = {
    "candidate": {
        "artifacts": [
            file("Model", "model.onnx"),
            file("TestData", "golden.jsonl"),
            file("ApiContract", "api.json"),
            file("ModelCard", "card.md"),
            file("SBOM", "sbom.json"),
        ]
    },
    "acceptance": {"smoke": {}, "reproduce": AGAIN},
    "governance": {
        "modelCard": {},
        "privacy": {"piiFields": []},
        "sbom": {"maxSeverity": "High"},
    },
    "approvals": {"roles": ["Engineering"]},
    "rollout": {"rollbackPlan": PLAN},
}
PASSED = [
    {"name": name, "state": "Passed", "message": f"{name} is fine."}
    for name in ("Artifacts", "ApiContract", "GoldenCases", "ModelCard", "License", "Privacy",
                 "SBOM")
]  # fmt: skip


def world(checks: Any = PASSED, **changes: Any) -> Model:
    """A handoff that declares every point that can be declared, with these results."""
    model = Model(raw_spec=spec(**{**COMPLETE, **changes}))
    model.checks = [dict(check) for check in checks]
    remade = JobReport(found=True, numbers={"auc": 0.92}).model_dump_json(by_alias=True)
    work = WorkView(model.now, model.now + timedelta(seconds=12), 0, "")
    model.left_behind["-reproduce"] = (work, remade)
    return model


def points(model: Model) -> dict[str, dict[str, Any]]:
    found = {c["type"]: c for c in model.status["conditions"]}
    return {kind: found[kind] for kind in CHECKLIST}


def test_all_eight_are_there_and_unknown_before_anything_was_done():
    model = Model(deleting=True)
    model.status = dict(model.decide().status)

    assert model.status["checklist"] == {"passed": 0, "total": 8, "label": "0/8"}
    for condition in points(model).values():
        assert condition["status"] == "Unknown"
        assert condition["reason"] == "NotStarted"
        assert condition["message"].endswith(".")
        assert condition["observedGeneration"] == 1


def test_the_smallest_handoff_is_promoted_and_is_told_what_its_checklist_lacks():
    model = Model()
    model.run()

    assert model.state.phase == "Promoted", "what is not declared blocks nothing"
    found = points(model)
    assert {kind: (c["status"], c["reason"]) for kind, c in found.items()} == {
        "ArtifactsVerified": ("True", "DigestsMatch"),
        "Reproduced": ("Unknown", "NotDeclared"),
        "ContractsValid": ("Unknown", "NotDeclared"),
        "AcceptancePassed": ("Unknown", "NotDeclared"),
        "MonitoringReady": ("True", "MonitoringPlanned"),
        "RunbookComplete": ("False", "RunbookIncomplete"),
        "GovernanceComplete": ("Unknown", "NotDeclared"),
        "Approved": ("Unknown", "ApprovalNotRequired"),
    }
    assert model.status["checklist"] == {"passed": 2, "total": 8, "label": "2/8"}
    for kind, where in (
        ("ContractsValid", "spec.contracts: "),
        ("AcceptancePassed", "spec.acceptance: "),
        ("RunbookComplete", "spec.rollout.rollbackPlan: "),
        ("GovernanceComplete", "spec.governance: "),
        ("Approved", "spec.approvals: "),
    ):
        assert found[kind]["message"].startswith(where)
        assert "; add " in found[kind]["message"]


def test_a_complete_handoff_passes_all_eight():
    model = world()
    model.run()
    assert model.state.phase == "AwaitingApproval"
    assert points(model)["Approved"]["reason"] == "AwaitingApproval"
    assert model.status["checklist"]["label"] == "7/8"

    model.approve("Engineering", "eva@example.com")
    model.run()

    found = points(model)
    assert {c["status"] for c in found.values()} == {"True"}
    assert model.status["checklist"] == {"passed": 8, "total": 8, "label": "8/8"}
    assert "auc 0.92" in found["Reproduced"]["message"]
    assert "eva@example.com" in found["Approved"]["message"]


def test_who_wants_to_make_the_model_again_is_told_what_is_stated():
    model = Model()
    model.run()
    assert (
        "commit 9fceb02d0ae5 of https://git.example/fraud, seed 42"
        in (points(model)["Reproduced"]["message"])
    )

    provenance = {**spec()["candidate"]["provenance"], "nondeterministic": {"reason": "GPU sums"}}
    del provenance["seed"]
    raw = spec()
    raw["candidate"]["provenance"] = provenance
    model = Model(raw_spec=raw)
    model.run()
    assert (
        "no seed (GPU sums), environment requirements.lock"
        in (points(model)["Reproduced"]["message"])
    )


@pytest.mark.parametrize(
    ("checks", "says"),
    [
        (
            [{**c, "state": "Skipped"} if c["name"] == "License" else c for c in PASSED],
            "License: License is fine.",
        ),
    ],
)
def test_a_licence_that_nobody_states_leaves_governance_incomplete(checks, says):
    model = world(checks)
    model.run()

    found = points(model)["GovernanceComplete"]
    assert (found["status"], found["reason"]) == ("False", "GovernanceIncomplete")
    assert found["message"] == says
    assert model.state.phase == "AwaitingApproval", "it stops nothing"


def test_a_model_card_alone_is_no_complete_governance():
    model = world(
        [{"name": "ModelCard", "state": "Passed", "message": "fine"}],
        governance={"modelCard": {}},
    )
    model.run()

    found = points(model)["GovernanceComplete"]
    assert (found["status"], found["reason"]) == ("False", "GovernanceIncomplete")
    assert "spec.governance.privacy: " in found["message"]
    assert "spec.governance.sbom: " in found["message"]


ERRORS = {"name": "errors", "type": "ErrorRate", "max": 0.01}
LATENCY = {"name": "latency", "type": "Latency", "quantile": 0.95, "budget": "30ms"}
DRIFT = {"name": "scores", "type": "Drift", "of": "Output", "maxKL": 0.2}


@pytest.mark.parametrize(
    ("monitoring", "lacking"),
    [
        ({"metrics": [ERRORS, DRIFT]}, []),
        ({"metrics": [ERRORS, {**DRIFT, "role": "Info"}], "interval": "5m"}, []),
        ({"metrics": [LATENCY, DRIFT]}, ["spec.monitoring.metrics: no guardrail notices"]),
        (
            {"metrics": [LATENCY, {**ERRORS, "role": "Info"}, DRIFT]},
            ["spec.monitoring.metrics: no guardrail notices"],
        ),
        ({"metrics": [ERRORS, LATENCY]}, ["spec.monitoring.metrics: no metric notices drift"]),
        ({"metrics": [ERRORS, DRIFT], "interval": "10m"}, ["spec.monitoring.interval: trouble"]),
        (
            {"metrics": [LATENCY], "interval": "1h"},
            ["no guardrail", "no metric notices drift", "within minutes"],
        ),
    ],
)
def test_a_monitoring_plan_notices_outage_and_drift_within_minutes(monitoring, lacking):
    raw = spec()
    raw["monitoring"] = monitoring

    found = gaps(resolve(raw), ChecklistPoint.MONITORING_READY)

    assert len(found) == len(lacking)
    for gap, says in zip(found, lacking, strict=True):
        assert says in gap.sentence


def test_while_traffic_flows_the_metrics_must_really_be_there():
    model = Model().started()
    model.look(OPEN)
    assert points(model)["MonitoringReady"]["reason"] == "MetricsAvailable"

    model.unknown = "Prometheus: connection refused"
    model.pass_time(seconds=30)
    model.run(fresh=True)
    found = points(model)["MonitoringReady"]
    assert (found["status"], found["reason"]) == ("False", "MetricsError")
    assert "connection refused" in found["message"]


def test_while_the_job_runs_its_points_wait_for_it_and_undeclared_ones_do_not():
    model = world(acceptance=...)
    model.job_runs = False
    model.run()

    found = points(model)
    assert model.state.phase == "Verifying"
    assert found["ContractsValid"]["reason"] == "Verifying"
    assert found["GovernanceComplete"]["reason"] == "Verifying"
    assert found["AcceptancePassed"]["reason"] == "NotDeclared"


def test_a_point_of_the_spec_is_a_condition_of_the_same_name():
    assert [point.value for point in ChecklistPoint] == [str(kind) for kind in CHECKLIST]
    assert set(CHECKLIST) <= set(ConditionType)


def test_every_reason_has_words():
    for model in (Model(), world()):
        model.run()
        for condition in points(model).values():
            assert words(condition["reason"]) is not None, condition


def test_the_time_of_a_point_moves_only_when_its_value_does():
    model = world()
    model.run()
    before = points(model)
    model.now += timedelta(hours=1)
    model.approve("Engineering", "eva@example.com")
    model.run()
    after = points(model)

    assert after["Approved"]["lastTransitionTime"] != before["Approved"]["lastTransitionTime"]
    for kind in CHECKLIST[:-1]:
        assert after[kind]["lastTransitionTime"] == before[kind]["lastTransitionTime"]


def test_what_the_policy_requires_must_be_shown_and_not_skipped():
    model = world([{**c, "state": "Skipped"} if c["name"] == "GoldenCases" else c for c in PASSED])
    model.required = frozenset({"ArtifactsVerified", "ContractsValid", "AcceptancePassed"})
    model.run()

    assert model.state.phase == "Rejected"
    assert model.state.verdict is not None
    assert model.state.verdict.reason == "PolicyViolation"
    assert model.state.verdict.message == (
        "The policy requires AcceptancePassed, and it is not shown (ChecksSkipped): "
        "GoldenCases: GoldenCases is fine."
    )
    assert model.workloads == {}


def test_what_the_policy_requires_and_is_shown_goes_on():
    model = world()
    model.required = frozenset(CHECKLIST)
    model.run()

    assert model.state.phase == "AwaitingApproval"


def test_a_policy_that_asks_for_more_meanwhile_counts_before_people_are_asked():
    model = world(rollout={})
    model.job_runs = False
    model.run()
    model.required = frozenset({"RunbookComplete"})
    model.job_runs = True
    model.settle()
    model.run()

    assert model.state.phase == "Rejected"
    assert "The policy requires RunbookComplete, and it is not shown" in model.status["message"]


def test_the_digests_of_a_bundle_without_a_job_are_compared_by_the_first_pod():
    model = Model()
    model.required = frozenset({"ArtifactsVerified"})
    model.run()

    assert model.state.phase == "Promoted"


def test_exemptions_are_shown_bounded():
    model = Model()
    model.exempted = tuple(ExemptionView(f"Rule{n}", "why " * 500) for n in range(40))
    model.run()

    shown = model.status["exemptions"]
    assert len(shown) == 32
    assert all(len(one["reason"]) <= 253 for one in shown)


def test_a_status_is_small_whatever_is_written_in_the_spec():
    long = "x" * 1024
    raw = spec(
        rollout={"rollbackPlan": long},
        runbook={"url": f"https://runbooks.example/{'u' * 900}",
                 "owners": {"team": "t" * 63, "escalation": [long] * 10}},
    )  # fmt: skip
    raw["candidate"]["provenance"]["git"]["repo"] = "r" * 512
    raw["monitoring"]["metrics"] = [{**ERRORS, "name": f"{'e' * 60}{n:02}"} for n in range(49)] + [
        DRIFT
    ]
    model = Model(raw_spec=raw)
    model.run()

    for condition in points(model).values():
        assert len(condition["message"]) <= 1000
