"""What protects traffic, asked before anything is judged: pods, route, baseline."""

from __future__ import annotations

from modelhandoff.api.vocabulary import Outcome, Reason
from modelhandoff.rollout.actions import ApplyRoute, Event
from modelhandoff.rollout.attempt import Stamp
from modelhandoff.rollout.context import Context, Move
from modelhandoff.rollout.latching import take_down
from modelhandoff.rollout.provision import prepare_route
from modelhandoff.rollout.stage import stage_name, weight_zero, withhold


def guard_pods(ctx: Context) -> Move | None:
    """Promise 1: a candidate without a ready pod has no weight, at the event."""
    candidate = ctx.candidate
    crashes = sum(p.restarts for p in candidate.pods) if candidate else 0
    under_traffic = crashes - ctx.state.crashes_before
    crashed = candidate is not None and any(p.crashed for p in candidate.pods) and under_traffic > 0
    if crashed and under_traffic > ctx.settings.crash_budget:
        last = next((p.crash_message for p in candidate.pods if p.crashed), "") if candidate else ""
        return take_down(
            ctx,
            Outcome.ROLLBACK,
            Reason.CANARY_UNSTABLE,
            f"The candidate's server crashed {under_traffic} times under traffic "
            f"(budget {ctx.settings.crash_budget}): {last or 'no termination message'}.",
        )
    ready = candidate.ready if candidate else 0
    if ready or ctx.state.withheld is not None:
        return None
    reason = Reason.CANARY_UNSTABLE if crashed else Reason.CANARY_LOST
    if ctx.candidate_weight:
        return weight_zero(ctx, reason, f"No pod of {ctx.model} is ready; its weight is 0 for now.")
    if ctx.state.stages:
        return withhold(ctx, reason, f"No pod of {ctx.model} is ready; its weight is 0 for now.")
    return None


def guard_route(ctx: Context) -> Move | None:
    """Weights that differ from the route's own stamp were changed by somebody else."""
    attempt, route = ctx.attempt, ctx.snapshot.route
    if attempt is None:
        return None
    if route is None:
        if not ctx.state.stages or ctx.baseline is None:
            return None
        return Move(
            ApplyRoute(
                "",
                ((ctx.service_of(ctx.baseline), 100),),
                str(Stamp(attempt.name, "back", 0)),
                f"{attempt.name}:{Outcome.ABORT}:{Reason.EXTERNAL_BRAKE}:"
                "Somebody deleted the route; taken as a request to stop.",
                ctx.spec,
            ),
            reason=Reason.EXTERNAL_BRAKE,
            sentence="Somebody deleted the route; all traffic goes back to the baseline.",
            urgent=True,
        )
    written = Stamp.parse(route.stamp)
    if written is None or written.attempt != attempt.name:
        return None
    now = ctx.candidate_weight
    if now == written.weight or (now > written.weight and written.step != stage_name(ctx)):
        return None  # As we wrote it; or taken back already, and only the write is missing.
    if now < written.weight:
        return take_down(
            ctx,
            Outcome.ABORT,
            Reason.EXTERNAL_BRAKE,
            f"Somebody lowered the candidate's weight from {written.weight} to {now} %; "
            "taken as a request to stop.",
        )
    if ctx.state.contested:
        return take_down(
            ctx,
            Outcome.INCONCLUSIVE,
            Reason.TRAFFIC_CONTESTED,
            f"Somebody raised the candidate's weight from {written.weight} to {now} % again; "
            "two writers cannot both be right. Find the other one, then retry.",
        )
    state = ctx.state.but(contested=1).note(
        ctx.now, f"Foreign weight {now} % instead of {written.weight} %; taken back once."
    )
    return Move(
        ctx.write(state),
        reason=Reason.TRAFFIC_CONTESTED,
        sentence=f"Somebody raised the weight to {now} %; taking it back to {written.weight} %.",
        events=(
            Event(Reason.TRAFFIC_CONTESTED, f"foreign weight {now} % taken back", warning=True),
        ),
    )


def guard_baseline(ctx: Context) -> Move | None:
    """Nothing rises and nothing is judged while the baseline itself cannot serve."""
    if ctx.baseline is None:
        return Move(
            reason=Reason.BASELINE_MISSING,
            sentence="The baseline's Deployment is gone; weights stay until it is back.",
            stalled=True,
        )
    if ctx.baseline.ready == 0:
        return Move(
            reason=Reason.BASELINE_NOT_READY,
            sentence=f"No pod of the baseline {ctx.baseline.name} is ready; "
            "weights stay as they are.",
        )
    return prepare_route(ctx)
