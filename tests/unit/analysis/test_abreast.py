"""Many handoffs taken in together: each verdict and every bit of its state is that of it alone."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from modelhandoff.analysis import Dispersion, Evidence, Plan, Progress, RateHistory, judge, observe
from modelhandoff.analysis.evidence import observe_all
from modelhandoff.analysis.synthetic import Noise, Scenario, Traffic
from tests.bench_analysis import KINDS, RATES, TYPICAL, named

LOOKS = 24
HISTORY = RateHistory(0.005, Dispersion(1.3, 5.0), Dispersion(1.2, 4.0))


def runs():
    """Unlike plans, with gaps, warm-up, missing metrics and weight 0 at unlike times."""
    shapes = (RATES, TYPICAL, tuple(KINDS), ("count",), ("drift, 20 bins", "mean"), TYPICAL)
    for seed, kinds in enumerate(shapes):
        metrics, truths = named(kinds)
        if seed == 0:
            metrics = (replace(metrics[0], history=HISTORY), *metrics[1:])
        plan = Plan(metrics=metrics, initial=seed == 5, planned_looks=100 + 20 * seed)
        traffic = Traffic(
            Scenario(3000.0, truths, Noise(burst=3.0)), np.random.default_rng(seed), LOOKS
        )
        rng, out = np.random.default_rng(50 + seed), []
        for look in range(1, LOOKS + 1):
            one, chance = traffic.interval(look, 0, 10), rng.random()
            if chance < 0.1:
                continue
            if chance < 0.2:
                one = replace(one, excluded="warm-up")
            elif chance < 0.3:
                one = replace(one, metrics=dict(list(one.metrics.items())[1:]))
            elif chance < 0.35:
                one = replace(one, weight=0)
            out.append(one)
        yield plan, out


def told(plan, evidence):
    return json.dumps(judge(plan, evidence, Progress(step_looks=99)).to_json())


@pytest.mark.parametrize("seed", [1, 2])
def test_neither_company_nor_order_changes_a_bit_of_anyones_evidence(seed):
    all_runs, rng = list(runs()), np.random.default_rng(seed)
    together = [Evidence.start(plan) for plan, _ in all_runs]
    alone = list(together)
    at = [0] * len(all_runs)
    while True:
        left = [i for i, (_, intervals) in enumerate(all_runs) if at[i] < len(intervals)]
        if not left:
            break
        some = rng.permutation(left)[: int(rng.integers(1, len(left) + 1))].tolist()
        made = observe_all([(together[i], all_runs[i][1][at[i]]) for i in some])
        for i, found in zip(some, made, strict=True):
            plan, intervals = all_runs[i]
            together[i], alone[i] = found, observe(plan, alone[i], intervals[at[i]])
            at[i] += 1
            assert found.to_json() == alone[i].to_json()
    for (plan, _), a, b in zip(all_runs, together, alone, strict=True):
        assert told(plan, a) == told(plan, b)


def test_an_interval_that_was_taken_in_before_changes_nothing_and_keeps_its_place():
    (first, one), (second, two), *_ = runs()
    start = [Evidence.start(first), Evidence.start(second)]
    once = observe_all([(start[0], one[0]), (start[1], two[0])])
    again = observe_all([(once[0], one[0]), (once[1], two[1])])
    assert again[0] is once[0]
    assert again[1].last_index == two[1].index


def test_nobody_taken_in_is_nobody():
    assert observe_all([]) == []
