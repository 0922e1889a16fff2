"""Carrying out a latched verdict: traffic back to the baseline, or on to the candidate.

Rollback: weight 0 with the intent on the route, then the record, then the pods.
Promotion: capacity, then traffic, then roles, then the old revision's capacity.
Each function looks at what is there and returns the next missing step; a crash anywhere
repeats at most one of them.
"""

from __future__ import annotations

from modelhandoff.api import names
from modelhandoff.api.vocabulary import Outcome, Phase, Reason
from modelhandoff.rollout.actions import (
    ApplyRoute,
    ApplyStableService,
    ApplyWorkload,
    DeleteWarmup,
    Event,
    MarkWorkload,
    ReleaseWorkload,
    ScaleWorkload,
)
from modelhandoff.rollout.attempt import Stamp, stamp
from modelhandoff.rollout.context import KIND_REFRESH, KIND_ROLLOUT, Context, Move
from modelhandoff.rollout.latching import take_down
from modelhandoff.rollout.snapshot import WorkloadView
from modelhandoff.rollout.tenant_jobs import running_jobs


def roll_back(ctx: Context) -> Move:
    """The verdict went against the candidate: traffic, then pods, then the final phase."""
    attempt, state, verdict = ctx.attempt, ctx.state, ctx.state.verdict
    if attempt is None or verdict is None:
        raise ValueError("nothing to roll back")
    if ctx.candidate_weight and attempt.kind == KIND_ROLLOUT:
        return take_down(ctx, verdict.outcome, verdict.reason, verdict.message)
    job = names.warmup_job_name(attempt.name)
    if job in ctx.snapshot.jobs:
        return Move(DeleteWarmup(job), reason=verdict.reason, sentence=verdict.message)
    running = ctx.snapshot.jobs.get(names.verification_job_name(attempt.name))
    if running is not None and not (running.succeeded or running.failed):
        return Move(DeleteWarmup(running.name), reason=verdict.reason, sentence=verdict.message)
    for name in running_jobs(ctx):
        return Move(DeleteWarmup(name), reason=verdict.reason, sentence=verdict.message)
    candidate = ctx.candidate
    if candidate is not None and not candidate.stable and candidate.desired:
        left = ctx.left(state.off_at, ctx.settings.drain) if state.off_at else 0.0
        if left > 0:
            return Move(reason=verdict.reason, sentence=verdict.message, wait=left)
        return Move(
            ScaleWorkload(candidate.name, candidate.resource_version, 0),
            reason=verdict.reason,
            sentence=verdict.message,
        )
    final = verdict.outcome.final_phase
    return Move(
        ctx.write(state.enter(final, ctx.now, f"{final}.")),
        reason=verdict.reason,
        sentence=verdict.message,
        events=(Event(str(final), verdict.message, warning=True),),
    )


def promote(ctx: Context) -> Move:
    """The verdict is for the candidate: capacity, traffic, roles, Service, final phase."""
    attempt, verdict, spec = ctx.attempt, ctx.state.verdict, ctx.spec
    if attempt is None or verdict is None:
        raise ValueError("nothing to promote")
    full = spec.candidate.serving.replicas
    candidate = ctx.candidate
    if candidate is None:
        return Move(
            ApplyWorkload(attempt.name, ctx.candidate_name, full),
            reason=Reason.PROMOTING,
            sentence=f"The pods of {ctx.model} are gone; creating them again.",
        )
    braked = _braked(ctx, candidate)
    if braked is not None:
        return braked
    if candidate.owned:
        return Move(
            ReleaseWorkload(candidate.name, candidate.resource_version),
            reason=Reason.PROMOTING,
            sentence=f"Promoting {ctx.model}.",
        )
    route = ctx.snapshot.route
    if ctx.candidate_weight and candidate.ready == 0 and ctx.baseline and ctx.baseline.ready:
        # The verdict stands, but a backend without a ready pod must not have weight.
        return Move(
            ApplyRoute(
                route.resource_version if route else "",
                ((ctx.service_of(ctx.baseline), 100),),
                str(Stamp(attempt.name, "wait", 0)),
                spec=spec,
            ),
            reason=Reason.CANARY_LOST,
            sentence=f"No pod of {ctx.model} is ready; all traffic is on the baseline meanwhile.",
            urgent=True,
        )
    if candidate.desired < full:
        return Move(
            ScaleWorkload(candidate.name, candidate.resource_version, full),
            reason=Reason.PROMOTING,
            sentence=f"Promoting {ctx.model}: scaling to {full} pods before all traffic.",
        )
    if candidate.ready < full and attempt.kind != KIND_REFRESH:
        waiting = next((p.unschedulable for p in candidate.pods if p.unschedulable), "")
        more = f" The scheduler says: {waiting}" if waiting else ""
        return Move(
            reason=Reason.CAPACITY_SHORTAGE if waiting else Reason.PROMOTING,
            sentence=f"Promoting {ctx.model}: {candidate.ready} of {full} pods are ready.{more}",
        )
    step = route_to(ctx, candidate)
    if step is not None:
        return step
    if not candidate.stable or candidate.bundle != attempt.bundle:
        return Move(
            MarkWorkload(
                candidate.name,
                candidate.resource_version,
                stable=True,
                bundle=attempt.bundle,
                promoted_at=stamp(ctx.now),
            ),
            reason=Reason.PROMOTING,
            sentence=f"All traffic is on {ctx.model}.",
        )
    for other in ctx.snapshot.workloads.values():
        if other.stable and other.managed and not other.deleting and other.name != candidate.name:
            return Move(
                MarkWorkload(other.name, other.resource_version, stable=False),
                reason=Reason.PROMOTING,
                sentence=f"All traffic is on {ctx.model}.",
            )
    service = stable_service(ctx, candidate)
    if service is not None:
        return service
    job = names.warmup_job_name(attempt.name)
    if job in ctx.snapshot.jobs:
        return Move(DeleteWarmup(job), reason=Reason.PROMOTING, sentence=verdict.message)
    state = ctx.state.enter(
        Phase.PROMOTED, ctx.now, "All traffic landed; promoted.", promoted_at=ctx.now
    )
    return Move(
        ctx.write(state),
        reason=Reason.PROMOTED,
        sentence=verdict.message,
        events=(Event(Reason.PROMOTED, verdict.message),),
    )


def _braked(ctx: Context, candidate: WorkloadView) -> Move | None:
    """A weight that somebody lowered before the promotion was through: a request to stop."""
    attempt, route = ctx.attempt, ctx.snapshot.route
    written = Stamp.parse(route.stamp) if route is not None and route.ours else None
    if attempt is None or attempt.kind != KIND_ROLLOUT or candidate.stable or written is None:
        return None
    now = ctx.candidate_weight
    if written.attempt != attempt.name or now >= written.weight:
        return None
    return take_down(
        ctx,
        Outcome.ABORT,
        Reason.EXTERNAL_BRAKE,
        f"Somebody lowered the candidate's weight from {written.weight} to {now} % "
        "before the promotion was through; taken as a request to stop.",
    )


def route_to(ctx: Context, workload: WorkloadView) -> Move | None:
    """All traffic to one revision, and wait until the gateway says so."""
    attempt, route = ctx.attempt, ctx.snapshot.route
    if attempt is None:
        raise ValueError("no attempt")
    wanted = str(Stamp(attempt.name, "all", 100))
    service = ctx.service_of(workload)
    if route is None or route.stamp != wanted or dict(route.backends) != {service: 100}:
        if route is not None and not route.ours:
            return Move(
                reason=Reason.ROUTE_CONFLICT,
                sentence=f"HTTPRoute {route.name} exists and is not the operator's; "
                "rename the handoff, or delete that route.",
                stalled=True,
            )
        return Move(
            ApplyRoute(
                route.resource_version if route else "", ((service, 100),), wanted, spec=ctx.spec
            ),
            reason=Reason.PROMOTING,
            sentence=f"Moving all traffic to {ctx.model}.",
        )
    if not route.landed:
        return Move(
            reason=Reason.TRAFFIC_PENDING,
            sentence=f"Waiting for the gateway to accept the route: {route.message}",
        )
    return None


def stable_service(ctx: Context, workload: WorkloadView) -> Move | None:
    """The Service with the handoff's own name follows the stable revision."""
    selector = names.labels(ctx.handoff.name, workload.revision)
    selector = {k: selector[k] for k in (names.LABEL_HANDOFF, names.LABEL_REVISION)}
    found = ctx.snapshot.services.get(names.stable_service_name(ctx.handoff.name))
    if found is not None and (not found.ours or dict(found.selector) == selector):
        return None
    return Move(
        ApplyStableService(selector, found.resource_version if found else ""),
        reason=Reason.PROMOTING,
        sentence=f"All traffic is on {ctx.model}.",
    )
