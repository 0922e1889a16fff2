"""Tests and reproduction in the tenant's own images: one Job after the other, each stored first."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from modelhandoff.api import names
from modelhandoff.api.job_results import JobReport
from modelhandoff.rollout.actions import (
    ApplyWorkload,
    DeleteWarmup,
    RecordChecks,
    RecordJob,
    RunTenantJob,
    WriteAttempt,
)
from modelhandoff.rollout.snapshot import FreezeView, PodView, WorkView
from tests.builders import IMAGE, spec
from tests.unit.rollout.model import Model

UNIT = {"name": "unit", "image": IMAGE, "command": ["pytest"]}
AGAIN = {
    "image": IMAGE,
    "command": ["train"],
    "tolerance": 0.02,
    "metrics": [{"name": "auc", "value": 0.91}],
}
GOOD = JobReport(found=True, numbers={"tests": 5, "failures": 0, "errors": 0, "skipped": 1})
REMADE = JobReport(found=True, numbers={"auc": 0.93})


def asking(*tests: dict[str, Any], reproduce: dict[str, Any] | None = None) -> Model:
    """A handoff with tests of its own; all of them pass unless told otherwise."""
    asked: dict[str, Any] = {"tests": list(tests)}
    if reproduce is not None:
        asked["reproduce"] = reproduce
    model = Model(raw_spec=spec(acceptance=asked))
    for at in range(len(tests)):
        leave(model, f"-test-{at}", GOOD)
    leave(model, "-reproduce", REMADE)
    return model


def ended(model: Model, code: int = 0, seconds: float = 12, said: str = "") -> WorkView:
    return WorkView(model.now, model.now + timedelta(seconds=seconds), code, said)


def leave(model: Model, end: str, report: JobReport | str, **work: Any) -> None:
    """What the container of a Job whose name ends so comes to."""
    text = report if isinstance(report, str) else report.model_dump_json(by_alias=True)
    model.left_behind[end] = (ended(model, **work), text)


def job_of(model: Model, end: str = "test-0") -> str:
    return names.tenant_job_name(model.attempt.name, end)


def condition(model: Model, kind: str) -> dict[str, str]:
    found: dict[str, str] = next(c for c in model.status["conditions"] if c["type"] == kind)
    return found


def rejected(model: Model, reason: str, *words: str, phase: str = "Rejected") -> None:
    """It ended so, in one line that says all of this, and without a pod."""
    model.run()
    assert model.state.phase == phase, model.state
    assert model.state.verdict is not None
    assert model.state.verdict.reason == reason
    for word in words:
        assert word in model.status["message"]
    assert model.workloads == {}


def test_every_job_runs_after_the_checks_and_before_the_first_pod_one_at_a_time():
    model = asking(UNIT, {**UNIT, "name": "integration"}, reproduce=AGAIN)

    model.run()

    assert model.state.phase == "Promoted"
    kinds = [type(write) for write in model.writes]
    assert [w.role for w in model.writes if isinstance(w, RunTenantJob)] == [
        "test-0",
        "test-1",
        "reproduce",
    ]
    assert kinds.index(RecordChecks) < kinds.index(RunTenantJob) < kinds.index(ApplyWorkload)
    assert [(job["name"], job["state"]) for job in model.state.jobs] == [
        ("Test/unit", "Passed"),
        ("Test/integration", "Passed"),
        ("Reproduction", "Passed"),
    ]
    assert model.state.jobs[0]["numbers"]["tests"] == 5
    assert condition(model, "AcceptancePassed")["status"] == "True"
    assert (
        "Test/unit: 4 tests passed, 1 skipped in 12 s."
        in (condition(model, "AcceptancePassed")["message"])
    )
    assert condition(model, "Reproduced")["status"] == "True"
    assert "auc 0.93" in condition(model, "Reproduced")["message"]


def test_without_any_job_nothing_is_reproduced_and_it_says_so():
    model = Model()

    model.run()

    assert condition(model, "Reproduced")["status"] == "Unknown"
    assert condition(model, "Reproduced")["reason"] == "NotDeclared"


def test_a_result_is_stored_before_it_is_judged():
    model = asking(UNIT)
    leave(model, "-test-0", "", code=3, said="AssertionError: 3 != 4")

    model.run()

    stored = [
        w.status
        for w in model.writes
        if isinstance(w, WriteAttempt)
        and w.status.get("jobs")
        and w.status["jobs"][0]["state"] == "Failed"
    ]
    assert "verdict" not in stored[0]
    assert "verdict" in stored[1]


@pytest.mark.parametrize(
    ("report", "work", "reason", "words"),
    [
        ("", {"code": 3, "said": "E   assert 3 == 4"}, "TestFailed", "exit code 3 after 12 s"),
        ("", {"code": 3, "said": "E   assert 3 == 4"}, "TestFailed", "E assert 3 == 4"),
        ("", {"code": 137, "said": ""}, "TestFailed", "It said nothing."),
        (
            JobReport(found=True, numbers={"tests": 3, "failures": 1}, first="a.b: no"),
            {},
            "TestFailed",
            "1 of 3 tests failed, although it exited with 0: a.b: no",
        ),
        (JobReport(found=True, numbers={"tests": 0}), {}, "TestRanNothing", "it ran no test"),
        (
            JobReport(found=True, numbers={"tests": 2, "skipped": 2}),
            {},
            "TestRanNothing",
            "2 were skipped",
        ),
        (JobReport(found=False), {}, "TestRanNothing", "no report in /results/junit.xml"),
        (
            JobReport(found=True, problem="junit.xml: is no XML: line 1"),
            {},
            "JobReportBroken",
            "is no XML",
        ),
        (GOOD, {"seconds": 601}, "TestTooSlow", "it ran for 601 s; allowed 600 s"),
    ],
)
def test_a_test_that_does_not_pass_is_the_end_with_its_own_reason(report, work, reason, words):
    model = asking(UNIT)
    leave(model, "-test-0", report, **work)

    rejected(model, reason, "Test/unit: ", words)
    assert condition(model, "AcceptancePassed")["status"] == "False"
    assert condition(model, "AcceptancePassed")["reason"] == reason


def test_the_end_of_the_log_of_a_container_that_failed_is_kept_line_by_line():
    model = asking(UNIT)
    leave(model, "-test-0", "", code=1, said="E\n  assert 3 == 4")

    model.run()

    assert model.state.jobs[0]["log"] == "E\n  assert 3 == 4"
    assert "E assert 3 == 4" in model.status["message"]


def test_of_one_that_ended_well_the_log_is_read_when_the_result_is_stored():
    model = asking(UNIT)

    model.run()

    (record,) = [w for w in model.writes if isinstance(w, RecordJob)]
    assert (record.result, record.pod) == ("Test/unit", f"{job_of(model)}-x")
    assert record.status["jobs"][0]["state"] == "Passed"


def test_a_freeze_holds_the_pods_and_not_the_tests():
    model = asking(UNIT)
    end = model.now + timedelta(hours=5)
    model.freezes = (FreezeView(model.now - timedelta(hours=1), end, "end of the year"),)

    model.run()

    assert model.state.jobs[0]["state"] == "Passed"
    assert "starts when the freeze ends" in model.status["message"]
    assert model.workloads == {}


def test_of_a_long_log_the_end_is_told():
    model = asking(UNIT)
    leave(model, "-test-0", "", code=1, said=f"{'x ' * 1500} the cause")

    rejected(model, "TestFailed", "x the cause")


def test_who_says_so_goes_by_the_exit_code_alone_but_never_against_a_report():
    model = asking({**UNIT, "evidence": "ExitCode"})
    leave(model, "-test-0", JobReport(found=False))
    model.run()
    assert model.state.phase == "Promoted"

    model = asking({**UNIT, "evidence": "ExitCode"})
    leave(model, "-test-0", JobReport(found=True, numbers={"tests": 0}))
    rejected(model, "TestRanNothing")


@pytest.mark.parametrize(
    ("report", "work", "reason", "words"),
    [
        ("", {"code": 1, "said": "out of data"}, "ReproductionFailed", "out of data"),
        (REMADE, {"seconds": 3601}, "ReproductionTooSlow", "ran for 3601 s; allowed 3600 s"),
        (
            JobReport(found=True, numbers={"auc": 0.87}),
            {},
            "ReproductionDiffers",
            "auc: got 0.87; allowed 0.91 +- 0.02",
        ),
        (JobReport(found=False), {}, "JobReportBroken", "no metrics in /results/metrics.json"),
        (JobReport(found=True, numbers={}), {}, "JobReportBroken", "got no auc"),
    ],
)
def test_a_model_that_cannot_be_made_again_is_rejected(report, work, reason, words):
    model = asking(reproduce=AGAIN)
    leave(model, "-reproduce", report, **work)

    rejected(model, reason, "Reproduction: ", words)
    assert condition(model, "Reproduced")["status"] == "False"


def test_a_metric_may_have_a_tolerance_of_its_own():
    close = {**AGAIN, "metrics": [{"name": "auc", "value": 0.91, "tolerance": 0.001}]}

    rejected(asking(reproduce=close), "ReproductionDiffers", "allowed 0.91 +- 0.001")


def test_a_test_that_runs_too_long_is_stopped_while_it_runs_and_its_job_deleted():
    model = asking(UNIT)
    model.left_behind["-test-0"] = (WorkView(model.now), "")
    waiting = model.run()
    assert model.state.phase == "Verifying"
    assert waiting.requeue_after == 600

    model.pass_time(seconds=601)
    job = job_of(model)
    rejected(model, "TestTooSlow", "has been running for 601 s; allowed 600 s")
    assert DeleteWarmup(job) in model.writes


def test_a_report_that_is_none_of_ours_blames_nobody():
    model = asking(UNIT)
    leave(model, "-test-0", "Traceback (most recent call last):")

    rejected(model, "JobNotRun", "not the model's fault", phase="Inconclusive")


def stuck(model: Model, **pod: Any) -> None:
    job = job_of(model)
    view = PodView(f"{job}-x", model.now, ready=False, deleting=False, restarts=0, **pod)
    model.jobs[job] = dataclasses.replace(model.jobs[job], pod=view)


@pytest.mark.parametrize(
    ("pod", "minutes", "reason", "words"),
    [
        ({"unschedulable": "0/3 nodes"}, 31, "CapacityShortage", "0/3 nodes"),
        ({"waiting_reason": "ImagePullBackOff"}, 31, "ImagePullFailed", "ImagePullBackOff"),
        (
            {
                "waiting_reason": "CreateContainerConfigError",
                "waiting_message": "image will run as root",
            },
            2,
            "JobNotRun",
            "image will run as root",
        ),
    ],
)
def test_a_job_that_never_starts_ends_without_blame_in_the_words_of_whom_it_waits_for(
    pod, minutes, reason, words
):
    model = asking(UNIT)
    model.left_behind.clear()
    model.run()
    stuck(model, **pod)

    waiting = model.run()
    assert model.state.phase == "Verifying"
    assert words in waiting.sentence

    model.pass_time(minutes=minutes)
    rejected(model, reason, words, phase="Inconclusive")


def test_bytes_that_are_not_the_declared_ones_reject_here_too():
    model = asking(UNIT)
    model.left_behind.clear()
    model.run()
    stuck(model, init_exit_code=3, init_message="fetch: Model: digest is wrong")

    rejected(model, "ArtifactMismatch", "digest is wrong")


def test_a_job_that_fails_before_the_test_began_blames_nobody():
    model = asking(UNIT)
    model.left_behind.clear()
    model.run()
    job = job_of(model)
    model.jobs[job] = dataclasses.replace(
        model.jobs[job], failed=True, message="Job was active longer than specified deadline"
    )

    rejected(model, "JobNotRun", "longer than specified deadline", phase="Inconclusive")


def test_a_job_that_somebody_deletes_is_made_again_while_there_is_time():
    model = asking(UNIT)
    left = dict(model.left_behind)
    model.left_behind.clear()
    model.run()
    job = job_of(model)
    model.jobs.pop(job)
    model.run()
    assert job in model.jobs
    assert len([w for w in model.writes if isinstance(w, RunTenantJob)]) == 2

    model.left_behind.update(left)
    model.settle()
    model.run()
    assert model.state.phase == "Promoted"


def test_a_job_that_is_deleted_too_late_ends_without_blame():
    model = asking(UNIT)
    model.left_behind.clear()
    model.run()
    model.jobs.pop(job_of(model))
    model.pass_time(hours=2)

    rejected(model, "JobNotRun", "is gone", phase="Inconclusive")


def test_a_job_that_says_nothing_ends_with_its_budget():
    model = asking(UNIT)
    model.left_behind.clear()
    model.run()
    model.pass_time(hours=3)

    rejected(model, "JobNotRun", "no pod of it was made", phase="Inconclusive")


def test_an_abort_while_a_job_runs_stops_it():
    model = asking(UNIT)
    model.left_behind.clear()
    model.run()
    job = job_of(model)
    model.annotations[names.ANNOTATION_ABORT] = model.attempt.name

    model.run()

    assert model.state.phase == "Aborted"
    assert job not in model.jobs
    assert model.workloads == {}
    assert condition(model, "AcceptancePassed")["message"] == "It was not run to its end."


def test_an_edit_while_a_job_runs_starts_again_with_what_it_says_now():
    model = asking(UNIT)
    model.left_behind.clear()
    model.run()
    first, job = model.attempt.name, job_of(model)
    model.edit("9.9.9")

    model.run()

    assert model.attempt.name != first
    assert model.state.phase == "Promoted"
    assert job not in model.jobs


def test_retry_runs_every_job_once_more():
    model = asking(UNIT)
    leave(model, "-test-0", "", code=1)
    model.run()
    leave(model, "-test-0", GOOD)
    model.annotations[names.ANNOTATION_RETRY] = model.attempt.name

    model.run()

    assert model.state.phase == "Promoted"
    assert len({w.job for w in model.writes if isinstance(w, RunTenantJob)}) == 2
