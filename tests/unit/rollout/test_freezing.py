"""Freeze windows: nothing new starts, no weight rises, harm is acted on."""

from __future__ import annotations

from datetime import datetime, timedelta

from modelhandoff.api import names
from modelhandoff.rollout.actions import ApplyWorkload
from modelhandoff.rollout.snapshot import FreezeView
from tests.builders import spec
from tests.unit.rollout.model import GOOD, HARM, OPEN, PROVEN, START, Model

HOUR = timedelta(hours=1)


def window(hours: float, start: datetime = START - HOUR) -> tuple[FreezeView, ...]:
    return (FreezeView(start, START + hours * HOUR, "end of the year"),)


def condition(model: Model, kind: str) -> dict[str, str]:
    return next(c for c in model.status["conditions"] if c["type"] == kind)


def test_nothing_starts_inside_and_it_starts_by_itself_afterwards() -> None:
    model = Model().promoted("1.0.0")
    model.writes.clear()
    model.freezes = window(5)
    model.edit("2.0.0")
    model.said = OPEN
    decision = model.run()
    assert not [w for w in model.writes if isinstance(w, ApplyWorkload)]
    assert decision.requeue_after == 5 * 3600
    assert model.status["message"] == (
        "fraud-classifier 2.0.0 starts when the freeze ends: frozen until 2026-01-01 08:00 UTC "
        "(end of the year)."
    )
    assert condition(model, "Paused")["reason"] == "Frozen"
    assert condition(model, "Stalled")["status"] == "False"
    model.pass_time(hours=5)
    model.run()
    assert model.state.phase == "Progressing"


def test_people_sign_inside_and_the_pods_wait() -> None:
    model = Model().promoted("1.0.0")
    model.freezes = window(5)
    model.raw_spec = spec(
        candidate={"model": {"version": "2.0.0"}}, approvals={"roles": ["DataScience"]}
    )
    model.run()
    assert model.state.phase == "AwaitingApproval"
    model.approve("DataScience", "ana")
    model.run()
    assert condition(model, "Approved")["status"] == "True"
    assert "starts when the freeze ends" in model.status["message"]
    assert len(model.workloads) == 1


def test_a_running_rollout_holds_its_weight_and_its_clock() -> None:
    model = Model().started()
    model.freezes = window(5)
    model.look(GOOD, hours=2)
    assert model.share() == 10
    assert condition(model, "Paused")["reason"] == "Frozen"
    assert "Paused at 10 %, frozen until 2026-01-01 08:00 UTC" in model.status["message"]
    model.look(PROVEN, hours=2)
    assert model.share() == 10
    model.look(PROVEN, hours=2)
    assert model.share() == 50
    assert model.state.paused_seconds > 3600


def test_harm_is_acted_on_inside() -> None:
    model = Model().started()
    model.freezes = window(5)
    model.look(HARM)
    assert model.share() == 0
    assert model.state.verdict is not None
    assert model.state.verdict.outcome == "Rollback"


def test_nobody_promotes_by_hand_inside() -> None:
    model = Model().started()
    model.freezes = window(5)
    model.annotations[names.ANNOTATION_PROMOTE] = model.attempt.name
    model.look(OPEN)
    assert model.share() == 10
    model.pass_time(hours=5)
    model.look(OPEN)
    assert model.share() == 100


def test_an_abort_works_inside() -> None:
    model = Model().started()
    model.freezes = window(5)
    model.annotations[names.ANNOTATION_ABORT] = model.attempt.name
    model.look(OPEN)
    assert model.share() == 0


def test_a_step_that_was_begun_is_not_carried_out_inside() -> None:
    model = Model().promoted("1.0.0")
    model.edit("2.0.0")
    model.said = OPEN
    while not model.attempts or model.state.phase != "Progressing":
        decision = model.decide()
        assert decision.action is not None
        model.apply(decision.action)
        model.settle()
    model.freezes = window(5)
    decision = model.run()
    assert model.share() == 0
    assert decision.requeue_after == 5 * 3600
    model.pass_time(hours=5)
    model.run()
    assert model.share() == 10


def test_new_rules_for_the_same_pods_pass() -> None:
    model = Model().promoted("1.0.0")
    model.freezes = window(5)
    model.raw_spec["runbook"]["owners"]["team"] = "other"
    model.run()
    assert (model.attempt.kind, model.state.phase) == ("Refresh", "Promoted")


def test_past_and_future_windows_hold_nothing() -> None:
    model = Model().promoted("1.0.0")
    model.freezes = (
        *window(0),
        *window(9, start=START + 2 * HOUR),
    )
    model.edit("2.0.0")
    model.said = OPEN
    model.run()
    assert model.state.phase == "Progressing"
