"""``status`` and ``history``: the sentence first, then what it rests on."""

from __future__ import annotations

import itertools

import pytest

from modelhandoff.api import names
from modelhandoff.api.vocabulary import Outcome
from modelhandoff.cli.kubectl import screen
from tests.unit.cli.kubectl.world import STABLE, Story, operator


def test_the_sentence_comes_first_and_the_tree_names_both_versions(server, call):
    Story(server).judged().write("10 % on fraud-classifier 1.4.0: no harm found.", weight=10)

    out = call("status", "fraud").out
    lines = out.splitlines()

    assert lines[0] == "10 % on fraud-classifier 1.4.0: no harm found."
    assert any("Serves" in x and "1.3.2" in x and "90 %" in x and STABLE in x for x in lines)
    assert any("Candidate" in x and "1.4.0" in x and "10 %" in x for x in lines)
    assert "2 restarts  node node-7" in out
    assert "10 % set for the candidate on HTTPRoute fraud, taken by the gateway" in out
    assert "12 of 30 looks" in out
    assert "10 % landed on fraud-classifier 1.4.0." in out
    assert "\x1b[" not in out


def test_a_metric_that_fails_is_drawn_right_of_the_mark(server, call):
    story = Story(server).judged(errors=0.2)
    story.ended(Outcome.ROLLBACK, "HarmDetected", "Harm detected.").write("Rolled back.")

    row = next(x for x in call("status", "fraud").out.splitlines() if "errors" in x)

    assert "Fail" in row
    assert row.index("│", 4) < row.index("▸")
    assert "20.0 %" in row
    assert "max 1.00 %" in row


def test_the_next_command_is_one_of_this_tool(server, call):
    story = Story(server).judged(errors=0.2)
    told = (
        "Apply a corrected candidate, or try the same again: kubectl annotate mho fraud "
        f"-n payments --overwrite modelhandoff.dev/retry={story.attempt}"
    )
    story.ended(Outcome.ROLLBACK, "HarmDetected", "Harm.").write("Rolled back.", nextAction=told)

    last = call("status", "fraud").out.splitlines()[-1]

    assert last.endswith("try the same again: kubectl handoff retry fraud -n payments")


def test_a_dead_operator_is_said_right_below_the_sentence(server, call):
    operator(server, renewed_ago=600)
    Story(server).judged().write("10 % on 1.4.0: no harm found.", weight=10)

    second = call("status", "fraud").out.splitlines()[1]

    assert "operator is not at work" in second
    assert "10 min ago" in second


def test_an_edit_that_nobody_has_seen_is_not_passed_off_as_seen(server, call):
    Story(server).judged().write("10 % on 1.4.0.", weight=10, observedGeneration=0)

    assert call("status", "fraud").out.startswith("An edit waits for the operator.")


def test_a_handoff_without_an_operator_visit_is_shown_too(server, call):
    Story(server).plain()

    out = call("status", "fraud").out

    assert out.startswith("The operator has not looked at this handoff yet.")
    assert "New" in out


def test_an_attempt_that_is_gone_is_said_and_the_rest_is_shown(server, call):
    story = Story(server).judged().write("10 % on 1.4.0.", weight=10)
    server.remove(names.ATTEMPTS, story.namespace, story.attempt)

    answer = call("status", "fraud")

    assert answer.code == 0
    assert "the attempt is gone" in answer.out


def test_without_the_right_to_see_pods_the_rest_is_shown(server, call):
    Story(server).judged().write("10 % on 1.4.0.", weight=10)
    server.refused["GET", "/api/v1/namespaces/payments/pods"] = (403, "pods is forbidden")

    answer = call("status", "fraud")

    assert answer.code == 0
    assert "Not shown, for lack of rights: pods." in answer.out


def test_markup_in_a_message_is_text(server, call):
    Story(server).judged().write("10 % [bold]on[/bold] [link=x]1.4.0", weight=10)

    assert call("status", "fraud").out.startswith("10 % [bold]on[/bold] [link=x]1.4.0")


def test_watching_off_a_terminal_prints_a_line_per_change_until_it_is_gone(
    server, call, monkeypatch
):
    story = Story(server).judged().write("10 % on 1.4.0: first.", weight=10)
    rounds = itertools.count()

    def turn(_: float) -> None:
        match next(rounds):
            case 1:
                story.write("10 % on 1.4.0: second.", weight=10)
            case 2:
                server.remove(names.HANDOFFS, "payments", "fraud")

    monkeypatch.setattr(screen.time, "sleep", turn)

    answer = call("status", "fraud", "--watch")

    told = [line.split(" ", 1)[1] for line in answer.out.splitlines()]
    assert told == ["Progressing: 10 % on 1.4.0: first.", "Progressing: 10 % on 1.4.0: second."]
    assert answer.err == "payments/fraud: the handoff was deleted\n"
    assert answer.code == 1


def test_without_a_name_the_only_handoff_is_meant(server, call):
    Story(server).judged().write("10 % on 1.4.0.", weight=10)

    assert "payments/fraud" in call("status").out


def test_history_lists_attempts_and_those_pruned(server, call):
    story = Story(server).judged(errors=0.2)
    story.ended(Outcome.ROLLBACK, "HarmDetected", "errors at 20 %.").write(
        "Rolled back.",
        history=[
            {"attempt": story.attempt, "version": "1.4.0", "revision": story.revision,
             "outcome": "RolledBack", "reason": "HarmDetected", "at": "2026-01-02T00:00:00Z"},
            {"attempt": "fraud-0000000000", "version": "1.3.2", "revision": "v1-00",
             "outcome": "Promoted", "reason": "ProofsComplete", "at": "2026-01-01T00:00:00Z"},
        ],
    )  # fmt: skip

    lines = call("history", "fraud").out.splitlines()

    assert lines[1].split()[:6] == ["2", story.attempt, "1.4.0", "Rollout", "RolledBack",
                                    "HarmDetected"]  # fmt: skip
    assert lines[2].split()[:5] == ["-", "fraud-0000000000", "1.3.2", "-", "Promoted"]
    assert lines[-1] == f"{story.attempt}: errors at 20 %."
    assert call("history", "fraud", "-o", "name").out == (
        f"handoffattempt.modelhandoff.dev/{story.attempt}\n"
    )


@pytest.mark.parametrize("verb", ["status", "explain", "history"])
def test_a_handoff_with_an_empty_status_breaks_nothing(server, call, verb):
    story = Story(server)
    server.add(names.HANDOFFS, {
        "metadata": {"name": "fraud", "namespace": "payments", "generation": 1},
        "spec": story.spec,
    })  # fmt: skip

    assert call(verb, "fraud").code == 0


CHECKED = {
    "checklist": {"passed": 2, "total": 8, "label": "2/8"},
    "exemptions": [{"rule": "Pickle", "reason": "moves in May"}],
    "conditions": {
        "ArtifactsVerified": "True", "Reproduced": "Unknown", "ContractsValid": "Unknown",
        "AcceptancePassed": "True", "MonitoringReady": "False", "RunbookComplete": "Unknown",
        "GovernanceComplete": "Unknown", "Approved": "Unknown",
    },
}  # fmt: skip


def test_the_checklist_is_counted_and_what_is_wrong_with_it_is_said(server, call):
    Story(server).judged().write("10 % on 1.4.0.", weight=10, **CHECKED)

    told = call("status", "fraud").out

    assert "Checklist 2/8" in told
    assert "✓ ArtifactsVerified" in told
    assert "✗ MonitoringReady" in told
    assert "· Approved" in told
    assert "MonitoringReady: Collecting" in told
    assert "Exempted  from Pickle (moves in May)" in told


def test_explain_lists_all_eight_with_their_reasons(server, call):
    Story(server).judged().write("10 % on 1.4.0.", weight=10, **CHECKED)

    told = call("explain", "fraud").out

    assert "Checklist, 2 of 8" in told
    for kind, value in CHECKED["conditions"].items():
        assert f"{'✓' if value == 'True' else '○'} {kind}" in told


def test_a_status_of_an_older_operator_has_no_checklist(server, call):
    Story(server).judged().write("10 % on 1.4.0.", weight=10)

    assert "Checklist" not in call("status", "fraud").out
    assert "Checklist" not in call("explain", "fraud").out
