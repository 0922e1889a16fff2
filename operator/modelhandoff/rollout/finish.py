"""Carrying out a latched verdict: traffic back to the baseline, or on to the candidate.

Rollback: weight 0 with the intent on the route, then the record, then the pods.
Promotion: capacity, then traffic, then roles, then the old revision's capacity.
Each function looks at what is there and returns the next missing step; a crash anywhere
repeats at most one of them.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

from modelhandoff.analysis.verdict import MetricVerdict
from modelhandoff.api import names
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.vocabulary import Outcome, Phase, Reason
from modelhandoff.errors import cut
from modelhandoff.rollout.actions import (
    ApplyRoute,
    ApplyStableService,
    ApplyWorkload,
    DeleteAttempt,
    DeleteWarmup,
    DeleteWorkload,
    Event,
    MarkWorkload,
    ReleaseWorkload,
    ScaleWorkload,
)
from modelhandoff.rollout.attempt import AttemptState, Intent, Stamp, Verdict, stamp
from modelhandoff.rollout.context import KIND_REFRESH, KIND_ROLLOUT, Context, Move
from modelhandoff.rollout.snapshot import WorkloadView


def take_down(ctx: Context, outcome: Outcome, reason: str, message: str) -> Move:
    """End the attempt against the candidate, traffic first.

    With weight on the candidate the route is patched and carries the intent; the next pass finds
    it there and records the verdict. Without, the verdict is recorded at once.
    """
    if ctx.attempt is None:
        raise ValueError("no attempt to take down")
    route = ctx.snapshot.route
    if (
        route is not None
        and ctx.candidate_name in route.backends
        and ctx.attempt.kind == KIND_ROLLOUT
    ):
        stuck = _no_way_back(ctx, outcome, message)
        if stuck is not None or ctx.baseline is None:
            return stuck or Move()
        intent = Intent(ctx.attempt.name, outcome, reason, message)
        return Move(
            ApplyRoute(
                route.resource_version,
                ((ctx.service_of(ctx.baseline), 100),),
                str(Stamp(ctx.attempt.name, "back", 0)),
                str(intent),
                ctx.spec,
            ),
            reason=reason,
            sentence=message,
            urgent=True,
            events=(Event(reason, f"Weight 0: {message}", warning=True),),
        )
    return latch(ctx, outcome, reason, message)


def _no_way_back(ctx: Context, outcome: Outcome, message: str) -> Move | None:
    """A baseline that cannot serve is worse than any candidate; only a person may insist."""
    baseline = ctx.baseline
    if baseline is None:
        return Move(
            reason=Reason.BASELINE_MISSING,
            sentence=f"{message} Traffic cannot go back: the baseline's Deployment is gone. "
            "Bring it back.",
            stalled=True,
        )
    alive = ctx.candidate is not None and ctx.candidate.ready
    if baseline.ready == 0 and alive and outcome is not Outcome.ABORT:
        return Move(
            reason=Reason.BASELINE_NOT_READY,
            sentence=f"{message} Traffic cannot go back yet: no pod of {baseline.name} is ready. "
            "Abort to send it back all the same.",
            stalled=True,
        )
    return None


def latch(ctx: Context, outcome: Outcome, reason: str, message: str) -> Move:
    """Record the verdict, with the evidence of this pass, in one write."""
    state = with_evidence(ctx, ctx.state)
    total_e = ctx.collected.verdict.total_e if ctx.collected and ctx.collected.verdict else 0.0
    verdict = Verdict(outcome, reason, message, ctx.now, state.looks, total_e)
    phase = Phase.PROMOTING if outcome.promotes else Phase.ROLLING_BACK
    had_weight = state.first_weight_at is not None
    state = state.enter(
        phase,
        ctx.now,
        f"{outcome}: {message}",
        verdict=verdict,
        off_at=ctx.now if had_weight and not outcome.promotes else state.off_at,
        withheld=None,
    )
    return Move(
        ctx.write(state),
        reason=reason,
        sentence=message,
        events=(Event(reason, f"{outcome}: {message}", warning=not outcome.promotes),),
    )


def with_evidence(ctx: Context, state: AttemptState) -> AttemptState:
    """The state with this pass's checkpoint: evidence, cursor and counters in one value."""
    got = ctx.collected
    if got is None or not got.cursor:
        return state
    judged = got.verdict.metrics if got.verdict else ()
    if got.fresh:
        state = state.but(unknown_since=None, unknown_reason="", unknown_message="")
    return state.but(
        evidence=got.evidence,
        cursor=got.cursor,
        bins=got.bins,
        looks=got.looks,
        step_looks=got.step_looks,
        step_requests=got.step_requests,
        last_data=got.last_data,
        metrics=tuple(summary(m, ctx.spec) for m in judged) or state.metrics,
    )


def summary(metric: MetricVerdict, spec: ModelHandoffSpec) -> dict[str, Any]:
    """One metric of a verdict as the status shows it; numbers rounded to five digits."""
    found: dict[str, Any] = {"name": metric.name, "state": str(metric.state)}
    kind = next((m.type for m in spec.monitoring.metrics if m.name == metric.name), None)
    if kind is not None:
        found["type"] = str(kind)
    for name in ("candidate", "baseline", "ratio", "limit", "samples"):
        value = getattr(metric, name)
        if value is not None and isfinite(value):
            found[name] = _rounded(value)
    if metric.interval is not None and all(isfinite(end) for end in metric.interval):
        found["interval"] = [_rounded(end) for end in metric.interval]
    if metric.needs:
        found["needs"] = cut(metric.needs, 250)
    return found


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def record_intent(ctx: Context) -> Move | None:
    """A route that carries this attempt's intent: whatever else is seen, it is over."""
    route, attempt = ctx.snapshot.route, ctx.attempt
    if route is None or attempt is None or not route.intent or ctx.state.phase.terminal:
        return None
    intent = Intent.parse(route.intent)
    if intent is None or intent.attempt != attempt.name:
        return None
    verdict = ctx.state.verdict
    if verdict is not None and not verdict.outcome.promotes:
        return None
    return latch(ctx, intent.outcome, intent.reason, intent.message)


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
    step = _route_to(ctx, candidate)
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
    service = _stable_service(ctx, candidate)
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


def _route_to(ctx: Context, workload: WorkloadView) -> Move | None:
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


def _stable_service(ctx: Context, workload: WorkloadView) -> Move | None:
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
        return _route_to(ctx, ctx.stable)
    if names.stable_service_name(ctx.handoff.name) not in ctx.snapshot.services:
        return _stable_service(ctx, ctx.stable)
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
