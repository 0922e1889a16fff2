"""From a fresh attempt to a warm candidate that has not seen a request yet."""

from __future__ import annotations

from datetime import timedelta

from modelhandoff.api import names
from modelhandoff.api.vocabulary import Outcome, Phase, Reason
from modelhandoff.errors import cut
from modelhandoff.rollout.actions import (
    ApplyBaselineService,
    ApplyRoute,
    ApplyWorkload,
    Event,
    ReleaseWorkload,
    RunWarmup,
    ScaleWorkload,
)
from modelhandoff.rollout.approving import await_approval
from modelhandoff.rollout.attempt import Stamp
from modelhandoff.rollout.canary import canary, canary_passed, no_report
from modelhandoff.rollout.capacity import canary_replicas
from modelhandoff.rollout.context import KIND_INITIAL, KIND_REFRESH, KIND_ROLLOUT, Context, Move
from modelhandoff.rollout.diagnosis import Problem, diagnose
from modelhandoff.rollout.freezing import await_thaw
from modelhandoff.rollout.hardware import other_hardware
from modelhandoff.rollout.latching import latch, take_down
from modelhandoff.rollout.requiring import require
from modelhandoff.rollout.tenant_jobs import run_tenant_jobs
from modelhandoff.rollout.verifying import verify

_WARMUP_GRACE = timedelta(minutes=2)
"""On top of the warm-up's own budget, for its pod to be scheduled and started."""


def begin(ctx: Context) -> Move:
    """Pending: nothing stands in the way, so the attempt starts."""
    if ctx.attempt is None:
        raise ValueError("no attempt to begin")
    early = (
        no_traffic_yet(ctx)
        or verify(ctx)
        or run_tenant_jobs(ctx)
        or require(ctx)
        or await_approval(ctx)
        or await_thaw(ctx)
    )
    if early is not None:
        return early
    if ctx.attempt.kind == KIND_REFRESH:
        return latch(
            ctx,
            Outcome.PROMOTE,
            Reason.STEADY,
            f"{ctx.model} serves already; its rules are now those of this handoff.",
        )
    state = ctx.state.enter(
        Phase.PROVISIONING, ctx.now, f"Attempt for {ctx.model} started.", started_at=ctx.now
    )
    return Move(
        ctx.write(state),
        reason=Reason.PROVISIONING,
        sentence=f"Starting {ctx.model}.",
        events=(Event(Reason.ATTEMPT_STARTED, f"Attempt {ctx.attempt.name} for {ctx.model}."),),
    )


def provision(ctx: Context) -> Move:
    """Provisioning: baseline reachable, route in place, the candidate's pods ready."""
    beside = prepare_route(ctx) or no_traffic_yet(ctx)
    if beside is not None:
        return beside
    attempt = ctx.attempt
    if attempt is None:
        raise ValueError("no attempt")
    needed = first_replicas(ctx)
    candidate = ctx.candidate
    if candidate is None:
        return Move(
            ApplyWorkload(attempt.name, ctx.candidate_name, needed),
            reason=Reason.PROVISIONING,
            sentence=f"Creating {needed} pod{'s' if needed > 1 else ''} of {ctx.model}.",
        )
    if candidate.desired < needed:
        return Move(
            ScaleWorkload(candidate.name, candidate.resource_version, needed),
            reason=Reason.PROVISIONING,
            sentence=f"Scaling {ctx.model} to {needed} pods.",
        )
    if candidate.ready < needed:
        return await_pods(ctx)
    unlike = other_hardware(ctx)
    if unlike is not None:
        return unlike
    nothing_to_ask = ctx.spec.rollout.warmup.requests == 0 and not attempt.promises
    warm = nothing_to_ask or ctx.state.warmed_up
    if warm:
        return enter_traffic(ctx)
    state = ctx.state.enter(Phase.WARMING_UP, ctx.now, f"{candidate.ready} pods ready; warming up.")
    return Move(
        ctx.write(state),
        reason=Reason.WARMING_UP,
        sentence=f"{ctx.model} is ready; sending it example requests.",
        events=(Event(Reason.CANARY_READY, f"{candidate.ready} pods of {ctx.model} are ready."),),
    )


def warm_up(ctx: Context) -> Move:
    """WarmingUp: example requests to the candidate, from a Job beside it."""
    attempt, candidate = ctx.attempt, ctx.candidate
    if attempt is None:
        raise ValueError("no attempt")
    early = no_traffic_yet(ctx)
    if early is not None:
        return early
    if candidate is None or candidate.ready < first_replicas(ctx):
        return provision(ctx) if candidate is None else await_pods(ctx)
    budget = ctx.spec.rollout.warmup.max_duration
    job = ctx.snapshot.jobs.get(names.warmup_job_name(attempt.name))
    sentence = f"Sending {ctx.spec.rollout.warmup.requests} example requests to {ctx.model}."
    if attempt.promises:
        sentence = f"{sentence} Then its pods must keep what the handoff promises."
        told = canary(ctx, job)
        if told is not None:
            return told
        if canary_passed(ctx):
            return enter_traffic(ctx)
    if job is None:
        return Move(
            RunWarmup(attempt.name, names.warmup_job_name(attempt.name), candidate.name),
            reason=Reason.WARMING_UP,
            sentence=sentence,
        )
    if job.failed:
        return take_down(
            ctx,
            Outcome.REJECT,
            Reason.WARMUP_FAILED,
            f"{ctx.model} did not answer the example requests: {cut(job.message, 400)}",
        )
    if not job.succeeded or attempt.promises:
        left = ctx.left(ctx.state.phase_since, budget + _WARMUP_GRACE)
        if left <= 0 and job.succeeded:
            return no_report(ctx, f"Job {job.name} is done and left none")
        if left <= 0:
            return take_down(
                ctx,
                Outcome.INCONCLUSIVE,
                Reason.WARMUP_FAILED,
                f"The warm-up Job {job.name} has not ended within "
                f"{budget.total_seconds():.0f} s: {cut(job.message or 'it never started', 300)}",
            )
        return Move(reason=Reason.WARMING_UP, sentence=sentence, wait=left)
    return enter_traffic(ctx)


def enter_traffic(ctx: Context) -> Move:
    """The candidate is warm: off with its owner, then the first step (or all of it)."""
    attempt, candidate = ctx.attempt, ctx.candidate
    if attempt is None or candidate is None:
        raise ValueError("no candidate")
    if candidate.owned:
        return Move(
            ReleaseWorkload(candidate.name, candidate.resource_version),
            reason=Reason.WARMING_UP,
            sentence=f"{ctx.model} is warm.",
        )
    if attempt.kind == KIND_INITIAL:
        return latch(
            ctx,
            Outcome.INITIAL,
            Reason.INITIAL,
            f"{ctx.model} is the first version here: verified, ready and warm; "
            "there is no baseline to compare it with.",
        )
    crashes = sum(pod.restarts for pod in candidate.pods)
    state = ctx.state.enter(
        Phase.PROGRESSING,
        ctx.now,
        f"Warm; step 1 of {len(ctx.spec.rollout.steps)}.",
        step=0,
        warmed_up=True,
        crashes_before=crashes,
    )
    return Move(
        ctx.write(state),
        reason=Reason.STEP_STARTED,
        sentence=f"{ctx.model} is warm; traffic starts at {ctx.spec.rollout.steps[0].weight} %.",
    )


def prepare_route(ctx: Context) -> Move | None:
    """Whatever the baseline needs before a candidate may stand beside it."""
    attempt, route = ctx.attempt, ctx.snapshot.route
    if attempt is None or attempt.kind != KIND_ROLLOUT:
        return None
    if ctx.snapshot.conflicting_routes and not (route and route.ours):
        others = ", ".join(ctx.snapshot.conflicting_routes[:3])
        return Move(
            reason=Reason.ROUTE_CONFLICT,
            sentence=f"Another HTTPRoute has the same gateway, host and path: {others}. "
            "Remove it, or change rollout.route.",
            stalled=True,
        )
    if route is not None and not route.ours:
        return Move(
            reason=Reason.ROUTE_CONFLICT,
            sentence=f"HTTPRoute {route.name} exists and is not the operator's; "
            "rename the handoff, or delete that route.",
            stalled=True,
        )
    baseline = ctx.baseline
    if baseline is None:
        return Move(
            reason=Reason.BASELINE_MISSING,
            sentence="The baseline's Deployment is gone; nothing moves until it is back.",
            stalled=True,
        )
    service = ctx.service_of(baseline)
    if not baseline.managed:
        found = ctx.snapshot.services.get(service)
        if found is not None and not found.ours:
            return Move(
                reason=Reason.ROUTE_CONFLICT,
                sentence=f"Service {service} exists and is not the operator's; rename the handoff.",
                stalled=True,
            )
        if found is None or dict(found.selector) != dict(baseline.pod_labels):
            return Move(
                ApplyBaselineService(service, dict(baseline.pod_labels)),
                reason=Reason.PROVISIONING,
                sentence=f"Adopting Deployment {baseline.name} as the baseline.",
            )
    if route is None:
        if baseline.ready == 0:
            return Move(
                reason=Reason.BASELINE_NOT_READY,
                sentence=f"No pod of the baseline {baseline.name} is ready; nothing moves.",
            )
        return Move(
            ApplyRoute("", ((service, 100),), str(Stamp(attempt.name, "base", 0)), spec=ctx.spec),
            reason=Reason.PROVISIONING,
            sentence=f"Routing all traffic to the baseline {baseline.name}.",
        )
    return None


def no_traffic_yet(ctx: Context) -> Move | None:
    """Weight that somebody gave to a candidate before it is warm: taken back once, then given up.

    The count and the stamp are those of the steps (``guards.guard_route``).
    """
    attempt, route, baseline = ctx.attempt, ctx.snapshot.route, ctx.baseline
    if attempt is None or attempt.kind != KIND_ROLLOUT or route is None or not route.ours:
        return None
    weight = ctx.candidate_weight
    if not weight or baseline is None or not baseline.ready:
        return None
    said = f"Somebody gave {weight} % to {ctx.model} before it was warm"
    name = f"base+{ctx.state.contested}"
    if ctx.state.contested and route.stamp == str(Stamp(attempt.name, name, 0)):
        return take_down(
            ctx,
            Outcome.INCONCLUSIVE,
            Reason.TRAFFIC_CONTESTED,
            f"{said} again; two writers cannot both be right. Find the other one, then retry.",
        )
    if not ctx.state.contested:
        return Move(
            ctx.write(ctx.state.but(contested=1).note(ctx.now, f"{said}; taken back once.")),
            reason=Reason.TRAFFIC_CONTESTED,
            sentence=f"{said}; taking it back.",
            events=(Event(Reason.TRAFFIC_CONTESTED, f"{said}; taken back", warning=True),),
        )
    return Move(
        ApplyRoute(
            route.resource_version,
            ((ctx.service_of(baseline), 100),),
            str(Stamp(attempt.name, name, 0)),
            spec=ctx.spec,
        ),
        reason=Reason.TRAFFIC_CONTESTED,
        sentence=f"{said}; taking it back.",
        urgent=True,
    )


def await_pods(ctx: Context) -> Move:
    """Pods that are not ready yet: wait within the budget, or end the attempt."""
    candidate = ctx.candidate
    if candidate is None:
        raise ValueError("no candidate")
    problem = diagnose(ctx, candidate)
    if problem is None:
        return Move(
            reason=Reason.PROVISIONING,
            sentence=f"Waiting for {candidate.desired} pods of {ctx.model}; "
            f"{candidate.ready} are ready.",
            wait=ctx.spec.candidate.serving.startup.timeout.total_seconds(),
        )
    if problem.left <= 0:
        return give_up(ctx, problem)
    return Move(
        reason=problem.reason,
        sentence=f"{problem.message} Giving up in {problem.left:.0f} s."
        if problem.reason is not Reason.CANARY_NOT_READY
        else problem.message,
        wait=problem.left,
    )


def give_up(ctx: Context, problem: Problem) -> Move:
    """The budget for ready pods is over."""
    what = {
        Outcome.INCONCLUSIVE: f"{problem.message} This is not the model's fault. "
        "Retry when the cause is gone.",
        Outcome.REJECT: problem.message,
    }[problem.outcome]
    return take_down(ctx, problem.outcome, problem.reason, what)


def first_replicas(ctx: Context) -> int:
    """Pods before the first request: for the first step's share, or all of them."""
    full = ctx.spec.candidate.serving.replicas
    if ctx.attempt is None or ctx.attempt.kind != KIND_ROLLOUT:
        return full
    return canary_replicas(ctx.spec.rollout.steps[0].weight, full)
