"""At rest: what was deleted by hand comes back, old capacity goes."""

from __future__ import annotations

import dataclasses

from modelhandoff.api.vocabulary import Reason
from modelhandoff.rollout.actions import DeleteAttempt, DeleteWorkload, ScaleWorkload
from modelhandoff.rollout.context import Context, Move
from modelhandoff.rollout.restoring import foreign_weights, heal
from modelhandoff.rollout.snapshot import WorkloadView


def tidy(ctx: Context) -> Move | None:
    """What a finished handoff still has to do: heal what serves, then let old capacity go."""
    stable, attempt = ctx.stable, ctx.attempt
    healed = heal(ctx)
    if healed is not None:
        return healed
    old_capacity, idle = retire(ctx)
    if old_capacity is not None and old_capacity.action is not None:
        return old_capacity
    idle.sort(key=lambda w: (w.promoted_at is not None, w.promoted_at, w.name), reverse=True)
    for surplus in idle[ctx.spec.rollout.revision_history_limit :]:
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
    told = foreign_weights(ctx)
    if old_capacity is not None:
        return dataclasses.replace(told or Move(), wait=old_capacity.wait)
    return told


def retire(ctx: Context) -> tuple[Move | None, list[WorkloadView]]:
    """Let capacity go that nobody needs any more: also while a new attempt waits for room.

    Returns:
        The next scale-down, or how long to wait for it, or ``None``; and what is at zero already.
    """
    stable, attempt = ctx.stable, ctx.attempt
    waits: list[float] = []
    idle: list[WorkloadView] = []
    for old in ctx.snapshot.workloads.values():
        kept = stable is None or old.name == stable.name or old.stable or old.deleting
        if stable is None or kept or not (old.managed or _may_retire(ctx, old)):
            continue
        if ctx.active and attempt is not None and old.name == ctx.candidate_name:
            continue
        if ctx.share(ctx.service_of(old)):
            continue  # Somebody has sent traffic there.
        if not old.desired:
            idle += [old] if old.managed else []
            continue
        # What has served stays warm for a while; what was only tried goes at once.
        served = old.promoted_at is not None or not old.managed
        delay = ctx.spec.rollout.scale_down_delay
        warm = ctx.left(stable.promoted_at, delay) if served else 0.0
        if warm > 0:
            waits.append(warm)
            continue
        step = Move(
            ScaleWorkload(old.name, old.resource_version, 0),
            reason=Reason.STEADY,
            sentence=f"{old.name} is no longer needed; scaling it to zero.",
        )
        return step, idle
    return (Move(wait=min(waits)) if waits else None), idle


def _may_retire(ctx: Context, adopted: WorkloadView) -> bool:
    """Whether the user lets us scale the Deployment they adopted, once its successor serves."""
    baseline = ctx.spec.baseline
    named = baseline.workload_ref is not None and baseline.workload_ref.name == adopted.name
    return named and baseline.scale_down == "OnPromotion"
