"""Means per arm, always compared interval by interval (2.8); fairness gaps reuse the same sums.

Pooled means turn a traffic ramp plus a moving level into a lift. Here every interval gives one
difference ``D = m_c - M m_b`` with weight ``h = n_c n_b/(n_c+n_b)``; intervals without one arm are
skipped. Sums are kept for both arms apart, so that any multiplier M can be asked later.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis import windows
from modelhandoff.analysis.compiled import Compiled
from modelhandoff.analysis.dispersion import BIN_LENGTHS
from modelhandoff.analysis.intervals import Interval, Moments, Rate
from modelhandoff.analysis.layout import Views
from modelhandoff.analysis.plan import FairnessPlan
from modelhandoff.analysis.sources import TINY

__all__ = ["Contrast", "advance", "contrast"]

Array = NDArray[np.float64]

# Columns of the running sums of one series.
H, HA, HB, H2C, H2B, WC, WB, FC, FB, NC, NB, K = range(12)
MIN_BLOCKS: Final = 8
_L: Final = np.array(BIN_LENGTHS, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Contrast:
    """Estimate and variance of ``mu_c - M mu_b``, and what they rest on."""

    estimate: float
    variance: float
    candidate: float
    baseline: float
    intervals: float
    observations: float
    window: float | None


def advance(c: Compiled, v: Views, interval: Interval, looks: float) -> None:
    """Add one interval to every series."""
    for row, one in enumerate(c.series):
        first = _moments(interval.metrics.get(one.key))
        if one.other:
            pair = _moments(interval.metrics.get(one.other))
            arms = (first[0], pair[0])
        else:
            arms = first
        _add(v, row, arms[0], arms[1], looks)


Three = tuple[float, float, float]


def _moments(found: object) -> tuple[Three | None, Three | None]:
    if isinstance(found, Moments):
        return found.candidate, found.baseline
    if isinstance(found, Rate):
        (x, n), base = found.candidate, found.baseline
        return (n, x, x), None if base is None else (base[1], base[0], base[0])
    return None, None


def _add(v: Views, row: int, cand: Three | None, base: Three | None, looks: float) -> None:
    window = v["mean_window"][row]
    if cand is None or base is None or cand[0] < TINY or base[0] < TINY:
        windows.advance(window, None, looks)
        return
    nc, sc, qc = cand
    nb, sb, qb = base
    h = nc * nb / (nc + nb)
    a, b = h * sc / nc, h * sb / nb
    triple = np.array((h, a, b))
    windows.advance(window, triple, looks)
    # Within-arm squares; a rounded sum of squares can fall below S^2/n, never count it negative.
    wc = max(qc - sc * sc / nc, 0.0) if nc >= 2.0 else 0.0
    wb = max(qb - sb * sb / nb, 0.0) if nb >= 2.0 else 0.0
    sums = v["mean"][row]
    sums += (
        h, a, b, h * h / nc, h * h / nb, wc, wb,
        nc - 1.0 if nc >= 2.0 else 0.0, nb - 1.0 if nb >= 2.0 else 0.0, nc, nb, 1.0,
    )  # fmt: skip
    count = int(sums[K])
    block, pairs = v["mean_block"][row], v["mean_pairs"][row]
    block[:, 3:] += triple
    for at, size in enumerate(BIN_LENGTHS):
        if count % size:
            continue
        ho, ao, bo, hn, an, bn = block[at].tolist()
        if count >= 2 * size:
            scale = 1.0 / ho + 1.0 / hn
            da, db = an / hn - ao / ho, bn / hn - bo / ho
            pairs[at] += (da * da / scale, da * db / scale, db * db / scale)
        block[at, :3] = block[at, 3:]
        block[at, 3:] = 0.0


def contrast(v: Views, row: int, multiplier: float, looks: float) -> Contrast | None:
    """``mu_c - M mu_b`` with var = max(within, successive block differences); None without data.

    Within: ``sum h^2 (s_c^2/n_c + M^2 s_b^2/n_b)/(sum h)^2``. Blocks of L in {1, 2, 4, 8}:
    ``V_L = [sum (D_{j+1}-D_j)^2/(1/H_j+1/H_{j+1})/(k-1)]/sum h``, used from k >= 8 blocks.
    Successive differences, so that an onset does not inflate them.
    """
    sums = v["mean"][row].tolist()
    h = sums[H]
    if h <= 0.0:
        return None
    m = multiplier
    s2c = sums[WC] / sums[FC] if sums[FC] > 0.0 else 0.0
    s2b = sums[WB] / sums[FB] if sums[FB] > 0.0 else 0.0
    within = (sums[H2C] * s2c + m * m * sums[H2B] * s2b) / (h * h)
    blocks = np.floor(sums[K] / _L)
    pairs = v["mean_pairs"][row]
    squares = pairs[:, 0] - 2.0 * m * pairs[:, 1] + m * m * pairs[:, 2]
    by_block = np.where(blocks >= MIN_BLOCKS, squares / np.maximum(blocks - 1.0, 1.0), 0.0) / h
    variance = max(within, float(by_block.max()))
    window = windows.newest(v["mean_window"][row]).tolist()
    full = window[0] >= windows.length(looks) and window[1] >= 0.8 * window[0] and window[2] > 0.0
    return Contrast(
        estimate=(sums[HA] - m * sums[HB]) / h,
        variance=variance,
        candidate=sums[HA] / h,
        baseline=sums[HB] / h,
        intervals=sums[K],
        observations=min(sums[NC], sums[NB]),
        window=(window[3] - m * window[4]) / window[2] if full else None,
    )


def gap(c: Compiled, v: Views, row: int, looks: float) -> tuple[Contrast | None, float, float]:
    """One group against the reference: (its contrast, gap, variance of the gap); 2.9.

    Against the baseline the gap is ``(m_c,g - m_b,g) - (m_c,ref - m_b,ref)``: the double
    difference, rearranged so that each half is paired by interval and a ramp cannot fake it.
    """
    one = c.series[row]
    assert isinstance(one.plan, FairnessPlan)
    own = contrast(v, row, 1.0, looks)
    if own is None or not one.plan.against_baseline:
        return own, own.estimate if own else 0.0, own.variance if own else 0.0
    first = next(i for i, s in enumerate(c.series) if s.metric == one.metric)
    ref = contrast(v, first, 1.0, looks)
    if ref is None:
        return None, 0.0, 0.0
    return own, own.estimate - ref.estimate, own.variance + ref.variance
