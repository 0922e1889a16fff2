"""What was asked before traffic, in the decision report."""

from datetime import UTC, datetime

import pytest
from markdown_it import MarkdownIt

from modelhandoff.api.vocabulary import Outcome
from modelhandoff.report import compose, read, to_html, to_markdown
from modelhandoff.rollout.attempt import Approved
from tests.unit.report.exports import DRIFTED, attempt, ended, untouched

AT = datetime(2026, 11, 25, 1, 2, 3, tzinfo=UTC)
HOSTILE = "| `<script>` | \n\n# H\n- l\n</td>"
SIGNED = (
    Approved("DataScience", "ana@example.com", "a-1", AT, "The lift is real."),
    Approved("Engineering", "ben@example.com", "a-2", AT),
)
PASSED = (
    {"name": "Artifacts", "state": "Passed", "message": "3 files.", "numbers": {"files": 3.0}},
    {"name": "ModelCard", "state": "Skipped", "message": "None is asked for."},
)
FAILED = {"name": "GoldenCases", "state": "Failed", "message": "2 of 20 differ."}


def refused(reason="AcceptanceFailed", **changes):
    state = untouched(Outcome.REJECT, reason, "GoldenCases: 2 of 20 differ.")
    return state.but(checks=(*PASSED, FAILED), **changes)


def written(state):
    return to_markdown(compose(read([attempt(state)])))


def sections(text):
    return [line[3:] for line in text.splitlines() if line.startswith("## ")]


def test_a_candidate_that_was_refused_shows_its_checks_first():
    text = written(refused())
    assert sections(text)[0] == "Checks before traffic"
    assert "| `GoldenCases` | 🔴 failed | 2 of 20 differ. |" in text
    assert "| `Artifacts` | 🟢 passed | 3 files. (files 3) |" in text
    assert "Look at the numbers of the checks" in text


def test_a_candidate_that_passed_shows_its_measurements_first():
    state = ended(DRIFTED, Outcome.ROLLBACK, "HarmDetected").but(checks=PASSED, approvals=SIGNED)
    text = written(state)
    found = sections(text)
    assert found.index("Metrics at the decision") < found.index("Checks before traffic")
    assert found.index("Checks before traffic") < found.index("Approvals")
    assert (
        "| DataScience | `ana@example.com` | 2026-11-25 01:02:03 UTC | The lift is real. |" in text
    )


def test_the_tenants_own_jobs_stand_beside_the_checks_with_the_end_of_their_logs():
    job = {
        "name": "Reproduction",
        "job": "fraud-reproduce",
        "since": "2026-11-25T01:00:00Z",
        "state": "Failed",
        "reason": "ReproductionDiffers",
        "message": "auc: got 0.8; allowed 0.91 +- 0.02",
        "numbers": {"auc": 0.8, "seconds": 1800.0},
        "log": "epoch 1\n```\n# epoch 2",
    }
    state = untouched(Outcome.REJECT, "ReproductionDiffers", "auc: got 0.8").but(
        checks=PASSED, jobs=(job,)
    )

    text = written(state)

    assert sections(text)[0] == "Checks before traffic"
    assert "auc: got 0.8; allowed 0.91 +- 0.02 (auc 0.8; seconds 1800)" in text
    assert "epoch 1\n```\n# epoch 2" in text
    assert "epoch 2" not in str(sections(text))
    assert "Compare data, seed and libraries of both trainings" in text


def test_without_checks_and_signatures_nothing_is_said_of_them():
    found = sections(written(ended(DRIFTED, Outcome.ROLLBACK, "HarmDetected")))
    assert not {"Checks before traffic", "Approvals"} & set(found)


@pytest.mark.parametrize(
    "reason",
    ["CheckInconclusive", "VerificationNotRun", "ReportUnreadable", "TamperedSpec", "JobNotRun"],
)
def test_a_check_that_could_not_be_made_is_not_the_models_fault(reason):
    state = untouched(Outcome.INCONCLUSIVE, reason, "The Job ran out of memory.")
    text = written(state.but(checks_problem="the log has no report"))
    assert "It is not the model's fault." in text
    assert "the log has no report" in text
    assert sections(text)[0] == "Checks before traffic"


def test_hostile_words_of_a_check_and_of_an_approver_stay_words():
    hostile = {"name": HOSTILE, "state": "Failed", "message": HOSTILE, "numbers": {HOSTILE: 1.0}}
    signed = (Approved(HOSTILE, HOSTILE, HOSTILE, AT, HOSTILE),)
    calm = {"name": "x", "state": "Failed", "message": "x", "numbers": {"x": 1.0}}
    plain = (Approved("x", "x", "x", AT, "x"),)

    def kinds(check, people):
        text = written(refused().but(checks=(check,), approvals=people))
        return [t.type for t in MarkdownIt("commonmark").enable("table").parse(text)]

    # The status itself takes names of 63 characters.
    short = {**hostile, "name": HOSTILE[:60]}
    assert kinds(short, signed) == kinds(calm, plain)
    page = to_html(compose(read([attempt(refused().but(checks=(short,), approvals=signed))])))
    assert "<script" not in page


def test_the_checklist_is_told_from_the_attempt_alone():
    state = ended(DRIFTED, Outcome.ROLLBACK, "HarmDetected").but(checks=PASSED, approvals=SIGNED)
    text = written(state)

    assert "## Handoff checklist: 3 of 8" in text
    assert "| `ArtifactsVerified` | 🟢 yes | ChecksPassed: 3 files. |" in text
    assert "| `RunbookComplete` | 🔴 no | RunbookIncomplete: spec.rollout.rollbackPlan: " in text
    assert "| `Reproduced` | not shown | NotDeclared: " in text
    assert "| `Approved` | 🟢 yes | Approved: Approved by DataScience (ana@example.com), " in text
