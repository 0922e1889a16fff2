"""From one action to one write. The only door through which a decision reaches the cluster.

Every action can be repeated: an object of ours that is there already is as good as created, one
that is gone is as good as deleted. Whatever rests on an object that was read carries its
resourceVersion.
"""

from __future__ import annotations

from typing import Any, assert_never

from modelhandoff.api import names
from modelhandoff.cluster import reports, workloads
from modelhandoff.cluster.client import Client
from modelhandoff.cluster.identity import Identity
from modelhandoff.cluster.kinds import APPROVAL, ATTEMPT, HANDOFF, JOB
from modelhandoff.cluster.objects import owned, owner, render
from modelhandoff.cluster.refusals import AlreadyExistsError
from modelhandoff.cluster.reports import Reporter
from modelhandoff.cluster.routing import RouteWriter
from modelhandoff.cluster.settings import ClusterSettings
from modelhandoff.cluster.store import Store
from modelhandoff.cluster.tenant_jobs import read_tail, with_log
from modelhandoff.cluster.verification import read_checks
from modelhandoff.cluster.workloads import Workshop
from modelhandoff.cluster.writing import Writer
from modelhandoff.errors import ConflictError, RefusedError
from modelhandoff.rollout.actions import (
    Action,
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
    KeepReport,
    MarkWorkload,
    RecordChecks,
    RecordJob,
    ReleaseWorkload,
    RemoveFinalizer,
    RunTenantJob,
    RunVerification,
    RunWarmup,
    ScaleWorkload,
    WriteApproval,
    WriteAttempt,
)
from modelhandoff.rollout.snapshot import HandoffView, Snapshot

Raw = dict[str, Any]


async def apply(  # noqa: PLR0917 (the five things every write needs, and who writes routes)
    action: Action,
    snapshot: Snapshot,
    client: Client,
    store: Store,
    settings: ClusterSettings,
    router: RouteWriter,
    *,
    reporter: Reporter,
    urgent: bool = False,
) -> None:
    """Carry out one action that was decided on ``snapshot``; results go into the store.

    Raises:
        ConflictError: something changed since the snapshot; look and decide again.
        RefusedError: the API server, or the owner of a name, does not allow it.
        ForbiddenError, UnavailableError, FencedError: as the client raises them.
    """
    shop = Workshop(
        snapshot, store, Writer(client, store, snapshot.handoff.namespace, urgent=urgent)
    )
    match action:
        case ApplyRoute() | DeleteRoute():
            await router.apply(action, snapshot, client, store, urgent=urgent)
        case AddFinalizer():
            await _finalizers(shop, action.resource_version, held=True)
        case RemoveFinalizer():
            await _finalizers(shop, action.resource_version, held=False)
        case CreateAttempt():
            await _create_attempt(shop, action, settings)
        case WriteAttempt():
            await shop.writer.replace_status(
                ATTEMPT, action.name, action.status, resource_version=action.resource_version
            )
        case WriteApproval():
            await shop.writer.replace_status(
                APPROVAL, action.name, action.status, resource_version=action.resource_version
            )
        case DeleteAttempt():
            await shop.writer.delete(ATTEMPT, action.name)
        case ApplyWorkload():
            await workloads.create(shop, action)
        case ScaleWorkload():
            await workloads.scale(shop, action)
        case ReleaseWorkload():
            await workloads.release(shop, action)
        case MarkWorkload():
            await workloads.mark(shop, action)
        case DeleteWorkload():
            await workloads.delete(shop, action)
        case ApplyBaselineService():
            await workloads.point_baseline(shop, action)
        case ApplyStableService():
            await workloads.point_stable(shop, action)
        case RunVerification():
            await workloads.run_verification(shop, action)
        case RecordChecks():
            told = await read_checks(client, shop.namespace, action.pod, action.receipt)
            await shop.writer.replace_status(
                ATTEMPT,
                action.name,
                {**action.status, **told},
                resource_version=action.resource_version,
            )
        case RecordJob():
            log = await read_tail(client, shop.namespace, action.pod)
            await shop.writer.replace_status(
                ATTEMPT,
                action.name,
                with_log(action.status, action.result, log),
                resource_version=action.resource_version,
            )
        case RunTenantJob():
            await workloads.run_tenant_job(shop, action)
        case RunWarmup():
            await workloads.run_warmup(shop, action)
        case DeleteWarmup():
            await shop.writer.delete(JOB, action.job)
        case KeepReport():
            await reports.keep(shop, action, reporter)
        case _:
            assert_never(action)


async def _finalizers(shop: Workshop, resource_version: str, *, held: bool) -> None:
    raw = shop.store.get(HANDOFF, shop.namespace, shop.handoff.name)
    if raw is None:
        raise ConflictError(f"ModelHandoff {shop.namespace}/{shop.handoff.name} is gone")
    others = [f for f in raw["metadata"].get("finalizers") or () if f != names.FINALIZER]
    wanted = [*others, names.FINALIZER] if held else others
    await shop.writer.patch(
        HANDOFF,
        shop.handoff.name,
        {"metadata": {"finalizers": wanted or None}},
        resource_version=resource_version,
    )


async def _create_attempt(shop: Workshop, action: CreateAttempt, settings: ClusterSettings) -> None:
    manifest = attempt_manifest(action, shop.handoff, settings)
    try:
        await shop.writer.create(ATTEMPT, manifest)
    except AlreadyExistsError:
        # It exists since an earlier pass, or an earlier life: what is stored counts.
        found = shop.store.get(ATTEMPT, shop.namespace, action.name)
        if found is None:
            raise
        if found["spec"]["handoffRef"].get("uid") != shop.handoff.uid:
            raise RefusedError(
                f"HandoffAttempt {shop.namespace}/{action.name}: belongs to another handoff",
                user_action="delete it",
            ) from None


def attempt_manifest(action: CreateAttempt, handoff: HandoffView, settings: ClusterSettings) -> Raw:
    """The attempt with its frozen snapshot."""
    who = Identity(handoff.name, handoff.namespace, handoff.uid, action.name, action.revision)
    manifest: Raw = {
        "apiVersion": ATTEMPT.api_version,
        "kind": ATTEMPT.name,
        "metadata": {
            "name": action.name,
            "namespace": handoff.namespace,
            "labels": names.labels(handoff.name, action.revision),
        },
        "spec": {
            "handoffRef": {"name": handoff.name, "uid": handoff.uid},
            "bundleHash": action.bundle,
            "revision": action.revision,
            "ordinal": action.ordinal,
            "kind": action.kind,
            "snapshot": render(action.spec, who, settings, action.baseline),
        },
    }
    return owned(manifest, owner(handoff.name, handoff.uid))
