"""How long a proof takes: looks, requests, hours; before anyone starts and while it runs (2.13).

For a bet theta the evidence grows by G per look with variance V at the assumed rates; it must reach
``c = ln(1/(w alpha)) + ln 6 (+ ln 2 for harm)``, and the best bet's first passage gives the looks,
never below ``ceil(c/cap)``. G and V are taken after dispersion and cap, by Poisson quantiles of the
counts of both arms.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr, ndtri, pdtrik

from modelhandoff.analysis.kernel import (
    ABSOLUTE_HARM,
    ABSOLUTE_SAFE,
    HARM,
    LN_GRID,
    SAFE,
    log_mean_exp,
    one_arm,
    two_arm,
)
from modelhandoff.analysis.mixture import log_one_sided, prior_precision
from modelhandoff.analysis.rates import SAFE_CAP, cap_low

__all__ = [
    "Needs", "Traffic", "absolute_harm", "absolute_safe", "detectable_ratio", "drift_harm",
    "mean_proof", "relative_harm", "relative_safe",
]  # fmt: skip

Array = NDArray[np.float64]

FIRST_USE_PHI: Final = 1.3
_P: Final[Array] = np.linspace(0.5, 47.5, 48) / 48.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests per look of each arm and the length of a look."""

    candidate: float
    baseline: float
    interval_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Needs:
    """What one proof takes; infinite looks = it cannot succeed at these rates."""

    looks: float
    requests: float
    seconds: float

    @property
    def possible(self) -> bool:
        """Whether the proof can succeed at all."""
        return math.isfinite(self.looks)


def _needs(looks: float, traffic: Traffic) -> Needs:
    looks = math.ceil(looks) if math.isfinite(looks) else math.inf
    return Needs(looks, looks * traffic.candidate, looks * traffic.interval_seconds)


def _crossing(growth: Array, variance: Array, target: float, power: float) -> float:
    """Looks until the best bet has *once* reached ``target`` with probability ``power``.

    First passage of a drifting Brownian motion (inverse Gaussian law): with growth G, variance V
    and level c, ``P(T <= t) = Phi((Gt-c)/sqrt(Vt)) + exp(2Gc/V) Phi(-(Gt+c)/sqrt(Vt))``.
    """
    target = _shared(growth, target)
    each = [
        _passage(g, v, target, power)
        for g, v in zip(growth.tolist(), variance.tolist(), strict=True)
        if g > 0.0
    ]
    return min(each, default=math.inf)


def _shared(growth: Array, target: float) -> float:
    """Target for the best bet when bets of similar growth carry the mixture together.

    Without noise the mixture arrives when ``ln mean exp(G_i t)`` does; ``target`` contains the
    full ln 6 of a bet that is alone.
    """
    best = float(growth.max())
    if best <= 0.0 or len(growth) < 2:
        return target
    level = target - LN_GRID
    low, high = level / best, target / best
    for _ in range(30):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if log_mean_exp(growth * middle) >= level else (middle, high)
    return best * high


def _passage(g: float, v: float, target: float, power: float) -> float:
    if v <= 1e-12 * g * target:
        return target / g

    def arrived(t: float) -> float:
        root = math.sqrt(v * t)
        mirrored = 2.0 * g * target / v + float(log_ndtr(-(g * t + target) / root))
        return float(ndtr((g * t - target) / root)) + math.exp(min(mirrored, 0.0))

    low, high = 0.0, target / g
    while arrived(high) < power:
        high *= 2.0
    for _ in range(30):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if arrived(middle) >= power else (middle, high)
    return high


def _poisson(mean: float) -> Array:
    """48 equally likely values of a Poisson variable (their mean is the mean)."""
    if mean <= 0.0:
        return np.zeros_like(_P)
    values = np.maximum(np.ceil(pdtrik(_P, mean) - 1e-9), 0.0)
    total = float(values.mean())
    return values * (mean / total) if total > 0.0 else np.full_like(_P, mean)


def _moments(increment: Array, cap: Array, phi: float) -> tuple[Array, Array]:
    """Mean and variance of increments (bets, outcomes) after dispersion and cap."""
    capped = np.minimum(increment / phi, cap)
    return capped.mean(axis=-1), capped.var(axis=-1) * phi


def _two_arm(
    bets: Array, ratio: float, delta: float, t: Traffic, *, rates: tuple[float, float]
) -> Array:
    xc, xb = np.meshgrid(_poisson(t.candidate * rates[0]), _poisson(t.baseline * rates[1]))
    return two_arm(
        bets[:, None], np.float64(ratio), np.float64(delta),
        xc.ravel(), np.float64(t.candidate), xb.ravel(), np.float64(t.baseline),
    )  # fmt: skip


def relative_harm(
    t: Traffic, candidate: float, baseline: float, *, ratio: float = 1.25, delta: float = 0.0,
    share: float = 1.0, level: float = 0.01, power: float = 0.8, phi: float | None = None,
) -> Needs:  # fmt: skip
    """Looks until a candidate at rate ``candidate`` is rolled back by the relative test.

    ``phi`` from history, or None for first use (1.3 and the lower cap of the small bets).
    """
    spread = FIRST_USE_PHI if phi is None else phi
    target = math.log(1.0 / (share * level)) + LN_GRID + math.log(2.0)
    full = target / 3.0
    low = float(cap_low(np.array(t.candidate * baseline)))
    cap = np.where((HARM >= 4.0) | (phi is not None), full, low)[:, None]
    g, v = _moments(_two_arm(HARM, ratio, delta, t, rates=(candidate, baseline)), cap, spread)
    looks = np.array([_crossing(g[i : i + 1], v[i : i + 1], target, power) for i in range(len(g))])
    return _needs(float(np.maximum(looks, np.ceil(target / cap[:, 0])).min()), t)


def relative_safe(
    t: Traffic, candidate: float, baseline: float, *, ratio: float = 1.5, delta: float = 0.0005,
    level: float = 0.05, power: float = 0.8, phi: float | None = None,
) -> Needs:  # fmt: skip
    """Looks until "candidate < ratio x baseline + delta" is proven."""
    spread = FIRST_USE_PHI if phi is None else phi
    target = math.log(1.0 / level) + LN_GRID
    cap = np.full((len(SAFE), 1), SAFE_CAP)
    g, v = _moments(_two_arm(SAFE, ratio, delta, t, rates=(candidate, baseline)), cap, spread)
    return _needs(max(_crossing(g, v, target, power), math.ceil(target / SAFE_CAP)), t)


def absolute_harm(
    t: Traffic, candidate: float, limit: float, *, share: float = 1.0, level: float = 0.01,
    power: float = 0.8, phi: float | None = None,
) -> Needs:  # fmt: skip
    """Looks until a candidate above an absolute limit is rolled back."""
    spread = FIRST_USE_PHI if phi is None else phi
    target = math.log(1.0 / (share * level)) + LN_GRID + math.log(2.0)
    low = float(cap_low(np.array(t.candidate * limit)))
    cap = np.where((ABSOLUTE_HARM >= 3.0) | (phi is not None), target / 3.0, low)[:, None]
    g, v = _moments(_one_arm(ABSOLUTE_HARM, limit, t, candidate), cap, spread)
    looks = np.array([_crossing(g[i : i + 1], v[i : i + 1], target, power) for i in range(len(g))])
    return _needs(float(np.maximum(looks, np.ceil(target / cap[:, 0])).min()), t)


def absolute_safe(
    t: Traffic, candidate: float, limit: float, *, level: float = 0.05, power: float = 0.8,
    phi: float | None = None,
) -> Needs:  # fmt: skip
    """Looks until "candidate < limit" is proven."""
    spread = FIRST_USE_PHI if phi is None else phi
    target = math.log(1.0 / level) + LN_GRID
    cap = np.full((len(ABSOLUTE_SAFE), 1), SAFE_CAP)
    g, v = _moments(_one_arm(ABSOLUTE_SAFE, limit, t, candidate), cap, spread)
    return _needs(max(_crossing(g, v, target, power), math.ceil(target / SAFE_CAP)), t)


def _one_arm(bets: Array, limit: float, t: Traffic, p: float) -> Array:
    x = np.minimum(_poisson(t.candidate * p), t.candidate)
    return one_arm(bets[:, None], np.float64(limit), x, np.float64(t.candidate))


def detectable_ratio(
    t: Traffic, baseline: float, looks: float, *, ratio: float = 1.25, share: float = 1.0,
    level: float = 0.01, power: float = 0.8, phi: float | None = None,
) -> float:  # fmt: skip
    """Smallest candidate/baseline ratio that would be found within ``looks``; inf if none <= 100.

    The honest reading of "no harm found": only larger changes are excluded.
    """

    def found(r: float) -> bool:
        rate = min(r * baseline, 1.0)
        need = relative_harm(
            t, rate, baseline, ratio=ratio, share=share, level=level, power=power, phi=phi
        )
        return need.looks <= looks

    low, high = ratio, 100.0
    if baseline <= 0.0 or not found(high):
        return math.inf
    for _ in range(24):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


def _mixture_looks(
    distance: float, variance: float, *, rho: float, target: float, power: float
) -> float:
    """Looks until the one-sided mixture reaches ``target`` with the given power.

    ``variance`` is that of the contrast after one look; after n looks it is ``variance / n``, and
    with probability ``power`` the estimate lies above ``distance - z sqrt(variance / n)``.
    """
    z = float(ndtri(power))

    def reached(looks: float) -> bool:
        var = variance / looks
        estimate = np.float64(distance - z * math.sqrt(var))
        return float(log_one_sided(estimate, np.float64(var), np.asarray(rho))) >= target

    high = 1.0
    while not reached(high):
        high *= 2.0
        if high > 1e9:
            return math.inf
    low = high / 2.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def mean_proof(
    t: Traffic, distance: float, variance_per_look: float, *, planned_looks: float,
    level: float = 0.05, power: float = 0.8, least: float = 10.0,
) -> Needs:  # fmt: skip
    """Looks until a mean contrast that is ``distance`` away from its margin is proven.

    ``variance_per_look``: variance of the contrast from one look; ``least``: looks before anything
    is judged.
    """
    if distance <= 0.0:
        return _needs(math.inf, t)
    if variance_per_look <= 0.0:
        return _needs(least, t)
    rho = float(prior_precision(planned_looks / 4.0 / variance_per_look, level))
    looks = _mixture_looks(
        distance, variance_per_look, rho=rho, target=math.log(1.0 / level), power=power
    )
    return _needs(max(looks, least), t)


def drift_harm(
    t: Traffic, divergence: float, margin: float, bins: int, *, smallest: float | None = None,
    level: float = 0.01, share: float = 1.0, power: float = 0.8, live: bool = False,
    planned_looks: float = 240.0,
) -> Needs:  # fmt: skip
    """Looks until a drift of KL ``divergence`` is found above ``margin``.

    The variance of one observation is about twice the divergence; the first start carries half of
    the prior; never below the start rule (20 K observations, 5 in the rarest bin).
    """
    if divergence <= margin:
        return _needs(math.inf, t)
    rule = max(20.0 * bins, 5.0 / smallest if smallest else 0.0) / max(t.candidate, 1e-9)
    both = 1.0 + (t.candidate / t.baseline if live and t.baseline > 0.0 else 0.0)
    scale = both / max(t.candidate, 1e-9)
    planned = scale / (planned_looks / 4.0)
    optimum = 1.0 / (2.0 * margin * planned + (bins - 1.0) * planned * planned / 2.0)
    rho = float(prior_precision(optimum, level * share))
    target = math.log(2.0 / (share * level))
    looks = _mixture_looks(
        divergence - margin, 2.0 * divergence * scale, rho=rho, target=target, power=power
    )
    return _needs(max(looks, rule), t)
