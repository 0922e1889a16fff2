"""At rest: what was deleted by hand comes back, old capacity goes."""

from __future__ import annotations

from modelhandoff.api import names
from modelhandoff.api.vocabulary import Phase, Reason
from modelhandoff.rollout.actions import (
    ApplyWorkload,
    DeleteAttempt,
    DeleteWorkload,
    Event,
    MarkWorkload,
    ReleaseWorkload,
    ScaleWorkload,
)
from modelhandoff.rollout.attempt import stamp
from modelhandoff.rollout.context import Context, Move
from modelhandoff.rollout.finish import route_to, stable_service
from modelhandoff.rollout.snapshot import WorkloadView


def tidy(ctx: Context) -> Move | None:
    """What a finished handoff still has to do: heal what serves, then let old capacity go."""
    stable, attempt = ctx.stable, ctx.attempt
    healed = _heal(ctx)
    if healed is not None:
        return healed
    spec = ctx.spec
    waits: list[float] = []
    idle: list[WorkloadView] = []
    for old in ctx.snapshot.workloads.values():
        kept = stable is None or old.name == stable.name or old.stable or old.deleting
        if stable is None or kept or not (old.managed or _may_retire(ctx, old)):
            continue
        if ctx.active and attempt is not None and old.name == ctx.candidate_name:
            continue
        if not old.desired:
            idle += [old] if old.managed else []
            continue
        # What has served stays warm for a while; what was only tried goes at once.
        served = old.promoted_at is not None or not old.managed
        warm = ctx.left(stable.promoted_at, spec.rollout.scale_down_delay) if served else 0.0
        if warm > 0:
            waits.append(warm)
            continue
        return Move(
            ScaleWorkload(old.name, old.resource_version, 0),
            reason=Reason.STEADY,
            sentence=f"{old.name} is no longer needed; scaling it to zero.",
        )
    idle.sort(key=lambda w: (w.promoted_at is not None, w.promoted_at, w.name), reverse=True)
    for surplus in idle[spec.rollout.revision_history_limit :]:
        return Move(
            DeleteWorkload(surplus.name), reason=Reason.STEADY, sentence=f"Deleting {surplus.name}."
        )
    ended = [a for a in ctx.snapshot.attempts if attempt is None or a.name != attempt.name]
    keep = ctx.settings.attempts_kept
    for surplus_attempt in sorted(ended, key=lambda a: -a.ordinal)[keep:]:
        if stable is not None and surplus_attempt.bundle == stable.bundle:
            continue
        return Move(
            DeleteAttempt(surplus_attempt.name),
            reason=Reason.STEADY,
            sentence=f"Forgetting attempt {surplus_attempt.name}.",
        )
    return Move(wait=min(waits)) if waits else None


def _may_retire(ctx: Context, adopted: WorkloadView) -> bool:
    """Whether the user lets us scale the Deployment they adopted, once its successor serves."""
    baseline = ctx.spec.baseline
    named = baseline.workload_ref is not None and baseline.workload_ref.name == adopted.name
    return named and baseline.scale_down == "OnPromotion"


def _heal(ctx: Context) -> Move | None:
    """After a promotion: pods, route or Service that somebody deleted come back."""
    if ctx.attempt is None or ctx.state.phase is not Phase.PROMOTED:
        return None
    if ctx.stable is None or ctx.candidate is None:
        if ctx.stable is None:
            return promote_again(ctx)
        return None
    if ctx.stable.name != ctx.candidate_name:
        return None
    if ctx.snapshot.route is None:
        return route_to(ctx, ctx.stable)
    if names.stable_service_name(ctx.handoff.name) not in ctx.snapshot.services:
        return stable_service(ctx, ctx.stable)
    return None


def promote_again(ctx: Context) -> Move:
    """The promoted revision's Deployment is gone: create it from the attempt's snapshot."""
    attempt = ctx.attempt
    if attempt is None:
        raise ValueError("no attempt")
    if ctx.candidate is None:
        return Move(
            ApplyWorkload(attempt.name, ctx.candidate_name, ctx.spec.candidate.serving.replicas),
            reason=Reason.NOTHING_SERVES,
            sentence=f"The Deployment of {ctx.model} was deleted; creating it again.",
            events=(
                Event(Reason.NOTHING_SERVES, "the stable Deployment was deleted", warning=True),
            ),
        )
    candidate = ctx.candidate
    if candidate.owned:
        return Move(
            ReleaseWorkload(candidate.name, candidate.resource_version),
            reason=Reason.NOTHING_SERVES,
            sentence=f"Restoring {ctx.model}.",
        )
    return Move(
        MarkWorkload(
            candidate.name,
            candidate.resource_version,
            stable=True,
            bundle=attempt.bundle,
            promoted_at=stamp(ctx.state.promoted_at or ctx.now),
        ),
        reason=Reason.NOTHING_SERVES,
        sentence=f"Restoring {ctx.model}.",
    )
