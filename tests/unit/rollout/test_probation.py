"""Probation: all traffic, the old version warm beside it, and a way back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelhandoff.analysis.intervals import Histogram, Interval, Rate
from modelhandoff.analysis.verdict import Decision as Judgement
from modelhandoff.analysis.verdict import Reason as JudgedReason
from modelhandoff.api import names
from modelhandoff.api.resolve import resolve
from modelhandoff.rollout.attempt import AttemptState, Watched
from modelhandoff.rollout.judging import (
    judge_again,
    judge_intervals,
    measurement,
    plan_alone,
    stored_evidence,
)
from modelhandoff.rollout.measure import Stage
from tests.builders import spec as written
from tests.unit.rollout.model import GOOD, HARM, OPEN, PROVEN, Model, verdict


def on_probation(probation: str = "24h", **rollout: Any) -> Model:
    """A world in which a candidate has shown its proofs and got all traffic."""
    model = Model().promoted("1.0.0")
    model.edit("2.0.0")
    model.raw_spec["rollout"] |= {"probation": probation, **rollout}
    model.said = OPEN
    model.run()
    model.look(GOOD, hours=1)
    model.look(PROVEN, hours=1)
    return model


def old(model: Model) -> str:
    return next(w.name for w in model.workloads.values() if w.stable and w.name != model.candidate)


class TestTheDecision:
    def test_proofs_bring_all_traffic_but_no_promotion_yet(self) -> None:
        model = on_probation()
        assert model.share() == 100
        assert model.state.phase == "Progressing"
        assert model.state.verdict is None
        assert model.workloads[old(model)].desired == 1, "the way back stays warm"
        assert model.status["stable"]["version"] == "1.0.0"
        assert model.status["step"]["label"] == "3/3"
        assert model.status["message"].startswith(
            "100 % on fraud-classifier 2.0.0: On probation until 2026-01-02 05:00 UTC."
        )

    def test_what_serves_all_traffic_does_not_go_away_with_the_handoff(self) -> None:
        model = on_probation()
        assert not model.workloads[model.candidate].owned
        released = [type(w).__name__ for w in model.writes].index("ReleaseWorkload")
        assert all(
            dict(w.backends).get(model.candidate) != 100
            for w in model.writes[:released]
            if type(w).__name__ == "ApplyRoute"
        )

    def test_it_is_promoted_when_its_time_is_over_and_enough_is_known(self) -> None:
        model = on_probation()
        model.look(OPEN, hours=23)
        assert model.state.phase == "Progressing"
        model.look(OPEN, hours=2)
        assert model.state.phase == "Progressing", "the time is over, but the looks are too few"
        assert "On probation until enough is known." in model.status["message"]
        model.look(GOOD)
        assert model.state.phase == "Promoted"
        assert model.state.verdict is not None
        assert model.state.verdict.message.startswith("All proofs were shown, and 25 h 0 min of")
        assert model.weights[-1] == {model.candidate: 100}

    def test_harm_sends_all_traffic_back_in_one_write(self) -> None:
        model = on_probation()
        stable = old(model)
        model.writes.clear()
        model.look(HARM, hours=3)
        assert type(model.writes[0]).__name__ == "ApplyRoute"
        assert dict(model.writes[0].backends) == {stable: 100}
        model.pass_time(seconds=11)
        model.run()
        assert model.state.phase == "RolledBack"
        assert model.status["message"].startswith(
            "Rolled back at 08:00 UTC: 100 % on 1.0.0. 2.0.0 had up to 100 % for 5 h 0 min; "
            "On probation: errors 5 %"
        )
        model.pass_time(hours=2)
        model.run()
        assert model.workloads[model.candidate].desired == 0

    def test_evidence_of_the_comparison_stays_beside_what_probation_finds(self) -> None:
        model = on_probation()
        compared = model.state.evidence
        model.look(OPEN)
        model.look(OPEN)
        assert model.state.evidence == compared
        assert model.state.probation is not None
        assert model.state.probation.evidence not in ("", compared)
        again = AttemptState.from_status(json.loads(json.dumps(model.state.to_status())))
        assert again == model.state

    def test_without_metrics_the_traffic_stays_and_nothing_is_promoted(self) -> None:
        model = on_probation()
        model.unknown = "connection refused"
        model.look(GOOD, hours=25)
        model.look(GOOD, hours=25)
        assert model.share() == 100
        assert model.state.phase == "Progressing"
        assert "All traffic stays on fraud-classifier 2.0.0" in model.status["message"]
        silent = verdict(Judgement.Hold, JudgedReason.NoData)
        model.unknown = ""
        model.look(silent)
        assert model.share() == 100
        model.look(GOOD)
        assert model.state.phase == "Promoted"

    def test_without_a_ready_pod_the_old_version_serves_until_one_is_back(self) -> None:
        model = on_probation()
        stable = old(model)
        model.pods(model.candidate, ready=0)
        model.apply(model.decide().action)
        assert model.route is not None
        assert dict(model.route.backends) == {stable: 100}
        model.run()
        assert model.share() == 100, "its pods are back"
        assert model.state.phase == "Progressing"

    def test_the_old_version_comes_back_when_somebody_deletes_it(self) -> None:
        model = on_probation()
        stable = old(model)
        model.workloads.pop(stable)
        model.run()
        assert model.workloads[stable].ready == 1
        assert model.workloads[stable].stable
        assert model.share() == 100

    @pytest.mark.parametrize("verb", [names.ANNOTATION_PROMOTE, names.ANNOTATION_ABORT])
    def test_a_person_ends_it_either_way(self, verb: str) -> None:
        model = on_probation()
        model.annotations[verb] = model.attempt.name
        model.look(OPEN)
        model.pass_time(seconds=11)
        model.run()
        promoted = verb == names.ANNOTATION_PROMOTE
        assert model.state.phase == ("Promoted" if promoted else "Aborted")
        assert model.share() == (100 if promoted else 0)

    def test_a_lowered_weight_is_a_hand_on_the_brake(self) -> None:
        model = on_probation()
        stable = old(model)
        assert model.route is not None
        model.route.backends.update({stable: 50, model.candidate: 50})  # type: ignore[attr-defined]
        model.look(OPEN)
        assert model.state.verdict is not None
        assert model.state.verdict.reason == "ExternalBrake"
        assert model.share() == 0

    def test_an_edit_starts_again_from_the_version_that_is_stable(self) -> None:
        model = on_probation()
        first = model.attempt.name
        model.edit("3.0.0")
        model.look(OPEN)
        model.pass_time(seconds=11)
        model.run()
        assert model.attempts[first].status["verdict"]["decision"] == "Supersede"
        assert model.share() == 10
        assert model.status["stable"]["version"] == "1.0.0"

    def test_a_deletion_leaves_the_stable_version_serving(self) -> None:
        model = on_probation()
        stable = old(model)
        model.deleting = True
        model.run()
        assert model.gone
        assert model.route is not None
        assert dict(model.route.backends) == {stable: 100}
        assert set(model.workloads) == {stable}

    def test_a_pause_holds_the_promotion(self) -> None:
        model = on_probation()
        model.annotations[names.ANNOTATION_PAUSE] = model.attempt.name
        model.look(GOOD, hours=30)
        assert model.state.phase == "Progressing"
        del model.annotations[names.ANNOTATION_PAUSE]
        model.look(GOOD)
        assert model.state.phase == "Promoted"

    def test_manual_promotion_is_the_last_word_and_needs_no_probation(self) -> None:
        model = on_probation(decision={"promotion": "Manual"})
        assert model.share() == 50
        model.annotations[names.ANNOTATION_PROMOTE] = model.attempt.name
        model.look(PROVEN)
        assert model.state.phase == "Promoted"

    def test_a_first_version_has_nothing_to_go_back_to_and_no_probation(self) -> None:
        model = Model()
        model.raw_spec["rollout"]["probation"] = "24h"
        model.run()
        assert model.state.phase == "Promoted"


BEGIN = datetime(2026, 1, 1, 3, 0, tzinfo=UTC)
SPEC = resolve(written(monitoring={"interval": "30s"}, rollout={"probation": "1h"}))
STEP = len(SPEC.rollout.steps)


def watched() -> AttemptState:
    stages = (
        Stage(BEGIN.timestamp() - 7200, 0, 10),
        Stage(BEGIN.timestamp() - 3600, 1, 50),
        Stage(BEGIN.timestamp(), STEP, 100),
    )
    return AttemptState(
        step=STEP,
        step_since=BEGIN,
        first_weight_at=BEGIN - timedelta(hours=2),
        stages=stages,
        evidence="of the comparison",
        looks=200,
    )


def interval(index: int, errors: float, slow: float = 10.0) -> Interval:
    start = BEGIN.timestamp() + 30 * index
    return Interval(
        index=index,
        start=start,
        end=start + 30,
        step=STEP,
        weight=100,
        requests=(3000.0, None),
        metrics={
            "errors": Rate((errors, 3000.0), None),
            "latency": Histogram((0.03, float("inf")), (3000.0 - slow, 3000.0), None),
        },
    )


def run(looks: int, errors: float, slow: float = 10.0) -> tuple[AttemptState, Any]:
    state, got = watched(), None
    for index in range(looks):
        now = BEGIN + timedelta(seconds=30 * index + 42)
        got = judge_intervals(SPEC, state, (interval(index, errors, slow),), f"c{index}", now)
        state = state.but(
            probation=Watched(got.evidence, got.cursor),
            looks=got.looks,
            step_looks=got.step_looks,
            step_requests=got.step_requests,
            last_data=got.last_data,
        )
        if got.verdict is not None and got.verdict.decision is Judgement.Rollback:
            break
    return state, got


class TestTheJudgement:
    def test_limits_and_budgets_are_judged_alone_and_drift_is_not(self) -> None:
        plan = plan_alone(SPEC)
        assert [m.name for m in plan.metrics] == ["errors", "latency"]
        assert plan.initial

    def test_a_healthy_candidate_passes_when_its_hour_is_over(self) -> None:
        state, got = run(121, errors=6.0)
        assert got.verdict.decision is not Judgement.Rollback
        assert got.verdict.step_complete
        assert got.looks == 321, "looks of the whole attempt go on"
        early, sooner = run(119, errors=6.0)
        assert not sooner.verdict.step_complete
        assert early.evidence == state.evidence == "of the comparison"

    @pytest.mark.parametrize(
        ("errors", "slow", "name"), [(90.0, 10.0, "errors"), (6.0, 600.0, "latency")]
    )
    def test_a_broken_limit_is_found_without_anything_to_compare_with(
        self, errors: float, slow: float, name: str
    ) -> None:
        state, got = run(60, errors, slow)
        assert got.verdict.decision is Judgement.Rollback
        assert got.verdict.blame == (name,)
        plan, evidence = stored_evidence(SPEC, state, alone=True)
        assert plan == plan_alone(SPEC)
        assert evidence.looks == got.looks - 200

    def test_the_clock_alone_asks_the_probations_evidence(self) -> None:
        assert judge_again(SPEC, watched(), BEGIN) is None, "none yet, whatever came before"
        state, got = run(3, errors=6.0)
        again = judge_again(SPEC, state, BEGIN + timedelta(seconds=30 * 2 + 42))
        assert again is not None
        assert again.verdict == got.verdict

    def test_it_is_measured_from_its_own_first_request_and_without_a_baseline(self) -> None:
        model = on_probation()
        from modelhandoff.rollout.context import Context

        wanted = measurement(Context(model.snapshot()))
        assert wanted is not None
        assert wanted.baseline is None
        assert [s.weight for s in wanted.stages] == [100]
        assert wanted.begin == wanted.stages[0].start
