"""A network that fails, an API server that refuses, people who interfere: the same end."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from modelhandoff.api import names
from modelhandoff.cluster.kinds import DEPLOYMENT as CACHED_DEPLOYMENT
from tests.component.collecting import FAULTY
from tests.component.fakeapi.faults import Effect, Fault, Request
from tests.component.handoffs import V1, V2, quick
from tests.component.world import (
    ATTEMPT,
    DEPLOYMENT,
    EVENT,
    HANDOFF,
    LEASE,
    NAMESPACE,
    ROUTE,
    USER_AGENT,
    World,
)

WRITES = ("create", "update", "patch", "delete")


@pytest.fixture
async def serving(place: World) -> World:
    place.collector.per_second = 10_000.0
    await place.start()
    await place.apply(quick(V1))
    await place.run_until(lambda: place.phase() == "Promoted")
    return place


def decides(request: Request) -> bool:
    """Whether a request is one of the writes that carry a decision."""
    return (
        request.actor == USER_AGENT
        and request.verb in WRITES
        and request.plural not in ("leases", "events")
    )


async def test_a_rollback_needs_no_other_write_to_succeed_first(serving: World) -> None:
    """Events and statuses fail throughout; the weight goes at the same look."""
    serving.collector.candidate = FAULTY
    await serving.apply(quick(V2))
    await serving.run_until(lambda: serving.share(serving.attempt()) == 10)
    fault = serving.server.faults.add(
        Fault(
            Effect.STATUS,
            lambda r: (
                r.actor == USER_AGENT
                and r.verb in WRITES
                and r.plural in ("modelhandoffs", "events")
            ),
            times=100_000,
        )
    )
    await serving.run_until(lambda: serving.share(serving.attempt()) == 0)
    assert serving.weights["fraud"][-1].intent
    assert fault.hits


class TestWatches:
    async def test_an_object_deleted_before_the_new_listing_leaves_the_cache(
        self, serving: World
    ) -> None:
        body: dict[str, Any] = {"metadata": {"name": "bystander"}, "spec": _minimal()}
        serving.objects.create(DEPLOYMENT, NAMESPACE, body)
        await serving.settle()
        process = serving.process
        assert process is not None
        assert process.store.get(CACHED_DEPLOYMENT, NAMESPACE, "bystander") is not None
        serving.server.expire_watches()  # from here on nothing is delivered but a new listing
        serving.objects.delete(DEPLOYMENT, NAMESPACE, "bystander")
        serving.objects.compact()
        await serving.settle()
        assert process.store.get(CACHED_DEPLOYMENT, NAMESPACE, "bystander") is None

    async def test_watches_that_are_cut_all_the_time_lose_nothing(self, serving: World) -> None:
        await serving.apply(quick(V2))
        while serving.phase() != "Promoted":
            serving.server.drop_watches()
            await serving.pass_time(40)
        assert serving.share(serving.attempt()) == 100


class TestRights:
    async def test_a_right_taken_away_is_told_and_work_goes_on_when_it_is_back(
        self, serving: World
    ) -> None:
        refuse = serving.server.faults.add(
            Fault(
                Effect.STATUS,
                lambda r: decides(r) and r.plural == "httproutes",
                times=100_000,
                status=403,
            )
        )
        await serving.apply(quick(V2))
        await serving.run_until(
            lambda: serving.condition("Stalled").get("reason") == "PermissionDenied"
        )
        assert "httproutes" in serving.status()["message"]
        since = serving.objects.version
        await serving.pass_time(600)
        assert [w.kind for w in serving.writes(since)] == [], "told once, not at every try"
        assert 5 < len(refuse.hits) < 60, "tried now and then"
        serving.server.faults.clear()
        await serving.run_until(lambda: serving.phase() == "Promoted")
        assert serving.condition("Stalled")["status"] == "False"

    async def test_a_watch_that_is_refused_for_a_while_does_not_end_the_operator(
        self, serving: World
    ) -> None:
        serving.server.faults.add(
            Fault(
                Effect.STATUS,
                lambda r: r.verb in ("watch", "list") and r.plural == "pods",
                times=2,
                status=403,
            )
        )
        serving.server.expire_watches()
        await serving.apply(quick(V2))
        await serving.run_until(lambda: serving.phase() == "Promoted")


class TestNeighbours:
    async def test_a_poison_object_delays_nobody(self, serving: World) -> None:
        poison = quick(V1, "poison")
        poison["spec"]["rollout"]["route"]["hostnames"] = ["poison.example"]
        serving.objects.create(HANDOFF, NAMESPACE, poison, "person")
        await serving.run_until(lambda: serving.phase("poison") == "Promoted")
        attempt = serving.attempt("poison")
        attempt["spec"]["snapshot"] = "}{ not what the operator wrote"
        serving.objects.replace(
            ATTEMPT, NAMESPACE, attempt["metadata"]["name"], attempt, actor="vandal"
        )
        count = 20
        for number in range(count):
            good = quick(V1, f"good-{number}")
            good["spec"]["rollout"]["route"]["hostnames"] = [f"good-{number}.example"]
            serving.objects.create(HANDOFF, NAMESPACE, good, "person")
        await serving.settle()
        assert [serving.phase(f"good-{n}") for n in range(count)] == ["Promoted"] * count

    @pytest.mark.parametrize(
        "spec",
        [
            {},
            {"candidate": 5},
            {"candidate": None, "rollout": []},
            {"rollout": {"steps": "all of them"}},
        ],
        ids=str,
    )
    async def test_a_spec_that_is_no_spec_is_told_in_the_status(
        self, serving: World, spec: dict[str, Any]
    ) -> None:
        broken = quick(V1, "broken")
        broken["spec"] = spec
        serving.objects.create(HANDOFF, NAMESPACE, broken, "person")
        await serving.settle()
        assert serving.condition("Stalled", "broken")["status"] == "True"
        assert serving.condition("Stalled", "broken")["reason"] == "SpecInvalid"
        assert serving.status("broken")["message"].startswith("spec")
        assert serving.phase() == "Promoted"


class TestPeople:
    async def test_a_lowered_weight_is_a_hand_on_the_brake(self, serving: World) -> None:
        await serving.apply(quick(V2))
        await serving.run_until(lambda: serving.share(serving.attempt()) == 50)
        await reweigh(serving, 5)
        await serving.run_until(lambda: serving.phase() == "Aborted")
        assert serving.attempt()["status"]["verdict"]["reason"] == "ExternalBrake"
        assert serving.share(serving.attempt()) == 0

    async def test_a_raised_weight_is_taken_back_once_and_then_gives_up(
        self, serving: World
    ) -> None:
        await serving.apply(quick(V2))
        await serving.run_until(lambda: serving.share(serving.attempt()) == 10)
        await reweigh(serving, 60)
        assert serving.share(serving.attempt()) == 10
        await reweigh(serving, 70)
        assert serving.share(serving.attempt()) == 0
        await serving.run_until(lambda: serving.phase() == "Inconclusive")

    async def test_a_second_handoff_for_the_same_host_waits_outside(self, serving: World) -> None:
        before = dict(serving.route())
        serving.objects.create(HANDOFF, NAMESPACE, quick(V2, "rival"), "person")
        await serving.settle()
        assert serving.condition("Stalled", "rival")["reason"] == "RouteConflict"
        assert serving.route() == before
        assert serving.route("rival") == {}


class TestLeadership:
    async def test_an_operator_whose_lease_was_taken_ends_with_an_error(
        self, serving: World
    ) -> None:
        stolen = {"spec": {"holderIdentity": "other", "leaseTransitions": 7}}
        serving.objects.patch(LEASE, "ops", "modelhandoff", stolen, actor="other")
        assert await serving.ended() == 1
        since = serving.objects.version
        serving.objects.create(HANDOFF, NAMESPACE, quick(V1, "late"), "person")
        assert serving.writes(since) == []

    async def test_a_new_leader_moves_the_epoch_before_anything_else(self, serving: World) -> None:
        await serving.apply(quick(V2))
        await serving.run_until(lambda: serving.share(serving.attempt()) == 10)
        since = serving.objects.version
        await serving.restart()
        await serving.pass_time(60)
        first = serving.writes(since)[:2]
        assert {w.kind for w in first} == {"HandoffAttempt", "HTTPRoute"}
        epochs = {w.after["metadata"]["annotations"][names.ANNOTATION_EPOCH] for w in first}
        assert epochs == {"2"}
        route = serving.objects.get(ROUTE, NAMESPACE, "fraud")
        assert route["metadata"]["annotations"][names.ANNOTATION_EPOCH] == "2"


class TestWhatItTells:
    async def test_probes_and_metrics_are_served(self, serving: World) -> None:
        await serving.apply(quick(V2))
        await serving.run_until(lambda: serving.status().get("metrics"))
        assert serving.process is not None
        base = f"http://127.0.0.1:{serving.process.port}"
        async with aiohttp.ClientSession() as session:
            for probe in ("healthz", "readyz"):
                async with session.get(f"{base}/{probe}") as answer:
                    assert (answer.status, await answer.text()) == (200, "ok\n")
            async with session.get(f"{base}/metrics") as answer:
                text = await answer.text()
        for line in (
            'modelhandoff_phase{handoff="fraud",namespace="payments",phase="Progressing"} 1.0',
            'modelhandoff_candidate_weight_percent{handoff="fraud",namespace="payments"} 10.0',
            'modelhandoff_metric_state{handoff="fraud",metric="errors",namespace="payments",state=',
            'modelhandoff_condition{condition="Ready",handoff="fraud",namespace="payments"} 0.0',
            'modelhandoff_candidate_share_ratio{handoff="fraud",namespace="payments"} 0.1',
            'modelhandoff_metric_evidence_log{handoff="fraud",metric="errors",namespace="payments"}',
            "modelhandoff_leader 1.0",
            'modelhandoff_decisions_total{outcome="Initial",reason="Initial"} 1.0',
            'modelhandoff_api_requests_total{code="200",kind="httproutes",verb="patch"}',
        ):
            assert line in text

    async def test_events_are_told_once_each(self, serving: World) -> None:
        await serving.apply(quick(V2))
        await serving.run_until(lambda: serving.phase() == "Promoted")
        told = [(e["reason"], e["message"]) for e in serving.objects.list(EVENT, NAMESPACE)]
        assert len(told) == len(set(told))
        assert {"AttemptStarted", "CanaryReady", "StepStarted", "Promoted"} <= {r for r, _ in told}
        since = serving.objects.version
        await serving.restart()
        assert [w for w in serving.writes(since) if w.kind == "Event"] == []


async def reweigh(place: World, weight: int) -> None:
    """Somebody sets the candidate's weight by hand."""
    route = place.objects.get(ROUTE, NAMESPACE, "fraud")
    mine = names.workload_name("fraud", place.attempt()["spec"]["revision"])
    for rule in route["spec"]["rules"]:
        for backend in rule["backendRefs"]:
            backend["weight"] = weight if backend["name"] == mine else 100 - weight
    place.objects.replace(ROUTE, NAMESPACE, "fraud", route, actor="person")
    await place.settle()


def _minimal() -> dict[str, Any]:
    return {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "bystander"}},
        "template": {"metadata": {"labels": {"app": "bystander"}}, "spec": {}},
    }
