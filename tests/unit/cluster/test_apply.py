"""Every action as the writes it becomes, against an API that checks versions and names."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from modelhandoff.api import names
from modelhandoff.cluster import kinds, observe
from modelhandoff.cluster.apply import apply
from modelhandoff.cluster.client import Client
from modelhandoff.cluster.objects import thaw
from modelhandoff.cluster.store import HandoffKey, Store
from modelhandoff.errors import ConflictError, FencedError, RefusedError, UnavailableError
from modelhandoff.rollout.actions import (
    AddFinalizer,
    ApplyBaselineService,
    ApplyRoute,
    ApplyStableService,
    ApplyWorkload,
    CreateAttempt,
    DeleteAttempt,
    DeleteRoute,
    DeleteWarmup,
    DeleteWorkload,
    MarkWorkload,
    ReleaseWorkload,
    RemoveFinalizer,
    RunWarmup,
    ScaleWorkload,
    WriteApproval,
    WriteAttempt,
)
from modelhandoff.traffic.httproute import HTTPRouteRouter
from tests.component.fakeapi.faults import Effect, Fault
from tests.component.fakeapi.server import Server
from tests.unit.cluster import raw
from tests.unit.cluster.raw import ATTEMPT_NAME, NS, REVISION, SETTINGS, WORKLOAD, resolved

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
FRAUD = HandoffKey(NS, "fraud")
DOCUMENTS = {"report.md": "# A report\n", "report.html": "<p>A report</p>\n"}
WATCHED = kinds.WATCHED


@dataclass
class World:
    """An API server, a client and a cache that has seen everything."""

    server: Server
    client: Client
    store: Store
    router: HTTPRouteRouter

    async def seed(self, kind, body):
        made = await self.client.create(kind, NS if kind.namespaced else None, body)
        self.store.upsert(kind, made)
        return made

    async def sync(self):
        for kind in WATCHED:
            listed = await self.client.list(kind)
            self.store.replace(kind, listed.items, listed.resource_version)

    def snapshot(self):
        found = observe.snapshot(self.store, FRAUD, NOW, self.router)
        assert found is not None
        return found

    async def do(self, action, *, urgent=False, snapshot=None):
        await apply(
            action,
            snapshot or self.snapshot(),
            self.client,
            self.store,
            SETTINGS,
            self.router,
            reporter=lambda _: DOCUMENTS,
            urgent=urgent,
        )

    async def there(self, kind, name):
        return await self.client.get(kind, NS, name)

    async def missing(self, kind, name):
        listed = await self.client.list(kind, NS)
        return name not in {item["metadata"]["name"] for item in listed.items}

    @property
    def writes(self):
        return [
            (request.verb, request.plural, request.name)
            for request in self.server.faults.seen
            if request.verb not in ("get", "list", "watch")
        ]

    def forget_writes(self):
        self.server.faults.seen.clear()


@asynccontextmanager
async def a_world(**options):
    server = Server()
    await server.start()
    client = Client.at(server.url, **options)
    try:
        yield World(server, client, Store(), HTTPRouteRouter())
    finally:
        await client.close()
        await server.stop()


@pytest.fixture
async def world():
    async with a_world() as found:
        await found.seed(kinds.HANDOFF, raw.builders.handoff("fraud", NS))
        found.forget_writes()
        yield found


async def with_attempt(world, **spec):
    snapshot = world.snapshot()
    await world.do(
        CreateAttempt(ATTEMPT_NAME, raw.BUNDLE, REVISION, 1, "Rollout", resolved(**spec))
    )
    assert snapshot.attempts == ()
    return world.snapshot().attempts[0]


async def with_workload(world, **spec):
    await with_attempt(world, **spec)
    await world.do(ApplyWorkload(ATTEMPT_NAME, WORKLOAD, 1))
    world.forget_writes()
    return world.snapshot().workloads[WORKLOAD]


# The handoff's finalizer


async def test_the_finalizer_comes_and_goes_and_leaves_others_alone(world):
    await world.client.patch(
        kinds.HANDOFF, NS, "fraud", {"metadata": {"finalizers": ["other.example/keep"]}}
    )
    await world.sync()
    await world.do(AddFinalizer(world.snapshot().handoff.resource_version))
    stored = await world.there(kinds.HANDOFF, "fraud")
    assert stored["metadata"]["finalizers"] == ["other.example/keep", names.FINALIZER]
    assert world.snapshot().handoff.has_finalizer
    await world.do(RemoveFinalizer(world.snapshot().handoff.resource_version))
    stored = await world.there(kinds.HANDOFF, "fraud")
    assert stored["metadata"]["finalizers"] == ["other.example/keep"]


async def test_a_decision_on_stale_reading_is_refused_and_the_next_one_sees_why(world):
    stale = world.snapshot()
    paused = {"metadata": {"annotations": {names.ANNOTATION_PAUSE: "now"}}}
    await world.client.patch(kinds.HANDOFF, NS, "fraud", paused)
    with pytest.raises(ConflictError):
        await world.do(AddFinalizer(stale.handoff.resource_version), snapshot=stale)
    # Without waiting for the watch.
    assert world.snapshot().handoff.annotations == {names.ANNOTATION_PAUSE: "now"}


# Attempts


async def test_an_attempt_is_frozen_with_everything_it_will_need(world):
    attempt = await with_attempt(world)
    stored = await world.there(kinds.ATTEMPT, ATTEMPT_NAME)
    handoff = world.snapshot().handoff
    assert stored["spec"]["handoffRef"] == {"name": "fraud", "uid": handoff.uid}
    assert stored["metadata"]["ownerReferences"][0]["uid"] == handoff.uid
    assert stored["metadata"]["labels"][names.LABEL_HANDOFF] == "fraud"
    assert attempt.spec == resolved()
    assert (attempt.ordinal, attempt.kind, attempt.bundle) == (1, "Rollout", raw.BUNDLE)
    assert set(thaw(stored["spec"]["snapshot"]).objects) == {"deployment", "service", "warmup"}


async def test_an_attempt_that_exists_is_obeyed_as_it_is_stored(world):
    await with_attempt(world)
    later = resolved(candidate={"serving": {"port": 9999}})
    await world.do(CreateAttempt(ATTEMPT_NAME, raw.BUNDLE, REVISION, 1, "Rollout", later))
    assert world.snapshot().attempts[0].spec.candidate.serving.port == 8080


async def test_an_attempt_that_the_cache_has_not_seen_is_read(world):
    await with_attempt(world)
    world.store.forget(kinds.ATTEMPT, NS, ATTEMPT_NAME)
    fresh = Store()
    fresh.upsert(kinds.HANDOFF, await world.there(kinds.HANDOFF, "fraud"))
    world.store = fresh
    await world.do(CreateAttempt(ATTEMPT_NAME, raw.BUNDLE, REVISION, 1, "Rollout", resolved()))
    assert [a.name for a in world.snapshot().attempts] == [ATTEMPT_NAME]


async def test_an_attempts_status_is_replaced_not_merged(world):
    attempt = await with_attempt(world)
    await world.do(WriteAttempt(ATTEMPT_NAME, attempt.resource_version, {"phase": "A", "step": 1}))
    attempt = world.snapshot().attempts[0]
    await world.do(WriteAttempt(ATTEMPT_NAME, attempt.resource_version, {"phase": "B"}))
    stored = await world.there(kinds.ATTEMPT, ATTEMPT_NAME)
    assert stored["status"] == {"phase": "B"}
    assert stored["spec"]["ordinal"] == 1
    assert world.snapshot().attempts[0].status == {"phase": "B"}


async def test_a_verdict_cannot_be_latched_on_an_attempt_that_moved(world):
    attempt = await with_attempt(world)
    await world.do(WriteAttempt(ATTEMPT_NAME, attempt.resource_version, {"phase": "A"}))
    with pytest.raises(ConflictError):
        await world.do(WriteAttempt(ATTEMPT_NAME, attempt.resource_version, {"phase": "B"}))
    assert world.snapshot().attempts[0].status == {"phase": "A"}


async def test_an_attempt_is_dropped_once_and_again(world):
    await with_attempt(world)
    await world.do(DeleteAttempt(ATTEMPT_NAME))
    assert world.snapshot().attempts == ()
    await world.do(DeleteAttempt(ATTEMPT_NAME))


# Workloads


async def test_the_deployment_comes_last_so_that_a_crash_repeats_the_whole(world):
    await with_attempt(world, candidate={"serving": {"replicas": 3}})
    world.forget_writes()
    await world.do(ApplyWorkload(ATTEMPT_NAME, WORKLOAD, 2))
    assert world.writes == [
        ("create", "services", ""),
        ("create", "poddisruptionbudgets", ""),
        ("create", "deployments", ""),
    ]
    deployment = await world.there(kinds.DEPLOYMENT, WORKLOAD)
    assert deployment["spec"]["replicas"] == 2
    for kind in (kinds.SERVICE, kinds.DISRUPTION_BUDGET, kinds.DEPLOYMENT):
        stored = await world.there(kind, WORKLOAD)
        assert stored["metadata"]["ownerReferences"][0]["controller"] is False
    view = world.snapshot().workloads[WORKLOAD]
    assert (view.owned, view.managed, view.stable) == (True, True, False)


@pytest.mark.parametrize("lost", ["services", "poddisruptionbudgets", "deployments"])
async def test_a_creation_whose_reply_was_lost_is_repeated_without_harm(world, lost):
    await with_attempt(world, candidate={"serving": {"replicas": 2}})
    fault = Fault(Effect.CUT, lambda r: (r.verb, r.plural) == ("create", lost))
    world.server.faults.add(fault)
    with pytest.raises(UnavailableError):
        await world.do(ApplyWorkload(ATTEMPT_NAME, WORKLOAD, 2))
    await world.do(ApplyWorkload(ATTEMPT_NAME, WORKLOAD, 2))
    assert world.snapshot().workloads[WORKLOAD].desired == 2
    assert WORKLOAD in world.snapshot().services
    await world.there(kinds.DISRUPTION_BUDGET, WORKLOAD)


async def test_what_is_there_already_is_not_asked_for_again(world):
    await with_workload(world)
    await world.do(ApplyWorkload(ATTEMPT_NAME, WORKLOAD, 1))
    assert world.writes == []


async def test_a_name_that_somebody_else_has_is_refused_with_what_to_do(world):
    await with_attempt(world)
    await world.client.create(kinds.SERVICE, NS, raw.unborn(raw.service(WORKLOAD, ours=False)))
    with pytest.raises(RefusedError, match="not the operator's") as caught:
        await world.do(ApplyWorkload(ATTEMPT_NAME, WORKLOAD, 1))
    assert "rename the handoff" in caught.value.user_action
    assert await world.missing(kinds.DEPLOYMENT, WORKLOAD)


async def test_a_deployment_on_its_way_out_is_waited_for(world):
    await with_workload(world)
    held = {"metadata": {"finalizers": ["other.example/slow"]}}
    await world.client.patch(kinds.DEPLOYMENT, NS, WORKLOAD, held)
    await world.sync()
    await world.do(DeleteWorkload(WORKLOAD))
    assert world.snapshot().workloads[WORKLOAD].deleting
    with pytest.raises(ConflictError, match="still being deleted"):
        await world.do(ApplyWorkload(ATTEMPT_NAME, WORKLOAD, 1))


async def test_scaling_sets_replicas_and_nothing_else(world):
    workload = await with_workload(world)
    before = await world.there(kinds.DEPLOYMENT, WORKLOAD)
    await world.do(ScaleWorkload(WORKLOAD, workload.resource_version, 4))
    after = await world.there(kinds.DEPLOYMENT, WORKLOAD)
    assert after["spec"] == before["spec"] | {"replicas": 4}
    assert world.snapshot().workloads[WORKLOAD].desired == 4
    with pytest.raises(ConflictError):
        await world.do(ScaleWorkload(WORKLOAD, workload.resource_version, 9))


async def test_release_takes_our_ownership_off_everything_and_keeps_others(world):
    workload = await with_workload(world, candidate={"serving": {"replicas": 2}})
    other = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "uid-other"}
    stored = await world.there(kinds.DEPLOYMENT, WORKLOAD)
    both = [*stored["metadata"]["ownerReferences"], other]
    await world.client.patch(
        kinds.DEPLOYMENT, NS, WORKLOAD, {"metadata": {"ownerReferences": both}}
    )
    await world.sync()
    workload = world.snapshot().workloads[WORKLOAD]
    world.forget_writes()
    await world.do(ReleaseWorkload(WORKLOAD, workload.resource_version))
    assert [plural for _, plural, _ in world.writes] == [
        "services",
        "poddisruptionbudgets",
        "deployments",
    ]
    stored = await world.there(kinds.DEPLOYMENT, WORKLOAD)
    assert stored["metadata"]["ownerReferences"] == [other]
    for kind in (kinds.SERVICE, kinds.DISRUPTION_BUDGET):
        assert not (await world.there(kind, WORKLOAD))["metadata"].get("ownerReferences")
    assert not world.snapshot().workloads[WORKLOAD].owned


async def test_a_released_revision_survives_its_handoff(world):
    workload = await with_workload(world)
    await world.do(ReleaseWorkload(WORKLOAD, workload.resource_version))
    await world.client.delete(kinds.HANDOFF, NS, "fraud", propagation="Foreground")
    assert await world.there(kinds.DEPLOYMENT, WORKLOAD)
    assert await world.there(kinds.SERVICE, WORKLOAD)
    assert await world.missing(kinds.ATTEMPT, ATTEMPT_NAME)


async def test_the_role_is_metadata_and_restarts_no_pod(world):
    workload = await with_workload(world)
    before = await world.there(kinds.DEPLOYMENT, WORKLOAD)
    at = "2026-03-02T09:30:00.000Z"
    await world.do(MarkWorkload(WORKLOAD, workload.resource_version, True, raw.BUNDLE, at))
    view = world.snapshot().workloads[WORKLOAD]
    assert (view.stable, view.bundle) == (True, raw.BUNDLE)
    assert view.promoted_at == datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
    await world.do(MarkWorkload(WORKLOAD, view.resource_version, False))
    view = world.snapshot().workloads[WORKLOAD]
    # It is history now, and history keeps its place in time.
    assert (view.stable, view.bundle) == (False, raw.BUNDLE)
    assert view.promoted_at is not None
    after = await world.there(kinds.DEPLOYMENT, WORKLOAD)
    assert after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


async def test_deleting_a_revision_takes_its_deployment_last(world):
    await with_workload(world, candidate={"serving": {"replicas": 2}})
    await world.do(DeleteWorkload(WORKLOAD))
    assert [plural for _, plural, _ in world.writes] == [
        "services",
        "poddisruptionbudgets",
        "deployments",
    ]
    for kind in (kinds.SERVICE, kinds.DISRUPTION_BUDGET, kinds.DEPLOYMENT):
        assert await world.missing(kind, WORKLOAD)
    assert world.snapshot().workloads == {}
    await world.do(DeleteWorkload(WORKLOAD))


async def test_a_revision_whose_attempts_are_gone_leaves_nothing_behind(world):
    await with_workload(world, candidate={"serving": {"replicas": 2}})
    await world.do(DeleteAttempt(ATTEMPT_NAME))
    await world.do(DeleteWorkload(WORKLOAD))
    for kind in (kinds.SERVICE, kinds.DISRUPTION_BUDGET, kinds.DEPLOYMENT):
        assert await world.missing(kind, WORKLOAD)


async def test_an_adopted_deployment_is_never_deleted(world):
    adopted = raw.deployment("legacy", ours=False)
    await world.seed(kinds.DEPLOYMENT, raw.unborn(adopted))
    with pytest.raises(RefusedError, match="not the operator's to delete"):
        await world.do(DeleteWorkload("legacy"))
    assert await world.there(kinds.DEPLOYMENT, "legacy")


# Services


async def test_the_baseline_service_finds_the_adopted_pods_on_their_port(world):
    await world.seed(kinds.DEPLOYMENT, raw.unborn(raw.deployment("legacy", ours=False)))
    await with_attempt(world, baseline={"workloadRef": {"name": "legacy"}})
    before = await world.there(kinds.DEPLOYMENT, "legacy")
    await world.do(ApplyBaselineService("fraud-baseline", {"app": "old-fraud"}))
    stored = await world.there(kinds.SERVICE, "fraud-baseline")
    assert stored["spec"]["selector"] == {"app": "old-fraud"}
    assert stored["spec"]["ports"][0]["port"] == 80
    assert stored["spec"]["ports"][0]["targetPort"] == 9000
    assert await world.there(kinds.DEPLOYMENT, "legacy") == before
    assert world.snapshot().services["fraud-baseline"].ours


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ([], 8080),
        ([{"containerPort": 8080}, {"containerPort": 9000, "name": "http"}], 8080),
        ([{"containerPort": 5000}, {"containerPort": 9000, "name": "http"}], 9000),
        ([{"containerPort": 5000}, {"containerPort": 6000}], 5000),
        ([{"containerPort": 8080, "protocol": "UDP"}], 8080),
    ],
)
async def test_which_port_of_an_adopted_pod_is_meant(world, ports, expected):
    adopted = raw.deployment("legacy", ours=False)
    adopted["spec"]["template"]["spec"]["containers"][0]["ports"] = ports
    await world.seed(kinds.DEPLOYMENT, raw.unborn(adopted))
    await with_attempt(world, baseline={"workloadRef": {"name": "legacy"}})
    await world.do(ApplyBaselineService("fraud-baseline", {"app": "old-fraud"}))
    stored = await world.there(kinds.SERVICE, "fraud-baseline")
    assert stored["spec"]["ports"][0]["targetPort"] == expected


async def test_the_stable_service_changes_hands_completely(world):
    await world.do(ApplyStableService({"a": "1", "b": "2"}))
    first = await world.there(kinds.SERVICE, "fraud")
    assert first["spec"]["ports"][0]["targetPort"] == "http"
    assert not first["metadata"].get("ownerReferences")
    version = world.snapshot().services["fraud"].resource_version
    await world.do(ApplyStableService({"a": "3"}, version))
    assert world.snapshot().services["fraud"].selector == {"a": "3"}


async def test_a_service_of_somebody_else_is_left_alone(world):
    await world.seed(kinds.SERVICE, raw.unborn(raw.service("fraud", ours=False)))
    before = await world.there(kinds.SERVICE, "fraud")
    with pytest.raises(RefusedError, match="not the operator's"):
        await world.do(ApplyStableService({"a": "1"}))
    assert await world.there(kinds.SERVICE, "fraud") == before


# The warm-up


async def test_the_warm_up_job_is_made_once_and_deleted_with_its_pods(world):
    await with_workload(world)
    job = names.warmup_job_name(ATTEMPT_NAME)
    for _ in range(2):
        await world.do(RunWarmup(ATTEMPT_NAME, job, WORKLOAD))
    assert world.writes == [("create", "jobs", "")]
    assert job in world.snapshot().jobs
    await world.do(DeleteWarmup(job))
    await world.do(DeleteWarmup(job))
    assert world.snapshot().jobs == {}


# The route


def route_of(world):
    return world.snapshot().route


async def test_a_route_is_made_stepped_and_taken_back_in_one_write_each(world):
    spec = resolved()
    await world.do(ApplyRoute("", (("base", 100),), "a/base/0", spec=spec))
    await world.do(
        ApplyRoute(
            route_of(world).resource_version, (("base", 90), ("cand", 10)), "a/0/10", spec=spec
        )
    )
    assert route_of(world).backends == {"base": 90, "cand": 10}
    assert route_of(world).stamp == "a/0/10"
    assert route_of(world).ours
    world.forget_writes()
    await world.do(
        ApplyRoute(
            route_of(world).resource_version,
            (("base", 100),),
            "a/back/0",
            "a:Rollback:HarmDetected:errors",
            spec,
        ),
        urgent=True,
    )
    assert world.writes == [("patch", "httproutes", "fraud")]
    stored = await world.there(kinds.HTTPROUTE, "fraud")
    assert [r["name"] for r in stored["spec"]["rules"][0]["backendRefs"]] == ["base"]
    assert route_of(world).intent == "a:Rollback:HarmDetected:errors"
    assert route_of(world).stamp == "a/back/0"


async def test_an_intent_that_is_no_longer_meant_goes_with_the_next_write(world):
    spec = resolved()
    await world.do(ApplyRoute("", (("base", 100),), "s", "a:Abort:x:y", spec))
    version = route_of(world).resource_version
    await world.do(ApplyRoute(version, (("base", 100),), "t", spec=spec))
    assert route_of(world).intent == ""


async def test_a_weight_never_lands_on_a_route_that_somebody_changed(world):
    spec = resolved()
    await world.do(ApplyRoute("", (("base", 100),), "s", spec=spec))
    seen = world.snapshot()
    brake = {"metadata": {"annotations": {"who": "somebody"}}}
    await world.client.patch(kinds.HTTPROUTE, NS, "fraud", brake)
    step = ApplyRoute(seen.route.resource_version, (("base", 50), ("cand", 50)), "x", spec=spec)
    with pytest.raises(ConflictError):
        await world.do(step, snapshot=seen)
    assert route_of(world).backends == {"base": 100}
    assert route_of(world).resource_version != seen.route.resource_version


async def test_a_route_that_was_made_meanwhile_is_a_conflict_and_is_seen(world):
    await world.client.create(kinds.HTTPROUTE, NS, raw.unborn(raw.route(ours=False)))
    with pytest.raises(ConflictError):
        await world.do(ApplyRoute("", (("base", 100),), "s", spec=resolved()))
    assert not route_of(world).ours


async def test_a_deleted_route_is_noticed_by_the_write_that_misses_it(world):
    spec = resolved()
    await world.do(ApplyRoute("", (("base", 100),), "s", spec=spec))
    version = route_of(world).resource_version
    await world.client.delete(kinds.HTTPROUTE, NS, "fraud")
    with pytest.raises(ConflictError):
        await world.do(ApplyRoute(version, (("base", 100),), "t", spec=spec))
    assert route_of(world) is None


async def test_the_backends_change_where_the_spec_is_gone(world):
    await world.do(ApplyRoute("", (("base", 90), ("cand", 10)), "s", spec=resolved()))
    before = (await world.there(kinds.HTTPROUTE, "fraud"))["spec"]
    await world.do(ApplyRoute(route_of(world).resource_version, (("base", 100),), "deleted/all/0"))
    after = (await world.there(kinds.HTTPROUTE, "fraud"))["spec"]
    assert route_of(world).backends == {"base": 100}
    assert after["hostnames"] == before["hostnames"]
    assert after["rules"][0]["matches"] == before["rules"][0]["matches"]


async def test_a_route_is_deleted_as_it_was_read(world):
    await world.do(ApplyRoute("", (("base", 100),), "s", spec=resolved()))
    version = route_of(world).resource_version
    touched = {"metadata": {"annotations": {"x": "y"}}}
    await world.client.patch(kinds.HTTPROUTE, NS, "fraud", touched)
    with pytest.raises(ConflictError):
        await world.do(DeleteRoute(version))
    await world.do(DeleteRoute(route_of(world).resource_version))
    assert route_of(world) is None


# Who may write


async def test_a_deposed_leader_carries_out_nothing():
    def closed() -> None:
        raise FencedError("no longer the leader")

    async with a_world() as world:
        await world.seed(kinds.HANDOFF, raw.builders.handoff("fraud", NS))
        attempt = await with_attempt(world)
        world.client = Client.at(world.server.url, gate=closed)
        world.forget_writes()
        try:
            for action in (
                ApplyWorkload(ATTEMPT_NAME, WORKLOAD, 1),
                WriteAttempt(ATTEMPT_NAME, attempt.resource_version, {}),
                ApplyRoute("", (("base", 100),), "s", spec=resolved()),
                DeleteAttempt(ATTEMPT_NAME),
            ):
                with pytest.raises(FencedError):
                    await world.do(action)
        finally:
            await world.client.close()
        assert world.writes == []


# Approvals


async def test_an_approval_is_told_what_it_is_worth_and_keeps_its_words(world):
    spec = {"handoffRef": {"name": "fraud"}, "role": "Risk", "approver": "ana"}
    await world.client.create(
        kinds.APPROVAL, NS, {"metadata": {"name": "signed", "namespace": NS}, "spec": spec}
    )
    await world.sync()
    (seen,) = world.snapshot().approvals
    told = {"observedGeneration": 1, "valid": True, "reason": "Counts", "message": "Counts."}

    await world.do(WriteApproval("signed", seen.resource_version, told))

    stored = await world.there(kinds.APPROVAL, "signed")
    assert (stored["spec"], stored["status"]) == (spec, told)
    assert world.snapshot().approvals[0].status == told
    with pytest.raises(ConflictError):
        await world.do(WriteApproval("signed", seen.resource_version, told))


async def test_an_approval_that_is_gone_meanwhile_is_a_conflict_and_is_forgotten(world):
    meta = {"name": "signed", "namespace": NS}
    await world.client.create(
        kinds.APPROVAL, NS, {"metadata": meta, "spec": {"handoffRef": {"name": "fraud"}}}
    )
    await world.sync()
    (seen,) = world.snapshot().approvals
    await world.client.delete(kinds.APPROVAL, NS, "signed")

    with pytest.raises(ConflictError):
        await world.do(WriteApproval("signed", seen.resource_version, {"reason": "Counts"}))
    assert world.snapshot().approvals == ()
