"""How much noisier than binomial the counts are: phi from pairs of neighbouring blocks.

Real traffic comes in bursts; every count-based test breaks on it. Increments are divided by phi,
which is estimated from *successive* differences, so that a lasting change of the ratio (the very
thing we look for) touches at most two pairs per block length and cannot hide itself.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LENGTHS", "MIN_PAIRS", "PRIOR_PAIRS", "bin_pair", "growth", "history_phi", "information",
    "one_arm_history", "one_arm_pair", "pairs_of", "phi_of", "two_arm_pair",
]  # fmt: skip

Array = NDArray[np.float64]

LENGTHS: Final = (1, 2, 4, 8, 16, 32)
BIN_LENGTHS: Final = (1, 2, 4, 8)
MIN_PAIRS: Final = 7
PRIOR_PAIRS: Final = 20.0
_L: Final[Array] = np.array(LENGTHS, dtype=np.float64)


def two_arm_pair(xc: Array, nc: Array, xb: Array, nb: Array) -> tuple[Array, Array]:
    """(u^2, vu) of one pair of blocks; inputs have shape (..., 2, L), both arms non-empty.

    The ratio r is the Mantel-Haenszel ratio of this pair alone (+1/2 on both sides); given the
    total m of an interval the candidate's part is binomial with ``pi = r w/(1+r w)``. u is the
    contrast of the two blocks' residuals with mean 0, vu its binomial variance.
    """
    total = nc + nb
    a = (xc * nb / total).sum(axis=(-2, -1))
    b = (xb * nc / total).sum(axis=(-2, -1))
    r = (a + 0.5) / (b + 0.5)
    rw = r[..., None, None] * nc / nb
    pi = rw / (1.0 + rw)
    m = xc + xb
    e = (xc - m * pi).sum(axis=-1)
    v = (m * pi * (1.0 - pi)).sum(axis=-1)
    return _contrast(e[..., 0], e[..., 1], v[..., 0], v[..., 1])


def one_arm_pair(xa: Array, na: Array, xb: Array, nb: Array) -> tuple[Array, Array]:
    """(u^2, vu) of two neighbouring blocks of one arm: sums of events x and trials n."""
    n = na + nb
    safe = np.where(n > 0.0, n, 1.0)
    p = (xa + xb) / safe
    u = (xb * na - xa * nb) / safe
    return u * u, p * (1.0 - p) * na * nb / safe


def _contrast(ea: Array, eb: Array, va: Array, vb: Array) -> tuple[Array, Array]:
    v = va + vb
    safe = np.where(v > 0.0, v, 1.0)
    u = (ea * vb - eb * va) / safe
    return u * u, va * vb / safe


def bin_pair(ha: float, da: Array, hb: float, db: Array, pooled: Array) -> tuple[float, float]:
    """(X, expected X) of two neighbouring blocks of K-bin differences.

    ``h`` harmonic sizes, ``d`` (K,) weighted differences candidate - baseline, ``pooled`` (K,)
    counts of both arms in the pair.
    """
    total = float(pooled.sum())
    if ha <= 0.0 or hb <= 0.0 or total <= 0.0:
        return 0.0, 0.0
    seen = pooled > 0.0
    gap = da[seen] - db[seen]
    x = float((gap * gap / pooled[seen]).sum()) * total
    return x, (float(np.count_nonzero(seen)) - 1.0) * (1.0 / ha + 1.0 / hb)


def pairs_of(count: Array, lengths: Array = _L) -> Array:
    """Number of block pairs per length after ``count`` intervals: floor(count/L) - 1."""
    return np.maximum(np.floor(count[..., None] / lengths) - 1.0, 0.0)


def phi_of(u2: Array, vu: Array, pairs: Array, lengths: Array = _L) -> Array:
    """phi_pair: shrunk towards 1 with 20/L pairs, maximum over L with at least 7 pairs.

    Shapes (..., lengths); the result drops the last axis and is at least 1.
    """
    f = u2 / np.where(vu > 0.0, vu, 1.0)
    prior = PRIOR_PAIRS / lengths
    shrunk = (prior + pairs * f) / (prior + pairs)
    return np.asarray(np.maximum(np.where(pairs >= MIN_PAIRS, shrunk, 1.0).max(axis=-1), 1.0))


def growth(count: Array) -> Array:
    """g_t = 1 + 2 min(1, 60/t): without history, what short blocks see counts up to three times."""
    return 1.0 + 2.0 * np.minimum(1.0, 60.0 / np.maximum(count, 1.0))


def information(xc: Array, nc: Array, xb: Array, nb: Array) -> Array:
    """Return m pi (1-pi) per interval at equal rates: the variance phi was estimated on."""
    pi = nc / (nc + nb)
    return (xc + xb) * pi * (1.0 - pi)


def history_phi(counts: Array, lengths: tuple[int, ...] = LENGTHS) -> tuple[float, float]:
    """phi_hist and mean information of A/A splits of the baseline before the rollout.

    Args:
        counts: (splits, T, 4) with columns x_c, n_c, x_b, n_b of pseudo-canary and rest; T of the
            order of hundreds (at least 120 intervals over at least 2 h is wanted).
        lengths: block lengths; restrict to (1, 2, 4, 8) when the history has a daily period.

    Returns:
        (phi, information): median over splits of f, maximum over lengths, at least 1.
    """
    per_split, info = [], []
    for one in counts:
        rows = one[(one[:, 1] > 0) & (one[:, 3] > 0)]
        info.append(float(information(*rows.T).mean()) if len(rows) else 0.0)
        per_split.append([_f_two(rows, length) for length in lengths])
    return max(1.0, float(np.median(np.array(per_split), axis=0).max())), float(np.median(info))


def _f_two(rows: Array, length: int) -> float:
    blocks = len(rows) // length
    if blocks - 1 < MIN_PAIRS:
        return 1.0
    cut = rows[: blocks * length].T.reshape(4, blocks, length)
    u2, vu = two_arm_pair(*(np.stack((one[:-1], one[1:]), axis=1) for one in cut))
    total = float(vu.sum())
    return float(u2.sum()) / total if total > 0.0 else 1.0


def one_arm_history(counts: Array, lengths: tuple[int, ...] = LENGTHS) -> tuple[float, float]:
    """The same for an absolute test: ``counts`` (splits, T, 2) events and trials."""
    per_split, info = [], []
    for one in counts:
        rows = one[one[:, 1] > 0]
        rate = rows[:, 0] / rows[:, 1]
        info.append(float((rows[:, 1] * rate * (1.0 - rate)).mean()) if len(rows) else 0.0)
        found = []
        for length in lengths:
            blocks = len(rows) // length
            sums = rows[: blocks * length].reshape(blocks, length, 2).sum(axis=1)
            u2, vu = one_arm_pair(sums[:-1, 0], sums[:-1, 1], sums[1:, 0], sums[1:, 1])
            total = float(vu.sum())
            usable = blocks - 1 >= MIN_PAIRS and total > 0.0
            found.append(float(u2.sum()) / total if usable else 1.0)
        per_split.append(found)
    return max(1.0, float(np.median(np.array(per_split), axis=0).max())), float(np.median(info))
