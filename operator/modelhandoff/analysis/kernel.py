"""Log-increments of the bets on counts, and the two mixtures that turn them into evidence.

All functions broadcast; logs are natural. Sources: growth-optimal bets on Poisson counts
(Grünwald, de Heide & Koolen; Turner, Ly & Grünwald), one-sided form with a margin of Lindon &
Malek (2022); validity at every stopping time is Ville's inequality.
"""

import math
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ABSOLUTE_HARM",
    "ABSOLUTE_SAFE",
    "GRID",
    "HARM",
    "LN_GRID",
    "NOTHING",
    "SAFE",
    "Real",
    "log_mean_exp",
    "log_mixture",
    "log_restarts",
    "one_arm",
    "restart_step",
    "start_mass",
    "started_mass",
    "two_arm",
]  # fmt: skip

Array = NDArray[np.float64]
Real: TypeAlias = Array | np.float64 | float

GRID: Final = 6
LN_GRID: Final = math.log(GRID)
HARM: Final[Array] = np.geomspace(1.25, 10.0, GRID)
SAFE: Final[Array] = 1.0 / np.geomspace(1.1, 8.0, GRID)
ABSOLUTE_HARM: Final[Array] = np.geomspace(1.15, 6.0, GRID)
ABSOLUTE_SAFE: Final[Array] = 1.0 / np.geomspace(1.1, 6.0, GRID)
NOTHING: Final = -1e30
"""Log of no stake at all: finite, so that no NaN can arise from differences."""


def two_arm(  # noqa: PLR0917
    theta: Array, ratio: Real, delta: Real, xc: Real, nc: Real, xb: Real, nb: Real
) -> Array:
    """Log-increment of a bet ``theta`` against ``p_c <= ratio p_b + delta`` (theta > 1).

    With theta < 1 the null is ``p_c >= ratio p_b + delta``. ``w = ratio nc/nb``,
    ``ln b = ln(1+w) - ln(1+theta w)``, ``ln a = ln theta + ln b``,
    ``l = xc ln a + xb ln b - nc delta (a - 1)``. E[exp l] <= 1 under the null for every pair of
    rates in [0, 1]: ``b = 1 - w(a-1)``, so the product of the two generating functions is at most
    ``exp(nc (a-1)(p_c - ratio p_b - delta))``. Needs nb > 0.
    """
    w = ratio * nc / nb
    ln_b = np.log1p(w) - np.log1p(theta * w)
    ln_a = np.log(theta) + ln_b
    return np.asarray(xc * ln_a + xb * ln_b - nc * delta * np.expm1(ln_a))


def one_arm(theta: Array, p0: Real, x: Real, n: Real) -> Array:
    """Log-likelihood ratio of a binomial whose odds are ``theta`` times those of ``p0``.

    ``x ln(p1/p0) + (n-x) ln((1-p1)/(1-p0)) = x ln theta - n ln(1 - p0 + theta p0)``.
    """
    return np.asarray(x * np.log(theta) - n * np.log1p(p0 * (theta - 1.0)))


def log_mean_exp(logs: Array) -> Array:
    """Log of the mean of exp(logs) over the last axis, without overflow."""
    top = np.maximum.reduce(logs, axis=-1, keepdims=True)
    total = np.add.reduce(np.exp(logs - top), axis=-1)
    return np.asarray(np.log(total / logs.shape[-1]) + top[..., 0])


def start_mass(count: Array, horizon: Array | float) -> Array:
    """Prior mass g of the start that enters at look ``count`` (1, 2, ...): 1/2, then even.

    ``g_1 = 1/2``, ``g_j = (1/2)/(H-1)`` for j = 2..H, nothing after H.
    """
    later = np.where(count <= horizon, 0.5 / (horizon - 1.0), 0.0)
    return np.where(count <= 1.0, 0.5, later)


def started_mass(count: Array, horizon: Array | float) -> Array:
    """Sum of the masses of the first ``count`` starts (0 for none)."""
    spent = 0.5 + (np.minimum(count, horizon) - 1.0) * (0.5 / (horizon - 1.0))
    return np.where(count < 1.0, 0.0, np.minimum(spent, 1.0))


def restart_step(log_s: Array, count: Array, horizon: Array | float, increment: Array) -> Array:
    """One look of ``S <- (S + g) exp(increment)`` in logs; ``count`` is the look, from 1."""
    mass = start_mass(count, horizon)
    ln_g = np.where(mass > 0.0, np.log(np.maximum(mass, 1e-300)), NOTHING)
    return np.logaddexp(log_s, ln_g[..., None]) + increment


def log_restarts(log_s: Array, count: Array, horizon: Array | float) -> Array:
    """Log of E2: mean over bets of S plus the mass that has not started (an e-process, E <= 1)."""
    rest = 1.0 - started_mass(count, horizon)
    ln_rest = np.where(rest > 1e-12, np.log(np.maximum(rest, 1e-300)), NOTHING)
    return np.logaddexp(log_mean_exp(log_s), ln_rest)


def log_mixture(sums: Array) -> Array:
    """Log of E1: the even mixture over bets of the product of all increments."""
    return log_mean_exp(sums)
