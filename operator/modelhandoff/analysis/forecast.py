"""A whole plan before anyone starts: what each proof takes, what is detectable, what cannot work.

Answers for ``plan`` and ``lint``: looks at 50 and 80 % power per metric, the smallest change that
would be found in the planned run, and warnings by name for rules that can never pass.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from modelhandoff.analysis import planner, wording
from modelhandoff.analysis.compiled import NO_HISTORY_RATIO
from modelhandoff.analysis.drift import PER_BIN, bias_floor
from modelhandoff.analysis.latency import bracket
from modelhandoff.analysis.plan import (
    CountPlan,
    DriftPlan,
    LatencyPlan,
    MetricPlan,
    Plan,
    RatePlan,
    Role,
)
from modelhandoff.analysis.planner import Needs, Traffic

__all__ = ["MetricForecast", "forecast", "warnings"]


@dataclass(frozen=True, slots=True)
class MetricForecast:
    """One metric: the safety proof of an unchanged candidate, and what would be found.

    ``safe_half`` / ``safe_most``: looks with 50 / 80 % power, None when nothing must be proven or
    it cannot be planned (means, fairness: their variance is unknown before the first look).
    ``detectable``: smallest ratio (KL for drift) found with 80 % power in the planned run.
    """

    name: str
    safe_half: Needs | None = None
    safe_most: Needs | None = None
    detectable: float | None = None
    sentence: str = ""


def forecast(
    plan: Plan, requests: float, rates: Mapping[str, float], *, weight: float | None = None
) -> tuple[MetricForecast, ...]:
    """Forecast of every metric.

    Args:
        plan: the plan.
        requests: requests of both arms per look.
        rates: expected event rate per metric (tail above the budget for latency).
        weight: percent to the candidate; the mean of the planned steps when left out.
    """
    t = _traffic(plan, requests, weight)
    return tuple(_one(plan, at, metric, t, rates) for at, metric in enumerate(plan.metrics))


def _traffic(plan: Plan, requests: float, weight: float | None) -> Traffic:
    below = [w for w in plan.steps if 0 < w < 100] or [50]
    share = (weight if weight is not None else math.fsum(below) / len(below)) / 100.0
    return Traffic(requests * share, requests * (1.0 - share), plan.interval_seconds)


def _one(
    plan: Plan, at: int, metric: MetricPlan, t: Traffic, rates: Mapping[str, float]
) -> MetricForecast:
    share = plan.weights[at] or 1.0
    level, looks = plan.harm_level, float(plan.planned_looks)
    proves = metric.role in (Role.Guardrail, Role.Success)
    if isinstance(metric, DriftPlan):
        return _drift(plan, metric, t, share)
    rate = rates.get(metric.name)
    if rate is None or not isinstance(metric, RatePlan | LatencyPlan):
        return MetricForecast(metric.name, sentence=f"{metric.name}: known after the first looks.")
    phi = _phi(metric)
    limit = metric.limit if isinstance(metric, RatePlan) else metric.tail
    needs: list[tuple[Needs, Needs]] = []
    budgeted = isinstance(metric, RatePlan) or metric.budget is not None
    if proves and limit is not None and budgeted:
        one = partial(planner.absolute_safe, t, rate, limit, level=plan.safe_level, phi=phi)
        needs.append((one(power=0.5), one(power=0.8)))
    if proves and isinstance(metric, RatePlan) and _proves_relative(plan, metric):
        two = partial(
            planner.relative_safe, t, rate, rate, ratio=metric.safe_margin or 1.5,
            delta=_slack(metric), level=plan.safe_level, phi=phi,
        )  # fmt: skip
        needs.append((two(power=0.5), two(power=0.8)))
    ratio = metric.harm_margin
    if phi is None and t.candidate * rate > 20.0:
        ratio = max(ratio, NO_HISTORY_RATIO)
    found = planner.detectable_ratio(t, rate, looks, ratio=ratio, share=share, level=level, phi=phi)
    half = max((n[0] for n in needs), key=lambda n: n.looks, default=None)
    most = max((n[1] for n in needs), key=lambda n: n.looks, default=None)
    return MetricForecast(metric.name, half, most, found, _sentence(metric.name, most, found, plan))


def _proves_relative(plan: Plan, metric: RatePlan) -> bool:
    asked = metric.safe_margin is not None or metric.limit is None
    return asked and metric.relative and not plan.initial


def _slack(metric: RatePlan) -> float:
    if metric.delta_safe is not None:
        return metric.delta_safe
    return metric.limit / 20.0 if metric.limit is not None else 0.0005


def _phi(metric: RatePlan | LatencyPlan) -> float | None:
    if isinstance(metric, RatePlan):
        return metric.history.relative.phi if metric.history else None
    known = [h.relative.phi for h in metric.history if h.relative is not None]
    return max(known) if known else None


def _drift(plan: Plan, metric: DriftPlan, t: Traffic, share: float) -> MetricForecast:
    """Smallest KL found in the planned run, by bisection."""
    bins = max(f.judged for f in metric.features)
    low, high = metric.max_kl, 20.0
    for _ in range(24):
        middle = math.sqrt(low * high)
        need = planner.drift_harm(
            t, middle, metric.max_kl, bins, level=plan.harm_level, share=share,
            planned_looks=plan.planned_looks,
        )  # fmt: skip
        low, high = (low, middle) if need.looks <= plan.planned_looks else (middle, high)
    text = f"{metric.name}: a drift of KL {high:.2g} would be found within the planned run."
    if metric.role not in (Role.Guardrail, Role.Success):
        return MetricForecast(metric.name, detectable=high, sentence=text)
    half, most = (_no_drift(plan, metric, t, power) for power in (0.5, 0.8))
    proof = (
        f"{metric.name}: no drift beyond KL {metric.max_kl:g} is proven after {most.looks:.0f} "
        f"looks, about {wording.count(most.requests)} candidate requests or "
        f"{wording.duration(most.seconds)} (80 % power); "
    )
    return MetricForecast(metric.name, half, most, high, proof + text.split(": ", 1)[1])


def _no_drift(plan: Plan, metric: DriftPlan, t: Traffic, power: float) -> Needs:
    """Proof that an unchanged candidate drifts less than the margin; never before the start rule.

    The variance of a divergence at the margin kappa is at least ``2 kappa s`` (2.7).
    """
    bins = max(f.judged for f in metric.features)
    live = any(not f.reference for f in metric.features)
    scale = 1.0 / t.candidate + (1.0 / t.baseline if live else 0.0)
    smaller = min(t.candidate, t.baseline) if live else t.candidate
    return planner.mean_proof(
        t, metric.max_kl, 2.0 * metric.max_kl * scale, planned_looks=plan.planned_looks,
        level=plan.safe_level, power=power, least=PER_BIN * bins / smaller,
    )  # fmt: skip


def _sentence(name: str, most: Needs | None, found: float, plan: Plan) -> str:
    run = wording.duration(plan.planned_looks * plan.interval_seconds)
    seen = (
        f"no change would be found in {run}"
        if math.isinf(found)
        else f'"no harm found" after {run} only excludes a rise above {wording.times(found)}'
    )
    if most is None:
        return f"{name}: nothing to prove; {seen}."
    if not most.possible:
        return f"{name}: safety cannot be proven at this rate; {seen}."
    asked = wording.count(most.requests)
    time = wording.duration(most.seconds)
    return (
        f"{name}: safety takes {most.looks:.0f} looks, about {asked} candidate requests or {time} "
        f"(80 % power); {seen}."
    )


def warnings(
    plan: Plan,
    requests: float,
    rates: Mapping[str, float],
    edges: Mapping[str, tuple[float, ...]] | None = None,
) -> tuple[str, ...]:
    """Rules that can never pass or hardly ever, by name; empty when all is well.

    Args:
        plan: the plan.
        requests: requests of both arms per look.
        rates: expected event rate per metric.
        edges: bucket edges per latency metric, where known.
    """
    out: list[str] = []
    steps = len(plan.steps)
    if steps * plan.min_looks > plan.planned_looks:
        out.append(
            f"steps: {steps} steps of at least {plan.min_looks} looks need "
            f"{steps * plan.min_looks}, the planned run has {plan.planned_looks}"
        )
    t = _traffic(plan, requests, None)
    for at, metric in enumerate(plan.metrics):
        where = f"metrics[{at}] ({metric.name})"
        if plan.initial and isinstance(metric, CountPlan | DriftPlan):
            out.append(f"{where}: not judged without a baseline")
        if isinstance(metric, DriftPlan):
            out += _drift_warnings(where, metric, t, plan)
        if isinstance(metric, LatencyPlan) and metric.budget is not None:
            known = (edges or {}).get(metric.name)
            if known and metric.budget not in known:
                out.append(_edge_warning(where, metric, known))
    for at, one in enumerate(forecast(plan, requests, rates)):
        where = f"metrics[{at}] ({one.name})"
        if one.safe_most is not None and not one.safe_most.possible:
            out.append(f"{where}: safety cannot be proven at the expected rate")
        elif one.safe_half is not None and one.safe_half.looks > plan.planned_looks:
            out.append(
                f"{where}: the proof takes about {one.safe_half.looks:.0f} looks, the planned run "
                f"has {plan.planned_looks}"
            )
    return tuple(out)


def _drift_warnings(where: str, metric: DriftPlan, t: Traffic, plan: Plan) -> list[str]:
    out = []
    seen = t.candidate * plan.planned_looks
    for feature in metric.features:
        floor = bias_floor(feature.judged, max(seen, 1.0))
        if metric.max_kl < floor:
            out.append(
                f"{where}: the limit {metric.max_kl:g} lies below the bias floor {floor:.2g} of "
                f"{feature.judged} bins of {feature.key}; use fewer bins"
            )
        elif seen < PER_BIN * feature.judged:
            out.append(
                f"{where}: {feature.key} needs {PER_BIN * feature.judged:.0f} observations, the "
                f"planned run has about {seen:.0f}"
            )
    return out


def _edge_warning(where: str, metric: LatencyPlan, edges: tuple[float, ...]) -> str:
    budget = metric.budget or 0.0
    if budget > edges[-1]:
        low, high = edges[-1], math.inf
    else:
        below, high = bracket((*edges, math.inf), budget)
        low = below or 0.0
    return f"{where}: {wording.hidden_budget(budget, (low, high), metric.unit)}"
