"""Drift and means at the border of what is tolerated: many features or series in one plan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modelhandoff.analysis import (
    Bins,
    DriftPlan,
    Evidence,
    Feature,
    Interval,
    MeanPlan,
    Moments,
    Plan,
    Sustained,
    observe,
)
from modelhandoff.analysis.drift import sustained_alarm
from modelhandoff.analysis.evidence import readout, views
from modelhandoff.analysis.synthetic import tilted

GROUP = 50


def _interval(look: int, metrics: dict[str, Bins] | dict[str, Moments]) -> Interval:
    return Interval(look, 30.0 * look, 30.0 * look + 30.0, 0, 10, (600.0, 5400.0), metrics)


@dataclass(frozen=True)
class DriftCell:
    """Features at divergence ``kl`` with margin ``margin``; evidence both ways at ``threshold``.

    ``live``: compared with a baseline of three times as many observations; otherwise with a fixed
    reference. Crossings as (harm look, safe look).
    """

    name: str
    bins: int
    kl: float
    margin: float = 0.1
    live: bool = True
    observed: int = 100
    looks: int = 360
    threshold: float = 20.0
    onset: int = 0

    def play(self, seeds: Sequence[np.random.SeedSequence]) -> list[tuple[float, float]]:
        out: list[tuple[float, float]] = []
        for seed in seeds:
            out += self._group(np.random.default_rng(seed))
        return out

    def _group(self, rng: np.random.Generator) -> list[tuple[float, float]]:
        uniform = tilted(self.bins, 0.0)
        reference = () if self.live else tuple(uniform.tolist())
        features = tuple(
            Feature(f"f{i}", self.bins, reference=reference, groups=tuple(range(self.bins)))
            for i in range(GROUP)
        )
        plan = Plan(
            metrics=(DriftPlan("drift", features, max_kl=self.margin),), check_split=False,
            harm_level=min(0.5, 1.0 / self.threshold), planned_looks=self.looks,
        )  # fmt: skip
        evidence = Evidence.start(plan)
        shifted = tilted(self.bins, self.kl)
        harm, safe = np.full(GROUP, math.inf), np.full(GROUP, math.inf)
        bound = math.log(self.threshold)
        for look in range(1, self.looks + 1):
            p = shifted if look > self.onset else uniform
            own = rng.multinomial(self.observed, p, size=GROUP).tolist()
            other = rng.multinomial(3 * self.observed, uniform, size=GROUP).tolist()
            metrics = {
                f"f{i}": Bins(tuple(own[i]), tuple(other[i]) if self.live else None)
                for i in range(GROUP)
            }
            evidence = observe(plan, evidence, _interval(look, metrics))
            found = readout(plan, evidence).drift
            logs = np.array([one.log_harm for one in found])
            proofs = np.array([one.log_safe for one in found])
            harm = np.where((logs >= bound) & np.isinf(harm), look, harm)
            safe = np.where((proofs >= bound) & np.isinf(safe), look, safe)
        return list(zip(harm.tolist(), safe.tolist(), strict=True))


@dataclass(frozen=True)
class SustainedCell:
    """A week of hourly windows with n = 20 K each; (first window with an alarm, inf) per run."""

    name: str
    kl: float
    bins: int = 10
    limit: float = 0.2
    window: int = 10
    weeks: int = 7 * 24

    def play(self, seeds: Sequence[np.random.SeedSequence]) -> list[tuple[float, float]]:
        out: list[tuple[float, float]] = []
        for seed in seeds:
            out += self._group(np.random.default_rng(seed))
        return out

    def _group(self, rng: np.random.Generator) -> list[tuple[float, float]]:
        rule = Sustained(max_kl=self.limit, window_looks=self.window, windows=24)
        features = tuple(
            Feature(f"f{i}", self.bins, reference=(1.0 / self.bins,) * self.bins)
            for i in range(GROUP)
        )
        drift = DriftPlan("drift", features, max_kl=self.limit, sustained=rule)
        plan = Plan(metrics=(drift,), check_split=False)
        evidence = Evidence.start(plan)
        shifted = tilted(self.bins, self.kl)
        first = np.full(GROUP, math.inf)
        per_look = 20 * self.bins // self.window
        for look in range(1, (24 + self.weeks) * self.window + 1):
            own = rng.multinomial(per_look, shifted, size=GROUP).tolist()
            metrics = {f"f{i}": Bins(tuple(own[i])) for i in range(GROUP)}
            evidence = observe(plan, evidence, _interval(look, metrics))
            if look % self.window == 0 and look >= 24 * self.window:
                v = views(plan, evidence)
                for i, feature in enumerate(features):
                    if math.isinf(first[i]) and sustained_alarm(v, i, feature, drift):
                        first[i] = look / self.window
        return [(one, math.inf) for one in first.tolist()]


@dataclass(frozen=True)
class MeanCell:
    """Means with a true relative change, margin 2 %, 120 looks: evidence both ways at 20.

    ``level_swing``: the common mean moves by this share up and down; ``ramp``: weights 5 to 50 %;
    ``per_user``: requests that share one user's value (variance times that many).
    """

    name: str
    change: float
    margin: float = 0.02
    level_swing: float = 0.0
    ramp: bool = False
    per_user: int = 1
    min_intervals: int = 10
    looks: int = 120
    threshold: float = 20.0

    def play(self, seeds: Sequence[np.random.SeedSequence]) -> list[tuple[float, float]]:
        out: list[tuple[float, float]] = []
        for seed in seeds:
            out += self._group(np.random.default_rng(seed))
        return out

    def _group(self, rng: np.random.Generator) -> list[tuple[float, float]]:
        plan = Plan(
            metrics=tuple(
                MeanPlan(f"m{i}", max_regression=self.margin, min_intervals=self.min_intervals)
                for i in range(GROUP)
            ),
            check_split=False, harm_level=0.5, planned_looks=self.looks,
        )  # fmt: skip
        evidence = Evidence.start(plan)
        harm, safe = np.full(GROUP, math.inf), np.full(GROUP, math.inf)
        bound = math.log(self.threshold)
        for look in range(1, self.looks + 1):
            share = (0.05, 0.1, 0.25, 0.5)[4 * (look - 1) // self.looks] if self.ramp else 0.1
            mean = 1.0 + self.level_swing * math.sin(2.0 * math.pi * look / self.looks)
            own = self._moments(rng, round(6000 * share), mean * (1.0 + self.change))
            other = self._moments(rng, 6000 - round(6000 * share), mean)
            metrics = {f"m{i}": Moments(own[i], other[i]) for i in range(GROUP)}
            evidence = observe(plan, evidence, _interval(look, metrics))
            found = readout(plan, evidence).series
            logs = np.array([one.log_harm for one in found])
            proofs = np.array([one.log_safe for one in found])
            harm = np.where((logs >= bound) & np.isinf(harm), look, harm)
            safe = np.where((proofs >= bound) & np.isinf(safe), look, safe)
        return list(zip(harm.tolist(), safe.tolist(), strict=True))

    def _moments(
        self, rng: np.random.Generator, n: int, mean: float
    ) -> list[tuple[float, float, float]]:
        """Count, sum, sum of squares of n normal values of sd 0.55, ``per_user`` of them alike."""
        users = n // self.per_user
        sums = rng.normal(users * mean, math.sqrt(users) * 0.55, GROUP)
        squares = sums**2 / users + 0.55**2 * rng.chisquare(users - 1, GROUP)
        k = float(self.per_user)
        return [
            (users * k, s * k, q * k) for s, q in zip(sums.tolist(), squares.tolist(), strict=True)
        ]


def everything() -> list[DriftCell | SustainedCell | MeanCell]:
    """All cells of this module."""
    return [
        DriftCell("shape/drift at the margin, K 10, live", 10, 0.1),
        DriftCell("shape/drift at the margin, K 20, live", 20, 0.1),
        DriftCell("shape/drift at the margin, K 20, fixed reference", 20, 0.1, live=False),
        DriftCell("shape/no drift, K 20, live", 20, 0.0),
        DriftCell("shape/KL 0.3 from the start, K 20, E 500", 20, 0.3, threshold=500.0, looks=60),
        DriftCell("shape/KL 0.3 from look 121, K 20, E 500", 20, 0.3, threshold=500.0, onset=120),
        DriftCell("shape/KL 0.3 from look 241, K 20, E 500", 20, 0.3, threshold=500.0, onset=240),
        SustainedCell("shape/sustained, KL 0.15 under a limit of 0.2", 0.15),
        SustainedCell("shape/sustained, KL 0.2 at the limit", 0.2),
        SustainedCell("shape/sustained, KL 0.25 above the limit", 0.25),
        MeanCell("shape/mean at the margin", -0.02),
        MeanCell("shape/mean at the margin, ramp and level +-30 %", -0.02, level_swing=0.3,
                 ramp=True),
        MeanCell("shape/mean at the margin, 10 requests per user, from 10 looks", -0.02,
                 per_user=10),
        MeanCell("shape/mean at the margin, 10 requests per user, from 30 looks", -0.02,
                 per_user=10, min_intervals=30),
    ]  # fmt: skip
