"""Our rule beside published rules of other tools, on the same counts of one error metric.

Own implementations of what those tools document:

- Argo Rollouts: one measurement per interval against a condition; Failed as soon as the number of
  failed measurements exceeds ``failureLimit``; Successful after ``count`` measurements.
- Flagger: one check per interval; rollback once ``threshold`` checks have failed (they add up over
  the whole analysis); promotion after ``iterations`` checks that passed.
- Kayenta: Mann-Whitney test on the two series of per-interval error rates; "High" when the lower
  end of the 98 % confidence interval of the shift exceeds a quarter of its estimate. Run every 10
  intervals on everything so far, as a canary analysis with growing lookback does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from modelhandoff.analysis import Decision, Interval, Plan, Rate, RatePlan
from modelhandoff.analysis.replay import Replay
from modelhandoff.analysis.synthetic import Noise, draw_events, event_levels
from tests.calibration.world import BASELINE, BIG, SMALL, Size

Array = NDArray[np.float64]
LIMIT = 0.01
LOOKS = 120
"""One hour of looks of 30 s."""

RULES = (
    "ModelHandoff",
    "Argo Rollouts, failureLimit 0",
    "Argo Rollouts, failureLimit 3",
    "Flagger, threshold 5",
    "Flagger, threshold 10",
    "Mann-Whitney (Kayenta)",
)
Result = tuple[str, int]
"""promoted | rolled back | open, and the look."""


def argo(rates: Array, failure_limit: int) -> Result:
    """Counted failures of the condition ``error rate <= limit``."""
    failed = np.cumsum(rates > LIMIT)
    over = np.flatnonzero(failed > failure_limit)
    return ("rolled back", int(over[0]) + 1) if len(over) else ("promoted", len(rates))


def flagger(rates: Array, threshold: int, iterations: int) -> Result:
    """Failed checks add up; only passed checks advance the analysis."""
    failed = passed = 0
    for look, rate in enumerate(rates.tolist(), start=1):
        if rate > LIMIT:
            failed += 1
            if failed >= threshold:
                return "rolled back", look
        else:
            passed += 1
            if passed >= iterations:
                return "promoted", look
    return "open", len(rates)


def shift_interval(own: Array, other: Array, level: float = 0.98) -> tuple[float, float]:
    """(Hodges-Lehmann estimate, lower confidence limit) of the shift of ``own`` over ``other``."""
    gaps = np.sort((own[:, None] - other[None, :]).ravel())
    n, m = len(own), len(other)
    spread = math.sqrt(n * m * (n + m + 1) / 12.0)
    at = math.floor(n * m / 2.0 - float(ndtri(0.5 + level / 2.0)) * spread)
    return float(np.median(gaps)), float(gaps[max(at, 0)])


def kayenta(own: Array, other: Array, every: int = 10, tolerance: float = 0.25) -> Result:
    """Judged every 10 intervals on all intervals so far; one "High" ends the canary."""
    for look in range(every, len(own) + 1, every):
        estimate, low = shift_interval(own[:look], other[:look])
        if low > tolerance * abs(estimate) and own[:look].mean() >= other[:look].mean():
            return "rolled back", look
    return "promoted", len(own)


def ours(counts: Array, size: Size) -> Result:
    """The engine with the rule that a handoff with ``max: 0.01`` has."""
    plan = Plan(
        metrics=(RatePlan("errors", limit=LIMIT),), steps=(size.weight,), planned_looks=LOOKS
    )
    replay = Replay(plan, max_seconds=LOOKS * 30.0, intervals=False)
    n, m = float(size.candidate), float(size.baseline)
    for look, (x, y) in enumerate(counts.tolist(), start=1):
        interval = Interval(
            look, 30.0 * look, 30.0 * look + 30.0, 0, size.weight, (n, m),
            {"errors": Rate((x, n), (y, m))},
        )  # fmt: skip
        decision = replay.look(interval).decision
        if decision is Decision.Rollback:
            return "rolled back", look
        if decision is Decision.Promote:
            return "promoted", look
    return "open", LOOKS


@dataclass(frozen=True)
class RivalCell:
    """One truth at one traffic; every rule sees the same counts."""

    name: str
    size: Size
    candidate: float = BASELINE
    noise: Noise = field(default_factory=Noise)
    onset: int = 0

    def play(self, seeds: Sequence[np.random.SeedSequence]) -> list[dict[str, Result]]:
        """Per run: rule -> result."""
        out = []
        for seed in seeds:
            counts = self._counts(np.random.default_rng(seed))
            own = counts[:, 0] / self.size.candidate
            other = counts[:, 1] / self.size.baseline
            found = (
                ours(counts, self.size),
                argo(own, 0),
                argo(own, 3),
                flagger(own, 5, LOOKS - 5),
                flagger(own, 10, LOOKS - 10),
                kayenta(own, other),
            )
            out.append(dict(zip(RULES, found, strict=True)))
        return out

    def _counts(self, rng: np.random.Generator) -> Array:
        own, other = event_levels(rng, self.noise, 1, LOOKS)
        look = np.arange(1, LOOKS + 1)
        pc = np.where(look > self.onset, self.candidate, BASELINE)
        pb = np.full(LOOKS, BASELINE)
        for first, last, rate in self.noise.incidents:
            inside = (look >= first) & (look <= last)
            pc, pb = np.where(inside, rate, pc), np.where(inside, rate, pb)
        x = draw_events(rng, float(self.size.candidate), pc * own[0], self.noise.burst)
        y = draw_events(rng, float(self.size.baseline), pb * other[0], self.noise.burst)
        return np.stack((x, y), axis=1)


def everything() -> list[RivalCell]:
    """All cells: healthy candidates under several noises, bad ones of several sizes."""
    cases: list[tuple[str, dict[str, object]]] = [
        ("healthy", {}),
        ("healthy, bursts of mean 5", {"noise": Noise(burst=5.0)}),
        ("healthy, slow noise sd 0.3", {"noise": Noise(arm_sd=0.3, rho=0.9)}),
        ("healthy, incident of 3 % in both for 6 looks",
         {"noise": Noise(incidents=((60, 65, 0.03),))}),
        ("errors 0.9 %, within the limit, 1.8 x the baseline", {"candidate": 0.009}),
        ("errors 1.5 %", {"candidate": 0.015}),
        ("errors 2 %", {"candidate": 0.02}),
        ("errors 5 %", {"candidate": 0.05}),
        ("errors 2 % only from look 21", {"candidate": 0.02, "onset": 20}),
    ]  # fmt: skip
    return [
        RivalCell(f"rival/{name}/{size}", size, **changes)  # type: ignore[arg-type]
        for name, changes in cases
        for size in (SMALL, BIG)
    ]
