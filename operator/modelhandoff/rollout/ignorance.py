"""Promise 2: weights never rise on ignorance. Hold, then weight 0, then resume."""

from __future__ import annotations

from datetime import timedelta

from modelhandoff.analysis.verdict import Decision as Judgement
from modelhandoff.api.vocabulary import Reason
from modelhandoff.rollout.actions import Event
from modelhandoff.rollout.context import Context, Move
from modelhandoff.rollout.latching import with_evidence
from modelhandoff.rollout.shares import on_probation
from modelhandoff.rollout.stage import needed_pods, verdict_of, weight_zero


def hold_on_ignorance(ctx: Context) -> Move | None:
    """Promise 2: no answer holds the weight, and after its budget takes it to 0."""
    got, state = ctx.collected, ctx.state
    if got is None:
        return None
    silent = verdict_of(ctx)
    if silent is not None and silent.decision is Judgement.Hold and str(silent.reason) == "NoData":
        if state.withheld is None and not on_probation(ctx.spec, state):
            return weight_zero(ctx, Reason.NO_DATA, silent.message)
        return None
    if not got.unknown_reason:
        return None if got.fresh or state.unknown_since is None else _still_unknown(ctx)
    if state.unknown_since is None:
        state = state.but(
            unknown_since=ctx.now,
            unknown_reason=got.unknown_reason,
            unknown_message=got.unknown_message,
        ).note(ctx.now, f"No usable metrics: {got.unknown_message}")
        return Move(
            ctx.write(state),
            reason=got.unknown_reason,
            sentence=got.unknown_message,
            events=(Event(got.unknown_reason, got.unknown_message, warning=True),),
        )
    return _still_unknown(ctx)


def release(ctx: Context) -> Move | None:
    """What withheld the weight is gone: give the step its weight again."""
    state, withheld = ctx.state, ctx.state.withheld
    if withheld is None:
        return None
    if withheld.reason == Reason.NO_DATA:
        answered = ctx.collected is not None and ctx.collected.fresh
    else:
        answered = ctx.candidate is not None and ctx.candidate.ready >= needed_pods(ctx)
    if not answered:
        if ctx.candidate_weight:
            return weight_zero(ctx, withheld.reason, withheld.message)
        wait = ctx.collected.next_due if ctx.collected else None
        return Move(reason=withheld.reason, sentence=withheld.message, wait=wait)
    state = with_evidence(ctx, state).but(
        withheld=None,
        unknown_since=None,
        unknown_reason="",
        unknown_message="",
        step_since=None,
        step_looks=0,
        step_requests=0.0,
        last_data=ctx.now.timestamp(),
    )
    return Move(
        ctx.write(state.note(ctx.now, "The cause is gone; the step gets its weight again.")),
        reason=Reason.RESUMED,
        sentence=f"Resuming step {state.step + 1}.",
        events=(Event(Reason.RESUMED, "metrics and pods are back; the weight is restored"),),
    )


def _still_unknown(ctx: Context) -> Move | None:
    """Nothing is known since a while: hold, and when the budget is over take the weight to 0."""
    state, got = ctx.state, ctx.collected
    message = (got.unknown_message if got else "") or state.unknown_message
    budget = ctx.spec.rollout.on_metrics_unknown.hold_for
    left = ctx.left(state.unknown_since, budget)
    due = got.next_due if got else None
    if state.withheld is not None:
        return None
    if on_probation(ctx.spec, state):
        # It has shown its proofs: that nothing is known is no reason to move all traffic.
        return Move(
            reason=state.unknown_reason,
            sentence=f"No usable metrics: {message} All traffic stays on {ctx.model}; it is not "
            "promoted before they are back.",
            wait=due,
        )
    if left <= 0:
        return weight_zero(ctx, Reason.NO_DATA, _no_data(ctx, message, budget))
    return Move(
        reason=state.unknown_reason,
        sentence=f"No usable metrics: {message} Weights stay as they are; "
        f"in {left:.0f} s the weight goes to 0.",
        wait=left if due is None else min(left, due),
    )


def _no_data(ctx: Context, message: str, budget: timedelta) -> str:
    return (
        f"No usable metrics for {budget.total_seconds():.0f} s, so {ctx.model} gets no traffic "
        f"until they are back: {message}"
    )
