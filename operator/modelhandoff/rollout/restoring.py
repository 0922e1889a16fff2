"""What serves comes back when somebody deletes it, and is left alone by foreign weights.

Asked before everything else but a deletion: an attempt cannot even be aborted into nothing.
"""

from __future__ import annotations

from modelhandoff.api import names
from modelhandoff.api.vocabulary import Phase, Reason
from modelhandoff.rollout.actions import (
    ApplyRoute,
    ApplyWorkload,
    Event,
    MarkWorkload,
    ReleaseWorkload,
)
from modelhandoff.rollout.attempt import AttemptState, Intent, Stamp, stamp
from modelhandoff.rollout.context import KIND_ROLLOUT, Context, Move
from modelhandoff.rollout.finish import route_to, stable_service
from modelhandoff.rollout.snapshot import AttemptView, WorkloadView


def restore_stable(ctx: Context) -> Move | None:
    """The Deployment of the revision that serves is gone: made again from its own attempt.

    An adopted Deployment has no such attempt: only its owner can bring it back.
    """
    serving = _last_promoted(ctx)
    if serving is None or ctx.stable is not None:
        return None
    name = names.workload_name(ctx.handoff.name, serving.revision)
    verdict = ctx.state.verdict
    latched = verdict is not None and verdict.outcome.promotes
    if serving is not ctx.attempt and latched and not ctx.share(name):
        return None  # Its traffic is elsewhere for good: a promotion is about to end.
    found = ctx.snapshot.workloads.get(name)
    model = serving.spec.candidate.model
    what = f"{model.name} {model.version}"
    if found is None:
        return Move(
            ApplyWorkload(serving.name, name, serving.spec.candidate.serving.replicas),
            reason=Reason.NOTHING_SERVES,
            sentence=f"The Deployment of {what}, which serves, was deleted; creating it again.",
            events=(
                Event(Reason.NOTHING_SERVES, "the stable Deployment was deleted", warning=True),
            ),
        )
    if found.deleting:
        return None  # Its last event wakes us.
    if found.owned:
        return Move(
            ReleaseWorkload(found.name, found.resource_version),
            reason=Reason.NOTHING_SERVES,
            sentence=f"Restoring {what}.",
        )
    promoted_at = AttemptState.from_status(serving.status).promoted_at
    return Move(
        MarkWorkload(
            found.name,
            found.resource_version,
            stable=True,
            bundle=serving.bundle,
            promoted_at=stamp(promoted_at or ctx.now),
        ),
        reason=Reason.NOTHING_SERVES,
        sentence=f"Restoring {what}.",
    )


def heal(ctx: Context) -> Move | None:
    """At rest: the route or the Service that somebody deleted, and weights that nobody may give."""
    stable, attempt = ctx.stable, ctx.attempt
    if attempt is None:
        return None
    if ctx.state.phase is Phase.PROMOTED:
        if stable is None or stable.name != ctx.candidate_name:
            return None
        if ctx.snapshot.route is None:
            return route_to(ctx, stable)
        if names.stable_service_name(ctx.handoff.name) not in ctx.snapshot.services:
            return stable_service(ctx, stable)
        return _one_without_pods(ctx, stable, attempt)
    return None if ctx.baseline is None else _back_to(ctx, ctx.baseline, attempt)


def foreign_weights(ctx: Context) -> Move | None:
    """Somebody sends part of the traffic elsewhere: a hand on the brake, told and not undone."""
    stable, route = ctx.stable, ctx.snapshot.route
    if stable is None or route is None or not route.ours or ctx.state.phase is not Phase.PROMOTED:
        return None
    others = [f"{w} % on {name}" for name, w in sorted(_others(ctx, stable).items())]
    if not others:
        return None
    return Move(
        reason=Reason.TRAFFIC_CONTESTED,
        sentence=f"Somebody changed the route: {', '.join(others)}. It is left as it is, and so "
        "are these pods. Give all weight back, or apply the version that shall serve.",
        stalled=True,
    )


def _one_without_pods(ctx: Context, stable: WorkloadView, attempt: AttemptView) -> Move | None:
    """Promise 1 at rest: a backend without a ready pod has no weight, whoever gave it."""
    route = ctx.snapshot.route
    if route is None or not route.ours or not stable.ready:
        return None
    ready = {ctx.service_of(w) for w in ctx.snapshot.workloads.values() if w.ready}
    dead = sorted(set(_others(ctx, stable)) - ready)
    if not dead:
        return None
    return Move(
        ApplyRoute(
            route.resource_version,
            ((ctx.service_of(stable), 100),),
            str(Stamp(attempt.name, "all", 100)),
            spec=attempt.spec,
        ),
        reason=Reason.TRAFFIC_CONTESTED,
        sentence=f"Somebody gave weight to {', '.join(dead)}, which has no ready pod; taken back.",
        urgent=True,
        events=(Event(Reason.TRAFFIC_CONTESTED, f"foreign weight on {dead[0]} taken back", True),),
    )


def _back_to(ctx: Context, baseline: WorkloadView, attempt: AttemptView) -> Move | None:
    """After a rollback: a deleted route, or weight that somebody gave to what was rolled back."""
    route, verdict = ctx.snapshot.route, ctx.state.verdict
    if attempt.kind != KIND_ROLLOUT or verdict is None or not baseline.ready:
        return None
    if route is not None and not (route.ours and ctx.candidate_weight):
        return None
    what = f"weight on {ctx.model} taken back" if route else "route created again"
    return Move(
        ApplyRoute(
            route.resource_version if route else "",
            ((ctx.service_of(baseline), 100),),
            str(Stamp(attempt.name, "back", 0)),
            str(Intent(attempt.name, verdict.outcome, verdict.reason, verdict.message)),
            # Where it listens is not for a candidate to say that was rolled back.
            None if route else (_last_promoted(ctx) or attempt).spec,
        ),
        reason=Reason.TRAFFIC_CONTESTED,
        sentence=f"Somebody changed the route: {what}. {verdict.message}",
        urgent=True,
        events=(Event(Reason.TRAFFIC_CONTESTED, what, warning=True),),
    )


def _others(ctx: Context, stable: WorkloadView) -> dict[str, int]:
    """Backends beside the stable one that have weight."""
    route = ctx.snapshot.route
    backends = route.backends if route else {}
    own = ctx.service_of(stable)
    return {name: weight for name, weight in backends.items() if weight and name != own}


def _last_promoted(ctx: Context) -> AttemptView | None:
    promoted = [
        a
        for a in ctx.snapshot.attempts
        if a.handoff_uid == ctx.handoff.uid
        and AttemptState.from_status(a.status).phase is Phase.PROMOTED
    ]
    return max(promoted, key=lambda a: a.ordinal, default=None)
