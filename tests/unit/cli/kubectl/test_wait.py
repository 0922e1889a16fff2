"""``wait``: the exit codes that pipelines rely on."""

from __future__ import annotations

import threading

import pytest

from modelhandoff.api import names
from modelhandoff.api.vocabulary import Outcome, Phase
from modelhandoff.cli.kubectl import waiting
from modelhandoff.cli.kubectl.problem import UnreachableError
from tests.unit.cli.kubectl.world import Story


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome.PROMOTE, 0),
        (Outcome.INITIAL, 0),
        (Outcome.ROLLBACK, 2),
        (Outcome.REJECT, 3),
        (Outcome.INCONCLUSIVE, 5),
        (Outcome.ABORT, 6),
    ],
)
def test_every_end_has_its_code(server, call, outcome, code):
    Story(server).ended(outcome, "Reason", "why").write(f"{outcome} it was.")

    answer = call("wait", "fraud", "--timeout", "30s")

    assert (answer.code, answer.out) == (code, f"{outcome} it was.\n")


def test_it_waits_until_the_verdict_comes(server, call):
    story = Story(server).judged().write("10 % on 1.4.0.", weight=10)

    def later() -> None:
        story.write("50 % on 1.4.0.", weight=50)
        story.ended(Outcome.ROLLBACK, "HarmDetected", "why").write("Rolled back.")

    timer = threading.Timer(0.3, later)
    timer.start()
    answer = call("wait", "fraud", "--timeout", "60s")
    timer.join()

    assert (answer.code, answer.out) == (2, "Rolled back.\n")
    assert answer.err.splitlines()[0] == "10 % on 1.4.0."


def test_a_pause_ends_it_only_when_asked(server, call):
    story = Story(server).judged()
    story.write("Paused at 10 %.", weight=10, conditions={"Paused": "True"})

    assert call("wait", "fraud", "--timeout", "1s", "--fail-on-pause").code == 4
    assert call("wait", "fraud", "--timeout", "1s").code == 124


def test_no_verdict_in_time_is_124_and_says_so(server, call):
    Story(server).judged().write("10 % on 1.4.0.", weight=10)

    answer = call("wait", "fraud", "--timeout", "1s", "--quiet")

    assert (answer.code, answer.line) == (
        124, "timeout: no verdict on payments/fraud within 1s"
    )  # fmt: skip


def test_the_verdict_on_what_the_handoff_said_before_an_edit_is_none(server):
    story = Story(server).ended(Outcome.ROLLBACK, "HarmDetected", "why")
    story.write("Rolled back.", observedGeneration=0)

    found = waiting.judge(server.find(names.HANDOFFS, "payments", "fraud"))

    assert found.code is None


def test_a_retry_that_nobody_has_seen_yet_is_waited_for(server):
    story = Story(server).ended(Outcome.ROLLBACK, "HarmDetected", "why").write("Rolled back.")
    story.annotate(retry=story.attempt)

    assert waiting.judge(server.find(names.HANDOFFS, "payments", "fraud")).code is None

    story.annotate(retry="fraud-of-long-ago")

    assert waiting.judge(server.find(names.HANDOFFS, "payments", "fraud")).code == 2


@pytest.mark.parametrize(
    ("phase", "code"),
    [(Phase.PENDING, 3), (Phase.PROVISIONING, 3), (Phase.SUPERSEDED, 3), (Phase.PROGRESSING, 5)],
)
def test_a_handoff_that_cannot_go_on_ends_the_wait(server, phase, code):
    story = Story(server)
    story.state = story.state.but(phase=phase)
    story.write("spec.x: wrong", reason="SpecInvalid",
                conditions={"Stalled": "True", "Ready": "False"})  # fmt: skip

    assert waiting.judge(server.find(names.HANDOFFS, "payments", "fraud")).code == code


def test_a_handoff_that_is_deleted_meanwhile_is_an_error(server, call):
    Story(server).judged().write("10 % on 1.4.0.", weight=10)
    timer = threading.Timer(0.3, lambda: server.remove(names.HANDOFFS, "payments", "fraud"))
    timer.start()

    answer = call("wait", "fraud", "--timeout", "60s", "-q")
    timer.join()

    assert (answer.code, answer.line) == (1, "payments/fraud: the handoff was deleted")


def test_a_lost_connection_is_borne(server, call, monkeypatch):
    story = Story(server).judged().write("10 % on 1.4.0.", weight=10)
    real, failures = waiting._next, iter([True, True])

    def shaky(*args):
        if next(failures, False):
            raise UnreachableError("no answer")
        story.ended(Outcome.PROMOTE, "ProofsComplete", "why").write("1.4.0 serves all traffic.")
        return real(*args)

    monkeypatch.setattr(waiting, "_next", shaky)
    monkeypatch.setattr(waiting, "patiently", lambda seconds, deadline: seconds)

    answer = call("wait", "fraud", "--timeout", "60s")

    assert (answer.code, answer.out) == (0, "1.4.0 serves all traffic.\n")
    assert "no answer; trying again" in answer.err


@pytest.mark.parametrize("text", ["soon", "-1s", "10", "5 minutes"])
def test_a_timeout_that_is_no_duration_is_refused(server, call, text):
    Story(server).judged().write("10 % on 1.4.0.", weight=10)

    answer = call("wait", "fraud", f"--timeout={text}")

    assert answer.code == 1
    assert answer.line == f"--timeout: not a duration; got {text}; allowed 90s, 20m or 72h"
