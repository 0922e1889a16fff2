"""From the watch cache to one immutable snapshot. Pure over the store: no request is sent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from modelhandoff.api import names
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.policy import PolicySpec
from modelhandoff.api.policy_check import policy_violations
from modelhandoff.api.resolve import resolve
from modelhandoff.cluster import views
from modelhandoff.cluster.kinds import (
    APPROVAL,
    ATTEMPT,
    DEPLOYMENT,
    HANDOFF,
    HTTPROUTE,
    JOB,
    NODE,
    POD,
    POLICY,
    SERVICE,
)
from modelhandoff.cluster.objects import thaw
from modelhandoff.cluster.routing import RouteReader
from modelhandoff.cluster.store import DEFAULT_POLICY, EVERY_HOST, HandoffKey, Store
from modelhandoff.errors import HandoffError, InvalidSpecError, cut
from modelhandoff.rollout.snapshot import (
    ApprovalView,
    AttemptView,
    ExemptionView,
    FreezeView,
    HandoffView,
    JobView,
    PodView,
    ServiceView,
    Snapshot,
    WorkloadView,
)

Raw = Mapping[str, Any]
_NEVER = datetime.max.replace(tzinfo=UTC)


def snapshot(
    store: Store,
    key: HandoffKey,
    now: datetime,
    routes: RouteReader,
    sources: frozenset[str] | None = None,
) -> Snapshot | None:
    """Everything one pass may look at; ``None`` when there is no such handoff (any more).

    ``sources`` are the names of all metric sources; ``None`` leaves that unchecked.
    """
    raw = store.get(HANDOFF, *key)
    if raw is None:
        return None
    handoff = _handoff(store, raw, sources)
    attempts = _attempts(store, key, handoff.uid)
    spec = attempts[-1].spec if attempts else handoff.spec
    route_raw = store.get(HTTPROUTE, key.namespace, names.route_name(key.name))
    exempted = _exempted(store, raw)
    return Snapshot(
        now=now,
        handoff=handoff,
        attempts=attempts,
        workloads=_workloads(store, key, handoff, attempts),
        services=_services(store, key, attempts),
        route=None if route_raw is None else routes.view(route_raw, owner_text(key, handoff.uid)),
        conflicting_routes=_conflicts(store, key, handoff.spec or spec, routes),
        jobs=_jobs(store, key),
        approvals=_approvals(store, key),
        approving_accounts=_approving_accounts(store, raw),
        freezes=_freezes(store, raw),
        exemptions=exempted,
        required_checks=_required_checks(store, raw) - {one.rule for one in exempted},
    )


def owner_text(key: HandoffKey, uid: str) -> str:
    """The owner annotation of a handoff's route."""
    return f"{key.namespace}/{key.name}/{uid}"


# The handoff and its attempts


def _handoff(store: Store, raw: Raw, sources: frozenset[str] | None) -> HandoffView:
    meta = raw["metadata"]
    spec, errors = _resolved(store, raw, sources)
    return HandoffView(
        name=meta["name"],
        namespace=meta["namespace"],
        uid=meta.get("uid", ""),
        generation=int(meta.get("generation", 0)),
        resource_version=meta.get("resourceVersion", ""),
        raw_spec=raw.get("spec") or {},
        spec=spec,
        errors=errors,
        annotations=views.annotations_of(raw),
        deleting=bool(meta.get("deletionTimestamp")),
        has_finalizer=names.FINALIZER in (meta.get("finalizers") or ()),
        status=raw.get("status") or {},
    )


def _resolved(
    store: Store, raw: Raw, sources: frozenset[str] | None
) -> tuple[ModelHandoffSpec | None, tuple[str, ...]]:
    """The resolved spec, or what is wrong with it; made anew when it or its policy changes."""
    meta, written = raw["metadata"], raw.get("spec")
    if not isinstance(written, Mapping):
        return None, ("spec: required block is missing; got nothing; allowed an object",)
    policy = _policy_raw(store, written)
    version = None if policy is None else policy["metadata"].get("resourceVersion")
    stamp = (meta.get("uid"), meta.get("generation"), version, sources)
    key = HandoffKey(meta["namespace"], meta["name"])
    return store.memo(key, stamp, lambda: _resolve(store, written, sources, key.namespace))


def _resolve(
    store: Store, written: Raw, sources: frozenset[str] | None, namespace: str
) -> tuple[ModelHandoffSpec | None, tuple[str, ...]]:
    try:
        policy = _policy(store, written)
        spec = resolve(written, policy)
    except InvalidSpecError as error:
        return None, tuple(str(line) for line in error.errors)
    except HandoffError as error:
        return None, (str(error),)
    known = (spec.monitoring.source,) if sources is None else sources
    found = policy_violations(
        spec, policy or PolicySpec(), namespace=namespace, other_sources=known
    )
    return (None if found else spec), tuple(str(line) for line in found)


def _policy_name(written: Raw) -> str:
    reference = written.get("policyRef")
    named = reference.get("name") if isinstance(reference, Mapping) else None
    return named if isinstance(named, str) else ""


def _policy_raw(store: Store, written: Raw) -> Raw | None:
    """The policy as it is stored: the one that a spec names, else the one called default."""
    return store.get(POLICY, "", _policy_name(written) or DEFAULT_POLICY)


def _policy(store: Store, written: Raw) -> PolicySpec | None:
    """The policy that a handoff names, or the one called default where it exists.

    Raises:
        HandoffError: the policy that is named does not exist, or cannot be read.
    """
    named = _policy_name(written)
    found = store.get(POLICY, "", named or DEFAULT_POLICY)
    if found is None:
        if not named:
            return None
        known = ", ".join(sorted(p["metadata"]["name"] for p in store.all(POLICY))) or "none"
        raise HandoffError(
            f"spec.policyRef.name: there is no such HandoffPolicy; got {cut(named)}; "
            f"allowed the name of one that exists ({cut(known)})"
        )
    try:
        return PolicySpec.model_validate(found.get("spec") or {})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise HandoffError(
            f"HandoffPolicy {found['metadata']['name']}: spec.{where}: {first['msg']}; "
            "the platform team must correct it"
        ) from error


def _approvals(store: Store, key: HandoffKey) -> tuple[ApprovalView, ...]:
    """Approvals that name the handoff, oldest first; those of unknown age last."""
    found = [views.approval(raw) for raw in store.of(APPROVAL, key)]
    return tuple(sorted(found, key=lambda one: (one.created or _NEVER, one.name)))


def _approving_accounts(store: Store, handoff: Raw) -> frozenset[str]:
    """Service accounts that the policy of a handoff lets approve. Read anew in every pass.

    Nobody's approval counts for longer than the policy says so, also while an attempt waits.
    """
    rules = _policy_now(store, handoff).get("approvals")
    listed = rules.get("serviceAccounts") if isinstance(rules, Mapping) else None
    return frozenset(one for one in listed or () if isinstance(one, str))


def _freezes(store: Store, handoff: Raw) -> tuple[FreezeView, ...]:
    """The policy's freeze windows as they are now: they reach what is under way, too."""
    listed = _policy_now(store, handoff).get("freeze")
    found = (views.freeze(one) for one in listed) if isinstance(listed, list) else ()
    return tuple(one for one in found if one is not None)


def _required_checks(store: Store, handoff: Raw) -> frozenset[str]:
    """Points of the checklist that the policy requires now."""
    listed = _policy_now(store, handoff).get("requiredChecks")
    found = listed if isinstance(listed, list) else ()
    return frozenset(one for one in found if isinstance(one, str))


def _exempted(store: Store, handoff: Raw) -> tuple[ExemptionView, ...]:
    """What the policy exempts the handoff's namespace from; of two for one rule the first."""
    listed = _policy_now(store, handoff).get("exemptions")
    found: dict[str, ExemptionView] = {}
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, Mapping) and one.get("namespace") == handoff["metadata"]["namespace"]:
            rule = str(one.get("rule"))
            found.setdefault(rule, ExemptionView(rule, str(one.get("reason") or "")))
    return tuple(found.values())


def _policy_now(store: Store, handoff: Raw) -> Raw:
    """The spec of a handoff's policy as it is stored, unchecked; empty where there is none."""
    spec = handoff.get("spec")
    found = (_policy_raw(store, spec) or {}).get("spec") if isinstance(spec, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _attempts(store: Store, key: HandoffKey, uid: str) -> tuple[AttemptView, ...]:
    found = []
    for raw in store.of(ATTEMPT, key):
        spec = raw["spec"]
        reference = spec.get("handoffRef") or {}
        if reference.get("uid") == uid:
            frozen = thaw(spec["snapshot"])
            found.append(
                AttemptView(
                    name=raw["metadata"]["name"],
                    uid=raw["metadata"].get("uid", ""),
                    resource_version=raw["metadata"].get("resourceVersion", ""),
                    handoff_uid=uid,
                    ordinal=int(spec["ordinal"]),
                    kind=str(spec["kind"]),
                    bundle=spec["bundleHash"],
                    revision=spec["revision"],
                    spec=frozen.spec,
                    status=raw.get("status") or {},
                    verification=frozen.spec_digest,
                    promises=frozen.promises_digest,
                )
            )
    return tuple(sorted(found, key=lambda attempt: attempt.ordinal))


# What runs


def _workloads(
    store: Store, key: HandoffKey, handoff: HandoffView, attempts: tuple[AttemptView, ...]
) -> dict[str, WorkloadView]:
    pods = _pods_by_revision(store, key)
    raws = {raw["metadata"]["name"]: raw for raw in store.of(DEPLOYMENT, key)}
    for name in _adopted(handoff, attempts):
        adopted = store.get(DEPLOYMENT, key.namespace, name)
        if adopted is not None:
            raws.setdefault(name, adopted)
    return {
        name: views.workload(
            raw,
            pods.get(views.labels_of(raw).get(names.LABEL_REVISION, ""), ()),
            key.name,
            handoff.uid,
        )
        for name, raw in sorted(raws.items())
    }


def _adopted(handoff: HandoffView, attempts: tuple[AttemptView, ...]) -> set[str]:
    """Every Deployment that the handoff or its latest attempt adopts as baseline."""
    specs = [handoff.spec, *(attempt.spec for attempt in attempts[-1:])]
    return {
        spec.baseline.workload_ref.name
        for spec in specs
        if spec is not None and spec.baseline.workload_ref is not None
    }


def _pods_by_revision(store: Store, key: HandoffKey) -> dict[str, tuple[PodView, ...]]:
    found: dict[str, list[PodView]] = defaultdict(list)
    for raw in store.of(POD, key):
        revision = views.labels_of(raw).get(names.LABEL_REVISION)
        if revision:
            node = store.get(NODE, "", (raw.get("spec") or {}).get("nodeName") or "")
            found[revision].append(views.pod(raw, (node or {}).get("product", "")))
    return {revision: tuple(pods) for revision, pods in found.items()}


def _services(
    store: Store, key: HandoffKey, attempts: tuple[AttemptView, ...]
) -> dict[str, ServiceView]:
    """Services with the handoff's label, and foreign ones under names that it would use."""
    found = {raw["metadata"]["name"]: raw for raw in store.of(SERVICE, key)}
    would_use = {names.stable_service_name(key.name), names.baseline_service_name(key.name)}
    would_use |= {names.workload_name(key.name, attempt.revision) for attempt in attempts}
    for name in would_use:
        foreign = store.get(SERVICE, key.namespace, name)
        if foreign is not None:
            found.setdefault(name, foreign)
    return {name: views.service(raw, key.name) for name, raw in sorted(found.items())}


def _jobs(store: Store, key: HandoffKey) -> dict[str, JobView]:
    pods: dict[str, list[Raw]] = defaultdict(list)
    for raw in store.of(POD, key):
        for owner in raw["metadata"].get("ownerReferences") or ():
            if owner.get("kind") == JOB.name:
                pods[owner.get("uid", "")].append(raw)
    return {
        raw["metadata"]["name"]: views.job(raw, pods.get(raw["metadata"].get("uid", ""), ()))
        for raw in store.of(JOB, key)
    }


def _conflicts(
    store: Store, key: HandoffKey, spec: ModelHandoffSpec | None, routes: RouteReader
) -> tuple[str, ...]:
    if spec is None:
        return ()
    rivals = store.routes(spec.rollout.route.hostnames or (EVERY_HOST,))
    return routes.conflicts(spec, key.namespace, names.route_name(key.name), rivals)
