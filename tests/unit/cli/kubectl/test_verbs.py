"""The verbs: bound to the attempt, said before they are written, refused where they are vain."""

from __future__ import annotations

import pytest

from modelhandoff.api import names
from modelhandoff.api.vocabulary import Outcome, Phase
from modelhandoff.cli.kubectl import fallback, verbs
from tests.unit.cli.kubectl.world import STABLE, Story, operator


@pytest.fixture
def running(server) -> Story:
    return Story(server).judged().write("10 % on 1.4.0: no harm found.", weight=10)


@pytest.fixture
def ended(server) -> Story:
    story = Story(server).judged(errors=0.2)
    return story.ended(Outcome.ROLLBACK, "HarmDetected", "why").write("Rolled back.")


def test_pause_and_resume_write_and_take_away_the_annotation(running, call):
    paused = call("pause", "fraud")

    assert paused.code == 0
    assert "pauses 1.4.0 at 10 %" in paused.out
    assert "harm is still acted on" in paused.out
    assert running.annotations() == {names.ANNOTATION_PAUSE: running.attempt}
    assert call("pause", "fraud").out == "payments/fraud is paused already.\n"

    assert call("resume", "fraud").code == 0
    assert running.annotations() == {}
    assert call("resume", "fraud").out == "payments/fraud is not paused.\n"


def test_a_pause_that_lives_in_git_is_ended_there(server, call):
    story = Story(server)
    story.spec["suspend"] = True
    story.judged().write("Paused at 10 %.", weight=10)

    answer = call("resume", "fraud")

    assert answer.code == 1
    assert "spec.suspend; set it to false where the manifest lives" in answer.line
    assert server.writes == []


def test_promote_says_what_is_not_proven_and_is_bound_to_the_attempt(running, call):
    answer = call("promote", "fraud")

    assert answer.code == 0
    assert "not proven safe yet:" in answer.out
    assert running.annotations() == {names.ANNOTATION_PROMOTE: running.attempt}


def test_promote_is_refused_while_a_metric_fails(server, call):
    Story(server).judged(errors=0.2).write("signs of harm", weight=10)

    answer = call("promote", "fraud")

    assert answer.code == 1
    assert answer.line.startswith("payments/fraud: not promoted, errors fails;")
    assert server.writes == []


def test_promote_before_any_traffic_is_refused(server, call):
    story = Story(server)
    story.state = story.state.but(phase=Phase.WARMING_UP)
    story.write("warming up")

    answer = call("promote", "fraud")

    assert answer.code == 1
    assert "nothing is known of 1.4.0 yet (phase WarmingUp)" in answer.line


def test_retry_begins_again_after_an_end_only(ended, call):
    answer = call("retry", "fraud")

    assert answer.code == 0
    assert "no evidence carried over" in answer.out
    assert ended.annotations() == {names.ANNOTATION_RETRY: ended.attempt}
    assert "asked for already" in call("retry", "fraud").out


def test_retry_of_what_runs_is_refused(running, call):
    assert "is under way (Progressing); abort it first" in call("retry", "fraud").line


@pytest.mark.parametrize("verb", ["pause", "promote"])
def test_what_has_ended_cannot_be_steered(ended, call, server, verb):
    answer = call(verb, "fraud")

    assert answer.code == 1
    assert f"nothing to {verb}, attempt {ended.attempt} has ended (RolledBack)" in answer.line
    assert server.writes == []


@pytest.mark.parametrize("verb", ["pause", "promote", "abort"])
def test_a_dry_run_writes_nothing(running, call, server, verb):
    answer = call(verb, "fraud", "--dry-run")

    assert answer.code == 0
    assert "Nothing was written." in answer.out
    assert server.writes == []


def test_abort_waits_until_the_weight_is_zero_and_says_so(running, call, server):
    server.after_write = lambda path: running.write("Aborted.", weight=0)

    answer = call("abort", "fraud")

    assert answer.code == 0
    assert "takes 1.4.0 from 10 % to 0 at once; 1.3.2 serves everything" in answer.out
    assert "1.4.0 has 0 %, 1.3.2 serves." in answer.out
    assert [body["metadata"]["annotations"] for _, _, body in server.writes] == [
        {names.ANNOTATION_ABORT: running.attempt}
    ]


def test_abort_of_a_promoted_version_says_how_to_go_back(server, call):
    Story(server).ended(Outcome.PROMOTE, "ProofsComplete", "why").write("1.4.0 serves.")

    assert "to go back, apply the earlier version" in call("abort", "fraud").line
    assert server.writes == []


def test_abort_of_what_has_ended_is_no_error(ended, call, server):
    answer = call("abort", "fraud")

    assert (answer.code, server.writes) == (0, [])
    assert "has ended (RolledBack); 1.3.2 serves." in answer.out


@pytest.mark.parametrize("down", [{"renewed_ago": 300.0}, {"available": 0}])
def test_with_the_operator_down_abort_sets_the_weight_itself_when_told_yes(
    running, call, server, down
):
    operator(server, **down)

    answer = call("abort", "fraud", "--yes")

    assert answer.code == 0
    assert running.weights() == {STABLE: 100, running.candidate: 0}
    assert running.annotations() == {names.ANNOTATION_ABORT: running.attempt}
    assert "the operator is not at work" in answer.err
    assert f"{running.candidate} from 10 to 0, {STABLE} to 100" in answer.err
    assert "Done by hand: 1.4.0 has 0 %" in answer.out


def test_with_the_operator_down_and_nobody_to_ask_the_line_says_what_to_type(running, call, server):
    operator(server, renewed_ago=300.0)

    answer = call("abort", "fraud")

    assert answer.code == 1
    assert running.weights() == {STABLE: 90, running.candidate: 10}
    assert answer.err.splitlines()[-1] == (
        "payments/fraud: the abort is recorded, but 1.4.0 still has 10 %; "
        "kubectl handoff abort fraud -n payments --yes sets it to 0"
    )


@pytest.mark.parametrize(("typed", "weight"), [(True, 0), (False, 10)])
def test_with_the_operator_down_a_person_is_asked(  # noqa: PLR0917
    running, call, server, monkeypatch, typed, weight
):
    operator(server, renewed_ago=300.0)
    asked = []
    monkeypatch.setattr(fallback, "ask", lambda question: asked.append(question) or typed)

    call("abort", "fraud")

    assert asked == ["Set these weights on the HTTPRoute now?"]
    assert running.weights()[running.candidate] == weight


def test_an_operator_that_lives_but_does_not_act_is_not_waited_for_forever(
    running, call, monkeypatch
):
    monkeypatch.setattr(verbs, "CONFIRM_SECONDS", 0.3)

    answer = call("abort", "fraud", "--yes")

    assert answer.code == 0
    assert "has not acted within" in answer.err
    assert running.weights()[running.candidate] == 0


def test_a_route_that_changed_meanwhile_is_not_overwritten(running, call, server):
    operator(server, renewed_ago=300.0)
    server.refused["PATCH", "/apis/gateway.networking.k8s.io"] = (409, "modified")

    answer = call("abort", "fraud", "--yes")

    assert answer.code == 1
    assert answer.err.splitlines()[-1] == "httproutes fraud: changed meanwhile; try again"


def test_somebody_elses_route_is_never_touched(running, call, server):
    operator(server, renewed_ago=300.0)
    route = server.find("httproutes", "payments", "fraud")
    route["metadata"]["annotations"] = {names.ANNOTATION_OWNER: "other/fraud/uid"}

    answer = call("abort", "fraud", "--yes")

    assert "1.4.0 has no weight on the route" in answer.err
    assert running.weights()[running.candidate] == 10


def test_a_verb_for_an_attempt_that_is_gone_is_refused(running, call, server):
    server.remove(names.ATTEMPTS, "payments", running.attempt)

    for verb in ("pause", "resume", "promote", "retry", "abort"):
        answer = call(verb, "fraud")
        assert answer.code == 1
        assert f"attempt {running.attempt} is gone" in answer.line


def test_a_handoff_that_was_made_anew_is_not_written_to(running, call, server, monkeypatch):
    real = verbs.subject

    def slow(*args):
        found = real(*args)
        server.objects["/apis/modelhandoff.dev/v1alpha1/namespaces/payments/modelhandoffs/fraud"][
            "metadata"
        ]["uid"] = "another"
        return found

    monkeypatch.setattr(verbs, "subject", slow)

    assert call("pause", "fraud").line == "modelhandoffs fraud: changed meanwhile; try again"
    assert server.writes == []


def test_a_handoff_that_was_never_visited_has_nothing_to_steer(server, call):
    Story(server).plain()

    assert "no attempt to pause" in call("pause", "fraud").line
