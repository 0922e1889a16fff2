"""``explain``: the same engine on the kept evidence; distances and what would flip it."""

from __future__ import annotations

import copy
import re
from datetime import UTC, datetime
from pathlib import Path

from modelhandoff.analysis.verdict import Reason as Judgement
from modelhandoff.api import names
from modelhandoff.api.vocabulary import Outcome, Reason
from modelhandoff.cli.kubectl import words
from modelhandoff.rollout.attempt import AttemptState
from tests.unit.cli.kubectl.world import Story

OPERATIONS = Path(__file__).parents[4] / "docs" / "operations.md"


def test_the_evidence_it_names_is_the_engines_own(server, call):
    story = Story(server).judged(looks=12, errors=0.01)
    story.write("10 % on 1.4.0: no harm found.", weight=10)

    out = call("explain", "fraud").out

    assert "reaches 100 (harmLevel 0.01" in out
    by_name = {m.name: m for m in story.verdict.metrics}
    assert f"{by_name['errors'].weighted_e:.2g} of 100" in out
    assert "of 20" in out


def test_a_running_attempt_is_told_what_each_way_would_take(server, call):
    Story(server).judged(looks=12).write("10 % on 1.4.0: no harm found.", weight=10)

    out = call("explain", "fraud").out

    assert "To go to 50 %, all of:" in out
    assert "○ 30 looks in this step: 12" in out
    assert "○ 20 min in this step: 12 min" in out
    assert "✓ evidence of harm below 3" in out
    assert re.search(r"To roll back: \S+ times the present evidence of harm", out)


def test_the_last_step_names_the_proofs_and_the_person_who_is_asked(server, call):
    spec = Story(server).spec
    spec["rollout"]["steps"] = [{"weight": 10, "minDuration": "20m"}]
    spec["rollout"]["decision"] = {"promotion": "Manual"}
    Story(server, spec=spec).judged(looks=12).write("10 % on 1.4.0.", weight=10)

    out = call("explain", "fraud").out

    assert "To go to 100 %, all of:" in out
    assert "errors proven safe: Pending" in out
    assert "a person: kubectl handoff promote" in out


def test_a_rollback_says_by_how_much_it_missed(server, call):
    story = Story(server).judged(errors=0.2)
    story.ended(Outcome.ROLLBACK, "HarmDetected", "errors at 20 %.").write("Rolled back.")

    out = call("explain", "fraud").out

    assert "HarmDetected: the named metrics are worse, beyond doubt." in out
    assert "Rollback was latched at" in out
    assert "errors would have had to stay below 1.00 %; it was 20.0 %" in out
    assert "It stood at 132 after 12 looks" in out


def test_silence_is_named_as_what_keeps_it(server, call):
    story = Story(server).judged(looks=12)
    story.state = story.state.but(
        unknown_since=story.now, unknown_reason="MetricsError", unknown_message="refused"
    )
    story.write("No usable metrics.", weight=10)

    out = call("explain", "fraud").out

    assert "MetricsError: the source did not answer usefully" in out
    assert "○ usable metrics: none for" in out


def test_evidence_of_another_version_falls_back_on_the_status(server, call):
    story = Story(server).judged(looks=12)
    story.state = story.state.but(evidence='{"v": 99}')
    story.write("10 % on 1.4.0.", weight=10)

    answer = call("explain", "fraud")

    assert answer.code == 0
    assert "From the status alone" in answer.out
    assert "errors" in answer.out


def test_a_snapshot_that_cannot_be_read_breaks_nothing(server, call):
    story = Story(server).judged(looks=12).write("10 % on 1.4.0.", weight=10)
    attempt = copy.deepcopy(server.find(names.ATTEMPTS, "payments", story.attempt))
    attempt["spec"]["snapshot"] = "{"
    server.add(names.ATTEMPTS, attempt)

    assert call("explain", "fraud").code == 0
    assert call("status", "fraud").code == 0
    assert call("history", "fraud").code == 0


def test_a_decision_points_to_its_report(server, call):
    story = Story(server).judged(errors=0.2)
    story.write("10 % on 1.4.0.", weight=10)
    assert "handoff report" not in call("explain", "fraud").out

    story.ended(Outcome.ROLLBACK, "HarmDetected", "errors at 20 %.").write("Rolled back.")
    assert "kubectl handoff report fraud -n payments" in call("explain", "fraud").out


def test_an_attempt_that_is_gone_is_said(server, call):
    story = Story(server).judged(looks=12).write("10 % on 1.4.0.", weight=10)
    server.remove(names.ATTEMPTS, "payments", story.attempt)

    out = call("explain", "fraud").out

    assert f"Attempt {story.attempt} is gone" in out


def test_the_words_are_those_of_the_operations_guide():
    rows = re.findall(r"^\| (<a id.*?) \| (.*?) \| (.*?) \|$", OPERATIONS.read_text(), re.M)
    guide = {
        reason: (meaning, remedy)
        for reasons, meaning, remedy in rows
        for reason in re.findall(r"`(\w+)`", reasons)
    }

    assert {reason: (w.meaning, w.remedy) for reason in words.known()
            if (w := words.words(reason))} == guide  # fmt: skip
    assert len(guide) > 30


def test_every_reason_has_words_and_no_other():
    exist = {str(reason) for reason in Reason} | {str(reason) for reason in Judgement}

    assert exist - words.known() == set(), (
        "a reason without meaning and remedy: give it a row in cli/kubectl/words.py, then "
        "modelhandoff generate"
    )
    assert words.known() - exist == set(), "words for a reason that does not exist"


def test_no_reason_has_two_rows():
    rows = [reason for _, group in words.GROUPS for reasons, _, _ in group for reason in reasons]

    assert len(rows) == len(set(rows))


def test_the_state_that_the_tests_store_is_what_the_operator_reads(server):
    story = Story(server, now=datetime(2026, 3, 1, tzinfo=UTC)).judged()

    assert AttemptState.from_status(story.state.to_status()) == story.state
