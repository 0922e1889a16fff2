"""Drift of features and outputs: a bias-corrected KL divergence with a variance (2.7).

The plug-in KL of identical distributions averages (K-1)/(2n): 20 bins and 100 requests already
give 0.10. Here the bias is removed, the variance includes what a KL at the margin must have, and
the result feeds a one-sided normal mixture with restarts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis import windows
from modelhandoff.analysis.compiled import Compiled
from modelhandoff.analysis.dispersion import BIN_LENGTHS, bin_pair, phi_of
from modelhandoff.analysis.intervals import Bins, Interval
from modelhandoff.analysis.layout import Views
from modelhandoff.analysis.mixture import log_one_sided, prior_precision
from modelhandoff.analysis.plan import DriftPlan, Feature
from modelhandoff.analysis.sources import TINY
from modelhandoff.analysis.wire import WireError

__all__ = [
    "Divergence", "DriftReading", "advance", "bias_floor", "culprits", "divergence", "group_counts",
    "jensen_shannon", "merge_bins", "population_stability", "reading", "sustained_alarm",
]  # fmt: skip

Array = NDArray[np.float64]

PER_BIN: Final = 20.0
MIN_EXPECTED: Final = 5.0
SETTLE_AFTER: Final = 10
_L: Final = np.array(BIN_LENGTHS, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Divergence:
    """Estimates per start (arrays over starts): D, V, s and whether the start rule holds."""

    value: Array
    variance: Array
    scale: Array
    n: Array
    nb: Array
    ready: Array
    smallest: Array


@dataclass(frozen=True, slots=True)
class DriftReading:
    """One feature now: evidence both ways, estimate, phi, and what is still missing."""

    log_harm: float
    log_safe: float
    value: float
    variance: float
    phi: float
    samples: float
    missing: float
    window: float | None
    ready: bool


def group_counts(counts: Sequence[float], feature: Feature) -> Array:
    """Raw bins summed into judged bins."""
    raw = np.asarray(counts, dtype=np.float64)
    if not feature.groups:
        return raw
    return np.asarray(
        np.bincount(np.asarray(feature.groups), weights=raw, minlength=feature.judged),
        dtype=np.float64,
    )


def merge_bins(
    shares: Sequence[float], observations: float, smallest: float = 0.001
) -> tuple[int, ...]:
    """Merge neighbours at admission until every bin can be judged.

    Args:
        shares: expected share per raw bin (training or baseline history).
        observations: candidate observations expected at a quarter of the planned run.
        smallest: least share of a judged bin.

    Returns:
        raw bin -> judged bin, neighbours only, each with at least 5 expected observations.
    """
    need = max(smallest, MIN_EXPECTED / max(observations, 1e-9)) * math.fsum(shares)
    groups, held, current = [], 0.0, 0
    for share in shares:
        if held >= need:
            current, held = current + 1, 0.0
        groups.append(current)
        held += share
    if held < need and current > 0:
        groups = [min(g, current - 1) for g in groups]
    return tuple(groups)


def bias_floor(bins: int, observations: float) -> float:
    """(K-1)/(2n): a KL margin below it cannot be told from sampling noise."""
    return (bins - 1) / (2.0 * observations)


def divergence(
    sums: Array, feature: Feature, kappa: float, phi: float, bins: int | None = None
) -> Divergence:
    """D and V from sums (..., 2K+3): hC/n_c, hB/n_b, sum h, sum h^2/n_c, sum h^2/n_b.

    ``bins`` < K: only the first bins are in use (neighbours were merged during the run).

    ``KL0 = sum p ln(p/q)`` with half a count per bin; ``bias = (K-1)/(2n) + sum(p/q - p)/(2 n_b)``;
    ``D = KL0 - phi bias``; ``V = phi max(V0, 2 kappa s) + phi^2 (K-1) s^2/2``, s = 1/n + 1/n_b.
    """
    wide = feature.judged
    k = bins or wide
    live = not feature.reference
    h = sums[..., 2 * wide]
    positive = h > 0.0
    hs = np.where(positive, h, 1.0)[..., None]
    n = np.where(positive, h * h / np.where(positive, sums[..., 2 * wide + 1], 1.0), 0.0)
    ns = np.maximum(n, 1e-9)[..., None]
    p = (ns * sums[..., :k] / hs + 0.5) / (ns + k / 2.0)
    if live:
        nb = np.where(positive, h * h / np.where(positive, sums[..., 2 * wide + 2], 1.0), 0.0)
        bs = np.maximum(nb, 1e-9)[..., None]
        share = sums[..., wide : wide + k] / hs
        q = (bs * share + 0.5) / (bs + k / 2.0)
        inverse = 1.0 / bs[..., 0]
    else:
        nb = np.full_like(n, np.inf)
        q = np.broadcast_to(np.asarray(feature.reference), p.shape)
        share = q
        inverse = np.zeros_like(n)
    ratio = p / q
    logs = np.log(ratio)
    kl = (p * logs).sum(-1)
    v0 = ((p * logs * logs).sum(-1) - kl * kl) / ns[..., 0]
    bias = (k - 1.0) / (2.0 * ns[..., 0])
    if live:
        bias = bias + (ratio - p).sum(-1) * inverse / 2.0
        v0 = v0 + ((p * ratio).sum(-1) - 1.0) * inverse
    s = 1.0 / ns[..., 0] + inverse
    value = kl - phi * bias
    variance = phi * np.maximum(v0, 2.0 * kappa * s) + phi * phi * (k - 1.0) * s * s / 2.0
    # Share of the rarest judged bin: of the reference, else of the baseline itself.
    least = np.minimum.reduce(share, axis=-1)
    small = np.minimum(n, nb)
    ready = positive & (small >= PER_BIN * k) & (small * least >= MIN_EXPECTED)
    return Divergence(value, variance, s, n, nb, ready, least)


def advance(c: Compiled, v: Views, interval: Interval, looks: float) -> None:
    """Add one interval (look number ``looks`` from 1) to every feature."""
    step, most = c.starts
    started = min(most, int((looks - 1.0) // step) + 1)
    for i, (_, feature, plan) in enumerate(c.drift):
        vector, counts = _increment(interval, feature, v.get(f"drift_groups_{i}"))
        windows.advance(v[f"drift_window_{i}"], vector, looks)
        state = v[f"drift_state_{i}"]
        hours = v.get(f"drift_hours_{i}")
        if hours is not None and plan.sustained is not None:
            _hour(hours, state, vector, plan.sustained.window_looks)
        if vector is None or counts is None:
            continue
        sums = v[f"drift_sum_{i}"]
        sums[:started] += vector
        state[0] += 1.0
        k = feature.judged
        block, pairs = v[f"drift_block_{i}"], v[f"drift_pairs_{i}"]
        _blocks(block, pairs, vector, counts, k=k, count=int(state[0]))
        if state[3] == 0.0 and state[0] == SETTLE_AFTER:
            _settle_bins(c, v, i, feature)
        if state[1] == 0.0 and state[0] > 0.0:
            first = divergence(sums[:1], feature, plan.max_kl, 1.0, int(state[3]))
            if first.ready[0]:
                # s planned at a quarter of the run, from what s is now; fixed from here on.
                state[1] = float(first.scale[0]) * looks / max(c.plan.planned_looks / 4.0, looks)


def _settle_bins(c: Compiled, v: Views, i: int, feature: Feature) -> None:
    """Live baseline that nobody merged at admission: merge by the first 10 baseline intervals.

    If the start rule will hold at a quarter of the run nothing changes; else neighbours are merged
    and the evidence starts again, so that the choice cannot bias what follows.
    """
    k = feature.judged
    state, sums = v[f"drift_state_{i}"], v[f"drift_sum_{i}"][0]
    h = float(sums[2 * k])
    quarter = max(c.plan.planned_looks / 4.0 / SETTLE_AFTER, 1.0)
    smaller = min(h * h / float(sums[2 * k + 1]), h * h / float(sums[2 * k + 2])) * quarter
    shares = (sums[k : 2 * k] / h).tolist()
    if smaller * min(shares) >= MIN_EXPECTED and smaller >= PER_BIN * k:
        state[3] = k
        return
    groups = merge_bins(shares, smaller)
    while max(groups) > 1 and smaller < PER_BIN * (max(groups) + 1):
        groups = tuple(g // 2 for g in groups)
    for name in ("sum", "window", "block", "pairs"):
        v[f"drift_{name}_{i}"][:] = 0.0
    v[f"drift_groups_{i}"][:] = groups
    state[:] = (0.0, 0.0, state[2], float(max(groups) + 1))


def _increment(
    interval: Interval, feature: Feature, merged: Array | None
) -> tuple[Array | None, Array | None]:
    found = interval.metrics.get(feature.key)
    if not isinstance(found, Bins) or len(found.candidate) != feature.bins:
        return None, None
    cand = _regroup(group_counts(found.candidate, feature), merged)
    nc = float(cand.sum())
    if nc < TINY:
        return None, None
    k = feature.judged
    out = np.zeros(2 * k + 3)
    if feature.reference:
        out[:k] = cand
        out[2 * k] = out[2 * k + 1] = nc
        return out, cand
    if found.baseline is None:
        return None, None
    base = _regroup(group_counts(found.baseline, feature), merged)
    nb = float(base.sum())
    if nb < TINY:
        return None, None
    h = nc * nb / (nc + nb)
    out[:k] = cand * (h / nc)
    out[k : 2 * k] = base * (h / nb)
    out[2 * k :] = (h, h * h / nc, h * h / nb)
    return out, cand + base


def _regroup(counts: Array, merged: Array | None) -> Array:
    if merged is None or not merged.any():
        return counts
    return np.asarray(
        np.bincount(merged.astype(np.intp), weights=counts, minlength=len(counts)),
        dtype=np.float64,
    )


def _blocks(
    block: Array, pairs: Array, vector: Array, counts: Array, *, k: int, count: int
) -> None:
    """Open and closed blocks per length: sum h, sum h (share difference), pooled counts."""
    add = np.concatenate(([vector[2 * k]], vector[:k] - vector[k : 2 * k], counts))
    block[:, 1] += add
    for at, size in enumerate(BIN_LENGTHS):
        if count % size:
            continue
        old, new = block[at]
        if count >= 2 * size:
            x, expected = bin_pair(
                old[0], old[1 : k + 1] / old[0], new[0], new[1 : k + 1] / new[0],
                old[k + 1 :] + new[k + 1 :],
            )  # fmt: skip
            pairs[at, 0] += x
            pairs[at, 1] += expected
        block[at, 0] = new
        block[at, 1] = 0.0


def feature_phi(v: Views, i: int, plan: DriftPlan) -> float:
    """Dispersion of one feature: history or block pairs, whichever is larger."""
    pairs = v[f"drift_pairs_{i}"]
    count = v[f"drift_state_{i}"][0]
    number = np.maximum(np.floor(count / _L) - 1.0, 0.0)
    return max(float(phi_of(pairs[:, 0], pairs[:, 1], number, _L)), plan.phi_history)


def reading(c: Compiled, v: Views, i: int, looks: float) -> DriftReading:
    """Evidence of one feature from the sums so far.

    Harm is a mixture over starts j (g_1 = 1/2, the rest even), each E_j = 1 before its start rule;
    the safety proof uses the first start alone.
    """
    metric, feature, plan = c.drift[i]
    step, most = c.starts
    started = max(1, min(most, int((looks - 1.0) // step) + 1))
    phi = feature_phi(v, i, plan)
    kappa, k = plan.max_kl, int(v[f"drift_state_{i}"][3]) or feature.judged
    window = windows.newest(v[f"drift_window_{i}"])
    stacked = np.concatenate((v[f"drift_sum_{i}"][:started], window[None, 2:]))
    d = divergence(stacked, feature, kappa, phi, k)
    planned = float(v[f"drift_state_{i}"][1])
    log_harm, log_safe = 0.0, 0.0
    if planned > 0.0:
        optimum = 1.0 / (2.0 * kappa * planned + (k - 1.0) * planned * planned / 2.0)
        level = c.plan.harm_level * c.share(metric)
        rho = prior_precision(optimum, level)
        var = d.variance[:started]
        # Harm by every start, and the safety proof by the first, in one go.
        safe_rho = prior_precision(optimum, c.plan.safe_level)
        every = log_one_sided(
            np.append(d.value[:started] - kappa, kappa - d.value[0]),
            np.append(var, var[0]),
            np.append(np.full(started, rho), safe_rho),
        )
        logs = np.where(d.ready[:started], every[:started], 0.0)
        later = 0.5 / (most - 1.0) if most > 1 else 0.0
        ln_g = np.full(started, math.log(later) if later else 0.0)
        ln_g[0] = math.log(0.5)
        rest = 0.5 - later * (started - 1.0)
        terms = np.append(logs + ln_g, math.log(rest) if rest > 1e-12 else -1e30)
        top = float(terms.max())
        log_harm = top + math.log(float(np.exp(terms - top).sum()))
        if d.ready[0]:
            log_safe = float(every[started])
    full = window[0] >= windows.length(looks) and window[1] >= 0.8 * window[0]
    n = float(min(d.n[0], d.nb[0]))
    need = max(PER_BIN * k, MIN_EXPECTED / max(float(d.smallest[0]), 1e-6))
    return DriftReading(
        log_harm, log_safe, float(d.value[0]), float(d.variance[0]), phi, float(d.n[0]),
        max(0.0, need - n), float(d.value[-1]) if full else None, bool(d.ready[0]),
    )  # fmt: skip


def culprits(names: Sequence[str], logs: Sequence[float], level: float = 0.1) -> tuple[str, ...]:
    """Features named by the e-BH procedure at false discovery rate ``level`` (report only)."""
    order = sorted(range(len(names)), key=lambda i: -logs[i])
    keep = 0
    for rank, i in enumerate(order, start=1):
        if logs[i] >= math.log(len(names) / (rank * level)):
            keep = rank
    return tuple(names[i] for i in order[:keep])


def _hour(hours: Array, state: Array, vector: Array | None, looks: int) -> None:
    """Sums per window of fixed length, newest last; ``state[2]`` counts looks."""
    if state[2] % looks == 0.0:
        hours[:-1] = hours[1:].copy()
        hours[-1] = 0.0
    state[2] += 1.0
    if vector is not None:
        hours[-1] += vector


def sustained_alarm(v: Views, i: int, feature: Feature, plan: DriftPlan) -> bool:
    """Whether drift above the limit has lasted over the trailing windows (all three conditions).

    (a) pooled D - 2.326 sqrt(V) > limit, (b) at least 3/4 of the windows have D > limit, (c) at
    least 5/6 of them have n >= 20 K.
    """
    rule = plan.sustained
    if rule is None:
        return False
    hours, looks = v[f"drift_hours_{i}"], v[f"drift_state_{i}"][2]
    if looks < rule.windows * rule.window_looks:
        return False
    # Complete windows only; the newest row is still filling unless it has just been closed.
    hours = hours[1:] if looks % rule.window_looks == 0.0 else hours[:-1]
    phi = feature_phi(v, i, plan)
    k = int(v[f"drift_state_{i}"][3]) or feature.judged
    each = divergence(hours, feature, rule.max_kl, phi, k)
    pooled = divergence(hours.sum(axis=0), feature, rule.max_kl, phi, k)
    filled = np.minimum(each.n, each.nb) >= PER_BIN * k
    above = filled & (each.value > rule.max_kl)
    lower = float(pooled.value) - 2.326 * math.sqrt(float(pooled.variance))
    return bool(
        lower > rule.max_kl
        and above.sum() >= math.ceil(0.75 * rule.windows)
        and filled.sum() >= math.ceil(5.0 * rule.windows / 6.0)
    )


def population_stability(p: Sequence[float], q: Sequence[float]) -> float:
    """PSI = sum (p - q) ln(p/q) of two count vectors with half a count per bin; display only."""
    a, b = _shares(p), _shares(q)
    return float(((a - b) * np.log(a / b)).sum())


def jensen_shannon(p: Sequence[float], q: Sequence[float]) -> float:
    """Jensen-Shannon divergence in nats (at most ln 2) of two count vectors; display only."""
    a, b = _shares(p), _shares(q)
    m = (a + b) / 2.0
    return float((a * np.log(a / m)).sum() + (b * np.log(b / m)).sum()) / 2.0


def _shares(counts: Sequence[float]) -> Array:
    raw = np.asarray(counts, dtype=np.float64)
    if raw.ndim != 1 or len(raw) < 2 or not np.isfinite(raw).all() or (raw < 0.0).any():
        raise WireError("counts", "two or more counts >= 0", counts)
    return np.asarray((raw + 0.5) / (raw.sum() + len(raw) / 2.0))
