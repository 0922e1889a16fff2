"""Many runs of one rate at once: when does its evidence first cross a threshold?

The engine judges a whole plan in one pass over arrays, so a plan of G copies of one metric is G
independent runs. The copies are given weight 1 each, so that each has the caps that it would have
alone; nothing here reads their sum. A test holds this against G plans of one metric.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis import Evidence, Interval, Plan, Rate, RateHistory, RatePlan, observe
from modelhandoff.analysis.evidence import readout
from modelhandoff.analysis.history import rate_history
from modelhandoff.analysis.past import MetricPast, added, learn, with_past
from modelhandoff.analysis.synthetic import Noise, draw_events, event_levels
from tests.calibration import world
from tests.calibration.world import BASELINE, LOOKS, Size

Array = NDArray[np.float64]


GROUP: Final = 100


def copies(**settings: Any) -> Plan:
    """A plan whose metrics are independent runs: each has the weight of a metric alone."""
    plan = Plan(**settings)
    plan.__dict__["weights"] = (1.0,) * len(plan.metrics)
    return plan


@dataclass(frozen=True)
class RateCell:
    """Runs of one rate metric alone.

    Attributes:
        size: requests per look.
        candidate, baseline: true rates (the candidate's after ``onset``).
        threshold: evidence that rolls back (500 = a fifth of 1 %).
        history: with A/A history (of ``history_size`` traffic, else the run's own).
        limit: absolute limit instead of a comparison with the baseline.
        history_noise: noise of the history when it differs from the run's.
        splits: random splits of baseline pods behind phi_hist (1 = one split of whole arms).
        halves: intervals carry two halves of the baseline (phi_split).
        twin: cells with the same twin see the same traffic.
        ramp: weights in percent by quarter of the run, instead of the fixed split.
        earlier: looks of earlier healthy rollouts, whose evidence is the history (as in the
            operator), under ``history_noise`` when it differs from the run's.
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
    twin: str = ""
    splits: int = 1
    halves: bool = False
    limit: float | None = None
    looks: int = LOOKS
    ramp: tuple[int, ...] = ()
    safe_margin: float | None = None
    delta_safe: float | None = None
    harm_margin: float = 1.25
    earlier: tuple[int, ...] = ()

    def play(self, seeds: Sequence[np.random.SeedSequence]) -> list[tuple[float, float]]:
        """(look of the first harm crossing, of the first safe proof) per run; inf = never.

        Each seed drives one group of runs.
        """
        out: list[tuple[float, float]] = []
        for seed in seeds:
            out += self._group(np.random.default_rng(seed))
        return out

    def _plan(self, rng: np.random.Generator) -> Plan:
        g = GROUP
        histories: list[RateHistory | None] = [None] * g
        if self.history:
            noise = self.history_noise or self.noise
            size = self.history_size or self.size
            if self.splits > 1:
                counts = world.pod_splits(size, rng, noise, self.baseline, (g, self.splits))
            else:
                counts = world.aa_counts(size, rng, noise, self.baseline, g)[:, None]
            histories = [rate_history(one, periodic=self.periodic) for one in counts]
        found = [
            RatePlan(
                f"r{i}", catastrophe=False, history=one, limit=self.limit,
                relative=self.limit is None, harm_margin=self.harm_margin,
                safe_margin=self.safe_margin, delta_safe=self.delta_safe,
            )
            for i, one in enumerate(histories)
        ]  # fmt: skip
        if self.earlier:
            found = self._inherited(found, rng)
        return copies(
            metrics=tuple(found), harm_level=1.0 / self.threshold, planned_looks=LOOKS,
            steps=self.ramp or (self.size.weight,), check_split=False, min_looks=2,
            split_halves=self.halves,
        )  # fmt: skip

    def _inherited(self, first: list[RatePlan], rng: np.random.Generator) -> list[RatePlan]:
        """Every copy with the history that its own earlier rollouts have left."""
        known: dict[str, MetricPast] = {}
        noise = self.history_noise or self.noise
        plan = copies(metrics=tuple(first), steps=(self.size.weight,), check_split=False)
        for looks in self.earlier:
            evidence = Evidence.start(plan)
            levels = event_levels(rng, noise, GROUP, looks)
            sizes = float(self.size.candidate), float(self.size.baseline)
            for look in range(1, looks + 1):
                x, y = (
                    draw_events(rng, n, self.baseline * level[:, look - 1], noise.burst).tolist()
                    for n, level in zip(sizes, levels, strict=True)
                )
                rates = {f"r{i}": Rate((x[i], sizes[0]), (y[i], sizes[1])) for i in range(GROUP)}
                evidence = observe(
                    plan, evidence,
                    Interval(look, 30.0 * look, 30.0 * look + 30.0, 0, self.size.weight, sizes,
                             rates),
                )  # fmt: skip
            known = added(learn(plan, evidence, promoted=False), known)
        found = [with_past(one, known[one.name]) for one in first]
        return [one for one in found if isinstance(one, RatePlan)]

    def _sizes(self, look: int) -> tuple[float, float, int]:
        if not self.ramp:
            return float(self.size.candidate), float(self.size.baseline), 0
        step = min(len(self.ramp) - 1, (look - 1) * len(self.ramp) // self.looks)
        own = self.size.total * self.ramp[step] / 100.0
        return own, self.size.total - own, step

    def _group(self, rng: np.random.Generator) -> list[tuple[float, float]]:
        g = GROUP
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
            half = [
                draw_events(rng, m / 2.0, pb * other[:, look - 1], self.noise.burst)
                for _ in range(2)
            ]
            y = (half[0] + half[1]).tolist()
            metrics = {f"r{i}": Rate((x[i], n), (y[i], m)) for i in range(g)}
            halves = {
                f"r{i}": Rate((float(half[0][i]), m / 2.0), (float(half[1][i]), m / 2.0))
                for i in range(g if self.halves else 0)
            }
            evidence = observe(
                plan, evidence,
                Interval(look, 30.0 * look, 30.0 * look + 30.0, step, round(100 * n / (n + m)),
                         (n, m), metrics, halves=halves),
            )  # fmt: skip
            r = readout(plan, evidence)
            logs = np.array(r.metric)
            proofs = np.array(r.one_safe if self.limit is not None else r.two_safe)
            harm = np.where((logs >= bound) & np.isinf(harm), look, harm)
            safe = np.where((proofs >= proof) & np.isinf(safe), look, safe)
        return list(zip(harm.tolist(), safe.tolist(), strict=True))
