"""The evidence checkpoint read again: what every metric said when the verdict fell.

The same code that judged reads the stored evidence; nothing is estimated here. A checkpoint that
cannot be read gives a sentence, and the report does without.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from modelhandoff.analysis import MetricVerdict, WireError, judge
from modelhandoff.analysis.compiled import UNSET, compiled
from modelhandoff.analysis.evidence import Evidence, readout, views
from modelhandoff.analysis.plan import LatencyPlan, Plan
from modelhandoff.analysis.split import FIRST_LOOK
from modelhandoff.report.export import Attempt
from modelhandoff.rollout.attempt import AttemptState
from modelhandoff.rollout.judging import Binned, progress_of, stored_evidence

MOST_SHAPES: Final = 4
"""Distributions that are drawn; the strongest evidence first."""


@dataclass(frozen=True, slots=True)
class Tail:
    """Requests slower than one bucket edge, as (slower, all); baseline ``None`` without one."""

    edge: float
    candidate: tuple[float, float]
    baseline: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Drifted:
    """One distribution: shares per judged bin, the divergence and its evidence."""

    key: str
    edges: tuple[float, ...]
    groups: tuple[int, ...]
    candidate: tuple[float, ...]
    baseline: tuple[float, ...]
    divergence: float | None
    log_e_harm: float


@dataclass(frozen=True, slots=True)
class Judged:
    """All that the checkpoint tells.

    Attributes:
        metrics: by name.
        total_e: combined evidence of harm.
        split_e: evidence that the traffic was not split as planned; ``None`` before it is tested.
        anytime_p: 1 / the largest combined evidence so far, at most 1.
        end: end of the last interval, Unix seconds.
    """

    plan: Plan
    metrics: Mapping[str, MetricVerdict]
    looks: int
    total_e: float
    split_e: float | None
    anytime_p: float
    end: float
    tails: Mapping[str, tuple[Tail, ...]]
    drifted: tuple[Drifted, ...]


def judged(attempt: Attempt) -> Judged | str:
    """Read an attempt's evidence, or say in a sentence why there is none to read."""
    state = attempt.state
    if not state.evidence:
        return "No interval was judged, so there is no evidence."
    try:
        bins: dict[str, Binned] = json.loads(state.bins) if state.bins else {}
        plan, evidence = stored_evidence(attempt.spec, state, alone=_alone(state))
        return _read(attempt, plan, evidence, bins)
    except WireError as wrong:
        return f"The evidence cannot be read: {wrong}."
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as wrong:
        return f"The evidence cannot be read: {type(wrong).__name__}."


def _alone(state: AttemptState) -> bool:
    """Whether the probation decided: the comparison before it had found nothing."""
    verdict = state.verdict
    judged = state.probation is not None and bool(state.probation.evidence)
    return judged and verdict is not None and not verdict.outcome.promotes


def _read(attempt: Attempt, plan: Plan, evidence: Evidence, bins: Mapping[str, Binned]) -> Judged:
    state = attempt.state
    at = state.verdict.at if state.verdict else state.phase_since or state.first_weight_at
    if at is None:
        raise ValueError("evidence without a time")
    found = judge(plan, evidence, progress_of(attempt.spec, state, at))
    split = readout(plan, evidence).split
    tested = float(views(plan, evidence)["split"][1]) >= FIRST_LOOK
    return Judged(
        plan=plan,
        metrics={metric.name: metric for metric in found.metrics},
        looks=evidence.looks,
        total_e=found.total_e,
        split_e=math.exp(min(split, 700.0)) if tested else None,
        anytime_p=found.anytime_p,
        end=evidence.last_end,
        tails=_tails(plan, evidence),
        drifted=_drifted(plan, evidence, bins),
    )


def _tails(plan: Plan, evidence: Evidence) -> dict[str, tuple[Tail, ...]]:
    """Per latency metric the counts above every edge that was judged; the longest run wins."""
    v, c = views(plan, evidence), compiled(plan)
    out: dict[str, dict[float, Tail]] = {}
    for row, source in enumerate(c.sources):
        metric = plan.metrics[source.metric]
        edge = float(v["edge"][row])
        if source.half or not isinstance(metric, LatencyPlan) or edge == UNSET or edge < 0.0:
            continue
        slow, every, slow_there, every_there = (float(x) for x in v["total"][row])
        if every <= 0.0:
            continue
        there = (slow_there, every_there) if every_there > 0.0 else None
        known = out.setdefault(metric.name, {})
        if edge not in known or known[edge].candidate[1] < every:
            known[edge] = Tail(edge, (slow, every), there)
    return {name: tuple(found[edge] for edge in sorted(found)) for name, found in out.items()}


def _drifted(plan: Plan, evidence: Evidence, bins: Mapping[str, Binned]) -> tuple[Drifted, ...]:
    v, c, r = views(plan, evidence), compiled(plan), readout(plan, evidence)
    out = []
    for i, (_, feature, _) in enumerate(c.drift):
        sums = v[f"drift_sum_{i}"][0]
        k = feature.judged
        seen = float(sums[2 * k])
        known = bins.get(feature.key)
        if seen <= 0.0 or known is None or feature.reference:
            continue
        reading = r.drift[i]
        out.append(
            Drifted(
                key=feature.key,
                edges=tuple(float(edge) for edge in known["edges"]),
                groups=tuple(int(group) for group in known["groups"]),
                candidate=tuple(float(x) / seen for x in sums[:k]),
                baseline=tuple(float(x) / seen for x in sums[k : 2 * k]),
                divergence=max(reading.value, 0.0) if reading.ready else None,
                log_e_harm=reading.log_harm,
            )
        )
    out.sort(key=lambda one: (-one.log_e_harm, one.key))
    return tuple(out[:MOST_SHAPES])
