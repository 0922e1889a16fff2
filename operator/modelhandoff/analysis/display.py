"""Intervals and values people read; they never decide (2.1, "Reported")."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis.kernel import (
    ABSOLUTE_HARM,
    ABSOLUTE_SAFE,
    GRID,
    HARM,
    LN_GRID,
    SAFE,
)

__all__ = ["mantel_haenszel", "rate_interval", "ratio_interval"]

Array = NDArray[np.float64]

LEVEL: Final = 0.05
_RATIOS: Final[Array] = np.geomspace(1.0 / 64.0, 64.0, 97)
_RATES: Final[Array] = np.geomspace(1e-6, 0.98, 121)
_LN_R: Final[Array] = np.log(_RATIOS)
_LN_P: Final[Array] = np.log(_RATES)
_BETS: Final[Array] = np.concatenate((HARM, SAFE))[:, None]
_LN_BETS: Final[Array] = np.log(_BETS)
_ABSOLUTE: Final[Array] = np.concatenate((ABSOLUTE_HARM, ABSOLUTE_SAFE))[:, None]
_LN_ABSOLUTE: Final[Array] = np.log(_ABSOLUTE)
_PER_TRIAL: Final[Array] = np.log1p(_RATES * (_ABSOLUTE - 1.0))


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
    xc, nc, xb, nb = rows.T[..., None, None]
    # The kernel without slack: (xc + xb) ln b + xc ln theta, for all bets and ratios at once.
    w = _RATIOS * (nc / nb)
    ln_b = np.log1p(w) - np.log1p(_BETS * w)
    logs = ((xc + xb) * ln_b + xc * _LN_BETS).sum(axis=0)
    return _invert(_LN_R, logs, phi, level)


def rate_interval(x: float, n: float, phi: float, level: float = LEVEL) -> tuple[float, float]:
    """Anytime-valid interval of one rate from x events in n trials."""
    found = _invert(_LN_P, x * _LN_ABSOLUTE - n * _PER_TRIAL, phi, level)
    return min(found[0], 1.0), min(found[1], 1.0)


def _invert(grid: Array, logs: Array, phi: float, level: float) -> tuple[float, float]:
    """Where neither side is refuted, by linear interpolation of the logs.

    ``logs`` (12, grid): six bets against each side, mixed evenly.
    """
    sides = (logs / phi).reshape(2, GRID, len(grid))
    top = sides.max(axis=1)
    up, down = np.log(np.exp(sides - top[:, None]).sum(axis=1)) + (top - LN_GRID)
    bound = math.log(2.0 / level)
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
