"""Writing what runs: a revision's objects, its role, the Services, the warm-up Job.

Where one action needs several objects, the Deployment comes last, when created as when deleted:
it is what the next pass looks at, so a crash in between repeats the whole action.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelhandoff.api import names
from modelhandoff.cluster.kinds import (
    ATTEMPT,
    CONFIG_MAP,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    JOB,
    POD,
    SERVICE,
    Kind,
)
from modelhandoff.cluster.objects import (
    attempt_owner,
    owned,
    owner,
    plain_service,
    service_spec,
    thaw,
)
from modelhandoff.cluster.pods import HTTP_PORT
from modelhandoff.cluster.refusals import AlreadyExistsError
from modelhandoff.cluster.store import Store
from modelhandoff.cluster.verification import spec_map
from modelhandoff.cluster.views import is_ours, labels_of
from modelhandoff.cluster.warmup import addressed
from modelhandoff.cluster.writing import Writer
from modelhandoff.errors import ConflictError, RefusedError
from modelhandoff.rollout.actions import (
    ApplyBaselineService,
    ApplyStableService,
    ApplyWorkload,
    DeleteWorkload,
    MarkWorkload,
    ReleaseWorkload,
    RunTenantJob,
    RunVerification,
    RunWarmup,
    ScaleWorkload,
)
from modelhandoff.rollout.snapshot import HandoffView, Snapshot

Raw = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every write here needs: what was seen, what is cached, and a way to write."""

    snapshot: Snapshot
    store: Store
    writer: Writer

    @property
    def handoff(self) -> HandoffView:
        """The handoff whose objects these are."""
        return self.snapshot.handoff

    @property
    def namespace(self) -> str:
        """Where they all are."""
        return self.handoff.namespace

    def frozen(self, attempt: str) -> Mapping[str, Raw]:
        """The objects that were rendered when the attempt was made."""
        raw = self.store.get(ATTEMPT, self.namespace, attempt)
        if raw is None:
            raise ConflictError(f"HandoffAttempt {self.namespace}/{attempt} is gone")
        return thaw(raw["spec"]["snapshot"]).objects

    async def make(self, kind: Kind, manifest: Raw) -> None:
        """Create one object; one of ours that is there already is as good.

        Raises:
            RefusedError: the name is taken by an object that is not ours.
            ConflictError: ours is there, but on its way out.
        """
        name = manifest["metadata"]["name"]
        known = self.store.get(kind, self.namespace, name)
        if known is None:
            try:
                await self.writer.create(kind, manifest)
                return
            except AlreadyExistsError:
                known = await self.writer.read_again(kind, name)
                if known is None:
                    raise
        where = f"{kind.name} {self.namespace}/{name}"
        if not is_ours(known, self.handoff.name) or not _same_revision(known, manifest):
            raise RefusedError(
                f"{where}: exists and is not the operator's",
                user_action=f"delete {where}, or rename the handoff",
            )
        if known["metadata"].get("deletionTimestamp"):
            raise ConflictError(f"{where}: is still being deleted")


def _same_revision(known: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    wanted = labels_of(manifest).get(names.LABEL_REVISION)
    return labels_of(known).get(names.LABEL_REVISION) == wanted


async def create(shop: Workshop, action: ApplyWorkload) -> None:
    """A revision's Service, disruption budget and, last, Deployment."""
    objects = shop.frozen(action.attempt)
    mine = owner(shop.handoff.name, shop.handoff.uid)
    await shop.make(SERVICE, owned(objects["service"], mine))
    if "disruptionBudget" in objects:
        await shop.make(DISRUPTION_BUDGET, owned(objects["disruptionBudget"], mine))
    deployment = owned(objects["deployment"], mine)
    deployment["spec"] = {**deployment["spec"], "replicas": action.replicas}
    await shop.make(DEPLOYMENT, deployment)


async def scale(shop: Workshop, action: ScaleWorkload) -> None:
    """Replicas, and nothing else."""
    await shop.writer.patch(
        DEPLOYMENT,
        action.workload,
        {"spec": {"replicas": action.replicas}},
        resource_version=action.resource_version,
    )


async def mark(shop: Workshop, action: MarkWorkload) -> None:
    """The role, on the Deployment's own metadata: no pod restarts for it.

    A revision that is stable no more keeps its bundle and time: they order the history.
    """
    role = names.ROLE_STABLE if action.stable else names.ROLE_CANDIDATE
    metadata: Raw = {"labels": {names.LABEL_ROLE: role}}
    if action.stable:
        metadata["annotations"] = {
            names.ANNOTATION_BUNDLE: action.bundle,
            names.ANNOTATION_PROMOTED_AT: action.promoted_at,
        }
    await shop.writer.patch(
        DEPLOYMENT,
        action.workload,
        {"metadata": metadata},
        resource_version=action.resource_version,
    )


async def release(shop: Workshop, action: ReleaseWorkload) -> None:
    """Owners off the Service and the disruption budget, then off the Deployment."""
    service = shop.store.get(SERVICE, shop.namespace, action.workload)
    if service is not None and _others(service, shop.handoff.uid) is not None:
        await shop.writer.patch(
            SERVICE,
            action.workload,
            _without_us(service, shop.handoff.uid),
            resource_version=service["metadata"]["resourceVersion"],
        )
    if _has_budget(shop, action.workload):
        # Not watched, and nobody else gives it owners.
        await shop.writer.patch(
            DISRUPTION_BUDGET,
            action.workload,
            {"metadata": {"ownerReferences": None}},
            resource_version="",
        )
    deployment = shop.store.get(DEPLOYMENT, shop.namespace, action.workload)
    if deployment is None:
        raise ConflictError(f"Deployment {shop.namespace}/{action.workload} is gone")
    await shop.writer.patch(
        DEPLOYMENT,
        action.workload,
        _without_us(deployment, shop.handoff.uid),
        resource_version=action.resource_version,
    )


def _others(raw: Mapping[str, Any], uid: str) -> list[Raw] | None:
    """Owners but this handoff; ``None`` when it is none of them."""
    owners = raw["metadata"].get("ownerReferences") or []
    rest = [reference for reference in owners if reference.get("uid") != uid]
    return rest if len(rest) < len(owners) else None


def _without_us(raw: Mapping[str, Any], uid: str) -> Raw:
    return {"metadata": {"ownerReferences": _others(raw, uid) or None}}


def _has_budget(shop: Workshop, workload: str) -> bool:
    """Whether the revision was rendered with a disruption budget."""
    return any(
        names.workload_name(shop.handoff.name, attempt.revision) == workload
        and attempt.spec.candidate.serving.replicas > 1
        for attempt in shop.snapshot.attempts
    )


async def delete(shop: Workshop, action: DeleteWorkload) -> None:
    """A revision's Service and disruption budget, then its Deployment; never an adopted one."""
    name = action.workload
    deployment = shop.store.get(DEPLOYMENT, shop.namespace, name)
    if deployment is not None and not (
        is_ours(deployment, shop.handoff.name) and labels_of(deployment).get(names.LABEL_REVISION)
    ):
        raise RefusedError(f"Deployment {shop.namespace}/{name}: is not the operator's to delete")
    service = shop.store.get(SERVICE, shop.namespace, name)
    if service is not None and is_ours(service, shop.handoff.name):
        await shop.writer.delete(SERVICE, name, uid=service["metadata"].get("uid", ""))
    # Whether it has one is known from attempts only, and those may be gone by now.
    await shop.writer.delete(DISRUPTION_BUDGET, name)
    uid = "" if deployment is None else deployment["metadata"].get("uid", "")
    await shop.writer.delete(DEPLOYMENT, name, uid=uid)


async def point_baseline(shop: Workshop, action: ApplyBaselineService) -> None:
    """The operator's own Service in front of an adopted Deployment's pods."""
    await _point(shop, action.name, action.selector, _adopted_port(shop))


async def point_stable(shop: Workshop, action: ApplyStableService) -> None:
    """The Service with the handoff's own name."""
    name = names.stable_service_name(shop.handoff.name)
    await _point(shop, name, action.selector, HTTP_PORT, action.resource_version)


async def _point(
    shop: Workshop,
    name: str,
    selector: Mapping[str, str],
    port: str | int,
    resource_version: str = "",
) -> None:
    known = shop.store.get(SERVICE, shop.namespace, name)
    if known is None:
        manifest = plain_service(shop.handoff.name, shop.namespace, name, selector, port)
        await shop.make(SERVICE, manifest)
        return
    if not is_ours(known, shop.handoff.name):
        raise RefusedError(
            f"Service {shop.namespace}/{name}: exists and is not the operator's",
            user_action="rename the handoff, or delete that Service",
        )
    spec = service_spec(selector, port)
    old = (known.get("spec") or {}).get("selector") or {}
    # A merge patch merges maps: what the selector no longer has must be taken out by name.
    chosen: Raw = {**dict.fromkeys(old), **selector}
    await shop.writer.patch(
        SERVICE,
        name,
        {"spec": {"selector": chosen, "ports": spec["ports"]}},
        resource_version=resource_version or known["metadata"]["resourceVersion"],
    )


def _adopted_port(shop: Workshop) -> str | int:
    """Port of the adopted pods: the candidate's if they have it, else their ``http``, else any.

    A Deployment that declares no ports is taken to listen where the candidate does.
    """
    specs = [*(a.spec for a in shop.snapshot.attempts[-1:]), shop.handoff.spec]
    spec = next(s for s in specs if s is not None)
    wanted = spec.candidate.serving.port
    reference = spec.baseline.workload_ref
    raw = shop.store.get(DEPLOYMENT, shop.namespace, reference.name) if reference else None
    if raw is None:
        return wanted
    declared = [
        port
        for container in raw["spec"]["template"]["spec"]["containers"]
        for port in container.get("ports") or ()
        if port.get("protocol", "TCP") == "TCP"
    ]
    numbers = [int(port["containerPort"]) for port in declared]
    named = [int(port["containerPort"]) for port in declared if port.get("name") == HTTP_PORT]
    if wanted in numbers or not numbers:
        return wanted
    return (named or numbers)[0]


async def run_verification(shop: Workshop, action: RunVerification) -> None:
    """The spec that the verification Job reads, then the Job; both go with the attempt."""
    job = shop.frozen(action.attempt)["verification"]
    raw = shop.store.get(ATTEMPT, shop.namespace, action.attempt)
    if raw is None:
        raise ConflictError(f"HandoffAttempt {shop.namespace}/{action.attempt} is gone")
    snapshot = json.loads(raw["spec"]["snapshot"])
    mine = attempt_owner(action.attempt, raw["metadata"].get("uid", ""))
    await shop.make(
        CONFIG_MAP, owned(spec_map(job, snapshot["spec"], snapshot.get("baseline")), mine)
    )
    await shop.make(JOB, owned(job, mine))


async def run_tenant_job(shop: Workshop, action: RunTenantJob) -> None:
    """One of the tenant's own Jobs, as it was rendered; it goes with the attempt."""
    manifest = shop.frozen(action.attempt)[action.role]
    raw = shop.store.get(ATTEMPT, shop.namespace, action.attempt)
    if raw is None:
        raise ConflictError(f"HandoffAttempt {shop.namespace}/{action.attempt} is gone")
    mine = attempt_owner(action.attempt, raw["metadata"].get("uid", ""))
    await shop.make(JOB, owned(manifest, mine))


async def run_warmup(shop: Workshop, action: RunWarmup) -> None:
    """The warm-up Job, as it was rendered with the attempt, with the pods that it has to ask."""
    objects = shop.frozen(action.attempt)
    (server, *_) = objects["deployment"]["spec"]["template"]["spec"]["containers"]
    port = next(int(p["containerPort"]) for p in server["ports"] if p["name"] == HTTP_PORT)
    manifest = addressed(objects["warmup"], _addresses(shop, action.workload), port)
    await shop.make(JOB, owned(manifest, owner(shop.handoff.name, shop.handoff.uid)))


def _addresses(shop: Workshop, workload: str) -> dict[str, str]:
    """Addresses of a revision's ready pods by name."""
    found = shop.snapshot.workloads.get(workload)
    ready = {pod.name for pod in found.pods if pod.ready and not pod.deleting} if found else set()
    raws = ((name, shop.store.get(POD, shop.namespace, name)) for name in sorted(ready))
    addresses = {name: (raw or {}).get("status", {}).get("podIP", "") for name, raw in raws}
    return {name: host for name, host in addresses.items() if host}
