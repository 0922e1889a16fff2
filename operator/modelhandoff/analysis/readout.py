"""From sums to logs: every e-value of an attempt at this look, and their weighted sum (2.10)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis import drift, means
from modelhandoff.analysis.absolute import phi_absolute
from modelhandoff.analysis.banks import gathered, joined
from modelhandoff.analysis.compiled import Compiled, Component
from modelhandoff.analysis.kernel import log_mixture, log_restarts
from modelhandoff.analysis.layout import Views
from modelhandoff.analysis.mixture import log_one_sided, prior_precision
from modelhandoff.analysis.plan import (
    CATASTROPHE_SHARE,
    CountPlan,
    Direction,
    FairnessPlan,
    MeanPlan,
)
from modelhandoff.analysis.sources import phi_two_arm
from modelhandoff.analysis.split import MISMATCH, log_evidence

__all__ = [
    "MeanReading",
    "Readout",
    "harm_sign",
    "multipliers",
    "read_out",
    "read_out_all",
    "settle_means",
]

Array = NDArray[np.float64]

DISPLAY_CAP: Final = 700.0


@dataclass(frozen=True, slots=True)
class MeanReading:
    """One paired-mean series now: evidence for harm, safety and (where promised) lift."""

    log_harm: float
    log_safe: float
    log_lift: float
    contrast: means.Contrast | None
    gap: float
    ready: bool


@dataclass(frozen=True, slots=True)
class Readout:
    """All current logs: per test, per metric, combined; and the dispersion of the next look."""

    two_harm: list[float]
    two_safe: list[float]
    one_harm: list[float]
    one_safe: list[float]
    drift: list[drift.DriftReading]
    series: list[MeanReading]
    metric: list[float]
    catastrophe: float
    split: float
    total_e: float
    phi_two: Array
    phi_one: Array

    @property
    def log_total(self) -> float:
        """Log of the combined e-value."""
        return math.log(max(self.total_e, 1e-300))


@dataclass(frozen=True, slots=True)
class _Counts:
    """What the tests on counts of one plan say: logs per test, dispersion per source and test."""

    two_harm: list[float]
    two_safe: list[float]
    one_harm: list[float]
    one_safe: list[float]
    phi_two: Array
    phi_one: Array


def read_out(c: Compiled, v: Views) -> Readout:
    """Evaluate everything; a pure function of the state."""
    return read_out_all([c], [v])[0]


def read_out_all(plans: Sequence[Compiled], states: Sequence[Views]) -> list[Readout]:
    """Evaluate many states of as many plans; each as if it were alone."""
    if not plans:
        return []
    b, v = joined([c.banks for c in plans]), gathered(states, ring=False)
    tests = len(b.two_source)
    harm = log_restarts(
        np.concatenate((v["two_harm"], v["one_harm"])),
        np.concatenate((v["two_count"], v["one_count"])),
        np.concatenate((b.two_horizon, b.one_horizon)),
    ).tolist()
    safe = log_mixture(np.concatenate((v["two_safe"], v["one_safe"]))).tolist()
    phi_two, phi_one = phi_two_arm(b, v), phi_absolute(b, v)
    out, two, one, source = [], 0, tests, 0
    for c, state in zip(plans, states, strict=True):
        next_two, next_one = two + len(c.two), one + len(c.absolute)
        counts = _Counts(
            harm[two:next_two], safe[two:next_two], harm[one:next_one], safe[one:next_one],
            phi_two[source : source + c.size], phi_one[one - tests : next_one - tests],
        )  # fmt: skip
        out.append(_one_plan(c, state, counts))
        two, one, source = next_two, next_one, source + c.size
    return out


def _one_plan(c: Compiled, v: Views, counts: _Counts) -> Readout:
    looks = float(v["clock"][2])
    two_harm, two_safe = counts.two_harm, counts.two_safe
    one_harm, one_safe = counts.one_harm, counts.one_safe
    drifts = [drift.reading(c, v, i, max(looks, 1.0)) for i in range(len(c.drift))]
    series = [_series(c, v, row, looks) for row in range(len(c.series))]
    split = log_evidence(v)
    banks = {
        "two": two_harm,
        "absolute": one_harm,
        "drift": [d.log_harm for d in drifts],
        "series": [s.log_harm for s in series],
        "gap": [s.log_harm for s in series],
    }
    metric = [_mean(parts, banks) for parts in c.components]
    for at, plan in enumerate(c.plan.metrics):
        if isinstance(plan, CountPlan) and split >= MISMATCH:
            # Counts need a clean split: while it is broken they speak for nobody.
            metric[at] = min(metric[at], 0.0)
    total = 1.0
    for weight, log_e in zip(c.plan.weights, metric, strict=True):
        if weight:
            total += weight * (math.exp(min(log_e, DISPLAY_CAP)) - 1.0)
    fast = 0.0
    if len(c.catastrophes):
        logs = [two_harm[row] for row in c.catastrophes.tolist()]
        each = [math.exp(min(one, DISPLAY_CAP)) for one in logs]
        mean = math.fsum(each) / len(each)
        total += CATASTROPHE_SHARE * (mean - 1.0)
        fast = math.log(max(mean, 1e-300))
    return Readout(
        two_harm, two_safe, one_harm, one_safe, drifts, series, metric, fast, split,
        max(total, 0.0), counts.phi_two, counts.phi_one,
    )  # fmt: skip


def _mean(parts: list[Component], banks: dict[str, list[float]]) -> float:
    if not parts:
        return 0.0
    logs = [banks[p.bank][p.row] for p in parts]
    top = max(logs)
    return top + math.log(
        math.fsum(p.share * math.exp(one - top) for p, one in zip(parts, logs, strict=True))
    )


def multipliers(plan: MeanPlan) -> tuple[float, float]:
    """(M of harm and safety, M of the promised lift) of ``mu_c - M mu_b``."""
    sign = 1.0 if plan.direction is Direction.Increase else -1.0
    lift = plan.min_lift if plan.min_lift is not None else 0.0
    return 1.0 - sign * plan.max_regression, 1.0 + sign * lift


def harm_sign(plan: MeanPlan) -> float:
    """Sign that turns the contrast into "harm is positive"."""
    return -1.0 if plan.direction is Direction.Increase else 1.0


def _ready(c: Compiled, row: int, found: means.Contrast | None) -> bool:
    plan = c.series[row].plan
    least = plan.min_intervals if isinstance(plan, MeanPlan) else 10
    return (
        found is not None
        and found.intervals >= least
        and found.observations >= plan.min_observations
        and found.variance > 0.0
    )


def settle_means(c: Compiled, v: Views, looks: float) -> None:
    """Fix v_opt (information expected at a quarter of the run) when a series becomes readable."""
    ahead = max(1.0, c.plan.planned_looks / 4.0 / max(looks, 1.0))
    for row, one in enumerate(c.series):
        if v["mean_v"][row, 0] > 0.0:
            continue
        if isinstance(one.plan, MeanPlan):
            for column, m in enumerate(multipliers(one.plan)):
                found = means.contrast(v, row, m, looks)
                if found is not None and _ready(c, row, found):
                    v["mean_v"][row, column] = ahead / found.variance
        else:
            own, _, variance = means.gap(c, v, row, looks)
            if own is not None and _ready(c, row, own) and variance > 0.0:
                v["mean_v"][row] = ahead / variance


def _series(c: Compiled, v: Views, row: int, looks: float) -> MeanReading:
    one = c.series[row]
    if isinstance(one.plan, FairnessPlan):
        return _gap(c, v, row, one.plan, looks)
    plan = one.plan
    near, far = multipliers(plan)
    found = means.contrast(v, row, near, looks)
    optimum = v["mean_v"][row].tolist()
    if found is None or not _ready(c, row, found) or optimum[0] <= 0.0:
        return MeanReading(0.0, 0.0, 0.0, found, 0.0, ready=False)
    sign = harm_sign(plan)
    levels = c.plan.harm_level * c.share(one.metric), c.plan.safe_level
    rho = np.array([prior_precision(optimum[0], level) for level in levels])
    both = np.array((sign * found.estimate, -sign * found.estimate))
    harm, safe = log_one_sided(both, np.full(2, found.variance), rho).tolist()
    lift = 0.0
    if plan.min_lift is not None and optimum[1] > 0.0:
        other = means.contrast(v, row, far, looks)
        if other is not None and other.variance > 0.0:
            level = c.plan.success_level * c.share(one.metric)
            lift = _one_sided(-sign * other.estimate, other.variance, optimum[1], level)
    return MeanReading(harm, safe, lift, found, 0.0, ready=True)


def _gap(c: Compiled, v: Views, row: int, plan: FairnessPlan, looks: float) -> MeanReading:
    own, gap, variance = means.gap(c, v, row, looks)
    optimum = float(v["mean_v"][row, 0])
    if own is None or not _ready(c, row, own) or variance <= 0.0 or optimum <= 0.0:
        return MeanReading(0.0, 0.0, 0.0, own, gap, ready=False)
    level = c.plan.harm_level * c.share(c.series[row].metric)
    over = _one_sided(gap - plan.max_gap, variance, optimum, level)
    under = _one_sided(-gap - plan.max_gap, variance, optimum, level)
    harm = float(np.logaddexp(over, under)) - math.log(2.0)
    below = _one_sided(plan.max_gap - gap, variance, optimum, c.plan.safe_level)
    above = _one_sided(plan.max_gap + gap, variance, optimum, c.plan.safe_level)
    return MeanReading(harm, min(below, above), 0.0, own, gap, ready=True)


def _one_sided(estimate: float, variance: float, optimum: float, level: float) -> float:
    rho = prior_precision(optimum, level)
    return float(log_one_sided(np.float64(estimate), np.float64(variance), rho))
