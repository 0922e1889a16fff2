"""What one pass may do: a closed set of single steps, each one write (or none).

An action says *what*, in the words of the rollout; the cluster and traffic rooms know how it
is written down. Every action that rests on an object that was read carries that object's
resourceVersion, so that a decision made on stale reading is refused by the API server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelhandoff.analysis.verdict import Verdict
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.verification import FrozenBaseline


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    """Hold the handoff's deletion until its traffic has been put right."""

    resource_version: str


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    """Let the handoff go."""

    resource_version: str


@dataclass(frozen=True, slots=True)
class CreateAttempt:
    """Freeze the bundle and start one attempt; 409 means it is there already: obey it.

    The cluster room renders the revision's objects once and stores them in the attempt's
    snapshot beside ``spec``; nothing ever renders that revision again.
    """

    name: str
    bundle: str
    revision: str
    ordinal: int
    kind: str
    spec: ModelHandoffSpec
    baseline: FrozenBaseline | None = None
    """What the candidate is compared with before any traffic, where it asks for that."""


@dataclass(frozen=True, slots=True)
class WriteAttempt:
    """Replace an attempt's status: a transition, a latched verdict, or a checkpoint."""

    name: str
    resource_version: str
    status: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WriteApproval:
    """Tell an approval what it is worth: its status. Nothing rests on what is written there."""

    name: str
    resource_version: str
    status: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ApplyWorkload:
    """Create the revision's Deployment and Service as stored in the attempt's snapshot."""

    attempt: str
    workload: str
    replicas: int


@dataclass(frozen=True, slots=True)
class ScaleWorkload:
    """Set a Deployment's replicas, and nothing else of it."""

    workload: str
    resource_version: str
    replicas: int


@dataclass(frozen=True, slots=True)
class ReleaseWorkload:
    """Take the ownerReferences off a revision's objects, before its first request.

    A foreground deletion of the handoff would otherwise remove pods under live weight.
    """

    workload: str
    resource_version: str


@dataclass(frozen=True, slots=True)
class MarkWorkload:
    """Set a Deployment's role: stable with its bundle and time, or not stable any more."""

    workload: str
    resource_version: str
    stable: bool
    bundle: str = ""
    promoted_at: str = ""


@dataclass(frozen=True, slots=True)
class DeleteWorkload:
    """Delete a revision's Deployment and Service (never an adopted one)."""

    workload: str


@dataclass(frozen=True, slots=True)
class ApplyBaselineService:
    """Create the operator's own Service in front of an adopted Deployment's pods."""

    name: str
    selector: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ApplyRoute:
    """Write the route: all weights as explicit integers summing to 100, in one PATCH.

    Attributes:
        resource_version: of the route that was read, or "" to create it.
        backends: (Service, weight), the baseline first; a Service left out gets no backendRef.
        stamp: who wrote these weights and for what (``rollout.attempt.Stamp``), as annotation.
        intent: latches why traffic goes back; "" removes the annotation.
    """

    resource_version: str
    backends: tuple[tuple[str, int], ...]
    stamp: str
    intent: str = ""
    spec: ModelHandoffSpec | None = None


@dataclass(frozen=True, slots=True)
class DeleteRoute:
    """Delete the operator's own route (only when nothing is to be served)."""

    resource_version: str


@dataclass(frozen=True, slots=True)
class ApplyStableService:
    """Point the Service with the handoff's own name at the stable pods."""

    selector: Mapping[str, str]
    resource_version: str = ""


@dataclass(frozen=True, slots=True)
class RunVerification:
    """Create the verification Job of an attempt, and the ConfigMap with the spec that it reads."""

    attempt: str
    job: str


@dataclass(frozen=True, slots=True)
class RecordChecks:
    """Read the report of a verification Job's pod and store it, in one write with the status.

    A report that cannot be read, or that is not the one the receipt names, is stored as such.

    Attributes:
        status: the attempt's status without the checks.
        receipt: termination message of the pod, which binds the report.
    """

    name: str
    resource_version: str
    status: Mapping[str, Any]
    pod: str
    receipt: str


@dataclass(frozen=True, slots=True)
class RunTenantJob:
    """Create one of the tenant's own Jobs of an attempt, by its role among the rendered objects."""

    attempt: str
    job: str
    role: str


@dataclass(frozen=True, slots=True)
class RecordJob:
    """Store what came of a tenant's Job, with the end of its log where that can be read.

    Attributes:
        status: the attempt's status with the result in it, all but the log.
        result: name of the result that the log belongs to.
        pod: whose log it is.
    """

    name: str
    resource_version: str
    status: Mapping[str, Any]
    result: str
    pod: str


@dataclass(frozen=True, slots=True)
class RunWarmup:
    """Create the warm-up Job of an attempt."""

    attempt: str
    job: str
    workload: str


@dataclass(frozen=True, slots=True)
class DeleteWarmup:
    """Delete the warm-up Job, or another Job that nobody waits for, and its pods."""

    job: str


@dataclass(frozen=True, slots=True)
class DeleteAttempt:
    """Drop an attempt beyond the history limit."""

    name: str


@dataclass(frozen=True, slots=True)
class KeepReport:
    """Write the decision report of an ended attempt, once, and where it is into its status."""

    attempt: str
    resource_version: str


Action = (
    AddFinalizer
    | RemoveFinalizer
    | CreateAttempt
    | WriteAttempt
    | WriteApproval
    | ApplyWorkload
    | ScaleWorkload
    | ReleaseWorkload
    | MarkWorkload
    | DeleteWorkload
    | ApplyBaselineService
    | ApplyRoute
    | DeleteRoute
    | ApplyStableService
    | RunVerification
    | RecordChecks
    | RunTenantJob
    | RecordJob
    | RunWarmup
    | DeleteWarmup
    | DeleteAttempt
    | KeepReport
)


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes event on the handoff, on transitions only."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What one pass does.

    Attributes:
        action: the one write, or ``None`` when nothing is left to do.
        urgent: the write takes traffic off a candidate: it goes ahead of all others.
        events: to post after the action has succeeded.
        status: the handoff's status as it should read after the action; written once the pass
            has nothing left to do, and only when it differs.
        requeue_after: seconds until the next deadline, computed from stored timestamps;
            ``None`` when only an event can change anything.
        sentence: what is going on, in one sentence: log line, event and status at once.
        errand: a write that nothing waits for, once the status is written; it may fail.
    """

    action: Action | None
    status: Mapping[str, Any]
    sentence: str
    urgent: bool = False
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    errand: Action | None = None


@dataclass(frozen=True, slots=True)
class Collected:
    """What the metrics room and the engine made of this pass, for ``decide``.

    Either evidence was judged (``verdict``; with ``fresh`` the checkpoint fields are new), or the
    source gave no usable answer (``unknown_reason``). Before there is evidence, ``decide`` gets
    ``None``. After every ``WriteAttempt`` it must be made again from what was written.

    Attributes:
        evidence, cursor: the two checkpoints, opaque JSON texts; stored in one write.
        bins: judged bins of the drift metrics, fixed with the first evidence.
        history: what earlier attempts say of the counts' noise, fixed with the first evidence.
        looks, step_looks, step_requests, last_data: see ``AttemptState``.
        fresh: intervals have closed in this pass; otherwise stored evidence was judged again.
    """

    evidence: str = ""
    cursor: str = ""
    bins: str = ""
    history: str = ""
    looks: int = 0
    step_looks: int = 0
    step_requests: float = 0.0
    last_data: float = 0.0
    verdict: Verdict | None = None
    fresh: bool = False
    warnings: tuple[str, ...] = ()
    unknown_reason: str = ""
    unknown_message: str = ""
    next_due: float | None = None
