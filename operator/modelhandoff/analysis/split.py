"""Traffic split (sample-ratio mismatch): a check of the data, never of the model (2.6).

Observed share k/N against the planned weight with a relative tolerance of 10 %, restarted at each
weight step, divided by its own dispersion (sticky sessions, keep-alive).
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis.dispersion import LENGTHS, MIN_PAIRS, PRIOR_PAIRS
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
_EDGES: Final[Array] = np.array([[1.0 + TOLERANCE], [1.0 - TOLERANCE]])


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
    count = int(state[1])
    phi = _phi(v["split_u2"].tolist(), v["split_vu"].tolist(), count)
    state[1] = count + 1.0
    if count + 1 >= FIRST_LOOK:
        rho = interval.weight / 100.0
        p0 = np.minimum(rho * _EDGES, 0.999)
        v["split_bets"][:] += one_arm(_THETA, p0, k, n) / phi
    _blocks(v, k, n, count + 1)


def _phi(u2: list[float], vu: list[float], count: int) -> float:
    """phi_pair of one series, as in :func:`~.dispersion.phi_of`."""
    best = 1.0
    for length, a, b in zip(LENGTHS, u2, vu, strict=True):
        pairs = count // length - 1
        if pairs >= MIN_PAIRS:
            prior = PRIOR_PAIRS / length
            best = max(best, (prior + pairs * (a / b if b > 0.0 else 0.0)) / (prior + pairs))
    return best


def _blocks(v: Views, k: float, n: float, count: int) -> None:
    block = v["split_block"]
    block[:, 2] += k
    block[:, 3] += n
    for at, size in enumerate(LENGTHS):
        if count % size:
            continue
        if count >= 2 * size:
            xa, na, xb, nb = block[at].tolist()
            p = (xa + xb) / (na + nb)
            v["split_u2"][at] += ((xb * na - xa * nb) / (na + nb)) ** 2
            v["split_vu"][at] += p * (1.0 - p) * na * nb / (na + nb)
        block[at, :2] = block[at, 2:]
        block[at, 2:] = 0.0


def log_evidence(v: Views) -> float:
    """Log of (E_up + E_down)/2 at this look."""
    up, down = log_mean_exp(v["split_bets"]).tolist()
    return float(np.logaddexp(up, down) - math.log(2.0))
