"""Before anyone starts: looks per proof, what is detectable, and rules that can never pass."""

import math

import numpy as np
import pytest

from modelhandoff.analysis import (
    Bins,
    DriftPlan,
    Evidence,
    Feature,
    Interval,
    LatencyPlan,
    MeanPlan,
    Plan,
    RatePlan,
    Role,
    observe,
)
from modelhandoff.analysis.evidence import readout
from modelhandoff.analysis.forecast import forecast, warnings

PLAN = Plan(
    metrics=(
        RatePlan("errors", limit=0.01),
        LatencyPlan("p95", 0.95, budget=0.03),
        DriftPlan("scores", (Feature("scores", 20),)),
        MeanPlan("value", role=Role.Watch),
    )
)
RATES = {"errors": 0.005, "p95": 0.03}


def test_every_metric_is_forecast_in_words():
    errors, p95, scores, value = forecast(PLAN, 6000.0, RATES)
    assert errors.safe_half is not None
    assert errors.safe_half.looks <= errors.safe_most.looks
    assert errors.safe_most.requests == errors.safe_most.looks * 600
    assert 1.25 < errors.detectable < 2.5
    assert "errors: safety takes" in errors.sentence
    assert '"no harm found" after 2 h only excludes a rise above' in errors.sentence
    assert p95.safe_most.possible
    assert 0.1 < scores.detectable < 0.3
    assert scores.safe_half.looks <= scores.safe_most.looks
    assert "scores: no drift beyond KL 0.1 is proven after" in scores.sentence
    assert value.sentence == "value: known after the first looks."


@pytest.mark.parametrize(("observed", "margin"), [(100, 0.05), (40, 0.1), (10, 0.1)])
def test_the_proof_of_no_drift_takes_as_long_as_forecast(observed, margin):
    """30 features that do not drift, judged by the engine: median look of the proof."""
    rng = np.random.default_rng(8)
    groups = tuple(range(10))
    features = tuple(Feature(f"f{i}", 10, groups=groups) for i in range(30))
    plan = Plan(metrics=(DriftPlan("d", features, max_kl=margin),), check_split=False)
    evidence = Evidence.start(plan)
    first = np.full(30, np.inf)
    for look in range(1, 80):
        shape = np.full(10, 0.1)
        own = rng.multinomial(observed, shape, size=30).tolist()
        other = rng.multinomial(9 * observed, shape, size=30).tolist()
        metrics = {f"f{i}": Bins(tuple(own[i]), tuple(other[i])) for i in range(30)}
        sizes = (float(observed), 9.0 * observed)
        evidence = observe(plan, evidence, Interval(look, look, look + 1, 0, 10, sizes, metrics))
        proven = [one.log_safe >= math.log(20.0) for one in readout(plan, evidence).drift]
        first = np.where(np.array(proven) & np.isinf(first), look, first)
    seen = float(np.median(first))
    told = forecast(plan, 10.0 * observed, {}, weight=10)[0].safe_half.looks
    assert abs(told - seen) <= max(2.0, 0.3 * seen), (told, seen)


def test_less_traffic_takes_longer_and_sees_less():
    big, small = (forecast(PLAN, n, RATES)[0] for n in (6000.0, 600.0))
    assert small.safe_most.looks > big.safe_most.looks
    assert small.detectable > big.detectable


def test_all_is_well_says_nothing():
    assert warnings(PLAN, 6000.0, RATES, {"p95": (0.01, 0.03, 0.05)}) == ()


@pytest.mark.parametrize(
    ("plan", "requests", "rates", "edges", "message"),
    [
        (PLAN, 200.0, {"errors": 0.008}, {}, "metrics[0] (errors): the proof takes about"),
        (PLAN, 6000.0, {"errors": 0.02}, {}, "metrics[0] (errors): safety cannot be proven"),
        (PLAN, 6000.0, RATES, {"p95": (0.01, 0.025, 0.05)},
         "metrics[1] (p95): the budget 30 ms lies inside the bucket (25 ms, 50 ms]"),
        (PLAN, 6000.0, RATES, {"p95": (0.01, 0.025)}, "above the last bucket edge 25 ms"),
        (PLAN, 6.0, {}, {}, "metrics[2] (scores): scores needs 400 observations"),
        (Plan(metrics=(DriftPlan("d", (Feature("x", 50),), max_kl=0.001),)), 60.0, {}, {},
         "metrics[0] (d): the limit 0.001 lies below the bias floor"),
        (Plan(metrics=(RatePlan("e"),), steps=(5, 10, 25, 50), planned_looks=100), 6000.0, {}, {},
         "steps: 4 steps of at least 30 looks need 120, the planned run has 100"),
        (Plan(metrics=(RatePlan("e", limit=0.01), DriftPlan("d", (Feature("x", 9),))),
              initial=True), 6000.0, {}, {}, "metrics[1] (d): not judged without a baseline"),
    ],
)  # fmt: skip
def test_rules_that_cannot_pass_are_named(plan, requests, rates, edges, message):
    assert any(message in one for one in warnings(plan, requests, rates, edges))


def test_nothing_is_detectable_without_events():
    assert math.isinf(forecast(PLAN, 6000.0, {"errors": 0.0})[0].detectable)
