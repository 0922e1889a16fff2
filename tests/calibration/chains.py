"""Rollout after rollout, each judged with what the earlier ones left.

The cells of the calibration give every run a history of whole rollouts. Here rollouts end when
their verdict is there, as in production: a quiet stretch promotes early and leaves a short history,
so what is learned depends on what was judged. Run ``python -m tests.calibration.chains``.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from modelhandoff.analysis import Decision, Plan, RatePlan
from modelhandoff.analysis.past import MetricPast, added, learn, with_past
from modelhandoff.analysis.replay import Replay
from modelhandoff.analysis.synthetic import Noise, RateTruth, Scenario, Traffic
from tests.calibration.world import BASELINE, LOOKS

FIRST = RatePlan("errors", catastrophe=False, safe_margin=1.5)
ENDS = (Decision.Promote, Decision.Rollback, Decision.Inconclusive)


@dataclass(frozen=True)
class Ended:
    """One healthy rollout of a chain."""

    with_history: bool
    decision: Decision
    look: int


def chain(seed: int, requests: float, noise: Noise, rollouts: int) -> list[Ended]:
    """Healthy candidates, one after the other, one error metric at a nominal 5 %."""
    rng = np.random.default_rng(seed)
    known: dict[str, MetricPast] = {}
    out = []
    for _ in range(rollouts):
        metric = with_past(FIRST, known["errors"]) if known else None
        plan = Plan(
            metrics=(metric or FIRST,), harm_level=0.05, planned_looks=LOOKS, check_split=False
        )
        truth = {"errors": RateTruth(BASELINE, BASELINE)}
        traffic = Traffic(Scenario(requests, truth, noise), rng, LOOKS)
        replay = Replay(plan, (), LOOKS * plan.interval_seconds, intervals=False)
        for look in range(1, LOOKS + 1):
            interval = traffic.interval(look, 0, 10)
            replay.take(interval)
            if replay.undecided(interval.end):
                continue
            decision = replay.verdict(interval.end).decision
            if decision in ENDS:
                break
        out.append(Ended(metric is not None, decision, look))
        promoted = decision is Decision.Promote
        known = added(learn(plan, replay.evidence, promoted=promoted), known)
    return out


def summary(ended: Iterable[Ended]) -> tuple[int, float, float, float]:
    """(rollouts, share rolled back, its standard error, share promoted)."""
    found = list(ended)
    n = len(found)
    if not n:
        return 0, math.nan, math.nan, math.nan
    bad = sum(one.decision is Decision.Rollback for one in found) / n
    good = sum(one.decision is Decision.Promote for one in found) / n
    return n, bad, math.sqrt(bad * (1.0 - bad) / n), good


def main() -> None:
    """Print one row per traffic and noise."""
    parser = argparse.ArgumentParser(prog="python -m tests.calibration.chains")
    parser.add_argument("--chains", type=int, default=30)
    parser.add_argument("--rollouts", type=int, default=16)
    asked = parser.parse_args()
    print("| requests a look | noise | history | rollouts | rolled back | promoted |")
    print("|---|---|---|---|---|---|")
    for requests in (60_000.0, 6000.0):
        for name, noise in (
            ("AR sd 0.3 rho 0.9", Noise(arm_sd=0.3, rho=0.9)),
            ("bursts 5", Noise(burst=5.0)),
        ):
            ended = [
                one
                for seed in range(asked.chains)
                for one in chain(seed, requests, noise, asked.rollouts)
            ]
            for known in (False, True):
                n, bad, error, good = summary(e for e in ended if e.with_history is known)
                told = "with" if known else "without"
                print(
                    f"| {requests:,.0f} | {name} | {told} | {n} | "
                    f"{100 * bad:.1f} ± {100 * error:.1f} % | {100 * good:.0f} % |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
