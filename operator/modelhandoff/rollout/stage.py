"""The present step as it stands: its weight, its pods, its verdict; and taking the weight away.

What the rules of :mod:`progress`, :mod:`guards` and :mod:`ignorance` share.
"""

from __future__ import annotations

from modelhandoff.analysis.verdict import Verdict
from modelhandoff.api import names
from modelhandoff.rollout.actions import ApplyRoute, Event
from modelhandoff.rollout.attempt import AttemptState, Stamp, Withheld
from modelhandoff.rollout.capacity import canary_replicas
from modelhandoff.rollout.context import Context, Move
from modelhandoff.rollout.freezing import frozen
from modelhandoff.rollout.measure import Stage
from modelhandoff.rollout.shares import share_of

MAX_STAGES = 60


def verdict_of(ctx: Context) -> Verdict | None:
    """The engine's verdict of this pass, if there is one."""
    return ctx.collected.verdict if ctx.collected else None


def ignorant(ctx: Context) -> bool:
    """Whether the last question to the metric source got no usable answer."""
    fresh = ctx.collected is not None and ctx.collected.fresh
    return ctx.state.unknown_since is not None and not fresh


def paused(ctx: Context) -> bool:
    """Whether a person, Git or a freeze asks to hold the present step."""
    spec, attempt = ctx.handoff.raw_spec, ctx.attempt
    asked = ctx.handoff.annotations.get(names.ANNOTATION_PAUSE)
    if frozen(ctx) is not None:
        return True
    return bool(spec.get("suspend")) or (
        asked is not None and attempt is not None and asked == attempt.name
    )


def step_weight(ctx: Context) -> int:
    """Percent of the traffic that the present step gives to the candidate."""
    return share_of(ctx.spec, ctx.state).weight


def stage_name(ctx: Context) -> str:
    """What the stamp of this step says; another name once a foreign weight was taken back."""
    step, contested = ctx.state.step, ctx.state.contested
    return f"{step}+{contested}" if contested else str(step)


def needed_pods(ctx: Context) -> int:
    """Pods of the candidate that the present step's share needs."""
    return canary_replicas(step_weight(ctx), ctx.spec.candidate.serving.replicas)


def weight_zero(ctx: Context, reason: str, message: str) -> Move | None:
    """Take the weight to 0 for now; the attempt goes on. Recorded after it has happened."""
    attempt, route, baseline = ctx.attempt, ctx.snapshot.route, ctx.baseline
    if attempt is None or route is None:
        return None
    if not ctx.candidate_weight:
        return withhold(ctx, reason, message)
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


def withhold(ctx: Context, reason: str, message: str) -> Move:
    """Record that the weight is 0 for now, and why."""
    start = ctx.now.timestamp()
    state = ctx.state.but(
        withheld=Withheld(reason, message, ctx.now),
        stages=stages_with(ctx.state, Stage(start, ctx.state.step, 0)),
        step_since=None,
    )
    return Move(
        ctx.write(state.note(ctx.now, message)),
        reason=reason,
        sentence=message,
        events=(Event(reason, message, warning=True),),
    )


def stages_with(state: AttemptState, stage: Stage) -> tuple[Stage, ...]:
    """The landed weights with one more; after very many, only the newest are kept."""
    return (*state.stages, stage)[-MAX_STAGES:]
