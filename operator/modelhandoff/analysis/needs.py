"""What a proof still needs, from the rates seen so far: looks, candidate requests, seconds."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis.compiled import Compiled
from modelhandoff.analysis.kernel import GRID, LN_GRID, one_arm, two_arm
from modelhandoff.analysis.layout import Views
from modelhandoff.analysis.planner import Traffic, mean_proof
from modelhandoff.analysis.readout import Readout

__all__ = ["remaining_looks"]

Array = NDArray[np.float64]


def remaining_looks(
    c: Compiled, v: Views, r: Readout, row: tuple[str, int], needed: float
) -> float:
    """Expected further looks until this proof is reached; inf = not at the present rates."""
    bank, at = row
    handler: dict[str, Callable[[Compiled, Views, Readout, int, float], float]] = {
        "two": _two,
        "absolute": _absolute,
        "drift": _drift,
        "series": _series,
        "lift": _series,
    }
    return handler[bank](c, v, r, at, needed)


def _bets(sums: Array, growth: Array, needed: float) -> float:
    """The first bet to arrive at the needed evidence."""
    good = growth > 1e-12
    if not good.any():
        return math.inf
    return float((np.maximum(needed + LN_GRID - sums[good], 0.0) / growth[good]).min())


def _two(c: Compiled, v: Views, r: Readout, at: int, needed: float) -> float:
    test = c.two[at]
    count = float(v["count"][test.source])
    if count < 1.0:
        return math.inf
    xc, nc, xb, nb = (v["total"][test.source] / count).tolist()
    if nc <= 0.0 or nb <= 0.0:
        return math.inf
    bets = c.two_arrays["bets"][at, GRID:]
    ratio = np.float64(v["two_margin"][at, 1])
    values = [np.float64(one) for one in (xc, nc, xb, nb)]
    growth = two_arm(bets, ratio, np.float64(test.delta_safe), *values)
    phi = float(r.phi_two[test.source])
    return _bets(v["two_safe"][at], np.minimum(growth / phi, 1.0), needed)


def _absolute(c: Compiled, v: Views, r: Readout, at: int, needed: float) -> float:
    test = c.absolute[at]
    count = float(v["count"][test.source])
    if count < 1.0:
        return math.inf
    x, n = (v["total"][test.source, :2] / count).tolist()
    bets = np.exp(c.absolute_arrays["per_event"][at, GRID:])
    growth = one_arm(bets, np.float64(test.limit), np.float64(x), np.float64(n))
    phi = float(r.phi_one[at])
    return _bets(v["one_safe"][at], np.minimum(growth / phi, 1.0), needed)


def _drift(c: Compiled, v: Views, r: Readout, at: int, needed: float) -> float:
    found = r.drift[at]
    looks = float(v[f"drift_state_{at}"][0])
    if looks < 1.0 or found.samples <= 0.0:
        return math.inf
    if not found.ready:
        return found.missing / (found.samples / looks)
    distance = c.drift[at][2].max_kl - found.value
    return _mean(c, distance, found.variance * looks, looks)


def _series(c: Compiled, v: Views, r: Readout, at: int, needed: float) -> float:
    found = r.series[at].contrast
    if found is None or found.intervals < 1.0:
        return math.inf
    if not r.series[at].ready:
        plan = c.series[at].plan
        by_count = (plan.min_observations - found.observations) / max(
            found.observations / found.intervals, 1e-9
        )
        return max(by_count, 10.0 - found.intervals, 1.0)
    distance = abs(found.estimate) if r.series[at].log_safe > r.series[at].log_harm else 0.0
    return _mean(c, distance, found.variance * found.intervals, found.intervals)


def _mean(c: Compiled, distance: float, variance: float, looks: float) -> float:
    if distance <= 0.0:
        return math.inf
    need = mean_proof(
        Traffic(1.0, 1.0), distance, variance,
        planned_looks=c.plan.planned_looks, level=c.plan.safe_level, power=0.5,
    )  # fmt: skip
    return max(need.looks - looks, 1.0)
