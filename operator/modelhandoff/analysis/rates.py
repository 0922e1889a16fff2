"""The bank of two-arm tests: one look of the kernel with dispersion, cap and margins (2.1, 2.2)."""

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis.banks import Banks
from modelhandoff.analysis.compiled import (
    NO_HISTORY_RATIO,
    NO_HISTORY_SAFE,
    Compiled,
)
from modelhandoff.analysis.kernel import GRID, NOTHING, restart_step, two_arm
from modelhandoff.analysis.layout import Views
from modelhandoff.analysis.sources import Look

__all__ = ["DECIDE_AFTER", "advance", "cap_low", "settle_margins"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]

DECIDE_AFTER = 10
SAFE_CAP = 1.0


def cap_low(expected: Array) -> Array:
    """Cap of the small bets without history: min(1, max(1/2, 5/expected events)) nats."""
    return np.minimum(1.0, np.maximum(0.5, 5.0 / np.maximum(expected, 1e-9)))


def advance(
    b: Banks, v: Views, look: Look, phi: Array, rate: Array, *, only: Index | None = None
) -> None:
    """Add one interval to every two-arm test whose source has both arms (or to ``only``)."""
    ready = look.both[b.two_source]
    rows = np.flatnonzero(ready) if only is None else only[ready[only]]
    if not len(rows):
        return
    const = b.two
    src = b.two_source[rows]
    margin = v["two_margin"][rows]
    ones = np.ones((1, GRID))
    ratio = np.concatenate((margin[:, :1] * ones, margin[:, 1:2] * ones), axis=1)
    delta = np.concatenate((margin[:, 2:3] * ones, const["delta_safe"][rows, None] * ones), axis=1)
    nc = look.nc[src]
    raw = two_arm(
        const["bets"][rows], ratio, delta,
        look.xc[src, None], nc[:, None], look.xb[src, None], look.nb[src, None],
    )  # fmt: skip
    raw /= phi[src, None]
    expected = nc * rate[src]
    cap = np.where(const["full_cap"][rows], const["cap"][rows], cap_low(expected)[:, None])
    harm = np.minimum(raw[:, :GRID], cap)
    count = v["two_count"][rows] + 1.0
    v["two_harm"][rows] = restart_step(v["two_harm"][rows], count, b.two_horizon[rows], harm)
    v["two_safe"][rows] += np.minimum(raw[:, GRID:], SAFE_CAP)
    v["two_count"][rows] = count


def settle_margins(c: Compiled, v: Views) -> None:
    """After 10 intervals fix the margins that admission could not know; restart if they move.

    Without history and with more than 20 expected candidate events per interval at the largest
    planned weight, slow noise cannot be told from a regression of 1.25: r0 = 1.5, r_s = 1.75. A
    baseline that is almost free of events gets an absolute slack of 0.0005. The rule reads past
    intervals only and evidence restarts at E = 1, so both stay e-processes.
    """
    due = np.flatnonzero((v["two_margin"][:, 3] == 0.0) & (v["two_count"] >= DECIDE_AFTER))
    for row in due.tolist():
        test = c.two[row]
        count = v["count"][test.source]
        x, n = v["total"][test.source, 2], v["total"][test.source, 3]
        rate = x / n if n > 0.0 else 0.0
        seen = (v["total"][test.source, 1] + n) / max(count, 1.0)
        fix_margin(c, v, row, rate, seen)


def fix_margin(c: Compiled, v: Views, row: int, rate: float, per_look: float) -> None:
    """Decide the margins of one test from a baseline rate and the requests per look."""
    test = c.two[row]
    ratio, safe, delta, _ = v["two_margin"][row].tolist()
    before = (ratio, safe, delta)
    if per_look * c.top_weight * rate > 20.0:
        ratio = max(ratio, NO_HISTORY_RATIO)
        safe = max(safe, NO_HISTORY_SAFE, ratio * 1.05)
    if test.auto_delta and rate < 0.0005:
        delta = max(delta, 0.0005)
    v["two_margin"][row] = (ratio, safe, delta, 1.0)
    if (ratio, safe, delta) != before:
        v["two_harm"][row] = NOTHING
        v["two_safe"][row] = 0.0
        v["two_count"][row] = 0.0
