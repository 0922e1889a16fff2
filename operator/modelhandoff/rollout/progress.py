"""Progressing: real traffic, step by step.

The rules are asked in a fixed order and the first that wants something wins: what protects
traffic comes before what judges, what judges before what advances.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from modelhandoff.analysis.verdict import Decision as Judgement
from modelhandoff.analysis.verdict import MetricState, Verdict
from modelhandoff.api import names
from modelhandoff.api.vocabulary import Outcome, Reason
from modelhandoff.rollout.actions import ApplyRoute, Event, ReleaseWorkload, ScaleWorkload
from modelhandoff.rollout.attempt import Stamp, minute, span
from modelhandoff.rollout.context import Context, Move
from modelhandoff.rollout.diagnosis import diagnose
from modelhandoff.rollout.freezing import frozen, frozen_until
from modelhandoff.rollout.guards import guard_baseline, guard_pods, guard_route
from modelhandoff.rollout.hardware import other_hardware
from modelhandoff.rollout.ignorance import hold_on_ignorance, release
from modelhandoff.rollout.judging import judged_state
from modelhandoff.rollout.latching import latch, take_down, with_evidence
from modelhandoff.rollout.measure import Exclusion, Stage
from modelhandoff.rollout.provision import give_up
from modelhandoff.rollout.shares import on_probation, shares_of
from modelhandoff.rollout.snapshot import WorkloadView
from modelhandoff.rollout.stage import (
    MAX_STAGES,
    ignorant,
    needed_pods,
    paused,
    stage_name,
    stages_with,
    step_weight,
    verdict_of,
)


def progress(ctx: Context) -> Move:
    """One pass while the candidate may have traffic."""
    for rule in _RULES:
        move = rule(ctx)
        if move is not None:
            return move
    return collect(ctx)


def judge_harm(ctx: Context) -> Move | None:
    """The verdict of the engine against the candidate."""
    verdict = verdict_of(ctx)
    if verdict is None or verdict.decision is not Judgement.Rollback:
        return None
    when = "On probation: " if on_probation(ctx.spec, ctx.state) else ""
    return take_down(ctx, Outcome.ROLLBACK, str(verdict.reason), when + verdict.message)


def capacity(ctx: Context) -> Move | None:
    """Pods for this step's share, before its weight."""
    candidate, needed = ctx.candidate, needed_pods(ctx)
    if candidate is None:
        return Move(
            reason=Reason.CANARY_LOST,
            sentence=f"The Deployment {ctx.candidate_name} was deleted; abort or retry.",
            stalled=True,
        )
    if candidate.desired < needed:
        return Move(
            ScaleWorkload(candidate.name, candidate.resource_version, needed),
            reason=Reason.STEP_STARTED,
            sentence=f"Scaling {ctx.model} to {needed} pods for {step_weight(ctx)} %.",
        )
    if ctx.state.step_since is not None:
        return None
    if candidate.ready >= needed:
        return other_hardware(ctx) or _free(ctx, candidate)
    problem = diagnose(ctx, candidate)
    if problem is not None and problem.left <= 0:
        return give_up(ctx, problem)
    return Move(
        reason=problem.reason if problem else Reason.CANARY_NOT_READY,
        sentence=problem.message if problem else f"Waiting for {needed} pods of {ctx.model}.",
        wait=problem.left if problem else None,
    )


def _free(ctx: Context, candidate: WorkloadView) -> Move | None:
    """What is about to serve all traffic must not go away with the handoff."""
    if not candidate.owned or not on_probation(ctx.spec, ctx.state):
        return None
    return Move(
        ReleaseWorkload(candidate.name, candidate.resource_version),
        reason=Reason.PROBATION,
        sentence=f"All traffic is about to go to {ctx.model}.",
    )


def traffic(ctx: Context) -> Move | None:
    """The route carries the step's weight, the gateway has taken it, the clock starts."""
    attempt, route, baseline = ctx.attempt, ctx.snapshot.route, ctx.baseline
    if attempt is None or baseline is None or route is None:
        return None
    weight = step_weight(ctx)
    wanted = str(Stamp(attempt.name, stage_name(ctx), weight))
    if route.stamp != wanted or ctx.candidate_weight != weight:
        if paused(ctx) and ctx.candidate_weight < weight:
            freeze = frozen(ctx)
            left = (freeze.until - ctx.now).total_seconds() if freeze else None
            return Move(reason=_held_by(ctx), sentence=_paused_sentence(ctx), wait=left)
        return Move(
            ApplyRoute(
                route.resource_version,
                ((ctx.service_of(baseline), 100 - weight), (ctx.candidate_name, weight)),
                wanted,
                spec=ctx.spec,
            ),
            reason=Reason.STEP_STARTED,
            sentence=f"Step {ctx.state.step + 1}: {weight} % to {ctx.model}.",
        )
    if not route.landed:
        return Move(
            reason=Reason.TRAFFIC_PENDING,
            sentence=f"Waiting for the gateway to accept {weight} %: {route.message}",
        )
    if ctx.state.step_since is None:
        return _landed(ctx, weight)
    return None


def pause(ctx: Context) -> Move | None:
    """A pause that begins or ends is written down: it stops the clocks, never the judging."""
    state, wanted = ctx.state, paused(ctx)
    if wanted and state.paused_at is None:
        freeze, reason = frozen(ctx), _held_by(ctx)
        why = f"Paused, {frozen_until(freeze)}" if freeze else "Paused"
        state = state.but(paused_at=ctx.now).note(ctx.now, f"{why}.")
        return Move(
            ctx.write(with_evidence(ctx, state)),
            reason=reason,
            sentence=f"{why}: the weight stays, harm is still acted on.",
            events=(Event(reason, f"{why}; harm is still acted on"),),
        )
    if not wanted and state.paused_at is not None:
        total = state.paused_for(ctx.now).total_seconds()
        state = state.but(paused_at=None, paused_seconds=total).note(ctx.now, "Resumed.")
        return Move(
            ctx.write(with_evidence(ctx, state)),
            reason=Reason.RESUMED,
            sentence="Resumed.",
            events=(Event(Reason.RESUMED, "resumed"),),
        )
    return None


def manual_promotion(ctx: Context) -> Move | None:
    """A person promotes; refused while a guardrail fails or evidence of harm is growing."""
    attempt = ctx.attempt
    if attempt is None or ctx.handoff.annotations.get(names.ANNOTATION_PROMOTE) != attempt.name:
        return None
    if frozen(ctx) is not None:
        return None
    verdict = verdict_of(ctx)
    if verdict is None or ignorant(ctx):
        return None
    failing = [m.name for m in verdict.metrics if m.state is MetricState.Fail]
    if failing or verdict.total_e >= 3:
        if ctx.collected is not None and ctx.collected.cursor != _cursor(ctx):
            return None  # The checkpoint first.
        return Move(
            wait=ctx.collected.next_due if ctx.collected else None,
            reason=Reason.MANUAL_GATE,
            sentence="Promotion was asked for but is refused: "
            + (f"{', '.join(failing)} fails. " if failing else "evidence of harm is growing. ")
            + "Abort, or wait.",
        )
    return latch(
        ctx, Outcome.PROMOTE, Reason.MANUALLY_PROMOTED, f"Promoted by hand. {verdict.message}"
    )


def advance(ctx: Context) -> Move | None:
    """The verdict for the candidate: the next step, or all of the traffic."""
    verdict = verdict_of(ctx)
    if verdict is None or paused(ctx) or ignorant(ctx):
        return None
    if ctx.collected is None or not ctx.collected.step_looks:
        return None  # No step is passed on what was seen in the step before.
    if on_probation(ctx.spec, ctx.state):
        return _passed(ctx, verdict)
    last = ctx.state.step >= len(ctx.spec.rollout.steps) - 1
    if verdict.decision is Judgement.Promote and last:
        if ctx.spec.rollout.decision.promotion == "Manual":
            return None
        if ctx.spec.rollout.probation is not None:
            return _begin_probation(ctx, verdict, ctx.spec.rollout.probation)
        return latch(ctx, Outcome.PROMOTE, Reason.PROOFS_COMPLETE, verdict.message)
    if verdict.step_complete and not last:
        state = with_evidence(ctx, ctx.state).but(
            step=ctx.state.step + 1, step_since=None, step_looks=0, step_requests=0.0
        )
        shares = shares_of(ctx.spec)
        weight = shares[state.step].weight
        what = f"Step {state.step + 1} of {len(shares)}: {weight} %."
        return Move(
            ctx.write(state.note(ctx.now, what)),
            reason=Reason.STEP_STARTED,
            sentence=what,
            events=(Event(Reason.STEP_STARTED, f"{what} {verdict.message}"),),
        )
    if verdict.decision is Judgement.Inconclusive:
        if ctx.spec.rollout.decision.on_inconclusive == "Rollback":
            return take_down(ctx, Outcome.INCONCLUSIVE, Reason.MAX_DURATION, verdict.message)
        return None
    return None


def _begin_probation(ctx: Context, verdict: Verdict, probation: timedelta) -> Move:
    """All proofs are there: all traffic to the candidate, the old version warm beside it."""
    state = with_evidence(ctx, ctx.state).but(
        step=len(ctx.spec.rollout.steps),
        step_since=None,
        step_looks=0,
        step_requests=0.0,
        # The comparison is over; its evidence is kept, where it was read up to is not.
        cursor="",
    )
    what = f"All traffic for a probation of {span(probation)}. {verdict.message}"
    return Move(
        ctx.write(state.note(ctx.now, what)),
        reason=Reason.PROBATION,
        sentence=what,
        events=(Event(Reason.PROBATION, what),),
    )


def _passed(ctx: Context, verdict: Verdict) -> Move | None:
    """The probation is over and nothing was found against the candidate."""
    if not verdict.step_complete:
        return None
    took = span(ctx.now - ctx.state.step_since) if ctx.state.step_since else ""
    message = f"All proofs were shown, and {took} of probation passed. {verdict.message}"
    return latch(ctx, Outcome.PROMOTE, Reason.PROOFS_COMPLETE, message)


def _cursor(ctx: Context) -> str:
    """Where the checkpoint that is going on was read up to."""
    return judged_state(ctx.spec, ctx.state).cursor


def collect(ctx: Context) -> Move:
    """Nothing to do but to look: store the checkpoint, sleep until the next interval closes."""
    got, state = ctx.collected, ctx.state
    verdict = verdict_of(ctx)
    if got is not None and got.cursor and got.cursor != _cursor(ctx):
        return Move(
            ctx.write(with_evidence(ctx, state)),
            reason=str(verdict.reason) if verdict else Reason.COLLECTING,
            sentence=verdict.message if verdict else "Learning the bins of the drift metrics.",
        )
    wait = got.next_due if got else None
    if paused(ctx):
        return Move(reason=_held_by(ctx), sentence=_paused_sentence(ctx), wait=wait)
    if on_probation(ctx.spec, state):
        return _on_probation(ctx, verdict, wait)
    manual = (
        verdict is not None
        and verdict.decision is Judgement.Promote
        and ctx.spec.rollout.decision.promotion == "Manual"
    )
    if manual:
        return Move(
            reason=Reason.MANUAL_GATE,
            sentence="All proofs are complete; a person must promote.",
            wait=wait,
        )
    return Move(
        reason=str(verdict.reason) if verdict else Reason.COLLECTING,
        sentence=verdict.message if verdict else f"Collecting evidence on {ctx.model}.",
        wait=wait,
        stalled=verdict is not None and verdict.decision is Judgement.Inconclusive,
    )


def _on_probation(ctx: Context, verdict: Verdict | None, wait: float | None) -> Move:
    probation = ctx.spec.rollout.probation or timedelta()
    left = ctx.left(ctx.state.step_since, probation)
    # A deadline and no countdown: a status that says the same is not written again.
    until = ctx.now + timedelta(seconds=max(left, 0.0))
    ends = f"until {minute(until)}" if left > 0 else "until enough is known"
    return Move(
        reason=Reason.PROBATION,
        sentence=f"On probation {ends}. {verdict.message if verdict else ''}".strip(),
        wait=wait,
    )


_RULES: tuple[Callable[[Context], Move | None], ...] = (
    guard_pods,
    guard_route,
    judge_harm,
    guard_baseline,
    hold_on_ignorance,
    release,
    pause,
    capacity,
    traffic,
    manual_promotion,
    advance,
)


def _held_by(ctx: Context) -> Reason:
    return Reason.PAUSED if frozen(ctx) is None else Reason.FROZEN


def _paused_sentence(ctx: Context) -> str:
    freeze = frozen(ctx)
    why = f", {frozen_until(freeze)}" if freeze else ""
    return f"Paused at {ctx.candidate_weight} %{why}: the weight stays, harm is still acted on."


def _landed(ctx: Context, weight: int) -> Move:
    """The step's weight is real: its clock starts, and evidence with it."""
    start = ctx.now.timestamp()
    first = ctx.state.first_weight_at is None
    discard = ctx.spec.rollout.warmup.discard.total_seconds()
    interval = ctx.spec.monitoring.interval.total_seconds()
    window = Exclusion(
        start - interval,
        start + (discard if first else min(discard, interval)),
        "first requests" if first else "weight change",
    )
    state = ctx.state.but(
        step_since=ctx.now,
        first_weight_at=ctx.state.first_weight_at or ctx.now,
        max_weight=max(ctx.state.max_weight, weight),
        stages=stages_with(ctx.state, Stage(start, ctx.state.step, weight)),
        exclusions=(*ctx.state.exclusions, window)[-MAX_STAGES:],
        last_data=start,
    )
    what = f"{weight} % landed on {ctx.model}."
    return Move(
        ctx.write(with_evidence(ctx, state).note(ctx.now, what)),
        reason=Reason.TRAFFIC_ALIGNED,
        sentence=what,
        events=(Event(Reason.TRAFFIC_ALIGNED, what),),
    )
