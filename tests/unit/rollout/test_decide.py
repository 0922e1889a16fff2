"""From apply to promoted or rolled back: the decisions, told as stories."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import pytest

from modelhandoff.analysis.verdict import Decision as Judgement
from modelhandoff.analysis.verdict import Reason as JudgedReason
from modelhandoff.api import names
from modelhandoff.rollout.actions import ApplyRoute, CreateAttempt, ScaleWorkload, WriteAttempt
from modelhandoff.rollout.snapshot import PodView
from tests.unit.rollout.model import (
    GOOD,
    HARM,
    OPEN,
    PROVEN,
    START,
    Model,
    StaleWriteError,
    verdict,
)


def condition(model: Model, kind: str) -> dict[str, str]:
    return next(c for c in model.status["conditions"] if c["type"] == kind)


def pod(name: str = "p", **changes: object) -> PodView:
    plain = PodView(name, START, ready=False, deleting=False, restarts=0)
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


class TestFirstVersion:
    def test_it_serves_once_it_is_ready_and_warm(self) -> None:
        model = Model().promoted("1.0.0")
        assert model.weights == [{model.candidate: 100}]
        assert model.services["fraud"].selector[names.LABEL_REVISION] in model.candidate
        assert condition(model, "Ready")["status"] == "True"
        assert "1.0.0 serves all traffic" in model.status["message"]

    def test_nothing_is_written_once_it_is_stable(self) -> None:
        model = Model().promoted()
        model.writes.clear()
        for _ in range(50):
            model.pass_time(hours=1)
            before = model.status
            assert model.run().action is None
            assert model.status == before
        assert model.writes == []

    def test_it_waits_for_a_baseline_when_one_is_required(self) -> None:
        model = Model()
        model.raw_spec["rollout"]["initial"] = "RequireBaseline"
        decision = model.run()
        assert "spec.baseline.workloadRef" in decision.sentence
        assert not model.attempts
        assert condition(model, "Stalled")["reason"] == "BaselineMissing"


class TestRollout:
    def test_a_good_version_goes_step_by_step_to_all_traffic(self) -> None:
        model = Model().started("2.0.0")
        old = next(w.name for w in model.workloads.values() if w.stable)
        assert model.share() == 10
        model.look(GOOD, hours=1)
        assert model.share() == 50
        model.look(PROVEN, hours=1)
        assert model.share() == 100
        assert model.state.phase == "Promoted"
        assert model.workloads[old].desired == 1, "the old version stays warm"
        assert model.weights == [{old: 50, model.candidate: 50}, {model.candidate: 100}]
        model.pass_time(minutes=31)
        model.run()
        assert model.workloads[old].desired == 0

    def test_proofs_at_the_first_step_do_not_skip_the_second(self) -> None:
        model = Model().started()
        model.look(PROVEN)
        assert model.share() == 50
        assert model.state.phase == "Progressing"

    def test_harm_takes_the_traffic_off_before_anything_is_recorded(self) -> None:
        model = Model().started()
        model.look(HARM)
        first, second = model.writes[0], model.writes[1]
        assert isinstance(first, ApplyRoute)
        assert first.intent.startswith(f"{model.attempt.name}:Rollback:HarmDetected:errors 5 %")
        assert isinstance(second, WriteAttempt)
        assert model.state.verdict is not None
        assert model.state.verdict.total_e == 900.0
        model.pass_time(seconds=11)
        model.run()
        assert model.state.phase == "RolledBack"
        assert model.workloads[model.candidate].desired == 0
        assert model.status["message"].startswith(
            "Rolled back at 03:00 UTC: 100 % on 1.0.0. 2.0.0 had up to 10 %"
        )
        assert condition(model, "Stalled")["reason"] == "RolledBack"

    def test_rolled_back_stays_until_someone_retries_or_edits(self) -> None:
        model = Model().started()
        model.look(HARM)
        model.pass_time(seconds=11)
        model.run()
        model.writes.clear()
        for _ in range(5):
            model.pass_time(hours=5)
            model.run()
        assert model.writes == []
        model.annotations[names.ANNOTATION_RETRY] = model.attempt.name
        model.said = OPEN
        model.run()
        assert model.attempt.ordinal == 3
        assert model.share() == 10

    def test_taking_an_edit_back_leaves_no_failure_in_the_status(self) -> None:
        model = Model().promoted("1.0.0")
        serving = copy.deepcopy(model.raw_spec)
        model.edit("2.0.0")
        model.said = OPEN
        model.run()
        model.look(HARM)
        model.pass_time(seconds=11)
        model.run()
        assert model.status["phase"] == "RolledBack"
        model.raw_spec = serving
        model.run()
        assert model.status["phase"] == "Promoted"
        assert model.status["attemptRef"]["ordinal"] == 1
        assert "nextAction" not in model.status
        assert model.status["message"].startswith("fraud-classifier 1.0.0 serves all traffic since")
        assert model.status["message"].endswith(
            "The handoff says again what serves; fraud-classifier 2.0.0 was tried in between: "
            "RolledBack."
        )
        assert condition(model, "Ready")["status"] == "True"
        assert [one["outcome"] for one in model.status["history"]] == ["RolledBack", "Promoted"]
        model.writes.clear()
        model.pass_time(hours=5)
        model.run()
        assert not any(isinstance(write, CreateAttempt) for write in model.writes)

    def test_manual_promotion_waits_for_a_person(self) -> None:
        model = Model().promoted()
        model.edit("2.0.0")
        model.raw_spec["rollout"]["decision"] = {"promotion": "Manual"}
        model.said = GOOD
        model.run()
        model.look(GOOD, hours=1)
        decision = model.look(PROVEN, hours=1)
        assert model.share() == 50
        assert names.ANNOTATION_PROMOTE in model.status["nextAction"], decision
        assert condition(model, "Paused")["reason"] == "ManualGate"
        model.annotations[names.ANNOTATION_PROMOTE] = model.attempt.name
        model.run()
        assert model.state.phase == "Promoted"

    def test_promotion_by_hand_is_refused_while_harm_grows(self) -> None:
        model = Model().started()
        model.annotations[names.ANNOTATION_PROMOTE] = model.attempt.name
        model.look(verdict(Judgement.Continue, JudgedReason.Collecting, total_e=30.0))
        assert model.state.phase == "Progressing"
        assert model.share() == 10

    def test_adopting_a_deployment_leaves_it_as_it_is(self) -> None:
        model = Model()
        model.adopt()
        legacy = model.workloads["legacy"]
        model.raw_spec["baseline"] = {"workloadRef": {"name": "legacy"}}
        model.said = OPEN
        model.run()
        assert model.share() == 10
        assert model.route is not None
        assert model.route.backends["fraud-baseline"] == 90
        model.look(GOOD, hours=1)
        model.look(PROVEN, hours=1)
        assert model.state.phase == "Promoted"
        model.pass_time(hours=2)
        model.run()
        assert model.workloads["legacy"].desired == legacy.desired
        assert not any(getattr(w, "workload", "") == "legacy" for w in model.writes)

    def test_an_adopted_deployment_is_retired_only_when_that_is_allowed(self) -> None:
        model = Model()
        model.adopt()
        model.raw_spec["baseline"] = {
            "workloadRef": {"name": "legacy"},
            "scaleDown": "OnPromotion",
        }
        model.said = OPEN
        model.run()
        model.look(GOOD, hours=1)
        model.look(PROVEN, hours=1)
        assert model.workloads["legacy"].desired == 2, "it stays warm first"
        model.pass_time(hours=2)
        model.run()
        assert model.workloads["legacy"].desired == 0


class TestCapacity:
    def provisioning(self) -> Model:
        model = Model().promoted()
        model.edit("2.0.0")
        while model.candidate not in model.workloads or model.state.phase != "Provisioning":
            decision = model.decide()
            assert decision.action is not None
            model.apply(decision.action)
        return model

    def test_no_room_is_inconclusive_with_the_schedulers_own_words(self) -> None:
        model = self.provisioning()
        words = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
        model.pods(model.candidate, pod(unschedulable=words))
        decision = model.decide()
        assert decision.action is None
        assert words in decision.sentence
        assert decision.requeue_after == 1800
        model.pass_time(minutes=31)
        for _ in range(4):
            decision = model.decide()
            if decision.action is None:
                break
            model.apply(decision.action)
        assert model.state.phase == "Inconclusive"
        assert words in decision.status["message"]
        assert "not the model's fault" in decision.status["message"]
        assert model.share() == 0

    @pytest.mark.parametrize(
        ("broken", "phase", "reason"),
        [
            (
                pod(init_exit_code=3, init_message="model.onnx: digest differs"),
                "Rejected",
                "ArtifactMismatch",
            ),
            (pod(crashed=True, restarts=3, crash_message="OOMKilled"), "Rejected", "CanaryCrashed"),
            (
                pod(waiting_reason="ImagePullBackOff", waiting_message="not found"),
                "Inconclusive",
                "ImagePullFailed",
            ),
            (
                pod(init_exit_code=4, init_message="connection refused"),
                "Inconclusive",
                "ArtifactUnavailable",
            ),
            (
                pod(unschedulable='0/1 nodes are available: persistentvolumeclaim "m" not found.'),
                "Inconclusive",
                "ArtifactUnavailable",
            ),
            (
                pod(unschedulable="0/1 nodes are available: 1 Insufficient nvidia.com/gpu."),
                "Inconclusive",
                "CapacityShortage",
            ),
            (pod(begun=False, unmounted=("m",)), "Inconclusive", "ArtifactUnavailable"),
            (pod(), "Rejected", "CanaryNotReady"),
            (pod(begun=False), "Inconclusive", "ArtifactUnavailable"),
            (pod(begun=False, init_exit_code=0), "Inconclusive", "ImagePullFailed"),
        ],
    )
    def test_what_does_not_start_ends_before_traffic(
        self, broken: PodView, phase: str, reason: str
    ) -> None:
        model = self.provisioning()
        model.pods(model.candidate, broken)
        model.pass_time(hours=1)
        for _ in range(5):
            decision = model.decide()
            if decision.action is None:
                break
            model.apply(decision.action)
        assert model.state.phase == phase
        assert model.state.verdict is not None
        assert model.state.verdict.reason == reason
        assert model.share() == 0

    def test_an_old_version_gives_its_room_to_the_attempt_that_waits_for_it(self) -> None:
        model = Model().started("2.0.0")
        old = next(w.name for w in model.workloads.values() if w.stable)
        model.look(GOOD, hours=1)
        model.look(PROVEN, hours=1)
        model.edit("3.0.0")
        while model.state.phase != "Provisioning" or model.candidate not in model.workloads:
            decision = model.decide()
            assert decision.action is not None
            model.apply(decision.action)
        model.pods(model.candidate, pod(unschedulable="no GPU", created=model.now))
        waiting = model.decide()
        assert waiting.action is None
        assert waiting.requeue_after == 1800, "until the old version's delay is over"
        model.pass_time(minutes=31)
        model.pods(model.candidate, pod(unschedulable="no GPU", created=model.now), ready=0)
        retired = model.decide().action
        assert isinstance(retired, ScaleWorkload)
        assert (retired.workload, retired.replicas) == (old, 0)

    def test_more_pods_come_before_more_traffic(self) -> None:
        model = Model().promoted()
        model.edit("2.0.0")
        model.raw_spec["candidate"]["serving"]["replicas"] = 4
        model.said = GOOD
        model.run()
        assert model.workloads[model.candidate].desired == 1
        model.pass_time(hours=1)
        model.apply(model.decide(fresh=True).action)
        grown = model.decide()
        assert isinstance(grown.action, ScaleWorkload)
        assert grown.action.replicas == 2
        model.apply(grown.action)
        assert model.decide().action is None, "no weight before the second pod is ready"
        model.settle()
        raised = model.decide()
        assert isinstance(raised.action, ApplyRoute)

    def side_by_side(self, *, baseline: str, candidate: str) -> Model:
        model = self.provisioning()
        stable = next(name for name, w in model.workloads.items() if w.stable)
        model.products = {stable: baseline, model.candidate: candidate}
        for _ in range(4):
            model.settle()
            model.run()
        return model

    def test_another_gpu_than_the_baselines_is_not_judged(self) -> None:
        model = self.side_by_side(baseline="Tesla-T4", candidate="NVIDIA-L4")
        decision = model.decide()
        assert model.state.phase == "Inconclusive"
        assert "got NVIDIA-L4, the baseline runs on Tesla-T4" in decision.status["message"]
        assert model.state.max_weight == 0

    @pytest.mark.parametrize("baseline", ["NVIDIA-L4", ""])
    def test_the_baselines_gpu_or_an_unknown_one_will_do(self, baseline: str) -> None:
        model = self.side_by_side(baseline=baseline, candidate="NVIDIA-L4")
        assert model.share() == 10

    def test_a_baseline_with_more_variety_will_do(self) -> None:
        model = self.provisioning()
        stable = next(name for name, w in model.workloads.items() if w.stable)
        model.products = {model.candidate: "NVIDIA-L4"}
        model.settle()
        pods = [pod(ready=True, gpu_product=product) for product in ("Tesla-T4", "NVIDIA-L4")]
        model.pods(stable, *pods, ready=2)
        assert model.decide().action is not None
        assert model.decide().sentence.endswith("sending it example requests.")

    def test_a_baseline_that_is_not_whole_is_not_compared_with(self) -> None:
        model = self.side_by_side(baseline="", candidate="NVIDIA-L4")
        stable = next(name for name, w in model.workloads.items() if w.stable)
        model.products[stable] = "Tesla-T4"
        model.settle()
        left = model.workloads[stable].pods
        model.workloads[stable] = dataclasses.replace(
            model.workloads[stable], desired=2, ready=1, pods=left[:1]
        )
        model.said = GOOD
        model.pass_time(hours=1)
        decision = model.decide()
        assert model.state.phase == "Progressing"
        assert "cannot be compared" not in decision.sentence

    def test_a_pod_that_comes_later_on_another_gpu_ends_it_too(self) -> None:
        model = self.side_by_side(baseline="Tesla-T4", candidate="Tesla-T4")
        assert model.share() == 10
        model.products[model.candidate] = "NVIDIA-L4"
        model.settle()
        model.look(GOOD, hours=1)
        assert model.share() == 0
        model.pass_time(minutes=1)
        model.run()
        assert model.state.phase == "Inconclusive"


class TestIgnorance:
    def test_it_holds_then_takes_the_weight_to_zero_then_resumes(self) -> None:
        model = Model().started()
        model.look(OPEN)
        model.unknown = "HTTP 500 from the metric source"
        model.look()
        assert model.share() == 10
        assert condition(model, "MetricsAvailable")["status"] == "False"
        for _ in range(30):
            model.look()
        assert model.share() == 0
        assert model.state.phase == "Progressing"
        assert condition(model, "Stalled")["status"] == "False"
        model.unknown = ""
        model.look(GOOD)
        assert model.share() == 10, "the step gets its weight back, not more"
        assert condition(model, "MetricsAvailable")["status"] == "True"

    def test_a_verdict_from_before_never_raises_the_weight_while_nothing_is_known(self) -> None:
        model = Model().started()
        model.unknown = "connection refused"
        model.look()
        model.unknown = ""
        model.said = GOOD
        model.pass_time(hours=2)
        model.run(fresh=False)
        assert model.share() == 0
        assert model.state.step == 0


class TestProtection:
    def test_no_ready_pod_means_no_weight_at_the_event(self) -> None:
        model = Model().started()
        model.pods(model.candidate, pod())
        decision = model.decide()
        assert decision.urgent
        model.apply(decision.action)
        assert model.share() == 0
        model.apply(model.decide().action)
        assert model.decide().action is None
        assert model.state.phase == "Progressing"
        model.run()
        model.settle()
        model.run()
        assert model.share() == 10

    def test_crashing_under_traffic_ends_it(self) -> None:
        model = Model().started()
        model.pods(
            model.candidate, pod(crashed=True, restarts=3, crash_message="exit 139"), ready=0
        )
        model.apply(model.decide().action)
        model.apply(model.decide().action)
        assert model.state.verdict is not None
        assert model.state.verdict.reason == "CanaryUnstable"
        assert "exit 139" in model.state.verdict.message

    def test_a_foreign_decrease_is_a_hand_on_the_brake(self) -> None:
        model = Model().started()
        assert model.route is not None
        old = next(w.name for w in model.workloads.values() if w.stable)
        model.route = dataclasses.replace(model.route, backends={old: 100, model.candidate: 0})
        model.run()
        model.pass_time(seconds=20)
        model.run()
        assert model.state.phase == "Aborted"
        assert model.state.verdict is not None
        assert model.state.verdict.reason == "ExternalBrake"

    def test_a_foreign_increase_is_taken_back_once_then_contested(self) -> None:
        model = Model().started()
        old = next(w.name for w in model.workloads.values() if w.stable)
        for expected in ("Progressing", "Inconclusive"):
            assert model.route is not None
            model.route = dataclasses.replace(
                model.route,
                backends={old: 10, model.candidate: 90},
                resource_version=model.version(),
            )
            model.run()
            model.pass_time(seconds=20)
            model.run()
            assert model.state.phase == expected
            assert model.share() == (10 if expected == "Progressing" else 0)

    def test_a_lost_baseline_moves_nothing(self) -> None:
        model = Model()
        model.adopt()
        model.raw_spec["baseline"] = {"workloadRef": {"name": "legacy"}}
        model.said = OPEN
        model.run()
        del model.workloads["legacy"]
        decision = model.look(PROVEN, hours=2)
        assert model.share() == 10
        assert "baseline" in decision.sentence
        assert condition(model, "Stalled")["reason"] == "BaselineMissing"


class TestPeople:
    def test_abort_wins_over_a_promotion_that_has_not_happened(self) -> None:
        model = Model().started()
        model.look(GOOD, hours=1)
        model.pass_time(hours=1)
        model.said = PROVEN
        decision = model.decide(fresh=True)
        model.apply(decision.action)
        assert model.state.phase == "Promoting"
        model.annotations[names.ANNOTATION_ABORT] = model.attempt.name
        model.run()
        model.pass_time(seconds=20)
        model.run()
        assert model.state.phase == "Aborted"
        assert model.share() == 0

    def test_a_verb_for_another_attempt_does_nothing(self) -> None:
        model = Model().started()
        model.annotations[names.ANNOTATION_ABORT] = "fraud-0123456789"
        model.run()
        assert model.writes == []

    def test_pause_holds_the_step_and_still_acts_on_harm(self) -> None:
        model = Model().started()
        model.annotations[names.ANNOTATION_PAUSE] = model.attempt.name
        model.look(GOOD, hours=3)
        assert model.share() == 10
        assert condition(model, "Paused")["status"] == "True"
        model.look(HARM)
        assert model.share() == 0

    def test_an_edit_starts_again_from_zero(self) -> None:
        model = Model().started("2.0.0")
        first = model.attempt.name
        model.edit("2.1.0")
        model.run()
        model.pass_time(seconds=11)
        model.run()
        assert model.attempts[first].status["phase"] == "Superseded"
        assert model.attempt.name != first
        assert model.attempt.spec.candidate.model.version == "2.1.0"
        assert model.share() == 10

    def test_going_back_to_what_is_stable_starts_nothing(self) -> None:
        model = Model().started("2.0.0")
        count = len(model.attempts)
        model.edit("1.0.0")
        model.run()
        model.pass_time(seconds=20)
        model.run()
        assert len(model.attempts) == count
        assert model.share() == 0
        assert condition(model, "Ready")["status"] == "True"

    def test_new_rules_for_the_same_model_move_no_traffic(self) -> None:
        model = Model().promoted("1.0.0")
        model.weights.clear()
        served = model.candidate
        model.raw_spec["rollout"]["steps"] = [{"weight": 5}]
        model.run()
        assert model.state.phase == "Promoted"
        assert all(weights == {served: 100} for weights in model.weights)
        assert condition(model, "Ready")["status"] == "True"


class TestDeletion:
    def test_it_restores_the_weights_and_leaves_what_serves(self) -> None:
        model = Model().started()
        old = next(w.name for w in model.workloads.values() if w.stable)
        model.deleting = True
        model.run()
        assert model.gone
        assert model.route is not None
        assert model.route.backends == {old: 100}
        assert set(model.workloads) == {old}

    def test_it_needs_no_attempt(self) -> None:
        model = Model().started()
        old = next(w.name for w in model.workloads.values() if w.stable)
        model.deleting = True
        model.attempts.clear()
        model.run()
        assert model.gone
        assert model.route is not None
        assert model.route.backends == {old: 100}

    def test_before_anything_served_nothing_stays(self) -> None:
        model = Model()
        for _ in range(3):
            model.apply(model.decide().action)
        model.deleting = True
        model.run()
        assert model.gone
        assert not model.workloads
        assert model.route is None

    def test_re_creating_it_takes_up_what_serves(self) -> None:
        model = Model().promoted()
        served = dict(model.workloads)
        model.deleting = True
        model.run()
        model.deleting, model.gone, model.uid, model.attempts = False, False, "uid-2", {}
        model.weights.clear()
        model.run()
        assert not model.attempts, "nothing is to be tried"
        assert set(model.workloads) == set(served)
        assert model.weights == []
        assert condition(model, "Ready")["status"] == "True"


def _promotion(model: Model) -> None:
    model.look(GOOD, hours=1)
    model.look(PROVEN, hours=1)
    model.pass_time(minutes=31)
    model.run()


def _rollback(model: Model) -> None:
    model.look(OPEN)
    model.look(HARM)
    model.pass_time(minutes=1)
    model.run()


@pytest.mark.parametrize("story", [_promotion, _rollback])
def test_a_crash_after_any_write_changes_nothing(story: Callable[[Model], None]) -> None:
    """Every pass starts from what is stored, so losing the process between writes loses nothing."""
    whole = Model().started()
    story(whole)
    for at in range(1, len(whole.writes) + 1):
        model = Model().started()
        applied = 0
        original = model.apply

        def crash(
            action: object, original: Callable[[object], None] = original, at: int = at
        ) -> None:
            nonlocal applied
            original(action)
            applied += 1
            if applied == at:
                raise KeyboardInterrupt

        model.apply = crash  # type: ignore[method-assign]
        try:
            story(model)
        except KeyboardInterrupt:
            model.settle()
            model.run()
            story(model)
        final = {"Promoted", "RolledBack"}
        assert model.state.phase in final
        assert model.state.phase == whole.state.phase, f"crash after write {at}"
        assert model.route is not None
        assert whole.route is not None
        assert model.route.backends == whole.route.backends


def test_a_decision_on_stale_reading_is_refused_not_applied() -> None:
    model = Model().started()
    model.pass_time(hours=1)
    model.said = GOOD
    stale = model.decide(fresh=True).action
    model.look(OPEN)
    with pytest.raises(StaleWriteError):
        model.apply(stale)


def test_deciding_is_a_function_of_what_is_seen() -> None:
    model = Model().started()
    snapshot = model.snapshot()
    again = copy.deepcopy(model)
    assert model.decide() == again.decide()
    assert snapshot == model.snapshot()


def test_attempts_are_named_after_what_they_try() -> None:
    model = Model().promoted()
    model.edit("2.0.0")
    created = model.decide().action
    assert isinstance(created, CreateAttempt)
    assert created == model.decide().action
