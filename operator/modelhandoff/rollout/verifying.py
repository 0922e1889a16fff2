"""Verification before anything serves: one Job, its report, and what follows from it. Pure.

The Job checks the bundle before a pod of the candidate exists. What it found is stored in the
attempt before it is judged, so that neither a restart nor a deleted pod loses or repeats it.
"""

from __future__ import annotations

from modelhandoff.api import names
from modelhandoff.api.checks import (
    ACCEPTANCE_CHECKS,
    ARTIFACT_CHECKS,
    CONTRACT_CHECKS,
    GOVERNANCE_CHECKS,
    CheckName,
    Unreadable,
    read_receipt,
    verdict_of,
)
from modelhandoff.api.verification import BASELINE_ROLE, job_budget
from modelhandoff.api.vocabulary import Outcome, Phase, Reason
from modelhandoff.errors import cut
from modelhandoff.rollout.actions import Event, RecordChecks, RunVerification
from modelhandoff.rollout.context import Context, Move
from modelhandoff.rollout.diagnosis import (
    FETCH_MISMATCH,
    Problem,
    without_claim,
    without_image,
    without_room,
)
from modelhandoff.rollout.latching import take_down
from modelhandoff.rollout.snapshot import JobView, PodView

_FAMILIES: tuple[tuple[tuple[CheckName, ...], Reason], ...] = (
    (ARTIFACT_CHECKS, Reason.ARTIFACT_REFUSED),
    (CONTRACT_CHECKS, Reason.CONTRACT_BROKEN),
    (ACCEPTANCE_CHECKS, Reason.ACCEPTANCE_FAILED),
    (GOVERNANCE_CHECKS, Reason.GOVERNANCE_INCOMPLETE),
)
NOT_TO_BLAME = "This is not the model's fault. Retry when the cause is gone."


def verify(ctx: Context) -> Move | None:
    """The gate before people are asked: ``None`` once every check has passed, or none is asked."""
    attempt, state = ctx.attempt, ctx.state
    if attempt is None:
        raise ValueError("no attempt to verify")
    if not attempt.verification:
        return None
    if state.checks:
        return _judged(ctx)
    if state.checks_problem:
        return _not_told(ctx, state.checks_problem)
    name = names.verification_job_name(attempt.name)
    sentence = f"Checking {ctx.model} before a pod of it exists (Job {name})."
    if state.phase is not Phase.VERIFYING:
        entered = state.enter(Phase.VERIFYING, ctx.now, sentence, started_at=ctx.now)
        return Move(
            ctx.write(entered),
            reason=Reason.VERIFYING,
            sentence=sentence,
            events=(Event(Reason.VERIFYING, sentence),),
        )
    job = ctx.snapshot.jobs.get(name)
    if job is None:
        return Move(RunVerification(attempt.name, name), reason=Reason.VERIFYING, sentence=sentence)
    if job.receipt:
        return _record(ctx, job)
    return _without_report(ctx, job, sentence)


def _record(ctx: Context, job: JobView) -> Move:
    """The Job has ended well: store what it says, if it speaks of the spec that was frozen."""
    attempt = ctx.attempt
    if attempt is None:
        raise ValueError("no attempt to verify")
    try:
        receipt = read_receipt(job.receipt)
    except Unreadable as problem:
        return _not_told(ctx, str(problem))
    if receipt.spec != attempt.verification:
        return take_down(
            ctx,
            Outcome.REJECT,
            Reason.TAMPERED_SPEC,
            f"The verification Job {job.name} read another spec than this attempt's: "
            f"got {receipt.spec}; allowed {attempt.verification}. Somebody changed its ConfigMap.",
        )
    if ctx.left(ctx.state.phase_since, 2 * job_budget(ctx.spec)) <= 0:
        return _not_told(ctx, f"the log of pod {job.reporter} could not be read in time")
    noted = ctx.state.note(ctx.now, f"Checks: {receipt.verdict}. {receipt.message}".strip())
    return Move(
        RecordChecks(
            attempt.name, attempt.resource_version, noted.to_status(), job.reporter, job.receipt
        ),
        reason=Reason.VERIFYING,
        sentence=f"The checks of {ctx.model} are done: {receipt.verdict}.",
    )


def _judged(ctx: Context) -> Move | None:
    """What the stored checks come to."""
    verdict = verdict_of(str(check.get("state")) for check in ctx.state.checks)
    if verdict == "Passed":
        return None
    first = _first(ctx, verdict)
    line = f"{first.get('name')}: {first.get('message')}"
    if verdict == "Failed":
        others = sum(check.get("state") == verdict for check in ctx.state.checks) - 1
        more = f" {others} more checks failed: see the attempt's status.checks." if others else ""
        return take_down(ctx, Outcome.REJECT, family(str(first.get("name"))), line + more)
    return take_down(
        ctx, Outcome.INCONCLUSIVE, Reason.CHECK_INCONCLUSIVE, f"{line}. {NOT_TO_BLAME}"
    )


def _first(ctx: Context, state: str) -> dict[str, object]:
    return dict(next(check for check in ctx.state.checks if check.get("state") == state))


def family(name: str) -> Reason:
    """The reason that stands for a failed check."""
    found = (reason for checks, reason in _FAMILIES if name in checks)
    return next(found, Reason.ARTIFACT_REFUSED)


def _not_told(ctx: Context, problem: str) -> Move:
    return take_down(
        ctx,
        Outcome.INCONCLUSIVE,
        Reason.REPORT_UNREADABLE,
        f"The verification Job left no usable report: {cut(problem, 300)}. {NOT_TO_BLAME}",
    )


def _without_report(ctx: Context, job: JobView, sentence: str) -> Move:
    """The Job has not said anything yet: wait within its budgets, or end the attempt."""
    pod = job.pod
    if pod is not None and pod.init_exit_code == FETCH_MISMATCH:
        if f"fetch: {BASELINE_ROLE}" in pod.init_message:
            said = f"A file of the baseline has changed: {cut(pod.init_message, 400)}"
            return gave_up(ctx, Reason.ARTIFACT_UNAVAILABLE, said)
        return take_down(ctx, Outcome.REJECT, Reason.ARTIFACT_MISMATCH, cut(pod.init_message, 500))
    if job.failed:
        unfetched = pod is not None and pod.init_exit_code not in (None, 0)
        reason = Reason.ARTIFACT_UNAVAILABLE if unfetched else Reason.VERIFICATION_NOT_RUN
        message = cut(job.message or "no word why", 400)
        return gave_up(ctx, reason, f"The verification Job {job.name} failed: {message}")
    if pod is not None:
        problem = without_room(ctx, pod) or without_image(ctx, pod) or without_claim(ctx, pod)
        if problem is not None:
            return _wait(ctx, problem)
    left = ctx.left(job.started_at or ctx.state.phase_since, job_budget(ctx.spec))
    if left <= 0:
        said = f"The verification Job {job.name} has not ended in time: {_last_words(job, pod)}."
        return gave_up(ctx, Reason.VERIFICATION_NOT_RUN, said)
    return Move(reason=Reason.VERIFYING, sentence=sentence, wait=left)


def _last_words(job: JobView, pod: PodView | None) -> str:
    if job.message:
        return cut(job.message, 300)
    return "no pod of it was made" if pod is None else "it is still at work"


def _wait(ctx: Context, problem: Problem) -> Move:
    left = problem.left
    if left <= 0:
        return gave_up(ctx, problem.reason, problem.message)
    said = f"{problem.message} Giving up in {left:.0f} s."
    return Move(reason=problem.reason, sentence=said, wait=left)


def gave_up(ctx: Context, reason: str, said: str) -> Move:
    """End the attempt before any pod of it, and say that the model is not to blame."""
    ended = said if said.endswith((".", "…")) else f"{said}."
    return take_down(ctx, Outcome.INCONCLUSIVE, reason, f"{ended} {NOT_TO_BLAME}")
