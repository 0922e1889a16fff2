"""Latency by bucket edges: certain on both sides of the budget, never interpolated."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelhandoff.analysis import (
    Decision,
    EdgeHistory,
    Evidence,
    Histogram,
    LatencyPlan,
    Plan,
    Progress,
    Reason,
    WireError,
    judge,
    observe,
)
from modelhandoff.analysis.compiled import UNSET, compiled
from modelhandoff.analysis.evidence import readout
from modelhandoff.analysis.latency import (
    bracket,
    choose_edges,
    edge_margins,
    native_histogram,
)

EDGES = (0.005, 0.01, 0.02, 0.025, 0.03, 0.04, 0.05, 0.1, math.inf)


def cumulative(values, edges):
    return tuple(float((values <= e).sum()) for e in edges)


def run(interval, plan, looks, candidate, baseline=0.027, *, edges=EDGES, seed=1):
    """Log-normal latencies with a given 95th percentile per arm."""
    rng = np.random.default_rng(seed)
    ev = Evidence.start(plan)
    for t in range(1, looks + 1):
        arms = [
            cumulative(rng.lognormal(math.log(p) - 1.645 * 0.5, 0.5, n), edges)
            for p, n in ((candidate, 600), (baseline, 5400))
        ]
        ev = observe(plan, ev, interval(t, {"p95": Histogram(edges, *arms)}))
    return ev


def test_over_budget_is_harm_and_within_is_proven(interval):
    plan = Plan(metrics=(LatencyPlan("p95", 0.95, budget=0.03),))
    assert readout(plan, run(interval, plan, 12, 0.036)).total_e > 100.0
    good = readout(plan, run(interval, plan, 40, 0.027))
    assert good.total_e < 3.0
    assert good.one_safe[1] > math.log(20.0)


def test_a_relative_regression_within_the_budget_is_found(interval):
    plan = Plan(metrics=(LatencyPlan("p95", 0.95, budget=0.1),))
    ev = run(interval, plan, 40, 0.040)
    assert readout(plan, ev).total_e > 100.0
    only_budget = Plan(metrics=(LatencyPlan("p95", 0.95, budget=0.1, relative=False),))
    assert readout(only_budget, run(interval, only_budget, 40, 0.040)).total_e < 3.0


def test_a_budget_inside_a_bucket_is_undetermined_with_advice(interval):
    edges = (0.01, 0.025, 0.05, math.inf)
    plan = Plan(metrics=(LatencyPlan("p95", 0.95, budget=0.03),), min_looks=5)
    ev = run(interval, plan, 80, 0.029, 0.029, edges=edges)
    verdict = judge(plan, ev, Progress(step_looks=80))
    assert (verdict.decision, verdict.reason) == (Decision.Hold, Reason.BudgetInsideBucket)
    assert "30 ms lies inside the bucket (25 ms, 50 ms]" in verdict.message
    assert "add a bucket edge at 30 ms" in verdict.message
    # The outer edges still decide what is certain.
    slow = run(interval, plan, 30, 0.08, 0.029, edges=edges)
    assert judge(plan, slow, Progress()).decision is Decision.Rollback
    fast = run(interval, plan, 40, 0.02, 0.02, edges=edges)
    assert judge(plan, fast, Progress(step_looks=40)).decision is Decision.Promote


def test_a_budget_above_every_edge_can_never_pass_silently(interval):
    edges = (0.01, 0.02, math.inf)
    plan = Plan(metrics=(LatencyPlan("p95", 0.95, budget=0.03, relative=False),), min_looks=5)
    verdict = judge(plan, run(interval, plan, 40, 0.029, edges=edges), Progress(step_looks=40))
    assert verdict.decision is not Decision.Promote
    assert "the budget 30 ms lies above the last bucket edge 20 ms" in verdict.metrics[0].note


def test_bracket():
    assert bracket(EDGES, 0.03) == (0.03, 0.03)
    assert bracket(EDGES, 0.028) == (0.025, 0.03)
    assert bracket(EDGES, 0.001) == (None, 0.005)
    assert bracket(EDGES, 0.2) == (0.1, math.inf)


def test_edges_come_from_the_baseline_alone(interval):
    plan = Plan(metrics=(LatencyPlan("p95", 0.95, budget=0.03),))
    c = compiled(plan)
    before = run(interval, plan, 9, 0.2)
    assert c.layout.views(before.state)["edge"][2] == UNSET
    chosen = [
        c.layout.views(run(interval, plan, 10, p).state)["edge"][2:].tolist() for p in (0.027, 0.2)
    ]
    assert chosen[0] == chosen[1] == [0.02, 0.025, 0.03]


def test_choosing_edges_and_margins():
    baseline = (0.0, 500.0, 850.0, 920.0, 950.0, 985.0, 999.0, 1000.0, 1000.0)
    assert choose_edges(EDGES, baseline, 0.95, 3) == (0.02, 0.025, 0.03)
    assert choose_edges(EDGES, baseline, 0.95, 9) == (0.02, 0.025, 0.03, 0.04, 0.05)
    # "May grow by 25 %": the tail at 0.05 / 1.25 = 0.04 over the tail at 0.05.
    assert edge_margins(EDGES, baseline, (0.05,), 0.25) == pytest.approx((15.0,))
    assert edge_margins(EDGES, baseline, (0.03,), 0.1) == pytest.approx((8.0 / 5.0,))


def test_a_layout_change_in_the_new_version_is_missing_data_not_a_pass(interval):
    plan = Plan(metrics=(LatencyPlan("p95", 0.95, budget=0.03, relative=False),), min_looks=5)
    ev = run(interval, plan, 3, 0.027)
    other = (0.01, 0.035, math.inf)
    before = readout(plan, ev).one_safe
    for t in range(10, 13):
        found = Histogram(other, (600.0, 600.0, 600.0), (5400.0, 5400.0, 5400.0))
        ev = observe(plan, ev, interval(t, {"p95": found}))
    assert readout(plan, ev).one_safe == before


def test_history_fixes_margins_before_traffic():
    known = (EdgeHistory(0.03, 0.05, harm_margin=1.6),)
    metric = LatencyPlan("p95", 0.95, budget=0.03, edges=(0.03,), history=known)
    quiet = Plan(metrics=(metric,), requests_per_interval=600.0)
    busy = Plan(metrics=(metric,), requests_per_interval=60_000.0)
    margins = [
        compiled(p).layout.views(compiled(p).start())["two_margin"][0] for p in (quiet, busy)
    ]
    assert margins[0].tolist()[:2] == pytest.approx([1.6, 1.68])
    assert margins[1].tolist()[:2] == pytest.approx([1.6, 1.75])
    assert all(m[3] == 1.0 for m in margins)


@given(
    st.dictionaries(st.integers(-30, 30), st.integers(1, 50), min_size=1, max_size=20),
    st.integers(0, 9),
)
def test_native_buckets_merge_exactly_to_a_coarser_schema(buckets, zero):
    fine = native_histogram(3, ((3, buckets, float(zero)),), 1e-9)
    coarse = native_histogram(1, ((3, buckets, float(zero)),), 1e-9)
    total = zero + sum(buckets.values())
    assert fine[1][0][-1] == coarse[1][0][-1] == total
    at = dict(zip(fine[0], fine[1][0], strict=True))
    for edge, count in zip(coarse[0], coarse[1][0], strict=True):
        below = [n for e, n in at.items() if e <= edge * (1 + 1e-12)]
        assert count == max(below, default=zero)


def test_native_arms_share_edges_and_bad_counts_are_refused():
    edges, (a, b) = native_histogram(0, ((0, {1: 5}, 0.0), (2, {9: 3.0, 12: 1.0}, 2.0)), 0.5)
    assert edges == (0.5, 1.0, 2.0, 4.0, 8.0, math.inf)
    assert a == (0.0, 0.0, 5.0, 5.0, 5.0, 5.0)
    assert b == (2.0, 2.0, 2.0, 2.0, 6.0, 6.0)
    with pytest.raises(WireError, match="count >= 0"):
        native_histogram(0, ((0, {1: -5}, 0.0),))
    with pytest.raises(WireError, match="coarsest arm"):
        native_histogram(3, ((0, {1: 5}, 0.0),))
