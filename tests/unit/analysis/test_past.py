"""History read off evidence: the estimator of the A/A history, sums that add, a past that fades."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelhandoff.analysis import (
    CountPlan,
    DriftPlan,
    Evidence,
    Feature,
    Interval,
    LatencyPlan,
    Plan,
    Rate,
    RatePlan,
    observe,
)
from modelhandoff.analysis.dispersion import history_phi, one_arm_history
from modelhandoff.analysis.past import (
    ENOUGH,
    KEPT,
    MetricPast,
    Pairs,
    Part,
    added,
    learn,
    with_past,
)
from modelhandoff.analysis.synthetic import (
    CountTruth,
    DriftTruth,
    LatencyTruth,
    Noise,
    RateTruth,
    Scenario,
    Traffic,
)
from modelhandoff.analysis.wire import decode, encode

EDGES = (0.01, 0.02, 0.03, 0.05, math.inf)
ERRORS = RatePlan("errors", limit=0.01)


def played(counts: np.ndarray, plan: Plan) -> Evidence:
    evidence = Evidence.start(plan)
    for k, (x, n, y, m) in enumerate(counts.tolist(), start=1):
        evidence = observe(
            plan,
            evidence,
            Interval(k, 30.0 * k, 30.0 * k + 30.0, 0, 10, (n, m), {"errors": Rate((x, n), (y, m))}),
        )
    return evidence


def counts(seed: int, looks: int, burst: float = 3.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    out = np.empty((looks, 4))
    for column, size in ((0, 600), (2, 5400)):
        groups = rng.poisson(size * 0.005 / burst, looks)
        out[:, column] = np.minimum(groups * burst, size)
        out[:, column + 1] = size
    return out


@pytest.mark.parametrize("looks", [120, 240, 300])
def test_one_rollout_says_what_an_a_a_split_of_the_same_counts_would(looks: int) -> None:
    """Oracle: the estimator of phi_hist, which reads the whole table of counts at once."""
    table = counts(1, looks)
    plan = Plan(metrics=(ERRORS,))
    part = learn(plan, played(table, plan), promoted=False)["errors"].parts[0]
    assert part.relative is not None
    assert part.absolute is not None
    phi, information = history_phi(table[None])
    assert part.relative.dispersion.phi == pytest.approx(phi, rel=1e-4)
    assert part.relative.dispersion.information == pytest.approx(information, rel=1e-4)
    phi, information = one_arm_history(table[None, :, :2])
    assert part.absolute.dispersion.phi == pytest.approx(phi, rel=1e-4)
    assert part.absolute.dispersion.information == pytest.approx(information, rel=1e-4)


def test_the_rate_is_that_of_what_serves_afterwards() -> None:
    table = counts(2, 60)
    plan = Plan(metrics=(ERRORS,))
    evidence = played(table, plan)
    sums = table.sum(axis=0)
    for promoted, at in ((True, 0), (False, 2)):
        part = learn(plan, evidence, promoted=promoted)["errors"].parts[0]
        assert part.rate == pytest.approx(sums[at] / sums[at + 1])


def test_a_constant_ratio_is_no_noise_and_a_bad_start_hides_nothing() -> None:
    """A candidate three times as bad leaves the history of a healthy one."""
    rng = np.random.default_rng(3)
    plan = Plan(metrics=(ERRORS,))
    table = np.empty((300, 4))
    table[:, 1], table[:, 3] = 6000, 54_000
    table[:, 0], table[:, 2] = rng.binomial(6000, 0.015, 300), rng.binomial(54_000, 0.005, 300)
    part = learn(plan, played(table, plan), promoted=False)["errors"].parts[0]
    assert part.relative is not None
    assert part.relative.dispersion.phi < 1.8


def test_every_kind_that_can_use_history_gets_it() -> None:
    plan = Plan(
        metrics=(
            ERRORS,
            LatencyPlan("latency", 0.95, budget=0.03),
            LatencyPlan("slower", 0.95, budget=0.03, max_relative_increase=0.1),
            CountPlan("sales"),
            DriftPlan("drift", (Feature("drift", 5),)),
        )
    )
    latency = LatencyTruth(0.95, 0.027, 0.027, EDGES)
    truths = {
        "errors": RateTruth(0.005, 0.005),
        "latency": latency,
        "slower": latency,
        "sales": CountTruth(0.0),
        "drift": DriftTruth(5, 0.0),
    }
    looks = ENOUGH + 10
    traffic = Traffic(Scenario(6000.0, truths), np.random.default_rng(4), looks)
    evidence = Evidence.start(plan)
    for look in range(1, looks + 1):
        evidence = observe(plan, evidence, traffic.interval(look, 0, 10))
    found = learn(plan, evidence, promoted=True)
    assert set(found) == {"errors", "latency", "slower", "sales"}
    made = {m.name: with_past(m, found[m.name]) for m in plan.metrics if m.name in found}
    rate, one, other, count = made.values()
    assert isinstance(rate, RatePlan)
    assert rate.history is not None
    assert rate.history.intervals == looks
    assert isinstance(one, LatencyPlan)
    assert one.edges == tuple(h.edge for h in one.history if h.relative is not None)
    assert 0.03 in {h.edge for h in one.history if h.absolute is not None}
    assert isinstance(other, LatencyPlan)
    assert not other.edges, "its margins are ratios of a baseline that is another one now"
    assert [h.edge for h in other.history] == [0.03]
    assert isinstance(count, CountPlan)
    assert count.history is not None
    # Judging with it works, from the first interval on.
    again = Plan(metrics=tuple(m for m in made.values() if m is not None))
    fresh = Traffic(Scenario(6000.0, truths), np.random.default_rng(5), 3)
    evidence = Evidence.start(again)
    for look in range(1, 4):
        evidence = observe(again, evidence, fresh.interval(look, 0, 10))
    assert evidence.looks == 3
    assert Evidence.from_json(again, evidence.to_json()).looks == 3


def test_too_little_is_no_history() -> None:
    plan = Plan(metrics=(ERRORS,))
    for looks, enough in ((ENOUGH - 1, False), (ENOUGH, True)):
        past = learn(plan, played(counts(6, looks), plan), promoted=False)["errors"]
        assert (with_past(ERRORS, past) is not None) is enough


def test_a_frequent_event_has_no_history() -> None:
    """Above one half the complement must be counted; such a plan would be refused."""
    full = Pairs(500.0, 10.0, (20.0,) * 6, (1.0,) * 6, (1.0,) * 6)
    past = MetricPast((Part(60.0, 100.0, full, full),))
    assert with_past(ERRORS, past) is None
    assert with_past(ERRORS, MetricPast((replace(past.parts[0], events=40.0),))) is not None


numbers = st.floats(0.0, 1e6)
six = st.tuples(*[numbers] * 6)
pairs = st.builds(Pairs, st.floats(1.0, 5000.0), numbers, six, six, six)


@given(newer=pairs, older=pairs)
def test_sums_add_fade_and_stay_finite(newer: Pairs, older: Pairs) -> None:
    both = newer.plus(older)
    assert newer.intervals <= both.intervals * 1.00001
    assert both.intervals <= max(KEPT, newer.intervals) * 1.00001
    if newer.intervals + older.intervals <= KEPT:
        sums = [a + b for a, b in zip(newer.u2, older.u2, strict=True)]
        assert both.u2 == pytest.approx(sums, rel=1e-5)
    assert all(
        math.isfinite(x) and x >= 0.0 for x in (both.information, *both.pairs, *both.u2, *both.vu)
    )
    assert both.dispersion.phi >= 1.0


@given(newer=pairs, older=pairs)
def test_what_is_stored_is_what_is_read(newer: Pairs, older: Pairs) -> None:
    one = {"m": MetricPast((Part(1.0, 10.0, newer, None, 0.03),))}
    other = {
        "m": MetricPast((Part(2.0, 10.0, older, older, 0.03), Part(1.0, 9.0, older))),
        "x": one["m"],
    }
    merged = added(one, other)
    assert set(merged) == {"m", "x"}
    assert merged["m"].parts[0].absolute is None, "a test that is no more does not come back"
    assert merged["m"].parts[0].events == 1.0, "the rate is the newest one"
    for past in merged.values():
        assert decode(MetricPast, encode(past)) == past


def test_noise_that_a_whole_arm_shares_is_seen() -> None:
    """What a split of one arm's own pods cannot show, and what breaks tests at high traffic."""
    noise = Noise(arm_sd=0.3, rho=0.9)
    truth = {"errors": RateTruth(0.005, 0.005)}
    plan = Plan(metrics=(ERRORS,))
    traffic = Traffic(Scenario(60_000.0, truth, noise), np.random.default_rng(7), 480)
    evidence = Evidence.start(plan)
    for look in range(1, 481):
        evidence = observe(plan, evidence, traffic.interval(look, 0, 10))
    made = with_past(ERRORS, learn(plan, evidence, promoted=True)["errors"])
    assert isinstance(made, RatePlan)
    assert made.history is not None
    assert made.history.relative.phi > 10.0
