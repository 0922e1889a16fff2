"""Verification before anything serves: one Job, its report stored first, then what follows."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from modelhandoff.api import names
from modelhandoff.rollout.actions import (
    ApplyWorkload,
    DeleteWarmup,
    RecordChecks,
    RunVerification,
    WriteAttempt,
)
from modelhandoff.rollout.snapshot import PodView
from tests.builders import DIGEST, spec
from tests.unit.rollout.model import Model

GOLDEN = {"role": "TestData", "uri": "https://models.example/golden.jsonl", "digest": DIGEST}
MODEL = {"role": "Model", "uri": "https://models.example/model.onnx", "digest": DIGEST}


def asking(**more: Any) -> Model:
    """A handoff that declares golden cases."""
    return Model(
        raw_spec=spec(candidate={"artifacts": [MODEL, GOLDEN]}, acceptance={"smoke": {}}, **more)
    )


def condition(model: Model, kind: str) -> dict[str, str]:
    found: dict[str, str] = next(c for c in model.status["conditions"] if c["type"] == kind)
    return found


def stuck(model: Model, **pod: Any) -> None:
    """The Job's one pod is there, and does not get on."""
    job = names.verification_job_name(model.attempt.name)
    view = PodView(f"{job}-x", model.now, ready=False, deleting=False, restarts=0, **pod)
    model.jobs[job] = dataclasses.replace(model.jobs[job], pod=view)


def test_a_bundle_is_checked_before_the_first_pod_of_it_exists():
    model = asking()

    model.run()

    assert model.state.phase == "Promoted"
    kinds = [type(write) for write in model.writes]
    assert kinds.count(RunVerification) == kinds.count(RecordChecks) == 1
    assert kinds.index(RunVerification) < kinds.index(RecordChecks) < kinds.index(ApplyWorkload)
    assert condition(model, "AcceptancePassed")["status"] == "True"
    assert condition(model, "AcceptancePassed")["message"] == "20 right."
    assert condition(model, "GovernanceComplete")["reason"] == "NotDeclared"


def test_a_handoff_that_declares_nothing_needs_no_job_and_says_so():
    model = Model()

    model.run()

    assert model.state.phase == "Promoted"
    assert not [w for w in model.writes if isinstance(w, RunVerification)]
    assert condition(model, "ArtifactsVerified")["reason"] == "DigestsMatch"
    for kind in ("ContractsValid", "AcceptancePassed", "GovernanceComplete"):
        assert condition(model, kind)["status"] == "Unknown"
        assert condition(model, kind)["reason"] == "NotDeclared"
        assert "declared that" in condition(model, kind)["message"]


@pytest.mark.parametrize(
    ("check", "reason", "kind"),
    [
        ("ModelLoads", "ArtifactRefused", "ArtifactsVerified"),
        ("GraphContract", "ContractBroken", "ContractsValid"),
        ("GoldenCases", "AcceptanceFailed", "AcceptancePassed"),
        ("ModelCard", "GovernanceIncomplete", "GovernanceComplete"),
    ],
)
def test_a_failed_check_rejects_with_its_own_line_and_no_pod_ever(check, reason, kind):
    model = asking()
    line = "golden.jsonl:3: output score[0] is wrong; got 0.9; allowed 0.1 +- 0.0001"
    model.checks = [
        {"name": "Artifacts", "state": "Passed"},
        {"name": check, "state": "Failed", "message": line},
    ]

    model.run()

    assert model.state.phase == "Rejected"
    assert model.state.verdict is not None
    assert (model.state.verdict.reason, model.state.verdict.message) == (
        reason,
        f"{check}: {line}",
    )
    assert model.workloads == {}
    assert line in model.status["message"]
    assert condition(model, kind)["status"] == "False"
    assert condition(model, kind)["message"] == f"{check}: {line}"


def test_the_baseline_keeps_all_traffic_when_the_candidate_is_rejected():
    model = Model().promoted()
    stable = model.candidate
    model.raw_spec = spec(
        candidate={"model": {"version": "2.0.0"}, "artifacts": [MODEL, GOLDEN]},
        acceptance={"smoke": {}},
    )
    model.checks = [{"name": "GoldenCases", "state": "Failed", "message": "wrong"}]

    model.run()

    assert model.state.phase == "Rejected"
    assert model.route is not None
    assert dict(model.route.backends) == {stable: 100}
    assert list(model.workloads) == [stable]


def test_several_failed_checks_are_counted():
    model = asking()
    model.checks = [
        {"name": "GoldenCases", "state": "Failed", "message": "wrong"},
        {"name": "SBOM", "state": "Failed", "message": "severe"},
    ]

    model.run()

    assert model.state.verdict is not None
    assert "1 more checks failed" in model.state.verdict.message


def test_a_check_that_could_not_be_made_blames_nobody():
    model = asking()
    model.checks = [{"name": "GoldenCases", "state": "Inconclusive", "message": "no CPU"}]

    model.run()

    assert model.state.phase == "Inconclusive"
    assert "not the model's fault" in model.status["message"]
    assert model.workloads == {}


def test_a_report_about_another_spec_is_refused_as_tampering():
    model = asking()
    model.read_spec = "sha256:" + "6" * 64

    model.run()

    assert model.state.phase == "Rejected"
    assert model.state.verdict is not None
    assert model.state.verdict.reason == "TamperedSpec"
    assert not [w for w in model.writes if isinstance(w, RecordChecks)]
    assert model.workloads == {}


@pytest.mark.parametrize("receipt", ["nothing", "Killed", "{}", '{"verdict":"Passed"}', "x" * 4096])
def test_garbage_instead_of_a_receipt_lets_nothing_through(receipt):
    model = asking()
    model.receipt = lambda: receipt  # type: ignore[method-assign]

    model.run()

    assert model.state.phase == "Inconclusive"
    assert model.state.verdict is not None
    assert model.state.verdict.reason == "ReportUnreadable"
    assert model.workloads == {}


def test_a_report_whose_log_is_gone_lets_nothing_through():
    model = asking()
    model.checks = []

    model.run()

    assert model.state.phase == "Inconclusive"
    assert model.state.verdict is not None
    assert "the log is gone" in model.state.verdict.message


def test_results_are_judged_from_what_is_stored_when_the_job_and_its_pod_are_gone():
    model = asking()
    while not (model.attempts and model.state.checks):
        decision = model.decide()
        assert decision.action is not None
        model.apply(decision.action)
        model.settle()
    model.jobs.clear()

    model.run()

    assert model.state.phase == "Promoted"
    assert sum(isinstance(w, RunVerification) for w in model.writes) == 1


def test_repeated_passes_make_one_job_and_wait_for_it():
    model = asking()
    model.job_runs = False

    model.run()
    for _ in range(5):
        model.pass_time(minutes=1)
        decision = model.run()

    assert model.state.phase == "Verifying"
    assert sum(isinstance(w, RunVerification) for w in model.writes) == 1
    assert decision.requeue_after is not None
    assert 0 < decision.requeue_after < timedelta(hours=2).total_seconds()
    assert condition(model, "AcceptancePassed")["reason"] == "Verifying"


def test_no_room_is_borne_for_its_time_and_then_nobodys_fault():
    model = asking()
    model.job_runs = False
    model.run()
    stuck(model, unschedulable="0/3 nodes are available: 3 Insufficient memory.")

    model.run()
    assert model.state.phase == "Verifying"
    assert "Insufficient memory" in model.status["message"]

    model.pass_time(minutes=31)
    model.run()
    assert model.state.phase == "Inconclusive"
    assert model.state.verdict is not None
    assert model.state.verdict.reason == "CapacityShortage"
    assert "not the model's fault" in model.status["message"]


def test_an_image_that_cannot_be_had_is_nobodys_fault():
    model = asking()
    model.job_runs = False
    model.run()
    stuck(model, waiting_reason="ImagePullBackOff", waiting_message="back-off", node="n")

    model.pass_time(minutes=31)
    model.run()

    assert model.state.phase == "Inconclusive"
    assert model.state.verdict is not None
    assert model.state.verdict.reason == "ImagePullFailed"


def test_bytes_with_another_digest_are_rejected_at_once():
    model = asking()
    model.job_runs = False
    model.run()
    stuck(
        model, init_exit_code=3, init_message="Model https://x: digest is wrong; got a; allowed b"
    )

    model.run()

    assert model.state.phase == "Rejected"
    assert model.state.verdict is not None
    assert model.state.verdict.reason == "ArtifactMismatch"
    assert condition(model, "ArtifactsVerified")["status"] == "False"


def test_a_baseline_file_with_another_digest_is_nobodys_fault():
    model = asking()
    model.job_runs = False
    model.run()
    stuck(model, init_exit_code=3, init_message="fetch: Baseline Model https://x: digest is wrong")

    model.run()

    assert model.state.phase == "Inconclusive"
    assert model.state.verdict is not None
    assert "A file of the baseline has changed: fetch: Baseline" in model.state.verdict.message


def test_an_artifact_host_that_is_down_is_nobodys_fault():
    model = asking()
    model.job_runs = False
    model.run()
    stuck(model, init_exit_code=4, init_message="no route to host")
    job = names.verification_job_name(model.attempt.name)
    model.jobs[job] = dataclasses.replace(
        model.jobs[job], failed=True, message="fetch: Model: no route to host"
    )

    model.run()

    assert model.state.phase == "Inconclusive"
    assert model.state.verdict is not None
    assert model.state.verdict.reason == "ArtifactUnavailable"
    assert "no route to host" in model.state.verdict.message


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        (
            {"unschedulable": 'persistentvolumeclaim "models" not found'},
            'The scheduler says: persistentvolumeclaim "models" not found',
        ),
        ({"unmounted": ("models",)}, "The volume of claim models is not mounted on the node yet"),
    ],
)
def test_a_claim_that_cannot_be_had_is_waited_for_and_then_nobodys_fault(pod, said):
    model = asking()
    model.job_runs = False
    model.run()
    stuck(model, **pod)

    decision = model.run()
    assert decision.status["phase"] == "Verifying"
    assert said in decision.status["message"]
    assert "Giving up in " in decision.status["message"]

    model.pass_time(hours=1)
    model.run()
    assert model.state.phase == "Inconclusive"
    assert model.state.verdict is not None
    assert model.state.verdict.reason == "ArtifactUnavailable"
    assert said in model.state.verdict.message


def test_a_job_that_fails_or_never_ends_is_nobodys_fault():
    for failed in (True, False):
        model = asking()
        model.job_runs = False
        model.run()
        if failed:
            job = names.verification_job_name(model.attempt.name)
            model.jobs[job] = dataclasses.replace(
                model.jobs[job], failed=True, message="DeadlineExceeded"
            )
        else:
            model.pass_time(hours=2)

        model.run()

        assert model.state.phase == "Inconclusive"
        assert model.state.verdict is not None
        assert model.state.verdict.reason == "VerificationNotRun"
        assert model.workloads == {}


def test_an_abort_or_an_edit_stops_the_running_job():
    for stop in ("abort", "edit"):
        model = asking()
        model.job_runs = False
        model.run()
        first = model.attempt.name
        if stop == "abort":
            model.annotations[names.ANNOTATION_ABORT] = first
        else:
            model.edit("3.0.0")

        model.run()

        deleted = [w.job for w in model.writes if isinstance(w, DeleteWarmup)]
        assert names.verification_job_name(first) in deleted
        ended = model.attempts[first].status["phase"]
        assert ended == ("Aborted" if stop == "abort" else "Superseded")


def test_the_same_revision_under_new_golden_cases_runs_the_gate_and_moves_no_traffic():
    model = asking().promoted_as_is()
    model.raw_spec = {**model.raw_spec, "acceptance": {"smoke": {"absTolerance": 0.001}}}
    model.checks = [{"name": "GoldenCases", "state": "Failed", "message": "wrong"}]
    weights = list(model.weights)

    model.run()

    assert model.attempt.kind == "Refresh"
    assert model.state.phase == "Rejected"
    assert model.weights == weights
    assert all(w.desired for w in model.workloads.values()), "what serves goes on serving"


def test_the_checks_stay_in_the_status_through_every_later_write():
    model = asking()
    model.run()

    stored = [w.status for w in model.writes if isinstance(w, WriteAttempt)]
    after = stored[next(i for i, s in enumerate(stored) if s.get("checks")) :]
    assert len(after) > 1
    assert all(status["checks"] == model.checks for status in after)
