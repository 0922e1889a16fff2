"""Traffic split: a wrong share holds, a right one does not, and it never rolls back."""

import math

import numpy as np
import pytest

from modelhandoff.analysis import (
    Count,
    CountPlan,
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
from modelhandoff.analysis.split import MISMATCH

PLAN = Plan(metrics=(RatePlan("errors", baseline_rate=0.005),))


def run(interval, share, looks, *, weight=10, seed=1, sticky=1, plan=PLAN, step=lambda t: 0):
    rng = np.random.default_rng(seed)
    ev = Evidence.start(plan)
    for t in range(1, looks + 1):
        k = float(rng.binomial(6000 // sticky, share) * sticky)
        other = 6000.0 - k
        failed = [float(rng.binomial(int(n), 0.005)) for n in (k, other)]
        found = {"errors": Rate((failed[0], k), (failed[1], other))}
        one = interval(t, found, weight=weight, requests=(k, other), step=step(t))
        ev = observe(plan, ev, one)
    return ev


@pytest.mark.parametrize("share", [0.05, 0.15])
def test_a_wrong_share_holds_promotion_and_never_rolls_back(interval, share):
    verdict = judge(PLAN, run(interval, share, 40), Progress(step_looks=40), intervals=False)
    assert (verdict.decision, verdict.reason) == (Decision.Hold, Reason.TrafficSplitMismatch)
    assert not verdict.step_complete


@pytest.mark.parametrize("share", [0.095, 0.1, 0.105])
@pytest.mark.parametrize("sticky", [1, 100])
def test_within_ten_percent_is_fine_also_with_sticky_sessions(interval, share, sticky):
    for seed in range(3):
        ev = run(interval, share, 60, seed=seed, sticky=sticky)
        assert readout(PLAN, ev).split < MISMATCH


def test_nothing_before_the_tenth_look_and_a_new_step_starts_again(interval):
    assert readout(PLAN, run(interval, 0.5, 9)).split == pytest.approx(0.0)
    assert readout(PLAN, run(interval, 0.5, 15)).split > MISMATCH
    stepped = run(interval, 0.5, 15, step=lambda t: 0 if t < 12 else 1)
    assert readout(PLAN, stepped).split == pytest.approx(0.0)


def test_no_test_at_full_weight_or_without_a_baseline(interval):
    assert readout(PLAN, run(interval, 0.5, 40, weight=100)).split == pytest.approx(0.0)
    off = Plan(metrics=PLAN.metrics, check_split=False)
    assert readout(off, run(interval, 0.5, 40, plan=off)).split == pytest.approx(0.0)


def counts(interval, drop, looks=60, *, skew=1.0, seed=2):
    plan = Plan(metrics=(CountPlan("sold", max_drop=0.1),))
    rng = np.random.default_rng(seed)
    ev = Evidence.start(plan)
    for t in range(looks):
        cand = float(rng.poisson(60 * skew * (1 - drop)))
        found = {"sold": Count(cand, float(rng.poisson(540)))}
        ev = observe(plan, ev, interval(t, found, requests=(600.0 * skew, 5400.0)))
    return readout(plan, ev)


def test_counts_stop_a_drop(interval):
    assert counts(interval, 0.4).total_e > 100.0
    assert counts(interval, 0.0).total_e < 3.0
    assert counts(interval, 0.0).two_safe[0] > math.log(20.0)


def test_counts_are_silent_while_the_split_is_broken(interval):
    broken = counts(interval, 0.0, skew=0.5)
    assert broken.two_harm[0] > math.log(100.0)
    assert broken.metric[0] == 0.0
