"""The planner against published crossing times and against the engine it speaks for."""

import math

import numpy as np
import pytest

from modelhandoff.analysis import Evidence, Plan, RateHistory, RatePlan, observe
from modelhandoff.analysis.evidence import readout
from modelhandoff.analysis.planner import (
    Traffic,
    absolute_harm,
    absolute_safe,
    detectable_ratio,
    drift_harm,
    mean_proof,
    relative_harm,
    relative_safe,
)

BIG, SMALL = Traffic(600, 5400), Traffic(60, 540)


def looks_until(errors, plan, rate, read, *, bound, runs=16):
    """Crossing times of the engine itself."""
    out = []
    for seed in range(runs):
        ev = Evidence.start(plan)
        for one in errors(240, rate, seed=seed):
            ev = observe(plan, ev, one)
            if read(readout(plan, ev)) >= bound:
                break
        out.append(ev.looks)
    return np.median(out)


@pytest.mark.parametrize(("rate", "share"), [(0.01, 1.0), (0.02, 0.2)])
def test_harm_takes_as_long_as_announced(errors, rate, share):
    plan = Plan(metrics=(RatePlan("errors", catastrophe=False, history=RateHistory(0.005)),),
                harm_level=0.01 * share, check_split=False)  # fmt: skip
    told = relative_harm(BIG, rate, 0.005, share=share, phi=1.1, power=0.5).looks
    took = looks_until(errors, plan, rate, lambda r: r.metric[0], bound=math.log(100 / share))
    assert told == pytest.approx(took, rel=0.35, abs=2)


def test_safety_takes_as_long_as_announced(errors):
    plan = Plan(metrics=(RatePlan("errors", catastrophe=False, history=RateHistory(0.005)),),
                check_split=False)  # fmt: skip
    told = relative_safe(BIG, 0.005, 0.005, phi=1.1, power=0.5).looks
    took = looks_until(errors, plan, 0.005, lambda r: r.two_safe[0], bound=math.log(20))
    assert told == pytest.approx(took, rel=0.35, abs=2)


@pytest.mark.parametrize(
    ("traffic", "rate", "looks"),
    [(BIG, 1e-9, 15), (BIG, 1e-4, 16), (BIG, 1e-3, 20), (BIG, 5e-3, 16),
     (SMALL, 1e-9, 149), (SMALL, 1e-3, 190), (SMALL, 5e-3, 91)],
)  # fmt: skip
def test_simulated_looks_to_prove_safety_are_never_undercut_much(traffic, rate, looks):
    """Medians of simulated runs; the plan may be cautious (rare events are skewed), not bold."""
    told = relative_safe(traffic, rate, rate, phi=1.0, power=0.5).looks
    assert 0.8 * looks <= told <= 1.35 * looks


def test_more_power_more_traffic_and_larger_effects_behave():
    low = relative_harm(BIG, 0.01, 0.005, power=0.5)
    high = relative_harm(BIG, 0.01, 0.005, power=0.9)
    assert low.looks < high.looks
    assert relative_harm(SMALL, 0.01, 0.005).looks > high.looks
    assert relative_harm(BIG, 0.02, 0.005).looks < low.looks
    assert high.requests == high.looks * 600
    assert high.seconds == high.looks * 30


def test_what_cannot_be_proven_is_said():
    assert not relative_harm(BIG, 0.005, 0.005).possible
    assert not relative_safe(BIG, 0.009, 0.005).possible
    assert not absolute_harm(BIG, 0.005, 0.01).possible
    assert not absolute_safe(BIG, 0.012, 0.01).possible
    assert not mean_proof(BIG, 0.0, 1.0, planned_looks=240).possible
    assert not drift_harm(BIG, 0.1, 0.1, 20).possible


def test_no_verdict_in_one_or_two_looks():
    assert relative_harm(BIG, 0.9, 0.005).looks >= 3
    assert absolute_harm(BIG, 0.9, 0.01).looks >= 3


def test_the_smallest_detectable_change_shrinks_with_time():
    """At 60 requests a minute, half an hour of "no harm" excludes only about a factor of three."""
    half_hour = detectable_ratio(SMALL, 0.005, 30, phi=1.0)
    assert 2.5 < half_hour < 5.0
    assert detectable_ratio(SMALL, 0.005, 240, phi=1.0) < half_hour
    assert detectable_ratio(SMALL, 0.005, 1) == math.inf
    assert detectable_ratio(SMALL, 0.0, 30) == math.inf


def test_drift_is_found_as_announced():
    # 20 bins, one of five metrics: 7 / 8 looks (50 / 90 %) at 100 observations, 33 / 42 at 10.
    assert drift_harm(Traffic(100, 900), 0.3, 0.1, 20, share=0.2).looks == pytest.approx(8, abs=2)
    assert drift_harm(Traffic(10, 90), 0.3, 0.1, 20, share=0.2).looks == pytest.approx(40, rel=0.3)
    assert drift_harm(BIG, 0.3, 0.1, 20, smallest=0.001).looks >= 5000 / 600


def test_a_mean_needs_ten_looks_and_more_for_small_distances():
    assert mean_proof(BIG, 0.05, 0.0002, planned_looks=240).looks == 10
    far = mean_proof(BIG, 0.01, 0.002, planned_looks=240).looks
    assert mean_proof(BIG, 0.005, 0.002, planned_looks=240).looks > 2 * far
