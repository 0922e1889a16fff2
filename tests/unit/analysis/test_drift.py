"""Drift: no false alarm from small samples, quick on real shifts, honest about what is missing."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from modelhandoff.analysis import (
    Bins,
    DriftPlan,
    Evidence,
    Feature,
    OnAlarm,
    Plan,
    Sustained,
    WireError,
    observe,
)
from modelhandoff.analysis.compiled import compiled
from modelhandoff.analysis.drift import (
    bias_floor,
    culprits,
    divergence,
    group_counts,
    jensen_shannon,
    merge_bins,
    population_stability,
    sustained_alarm,
)
from modelhandoff.analysis.evidence import readout


def bins(rng, n, p):
    return tuple(rng.multinomial(n, p).astype(float).tolist())


def run(interval, plan, looks, candidate, baseline=None, *, seed=1, n=100, nb=900):
    """Feed looks of K-bin counts; candidate and baseline are functions of t."""
    rng = np.random.default_rng(seed)
    evidence = Evidence.start(plan)
    key = plan.metrics[0].features[0].key
    for t in range(1, looks + 1):
        size = n(t) if callable(n) else n
        cand = bins(rng, size, candidate(t))
        base = bins(rng, nb, baseline(t)) if baseline else None
        evidence = observe(plan, evidence, interval(t, {key: Bins(cand, base)}))
    return evidence


def plan_of(feature, **more):
    return Plan(metrics=(DriftPlan("drift", (feature,), **more),))


def test_the_plug_in_bias_is_removed(shares):
    """20 bins and 100 observations: the plug-in KL averages 0.10, ours nothing."""
    rng = np.random.default_rng(1)
    q = shares(20, 0.0)
    feature = Feature("x", 20, reference=tuple(q))
    plug, ours = [], []
    for _ in range(400):
        counts = rng.multinomial(100, q).astype(float)
        seen = counts[counts > 0] / 100
        plug.append(float((seen * np.log(seen * 20)).sum()))
        sums = np.concatenate((counts, np.zeros(20), [100.0, 100.0, 0.0]))
        ours.append(float(divergence(sums, feature, 0.1, 1.0).value))
    assert np.mean(plug) == pytest.approx(bias_floor(20, 100), abs=0.015)
    assert abs(np.mean(ours)) < 0.02


def test_divergence_matches_scipy_on_many_observations(shares):
    p, q = shares(20, 0.3), shares(20, 0.0)
    feature = Feature("x", 20, reference=tuple(q))
    sums = np.concatenate((p * 1e7, np.zeros(20), [1e7, 1e7, 0.0]))
    found = divergence(sums, feature, 0.1, 1.0)
    assert float(found.value) == pytest.approx(float(stats.entropy(p, q)), rel=1e-4)
    assert bool(found.ready)
    direct = (np.sum(p * np.log(p / q) ** 2) - stats.entropy(p, q) ** 2) / 1e7
    assert float(found.variance) >= direct


def test_a_shift_is_found_in_a_few_looks_and_identity_is_proven(interval, shares):
    plan = plan_of(Feature("x", 20, reference=tuple(shares(20, 0.0))))
    for seed in range(3):
        shifted = run(interval, plan, 12, lambda t: shares(20, 0.3), seed=seed)
        assert readout(plan, shifted).total_e >= 100.0
        same = run(interval, plan, 30, lambda t: shares(20, 0.0), seed=seed)
        assert readout(plan, same).total_e < 3.0
        assert readout(plan, same).drift[0].log_safe > math.log(20.0)


def test_a_late_shift_is_found_because_harm_restarts(interval, shares):
    plan = plan_of(Feature("x", 20, reference=tuple(shares(20, 0.0))))
    late = run(interval, plan, 145, lambda t: shares(20, 0.3 if t > 121 else 0.0))
    assert readout(plan, late).total_e >= 100.0
    only_first = Plan(metrics=plan.metrics, planned_looks=30)
    assert readout(only_first, run(interval, only_first, 145,
                   lambda t: shares(20, 0.3 if t > 121 else 0.0))).total_e < 3.0  # fmt: skip


def test_a_ramp_with_a_moving_input_is_no_drift(interval, shares):
    """Both arms move together while the candidate's share grows: paired differences stay zero."""
    plan = plan_of(Feature("x", 20))

    def moving(t):
        return shares(20, 0.96 * t / 120)

    ev = run(interval, plan, 120, moving, moving, n=lambda t: 50 + 4 * t)
    found = readout(plan, ev).drift[0]
    assert found.value < 0.01
    assert found.log_harm < 0.0


def test_users_with_many_requests_raise_phi(interval, shares):
    plan = plan_of(Feature("x", 10, reference=tuple(shares(10, 0.0))))
    rng = np.random.default_rng(8)
    evidence = Evidence.start(plan)
    for t in range(60):
        clustered = rng.multinomial(20, shares(10, 0.0)) * 10.0
        evidence = observe(plan, evidence, interval(t, {"x": Bins(tuple(clustered.tolist()))}))
    assert readout(plan, evidence).drift[0].phi > 5.0


def test_nothing_is_said_before_the_start_rule(interval, shares):
    plan = plan_of(Feature("x", 20, reference=tuple(shares(20, 0.0))))
    found = readout(plan, run(interval, plan, 3, lambda t: shares(20, 3.0), n=100)).drift[0]
    assert (found.ready, found.log_harm, found.log_safe) == (False, 0.0, 0.0)
    assert found.missing == pytest.approx(100.0)


def test_live_bins_the_baseline_never_fills_are_merged_not_ignored(interval, shares):
    """Without history: after 10 looks neighbours are merged, so a shift into them is seen."""
    plan = plan_of(Feature("x", 20))
    base = np.concatenate((np.full(10, 0.1), np.zeros(10)))
    moved = np.concatenate((np.zeros(10), np.full(10, 0.1)))
    ev = run(interval, plan, 40, lambda t: base if t <= 12 else 0.7 * base + 0.3 * moved,
             lambda t: base)  # fmt: skip
    assert readout(plan, ev).total_e >= 100.0
    same = run(interval, plan, 40, lambda t: base, lambda t: base)
    assert readout(plan, same).drift[0].log_safe > math.log(20.0)


def test_permuting_the_bins_changes_nothing(interval, shares):
    order = np.random.default_rng(3).permutation(12)
    p, q = shares(12, 0.2), shares(12, 0.1)

    def evidence(index):
        feature = Feature("x", 12, reference=tuple(q[index] / q.sum()))
        plan = plan_of(feature)
        ev = Evidence.start(plan)
        rng = np.random.default_rng(4)
        for t in range(40):
            counts = rng.multinomial(80, p).astype(float)[index]
            ev = observe(plan, ev, interval(t, {"x": Bins(tuple(counts.tolist()))}))
        return readout(plan, ev).drift[0]

    one, two = evidence(np.arange(12)), evidence(order)
    assert one.log_harm == pytest.approx(two.log_harm, rel=1e-9)
    assert one.log_safe == pytest.approx(two.log_safe, rel=1e-9)


def test_many_features_are_one_metric_and_culprits_are_named(interval, shares):
    q = tuple(shares(10, 0.0))
    features = tuple(Feature(f"f{i}", 10, reference=q) for i in range(8))
    plan = Plan(metrics=(DriftPlan("inputs", features),))
    rng = np.random.default_rng(6)
    ev = Evidence.start(plan)
    for t in range(40):
        found = {f"f{i}": Bins(bins(rng, 100, shares(10, 0.5 if i == 3 else 0.0)))
                 for i in range(8)}  # fmt: skip
        ev = observe(plan, ev, interval(t, found))
    r = readout(plan, ev)
    logs = [d.log_harm for d in r.drift]
    mean = math.log(sum(math.exp(log) for log in logs) / 8)
    assert r.metric[0] == pytest.approx(mean)
    assert culprits([f"f{i}" for i in range(8)], logs) == ("f3",)
    assert culprits(["a", "b"], [0.0, 1.0]) == ()


def test_merging_keeps_neighbours_together_and_every_bin_judgeable():
    shares = (0.4, 0.001, 0.0005, 0.2, 0.3985)
    groups = merge_bins(shares, 1000.0)
    assert groups == (0, 1, 1, 1, 2)
    feature = Feature("x", 5, groups=groups)
    assert group_counts((1, 2, 3, 4, 5), feature).tolist() == [1.0, 9.0, 5.0]
    assert merge_bins((0.5, 0.5), 1e6) == (0, 1)
    assert merge_bins((0.999, 0.001), 10.0) == (0, 0)


@settings(max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=30).filter(lambda s: sum(s) > 0.1),
       st.floats(10, 1e6))  # fmt: skip
def test_merged_bins_are_contiguous_and_large_enough(raw, n):
    shares = [s / sum(raw) for s in raw]
    groups = merge_bins(shares, n)
    assert list(groups) == sorted(groups)
    assert set(groups) == set(range(max(groups) + 1))
    if max(groups) > 0:
        sums = [sum(s for s, g in zip(shares, groups, strict=True) if g == k)
                for k in range(max(groups) + 1)]  # fmt: skip
        assert min(sums) * n >= 5.0 - 1e-6


def test_a_reference_that_cannot_be_judged_is_refused():
    with pytest.raises(WireError, match=r"reference\[1\]"):
        Feature("x", 3, reference=(0.6, 0.0, 0.4))
    with pytest.raises(WireError, match="sum to 1"):
        Feature("x", 2, reference=(0.6, 0.6))


def sustained(interval, shares, kl, *, hours=24, gap=(), extra=0):
    rule = Sustained(max_kl=0.2, window_looks=4, windows=24, action=OnAlarm.Alert)
    plan = plan_of(Feature("x", 10, reference=tuple(shares(10, 0.0))), sustained=rule)
    rng = np.random.default_rng(12)
    ev = Evidence.start(plan)
    for t in range(hours * 4 + extra):
        n = 0 if t // 4 in gap else 200
        found = {"x": Bins(bins(rng, n, shares(10, kl)))} if n else {}
        ev = observe(plan, ev, interval(t, found))
    c = compiled(plan)
    return sustained_alarm(c.layout.views(ev.state), 0, c.drift[0][1], c.drift[0][2])


def test_sustained_drift_needs_a_day_of_data_above_the_limit(interval, shares):
    assert sustained(interval, shares, 0.3)
    assert not sustained(interval, shares, 0.12)
    assert not sustained(interval, shares, 0.3, hours=23)
    assert sustained(interval, shares, 0.3, extra=2)
    assert sustained(interval, shares, 0.3, gap=(3, 9))
    assert not sustained(interval, shares, 0.3, gap=(3, 5, 7, 9, 11))


def test_display_measures_agree_with_scipy():
    p, q = (30.0, 50.0, 20.0), (40.0, 40.0, 20.0)
    a = np.array([(x + 0.5) / 101.5 for x in p])
    b = np.array([(x + 0.5) / 101.5 for x in q])
    assert jensen_shannon(p, q) == pytest.approx(float(jensenshannon(a, b)) ** 2)
    both = float(stats.entropy(a, b) + stats.entropy(b, a))
    assert population_stability(p, q) == pytest.approx(both)
