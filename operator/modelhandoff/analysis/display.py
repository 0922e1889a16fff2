"""Intervals and values people read; they never decide (2.1, "Reported")."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis.kernel import (
    ABSOLUTE_HARM,
    ABSOLUTE_SAFE,
    HARM,
    SAFE,
    log_mixture,
    one_arm,
    two_arm,
)

__all__ = ["mantel_haenszel", "rate_interval", "ratio_interval"]

Array = NDArray[np.float64]

LEVEL: Final = 0.05
_RATIOS: Final[Array] = np.geomspace(1.0 / 64.0, 64.0, 97)
_RATES: Final[Array] = np.geomspace(1e-6, 0.98, 121)
_LN_R: Final[Array] = np.log(_RATIOS)
_LN_P: Final[Array] = np.log(_RATES)
_ZERO: Final = np.float64(0.0)


def mantel_haenszel(steps: Array) -> float | None:
    """Ratio of rates from sums per traffic step (steps, 4): a ramp cannot distort it."""
    rows = steps[(steps[:, 1] > 0.0) & (steps[:, 3] > 0.0)]
    total = rows[:, 1] + rows[:, 3]
    a = float((rows[:, 0] * rows[:, 3] / total).sum())
    b = float((rows[:, 2] * rows[:, 1] / total).sum())
    return a / b if b > 0.0 else None


def ratio_interval(steps: Array, phi: float, level: float = LEVEL) -> tuple[float, float] | None:
    """Anytime-valid interval of the rate ratio, now: both one-sided mixtures below 2/level.

    Counts pooled per traffic step, increments divided by today's phi, no restarts, no cap.
    """
    rows = steps[(steps[:, 1] > 0.0) & (steps[:, 3] > 0.0)]
    if not len(rows):
        return None
    xc, nc, xb, nb = (rows[:, i] for i in range(4))
    bound = math.log(2.0 / level)
    ratios = _RATIOS[:, None, None]
    up = two_arm(HARM[:, None], ratios, _ZERO, xc, nc, xb, nb).sum(-1) / phi
    down = two_arm(SAFE[:, None], ratios, _ZERO, xc, nc, xb, nb).sum(-1) / phi
    return _invert(_LN_R, log_mixture(up), log_mixture(down), bound)


def rate_interval(x: float, n: float, phi: float, level: float = LEVEL) -> tuple[float, float]:
    """Anytime-valid interval of one rate from x events in n trials."""
    bound = math.log(2.0 / level)
    rates = _RATES[:, None]
    up = one_arm(ABSOLUTE_HARM, rates, np.float64(x), np.float64(n)) / phi
    down = one_arm(ABSOLUTE_SAFE, rates, np.float64(x), np.float64(n)) / phi
    found = _invert(_LN_P, log_mixture(up), log_mixture(down), bound)
    return min(found[0], 1.0), min(found[1], 1.0)


def _invert(grid: Array, up: Array, down: Array, bound: float) -> tuple[float, float]:
    """Where neither side is refuted, by linear interpolation of the logs."""
    low = _cross(grid, up, bound, first=True)
    high = _cross(grid, down, bound, first=False)
    return low, high


def _cross(grid: Array, logs: Array, bound: float, *, first: bool) -> float:
    inside = np.flatnonzero(logs < bound)
    if not len(inside):
        return float(np.exp(grid[-1] if first else grid[0]))
    at = int(inside[0] if first else inside[-1])
    out = at - 1 if first else at + 1
    if not 0 <= out < len(grid):
        return 0.0 if first else math.inf
    part = (bound - logs[at]) / (logs[out] - logs[at])
    return float(np.exp(grid[at] + part * (grid[out] - grid[at])))
