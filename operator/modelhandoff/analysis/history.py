"""What admission learns from the last hours of the baseline: dispersion, rates, tails (2.2).

Before traffic moves, the baseline's own pods are split at random into a pseudo-canary (its share
closest to the candidate's) and the rest. Both run the same model, so whatever differs is noise.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis.dispersion import LENGTHS, history_phi, one_arm_history
from modelhandoff.analysis.plan import Dispersion, EdgeHistory, RateHistory
from modelhandoff.analysis.wire import WireError

__all__ = ["MAX_SPLITS", "MIN_INTERVALS", "edge_history", "rate_history"]

Array = NDArray[np.float64]

MIN_INTERVALS: Final = 120
MAX_SPLITS: Final = 10
PERIODIC_LENGTHS: Final = (1, 2, 4, 8)


def rate_history(counts: Array, *, periodic: bool = False) -> RateHistory:
    """History of one rate from A/A splits.

    Args:
        counts: (splits, intervals, 4): events and trials of pseudo-canary, then of the rest; up to
            10 splits of the same intervals.
        periodic: the history has a daily swing; the absolute test then uses blocks of at most 8
            intervals (longer ones would take the swing for noise).

    Raises:
        WireError: wrong shape, negative or non-finite counts, more events than trials, or fewer
            than 120 intervals: too short a history is no history.
    """
    _checked(counts)
    phi, info = history_phi(counts)
    lengths = PERIODIC_LENGTHS if periodic else LENGTHS
    phi_one, info_one = one_arm_history(counts[..., :2], lengths)
    both = counts[0, :, 0].sum() + counts[0, :, 2].sum()
    trials = counts[0, :, 1].sum() + counts[0, :, 3].sum()
    return RateHistory(
        baseline_rate=float(both / trials) if trials > 0.0 else 0.0,
        relative=Dispersion(phi, info),
        absolute=Dispersion(phi_one, info_one, periodic),
        intervals=counts.shape[1],
    )


def edge_history(
    edge: float, counts: Array, *, harm_margin: float | None = None, periodic: bool = False
) -> EdgeHistory:
    """History of the tail above one latency edge; ``counts`` as in :func:`rate_history`.

    Events are the observations above the edge. ``harm_margin`` from
    :func:`~.latency.edge_margins` when "may grow by 10 %" was asked.
    """
    found = rate_history(counts, periodic=periodic)
    return EdgeHistory(edge, found.baseline_rate, found.relative, found.absolute, harm_margin)


def _checked(counts: Array) -> None:
    if counts.ndim != 3 or counts.shape[2] != 4 or not 1 <= counts.shape[0] <= MAX_SPLITS:
        wanted = f"an array (1 to {MAX_SPLITS} splits, intervals, 4)"
        raise WireError("counts", wanted, counts.shape)
    if counts.shape[1] < MIN_INTERVALS:
        raise WireError("counts", f"at least {MIN_INTERVALS} intervals", counts.shape[1])
    events, trials = counts[..., 0::2], counts[..., 1::2]
    if not np.isfinite(counts).all() or (counts < 0.0).any() or (events > trials).any():
        raise WireError("counts", "finite counts with 0 <= events <= trials", "others")
