"""The full engine, run by run: what five metrics decide about a candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from modelhandoff.analysis.simulate import Ending, run
from modelhandoff.analysis.synthetic import Noise
from tests.calibration import world
from tests.calibration.world import BIG, LOOKS, SMALL, Size

TRUTHS: dict[str, dict[str, float | int]] = {
    "identical": {},
    "errors 0.25 %": {"errors": 0.0025},
    "errors 0.55 %": {"errors": 0.0055},
    "errors 0.7 %": {"errors": 0.007},
    "errors 1 %": {"errors": 0.01},
    "errors 2 %": {"errors": 0.02},
    "errors 5 %": {"errors": 0.05},
    "p95 36 ms": {"p95": 0.036},
    "drift KL 0.3": {"kl": 0.3},
    "score -10 %": {"score": -0.1},
    "errors 1 % only from look 21": {"errors": 0.01, "onset": 20},
    "errors 2 % only from look 21": {"errors": 0.02, "onset": 20},
}
SKIPPED_WHEN_SMALL = ("errors 0.55 %", "errors 0.7 %")


@dataclass(frozen=True)
class Cell:
    """One truth at one traffic, with or without A/A history."""

    truth: str
    size: Size
    history: bool
    noise: Noise = field(default_factory=Noise)

    def play(self, seeds: Sequence[np.random.SeedSequence]) -> list[Ending]:
        """One rollout per seed; every run has a history of its own."""
        made = world.scenario(self.size, noise=self.noise, **TRUTHS[self.truth])
        out = []
        for seed in seeds:
            rng = np.random.default_rng(seed)
            plan = world.plan(self.size, rng, history=self.history, noise=self.noise)
            out.append(run(plan, made, rng, paces=(), looks=LOOKS))
        return out


def cells() -> list[Cell]:
    """All cells of the first table."""
    return [
        Cell(truth, size, history)
        for truth in TRUTHS
        for size in (BIG, SMALL)
        for history in (True, False)
        if not (size is SMALL and truth in SKIPPED_WHEN_SMALL)
    ]
