"""A few seeded runs of the sharpest cells: the engine as a whole does what it promises."""

import numpy as np
import pytest

from modelhandoff.analysis import (
    Decision,
    Evidence,
    Plan,
    Progress,
    RateHistory,
    RatePlan,
    judge,
    observe,
)
from modelhandoff.analysis.evidence import readout

RUNS = 8
FIRST = RatePlan("errors", baseline_rate=0.005)
KNOWN = RatePlan("errors", history=RateHistory(0.005))


def outcomes(errors, metric, rate, *, looks=120, baseline=0.005, size=(600, 5400)):
    """(decision, look) per run."""
    plan = Plan(metrics=(metric,), requests_per_interval=float(sum(size)))
    out = []
    for seed in range(RUNS):
        ev = Evidence.start(plan)
        decided = (Decision.Continue, looks)
        for t, one in enumerate(errors(looks, rate, baseline, seed=100 + seed, size=size), start=1):
            ev = observe(plan, ev, one)
            if t < 30 and readout(plan, ev).total_e < 100.0:
                continue
            verdict = judge(
                plan, ev, Progress(step_looks=t, step_requests=600.0 * t), intervals=False
            )
            if verdict.decision in (Decision.Promote, Decision.Rollback):
                decided = (verdict.decision, t)
                break
        out.append(decided)
    return out


@pytest.mark.parametrize("metric", [KNOWN, FIRST], ids=["history", "first use"])
def test_identical_versions_are_promoted(errors, metric):
    found = outcomes(errors, metric, 0.005)
    assert [d for d, _ in found].count(Decision.Rollback) == 0
    assert [d for d, _ in found].count(Decision.Promote) >= RUNS - 1


@pytest.mark.parametrize("metric", [KNOWN, FIRST], ids=["history", "first use"])
@pytest.mark.parametrize(("rate", "within"), [(0.02, 12), (0.05, 4)])
def test_regressions_are_stopped_in_time(errors, metric, rate, within):
    found = outcomes(errors, metric, rate, looks=40)
    assert all(d is Decision.Rollback for d, _ in found)
    assert max(look for _, look in found) <= within


def test_a_slow_break_is_not_promoted_and_then_stopped(errors):
    found = outcomes(errors, KNOWN, lambda t: 0.005 if t <= 20 else 0.02)
    assert all(d is Decision.Rollback for d, _ in found)
    assert np.median([look for _, look in found]) <= 32


def test_bursty_traffic_does_not_roll_back_healthy_candidates(errors):
    """Arms with their own slow noise (sd 0.3, AR(1), rho 0.9): plain count tests break on it."""
    rng = np.random.default_rng(77)

    def noisy():
        level = np.empty(200)
        level[0] = rng.normal(0.0, 0.3)
        for t in range(1, 200):
            level[t] = 0.9 * level[t - 1] + rng.normal(0.0, 0.3 * np.sqrt(1 - 0.81))
        return lambda t: 0.005 * float(np.exp(level[t] - 0.045))

    plan = Plan(metrics=(FIRST,), requests_per_interval=6000.0)
    worst = []
    for seed in range(RUNS):
        ev, best = Evidence.start(plan), 0.0
        for one in errors(120, noisy(), noisy(), seed=seed):
            ev = observe(plan, ev, one)
            best = max(best, readout(plan, ev).total_e)
        worst.append(best)
    assert sum(best >= 500.0 for best in worst) == 0


def test_zero_errors_everywhere_are_proven_safe(errors):
    found = outcomes(errors, FIRST, 0.0, baseline=0.0, looks=60)
    assert all(d is Decision.Promote for d, _ in found)
