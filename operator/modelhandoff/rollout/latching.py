"""Ending an attempt: traffic first, then the verdict, latched with its evidence in one write."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from modelhandoff.analysis.verdict import MetricVerdict
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.vocabulary import Outcome, Phase, Reason
from modelhandoff.errors import cut
from modelhandoff.rollout.actions import ApplyRoute, Collected, Event
from modelhandoff.rollout.attempt import AttemptState, Intent, Stamp, Verdict, Watched
from modelhandoff.rollout.context import KIND_ROLLOUT, Context, Move
from modelhandoff.rollout.history import told
from modelhandoff.rollout.inheriting import handed_on
from modelhandoff.rollout.shares import on_probation


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
    if not state.evidence and not state.history:
        state = state.but(history=handed_on(ctx))
    if on_probation(ctx.spec, state) and not outcome.promotes:
        state = state.but(metrics=merged(ctx, state.metrics))
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
        baseline_version=ctx.baseline.version if ctx.baseline else "",
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
    if on_probation(ctx.spec, state):
        return _watched(state, got)
    if got.evidence and not state.evidence:
        state = state.note(ctx.now, told(ctx.spec, got.history) or "Judging begins.")
    return state.but(
        evidence=got.evidence,
        cursor=got.cursor,
        bins=got.bins,
        history=got.history,
        looks=got.looks,
        step_looks=got.step_looks,
        step_requests=got.step_requests,
        last_data=got.last_data,
        metrics=tuple(summary(m, ctx.spec) for m in judged) or state.metrics,
    )


def _watched(state: AttemptState, got: Collected) -> AttemptState:
    """The state with what was learnt on probation; the comparison's evidence stays as it was."""
    return state.but(
        probation=Watched(got.evidence, got.cursor),
        looks=got.looks,
        step_looks=got.step_looks,
        step_requests=got.step_requests,
        last_data=got.last_data,
    )


def merged(ctx: Context, before: tuple[Mapping[str, Any], ...]) -> tuple[Mapping[str, Any], ...]:
    """What every metric last said: on probation some are judged anew, the others no more."""
    judged = ctx.collected.verdict.metrics if ctx.collected and ctx.collected.verdict else ()
    now = {m.name: summary(m, ctx.spec) for m in judged}
    return (*now.values(), *(m for m in before if m["name"] not in now))


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
