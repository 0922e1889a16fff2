"""Why a candidate's pods are not ready: whose fault it is, and how long to bear it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from modelhandoff.api.vocabulary import Outcome, Reason
from modelhandoff.errors import cut
from modelhandoff.rollout.context import Context
from modelhandoff.rollout.snapshot import PodView, WorkloadView

FETCH_MISMATCH = 3
"""Exit code of the artifact fetcher for bytes that do not have their digest: never retried."""

_IMAGE = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "RegistryUnavailable",
    }
)


_CLAIM = ("persistentvolumeclaim", "persistent volume")
"""How the scheduler speaks of claims: no node is to blame, and none more would help."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why the pods are not ready.

    Attributes:
        outcome: what the attempt ends in when the budget is over.
        left: seconds until then; 0 or less means now.
    """

    reason: Reason
    message: str
    outcome: Outcome
    left: float


def diagnose(ctx: Context, workload: WorkloadView) -> Problem | None:
    """The worst thing that keeps the pods from being ready; ``None`` while all is in order.

    Not the model's fault (room, quota, image, artifact host) ends *Inconclusive*; a model that
    does not start, or bytes that are not the declared ones, are *Rejected*.
    """
    startup = ctx.spec.candidate.serving.startup.timeout
    if workload.failure:
        return Problem(
            Reason.QUOTA_EXCEEDED,
            f"The API server refuses the candidate's pods: {cut(workload.failure, 300)}",
            Outcome.INCONCLUSIVE,
            ctx.left(ctx.state.phase_since, ctx.spec.rollout.capacity.pending_deadline),
        )
    pods = [pod for pod in workload.pods if not pod.deleting]
    for pod in pods:
        found = _fatal(ctx, pod)
        if found is not None:
            return found
    for pod in pods:
        found = without_room(ctx, pod)
        if found is not None:
            return found
    for pod in pods:
        if not pod.ready:
            return without_image(ctx, pod) or without_claim(ctx, pod) or _slow(ctx, pod, startup)
    return None


def without_room(ctx: Context, pod: PodView) -> Problem | None:
    """A pod that no node takes, in the scheduler's own words."""
    if not pod.unschedulable:
        return None
    capacity = ctx.spec.rollout.capacity
    if any(word in pod.unschedulable.lower() for word in _CLAIM):
        return Problem(
            Reason.ARTIFACT_UNAVAILABLE,
            f"A volume claim of pod {pod.name} cannot be had. The scheduler says: "
            f"{cut(pod.unschedulable, 300)}",
            Outcome.INCONCLUSIVE,
            ctx.left(pod.created, capacity.pending_deadline),
        )
    impatient = capacity.on_shortage == "Abort"
    return Problem(
        Reason.CAPACITY_SHORTAGE,
        f"No room for pod {pod.name}. The scheduler says: {cut(pod.unschedulable, 300)}",
        Outcome.INCONCLUSIVE,
        0.0 if impatient else ctx.left(pod.created, capacity.pending_deadline),
    )


def without_image(ctx: Context, pod: PodView) -> Problem | None:
    """A pod whose image cannot be had, in the kubelet's own words."""
    if pod.waiting_reason not in _IMAGE:
        return None
    return Problem(
        Reason.IMAGE_PULL_FAILED,
        f"The image of pod {pod.name} cannot be had: "
        f"{cut(pod.waiting_message or pod.waiting_reason, 300)}",
        Outcome.INCONCLUSIVE,
        ctx.left(pod.scheduled_at or pod.created, ctx.spec.candidate.serving.startup.timeout),
    )


def without_claim(ctx: Context, pod: PodView) -> Problem | None:
    """A pod on a node that does not get its volumes mounted; only its events say why."""
    if not pod.unmounted:
        return None
    return Problem(
        Reason.ARTIFACT_UNAVAILABLE,
        f"The volume of claim {', '.join(pod.unmounted)} is not mounted on the node yet; "
        f"kubectl describe pod {pod.name} shows what the node says.",
        Outcome.INCONCLUSIVE,
        ctx.left(pod.scheduled_at or pod.created, ctx.spec.candidate.serving.startup.timeout),
    )


def _fatal(ctx: Context, pod: PodView) -> Problem | None:
    if pod.init_exit_code == FETCH_MISMATCH:
        return Problem(Reason.ARTIFACT_MISMATCH, cut(pod.init_message, 500), Outcome.REJECT, 0.0)
    if pod.crashed and pod.restarts >= ctx.settings.start_crashes and not pod.ready:
        return Problem(
            Reason.CANARY_CRASHED,
            f"The candidate's server crashed {pod.restarts} times before it was ready: "
            f"{cut(pod.crash_message or 'no termination message', 300)}",
            Outcome.REJECT,
            0.0,
        )
    return None


def _slow(ctx: Context, pod: PodView, startup: timedelta) -> Problem:
    left = ctx.left(pod.scheduled_at or pod.created, startup)
    if pod.init_exit_code not in (None, 0):
        return Problem(
            Reason.ARTIFACT_UNAVAILABLE,
            f"The artifacts cannot be fetched: {cut(pod.init_message, 400)}",
            Outcome.INCONCLUSIVE,
            left,
        )
    if pod.crashed:
        return Problem(
            Reason.CANARY_NOT_READY,
            f"The server has crashed {pod.restarts} times: {cut(pod.crash_message, 300)}",
            Outcome.REJECT,
            left,
        )
    if not pod.begun:
        return _not_begun(pod, left)
    return Problem(
        Reason.CANARY_NOT_READY,
        f"Pod {pod.name} is not ready yet; it has {startup.total_seconds():.0f} s to load.",
        Outcome.REJECT,
        left,
    )


def _not_begun(pod: PodView, left: float) -> Problem:
    """A model that never ran cannot have been too slow; in the first seconds all is in order."""
    fetching = pod.init_exit_code is None
    if left > 0:
        reason = Reason.CANARY_NOT_READY
    else:
        reason = Reason.ARTIFACT_UNAVAILABLE if fetching else Reason.IMAGE_PULL_FAILED
    what = (
        "its artifacts are still being fetched" if fetching else "its image is still being pulled"
    )
    return Problem(
        reason,
        f"The server of pod {pod.name} has not been started yet: {what}.",
        Outcome.INCONCLUSIVE,
        left,
    )
