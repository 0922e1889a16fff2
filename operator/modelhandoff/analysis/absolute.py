"""The bank of absolute tests: candidate rate against a fixed limit, shared incidents excused."""

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis.banks import Banks
from modelhandoff.analysis.compiled import RING
from modelhandoff.analysis.dispersion import (
    LENGTHS,
    growth,
    one_arm_pair,
    pairs_of,
    phi_of,
)
from modelhandoff.analysis.kernel import GRID, restart_step
from modelhandoff.analysis.layout import Views
from modelhandoff.analysis.rates import SAFE_CAP, cap_low
from modelhandoff.analysis.sources import Look

__all__ = ["EXCUSE_LOOKS", "advance", "phi_absolute", "shared_incident"]

Array = NDArray[np.float64]

EXCUSE_LOOKS = 15
_LENGTHS = np.array(LENGTHS, dtype=np.float64)


def phi_absolute(b: Banks, v: Views) -> Array:
    """phi_t per absolute test from the intervals before this one (2.3)."""
    const = b.one
    count = v["one_count"]
    pairs = np.where(const["ignored"], 0.0, pairs_of(count))
    pair = phi_of(v["one_u2"], v["one_vu"], pairs)
    grown = 1.0 + growth(count) * (pair - 1.0)
    known = const["phi"] > 0.0
    if not known.any():
        return grown
    mean = v["one_information"] / np.maximum(count, 1.0)
    ratio = mean / np.where(const["information"] > 0.0, const["information"], np.inf)
    history = 1.0 + (const["phi"] - 1.0) * np.maximum(1.0, ratio)
    return np.where(known, np.maximum(history, np.where(const["aged"], grown, pair)), grown)


def excused(b: Banks, v: Views, look: Look) -> NDArray[np.bool_]:
    """Whether the baseline is over the limit too: now, or over the last 15 looks (this included).

    Reads the baseline only, which given the rates is independent of the candidate, so the harm
    process stays an e-process. Call before the interval is remembered.
    """
    src = b.one_source
    limit = b.one["limit"]
    x, n = look.xb[src], look.nb[src]
    count = v["count"][src]
    back = np.arange(1.0, EXCUSE_LOOKS)
    at = (count[:, None] - back).astype(np.intp) % RING
    inside = back <= count[:, None]
    past_x, past_n = (v["ring"][2:4, src[:, None], at] * inside).sum(axis=2)
    return np.asarray((x > limit * n) | (x + past_x > limit * (n + past_n)))


def advance(b: Banks, v: Views, look: Look, phi: Array) -> None:
    """Add one interval to every absolute test with candidate data; phi per test, of the past."""
    src = b.one_source
    rows = np.flatnonzero(look.nc[src] > 0.0)
    if not len(rows):
        return
    const = b.one
    excuse = b.excusable
    if excuse.any():
        excuse = excuse & excused(b, v, look)
    x, n = look.xc[src], look.nc[src]
    raw = x[:, None] * const["per_event"] + n[:, None] * const["per_trial"]
    raw /= phi[:, None]
    cap = np.where(const["full_cap"], const["cap"], cap_low(n * const["limit"])[:, None])
    harm = np.where(excuse[:, None], 0.0, np.minimum(raw[:, :GRID], cap))
    count = v["one_count"] + 1.0
    stepped = restart_step(v["one_harm"], count, b.one_horizon, harm)
    v["one_harm"][rows] = stepped[rows]
    v["one_safe"][rows] += np.minimum(raw[rows, GRID:], SAFE_CAP)
    v["one_count"][rows] = count[rows]
    v["one_excused"][rows] = (v["one_excused"][rows] * 2.0 + excuse[rows]) % 32.0
    rate = x / np.where(n > 0.0, n, 1.0)
    v["one_information"] += n * rate * (1.0 - rate)
    _blocks(v, rows, x, n, count)


def _blocks(v: Views, rows: NDArray[np.intp], x: Array, n: Array, count: Array) -> None:
    """Add (x, n) to the open block of every length; close the pairs that are complete."""
    block = v["one_block"]
    block[rows, :, 2] += x[rows, None]
    block[rows, :, 3] += n[rows, None]
    closing = count[rows, None] % _LENGTHS == 0.0
    sub = block[rows]
    u2, vu = one_arm_pair(sub[..., 0], sub[..., 1], sub[..., 2], sub[..., 3])
    paired = closing & (count[rows, None] >= 2.0 * _LENGTHS)
    v["one_u2"][rows] += np.where(paired, u2, 0.0)
    v["one_vu"][rows] += np.where(paired, vu, 0.0)
    sub[closing, 0:2] = sub[closing, 2:4]
    sub[closing, 2:4] = 0.0
    block[rows] = sub


_BITS = np.array([bin(i).count("1") for i in range(32)])


def shared_incident(v: Views) -> NDArray[np.bool_]:
    """Per absolute test: the current interval is excused and at least 3 of the last 5 were."""
    mask = v["one_excused"].astype(np.intp)
    return np.asarray((mask % 2 == 1) & (_BITS[mask] >= 3))
