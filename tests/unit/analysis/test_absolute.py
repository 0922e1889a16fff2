"""Absolute limits: quick when the candidate alone breaks them, patient in a shared incident."""

import math

import numpy as np
import pytest

from modelhandoff.analysis import (
    Decision,
    Evidence,
    Plan,
    Progress,
    Rate,
    RatePlan,
    Reason,
    judge,
    observe,
)
from modelhandoff.analysis.evidence import readout

SLO = Plan(metrics=(RatePlan("errors", limit=0.01, relative=False, baseline_rate=0.005),))


def highest(plan, intervals):
    """Largest combined e-value over the run."""
    ev, best = Evidence.start(plan), 0.0
    for one in intervals:
        ev = observe(plan, ev, one)
        best = max(best, readout(plan, ev).total_e)
    return best, ev


def test_the_candidate_alone_over_the_limit_is_stopped(errors):
    alone, _ = highest(SLO, errors(30, 0.03))
    assert alone >= 100.0


def test_within_the_limit_is_proven(errors, feed):
    r = readout(SLO, feed(SLO, errors(60)))
    assert r.one_safe[0] > math.log(20.0)
    assert r.total_e < 3.0


@pytest.mark.parametrize("size", [(600, 5400), (60, 540), (3000, 3000), (4500, 1500)])
@pytest.mark.parametrize(("level", "looks"), [(0.04, 6), (0.02, 30)])
def test_a_shared_incident_blames_nobody(errors, size, level, looks):
    def rate(t):
        return level if 40 <= t < 40 + looks else 0.005

    for seed in range(2):
        best, _ = highest(SLO, errors(90, rate, rate, size=size, seed=seed))
        assert best < 100.0


def test_both_arms_over_the_limit_hold_until_it_is_over(errors, interval):
    def rate(t):
        return 0.03 if t <= 12 else 0.004

    ev = Evidence.start(SLO)
    seen = []
    for t, one in enumerate(errors(90, rate, rate), start=1):
        ev = observe(SLO, ev, one)
        verdict = judge(SLO, ev, Progress(step_looks=t), intervals=False)
        seen.append(verdict.reason)
    assert set(seen[3:12]) == {Reason.SharedIncident}
    assert Reason.SharedIncident not in seen[12 + 60 :]


def test_the_excuse_needs_three_of_the_last_five(errors, interval):
    ev = Evidence.start(SLO)
    for one in errors(20):
        ev = observe(SLO, ev, one)
    for t in range(21, 24):
        bad = Rate((3.0, 600.0), (100.0, 5400.0))
        ev = observe(SLO, ev, interval(t, {"errors": bad}))
        held = judge(SLO, ev, Progress(), intervals=False).reason is Reason.SharedIncident
        assert held == (t == 23)


def test_without_a_baseline_there_is_no_excuse(interval):
    plan = Plan(metrics=(RatePlan("errors", limit=0.01),), initial=True)
    rng = np.random.default_rng(1)
    ev = Evidence.start(plan)
    for t in range(20):
        found = Rate((float(rng.binomial(600, 0.05)), 600.0))
        ev = observe(plan, ev, interval(t, {"errors": found}, weight=100, requests=(600.0, None)))
    verdict = judge(plan, ev, Progress(step_looks=20))
    assert verdict.decision is Decision.Rollback
    assert "errors at 4.92 % (limit 1.00 %, 95 % interval" in verdict.message


def test_the_first_handoff_is_proven_by_absolute_metrics_alone(interval):
    plan = Plan(metrics=(RatePlan("errors", limit=0.01),), initial=True)
    rng = np.random.default_rng(1)
    ev = Evidence.start(plan)
    for t in range(40):
        found = Rate((float(rng.binomial(600, 0.003)), 600.0))
        ev = observe(plan, ev, interval(t, {"errors": found}, weight=100, requests=(600.0, None)))
    verdict = judge(plan, ev, Progress(step_looks=40))
    assert verdict.decision is Decision.Promote
    assert verdict.metrics[0].interval is not None
