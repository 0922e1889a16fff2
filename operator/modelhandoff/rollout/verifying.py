"""Verification before anything serves: one Job, its report, and what follows from it. Pure.

The Job checks the bundle before a pod of the candidate exists. What it found is stored in the
attempt before it is judged, so that neither a restart nor a deleted pod loses or repeats it.
"""

from __future__ import annotations

from collections.abc import Iterable

from modelhandoff.api import names
from modelhandoff.api.checks import (
    ACCEPTANCE_CHECKS,
    ARTIFACT_CHECKS,
    CONTRACT_CHECKS,
    GOVERNANCE_CHECKS,
    CheckName,
    CheckState,
    Unreadable,
    read_receipt,
    verdict_of,
)
from modelhandoff.api.verification import job_budget
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
from modelhandoff.rollout.tenant_jobs import condition

Condition = tuple[str, str, str]
"""Status, reason and message."""

_FAMILIES: tuple[tuple[tuple[CheckName, ...], Reason], ...] = (
    (ARTIFACT_CHECKS, Reason.ARTIFACT_REFUSED),
    (CONTRACT_CHECKS, Reason.CONTRACT_BROKEN),
    (ACCEPTANCE_CHECKS, Reason.ACCEPTANCE_FAILED),
    (GOVERNANCE_CHECKS, Reason.GOVERNANCE_INCOMPLETE),
)
_NOT_TO_BLAME = "This is not the model's fault. Retry when the cause is gone."


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
        return take_down(ctx, Outcome.REJECT, _family(str(first.get("name"))), line + more)
    return take_down(
        ctx, Outcome.INCONCLUSIVE, Reason.CHECK_INCONCLUSIVE, f"{line}. {_NOT_TO_BLAME}"
    )


def _first(ctx: Context, state: str) -> dict[str, object]:
    return dict(next(check for check in ctx.state.checks if check.get("state") == state))


def _family(name: str) -> Reason:
    found = (reason for family, reason in _FAMILIES if name in family)
    return next(found, Reason.ARTIFACT_REFUSED)


def _not_told(ctx: Context, problem: str) -> Move:
    return take_down(
        ctx,
        Outcome.INCONCLUSIVE,
        Reason.REPORT_UNREADABLE,
        f"The verification Job left no usable report: {cut(problem, 300)}. {_NOT_TO_BLAME}",
    )


def _without_report(ctx: Context, job: JobView, sentence: str) -> Move:
    """The Job has not said anything yet: wait within its budgets, or end the attempt."""
    pod = job.pod
    if pod is not None and pod.init_exit_code == FETCH_MISMATCH:
        return take_down(ctx, Outcome.REJECT, Reason.ARTIFACT_MISMATCH, cut(pod.init_message, 500))
    if job.failed:
        unfetched = pod is not None and pod.init_exit_code not in (None, 0)
        reason = Reason.ARTIFACT_UNAVAILABLE if unfetched else Reason.VERIFICATION_NOT_RUN
        message = cut(job.message or "no word why", 400)
        return _gave_up(ctx, reason, f"The verification Job {job.name} failed: {message}")
    if pod is not None:
        problem = without_room(ctx, pod) or without_image(ctx, pod) or without_claim(ctx, pod)
        if problem is not None:
            return _wait(ctx, problem)
    left = ctx.left(job.started_at or ctx.state.phase_since, job_budget(ctx.spec))
    if left <= 0:
        said = f"The verification Job {job.name} has not ended in time: {_last_words(job, pod)}."
        return _gave_up(ctx, Reason.VERIFICATION_NOT_RUN, said)
    return Move(reason=Reason.VERIFYING, sentence=sentence, wait=left)


def _last_words(job: JobView, pod: PodView | None) -> str:
    if job.message:
        return cut(job.message, 300)
    return "no pod of it was made" if pod is None else "it is still at work"


def _wait(ctx: Context, problem: Problem) -> Move:
    left = problem.left
    if left <= 0:
        return _gave_up(ctx, problem.reason, problem.message)
    said = f"{problem.message} Giving up in {left:.0f} s."
    return Move(reason=problem.reason, sentence=said, wait=left)


def _gave_up(ctx: Context, reason: str, said: str) -> Move:
    ended = said if said.endswith((".", "…")) else f"{said}."
    return take_down(ctx, Outcome.INCONCLUSIVE, reason, f"{ended} {_NOT_TO_BLAME}")


# What the conditions say


def artifacts_verified(ctx: Context) -> Condition:
    """Bytes, format, and that the model loads."""
    verdict = ctx.state.verdict
    if verdict is not None and verdict.reason == Reason.ARTIFACT_MISMATCH:
        return "False", str(Reason.ARTIFACT_MISMATCH), verdict.message
    if ctx.state.checks:
        return _of(ctx, ARTIFACT_CHECKS, Reason.ARTIFACT_REFUSED)
    if _asked(ctx):
        return _pending(ctx)
    pods = ctx.candidate.pods if ctx.candidate else ()
    if any(pod.init_exit_code == 0 for pod in pods) or ctx.state.warmed_up:
        return (
            "True",
            str(Reason.DIGESTS_MATCH),
            "Every artifact has its declared SHA-256. Nothing else of them is declared to be "
            "checked: see contracts, acceptance and governance.",
        )
    return "Unknown", str(Reason.NOT_STARTED), ""


def contracts_valid(ctx: Context) -> Condition:
    """Tensors, features, their values, and the API's schemas and examples."""
    return _gate(ctx, CONTRACT_CHECKS, Reason.CONTRACT_BROKEN, "contracts.data, tensors, schemas")


def acceptance_passed(ctx: Context) -> Condition:
    """Golden cases, and tests in images of the tenant's."""
    golden = _gate(ctx, ACCEPTANCE_CHECKS, Reason.ACCEPTANCE_FAILED, "acceptance")
    tests = None if ctx.attempt is None else condition(ctx.spec, ctx.state, reproduction=False)
    if tests is None:
        return golden
    if golden[0] == "True" and tests[0] == "True":
        return "True", golden[1], cut(f"{golden[2]} {tests[2]}", 900)
    return tests if golden[0] == "True" or golden[1] == Reason.NOT_DECLARED else golden


def reproduced(ctx: Context) -> Condition:
    """Whether the model was made again, with the same metrics."""
    if ctx.attempt is None:
        return "Unknown", str(Reason.NOT_STARTED), ""
    found = condition(ctx.spec, ctx.state, reproduction=True)
    nothing = "The handoff declares no acceptance.reproduce: nobody has made the model again."
    return found or ("Unknown", str(Reason.NOT_DECLARED), nothing)


def governance_complete(ctx: Context) -> Condition:
    """Model card, environment and bill of materials."""
    return _gate(ctx, GOVERNANCE_CHECKS, Reason.GOVERNANCE_INCOMPLETE, "governance")


def _gate(ctx: Context, family: Iterable[CheckName], failed: Reason, what: str) -> Condition:
    if ctx.state.checks:
        return _of(ctx, family, failed, what)
    if ctx.attempt is None or not _asked(ctx):
        nothing = "" if ctx.attempt is None else f"The handoff declares no {what} to be checked."
        reason = Reason.NOT_STARTED if ctx.attempt is None else Reason.NOT_DECLARED
        return "Unknown", str(reason), nothing
    return _pending(ctx)


def _asked(ctx: Context) -> bool:
    return ctx.attempt is not None and bool(ctx.attempt.verification)


def _pending(ctx: Context) -> Condition:
    if ctx.state.phase is Phase.VERIFYING:
        return "Unknown", str(Reason.VERIFYING), "The verification Job has not reported yet."
    verdict = ctx.state.verdict
    if verdict is not None and not verdict.outcome.promotes:
        return "Unknown", verdict.reason, verdict.message
    return "Unknown", str(Reason.NOT_STARTED), ""


def _of(ctx: Context, family: Iterable[CheckName], failed: Reason, what: str = "") -> Condition:
    """A condition from the stored checks of one family."""
    wanted = {str(name) for name in family}
    made = [check for check in ctx.state.checks if check.get("name") in wanted]
    for state, value, reason in (
        (CheckState.FAILED, "False", failed),
        (CheckState.INCONCLUSIVE, "Unknown", Reason.CHECK_INCONCLUSIVE),
    ):
        bad = next((check for check in made if check.get("state") == state), None)
        if bad is not None:
            return value, str(reason), f"{bad.get('name')}: {bad.get('message')}"
    if not made:
        return (
            "Unknown",
            str(Reason.NOT_DECLARED),
            f"The handoff declares no {what} to be checked.",
        )
    if all(check.get("state") == CheckState.SKIPPED for check in made):
        skipped = f"{made[0].get('name')}: {made[0].get('message')}"
        return "Unknown", str(Reason.CHECKS_SKIPPED), skipped
    told = " ".join(str(check.get("message", "")) for check in made)
    return "True", str(Reason.CHECKS_PASSED), cut(told, 900)
