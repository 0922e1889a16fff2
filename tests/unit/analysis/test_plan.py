"""Plans: what can never work is refused by name; the hash moves only when the judgement does."""

import json
from dataclasses import replace

import pytest

from modelhandoff.analysis import (
    CountPlan,
    Dispersion,
    DriftPlan,
    EdgeHistory,
    FairnessPlan,
    Feature,
    LatencyPlan,
    MeanPlan,
    OnAlarm,
    Plan,
    RateHistory,
    RatePlan,
    Role,
    Sustained,
    WireError,
)

FULL = Plan(
    metrics=(
        RatePlan("errors", limit=0.01, critical=True,
                 history=RateHistory(0.005, Dispersion(1.2, 3.0), Dispersion(1.1, 2.0))),
        LatencyPlan("p95", 0.95, budget=0.03, edges=(0.03, 0.04),
                    history=(EdgeHistory(0.03, 0.05, Dispersion(2.0)), EdgeHistory(0.04, 0.01))),
        DriftPlan("inputs", (Feature("age", 3, reference=(0.5, 0.3, 0.2)), Feature("zip", 30)),
                  sustained=Sustained(action=OnAlarm.Rollback)),
        MeanPlan("value", min_lift=0.02, role=Role.Success),
        CountPlan("sold", history=Dispersion(1.5)),
        FairnessPlan("tpr", ("b", "c"), "a"),
    ),
    steps=(5, 10, 25, 50), planned_looks=480,
)  # fmt: skip


def test_a_plan_survives_json_with_its_hash():
    back = Plan.from_json(json.loads(json.dumps(FULL.to_json(), allow_nan=False)))
    assert back == FULL
    assert back.hash == FULL.hash


def test_defaults_are_not_written_so_that_new_options_keep_old_hashes():
    assert Plan(metrics=(RatePlan("errors"),)).to_json() == {
        "metrics": [{"type": "rate", "name": "errors"}]
    }


def test_every_judging_field_moves_the_hash():
    hashes = {
        FULL.hash,
        replace(FULL, harm_level=0.02).hash,
        replace(FULL, steps=(5, 10)).hash,
        replace(FULL, metrics=FULL.metrics[1:]).hash,
        replace(FULL, metrics=(replace(FULL.metrics[0], limit=0.02), *FULL.metrics[1:])).hash,
    }
    assert len(hashes) == 5


def test_the_shares_of_evidence_never_exceed_one():
    assert sum(FULL.weights) == pytest.approx(0.95)
    assert FULL.weights[0] == pytest.approx(3 * FULL.weights[1])
    no_rates = Plan(metrics=(MeanPlan("value"), MeanPlan("other", role=Role.Info)))
    assert no_rates.weights == (1.0, 0.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RatePlan("e", relative=False), "limit: expected a limit, or relative: true"),
        (lambda: RatePlan("e", limit=1.5), "limit: expected a number in"),
        (lambda: RatePlan("e", harm_margin=0.9), "harm_margin"),
        (
            lambda: RatePlan("e", safe_margin=1.2),
            "safe_margin: expected more than harm_margin 1.25",
        ),
        (lambda: RatePlan("e", baseline_rate=0.6), "declare the complement"),
        (lambda: RatePlan("e", history=RateHistory(0.7)), "declare the complement"),
        (lambda: LatencyPlan("l", 0.95, relative=False), "budget: expected a budget"),
        (lambda: LatencyPlan("l", 1.0, budget=1.0), "quantile: expected a number in"),
        (lambda: DriftPlan("d", ()), "features: expected at least one feature"),
        (lambda: DriftPlan("d", (Feature("x", 5), Feature("x", 5))), "features: expected distinct"),
        (lambda: Feature("x", 1), "bins: expected 2 to 64 judged bins"),
        (lambda: Feature("x", 3, groups=(0, 2, 2)), "groups: expected judged bins numbered"),
        (lambda: CountPlan("c", max_drop=0.7), "max_drop"),
        (lambda: FairnessPlan("f", ("a",), "a"), "groups: expected at least one group besides"),
        (lambda: Dispersion(0.5), "phi: expected a number >= 1"),
        (lambda: Plan(metrics=()), "metrics: expected at least one metric"),
        (lambda: Plan(metrics=(RatePlan("a"), RatePlan("a"))), "metrics: expected distinct names"),
        (lambda: Plan(metrics=(RatePlan("a"),), planned_looks=10), "planned_looks"),
        (lambda: Plan(metrics=(RatePlan("a"),), steps=(120,)), "steps: expected weights"),
        (lambda: Plan(metrics=(RatePlan("a"),), harm_level=0.0), "harm_level"),
    ],
)
def test_what_can_never_work_is_refused(make, message):
    with pytest.raises(WireError, match=message):
        make()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "expected an object"),
        ({}, "metrics: expected to be present"),
        ({"metrics": [{"type": "ratio"}]}, r"metrics\[0\].type: expected one of rate"),
        ({"metrics": [{"type": "rate"}]}, r"metrics\[0\].name: expected to be present"),
        ({"metrics": [{"type": "rate", "name": "a", "limt": 1}]}, r"metrics\[0\].limt"),
        ({"metrics": [{"type": "rate", "name": "a", "role": "Boss"}]}, r"metrics\[0\].role"),
        ({"metrics": [{"type": "rate", "name": "a", "limit": "x"}]}, r"metrics\[0\].limit"),
        ({"metrics": [{"type": "rate", "name": "a", "limit": 3}]}, r"metrics\[0\].limit: expected"),
        ({"metrics": [{"type": "rate", "name": "a"}], "loks": 3}, "loks"),
    ],
)
def test_a_recorded_plan_is_read_strictly(value, message):
    with pytest.raises(WireError, match=message):
        Plan.from_json(value)


def test_history_means_every_metric_that_can_has_it():
    assert not FULL.has_history
    known = replace(FULL, metrics=(FULL.metrics[0], *FULL.metrics[2:]))
    assert known.has_history
