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
from modelhandoff.rollout.actions import ApplyRoute, Event, ScaleWorkload
from modelhandoff.rollout.attempt import AttemptState, Stamp, Withheld
from modelhandoff.rollout.capacity import canary_replicas
from modelhandoff.rollout.context import Context, Move
from modelhandoff.rollout.diagnosis import diagnose
from modelhandoff.rollout.finish import latch, take_down, with_evidence
from modelhandoff.rollout.measure import Exclusion, Stage
from modelhandoff.rollout.provision import give_up, prepare_route

MAX_STAGES = 60


def progress(ctx: Context) -> Move:
    """One pass while the candidate may have traffic."""
    for rule in _RULES:
        move = rule(ctx)
        if move is not None:
            return move
    return collect(ctx)


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
        return _weight_zero(
            ctx, reason, f"No pod of {ctx.model} is ready; its weight is 0 for now."
        )
    if ctx.state.stages:
        return _withhold(ctx, reason, f"No pod of {ctx.model} is ready; its weight is 0 for now.")
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
    if now == written.weight or (now > written.weight and written.step != _stage_name(ctx)):
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


def judge_harm(ctx: Context) -> Move | None:
    """The verdict of the engine against the candidate."""
    verdict = _verdict(ctx)
    if verdict is None or verdict.decision is not Judgement.Rollback:
        return None
    return take_down(ctx, Outcome.ROLLBACK, str(verdict.reason), verdict.message)


def hold_on_ignorance(ctx: Context) -> Move | None:
    """Promise 2: no answer holds the weight, and after its budget takes it to 0."""
    got, state = ctx.collected, ctx.state
    if got is None:
        return None
    silent = _verdict(ctx)
    if silent is not None and silent.decision is Judgement.Hold and str(silent.reason) == "NoData":
        if state.withheld is None:
            return _weight_zero(ctx, Reason.NO_DATA, silent.message)
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


def _still_unknown(ctx: Context) -> Move | None:
    """Nothing is known since a while: hold, and when the budget is over take the weight to 0."""
    state, got = ctx.state, ctx.collected
    message = (got.unknown_message if got else "") or state.unknown_message
    budget = ctx.spec.rollout.on_metrics_unknown.hold_for
    left = ctx.left(state.unknown_since, budget)
    due = got.next_due if got else None
    if state.withheld is not None:
        return None
    if left <= 0:
        return _weight_zero(ctx, Reason.NO_DATA, _no_data(ctx, message, budget))
    return Move(
        reason=state.unknown_reason,
        sentence=f"No usable metrics: {message} Weights stay as they are; "
        f"in {left:.0f} s the weight goes to 0.",
        wait=left if due is None else min(left, due),
    )


def release(ctx: Context) -> Move | None:
    """What withheld the weight is gone: give the step its weight again."""
    state, withheld = ctx.state, ctx.state.withheld
    if withheld is None:
        return None
    if withheld.reason == Reason.NO_DATA:
        answered = ctx.collected is not None and ctx.collected.fresh
    else:
        answered = ctx.candidate is not None and ctx.candidate.ready >= _needed(ctx)
    if not answered:
        if ctx.candidate_weight:
            return _weight_zero(ctx, withheld.reason, withheld.message)
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


def capacity(ctx: Context) -> Move | None:
    """Pods for this step's share, before its weight."""
    candidate, needed = ctx.candidate, _needed(ctx)
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
            sentence=f"Scaling {ctx.model} to {needed} pods for {_step_weight(ctx)} %.",
        )
    if candidate.ready >= needed or ctx.state.step_since is not None:
        return None
    problem = diagnose(ctx, candidate)
    if problem is not None and problem.left <= 0:
        return give_up(ctx, problem)
    return Move(
        reason=problem.reason if problem else Reason.CANARY_NOT_READY,
        sentence=problem.message if problem else f"Waiting for {needed} pods of {ctx.model}.",
        wait=problem.left if problem else None,
    )


def traffic(ctx: Context) -> Move | None:
    """The route carries the step's weight, the gateway has taken it, the clock starts."""
    attempt, route, baseline = ctx.attempt, ctx.snapshot.route, ctx.baseline
    if attempt is None or baseline is None or route is None:
        return None
    weight = _step_weight(ctx)
    wanted = str(Stamp(attempt.name, _stage_name(ctx), weight))
    if route.stamp != wanted or ctx.candidate_weight != weight:
        if _paused(ctx) and ctx.candidate_weight < weight:
            return Move(reason=Reason.PAUSED, sentence="Paused; weights stay as they are.")
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
    state, wanted = ctx.state, _paused(ctx)
    if wanted and state.paused_at is None:
        state = state.but(paused_at=ctx.now).note(ctx.now, "Paused.")
        return Move(
            ctx.write(with_evidence(ctx, state)),
            reason=Reason.PAUSED,
            sentence="Paused: the weight stays, harm is still acted on.",
            events=(Event(Reason.PAUSED, "paused; harm is still acted on"),),
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
    verdict = _verdict(ctx)
    if verdict is None or _ignorant(ctx):
        return None
    failing = [m.name for m in verdict.metrics if m.state is MetricState.Fail]
    if failing or verdict.total_e >= 3:
        if ctx.collected is not None and ctx.collected.cursor != ctx.state.cursor:
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
    verdict = _verdict(ctx)
    if verdict is None or _paused(ctx) or _ignorant(ctx):
        return None
    if ctx.collected is None or not ctx.collected.step_looks:
        return None  # No step is passed on what was seen in the step before.
    last = ctx.state.step >= len(ctx.spec.rollout.steps) - 1
    if verdict.decision is Judgement.Promote and last:
        if ctx.spec.rollout.decision.promotion == "Manual":
            return None
        return latch(ctx, Outcome.PROMOTE, Reason.PROOFS_COMPLETE, verdict.message)
    if verdict.step_complete and not last:
        state = with_evidence(ctx, ctx.state).but(
            step=ctx.state.step + 1, step_since=None, step_looks=0, step_requests=0.0
        )
        weight = ctx.spec.rollout.steps[state.step].weight
        what = f"Step {state.step + 1} of {len(ctx.spec.rollout.steps)}: {weight} %."
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


def collect(ctx: Context) -> Move:
    """Nothing to do but to look: store the checkpoint, sleep until the next interval closes."""
    got, state = ctx.collected, ctx.state
    verdict = _verdict(ctx)
    if got is not None and got.cursor and got.cursor != state.cursor:
        return Move(
            ctx.write(with_evidence(ctx, state)),
            reason=str(verdict.reason) if verdict else Reason.COLLECTING,
            sentence=verdict.message if verdict else "Learning the bins of the drift metrics.",
        )
    wait = got.next_due if got else None
    if _paused(ctx):
        return Move(reason=Reason.PAUSED, sentence=_paused_sentence(ctx), wait=wait)
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


def _verdict(ctx: Context) -> Verdict | None:
    return ctx.collected.verdict if ctx.collected else None


def _ignorant(ctx: Context) -> bool:
    """Whether the last question to the metric source got no usable answer."""
    fresh = ctx.collected is not None and ctx.collected.fresh
    return ctx.state.unknown_since is not None and not fresh


def _paused(ctx: Context) -> bool:
    spec, attempt = ctx.handoff.raw_spec, ctx.attempt
    asked = ctx.handoff.annotations.get(names.ANNOTATION_PAUSE)
    return bool(spec.get("suspend")) or (
        asked is not None and attempt is not None and asked == attempt.name
    )


def _paused_sentence(ctx: Context) -> str:
    return f"Paused at {ctx.candidate_weight} %: the weight stays, harm is still acted on."


def _step_weight(ctx: Context) -> int:
    return ctx.spec.rollout.steps[ctx.state.step].weight


def _stage_name(ctx: Context) -> str:
    """What the stamp of this step says; another name once a foreign weight was taken back."""
    step, contested = ctx.state.step, ctx.state.contested
    return f"{step}+{contested}" if contested else str(step)


def _needed(ctx: Context) -> int:
    return canary_replicas(_step_weight(ctx), ctx.spec.candidate.serving.replicas)


def _no_data(ctx: Context, message: str, budget: timedelta) -> str:
    return (
        f"No usable metrics for {budget.total_seconds():.0f} s, so {ctx.model} gets no traffic "
        f"until they are back: {message}"
    )


def _weight_zero(ctx: Context, reason: str, message: str) -> Move | None:
    """Take the weight to 0 for now; the attempt goes on. Recorded after it has happened."""
    attempt, route, baseline = ctx.attempt, ctx.snapshot.route, ctx.baseline
    if attempt is None or route is None:
        return None
    if not ctx.candidate_weight:
        return _withhold(ctx, reason, message)
    if baseline is None or baseline.ready == 0:
        return None
    return Move(
        ApplyRoute(
            route.resource_version,
            ((ctx.service_of(baseline), 100),),
            str(Stamp(attempt.name, "hold", 0)),
            spec=ctx.spec,
        ),
        reason=reason,
        sentence=message,
        urgent=True,
    )


def _withhold(ctx: Context, reason: str, message: str) -> Move:
    start = ctx.now.timestamp()
    state = ctx.state.but(
        withheld=Withheld(reason, message, ctx.now),
        stages=_stages(ctx.state, Stage(start, ctx.state.step, 0)),
        step_since=None,
    )
    return Move(
        ctx.write(state.note(ctx.now, message)),
        reason=reason,
        sentence=message,
        events=(Event(reason, message, warning=True),),
    )


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
        stages=_stages(ctx.state, Stage(start, ctx.state.step, weight)),
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


def _stages(state: AttemptState, stage: Stage) -> tuple[Stage, ...]:
    """The landed weights with one more; after very many, only the newest are kept."""
    return (*state.stages, stage)[-MAX_STAGES:]
