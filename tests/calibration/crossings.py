"""Many runs of one rate, drift or mean at once: when does evidence first cross a threshold?

The engine judges a whole plan in one pass over arrays, so a plan of G copies of one metric is G
independent runs. The cap of a bet depends on weight x harm level only: with weights 1/G and harm
level G/threshold every copy has exactly the cap of a single metric with that threshold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis import Evidence, Interval, Plan, Rate, RateHistory, RatePlan, observe
from modelhandoff.analysis.evidence import readout
from modelhandoff.analysis.history import rate_history
from modelhandoff.analysis.synthetic import Noise, draw_events, event_levels
from tests.calibration import world
from tests.calibration.world import BASELINE, LOOKS, Size

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RateCell:
    """Runs of one rate metric alone.

    Attributes:
        size: requests per look.
        candidate, baseline: true rates (the candidate's after ``onset``).
        threshold: evidence that rolls back (500 = a fifth of 1 %).
        history: with A/A history (of ``history_size`` traffic, else the run's own).
        limit: absolute limit instead of a comparison with the baseline.
        ramp: weights in percent by quarter of the run, instead of the fixed split.
    """

    name: str
    size: Size
    noise: Noise = field(default_factory=Noise)
    candidate: float = BASELINE
    baseline: float = BASELINE
    onset: int = 0
    threshold: float = 500.0
    history: bool = False
    history_size: Size | None = None
    history_noise: Noise | None = None
    periodic: bool = False
    limit: float | None = None
    looks: int = LOOKS
    ramp: tuple[int, ...] = ()
    safe_margin: float | None = None
    delta_safe: float | None = None
    harm_margin: float = 1.25

    @property
    def group(self) -> int:
        """Copies per plan: harm level group/threshold stays below one half."""
        return max(1, min(100, int(0.5 * self.threshold)))

    def play(self, seeds: Sequence[np.random.SeedSequence]) -> list[tuple[float, float]]:
        """(look of the first harm crossing, of the first safe proof) per run; inf = never.

        Each seed drives one group of runs.
        """
        out: list[tuple[float, float]] = []
        for seed in seeds:
            out += self._group(np.random.default_rng(seed))
        return out

    def _plan(self, rng: np.random.Generator) -> Plan:
        g = self.group
        histories: list[RateHistory | None] = [None] * g
        if self.history:
            noise = self.history_noise or self.noise
            size = self.history_size or self.size
            counts = world.aa_counts(size, rng, noise, self.baseline, g)
            histories = [rate_history(one[None], periodic=self.periodic) for one in counts]
        found = [
            RatePlan(
                f"r{i}", catastrophe=False, history=one, limit=self.limit,
                relative=self.limit is None, harm_margin=self.harm_margin,
                safe_margin=self.safe_margin, delta_safe=self.delta_safe,
            )
            for i, one in enumerate(histories)
        ]  # fmt: skip
        return Plan(
            metrics=tuple(found), harm_level=g / self.threshold, planned_looks=LOOKS,
            steps=self.ramp or (self.size.weight,), check_split=False, min_looks=2,
        )  # fmt: skip

    def _sizes(self, look: int) -> tuple[float, float, int]:
        if not self.ramp:
            return float(self.size.candidate), float(self.size.baseline), 0
        step = min(len(self.ramp) - 1, (look - 1) * len(self.ramp) // self.looks)
        own = self.size.total * self.ramp[step] / 100.0
        return own, self.size.total - own, step

    def _group(self, rng: np.random.Generator) -> list[tuple[float, float]]:
        g = self.group
        plan = self._plan(rng)
        evidence = Evidence.start(plan)
        own, other = event_levels(rng, self.noise, g, self.looks)
        harm, safe = np.full(g, math.inf), np.full(g, math.inf)
        bound, proof = math.log(self.threshold), math.log(1.0 / plan.safe_level)
        for look in range(1, self.looks + 1):
            n, m, step = self._sizes(look)
            pc = self.candidate if look > self.onset else self.baseline
            pb = self.baseline
            for first, last, rate in self.noise.incidents:
                if first <= look <= last:
                    pc = pb = rate
            x = draw_events(rng, n, pc * own[:, look - 1], self.noise.burst).tolist()
            y = draw_events(rng, m, pb * other[:, look - 1], self.noise.burst).tolist()
            metrics = {f"r{i}": Rate((x[i], n), (y[i], m)) for i in range(g)}
            evidence = observe(
                plan, evidence,
                Interval(look, 30.0 * look, 30.0 * look + 30.0, step, round(100 * n / (n + m)),
                         (n, m), metrics),
            )  # fmt: skip
            r = readout(plan, evidence)
            logs = np.array(r.metric)
            proofs = np.array(r.one_safe if self.limit is not None else r.two_safe)
            harm = np.where((logs >= bound) & np.isinf(harm), look, harm)
            safe = np.where((proofs >= proof) & np.isinf(safe), look, safe)
        return list(zip(harm.tolist(), safe.tolist(), strict=True))
