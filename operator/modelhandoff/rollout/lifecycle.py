"""Which attempt there should be, and what a deletion leaves behind."""

from __future__ import annotations

from modelhandoff.api import names
from modelhandoff.api.vocabulary import Outcome, Phase, Reason
from modelhandoff.rollout.actions import (
    AddFinalizer,
    ApplyRoute,
    CreateAttempt,
    DeleteRoute,
    DeleteWorkload,
    Event,
    RemoveFinalizer,
)
from modelhandoff.rollout.approving import rejected
from modelhandoff.rollout.attempt import Stamp
from modelhandoff.rollout.comparing import compared
from modelhandoff.rollout.context import KIND_INITIAL, KIND_REFRESH, KIND_ROLLOUT, Context, Move
from modelhandoff.rollout.latching import take_down
from modelhandoff.rollout.snapshot import WorkloadView


def delete(ctx: Context) -> Move:
    """The handoff is being deleted: weights restored, candidate gone, what serves stays.

    Works without the attempt, which a foreground deletion may have removed already: what has
    the stable role serves on, everything else of ours goes.
    """
    handoff, route = ctx.handoff, ctx.snapshot.route
    if not handoff.has_finalizer:
        return Move(reason=Reason.DELETED, sentence="Deleted.")
    keeper = ctx.stable or _adopted_by_route(ctx)
    if route is not None and route.ours:
        if keeper is None:
            return Move(
                DeleteRoute(route.resource_version),
                reason=Reason.DELETED,
                sentence="Deleted before anything was stable; removing the route.",
            )
        if dict(route.backends) != {ctx.service_of(keeper): 100}:
            return Move(
                ApplyRoute(
                    route.resource_version,
                    ((ctx.service_of(keeper), 100),),
                    str(Stamp(ctx.attempt.name if ctx.attempt else "deleted", "all", 0)),
                    spec=None,
                ),
                reason=Reason.DELETED,
                sentence=f"Deleted: all traffic goes to {keeper.name}.",
                urgent=True,
            )
    for workload in ctx.snapshot.workloads.values():
        if workload.managed and not workload.stable and not workload.deleting:
            return Move(
                DeleteWorkload(workload.name),
                reason=Reason.DELETED,
                sentence=f"Deleted: removing {workload.name}.",
            )
    return Move(
        RemoveFinalizer(handoff.resource_version),
        reason=Reason.DELETED,
        sentence="Deleted; what serves stays." if keeper else "Deleted.",
    )


def ensure_attempt(ctx: Context) -> Move | None:
    """The attempt that the handoff asks for now; ``None`` when it is the one at hand."""
    if not ctx.handoff.has_finalizer:
        return Move(
            AddFinalizer(ctx.handoff.resource_version),
            reason=Reason.PENDING,
            sentence="New handoff.",
        )
    if ctx.handoff.spec is None:
        return _invalid(ctx)
    if ctx.active and ctx.attempt is not None:
        if ctx.attempt.bundle == ctx.bundle:
            return None
        verdict = ctx.state.verdict
        if verdict is not None and (
            not verdict.outcome.promotes or ctx.state.phase is not Phase.PROMOTING
        ):
            return None
        if verdict is not None and ctx.candidate is not None and ctx.candidate.stable:
            return None  # All traffic is there already: the promotion ends, then the edit counts.
        return take_down(
            ctx,
            Outcome.SUPERSEDE,
            Reason.SUPERSEDED,
            f"The handoff was edited while {ctx.model} was on its way; "
            "it starts again with what it says now.",
        )
    if ctx.attempt is not None and ctx.attempt.bundle == ctx.bundle:
        asked = ctx.handoff.annotations.get(names.ANNOTATION_RETRY) == ctx.attempt.name
        if not asked or ctx.state.phase is Phase.PROMOTED or rejected(ctx, ctx.bundle):
            return None
        if ctx.stable is not None and ctx.stable.bundle == ctx.bundle:
            return None
        return _create(ctx)
    if ctx.stable is not None and ctx.stable.bundle == ctx.bundle:
        return None
    return _create(ctx)


def settled(ctx: Context) -> bool:
    """Whether what the handoff asks for is what serves, without an attempt of its own."""
    return (
        ctx.handoff.spec is not None
        and ctx.stable is not None
        and ctx.stable.bundle == ctx.bundle
        and not ctx.active
    )


def _create(ctx: Context) -> Move:
    spec, handoff = ctx.handoff.spec, ctx.handoff
    if spec is None:
        raise ValueError("no valid spec")
    stable = ctx.stable
    reference = spec.baseline.workload_ref if spec.baseline else None
    expected = spec.baseline.expected_revision if spec.baseline else None
    if expected and (stable is None or names.revision_label(expected) != stable.revision):
        live = stable.revision if stable else "nothing"
        return Move(
            reason=Reason.BASELINE_CHANGED,
            sentence=f"spec.baseline.expectedRevision: is not what serves; got {expected}, "
            f"live is {live}. Compare with what serves now, then edit it.",
            stalled=True,
        )
    if stable is not None and stable.revision == names.revision_label(ctx.revision):
        kind = KIND_REFRESH
    elif stable is not None:
        kind = KIND_ROLLOUT
    elif reference is not None:
        found = ctx.snapshot.workloads.get(reference.name)
        if found is None or found.managed:
            return Move(
                reason=Reason.BASELINE_MISSING,
                sentence=f"spec.baseline.workloadRef.name: no such Deployment in namespace "
                f"{handoff.namespace}; got {reference.name}. Create it, or correct the name.",
                stalled=True,
            )
        kind = KIND_ROLLOUT
    elif spec.rollout.initial == "RequireBaseline":
        return Move(
            reason=Reason.BASELINE_MISSING,
            sentence="Nothing is stable yet and rollout.initial is RequireBaseline: "
            "name a Deployment in spec.baseline.workloadRef.",
            stalled=True,
        )
    else:
        kind = KIND_INITIAL
    route = ctx.snapshot.route
    if ctx.snapshot.conflicting_routes and not (route and route.ours):
        others = ", ".join(ctx.snapshot.conflicting_routes[:3])
        return Move(
            reason=Reason.ROUTE_CONFLICT,
            sentence=f"Another HTTPRoute has the same gateway, host and path: {others}. "
            "Remove it, or change rollout.route.",
            stalled=True,
        )
    ordinal = ctx.attempt.ordinal + 1 if ctx.attempt else 1
    return Move(
        CreateAttempt(
            name=names.attempt_name(handoff.name, handoff.uid, ctx.bundle, ordinal),
            bundle=ctx.bundle,
            revision=ctx.revision,
            ordinal=ordinal,
            kind=kind,
            spec=spec,
            baseline=compared(ctx, spec, kind),
        ),
        reason=Reason.PENDING,
        sentence=f"New attempt for {spec.candidate.model.name} {spec.candidate.model.version}.",
    )


def _invalid(ctx: Context) -> Move | None:
    message = "; ".join(ctx.handoff.errors[:3])
    if ctx.active and ctx.attempt is not None:
        # A policy that changes does not reach an attempt under way; an edit ends it.
        if ctx.attempt.bundle == ctx.bundle or ctx.state.verdict is not None:
            return None
        return take_down(
            ctx,
            Outcome.SUPERSEDE,
            Reason.SPEC_INVALID,
            f"The handoff was edited into something invalid: {message}",
        )
    return Move(
        reason=Reason.SPEC_INVALID,
        sentence=message,
        stalled=True,
        events=(Event(Reason.SPEC_INVALID, message, warning=True),),
    )


def _adopted_by_route(ctx: Context) -> WorkloadView | None:
    adopted = ctx.adopted
    route = ctx.snapshot.route
    if adopted is None or route is None or ctx.service_of(adopted) not in route.backends:
        return None
    return adopted
