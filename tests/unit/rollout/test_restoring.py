"""People delete and reweigh what the operator owns: what comes back, and what is left alone."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from modelhandoff.api import names
from modelhandoff.rollout.actions import ApplyRoute
from modelhandoff.rollout.attempt import Intent
from tests.unit.rollout.model import GOOD, HARM, OPEN, PROVEN, SETTINGS, Model


def stable(model: Model) -> str:
    return next(w.name for w in model.workloads.values() if w.stable)


def reweigh(model: Model, **weights: int) -> None:
    """Weights of the old and the new revision, by hand."""
    assert model.route is not None
    old = next(name for name in model.workloads if name != model.candidate)
    by_role = {"old": old, "new": model.candidate}
    model.route = dataclasses.replace(
        model.route,
        backends={by_role[role]: weight for role, weight in weights.items() if weight},
        resource_version=model.version(),
    )


def rolled_back() -> Model:
    model = Model().started()
    model.look(HARM)
    model.pass_time(seconds=11)
    model.run()
    assert model.state.phase == "RolledBack"
    model.writes.clear()
    return model


def promoting() -> Model:
    """The verdict is latched, and nothing has followed yet."""
    model = Model().started()
    model.look(GOOD, hours=1)
    model.pass_time(hours=1)
    model.said = PROVEN
    model.apply(model.decide(fresh=True).action)
    assert model.state.phase == "Promoting"
    model.weights.clear()
    return model


class TestADeletedDeployment:
    def test_the_baseline_comes_back_while_a_candidate_is_on_its_way(self) -> None:
        model = Model().started()
        old = stable(model)
        before = model.workloads.pop(old)
        model.look(GOOD)
        after = model.workloads[old]
        assert (after.stable, after.owned, after.desired) == (True, False, before.desired)
        assert (after.bundle, after.promoted_at) == (before.bundle, before.promoted_at)
        assert model.state.phase == "Progressing"
        model.look(GOOD, hours=1)
        model.look(PROVEN, hours=1)
        assert model.state.phase == "Promoted"

    def test_it_comes_back_after_a_rollback_too(self) -> None:
        model = rolled_back()
        old = stable(model)
        del model.workloads[old]
        model.run()
        assert model.workloads[old].stable
        assert model.attempt.ordinal == 2

    def test_an_abort_waits_for_it_only_to_exist(self) -> None:
        model = Model().started()
        old = stable(model)
        del model.workloads[old]
        model.annotations[names.ANNOTATION_ABORT] = model.attempt.name
        model.run()
        model.pass_time(seconds=11)
        model.run()
        assert model.state.phase == "Aborted"
        assert model.route is not None
        assert model.route.backends == {old: 100}

    def test_one_without_traffic_does_not_come_back(self) -> None:
        model = Model().promoted().started()
        model.look(GOOD, hours=1)
        model.look(PROVEN, hours=1)
        old = next(name for name in model.workloads if name != model.candidate)
        del model.workloads[old]
        model.run()
        assert old not in model.workloads


class TestADeletedRoute:
    def test_it_comes_back_after_a_rollback_with_the_reason(self) -> None:
        model = rolled_back()
        model.route = None
        model.run()
        assert model.route is not None
        assert model.route.backends == {stable(model): 100}
        intent = Intent.parse(model.route.intent)
        assert intent is not None
        assert (intent.attempt, str(intent.outcome)) == (model.attempt.name, "Rollback")


class TestForeignWeights:
    def test_a_lowered_weight_stops_a_promotion_that_is_not_through(self) -> None:
        model = promoting()
        reweigh(model, old=80, new=20)
        model.run()
        model.pass_time(seconds=11)
        model.run()
        assert model.state.phase == "Aborted"
        assert model.state.verdict is not None
        assert model.state.verdict.reason == "ExternalBrake"
        assert model.share() == 0

    def test_weight_before_the_warm_up_is_taken_back_once_then_given_up(self) -> None:
        model = Model().promoted()
        model.edit("2.0.0")
        model.said = OPEN
        while model.attempt.ordinal == 1 or model.candidate not in model.workloads:
            model.apply(model.decide().action)
        assert model.state.phase == "Provisioning"
        reweigh(model, old=80, new=20)
        taken = [model.decide().action]
        while not isinstance(taken[-1], ApplyRoute):
            model.apply(taken[-1])
            taken.append(model.decide().action)
        model.apply(taken[-1])
        assert model.share() == 0
        assert model.state.phase == "Provisioning"
        reweigh(model, old=70, new=30)
        model.run()
        assert model.state.phase in ("RollingBack", "Inconclusive")
        assert model.share() == 0

    def test_weight_on_what_was_rolled_back_is_taken_back_with_the_reason(self) -> None:
        model = rolled_back()
        reweigh(model, old=60, new=40)
        model.run()
        assert model.share() == 0
        assert model.route is not None
        assert model.route.intent.startswith(f"{model.attempt.name}:Rollback:")
        assert model.state.phase == "RolledBack"

    def test_weight_given_back_to_the_old_revision_is_told_and_keeps_its_pods(self) -> None:
        model = Model().started()
        model.look(GOOD, hours=1)
        model.look(PROVEN, hours=1)
        old = next(name for name in model.workloads if name != model.candidate)
        reweigh(model, old=50, new=50)
        model.writes.clear()
        model.pass_time(hours=24)
        decision = model.run()
        assert model.writes == []
        assert f"50 % on {old}" in decision.sentence
        stalled = next(c for c in model.status["conditions"] if c["type"] == "Stalled")
        assert (stalled["status"], stalled["reason"]) == ("True", "TrafficContested")
        reweigh(model, old=0, new=100)
        model.run()
        assert model.workloads[old].desired == 0

    def test_weight_on_pods_that_are_gone_is_taken_back(self) -> None:
        model = Model().started()
        model.look(GOOD, hours=1)
        model.look(PROVEN, hours=1)
        model.pass_time(hours=24)
        model.run()
        reweigh(model, old=50, new=50)
        model.run()
        assert model.share() == 100


@pytest.mark.parametrize("active", [0, 1])
def test_of_two_attempts_with_one_ordinal_the_one_that_has_begun_is_ended_first(
    active: int,
) -> None:
    """Made on a stale reading; whichever the store lists first."""
    model = Model().started()
    begun = model.attempt
    twin = dataclasses.replace(
        begun, name=f"{'za'[active]}-twin", uid="uid-twin", bundle="v1-other", status={}
    )
    model.attempts = {name: a for name, a in model.attempts.items() if a.ordinal == 1}
    pair = [begun, twin] if active else [twin, begun]
    model.attempts |= {a.name: a for a in pair}
    model.edit("3.0.0")
    model.pass_time(**{"seconds": 1})
    model.run()
    model.now += SETTINGS.drain + timedelta(seconds=1)
    model.run()
    assert model.attempts[begun.name].status["phase"] == "Superseded"
    assert model.share() in (0, 10)
    assert all(sum(w.values()) == 100 for w in model.weights)
