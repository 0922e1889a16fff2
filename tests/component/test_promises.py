"""The promises of the operator, one story each, told through what a person would see."""

from __future__ import annotations

import pytest

from modelhandoff.api import names
from modelhandoff.metrics.trouble import Trouble
from tests.component.actors import Fate
from tests.component.collecting import BROKEN, FAULTY, HEALTHY, Behaviour
from tests.component.fakeapi.objects import Change
from tests.component.handoffs import V1, V2, V3, quick, version
from tests.component.phases import LONG
from tests.component.world import NAMESPACE, POD, ROUTE, SERVICE, World


@pytest.fixture
async def serving(place: World) -> World:
    """Version 1 serves, and nothing is under way."""
    place.collector.per_second = 10_000.0
    await place.start()
    await place.apply(quick(V1))
    await place.run_until(lambda: place.phase() == "Promoted")
    return place


async def test_a_first_handoff_serves_all_traffic_once_it_is_warm(place: World) -> None:
    await place.start()
    await place.apply(quick(V1))
    await place.run_until(lambda: place.phase() == "Promoted")
    (attempt,) = place.attempts()
    assert attempt["spec"]["kind"] == "Initial"
    assert attempt["status"]["verdict"]["decision"] == "Initial"
    assert place.share(attempt) == 100
    assert place.condition("Ready")["status"] == "True"
    assert place.status()["observedGeneration"] == 1
    stable = place.objects.get(SERVICE, NAMESPACE, "fraud")
    pods = place.objects.list(POD, NAMESPACE)
    assert any(
        stable["spec"]["selector"].items() <= pod["metadata"]["labels"].items() for pod in pods
    )


async def test_a_good_candidate_is_promoted_step_by_step(serving: World) -> None:
    (first,) = serving.attempts()
    await serving.apply(quick(V2))
    await serving.run_until(lambda: serving.phase() == "Promoted")
    second = serving.attempt()
    assert second["status"]["verdict"]["decision"] == "Promote"
    assert serving.share(second) == 100
    name = names.workload_name("fraud", second["spec"]["revision"])
    shares = [w.backends.get(name, 0) for w in serving.weights["fraud"]]
    assert sorted(set(shares)) == [0, 10, 50, 100]
    assert shares == sorted(shares), "weights only rise on the way to a promotion"
    assert all(sum(w.backends.values()) == 100 for w in serving.weights["fraud"])
    # The old revision stays warm for its delay, then goes to zero, and traffic never notices.
    old = names.workload_name("fraud", first["spec"]["revision"])
    assert serving.deployments()[old]["spec"]["replicas"] > 0
    await serving.pass_time(11 * 60)
    assert serving.deployments()[old]["spec"]["replicas"] == 0
    assert serving.share(second) == 100


async def test_the_verdict_is_latched_before_the_first_promoting_write(serving: World) -> None:
    await serving.apply(quick(V2))
    await serving.run_until(lambda: serving.phase() == "Promoted")
    name = names.workload_name("fraud", serving.attempt()["spec"]["revision"])
    latched = next(
        w.version
        for w in serving.writes()
        if w.kind == "HandoffAttempt"
        and (w.after.get("status") or {}).get("verdict", {}).get("decision") == "Promote"
    )
    all_of_it = next(w.version for w in serving.weights["fraud"] if w.backends == {name: 100})
    assert latched < all_of_it


async def test_errors_bring_the_weight_to_zero_with_the_reason_in_the_same_write(
    serving: World,
) -> None:
    (first,) = serving.attempts()
    serving.collector.candidate = FAULTY
    await serving.apply(quick(V2))
    await serving.run_until(lambda: serving.phase() == "RolledBack")
    second = serving.attempt()
    assert second["status"]["verdict"]["decision"] == "Rollback"
    assert serving.route() == {names.workload_name("fraud", first["spec"]["revision"]): 100}
    name = names.workload_name("fraud", second["spec"]["revision"])
    peak = max(i for i, w in enumerate(serving.weights["fraud"]) if name in w.backends)
    after = serving.weights["fraud"][peak + 1]
    assert name not in after.backends, "the backend goes with its weight: sessions stick to it"
    assert after.intent.startswith(f"{second['metadata']['name']}:Rollback:")
    assert serving.condition("Stalled")["status"] == "True"
    assert "errors" in serving.status()["message"]


async def test_half_of_the_answers_wrong_is_seen_within_three_looks(serving: World) -> None:
    serving.collector.candidate = BROKEN
    await serving.apply(quick(V2))
    await serving.run_until(lambda: serving.share(serving.attempt()) == 10)
    landed = serving.clock.monotonic()
    await serving.run_until(lambda: serving.share(serving.attempt()) == 0)
    assert serving.clock.monotonic() - landed <= 4 * 30
    await serving.run_until(lambda: serving.phase() == "RolledBack", most=3600)


async def test_slow_answers_are_rolled_back_too(serving: World) -> None:
    serving.collector.candidate = Behaviour(slow=0.4)
    await serving.apply(version(V2))
    await serving.run_until(lambda: serving.phase() == "RolledBack")
    assert "latency" in serving.status()["message"]


async def test_a_rolled_back_bundle_is_tried_again_only_when_asked(serving: World) -> None:
    serving.collector.candidate = FAULTY
    await serving.apply(quick(V2))
    await serving.run_until(lambda: serving.phase() == "RolledBack")
    serving.collector.candidate = HEALTHY
    await serving.pass_time(24 * 3600)
    assert len(serving.attempts()) == 2
    await serving.annotate(names.ANNOTATION_RETRY, serving.attempt()["metadata"]["name"])
    await serving.run_until(lambda: serving.phase() == "Promoted")
    assert [a["spec"]["ordinal"] for a in serving.attempts()] == [1, 2, 3]
    assert serving.share(serving.attempt()) == 100


async def test_abort_takes_the_weight_off_at_once(serving: World) -> None:
    (first,) = serving.attempts()
    await serving.apply(quick(V2))
    await serving.run_until(lambda: serving.share(serving.attempt()) == 10)
    await serving.annotate(names.ANNOTATION_ABORT, serving.attempt()["metadata"]["name"])
    assert serving.route() == {names.workload_name("fraud", first["spec"]["revision"]): 100}
    await serving.run_until(lambda: serving.phase() == "Aborted")
    assert serving.attempt()["status"]["verdict"]["decision"] == "Abort"


async def test_a_verb_for_another_attempt_does_nothing(serving: World) -> None:
    (first,) = serving.attempts()
    await serving.apply(quick(V2))
    await serving.run_until(lambda: serving.share(serving.attempt()) == 10)
    await serving.annotate(names.ANNOTATION_ABORT, first["metadata"]["name"])
    await serving.run_until(lambda: serving.phase() == "Promoted")


async def test_an_edit_supersedes_what_is_on_its_way(serving: World) -> None:
    await serving.apply(quick(V2))
    await serving.run_until(lambda: serving.share(serving.attempt()) == 10)
    second = serving.attempt()
    await serving.apply(quick(V3))
    await serving.run_until(lambda: serving.phase() == "Promoted")
    _, superseded, third = serving.attempts()
    assert superseded["status"]["phase"] == "Superseded"
    assert serving.share(third) == 100
    name = names.workload_name("fraud", second["spec"]["revision"])
    weights = [w.backends.get(name, 0) for w in serving.weights["fraud"]]
    assert max(weights) == 10
    assert weights[-1] == 0


async def test_pause_holds_the_step_and_still_rolls_back(serving: World) -> None:
    await serving.apply(quick(V2))
    await serving.run_until(lambda: serving.share(serving.attempt()) == 10)
    await serving.annotate(names.ANNOTATION_PAUSE, serving.attempt()["metadata"]["name"])
    await serving.pass_time(600)
    assert serving.share(serving.attempt()) == 10
    assert serving.condition("Paused")["status"] == "True"
    serving.collector.candidate = FAULTY
    await serving.run_until(lambda: serving.phase() == "RolledBack")


async def test_a_deleted_handoff_leaves_what_serves(serving: World) -> None:
    (first,) = serving.attempts()
    await serving.apply(quick(V2))
    await serving.run_until(lambda: serving.share(serving.attempt()) == 10)
    await serving.delete(policy="Foreground")
    await serving.settle()
    kept = names.workload_name("fraud", first["spec"]["revision"])
    assert list(serving.deployments()) == [kept]
    assert serving.route() == {kept: 100}
    assert serving.attempts() == []


class TestIgnorance:
    @pytest.mark.parametrize("trouble", [Trouble.REFUSED, Trouble.NOT_A_COUNT, Trouble.AMBIGUOUS])
    async def test_no_metrics_hold_the_weight_then_take_it_away_then_go_on(
        self, serving: World, trouble: Trouble
    ) -> None:
        await serving.apply(quick(V2))
        await serving.run_until(lambda: serving.share(serving.attempt()) == 10)
        serving.collector.trouble = trouble
        await serving.pass_time(5 * 60)
        assert serving.share(serving.attempt()) == 10, "within its budget the weight is held"
        assert serving.condition("MetricsAvailable")["status"] == "False"
        await serving.pass_time(10 * 60)
        assert serving.share(serving.attempt()) == 0
        assert serving.phase() == "Progressing", "silence is nobody's failure"
        serving.stride = LONG
        await serving.pass_time(3600)
        assert serving.share(serving.attempt()) == 0
        serving.collector.trouble = None
        serving.stride = LONG
        await serving.run_until(lambda: serving.phase() == "Promoted")
        assert len(serving.attempts()) == 2


class TestCapacity:
    async def test_no_gpu_is_not_the_models_fault_and_moves_no_traffic(
        self, serving: World
    ) -> None:
        serving.actors.fate["fraud-"] = Fate.UNSCHEDULABLE
        before = len(serving.weights["fraud"])
        await serving.apply(quick(V2))
        await serving.run_until(lambda: serving.phase() == "Inconclusive")
        assert "Insufficient nvidia.com/gpu" in serving.status()["message"]
        assert all(len(w.backends) == 1 for w in serving.weights["fraud"][before:])

    async def test_a_candidate_without_a_ready_pod_loses_its_weight_at_the_event(
        self, serving: World
    ) -> None:
        await serving.apply(quick(V2))
        await serving.run_until(lambda: serving.share(serving.attempt()) == 10)
        name = names.workload_name("fraud", serving.attempt()["spec"]["revision"])
        serving.actors.decide(name, Fate.STARTING)
        await serving.settle()
        assert serving.share(serving.attempt()) == 0
        serving.actors.decide(name, Fate.READY)
        await serving.run_until(lambda: serving.phase() == "Promoted")


class TestRestarts:
    async def test_a_restart_loses_nothing_and_counts_nothing_twice(self, serving: World) -> None:
        await serving.apply(quick(V2))
        await serving.run_until(lambda: serving.share(serving.attempt()) == 10)
        await serving.pass_time(65)
        stored = serving.attempt()["status"]
        await serving.restart()
        assert serving.attempt()["status"]["cursor"] == stored["cursor"]
        while serving.phase() != "Promoted":
            await serving.pass_time(45)
            await serving.restart()
        counted = [index for _, index in serving.collector.closed]
        assert len(counted) == len(set(counted)), "an interval was handed out twice"
        assert counted == list(range(counted[0], counted[-1] + 1)), "an interval was left out"
        decisions = {
            w.after["status"]["verdict"]["at"]
            for w in serving.writes()
            if w.kind == "HandoffAttempt" and "verdict" in (w.after.get("status") or {})
        }
        assert len(decisions) == 2, "one verdict for each of the two attempts"

    async def test_a_rollback_survives_a_kill_between_route_and_record(
        self, serving: World
    ) -> None:
        serving.collector.candidate = FAULTY
        await serving.apply(quick(V2))
        await serving.run_until(lambda: serving.share(serving.attempt()) == 10)
        process = serving.process
        assert process is not None

        def kill_at_the_intent(change: Change) -> None:
            annotations = change.after["metadata"].get("annotations") or {}
            if change.kind == ROUTE and names.ANNOTATION_INTENT in annotations:
                process.fence.close("killed between two writes")

        serving.objects.listeners.append(kill_at_the_intent)
        await serving.run_until_killed()
        assert "verdict" not in serving.attempt()["status"]
        serving.collector.candidate = HEALTHY  # nothing in the metrics would say so now
        await serving.start()
        await serving.run_until(lambda: serving.phase() == "RolledBack")
        assert serving.attempt()["status"]["verdict"]["decision"] == "Rollback"


class TestRest:
    async def test_nothing_is_asked_and_nothing_written_once_stable(self, serving: World) -> None:
        await serving.apply(quick(V2))
        await serving.run_until(lambda: serving.phase() == "Promoted")
        await serving.pass_time(72 * 3600)
        version_then, asked = serving.objects.version, len(serving.server.faults.seen)
        await serving.pass_time(24 * 3600)
        assert serving.writes(version_then) == []
        assert serving.requests(asked) == []

    async def test_while_collecting_there_is_one_write_per_interval(self, serving: World) -> None:
        await serving.apply(quick(V2))
        await serving.run_until(lambda: serving.share(serving.attempt()) == 10)
        await serving.annotate(names.ANNOTATION_PAUSE, serving.attempt()["metadata"]["name"])
        await serving.pass_time(120)
        since = serving.objects.version
        await serving.pass_time(20 * 30)
        kinds = [w.kind for w in serving.writes(since)]
        assert kinds.count("HandoffAttempt") == 20
        assert kinds.count("ModelHandoff") <= 10
        assert len(kinds) == kinds.count("HandoffAttempt") + kinds.count("ModelHandoff")

    async def test_reapplying_what_is_stable_starts_nothing(self, serving: World) -> None:
        since = serving.objects.version
        await serving.apply(quick(V1))
        await serving.pass_time(3600)
        assert serving.writes(since) == []
