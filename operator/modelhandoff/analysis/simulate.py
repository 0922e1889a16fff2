"""One made-up rollout under a plan: traffic in, verdicts out, weights follow the verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from modelhandoff.analysis.plan import Plan
from modelhandoff.analysis.replay import Pace, Replay
from modelhandoff.analysis.synthetic import Scenario, Traffic
from modelhandoff.analysis.verdict import Decision

__all__ = ["Ending", "run", "runs"]


@dataclass(frozen=True, slots=True)
class Ending:
    """How one made-up rollout ended.

    ``look`` counts closed intervals (excluded ones too), ``weight`` is the last one in force,
    ``requests`` what the candidate has answered, ``blame`` the metrics behind a rollback or hold.
    """

    decision: Decision
    reason: str
    look: int
    weight: int
    requests: float
    blame: tuple[str, ...] = ()


def run(
    plan: Plan, scenario: Scenario, rng: np.random.Generator, *, paces: Sequence[Pace], looks: int
) -> Ending:
    """Play one rollout to its verdict or to look ``looks`` (then Inconclusive).

    The first interval of every later step is excluded, as the operator excludes the one in which
    the weight changes.
    """
    replay = Replay(plan, paces, looks * plan.interval_seconds, intervals=False)
    traffic = Traffic(scenario, rng, looks)
    step, requests, changed = 0, 0.0, False
    for look in range(1, looks + 1):
        weight = plan.steps[step]
        interval = traffic.interval(look, step, weight, excluded="weight" if changed else "")
        replay.take(interval)
        requests += interval.requests[0]
        changed = False
        if replay.undecided(interval.end):
            continue
        verdict = replay.verdict(interval.end)
        if verdict.decision in (Decision.Promote, Decision.Rollback, Decision.Inconclusive):
            return Ending(
                verdict.decision, str(verdict.reason), look, weight, requests, verdict.blame
            )
        if verdict.step_complete and step < len(plan.steps) - 1:
            step, changed = step + 1, plan.steps[step + 1] != weight
    # Only a plan that extends itself comes here: it would go on.
    return Ending(
        Decision.Inconclusive, str(verdict.reason), looks, weight, requests, verdict.blame
    )


def runs(
    plan: Plan,
    scenario: Scenario,
    seeds: Sequence[np.random.SeedSequence],
    *,
    paces: Sequence[Pace],
    looks: int,
) -> list[Ending]:
    """One rollout per seed."""
    fresh = replace(plan)  # compiled once here, not carried between processes
    return [
        run(fresh, scenario, np.random.default_rng(seed), paces=paces, looks=looks)
        for seed in seeds
    ]
