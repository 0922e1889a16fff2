"""Verdicts people act on: order of the rules, current proofs, honest sentences."""

import math
from dataclasses import replace

import pytest

from modelhandoff.analysis import (
    Decision,
    Evidence,
    LatencyPlan,
    MetricState,
    OnInconclusive,
    Plan,
    Progress,
    Rate,
    RateHistory,
    RatePlan,
    Reason,
    Role,
    judge,
    observe,
)
from modelhandoff.analysis.evidence import readout

PLAN = Plan(metrics=(RatePlan("errors", limit=0.01, history=RateHistory(0.005)),))


def after(t, **more):
    """Progress after t looks of 30 s with 600 candidate requests each."""
    return Progress(**{
        "elapsed_seconds": 30.0 * t, "step_looks": t, "step_requests": 600.0 * t,
        "step_elapsed_seconds": 30.0 * t, **more,
    })  # fmt: skip


def first(plan, intervals, **more):
    """The first verdict that is neither Continue nor Hold, with its look."""
    ev = Evidence.start(plan)
    for t, one in enumerate(intervals, start=1):
        ev = observe(plan, ev, one)
        verdict = judge(plan, ev, after(t, **more), intervals=False)
        if verdict.decision not in (Decision.Continue, Decision.Hold):
            return verdict, t
    return verdict, t


def test_a_healthy_candidate_is_promoted_with_its_proofs_named(errors):
    verdict, look = first(PLAN, errors(120))
    assert (verdict.decision, verdict.reason) == (Decision.Promote, Reason.ProofsComplete)
    assert look >= 30
    assert verdict.step_complete
    assert verdict.message.startswith(f"All proofs are current at look {look}: errors")
    assert [m.state for m in verdict.metrics] == [MetricState.Pass]


def test_a_bad_candidate_is_rolled_back_in_a_few_looks_with_numbers(errors, feed):
    verdict, look = first(PLAN, errors(60, 0.05))
    assert (verdict.decision, look) == (Decision.Rollback, 3)
    assert verdict.blame == ("errors",)
    full = judge(PLAN, feed(PLAN, errors(3, 0.05)), after(3))
    assert full.metrics[0].state is MetricState.Fail
    assert "Harm detected at look 3: errors at " in full.message
    for part in ("on the baseline", "ratio ", "95 % interval", "1,800 requests", "rollback at 100"):
        assert part in full.message


def test_one_or_two_looks_never_decide(errors, feed):
    for looks in (1, 2):
        verdict = judge(PLAN, feed(PLAN, errors(looks, 0.9)), after(looks), intervals=False)
        assert verdict.decision is Decision.Continue
        assert not verdict.step_complete


def test_proofs_must_be_current_not_latched(errors):
    """Safe for 100 looks, then 2 %: the old proof is still there, the candidate does not pass."""
    ev = Evidence.start(PLAN)
    run = errors(104, lambda t: 0.005 if t <= 100 else 0.02)
    for one in run[:100]:
        ev = observe(PLAN, ev, one)
    assert judge(PLAN, ev, after(100), intervals=False).decision is Decision.Promote
    for one in run[100:]:
        ev = observe(PLAN, ev, one)
    assert readout(PLAN, ev).one_safe[0] > math.log(20.0)
    verdict = judge(PLAN, ev, after(104), intervals=False)
    assert verdict.decision is not Decision.Promote


def test_the_recent_window_blocks_a_promotion_before_harm_is_certain(interval):
    plan = Plan(metrics=(RatePlan("errors", history=RateHistory(0.005)),))
    ev = Evidence.start(plan)
    for t in range(60):
        x = 2.0 if t < 45 else 5.0
        ev = observe(plan, ev, interval(t, {"errors": Rate((x, 600.0), (27.0, 5400.0))}))
    r = readout(plan, ev)
    assert r.two_safe[0] > math.log(20.0)
    assert r.total_e < 3.0
    verdict = judge(plan, ev, after(60), intervals=False)
    assert verdict.decision is Decision.Continue
    assert verdict.metrics[0].needs == "the last looks to agree"


def test_steps_need_looks_time_samples_and_no_sign_of_harm(errors, feed):
    plan = replace(PLAN, min_looks=10)
    ev = feed(plan, errors(20))

    def complete(**more):
        return judge(plan, ev, after(20, last_step=False, **more), intervals=False).step_complete

    assert complete()
    assert not complete(step_looks=9)
    assert not complete(step_min_seconds=601.0)
    assert not complete(step_min_samples=12_001.0)
    suspicious = feed(plan, errors(20, lambda t: 0.005 if t < 17 else 0.03))
    assert 3.0 <= readout(plan, suspicious).total_e < 100.0
    assert not judge(plan, suspicious, after(20), intervals=False).step_complete


def test_one_terrible_look_keeps_the_weight_where_it_is(errors, feed):
    """A late start costs evidence; the recent window alone is enough not to rise."""
    ev = feed(PLAN, errors(60, lambda t: 0.005 if t < 60 else 0.9))
    assert readout(PLAN, ev).total_e < 3.0
    assert not judge(PLAN, ev, after(60, last_step=False), intervals=False).step_complete


def test_only_the_last_step_promotes(errors, feed):
    ev = feed(PLAN, errors(100))
    verdict = judge(PLAN, ev, after(100, last_step=False), intervals=False)
    assert verdict.decision is Decision.Continue
    assert verdict.step_complete


def test_silence_holds_and_is_never_a_pass(errors, feed, interval):
    ev = feed(PLAN, errors(100))
    quiet = judge(PLAN, ev, after(100, seconds_without_data=600.0), intervals=False)
    assert (quiet.decision, quiet.reason) == (Decision.Hold, Reason.NoData)
    assert "for 10 min (budget 10 min)" in quiet.message
    assert not quiet.step_complete
    for t in range(101, 121):
        ev = observe(PLAN, ev, interval(t, {}, requests=(0.0, 5400.0)))
    verdict = judge(PLAN, ev, after(120), intervals=False)
    assert (verdict.decision, verdict.reason) == (Decision.Hold, Reason.NoData)


def test_weight_zero_restarts_the_budget_so_that_judging_can_resume(errors, feed, interval):
    run = errors(60)
    ev = feed(PLAN, run[:30])
    for t in range(31, 60):
        ev = observe(PLAN, ev, interval(t, {}, requests=(0.0, 5400.0)))
    assert judge(PLAN, ev, after(30), intervals=False).reason is Reason.NoData
    ev = observe(PLAN, ev, interval(60, {}, weight=0, requests=(0.0, 6000.0)))
    assert ev.looks == 59
    for i, one in enumerate(run[30:34]):
        ev = observe(PLAN, ev, replace(one, index=61 + i))
    assert judge(PLAN, ev, after(30), intervals=False).decision is Decision.Continue


def test_a_missing_guardrail_holds_by_name(errors, feed, interval):
    plan = Plan(metrics=(*PLAN.metrics, RatePlan("timeouts", limit=0.01)))
    ev = feed(plan, errors(40))
    verdict = judge(plan, ev, after(40), intervals=False)
    assert (verdict.decision, verdict.reason) == (Decision.Hold, Reason.MetricMissing)
    assert verdict.blame == ("timeouts",)
    states = {m.name: m.state for m in verdict.metrics}
    assert states["timeouts"] is MetricState.Unknown


def test_harm_beats_every_hold(errors, feed):
    ev = feed(PLAN, errors(30, 0.05))
    verdict = judge(PLAN, ev, after(30, seconds_without_data=9999.0), intervals=False)
    assert verdict.decision is Decision.Rollback


def test_a_quality_flag_and_a_quality_metric_hold(errors, feed):
    run = errors(80)
    flagged = [*run[:-1], replace(run[-1], quality=("BucketMismatch",))]
    verdict = judge(PLAN, feed(PLAN, flagged), after(80), intervals=False)
    assert (verdict.reason, verdict.step_complete) == (Reason.DataQuality, False)
    plan = Plan(metrics=(*PLAN.metrics, RatePlan("nulls", limit=0.01, role=Role.Quality)))
    both = [
        replace(a, metrics={**a.metrics, **b.metrics})
        for a, b in zip(run, errors(80, 0.05, name="nulls"), strict=True)
    ]
    held = judge(plan, feed(plan, both), after(80), intervals=False)
    assert (held.decision, held.reason) == (Decision.Hold, Reason.QualityCheckFailed)
    assert held.total_e < 3.0


def test_information_decides_nothing(errors, feed):
    plan = Plan(metrics=(*PLAN.metrics, RatePlan("curious", limit=0.01, role=Role.Info)))
    both = [
        replace(a, metrics={**a.metrics, **b.metrics})
        for a, b in zip(errors(100), errors(100, 0.09, name="curious"), strict=True)
    ]
    assert judge(plan, feed(plan, both), after(100), intervals=False).decision is Decision.Promote


def test_a_watch_metric_stops_but_proves_nothing(errors, feed):
    plan = Plan(metrics=(RatePlan("errors", role=Role.Watch, history=RateHistory(0.005)),))
    assert first(plan, errors(40))[0].decision is Decision.Promote
    assert first(plan, errors(40, 0.05))[0].decision is Decision.Rollback


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        (OnInconclusive.Hold, Decision.Inconclusive),
        (OnInconclusive.Extend, Decision.Continue),
        (OnInconclusive.Rollback, Decision.Rollback),
    ],
)
def test_the_end_of_the_longest_duration(errors, feed, policy, wanted):
    plan = replace(PLAN, on_inconclusive=policy)
    small = feed(plan, errors(12, size=(60, 540)))
    verdict = judge(plan, small, after(12, max_duration_seconds=360.0), intervals=False)
    assert verdict.decision is wanted
    if wanted is Decision.Inconclusive:
        assert verdict.reason is Reason.MaxDuration
        assert "No verdict after 6 min, nothing wrong found: errors needs" in verdict.message


def test_a_base_rate_above_one_half_asks_for_the_complement(errors, feed):
    plan = Plan(metrics=(RatePlan("successes"),))
    ev = feed(plan, errors(40, 0.9, 0.9, name="successes"))
    verdict = judge(plan, ev, after(40), intervals=False)
    assert (verdict.decision, verdict.reason) == (Decision.Hold, Reason.CountRarerOutcome)
    assert "declare the complement" in verdict.message


def test_what_a_proof_needs_is_what_it_takes(interval):
    """On steady counts the announced number of looks is right, from the first tenth on."""
    plan = Plan(metrics=(RatePlan("errors", history=RateHistory(0.005)),), min_looks=2)
    ev, announced = Evidence.start(plan), {}
    steady = Rate((0.3, 60.0), (2.7, 540.0))
    for t in range(1, 300):
        ev = observe(plan, ev, interval(t, {"errors": steady}, requests=(60.0, 540.0)))
        m = judge(plan, ev, after(t), intervals=False).metrics[0]
        if m.state is MetricState.Pass:
            break
        if m.needs_requests is not None:
            announced[t] = t + m.needs_requests / 60.0
            assert m.needs_seconds == pytest.approx(m.needs_requests / 2.0)
    assert 60 < t < 250
    assert all(total == pytest.approx(t, rel=0.2) for look, total in announced.items() if look > 9)


def test_first_use_says_so_and_widens_margins_where_noise_demands_it(errors, feed):
    plan = Plan(metrics=(RatePlan("errors"),))
    ev = feed(plan, errors(10, 0.02, 0.02, size=(6000, 54_000)))
    assert readout(plan, ev).two_harm == [pytest.approx(0.0)] * 1 + [readout(plan, ev).two_harm[1]]
    note = judge(plan, ev, after(10), intervals=False).metrics[0].note
    assert "No history: wider margin 1.5x." in note
    assert "at most 1.75x the baseline + 0.05 points" in note
    quiet = judge(plan, feed(plan, errors(20)), after(20), intervals=False).metrics[0].note
    assert "No history: cautious caps" in quiet


def test_metrics_are_sorted_by_weight_of_evidence_and_critical_ones_weigh_more(errors, feed):
    plan = Plan(
        metrics=(RatePlan("errors", history=RateHistory(0.005)),
                 RatePlan("timeouts", critical=True, history=RateHistory(0.005)))
    )  # fmt: skip
    assert plan.weights[1] == pytest.approx(3 * plan.weights[0])
    assert sum(plan.weights) == pytest.approx(0.95)
    both = [
        replace(a, metrics={**a.metrics, **b.metrics})
        for a, b in zip(errors(20), errors(20, 0.05, name="timeouts"), strict=True)
    ]
    verdict = judge(plan, feed(plan, both), after(20), intervals=False)
    assert [m.name for m in verdict.metrics] == ["timeouts", "errors"]
    assert verdict.blame == ("timeouts",)
    assert [m.state for m in verdict.metrics] == [MetricState.Fail, MetricState.Pending]


def test_the_verdict_is_plain_json(errors, feed):
    import json

    plan = Plan(metrics=(RatePlan("errors"), LatencyPlan("p95", 0.95, budget=0.03)))
    verdict = judge(plan, feed(plan, errors(12)), after(12))
    text = json.dumps(verdict.to_json(), allow_nan=False)
    assert json.loads(text)["decision"] == "Continue"


def test_the_anytime_p_value_never_rises(errors):
    ev, ps = Evidence.start(PLAN), []
    for t, one in enumerate(errors(30, 0.012), start=1):
        ev = observe(PLAN, ev, one)
        ps.append(judge(PLAN, ev, after(t), intervals=False).anytime_p)
    assert ps == sorted(ps, reverse=True)
    assert ps[-1] < 0.05


def test_before_the_first_interval_nothing_is_claimed():
    verdict = judge(PLAN, Evidence.start(PLAN), Progress())
    assert (verdict.decision, verdict.reason) == (Decision.Continue, Reason.Collecting)
    assert (verdict.look, verdict.total_e, verdict.anytime_p) == (0, 1.0, 1.0)
    assert not verdict.step_complete
    assert verdict.metrics[0].needs == "its first interval"


def test_without_a_baseline_relative_metrics_have_no_vote(feed, interval):
    plan = Plan(metrics=(RatePlan("errors", limit=0.01), RatePlan("timeouts")), initial=True)
    assert plan.weights == (1.0, 0.0)
    found = {"errors": Rate((3.0, 600.0)), "timeouts": Rate((300.0, 600.0))}
    run = [interval(t, found, weight=100, requests=(600.0, None)) for t in range(60)]
    verdict = judge(plan, feed(plan, run), after(60), intervals=False)
    assert verdict.decision is Decision.Promote
    notes = {m.name: m.note for m in verdict.metrics}
    assert notes["timeouts"] == "Not judged: there is no baseline to compare with."


def test_no_absolute_metric_and_no_baseline_can_never_promote(feed, interval):
    plan = Plan(metrics=(RatePlan("timeouts"),), initial=True)
    found = {"timeouts": Rate((0.0, 600.0))}
    run = [interval(t, found, weight=100, requests=(600.0, None)) for t in range(60)]
    assert judge(plan, feed(plan, run), after(60)).decision is Decision.Continue
