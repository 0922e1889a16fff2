"""Paired offline quality before any traffic: NDCG, AUC per query, error per user (2.8).

Not sequential: one test set, one look. Differences are paired per unit and resampled by cluster,
because one user's queries are not independent.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from modelhandoff.analysis.wire import WireError

__all__ = ["MIN_CLUSTERS", "OfflineResult", "OfflineVerdict", "paired_quality"]

Array = NDArray[np.float64]

MIN_CLUSTERS: Final = 30
RESAMPLES: Final = 10_000


class OfflineVerdict(StrEnum):
    """What the paired differences say against the margin."""

    Safe = "Safe"
    Harm = "Harm"
    Unproven = "Unproven"


@dataclass(frozen=True, slots=True)
class OfflineResult:
    """Mean difference candidate - baseline with one-sided bounds.

    ``p_harm`` is the bootstrap p-value of "not worse than -margin", ``log_e_harm`` its calibrated
    e-value ``ln(p^(-1/2)/2)``, for mixing with other evidence.
    """

    estimate: float
    lower: float
    upper: float
    margin: float
    clusters: int
    verdict: OfflineVerdict
    p_harm: float
    log_e_harm: float


def paired_quality(
    differences: Array,
    clusters: Array,
    margin: float,
    rng: np.random.Generator,
    *,
    safe_level: float = 0.05,
    harm_level: float = 0.01,
    resamples: int = RESAMPLES,
) -> OfflineResult:
    """One-sided BCa bounds of the mean paired difference, resampling whole clusters.

    Args:
        differences: candidate minus baseline per unit, higher is better (negate losses).
        clusters: user or query of each unit, any labels.
        margin: tolerated loss >= 0; safe when the lower bound at ``safe_level`` lies above
            -margin, harm when the upper bound at ``harm_level`` lies below it.
        rng: source of randomness (the caller's seed makes the result reproducible).
        safe_level: level of the lower bound.
        harm_level: level of the upper bound.
        resamples: bootstrap resamples B.

    Raises:
        WireError: fewer than 30 clusters (no bootstrap can be trusted there), lengths that
            differ, or values that are not finite.
    """
    if differences.ndim != 1 or differences.shape != clusters.shape or not len(differences):
        raise WireError("differences", "one value and one cluster per unit", differences.shape)
    if not np.isfinite(differences).all():
        raise WireError("differences", "finite values", "NaN or infinity")
    if not (math.isfinite(margin) and margin >= 0.0):
        raise WireError("margin", "a margin >= 0", margin)
    _, rows = np.unique(clusters, return_inverse=True)
    sums = np.bincount(rows, weights=differences).astype(np.float64)
    sizes = np.bincount(rows).astype(np.float64)
    g = len(sums)
    if g < MIN_CLUSTERS:
        raise WireError("clusters", f"at least {MIN_CLUSTERS} clusters", g)
    estimate = float(sums.sum() / sizes.sum())
    means = _resampled(sums, sizes, rng, resamples)
    if float(means.max() - means.min()) <= 1e-15 * max(abs(estimate), 1.0):
        lower = upper = estimate
        p = 1.0 if estimate >= -margin else 1.0 / (resamples + 1.0)
    else:
        bias, acceleration = _correction(sums, sizes, means, estimate)
        lower = _bound(means, safe_level, bias, acceleration)
        upper = _bound(means, 1.0 - harm_level, bias, acceleration)
        # The smallest level at which the upper bound lies below -margin; never zero.
        p = max(_level(means, -margin, bias, acceleration), 1.0 / (resamples + 1.0))
    verdict = OfflineVerdict.Unproven
    if lower > -margin:
        verdict = OfflineVerdict.Safe
    elif upper < -margin:
        verdict = OfflineVerdict.Harm
    log_e = math.log(0.5) - 0.5 * math.log(p)
    return OfflineResult(estimate, lower, upper, margin, g, verdict, p, log_e)


def _resampled(sums: Array, sizes: Array, rng: np.random.Generator, resamples: int) -> Array:
    out = np.empty(resamples)
    g = len(sums)
    chunk = max(1, 2_000_000 // g)
    for at in range(0, resamples, chunk):
        n = min(chunk, resamples - at)
        picks = rng.integers(0, g, size=(n, g))
        out[at : at + n] = sums[picks].sum(axis=1) / sizes[picks].sum(axis=1)
    return out


def _correction(sums: Array, sizes: Array, means: Array, estimate: float) -> tuple[float, float]:
    """BCa bias z0 (ties count half) and acceleration a from the jackknife over clusters (Efron)."""
    below = (means < estimate).mean() + 0.5 * (means == estimate).mean()
    limit = 1.0 / (len(means) + 1.0)
    bias = float(ndtri(min(max(float(below), limit), 1.0 - limit)))
    left = (sums.sum() - sums) / (sizes.sum() - sizes)
    gap = left.mean() - left
    spread = float((gap**2).sum())
    acceleration = float((gap**3).sum()) / (6.0 * spread**1.5) if spread > 0.0 else 0.0
    return bias, acceleration


def _bound(means: Array, level: float, bias: float, acceleration: float) -> float:
    z = bias + float(ndtri(level))
    adjusted = float(ndtr(bias + z / (1.0 - acceleration * z)))
    return float(np.quantile(means, min(max(adjusted, 0.0), 1.0)))


def _level(means: Array, threshold: float, bias: float, acceleration: float) -> float:
    """Level at which the one-sided upper bound equals the threshold (inverse of BCa)."""
    share = float((means > threshold).mean())
    limit = 1.0 / (len(means) + 1.0)
    at = float(ndtri(1.0 - min(max(share, limit), 1.0 - limit))) - bias
    # at = z / (1 - a z) with z = bias + z_level
    z = at / (1.0 + acceleration * at)
    return float(ndtr(-(z - bias)))
