"""What one pass sees: everything a decision may depend on, frozen.

The cluster room fills a :class:`Snapshot` from its watch caches; the rollout room only reads
it. A field is ``None`` when the object does not exist; a field that is not known (a cache that
has not synced yet) never reaches this room, because the pass does not start before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from modelhandoff.api.handoff import ModelHandoffSpec


@dataclass(frozen=True, slots=True)
class HandoffView:
    """The ModelHandoff.

    Attributes:
        raw_spec: ``spec`` exactly as stored; hashes are taken of this.
        spec: the resolved spec, or ``None`` when it is invalid (then ``errors`` says why).
        errors: one line for each thing wrong with the spec.
        annotations: all of them; verbs live here.
        status: the last written status, ``{}`` before the first.
    """

    name: str
    namespace: str
    uid: str
    generation: int
    resource_version: str
    raw_spec: Mapping[str, Any]
    spec: ModelHandoffSpec | None
    errors: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    deleting: bool = False
    has_finalizer: bool = False
    status: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One HandoffAttempt of this handoff.

    Attributes:
        spec: the frozen, resolved spec that this attempt moves (decoded from its snapshot).
        verification: SHA-256 of the spec file that its verification Job must report; "" when the
            attempt was rendered without such a Job.
        promises: SHA-256 of what its warm-up Job must report on; "" when that only sends examples.
        status: its status as stored (see ``rollout.attempt.AttemptState``).
    """

    name: str
    uid: str
    resource_version: str
    handoff_uid: str
    ordinal: int
    kind: str
    bundle: str
    revision: str
    spec: ModelHandoffSpec
    status: Mapping[str, Any]
    verification: str = ""
    promises: str = ""


@dataclass(frozen=True, slots=True)
class PodView:
    """One pod of a revision, with what explains why it is not ready.

    Attributes:
        waiting_reason: of the first container that waits (``ImagePullBackOff``, ...), or "".
        waiting_message: the kubelet's own sentence for it.
        unschedulable: the scheduler's own sentence, or "" when the pod has a node.
        init_exit_code: of the artifact fetcher's last run that ended, ``None`` before.
        init_message: its termination message.
        crash_message: termination message or reason of the server's last crash, or "".
        begun: whether the server's process was ever started; before that it cannot have failed.
        crashed: whether the server container ended by itself with an error at least once.
        scheduled_at: when it got its node; the start-up budget runs from here.
        unmounted: the volume claims that its node has not mounted yet; empty once all are, and
            where that is not known.
    """

    name: str
    created: datetime
    ready: bool
    deleting: bool
    restarts: int
    waiting_reason: str = ""
    waiting_message: str = ""
    unschedulable: str = ""
    init_exit_code: int | None = None
    init_message: str = ""
    crashed: bool = False
    crash_message: str = ""
    node: str = ""
    gpu_product: str = ""
    scheduled_at: datetime | None = None
    begun: bool = True
    unmounted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkloadView:
    """A Deployment: of a revision, or an adopted one.

    Attributes:
        revision: ten characters as in the label; "" for an adopted Deployment.
        bundle: annotation of the bundle hash that made it stable, or "".
        stable: whether it carries the stable role.
        owned: whether it still has an ownerReference to the handoff (never while it serves).
        managed: made by the operator (an adopted one is not: never deleted, never relabelled).
        desired, ready: replicas wanted and ready; ``ready`` counts only the current template.
        observed: the Deployment controller has seen the current generation.
        failure: message of its ReplicaFailure condition (quota, admission), or "".
        promoted_at: when it became stable, from the annotation.
    """

    name: str
    uid: str
    resource_version: str
    revision: str
    bundle: str
    model_version: str
    stable: bool
    owned: bool
    managed: bool
    deleting: bool
    desired: int
    ready: int
    observed: bool
    failure: str = ""
    promoted_at: datetime | None = None
    pods: tuple[PodView, ...] = ()
    pod_labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """What people call it: the model's version, or the name of an adopted Deployment."""
        return self.model_version or self.name


@dataclass(frozen=True, slots=True)
class RouteView:
    """The handoff's HTTPRoute.

    Attributes:
        backends: Service name -> weight, as stored; an omitted weight counts as 1.
        stamp: the annotation written in the same PATCH as the weights (see ``traffic``).
        intent: the annotation that latches a rollback, or "".
        landed: every parent has Accepted and ResolvedRefs True for the current generation.
        message: why not, in the gateway's own words.
        ours: it carries this handoff's owner annotation.
    """

    name: str
    resource_version: str
    backends: Mapping[str, int]
    stamp: str
    intent: str
    landed: bool
    message: str
    ours: bool


@dataclass(frozen=True, slots=True)
class ServiceView:
    """A Service with the handoff's label, or one that has a name the operator would use."""

    name: str
    resource_version: str
    selector: Mapping[str, str]
    ours: bool


@dataclass(frozen=True, slots=True)
class WorkView:
    """The tenant's container in a pod of a Job: running, or ended by itself.

    Attributes:
        exit_code: ``None`` while it runs.
        said: its termination message, else the end of its log.
    """

    started_at: datetime | None
    ended_at: datetime | None = None
    exit_code: int | None = None
    said: str = ""


@dataclass(frozen=True, slots=True)
class JobView:
    """A Job of an attempt: warm-up, verification, or one of the tenant's own.

    Attributes:
        message: the Job's own words: the pod's termination message, or why it never ran.
        pod: its newest pod, if one is there.
        receipt: termination message of the pod ``reporter``, which left a report; "" before.
        work: of a Job of the tenant's: its container, in the pod that counts.
    """

    name: str
    succeeded: bool
    failed: bool
    message: str = ""
    started_at: datetime | None = None
    pod: PodView | None = None
    receipt: str = ""
    reporter: str = ""
    work: WorkView | None = None


@dataclass(frozen=True, slots=True)
class ApprovalView:
    """One HandoffApproval that names this handoff. Written by people: nothing of it is certain.

    Attributes:
        bundle: the hash that it signs, or "".
        decision: Approve, Reject, or whatever else is written there.
        approver: the user name; proven by the admission policy, not here.
        created: when the API server took it; ``None`` when that cannot be read.
        status: the last answer, ``{}`` before the first.
    """

    name: str
    resource_version: str
    generation: int
    role: str
    bundle: str
    decision: str
    approver: str
    created: datetime | None
    comment: str = ""
    status: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FreezeView:
    """A time in which nothing new comes to production, from the policy."""

    start: datetime
    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class ExemptionView:
    """A rule of the policy that does not hold for this handoff's namespace, and why."""

    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything one pass may look at, read at one moment.

    Attributes:
        now: the pass's clock, aware UTC.
        attempts: of this handoff's uid, by ascending ordinal.
        workloads: by Deployment name; every Deployment with the handoff's label, and the
            adopted baseline under its own name.
        conflicting_routes: ``namespace/name`` of other routes on the same gateway, host, match.
        approvals: oldest first.
        approving_accounts: service accounts that the policy lets approve.
        freezes: the policy's freeze windows, past ones and future ones too.
        exemptions: rules of the policy that do not hold for this namespace, one per rule.
        required_checks: condition types of the checklist that the policy requires here.
    """

    now: datetime
    handoff: HandoffView
    attempts: tuple[AttemptView, ...] = ()
    workloads: Mapping[str, WorkloadView] = field(default_factory=dict)
    services: Mapping[str, ServiceView] = field(default_factory=dict)
    route: RouteView | None = None
    conflicting_routes: tuple[str, ...] = ()
    jobs: Mapping[str, JobView] = field(default_factory=dict)
    approvals: tuple[ApprovalView, ...] = ()
    approving_accounts: frozenset[str] = frozenset()
    freezes: tuple[FreezeView, ...] = ()
    exemptions: tuple[ExemptionView, ...] = ()
    required_checks: frozenset[str] = frozenset()
