"""Networks that fail and people who tamper, the same stories on both APIs."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from modelhandoff.api import names
from modelhandoff.cluster.kinds import DEPLOYMENT as CACHED
from tests.component.actors import POD
from tests.component.collecting import DRIFTED, FAULTY, HEALTHY
from tests.component.fakeapi.faults import Effect, Fault, Request
from tests.component.fakeapi.objects import Object
from tests.component.handoffs import V1, V2, quick
from tests.component.invariants import check, no_weight_without_a_ready_pod, weights_are_whole
from tests.component.phases import LONG, ROLLED_BACK, STEP_1, reach, serving, workload
from tests.component.world import ATTEMPT, DEPLOYMENT, ROUTE, SERVICE, USER_AGENT, World, world

WRITES = ("create", "update", "patch", "delete")


def decides(request: Request) -> bool:
    """Whether a request is one of the writes that carry a decision."""
    return (
        request.actor == USER_AGENT
        and request.verb in WRITES
        and request.plural not in ("leases", "events")
    )


class TestNetworks:
    @pytest.mark.parametrize(
        "fault",
        [
            Fault(Effect.STATUS, decides, status=409),
            Fault(Effect.STATUS, decides, status=500),
            Fault(Effect.STATUS, decides, status=429, retry_after=7),
            Fault(Effect.CUT, decides),
            Fault(Effect.DROP, decides),
            Fault(Effect.DELAY, decides, seconds=0.02),
        ],
        ids=lambda fault: f"{fault.effect.name}-{fault.status}",
    )
    async def test_every_third_write_fails_and_the_end_is_the_same(
        self, anywhere: World, fault: Fault
    ) -> None:
        await serving(anywhere)
        turn = itertools.count(1)
        fault.hits.clear()
        fault.times = 1000
        fault.matches = lambda request: decides(request) and next(turn) % 3 == 0
        anywhere.server.faults.add(fault)
        await anywhere.apply(quick(V2))
        await anywhere.run_until(lambda: anywhere.phase() == "Promoted")
        assert len(fault.hits) > 5
        anywhere.server.faults.clear()
        await anywhere.pass_time(3600)
        assert len(anywhere.attempts()) == 2
        assert anywhere.share(anywhere.attempt()) == 100
        shares = [w.backends.get(workload(V2), 0) for w in anywhere.weights["fraud"]]
        assert shares == sorted(shares), "weights only rise on the way to a promotion"
        await check(anywhere)

    async def test_conflicts_without_end_are_no_storm(self, anywhere: World) -> None:
        await serving(anywhere)
        await reach(anywhere, STEP_1)
        fault = anywhere.server.faults.add(
            Fault(
                Effect.STATUS,
                lambda r: decides(r) and r.plural == "handoffattempts",
                times=100_000,
                status=409,
            )
        )
        since = anywhere.objects.version
        await anywhere.pass_time(600)
        # Some at once, then later and later: at most twenty tries in a pass, a pass a minute.
        assert 5 < len(fault.hits) < 200
        assert {w.kind for w in anywhere.writes(since)} <= {"ModelHandoff"}
        anywhere.server.faults.clear()
        anywhere.stride = LONG
        await anywhere.run_until(lambda: anywhere.phase() == "Promoted")
        await anywhere.pass_time(3600)
        await check(anywhere)


class TestWatches:
    async def test_a_candidate_that_vanished_in_a_gap_loses_its_weight(
        self, anywhere: World
    ) -> None:
        """The deletion itself is never delivered; only the listing after the gap tells of it."""
        await serving(anywhere)
        await reach(anywhere, STEP_1)
        process = anywhere.process
        assert process is not None
        anywhere.server.hold_watches.clear()
        await anywhere.hand.delete(
            DEPLOYMENT, anywhere.namespace, workload(V2), {"propagationPolicy": "Orphan"}
        )
        assert process.store.get(CACHED, anywhere.namespace, workload(V2)) is not None
        anywhere.server.expire_watches()
        anywhere.server.hold_watches.set()
        await anywhere.eventually(
            lambda: process.store.get(CACHED, anywhere.namespace, workload(V2)) is None
        )
        assert anywhere.share(anywhere.attempt()) == 0
        assert anywhere.phase() == "Progressing"

    async def test_watches_that_are_cut_and_expire_all_the_time_lose_nothing(
        self, anywhere: World
    ) -> None:
        await serving(anywhere)
        anywhere.stride = LONG
        await anywhere.apply(quick(V2))
        for cut in itertools.cycle((anywhere.server.drop_watches, anywhere.server.expire_watches)):
            if anywhere.phase() == "Promoted":
                break
            cut()
            await anywhere.pass_time(LONG)
        await anywhere.pass_time(3600)
        await check(anywhere)


class TestTampering:
    async def test_an_attempt_deleted_by_hand_starts_again_without_weight(
        self, anywhere: World
    ) -> None:
        await serving(anywhere)
        await reach(anywhere, STEP_1)
        deleted = anywhere.attempt()
        since = len(anywhere.weights["fraud"])
        await anywhere.remove(ATTEMPT, deleted["metadata"]["name"])
        again = anywhere.attempt()
        assert again["metadata"]["name"] == deleted["metadata"]["name"]
        assert again["metadata"]["uid"] != deleted["metadata"]["uid"]
        # Its pods and its warm-up are still there, so it is soon where it was; evidence is not.
        backends = [w.backends for w in anywhere.weights["fraud"][since:]]
        assert backends == [{workload(V1): 100}, {workload(V1): 90, workload(V2): 10}]
        assert "looks" not in again["status"]
        anywhere.stride = LONG
        await anywhere.run_until(lambda: anywhere.phase() == "Promoted")
        await anywhere.pass_time(3600)
        await check(anywhere)

    async def test_an_attempt_deleted_while_it_rolls_back_stays_rolled_back(
        self, anywhere: World
    ) -> None:
        """Its name is that of the one made again, and the route knows what it was for."""
        await serving(anywhere)
        await reach(anywhere, ROLLED_BACK)
        anywhere.collector.candidate = HEALTHY
        await anywhere.remove(ATTEMPT, anywhere.attempt()["metadata"]["name"])
        await anywhere.pass_time(3600)
        assert anywhere.attempt()["status"]["verdict"]["decision"] == "Rollback"
        assert anywhere.phase() == "RolledBack"
        assert anywhere.route() == {workload(V1): 100}
        await check(anywhere)

    async def test_a_route_deleted_under_way_stops_the_candidate(self, anywhere: World) -> None:
        await serving(anywhere)
        await reach(anywhere, STEP_1)
        await anywhere.remove(ROUTE, "fraud")
        await anywhere.pass_time(3600)
        assert anywhere.phase() == "Aborted"
        assert anywhere.attempt()["status"]["verdict"]["reason"] == "ExternalBrake"
        assert anywhere.route() == {workload(V1): 100}
        await check(anywhere)

    async def test_a_route_deleted_at_rest_comes_back(self, anywhere: World) -> None:
        await serving(anywhere)
        await anywhere.remove(ROUTE, "fraud")
        assert anywhere.route() == {workload(V1): 100}
        await reach(anywhere, ROLLED_BACK)
        await anywhere.remove(ROUTE, "fraud")
        assert anywhere.route() == {workload(V1): 100}
        await check(anywhere)

    async def test_an_intent_that_comes_too_late_changes_nothing(self, anywhere: World) -> None:
        """A rollback's write that arrives when the attempt has been promoted."""
        await serving(anywhere)
        attempt = anywhere.attempt()["metadata"]["name"]
        since = anywhere.objects.version
        late = {names.ANNOTATION_INTENT: f"{attempt}:Rollback:HarmDetected:too late"}
        await anywhere.hand.patch(
            ROUTE, anywhere.namespace, "fraud", {"metadata": {"annotations": late}}
        )
        await anywhere.pass_time(3600)
        assert anywhere.writes(since) == []
        assert anywhere.phase() == "Promoted"
        assert anywhere.route() == {workload(V1): 100}


class TestAdoption:
    @pytest.mark.parametrize("good", [True, False], ids=["promoted", "rolled-back"])
    async def test_a_deployment_is_adopted_and_left_as_it_is(
        self, anywhere: World, good: bool
    ) -> None:
        await anywhere.start()
        anywhere.collector.per_second = 10_000.0
        if not good:
            anywhere.collector.candidate = FAULTY
        await anywhere.hand.create(DEPLOYMENT, anywhere.namespace, _legacy())
        await anywhere.hand.create(SERVICE, anywhere.namespace, _legacy_service())
        await anywhere.settle()
        handoff = quick(V2)
        handoff["spec"]["baseline"] = {"workloadRef": {"name": "legacy"}}
        before = anywhere.deployments()["legacy"]
        await anywhere.apply(handoff)
        await anywhere.run_until(lambda: anywhere.share(anywhere.attempt()) == 10)
        assert anywhere.route() == {"fraud-baseline": 90, workload(V2): 10}
        baseline = anywhere.objects.get(SERVICE, anywhere.namespace, "fraud-baseline")
        assert baseline["spec"]["selector"] == {"app": "legacy"}
        anywhere.stride = LONG
        await anywhere.run_until(lambda: anywhere.phase() == ("Promoted" if good else "RolledBack"))
        await anywhere.pass_time(3 * 3600)
        assert anywhere.route() == ({workload(V2): 100} if good else {"fraud-baseline": 100})
        after = anywhere.deployments()["legacy"]
        assert (after["spec"], after["metadata"]["labels"]) == (
            before["spec"],
            before["metadata"]["labels"],
        )
        assert {w.name for w in anywhere.writes()}.isdisjoint({"legacy"})
        weights_are_whole(anywhere)
        no_weight_without_a_ready_pod(anywhere, {"fraud-baseline"})
        pods = [
            p for p in anywhere.objects.list(POD) if p["metadata"]["labels"] == {"app": "legacy"}
        ]
        assert len(pods) == 1


class TestDrift:
    async def test_the_bins_are_fixed_once_and_survive_a_crash(self, anywhere: World) -> None:
        await serving(anywhere)
        await anywhere.apply(_with_drift())
        await anywhere.run_until(lambda: "bins" in anywhere.attempt()["status"])
        fixed = anywhere.attempt()["status"]["bins"]
        await anywhere.restart()
        await anywhere.run_until(lambda: anywhere.phase() == "Promoted")
        assert anywhere.attempt()["status"]["bins"] == fixed
        asked = anywhere.collector.edges_asked
        first = asked.index((0.25, 0.5, 0.75))
        assert first > 0
        assert set(asked[:first]) == {None}
        assert set(asked[first:]) == {(0.25, 0.5, 0.75)}
        await anywhere.pass_time(3600)
        await check(anywhere)

    async def test_other_answers_are_rolled_back_by_name(self, anywhere: World) -> None:
        await serving(anywhere)
        anywhere.collector.candidate = DRIFTED
        await anywhere.apply(_with_drift())
        await anywhere.run_until(lambda: anywhere.phase() == "RolledBack")
        assert "scores" in anywhere.status()["message"]
        await anywhere.pass_time(3600)
        assert anywhere.route() == {workload(V1): 100}
        await check(anywhere)


def _with_drift() -> Object:
    handoff = quick(V2)
    metric = {"name": "scores", "type": "Drift", "of": "Output", "maxKL": 0.2}
    handoff["spec"]["monitoring"]["metrics"].append(metric)
    return handoff


def _legacy() -> Object:
    labels = {"app": "legacy"}
    container: dict[str, Any] = {
        "name": "server",
        "image": "registry.example/legacy@sha256:" + "ab" * 32,
        "ports": [{"containerPort": 8080}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    return {
        "metadata": {"name": "legacy", "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def _legacy_service() -> Object:
    return {
        "metadata": {"name": "legacy"},
        "spec": {"selector": {"app": "legacy"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }


class TestEvidence:
    @pytest.mark.parametrize("damage", ['{"v":99}', "[]", "not JSON"])
    async def test_what_cannot_be_read_holds_the_weight_and_stops_no_abort(
        self, damage: str
    ) -> None:
        """As after an upgrade that reads another format, in the middle of a rollout."""
        async with world() as place:
            await serving(place)
            await reach(place, STEP_1)
            await place.run_until(lambda: place.attempt()["status"].get("evidence"))
            weight = place.share(place.attempt())
            name = place.attempt()["metadata"]["name"]
            place.objects.patch(
                ATTEMPT,
                place.namespace,
                name,
                {"status": {"evidence": damage}},
                subresource="status",
            )
            await place.pass_time(60)
            assert place.share(place.attempt()) == weight
            told = place.condition("MetricsAvailable")
            assert (told["status"], told["reason"]) == ("False", "MetricsInvalid")
            assert "the stored evidence cannot be continued" in told["message"]
            await place.annotate(names.ANNOTATION_ABORT, name)
            await place.run_until(lambda: place.phase() == "Aborted")
            assert place.share(place.attempt()) == 0
