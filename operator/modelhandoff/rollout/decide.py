"""The decision of one pass: a table of contents of the whole operator."""

from __future__ import annotations

import dataclasses

from modelhandoff.api import names
from modelhandoff.api.vocabulary import Outcome, Phase, Reason
from modelhandoff.rollout.actions import Collected, Decision
from modelhandoff.rollout.approving import answer, object_to
from modelhandoff.rollout.context import Context, Move, RolloutSettings
from modelhandoff.rollout.finish import promote, roll_back
from modelhandoff.rollout.latching import record_intent, take_down
from modelhandoff.rollout.lifecycle import delete, ensure_attempt, settled
from modelhandoff.rollout.progress import progress
from modelhandoff.rollout.provision import begin, provision, warm_up
from modelhandoff.rollout.reporting import keep_report
from modelhandoff.rollout.restoring import heal, restore_stable
from modelhandoff.rollout.snapshot import Snapshot
from modelhandoff.rollout.status import render
from modelhandoff.rollout.tidying import retire, tidy

_PHASES = {
    Phase.PENDING: begin,
    Phase.VERIFYING: begin,
    Phase.AWAITING_APPROVAL: begin,
    Phase.PROVISIONING: provision,
    Phase.WARMING_UP: warm_up,
    Phase.PROGRESSING: progress,
    Phase.PROMOTING: promote,
    Phase.ROLLING_BACK: roll_back,
}


def decide(
    snapshot: Snapshot,
    collected: Collected | None = None,
    settings: RolloutSettings | None = None,
) -> Decision:
    """The one next action for what is seen, and the status that is true after it.

    Pure and idempotent: the same snapshot gives the same decision, and a snapshot in which the
    action has already happened gives the next one.
    """
    ctx = Context(snapshot, settings or RolloutSettings(), collected)
    move = answer(ctx, _move(ctx))
    return Decision(
        action=move.action,
        status=render(ctx, move),
        sentence=move.sentence,
        urgent=move.urgent,
        events=move.events,
        requeue_after=None if move.action is not None else move.wait,
        errand=None if move.action is not None else keep_report(ctx),
    )


def _move(ctx: Context) -> Move:
    if ctx.handoff.deleting:
        return delete(ctx)
    recorded = restore_stable(ctx) or record_intent(ctx) or _abort(ctx) or object_to(ctx)
    if recorded is not None:
        return recorded
    wanted = ensure_attempt(ctx)
    if wanted is not None:
        return wanted
    if ctx.attempt is None or ctx.state.phase.terminal:
        return _at_rest(ctx)
    move = _PHASES[ctx.state.phase](ctx)
    return move if move.action is not None else _meanwhile(ctx, move)


def _meanwhile(ctx: Context, move: Move) -> Move:
    """While an attempt only waits, for people maybe for weeks, what serves is looked after.

    Before its first pod the attempt does not count: what was deleted by hand comes back as it does
    at rest. Old versions go on retiring all the time: the attempt may wait for their GPU.
    """
    if ctx.state.phase.before_pods and ctx.attempt is not None:
        others = tuple(a for a in ctx.snapshot.attempts if a.name != ctx.attempt.name)
        healed = heal(Context(dataclasses.replace(ctx.snapshot, attempts=others), ctx.settings))
        if healed is not None and healed.action is not None:
            return dataclasses.replace(
                move, action=healed.action, urgent=healed.urgent, events=healed.events
            )
    elif ctx.state.phase not in (Phase.PROVISIONING, Phase.WARMING_UP, Phase.PROGRESSING):
        return move
    chore, _ = retire(ctx)
    if chore is None:
        return move
    if chore.action is not None:
        return dataclasses.replace(move, action=chore.action, events=())
    waits = [wait for wait in (move.wait, chore.wait) if wait is not None]
    return dataclasses.replace(move, wait=min(waits))


def _abort(ctx: Context) -> Move | None:
    """A person's abort wins over everything, also over a promotion that has not happened yet."""
    attempt = ctx.attempt
    asked = ctx.handoff.annotations.get(names.ANNOTATION_ABORT)
    if attempt is None or asked != attempt.name or ctx.state.phase.terminal:
        return None
    verdict = ctx.state.verdict
    if verdict is not None and not verdict.outcome.promotes:
        return None
    if verdict is not None and ctx.candidate is not None and ctx.candidate.stable:
        return None
    return take_down(ctx, Outcome.ABORT, Reason.ABORTED, f"{ctx.model} was aborted by hand.")


def _at_rest(ctx: Context) -> Move:
    """Nothing is under way: tidy up, then sleep."""
    chore = tidy(ctx) if ctx.attempt is not None or ctx.handoff.spec is not None else None
    verdict = ctx.state.verdict
    reason, sentence = str(Reason.PENDING), ""
    if settled(ctx) or ctx.state.phase is Phase.PROMOTED:
        reason = str(Reason.STEADY)
    elif verdict is not None:
        reason, sentence = verdict.reason, verdict.message
    if chore is None:
        return Move(reason=reason, sentence=sentence)
    return Move(
        action=chore.action,
        reason=chore.reason if chore.stalled else reason,
        sentence=chore.sentence or sentence,
        wait=chore.wait,
        urgent=chore.urgent,
        stalled=chore.stalled,
        events=chore.events,
    )
