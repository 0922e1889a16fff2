"""Quality before any traffic, proven by a paired bootstrap over clusters (2.8).

Not sequential: one test set, one look. Candidate and baseline answer the same rows, so a resample
draws whole clusters (a query, a user: what belongs together is not independent) and both are
measured on the same draw. What is compared is one quantity with "more is better"; it is proven
when its lower bound reaches what is needed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from modelhandoff.analysis.wire import WireError

__all__ = [
    "LEVEL", "MIN_CLUSTERS", "Bounds", "Proof", "Statistic", "bounds", "clusters_to_prove", "proof",
    "resamples_for",
]  # fmt: skip

Array = NDArray[np.float64]
Statistic = Callable[[Array], Array]
"""From how often each cluster counts, (k, G), to p quantities, (k, p) or (k,). Total counts of
zero, and of fractions, do not occur; a quantity without a value is NaN."""

LEVEL: Final = 0.05
"""Of each one-sided bound; both together are a 90 % interval."""
MIN_CLUSTERS: Final = 30
"""Below, no bootstrap can be trusted."""
POWER: Final = 0.8
RESAMPLES: Final = 10_000
LEAST_RESAMPLES: Final = 1_000
_WORK: Final = 400_000_000
_CHUNK: Final = 1_000_000
_JACKKNIFE: Final = 500


class Proof(StrEnum):
    """What bounds say about a quantity that must not be below what is needed."""

    Proven = "Proven"
    Excluded = "Excluded"
    Unproven = "Unproven"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Estimates of p quantities with one-sided bounds, each (p,), and what they rest on."""

    estimate: Array
    lower: Array
    upper: Array
    clusters: int
    resamples: int


def resamples_for(rows: int) -> int:
    """How many resamples a statistic over so many rows gets: 10,000, fewer above 40,000 rows."""
    return max(LEAST_RESAMPLES, min(RESAMPLES, _WORK // max(rows, 1)))


def bounds(
    statistic: Statistic,
    clusters: int,
    rng: np.random.Generator,
    *,
    rows: int = 0,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Bounds:
    """One-sided BCa bounds (Efron 1987) of every quantity, resampling whole clusters.

    The acceleration comes from a jackknife over at most 500 groups of clusters: sums of squares
    and cubes of independent terms survive the grouping.

    Args:
        statistic: the quantities for many weightings of the clusters at once.
        clusters: number of clusters G.
        rng: source of randomness (the caller's seed makes the result reproducible).
        rows: values that the statistic handles per weighting; bounds the memory of one call.
        level: of each bound.
        resamples: bootstrap resamples B.

    Raises:
        WireError: fewer than 30 clusters, or an estimate that is no number.
    """
    if clusters < MIN_CLUSTERS:
        raise WireError("clusters", f"at least {MIN_CLUSTERS} clusters", clusters)
    estimate = _columns(statistic(np.ones((1, clusters))))[0]
    if np.isnan(estimate).any():
        raise WireError("statistic", "an estimate", "NaN")
    chunk = max(1, _CHUNK // max(clusters, rows))
    drawn = np.concatenate(
        [
            _columns(statistic(_draw(rng, min(chunk, resamples - at), clusters)))
            for at in range(0, resamples, chunk)
        ]
    )
    bias = _bias(drawn, estimate)
    acceleration = _acceleration(statistic, clusters, rng, chunk)
    # What has no value in a resample counts against whoever wants to prove something.
    low, high = np.where(np.isnan(drawn), -np.inf, drawn), np.where(np.isnan(drawn), np.inf, drawn)
    return Bounds(
        estimate,
        _quantile(low, level, bias, acceleration, up=False),
        _quantile(high, 1.0 - level, bias, acceleration, up=True),
        clusters,
        resamples,
    )


def proof(lower: float, upper: float, needed: float) -> Proof:
    """Proven when the lower bound reaches what is needed, excluded when the upper does not."""
    if lower >= needed:
        return Proof.Proven
    return Proof.Excluded if upper < needed else Proof.Unproven


def clusters_to_prove(
    estimate: float, lower: float, needed: float, clusters: int, level: float = LEVEL
) -> int | None:
    """About how many clusters would prove the estimate, were it true, in four of five test sets.

    From the distance between estimate and lower bound, which shrinks with the root of the number
    of clusters. ``None`` when no number would: the estimate itself is not enough.
    """
    room, half = estimate - needed, estimate - lower
    if not (room > 0.0 and math.isfinite(half)):
        return None
    z = -float(ndtri(level))
    ratio = half / room * (z + float(ndtri(POWER))) / z
    return math.ceil(clusters * ratio**2)


def _columns(values: Array) -> Array:
    return values if values.ndim == 2 else values[:, None]


def _draw(rng: np.random.Generator, resamples: int, clusters: int) -> Array:
    """How often each cluster is drawn when as many as there are are drawn with replacement."""
    picks = rng.integers(0, clusters, size=(resamples, clusters))
    picks += (np.arange(resamples) * clusters)[:, None]
    counts = np.bincount(picks.ravel(), minlength=resamples * clusters)
    return counts.reshape(resamples, clusters).astype(np.float64)


def _bias(drawn: Array, estimate: Array) -> Array:
    """The bias z0: normal quantile of the share of resamples below the estimate, ties half."""
    below = (drawn < estimate).mean(axis=0) + 0.5 * (drawn == estimate).mean(axis=0)
    limit = 1.0 / (len(drawn) + 1.0)
    found: Array = ndtri(np.clip(below, limit, 1.0 - limit))
    return found


def _acceleration(
    statistic: Statistic, clusters: int, rng: np.random.Generator, chunk: int
) -> Array:
    """The acceleration a: a sixth of the skewness of the groups' influence."""
    groups = min(clusters, _JACKKNIFE)
    group = rng.permutation(clusters) % groups
    left = np.concatenate(
        [
            _columns(statistic((group != np.arange(at, min(at + chunk, groups))[:, None]) * 1.0))
            for at in range(0, groups, chunk)
        ]
    )
    known = np.isfinite(left).all(axis=0)
    gap = np.where(known, left, 0.0)
    gap = gap.mean(axis=0) - gap
    spread = (gap**2).sum(axis=0)
    flat = spread <= 0.0
    found: Array = np.where(
        flat, 0.0, (gap**3).sum(axis=0) / (6.0 * np.where(flat, 1.0, spread) ** 1.5)
    )
    return found


def _quantile(drawn: Array, level: float, bias: Array, acceleration: Array, *, up: bool) -> Array:
    z = bias + float(ndtri(level))
    adjusted = ndtr(bias + z / (1.0 - acceleration * z))
    place = adjusted * (len(drawn) + 1.0)
    rank = (np.ceil(place) if up else np.floor(place)).astype(np.int64) - 1
    ordered = np.sort(drawn, axis=0)
    found: Array = np.take_along_axis(ordered, np.clip(rank, 0, len(drawn) - 1)[None, :], axis=0)[0]
    return found
