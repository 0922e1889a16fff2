"""What the candidate's pods answered before any traffic: stored first, then judged. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelhandoff.api.checks import (
    CANARY_CHECKS,
    CheckState,
    Unreadable,
    read_canary_report,
    verdict_of,
)
from modelhandoff.api.vocabulary import Outcome, Reason
from modelhandoff.errors import cut
from modelhandoff.rollout.context import Context, Move
from modelhandoff.rollout.latching import take_down
from modelhandoff.rollout.snapshot import JobView
from modelhandoff.rollout.verifying import NOT_TO_BLAME, family

_NAMES = frozenset(str(name) for name in CANARY_CHECKS)


def canary(ctx: Context, job: JobView | None) -> Move | None:
    """Keep the warm-up Job's report, then act on it; ``None`` when it is not there, or all is well.

    A Job that ends without a report has not got that far: nothing is known of the promises.
    """
    attempt = ctx.attempt
    if attempt is None:
        raise ValueError("no attempt to warm up")
    stored = _stored(ctx)
    if stored:
        return _judged(ctx, stored)
    if job is None or not job.receipt:
        return None
    try:
        report = read_canary_report(job.receipt)
    except Unreadable as problem:
        return no_report(ctx, str(problem))
    if report.promises != attempt.promises:
        return take_down(
            ctx,
            Outcome.REJECT,
            Reason.TAMPERED_SPEC,
            f"The warm-up Job {job.name} checked something else than this attempt promises: "
            f"got {report.promises}; allowed {attempt.promises}. Somebody else made that Job.",
        )
    made = [check for check in report.checks if check.name in _NAMES]
    if not made:
        return no_report(ctx, "it names no check of the pods")
    verdict = verdict_of(check.state for check in made)
    told = tuple(check.model_dump(mode="json", by_alias=True) for check in made)
    others = tuple(check for check in ctx.state.checks if check.get("name") not in _NAMES)
    state = ctx.state.note(ctx.now, f"What the pods promise: {verdict}.")
    return Move(
        ctx.write(state.but(checks=(*others, *told))),
        reason=Reason.WARMING_UP,
        sentence=f"The pods of {ctx.model} were asked what they promise: {verdict}.",
    )


def canary_passed(ctx: Context) -> bool:
    """Whether the pods have kept what is promised, as far as that is stored."""
    stored = _stored(ctx)
    return bool(stored) and verdict_of(str(c.get("state")) for c in stored) == "Passed"


def no_report(ctx: Context, problem: str) -> Move:
    """The Job has ended and nobody knows what the pods answered."""
    return take_down(
        ctx,
        Outcome.INCONCLUSIVE,
        Reason.REPORT_UNREADABLE,
        f"The warm-up Job left no usable report: {cut(problem, 300)}. {NOT_TO_BLAME}",
    )


def _stored(ctx: Context) -> list[Mapping[str, Any]]:
    return [check for check in ctx.state.checks if check.get("name") in _NAMES]


def _judged(ctx: Context, stored: list[Mapping[str, Any]]) -> Move | None:
    for state, outcome in (
        (CheckState.FAILED, Outcome.REJECT),
        (CheckState.INCONCLUSIVE, Outcome.INCONCLUSIVE),
    ):
        bad = next((check for check in stored if check.get("state") == state), None)
        if bad is not None:
            name = str(bad.get("name"))
            line = f"{name}: {bad.get('message')}"
            if outcome is Outcome.REJECT:
                return take_down(ctx, outcome, family(name), line)
            return take_down(ctx, outcome, Reason.CHECK_INCONCLUSIVE, f"{line}. {NOT_TO_BLAME}")
    return None
