"""Synthetic traffic: closed intervals of a made-up rollout, for ``simulate`` and for calibration.

Real traffic is not binomial, so the generator knows what breaks naive tests: bursts (compound
Poisson), slow noise (AR(1) in logs, per arm or shared), pods that differ for ever, daily swings,
shared incidents and regressions that begin late. The random generator comes in as an argument.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from modelhandoff.analysis.intervals import (
    Bins,
    Count,
    Histogram,
    Interval,
    Measurement,
    Moments,
    Rate,
)
from modelhandoff.analysis.wire import WireError, number

__all__ = [
    "CountTruth", "DriftTruth", "LatencyTruth", "MeanTruth", "Noise", "RateTruth", "Scenario",
    "Traffic", "Truth", "ar1", "draw_events", "event_levels", "tilted",
]  # fmt: skip

Array = NDArray[np.float64]

LOG_SD: Final = 0.5
"""Spread of the log-normal latencies."""


@dataclass(frozen=True, slots=True)
class Noise:
    """How events deviate from independent requests at a constant rate.

    Attributes:
        burst: mean size of a burst of events (1 = single events); sizes are geometric.
        arm_sd, shared_sd: sd of AR(1) noise of the log rate, own to each arm / common to both.
        rho: its correlation from one look to the next.
        pods: pods of candidate and baseline; ``pod_sd`` = sd of their fixed log effects.
        swing: largest over smallest rate over one ``period`` (looks); 1 = none.
        incidents: (first look, last look, rate) that both arms suffer together.
    """

    burst: float = 1.0
    arm_sd: float = 0.0
    shared_sd: float = 0.0
    rho: float = 0.5
    pods: tuple[int, int] = (1, 1)
    pod_sd: float = 0.0
    swing: float = 1.0
    period: int = 240
    incidents: tuple[tuple[int, int, float], ...] = ()

    def __post_init__(self) -> None:
        number(self.burst, "burst", 1.0)
        for name in ("arm_sd", "shared_sd", "pod_sd"):
            number(getattr(self, name), name, 0.0, 3.0)
        number(self.rho, "rho", 0.0, 0.999)
        number(self.swing, "swing", 1.0)
        if min(self.pods) < 1:
            raise WireError("pods", "at least one pod per arm", self.pods)


@dataclass(frozen=True, slots=True)
class RateTruth:
    """True event rates; the candidate has the baseline's until the onset."""

    baseline: float
    candidate: float

    def __post_init__(self) -> None:
        number(self.baseline, "baseline", 0.0, 1.0)
        number(self.candidate, "candidate", 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class LatencyTruth:
    """Log-normal latencies with a given ``quantile`` in each arm, counted in ``edges``."""

    quantile: float
    baseline: float
    candidate: float
    edges: tuple[float, ...]

    def cumulative(self, value: float) -> Array:
        """P(latency <= edge) per edge when the quantile is ``value``."""
        finite = np.asarray(self.edges[:-1])
        z = (np.log(finite) - math.log(value)) / LOG_SD + float(ndtri(self.quantile))
        return np.append(ndtr(z), 1.0)


@dataclass(frozen=True, slots=True)
class DriftTruth:
    """K bins: the baseline's shares, and the candidate's at divergence ``kl`` from them.

    ``observed``: observations per request (the drift of a sampled feature sees fewer).
    """

    bins: int
    kl: float
    observed: float = 1.0

    def __post_init__(self) -> None:
        most = 0.95 * math.log(self.bins)
        if not 0.0 <= self.kl < most:
            raise WireError("drift", f"less than {most:.3g} with {self.bins} bins", self.kl)


@dataclass(frozen=True, slots=True)
class MeanTruth:
    """Values with mean 1 x scale; the candidate's mean is ``1 + change`` times the baseline's."""

    change: float
    mean: float = 1.0
    sd: float = 0.55


@dataclass(frozen=True, slots=True)
class CountTruth:
    """Events per request; the candidate's are ``1 + change`` times the baseline's."""

    change: float
    per_request: float = 0.1


Truth: TypeAlias = RateTruth | LatencyTruth | DriftTruth | MeanTruth | CountTruth


@dataclass(frozen=True)
class Scenario:
    """A made-up rollout.

    Attributes:
        requests: requests of both arms in one look.
        truths: by key in ``Interval.metrics``.
        noise: of every event rate.
        onset: last look in which the candidate is still like the baseline; 0 = bad from the start.
        interval_seconds: length of a look.
        random_arrivals: Poisson numbers of requests and a random split; otherwise exact ones.
        same: keys that show the counts of another key (two rules on one counter).
    """

    requests: float
    truths: Mapping[str, Truth]
    noise: Noise = field(default_factory=Noise)
    onset: int = 0
    interval_seconds: float = 30.0
    random_arrivals: bool = True
    same: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        number(self.requests, "requests", 1e-9)
        number(self.interval_seconds, "interval_seconds", 0.001)


def ar1(rng: np.random.Generator, runs: int, looks: int, sd: float, rho: float) -> Array:
    """Stationary AR(1) with standard deviation ``sd``, shape (runs, looks)."""
    out = rng.normal(0.0, sd, (runs, looks))
    scale = math.sqrt(1.0 - rho * rho)
    for t in range(1, looks):
        out[:, t] = rho * out[:, t - 1] + scale * out[:, t]
    return out


def event_levels(
    rng: np.random.Generator, noise: Noise, runs: int, looks: int
) -> tuple[Array, Array]:
    """Factors on the event rates of candidate and baseline, shape (runs, looks), mean 1."""
    time = np.arange(looks)
    logs = np.zeros((2, runs, looks))
    if noise.swing > 1.0:
        phase = rng.uniform(0.0, 2.0 * math.pi, (runs, 1))
        wave = np.sin(2.0 * math.pi * time / noise.period + phase)
        logs += 0.5 * math.log(noise.swing) * wave
    if noise.shared_sd > 0.0:
        drift = ar1(rng, runs, looks, noise.shared_sd, noise.rho)
        logs += drift - 0.5 * noise.shared_sd**2
    if noise.arm_sd > 0.0:
        for arm in range(2):
            drift = ar1(rng, runs, looks, noise.arm_sd, noise.rho)
            logs[arm] += drift - 0.5 * noise.arm_sd**2
    out = np.exp(logs)
    if noise.pod_sd > 0.0:
        for arm, pods in enumerate(noise.pods):
            effects = rng.normal(-0.5 * noise.pod_sd**2, noise.pod_sd, (runs, pods))
            out[arm] *= np.exp(effects).mean(axis=1)[:, None]
    return out[0], out[1]


def draw_events(
    rng: np.random.Generator, trials: Array | float, rate: Array | float, burst: float = 1.0
) -> Array:
    """Events among ``trials`` at ``rate``: binomial, or bursts of mean size ``burst``.

    Bursts are compound Poisson: ``N ~ Poisson(n p / b)`` bursts of geometric size with mean b, so
    variance / mean is about ``2 b - 1``; never more events than trials.
    """
    n = np.asarray(trials, dtype=np.float64)
    p = np.clip(np.asarray(rate, dtype=np.float64), 0.0, 1.0)
    if burst <= 1.0:
        return np.asarray(rng.binomial(n.astype(np.int64), p), dtype=np.float64)
    bursts = np.asarray(rng.poisson(n * p / burst))
    more = np.where(bursts > 0, rng.negative_binomial(np.maximum(bursts, 1), 1.0 / burst), 0)
    return np.minimum((bursts + more).astype(np.float64), np.floor(n))


def tilted(bins: int, kl: float) -> Array:
    """Shares of K bins at divergence ``kl`` < ln K from uniform: an exponential tilt."""
    uniform = np.full(bins, 1.0 / bins)
    if kl <= 0.0:
        return uniform
    grid = np.linspace(-1.0, 1.0, bins)
    low, high = 0.0, 400.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        p = np.exp(middle * (grid - 1.0))
        p /= p.sum()
        gain = float((p[p > 0.0] * np.log(p[p > 0.0] * bins)).sum())
        low, high = (middle, high) if gain < kl else (low, middle)
    return np.asarray(p)


class Traffic:
    """One run of a scenario; intervals are drawn as they are asked for, in order.

    The weight may depend on what was judged before (a rollout in steps): the noise is fixed at the
    beginning, the counts are drawn for the weight in force.
    """

    def __init__(self, scenario: Scenario, rng: np.random.Generator, looks: int) -> None:
        self._s, self._rng = scenario, rng
        own, other = event_levels(rng, scenario.noise, 1, looks)
        self._levels = own[0].tolist(), other[0].tolist()
        self._shares: dict[str, tuple[Array, Array]] = {}
        for key, one in scenario.truths.items():
            if isinstance(one, LatencyTruth):
                self._shares[key] = (
                    np.diff(one.cumulative(one.candidate), prepend=0.0),
                    np.diff(one.cumulative(one.baseline), prepend=0.0),
                )
            elif isinstance(one, DriftTruth):
                self._shares[key] = (tilted(one.bins, one.kl), tilted(one.bins, 0.0))

    def interval(self, look: int, step: int, weight: int, *, excluded: str = "") -> Interval:
        """The closed interval of look 1, 2, ... at ``weight`` percent."""
        s = self._s
        share = weight / 100.0
        if s.random_arrivals:
            nc = float(self._rng.poisson(s.requests * share))
            nb = float(self._rng.poisson(s.requests * (1.0 - share)))
        else:
            nc = float(round(s.requests * share))
            nb = float(round(s.requests)) - nc
        broken = look > s.onset
        found = {
            key: self._measure(key, one, look, broken=broken, size=(nc, nb))
            for key, one in s.truths.items()
        }
        found |= {key: found[other] for key, other in s.same.items()}
        return Interval(
            index=look,
            start=(look - 1) * s.interval_seconds,
            end=look * s.interval_seconds,
            step=step,
            weight=weight,
            requests=(nc, nb),
            metrics=found,
            excluded=excluded,
        )

    def _measure(
        self, key: str, truth: Truth, look: int, *, broken: bool, size: tuple[float, float]
    ) -> Measurement:
        rng, (nc, nb) = self._rng, size
        if isinstance(truth, RateTruth):
            return self._rate(truth, look, broken=broken, size=size)
        if isinstance(truth, LatencyTruth):
            own, other = self._shares[key]
            return Histogram(
                truth.edges,
                tuple(np.cumsum(rng.multinomial(int(nc), own if broken else other)).tolist()),
                tuple(np.cumsum(rng.multinomial(int(nb), other)).tolist()),
            )
        if isinstance(truth, DriftTruth):
            own, other = self._shares[key]
            return Bins(
                tuple(
                    rng.multinomial(round(nc * truth.observed), own if broken else other).tolist()
                ),
                tuple(rng.multinomial(round(nb * truth.observed), other).tolist()),
            )
        change = truth.change if broken else 0.0
        if isinstance(truth, MeanTruth):
            return Moments(
                _moments(rng, nc, truth.mean * (1.0 + change), truth.sd * truth.mean),
                _moments(rng, nb, truth.mean, truth.sd * truth.mean),
            )
        rate = truth.per_request
        return Count(
            candidate=float(rng.poisson(nc * rate * (1.0 + change))),
            baseline=float(rng.poisson(nb * rate)),
        )

    def _rate(
        self, truth: RateTruth, look: int, *, broken: bool, size: tuple[float, float]
    ) -> Rate:
        noise = self._s.noise
        pc, pb = truth.candidate if broken else truth.baseline, truth.baseline
        for first, last, rate in noise.incidents:
            if first <= look <= last:
                pc = pb = rate
        own, other = self._levels
        x = draw_events(self._rng, size[0], pc * own[look - 1], noise.burst)
        y = draw_events(self._rng, size[1], pb * other[look - 1], noise.burst)
        return Rate((float(x), size[0]), (float(y), size[1]))


def _moments(
    rng: np.random.Generator, n: float, mean: float, sd: float
) -> tuple[float, float, float]:
    """Count, sum and sum of squares of n normal values."""
    if n < 1.0:
        return 0.0, 0.0, 0.0
    total = float(rng.normal(n * mean, math.sqrt(n) * sd))
    within = sd * sd * float(rng.chisquare(n - 1.0)) if n > 1.0 else 0.0
    return n, total, total * total / n + within
