"""Traffic split (sample-ratio mismatch): a check of the data, never of the model (2.6).

Observed share k/N against the planned weight with a relative tolerance of 10 %, restarted at each
weight step, divided by its own dispersion (sticky sessions, keep-alive).
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis.dispersion import LENGTHS, one_arm_pair, pairs_of, phi_of
from modelhandoff.analysis.intervals import Interval
from modelhandoff.analysis.kernel import log_mean_exp, one_arm
from modelhandoff.analysis.layout import Views

__all__ = ["MISMATCH", "advance", "log_evidence"]

Array = NDArray[np.float64]

TOLERANCE: Final = 0.1
MISMATCH: Final = math.log(1000.0)
FIRST_LOOK: Final = 10
_BETS: Final[Array] = np.array((1.1, 1.25, 1.5, 2.0, 4.0))
_THETA: Final[Array] = np.stack((_BETS, 1.0 / _BETS))
_L: Final = np.array(LENGTHS, dtype=np.float64)


def advance(v: Views, interval: Interval) -> None:
    """Add one interval; weights under 1 % or of 100 % are not tested."""
    state = v["split"]
    if state[0] != interval.step:
        for name in ("split_bets", "split_block", "split_u2", "split_vu"):
            v[name][:] = 0.0
        state[:] = (interval.step, 0.0, 0.0, 0.0)
    k, other = interval.requests
    if other is None or not 1 <= interval.weight < 100 or k + other < 1.0:
        return
    n = k + other
    count = state[1:2]
    phi = float(phi_of(v["split_u2"], v["split_vu"], pairs_of(count)[0]))
    state[1] += 1.0
    if state[1] >= FIRST_LOOK:
        rho = interval.weight / 100.0
        p0 = np.minimum(rho * np.array([[1.0 + TOLERANCE], [1.0 - TOLERANCE]]), 0.999)
        v["split_bets"][:] += one_arm(_THETA, p0, np.float64(k), np.float64(n)) / phi
        state[2] = max(state[2], log_evidence(v))
    _blocks(v, k, n, int(state[1]))


def _blocks(v: Views, k: float, n: float, count: int) -> None:
    block = v["split_block"]
    block[:, 2] += k
    block[:, 3] += n
    for at, size in enumerate(LENGTHS):
        if count % size:
            continue
        if count >= 2 * size:
            u2, vu = one_arm_pair(*block[at])
            v["split_u2"][at] += u2
            v["split_vu"][at] += vu
        block[at, :2] = block[at, 2:]
        block[at, 2:] = 0.0


def log_evidence(v: Views) -> float:
    """Log of (E_up + E_down)/2 at this look."""
    up, down = log_mean_exp(v["split_bets"]).tolist()
    return float(np.logaddexp(up, down) - math.log(2.0))
