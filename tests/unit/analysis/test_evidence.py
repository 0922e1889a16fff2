"""State that survives: a small, versioned checkpoint; the same interval twice changes nothing."""

import base64
import json
import math
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelhandoff.analysis import (
    Bins,
    Count,
    CountPlan,
    DriftPlan,
    Evidence,
    FairnessPlan,
    Feature,
    Histogram,
    Interval,
    LatencyPlan,
    MeanPlan,
    Moments,
    Plan,
    Progress,
    Rate,
    RateHistory,
    RatePlan,
    Role,
    WireError,
    judge,
    observe,
)
from modelhandoff.analysis.evidence import readout
from modelhandoff.analysis.layout import Layout

EDGES = (0.01, 0.02, 0.025, 0.03, 0.04, 0.05, 0.1, math.inf)
PLAN = Plan(
    metrics=(
        RatePlan("errors", limit=0.01),
        RatePlan("timeouts"),
        LatencyPlan("p95", 0.95, budget=0.03),
        DriftPlan("scores", (Feature("scores", 20),)),
        MeanPlan("value", max_regression=0.05, role=Role.Watch),
        CountPlan("sold"),
    )
)  # fmt: skip


def everything(rng, interval, t, **more):
    """One interval with all six metrics."""

    def tails(n):
        parts = rng.multinomial(n, [0.3, 0.4, 0.1, 0.17, 0.015, 0.01, 0.003, 0.002])
        return tuple(np.cumsum(parts).astype(float).tolist())

    def values(n):
        x = rng.normal(1.0, 0.2, n)
        return (float(n), float(x.sum()), float((x * x).sum()))

    def rate(p):
        return Rate((float(rng.binomial(600, p)), 600.0), (float(rng.binomial(5400, p)), 5400.0))

    found = {
        "errors": rate(0.005),
        "timeouts": rate(0.002),
        "p95": Histogram(EDGES, tails(600), tails(5400)),
        "scores": Bins(tuple(rng.multinomial(600, [0.05] * 20).astype(float).tolist()),
                       tuple(rng.multinomial(5400, [0.05] * 20).astype(float).tolist())),
        "value": Moments(values(60), values(540)),
        "sold": Count(float(rng.poisson(60)), float(rng.poisson(540))),
    }  # fmt: skip
    for name in more.pop("absent", ()):
        found.pop(name)
    return interval(t, found, **more)


def many(interval, looks, seed=1):
    rng = np.random.default_rng(seed)
    return [everything(rng, interval, t) for t in range(looks)]


def test_a_checkpoint_resumes_exactly(interval, feed):
    run = many(interval, 60)
    whole = feed(PLAN, run)
    for cut in (0, 1, 10, 37):
        part = feed(PLAN, run[:cut])
        stored = json.loads(json.dumps(part.to_json()))
        resumed = Evidence.from_json(PLAN, stored)
        assert np.array_equal(resumed.state, part.state)
        for one in run[cut:]:
            resumed = observe(PLAN, resumed, one)
        assert np.array_equal(resumed.state, whole.state)
        assert resumed.to_json() == whole.to_json()


def test_a_checkpoint_of_six_metrics_is_small(interval, feed):
    sizes = [len(json.dumps(feed(PLAN, many(interval, n)).to_json())) for n in (0, 30, 240)]
    assert sizes[0] < 1_000
    assert max(sizes) < 12_000


def test_the_same_interval_again_changes_nothing(interval, feed):
    run = many(interval, 12)
    ev = feed(PLAN, run)
    assert observe(PLAN, ev, run[-1]) is ev
    assert observe(PLAN, ev, run[3]) is ev
    doubled = [one for one in run for _ in range(2)]
    assert np.array_equal(feed(PLAN, doubled).state, ev.state)


def test_observe_never_touches_what_it_was_given(interval, feed):
    run = many(interval, 12)
    ev = feed(PLAN, run[:11])
    before = ev.state.copy()
    observe(PLAN, ev, run[11])
    assert np.array_equal(ev.state, before)
    with pytest.raises(ValueError, match="read-only"):
        ev.state[0] = 1.0


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda d: d.update(v=2), "v"),
        (lambda d: d.update(v=0), "v"),
        (lambda d: d.update(plan="0" * 16), "plan"),
        (lambda d: d.update(looks=11), "looks"),
        (lambda d: d.update(state=d["state"][:-8] + "AAAAAAA="), "state"),
        (lambda d: d.update(state="nothing"), "state"),
        (lambda d: d.update(state=None), "state"),
        (lambda d: d.update(sum=1), "sum"),
        (lambda d: d.pop("last"), "last"),
        (lambda d: d.update(extra=1), "extra"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(interval, feed, change, path):
    stored = feed(PLAN, many(interval, 12)).to_json()
    change(stored)
    with pytest.raises(WireError) as wrong:
        Evidence.from_json(PLAN, stored)
    assert wrong.value.path == path


def test_evidence_of_another_plan_is_refused(interval, feed):
    other = replace(PLAN, min_looks=31)
    with pytest.raises(WireError, match="evidence of plan"):
        observe(other, feed(PLAN, many(interval, 2)), many(interval, 3)[2])


def test_an_absent_metric_is_neither_zero_nor_a_pass(interval, feed):
    rng = np.random.default_rng(2)
    run = [everything(rng, interval, t) for t in range(20)]
    ev = feed(PLAN, run)
    before = readout(PLAN, ev)
    for t in range(20, 40):
        ev = observe(PLAN, ev, everything(rng, interval, t, absent=("errors", "scores")))
    after = readout(PLAN, ev)
    assert after.metric[0] == before.metric[0]
    assert after.two_safe[0] == before.two_safe[0]
    assert after.drift[0].log_safe == before.drift[0].log_safe
    assert after.two_safe[2] != before.two_safe[2]


def test_planned_exclusions_feed_only_the_catastrophe_process(interval, feed):
    rng = np.random.default_rng(2)
    ev = feed(PLAN, [everything(rng, interval, t, excluded="warm-up") for t in range(2)])
    assert readout(PLAN, ev).catastrophe < 0.0
    broken = Rate((400.0, 600.0), (27.0, 5400.0))
    for t in range(2, 8):
        ev = observe(PLAN, ev, interval(t, {"errors": broken}, excluded="warm-up"))
    assert ev.looks == 0
    assert ev.last_index == 7
    r = readout(PLAN, ev)
    assert r.two_harm[0] == pytest.approx(0.0)
    assert r.catastrophe > math.log(100.0)
    assert judge(PLAN, ev, Progress()).reason.value == "Catastrophe"


@pytest.mark.parametrize("gap", [1, 5, 500])
def test_a_gap_is_missing_time_not_evidence(errors, feed, gap):
    plan = Plan(metrics=(RatePlan("errors", limit=0.01, history=RateHistory(0.005)),))
    run = errors(60)
    ev = feed(plan, run[:-1])
    late = observe(plan, ev, replace(run[-1], index=59 + gap))
    assert late.looks == 60
    assert readout(plan, late).one_safe == readout(plan, feed(plan, run)).one_safe
    verdict = judge(plan, late, Progress(step_looks=60), intervals=False)
    assert verdict.decision.value == {1: "Promote", 5: "Continue", 500: "Hold"}[gap]


def test_wrong_kinds_and_missing_arms_are_no_data(interval):
    ev = Evidence.start(PLAN)
    odd = {
        "errors": Bins((1.0, 2.0)),
        "p95": Rate((1.0, 2.0)),
        "scores": Bins((1.0, 2.0)),
        "value": Moments((5.0, 5.0, 5.0)),
        "timeouts": Rate((1.0, 5.0)),
        "sold": Count(5.0),
    }
    for t in range(30):
        ev = observe(PLAN, ev, interval(t, odd))
    r = readout(PLAN, ev)
    assert r.metric == pytest.approx([0.0] * 6)
    assert judge(PLAN, ev, Progress(step_looks=30)).decision.value != "Promote"


number = st.floats(0.0, 1e7)


@st.composite
def any_interval(draw):
    """Finite, legal, otherwise arbitrary counts."""

    def rate():
        n = draw(number)
        return (n * draw(st.floats(0, 1)), n)

    def cumulative():
        steps = draw(st.lists(number, min_size=8, max_size=8))
        return tuple(np.cumsum(steps).tolist())

    def bins():
        return tuple(draw(st.lists(number, min_size=20, max_size=20)))

    def moments():
        n, mean, spread = draw(number), draw(st.floats(-1e3, 1e3)), draw(st.floats(0, 1e3))
        return (n, n * mean, n * (mean * mean + spread))

    def maybe(make):
        return make() if draw(st.booleans()) else None

    found = {
        "errors": Rate(rate(), maybe(rate)), "timeouts": Rate(rate(), rate()),
        "p95": Histogram(EDGES, cumulative(), maybe(cumulative)),
        "scores": Bins(bins(), maybe(bins)), "value": Moments(moments(), maybe(moments)),
        "sold": Count(draw(number), maybe(lambda: draw(number))),
    }  # fmt: skip
    return {k: v for k, v in found.items() if draw(st.booleans())}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(any_interval(), st.sampled_from([0, 1, 10, 50, 100]), st.booleans()),
                min_size=1, max_size=14))  # fmt: skip
def test_finite_input_never_gives_nan_or_infinity(steps):
    ev = Evidence.start(PLAN)
    for t, (found, weight, excluded) in enumerate(steps):
        one = Interval(t, 30.0 * t, 30.0 * t + 30.0, 0, weight, (600.0, 5400.0), found,
                       excluded="warm-up" if excluded else "")  # fmt: skip
        ev = observe(PLAN, ev, one)
    assert np.isfinite(ev.state).all()
    verdict = judge(PLAN, ev, Progress(step_looks=len(steps)))
    for m in verdict.metrics:
        assert math.isfinite(m.log_e_harm)
        assert m.log_e_safe is None or math.isfinite(m.log_e_safe)
        assert m.interval is None or not any(math.isnan(x) for x in m.interval)
    assert math.isfinite(verdict.total_e)
    again = Evidence.from_json(PLAN, json.loads(json.dumps(ev.to_json())))
    assert np.array_equal(again.state, ev.state)


def test_the_order_of_metrics_in_an_interval_does_not_matter(interval, feed):
    run = many(interval, 15)
    flipped = [replace(one, metrics=dict(reversed(one.metrics.items()))) for one in run]
    assert np.array_equal(feed(PLAN, run).state, feed(PLAN, flipped).state)


def test_groups_are_read_under_their_own_names(interval):
    plan = Plan(metrics=(FairnessPlan("tpr", ("b",), "a"),))
    ev = Evidence.start(plan)
    for t in range(3):
        found = {"tpr/a": Rate((5.0, 9.0), (5.0, 9.0)), "tpr/b": Rate((5.0, 9.0), (5.0, 9.0))}
        ev = observe(plan, ev, interval(t, found))
    assert readout(plan, ev).series[1].contrast is not None


def test_every_block_is_packed_with_the_narrowest_type_that_is_exact() -> None:
    """Whatever the numbers are, they come back to the bit; small counts take one byte."""
    layout = Layout()
    for at, shape in enumerate(((4,), (0, 6), (3, 2), (1,), (6,))):
        layout.add(f"b{at}", shape, parts=2 if shape == (6,) else 1)
    rng = np.random.default_rng(5)
    sharp = (0.0, -0.0, 1.0, 255.0, 256.0, 65535.0, 65536.0, 2.0**32 - 1, 2.0**32, 0.5, -1.0,
             1e300, 5e-324, np.inf, -np.inf)  # fmt: skip
    for _ in range(300):
        vector = rng.choice(sharp, layout.size)
        assert layout.unpack(layout.pack(vector), "state").tobytes() == vector.tobytes()
    small = layout.pack(np.full(layout.size, 200.0))
    raw = zlib.decompress(base64.b64decode(small))
    assert len(raw) == layout.size + 6, "one byte each, and one tag per piece"
