"""From a frozen spec to the engine's plan, and from closed intervals to evidence and a verdict.

The glue between what people wrote and what the engine judges. Pure: the metrics room's answer
comes in as values, the two checkpoints go out as JSON texts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypedDict
from weakref import WeakValueDictionary

from modelhandoff.analysis import (
    Bins,
    CountPlan,
    Direction,
    DriftPlan,
    Feature,
    Interval,
    LatencyPlan,
    MeanPlan,
    MetricPlan,
    OnAlarm,
    OnInconclusive,
    Plan,
    Progress,
    RatePlan,
    Role,
    Sustained,
    judge,
    observe,
)
from modelhandoff.analysis.drift import merge_bins
from modelhandoff.analysis.evidence import Evidence
from modelhandoff.analysis.verdict import Verdict
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.monitoring import ALONE_TYPES, RATE_TYPES, Metric, MetricType
from modelhandoff.rollout.actions import Collected
from modelhandoff.rollout.attempt import AttemptState, Watched
from modelhandoff.rollout.context import KIND_ROLLOUT, Context
from modelhandoff.rollout.history import History, fitting, with_history
from modelhandoff.rollout.measure import Measurement
from modelhandoff.rollout.shares import on_probation, share_of

PATIENCE = 5
"""Looks that may pass before a drift metric without counts is judged as missing."""


class Binned(TypedDict):
    """One distribution as it is judged: inner edges, and raw bin -> judged bin."""

    edges: list[float]
    groups: list[int]


Binning = Mapping[str, Binned]
"""By measurement key: ``<metric>``, or ``<metric>/<output>`` where a server has several."""


SAME_MOMENT = 1.0
"""Seconds within which the clock alone does not make another verdict."""


@dataclass(slots=True)
class Memory:
    """What the last look at one attempt made of its checkpoint, so that it need not be read again.

    Only spares work: whatever is judged with it is judged the same without it.

    Attributes:
        spec, bins, history, evidence: what the rest was made of.
        plan, found: the plan and the evidence behind the text.
        progress, verdict: the last question and its answer.
        ahead: (evidence, interval, evidence after it), taken in beside other attempts' looks.
    """

    spec: ModelHandoffSpec | None = None
    bins: str = ""
    history: str = ""
    evidence: str = ""
    plan: Plan | None = None
    found: Evidence | None = None
    progress: Progress | None = None
    verdict: Verdict | None = None
    ahead: tuple[Evidence, Interval, Evidence] | None = None

    def after(self, plan: Plan, found: Evidence, interval: Interval) -> Evidence:
        """The evidence with one more interval, ready already if it was taken in ahead."""
        if self.ahead is not None and self.ahead[0] is found and self.ahead[1] is interval:
            return self.ahead[2]
        return observe(plan, found, interval)

    def resume(self, spec: ModelHandoffSpec, bins: str, history: str, evidence: str) -> bool:
        """Whether this is about exactly this checkpoint."""
        mine = (self.bins, self.history, self.evidence)
        return bool(evidence) and self.spec is spec and mine == (bins, history, evidence)

    def answer(self, progress: Progress) -> Verdict | None:
        """The verdict, if the same was asked a moment ago."""
        before = self.progress
        if before is None:
            return None
        elapsed = progress.elapsed_seconds - before.elapsed_seconds
        step = progress.step_elapsed_seconds - before.step_elapsed_seconds
        silent = progress.seconds_without_data - before.seconds_without_data
        if not all(0.0 <= one < SAME_MOMENT for one in (elapsed, step, silent)):
            return None
        now = replace(
            progress,
            elapsed_seconds=before.elapsed_seconds,
            step_elapsed_seconds=before.step_elapsed_seconds,
            seconds_without_data=before.seconds_without_data,
        )
        return self.verdict if now == before else None


_plans: WeakValueDictionary[str, Plan] = WeakValueDictionary()


def _shared(plan: Plan) -> Plan:
    """One plan for all who judge by the same: what the engine derives from it hangs on it."""
    known = _plans.setdefault(plan.hash, plan)
    return known if known == plan else plan


def measurement(ctx: Context) -> Measurement | None:
    """What is to be measured now; ``None`` before the first weight landed and after the end."""
    attempt, state = ctx.attempt, ctx.state
    if attempt is None or attempt.kind != KIND_ROLLOUT or not state.stages:
        return None
    if state.phase.terminal or state.verdict is not None or ctx.baseline is None:
        return None
    monitoring = attempt.spec.monitoring
    alone = on_probation(attempt.spec, state)
    stages = tuple(s for s in state.stages if s.step == state.step) if alone else state.stages
    if not stages:
        return None
    return Measurement(
        source=monitoring.source,
        candidate=ctx.candidate_name,
        # Without requests there is nothing to compare with.
        baseline=None if alone else ctx.baseline.name,
        interval=monitoring.interval.total_seconds(),
        begin=stages[0].start,
        stages=stages,
        exclusions=state.exclusions,
    )


def judged_state(spec: ModelHandoffSpec, state: AttemptState) -> AttemptState:
    """The state with the checkpoints that are going on: on probation those begun with it."""
    if not on_probation(spec, state):
        return state
    found = state.probation or Watched()
    return state.but(evidence=found.evidence, cursor=found.cursor, bins="", history="")


def judge_intervals(
    spec: ModelHandoffSpec,
    state: AttemptState,
    intervals: Sequence[Interval],
    cursor: str,
    now: datetime,
    *,
    edges: Mapping[str, tuple[float, ...]] | None = None,
    history: str = "",
    next_due: float | None = None,
    warnings: tuple[str, ...] = (),
    memory: Memory | None = None,
) -> Collected:
    """Add closed intervals to the evidence and judge it; the two checkpoints belong together.

    Until every drift metric's bins are known (the first interval in which the baseline has
    data), intervals only move the cursor: a plan must be fixed before the first count is judged.
    ``memory`` is this attempt's own; it learns what this look finds out. ``history`` is what
    earlier attempts say, used with the first evidence; from then on the stored one counts.
    """
    memory = memory or Memory()
    alone = on_probation(spec, state)
    state = judged_state(spec, state)
    counted = [i for i in intervals if not i.excluded]
    last_data = max(
        [state.last_data, *(i.end for i in intervals if i.requests[0] > 0)], default=0.0
    )
    requests = state.step_requests + sum(i.requests[0] for i in counted if i.step == state.step)
    bins = {} if alone else _bins(spec, state, intervals, edges or {})
    evidence = state.evidence
    past = state.history
    if bins is not None and not evidence and not past and not alone:
        past = fitting(history, intervals)
    bins_text = json.dumps(bins, separators=(",", ":")) if bins else state.bins
    looks, step_looks = state.looks, state.step_looks
    verdict = None
    if bins is not None:
        if memory.resume(spec, bins_text, past, evidence) and memory.plan and memory.found:
            plan, found = memory.plan, memory.found
        else:
            memory.progress = None
            plan = _shared(plan_alone(spec) if alone else plan_of(spec, bins, past))
            found = (
                Evidence.from_json(plan, json.loads(evidence)) if evidence else Evidence.start(plan)
            )
        for interval in intervals:
            found = memory.after(plan, found, interval)
        memory.ahead = None
        looks += len(counted)
        step_looks += sum(1 for i in counted if i.step == state.step)
        if intervals or not evidence:
            memory.progress = None
            evidence = json.dumps(found.to_json(), separators=(",", ":"))
        after = state.but(step_looks=step_looks, step_requests=requests, last_data=last_data)
        progress = progress_of(spec, after, now)
        verdict = memory.answer(progress)
        if verdict is None:
            verdict = judge(plan, found, progress)
            memory.progress, memory.verdict = progress, verdict
        memory.spec, memory.bins, memory.history = spec, bins_text, past
        memory.evidence = evidence
        memory.plan, memory.found = plan, found
    return Collected(
        evidence=evidence,
        cursor=cursor,
        bins=bins_text,
        history=past,
        looks=looks,
        step_looks=step_looks,
        step_requests=requests,
        last_data=last_data,
        verdict=verdict,
        fresh=bool(intervals),
        warnings=warnings,
        next_due=next_due,
    )


def judge_again(
    spec: ModelHandoffSpec,
    state: AttemptState,
    now: datetime,
    next_due: float | None = None,
    memory: Memory | None = None,
) -> Collected | None:
    """The verdict on the stored evidence, with today's clock; ``None`` before there is any."""
    before = judged_state(spec, state)
    if not before.evidence:
        return None
    return judge_intervals(spec, state, (), before.cursor, now, next_due=next_due, memory=memory)


def stored_evidence(
    spec: ModelHandoffSpec, state: AttemptState, *, alone: bool = False
) -> tuple[Plan, Evidence]:
    """An attempt's stored evidence and the plan that it belongs to.

    Args:
        spec: as frozen in the attempt.
        state: with evidence in it.
        alone: what the probation found, instead of the comparison.

    Raises:
        ValueError: it cannot be read: damaged, or written by another version of the operator.
    """
    if alone:
        plan, text = plan_alone(spec), state.probation.evidence if state.probation else ""
    else:
        plan = plan_of(spec, json.loads(state.bins or "{}"), state.history)
        text = state.evidence
    return plan, Evidence.from_json(plan, json.loads(text))


def progress_of(spec: ModelHandoffSpec, state: AttemptState, now: datetime) -> Progress:
    """Where the attempt stands, in the engine's words; pauses do not count as time."""
    decision, step = spec.rollout.decision, share_of(spec, state)
    endless = decision.on_inconclusive == "Extend" or on_probation(spec, state)
    began = state.first_weight_at or now
    paused = state.paused_for(now).total_seconds()
    silent = now.timestamp() - state.last_data if state.last_data else 0.0
    interval = spec.monitoring.interval.total_seconds()
    return Progress(
        elapsed_seconds=max(0.0, (now - began).total_seconds() - paused),
        step=state.step,
        last_step=state.step >= len(spec.rollout.steps) - 1,
        step_looks=state.step_looks,
        step_requests=state.step_requests,
        step_elapsed_seconds=(now - state.step_since).total_seconds() if state.step_since else 0.0,
        step_min_seconds=step.min_duration.total_seconds(),
        step_min_samples=step.min_samples,
        max_duration_seconds=None if endless else decision.max_duration.total_seconds(),
        # An interval closes late by its own length and the lag; that is not silence.
        seconds_without_data=0.0
        if state.withheld or state.step_since is None
        else max(0.0, silent - 2 * interval),
    )


def plan_of(spec: ModelHandoffSpec, bins: Binning, past: str = "") -> Plan:
    """The engine's plan for a spec; ``bins`` has an entry for every drift metric.

    ``past`` is the attempt's history as stored; without one everything is judged as first use.
    """
    history = History.read(past) if past else None
    rollout = spec.rollout
    interval = spec.monitoring.interval.total_seconds()
    decision = rollout.decision
    return Plan(
        metrics=tuple(
            with_history(_metric(metric, spec, bins), metric, spec, history)
            for metric in spec.monitoring.metrics
        ),
        harm_level=decision.harm_level,
        safe_level=decision.safe_level,
        min_looks=decision.min_looks,
        planned_looks=_planned_looks(spec),
        interval_seconds=interval,
        steps=tuple(step.weight for step in rollout.steps),
        no_data_seconds=rollout.on_metrics_unknown.hold_for.total_seconds(),
        on_inconclusive=OnInconclusive(str(decision.on_inconclusive)),
    )


def plan_alone(spec: ModelHandoffSpec) -> Plan:
    """The engine's plan for a candidate on probation: limits and budgets, no comparison.

    It has a chance of ``harmLevel`` of its own to be wrong.
    """
    rollout, monitoring = spec.rollout, spec.monitoring
    looks = (rollout.probation or monitoring.interval) / monitoring.interval
    return Plan(
        metrics=tuple(_metric(m, spec, {}) for m in monitoring.metrics if m.type in ALONE_TYPES),
        harm_level=rollout.decision.harm_level,
        safe_level=rollout.decision.safe_level,
        min_looks=rollout.decision.min_looks,
        planned_looks=max(30, rollout.decision.min_looks, round(looks)),
        interval_seconds=monitoring.interval.total_seconds(),
        steps=(100,),
        no_data_seconds=rollout.on_metrics_unknown.hold_for.total_seconds(),
        initial=True,
    )


def _metric(metric: Metric, spec: ModelHandoffSpec, bins: Binning) -> MetricPlan:
    role, decision = Role(str(metric.role)), spec.rollout.decision
    if metric.type in RATE_TYPES:
        return RatePlan(
            name=metric.name,
            role=role,
            critical=metric.critical,
            limit=metric.max,
            harm_margin=decision.harm_margin,
            safe_margin=decision.safe_margin,
        )
    if metric.type is MetricType.LATENCY and metric.quantile and metric.budget:
        return LatencyPlan(
            name=metric.name,
            quantile=metric.quantile,
            budget=metric.budget.total_seconds(),
            role=role,
            critical=metric.critical,
            relative=_same_hardware(spec),
            harm_margin=decision.harm_margin,
            max_relative_increase=metric.max_relative_increase,
        )
    if metric.type is MetricType.DRIFT and metric.max_kl:
        return DriftPlan(
            name=metric.name,
            features=tuple(
                Feature(key=key, bins=len(found["groups"]), groups=tuple(found["groups"]))
                for key, found in sorted(bins.items())
                if _belongs(key, metric.name)
            ),
            max_kl=metric.max_kl,
            role=role,
            critical=metric.critical,
            sustained=_sustained(metric, spec),
        )
    if metric.type is MetricType.MEAN:
        return MeanPlan(
            name=metric.name,
            role=role,
            critical=metric.critical,
            max_regression=metric.max_regression or MeanPlan.max_regression,
            min_lift=metric.min_lift,
            direction=Direction(str(metric.direction or "Increase")),
        )
    return CountPlan(
        name=metric.name, role=role, critical=metric.critical, max_drop=metric.max_drop or 0.1
    )


def _same_hardware(spec: ModelHandoffSpec) -> bool:
    gpu = spec.candidate.serving.gpu
    return gpu is None or gpu.same_as_baseline


def _sustained(metric: Metric, spec: ModelHandoffSpec) -> Sustained | None:
    """``sustainedFor`` in windows of whole looks."""
    if metric.sustained_for is None or metric.window is None or metric.max_kl is None:
        return None
    looks = max(1, round(metric.window / spec.monitoring.interval))
    return Sustained(
        max_kl=metric.max_kl,
        window_looks=looks,
        windows=max(1, round(metric.sustained_for / metric.window)),
        action=OnAlarm(str(metric.action or "Rollback")),
    )


def bin_edges(state: AttemptState) -> dict[str, tuple[float, ...]]:
    """The edges that the attempt's distributions are judged on, for the metrics room."""
    known: dict[str, Binned] = json.loads(state.bins) if state.bins else {}
    return {key: tuple(found["edges"]) for key, found in known.items() if found["edges"]}


def _belongs(key: str, metric: str) -> bool:
    return key == metric or key.startswith(f"{metric}/")


def _bins(
    spec: ModelHandoffSpec,
    state: AttemptState,
    intervals: Sequence[Interval],
    edges: Mapping[str, tuple[float, ...]],
) -> dict[str, Binned] | None:
    """How every distribution is judged, or ``None`` while that cannot be fixed yet.

    Merged from the baseline's counts alone, so that the choice never looks at the candidate. A
    metric that shows no counts in the first looks is judged as missing: the others must not wait.
    """
    drifts = [m.name for m in spec.monitoring.metrics if m.type is MetricType.DRIFT]
    if not drifts:
        return {}
    if state.bins:
        known: dict[str, Binned] = json.loads(state.bins)
        return known
    totals: dict[str, list[float]] = {}
    for interval in intervals:
        for key, found in interval.metrics.items():
            if isinstance(found, Bins) and found.baseline is not None:
                before = totals.get(key) or [0.0] * len(found.baseline)
                totals[key] = [a + b for a, b in zip(before, found.baseline, strict=False)]
    seen = {key: counts for key, counts in totals.items() if sum(counts) > 0}
    missing = [name for name in drifts if not any(_belongs(key, name) for key in seen)]
    last = intervals[-1].end if intervals else 0.0
    waited = (last - state.stages[0].start) / spec.monitoring.interval.total_seconds()
    if not intervals or (missing and waited < PATIENCE):
        return None
    expected = _expected(spec, intervals)
    fixed: dict[str, Binned] = {
        key: {"edges": list(edges.get(key, ())), "groups": _merged(counts, expected)}
        for key, counts in seen.items()
        if any(_belongs(key, name) for name in drifts)
    }
    for name in missing:
        fixed[name] = {"edges": [], "groups": [0, 1]}
    return fixed


def _expected(spec: ModelHandoffSpec, intervals: Sequence[Interval]) -> float:
    """The candidate's observations at a quarter of the planned run, at the first step's share."""
    seen = sum(i.requests[0] + (i.requests[1] or 0.0) for i in intervals) / len(intervals)
    return seen * spec.rollout.steps[0].weight / 100 * _planned_looks(spec) / 4


def _merged(counts: Sequence[float], expected: float) -> list[int]:
    groups = list(merge_bins(counts, expected))
    return groups if max(groups) else list(range(len(counts)))


def _planned_looks(spec: ModelHandoffSpec) -> int:
    planned = sum(step.min_duration.total_seconds() for step in spec.rollout.steps)
    interval = spec.monitoring.interval.total_seconds()
    return max(30, spec.rollout.decision.min_looks, round(planned / interval))
