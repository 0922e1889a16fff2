"""The tenant's own Jobs before anything serves: tests, and making the model again. Pure.

One at a time: a training is timed, and tests beside it would take its CPU. That a Job was begun,
and what came of it, is stored before anything follows: a restart repeats none and loses none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from modelhandoff.api import names
from modelhandoff.api.acceptance_jobs import (
    JUNIT_FILE,
    METRICS_FILE,
    RESULTS_DIR,
    AcceptanceTest,
    Reproduction,
    TestEvidence,
)
from modelhandoff.api.checks import CheckState, Unreadable
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.job_results import MAX_LOG_TAIL, JobReport, read_report
from modelhandoff.api.tenant_jobs import TenantJob, tenant_job_budget, tenant_jobs
from modelhandoff.api.vocabulary import Outcome, Phase, Reason
from modelhandoff.errors import cut
from modelhandoff.rollout.actions import Event, RecordJob, RunTenantJob, WriteAttempt
from modelhandoff.rollout.attempt import AttemptState, moment, stamp
from modelhandoff.rollout.context import Context, Move
from modelhandoff.rollout.diagnosis import FETCH_MISMATCH, without_image, without_room
from modelhandoff.rollout.latching import take_down
from modelhandoff.rollout.snapshot import JobView, PodView, WorkView
from modelhandoff.rollout.verifying import gave_up

_RUNNING = "Running"
_NEVER_STARTS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
"""What the kubelet says of a container that it will never start: a root user, mostly."""
_GRACE = timedelta(minutes=1)
"""For a container's own report to be read, and for the kubelet's second thoughts."""
_MOST = 700
_ROUNDING = 1 + 1e-9
"""A difference of exactly the tolerance passes, whatever binary fractions make of it."""


@dataclass(frozen=True, slots=True)
class _Result:
    """What came of one Job."""

    state: CheckState
    reason: Reason
    message: str
    numbers: Mapping[str, float] = field(default_factory=dict)


def run_tenant_jobs(ctx: Context) -> Move | None:
    """The gate after the checks: ``None`` once every Job has passed, or none is asked for."""
    for one in tenant_jobs(ctx.spec):
        stored = _stored(ctx, one)
        if stored is None:
            return _begin(ctx, one)
        if stored.get("state") == _RUNNING:
            return _attend(ctx, one, stored)
        if stored.get("state") != CheckState.PASSED:
            return _judged(ctx, stored)
    return None


def running_jobs(ctx: Context) -> tuple[str, ...]:
    """Jobs of the tenant's that are there and have not ended: after a verdict nobody waits."""
    if ctx.attempt is None:
        return ()
    every = (names.tenant_job_name(ctx.attempt.name, one.suffix) for one in tenant_jobs(ctx.spec))
    found = (ctx.snapshot.jobs.get(name) for name in every)
    return tuple(job.name for job in found if job and not (job.succeeded or job.failed))


def _stored(ctx: Context, one: TenantJob) -> Mapping[str, Any] | None:
    return next((job for job in ctx.state.jobs if job.get("name") == one.name), None)


def _name(ctx: Context, one: TenantJob) -> str:
    if ctx.attempt is None:
        raise ValueError("no attempt to run Jobs for")
    return names.tenant_job_name(ctx.attempt.name, one.suffix)


def _sentence(ctx: Context, one: TenantJob) -> str:
    what = "Making" if isinstance(one.asked, Reproduction) else f"Running {one.name} of"
    again = " again" if isinstance(one.asked, Reproduction) else ""
    return f"{what} {ctx.model}{again} before a pod of it exists (Job {_name(ctx, one)})."


def _begin(ctx: Context, one: TenantJob) -> Move:
    """Note that it begins: its budget runs from here, whatever becomes of the Job."""
    sentence = _sentence(ctx, one)
    begun = {"name": one.name, "job": _name(ctx, one), "state": _RUNNING, "since": stamp(ctx.now)}
    state = ctx.state.but(jobs=(*ctx.state.jobs, begun))
    if state.phase is Phase.VERIFYING:
        state = state.note(ctx.now, sentence)
    else:
        state = state.enter(Phase.VERIFYING, ctx.now, sentence)
    return Move(
        ctx.write(state),
        reason=Reason.VERIFYING,
        sentence=sentence,
        events=(Event(Reason.VERIFYING, sentence),),
    )


def _attend(ctx: Context, one: TenantJob, stored: Mapping[str, Any]) -> Move:
    """Make the Job, wait for it, or store what came of it."""
    name, sentence = _name(ctx, one), _sentence(ctx, one)
    total = tenant_job_budget(ctx.spec, one)
    since = moment(str(stored.get("since") or ""))
    left = ctx.left(since, total)
    job = ctx.snapshot.jobs.get(name)
    if job is None:
        # Not yet made, or deleted by somebody: made again as long as there is time for it.
        if ctx.left(since, total - one.budget) > 0:
            action = RunTenantJob(ctx.attempt.name if ctx.attempt else "", name, one.suffix)
            return Move(action, reason=Reason.VERIFYING, sentence=sentence)
        said = f"the Job {name} is gone, and there is no time to run it once more"
        return _store(ctx, stored, _nobodys_fault(said))
    found = _result(ctx, one, job)
    if found is not None:
        return _store(ctx, stored, found, job)
    if left <= 0:
        said = f"the Job {name} has not ended in time: {_last_words(job)}"
        return _store(ctx, stored, _nobodys_fault(said))
    work = job.work
    if work is not None and work.exit_code is None:
        left = min(left, max(1.0, ctx.left(work.started_at, one.budget)))
    stuck = _stuck(ctx, job.pod) if job.pod is not None else None
    if stuck is not None:
        reason, said, patience = stuck
        if patience <= 0:
            return _store(ctx, stored, _Result(CheckState.INCONCLUSIVE, reason, said))
        said = f"{one.name}: {said} Giving up in {patience:.0f} s."
        return Move(reason=reason, sentence=said, wait=min(left, patience))
    return Move(reason=Reason.VERIFYING, sentence=sentence, wait=left)


def _store(
    ctx: Context, stored: Mapping[str, Any], found: _Result, job: JobView | None = None
) -> Move:
    """Store a result, before it is judged.

    The kubelet keeps the end of a log in the pod's status where a container failed; of one that
    ended well it has to be read.
    """
    said = job.work.said if job is not None and job.work is not None else ""
    told = {
        **stored,
        "state": str(found.state),
        "reason": str(found.reason),
        "message": cut(found.message, _MOST),
        "numbers": dict(found.numbers),
        **({"log": said[-MAX_LOG_TAIL:]} if said else {}),
    }
    jobs = tuple(told if one is stored else one for one in ctx.state.jobs)
    line = f"{told['name']}: {found.state}. {found.message}"
    write = ctx.write(ctx.state.but(jobs=jobs).note(ctx.now, line))
    action: WriteAttempt | RecordJob = write
    if job is not None and job.reporter:
        action = RecordJob(
            write.name, write.resource_version, write.status, told["name"], job.reporter
        )
    return Move(action, reason=Reason.VERIFYING, sentence=cut(line, _MOST))


def _judged(ctx: Context, stored: Mapping[str, Any]) -> Move:
    """A stored result that is no pass ends the attempt."""
    line = f"{stored.get('name')}: {stored.get('message')}"
    reason = str(stored.get("reason") or Reason.JOB_NOT_RUN)
    if stored.get("state") == CheckState.FAILED:
        return take_down(ctx, Outcome.REJECT, reason, line)
    return gave_up(ctx, reason, line)


# What a Job comes to


def _result(ctx: Context, one: TenantJob, job: JobView) -> _Result | None:
    """What came of it; ``None`` while it may still come to something."""
    pod, work = job.pod, job.work
    if pod is not None and pod.init_exit_code == FETCH_MISMATCH:
        return _Result(CheckState.FAILED, Reason.ARTIFACT_MISMATCH, cut(pod.init_message, 500))
    if work is not None:
        slow = _too_slow(ctx, one, work)
        if slow is not None:
            return slow
    if work is not None and work.exit_code is not None:
        if work.exit_code != 0:
            return _broke(one, work)
        if job.receipt:
            return _reported(one, work, job.receipt)
    if not job.failed:
        return None
    unfetched = work is None and pod is not None and pod.init_exit_code not in (None, 0)
    reason = Reason.ARTIFACT_UNAVAILABLE if unfetched else Reason.JOB_NOT_RUN
    said = f"the Job {job.name} failed: {cut(job.message or 'no word why', 400)}"
    return _Result(CheckState.INCONCLUSIVE, reason, said)


def _seconds(work: WorkView) -> float:
    if work.started_at is None or work.ended_at is None:
        return 0.0
    return max(0.0, (work.ended_at - work.started_at).total_seconds())


def _too_slow(ctx: Context, one: TenantJob, work: WorkView) -> _Result | None:
    """A container that runs, or has run, for longer than it may."""
    end = work.ended_at or ctx.now
    took = (end - work.started_at).total_seconds() if work.started_at else 0.0
    allowed = one.budget.total_seconds()
    if took <= allowed:
        return None
    reproducing = isinstance(one.asked, Reproduction)
    still = "ran" if work.ended_at else "has been running"
    return _Result(
        CheckState.FAILED,
        Reason.REPRODUCTION_TOO_SLOW if reproducing else Reason.TEST_TOO_SLOW,
        f"it {still} for {took:.0f} s; allowed {allowed:.0f} s",
        {"seconds": took, "allowedSeconds": allowed},
    )


def _broke(one: TenantJob, work: WorkView) -> _Result:
    reproducing = isinstance(one.asked, Reproduction)
    took = _seconds(work)
    tail = f" Its last words: {_end_of(work.said)}" if work.said else " It said nothing."
    return _Result(
        CheckState.FAILED,
        Reason.REPRODUCTION_FAILED if reproducing else Reason.TEST_FAILED,
        f"exit code {work.exit_code} after {took:.0f} s.{tail}",
        {"exitCode": float(work.exit_code or 0), "seconds": took},
    )


def _end_of(log: str, limit: int = 500) -> str:
    """The end of a log as one line: what went wrong stands there, not at its beginning."""
    text = " ".join(log.split())
    return text if len(text) <= limit else f"…{text[-limit + 1 :]}"


def _reported(one: TenantJob, work: WorkView, receipt: str) -> _Result:
    try:
        report = read_report(receipt)
    except Unreadable as problem:
        return _nobodys_fault(f"its results were not collected: {problem}")
    took = _seconds(work)
    if report.problem:
        return _Result(
            CheckState.FAILED, Reason.JOB_REPORT_BROKEN, report.problem, {"seconds": took}
        )
    if isinstance(one.asked, Reproduction):
        return _compared(one.asked, report, took)
    return _counted(one.asked, report, took)


def _counted(asked: AcceptanceTest, report: JobReport, took: float) -> _Result:
    """Exit code 0, and what the JUnit report says."""
    numbers = {**report.numbers, "seconds": took}
    if not report.found:
        if asked.evidence is TestEvidence.EXIT_CODE:
            return _passed(f"exit code 0 after {took:.0f} s; it left no report", numbers)
        said = (
            f"exit code 0, but no report in {RESULTS_DIR}/{JUNIT_FILE}: nobody knows whether a "
            "test was run. Write one, or set evidence: ExitCode"
        )
        return _Result(CheckState.FAILED, Reason.TEST_RAN_NOTHING, said, numbers)
    tests, skipped, failures, errors = (
        int(report.numbers.get(key, 0)) for key in ("tests", "skipped", "failures", "errors")
    )
    if failures + errors:
        said = f"{failures + errors} of {tests} tests failed, although it exited with 0"
        more = f": {report.first}" if report.first else ""
        return _Result(CheckState.FAILED, Reason.TEST_FAILED, said + more, numbers)
    if tests - skipped <= 0:
        skips = f" ({skipped} were skipped)" if skipped else ""
        said = f"exit code 0, but it ran no test{skips}"
        return _Result(CheckState.FAILED, Reason.TEST_RAN_NOTHING, said, numbers)
    skips = f", {skipped} skipped" if skipped else ""
    return _passed(f"{tests - skipped} tests passed{skips} in {took:.0f} s", numbers)


def _compared(asked: Reproduction, report: JobReport, took: float) -> _Result:
    """What came out again, beside what is declared."""
    numbers = {"seconds": took, **report.numbers}
    where = f"{RESULTS_DIR}/{METRICS_FILE}"
    if not report.found:
        said = f"exit code 0, but no metrics in {where}"
        return _Result(CheckState.FAILED, Reason.JOB_REPORT_BROKEN, said, numbers)
    missing = [m.name for m in asked.metrics if m.name not in report.numbers]
    if missing:
        said = (
            f"{where}: a metric is missing; got no {missing[0]}; allowed a number for each metric"
        )
        return _Result(CheckState.FAILED, Reason.JOB_REPORT_BROKEN, said, numbers)
    off = [
        f"{m.name}: got {report.numbers[m.name]:.6g}; allowed {m.value:.6g} +- {asked.allowed(m):g}"
        for m in asked.metrics
        if abs(report.numbers[m.name] - m.value) > asked.allowed(m) * _ROUNDING
    ]
    if off:
        said = f"{'; '.join(off)} ({len(off)} of {len(asked.metrics)} metrics are off)"
        return _Result(CheckState.FAILED, Reason.REPRODUCTION_DIFFERS, said, numbers)
    told = ", ".join(f"{m.name} {report.numbers[m.name]:.6g}" for m in asked.metrics)
    said = f"made again in {took:.0f} s: {told}"
    return _Result(CheckState.PASSED, Reason.REPRODUCED, said, numbers)


def _passed(said: str, numbers: Mapping[str, float]) -> _Result:
    return _Result(CheckState.PASSED, Reason.CHECKS_PASSED, said, numbers)


def _nobodys_fault(said: str) -> _Result:
    return _Result(CheckState.INCONCLUSIVE, Reason.JOB_NOT_RUN, said)


def _stuck(ctx: Context, pod: PodView) -> tuple[Reason, str, float] | None:
    """Why a pod does not get on, and for how long that is borne."""
    problem = without_room(ctx, pod) or without_image(ctx, pod)
    if problem is not None:
        return problem.reason, problem.message, problem.left
    if pod.waiting_reason in _NEVER_STARTS:
        said = cut(pod.waiting_message or pod.waiting_reason, 300)
        left = ctx.left(pod.scheduled_at or pod.created, _GRACE)
        return Reason.JOB_NOT_RUN, f"its container cannot be started: {said}.", left
    return None


def _last_words(job: JobView) -> str:
    if job.message:
        return cut(job.message, 300)
    return "no pod of it was made" if job.pod is None else "it is still at work"


# What the conditions say


def condition(
    spec: ModelHandoffSpec, state: AttemptState, *, reproduction: bool
) -> tuple[str, str, str] | None:
    """Status, reason and message for the tests or for the reproduction; ``None`` without any."""
    asked = [
        one for one in tenant_jobs(spec) if isinstance(one.asked, Reproduction) is reproduction
    ]
    if not asked:
        return None
    stored = {str(job.get("name")): job for job in state.jobs}
    found = [stored.get(one.name, {}) for one in asked]
    for kind, value in ((CheckState.FAILED, "False"), (CheckState.INCONCLUSIVE, "Unknown")):
        bad = next((job for job in found if job.get("state") == kind), None)
        if bad is not None:
            return value, str(bad.get("reason")), f"{bad.get('name')}: {bad.get('message')}"
    waiting = next((one for one in asked if not stored.get(one.name)), None)
    running = next((job for job in found if job.get("state") == _RUNNING), None)
    if running is not None and not state.phase.terminal:
        return "Unknown", str(Reason.VERIFYING), f"{running.get('name')} has not ended yet."
    if waiting is not None or running is not None:
        name = waiting.name if waiting is not None else "It"
        return "Unknown", str(Reason.NOT_STARTED), f"{name} was not run to its end."
    told = " ".join(f"{job.get('name')}: {job.get('message')}." for job in found)
    reason = Reason.REPRODUCED if reproduction else Reason.CHECKS_PASSED
    return "True", str(reason), cut(told, 900)
