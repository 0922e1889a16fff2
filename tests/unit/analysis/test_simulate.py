"""Made-up rollouts: weights follow the verdicts, and skipping empty verdicts changes nothing."""

import numpy as np
import pytest

from modelhandoff.analysis import Decision, OnInconclusive, Plan, RatePlan
from modelhandoff.analysis.replay import Pace, Replay
from modelhandoff.analysis.simulate import run, runs
from modelhandoff.analysis.synthetic import RateTruth, Scenario, Traffic

PLAN = Plan(metrics=(RatePlan("errors", limit=0.01),), steps=(5, 20, 50), min_looks=10)


def scenario(errors, onset=0):
    return Scenario(6000.0, {"errors": RateTruth(0.005, errors)}, onset=onset)


def play(plan, made, looks=200, paces=(), seed=1):
    return run(plan, made, np.random.default_rng(seed), paces=paces, looks=looks)


def test_a_healthy_rollout_climbs_every_step():
    found = play(PLAN, scenario(0.005))
    assert (found.decision, found.weight) == (Decision.Promote, 50)
    # Two changes of weight cost an excluded interval each.
    assert found.look >= 3 * 10 + 2


def test_a_step_lasts_its_minimum():
    slow = play(PLAN, scenario(0.005), paces=[Pace(600.0), Pace(1200.0), Pace(0.0)])
    assert slow.look * 30.0 >= 1800.0
    hungry = play(PLAN, scenario(0.005), paces=[Pace(0.0, 30_000.0), Pace(), Pace()])
    assert hungry.look >= 30_000 / 300


def test_harm_stops_at_the_weight_it_is_found_at():
    found = play(PLAN, scenario(0.05))
    assert (found.decision, found.weight, found.blame) == (Decision.Rollback, 5, ("errors",))
    assert found.requests == pytest.approx(300.0 * found.look, rel=0.1)


@pytest.mark.parametrize("policy", list(OnInconclusive))
def test_time_that_runs_out_is_named(policy):
    plan = Plan(metrics=(RatePlan("errors", limit=0.01),), on_inconclusive=policy)
    thin = Scenario(50.0, {"errors": RateTruth(0.009, 0.009)})
    found = play(plan, thin, looks=40)
    expected = Decision.Rollback if policy is OnInconclusive.Rollback else Decision.Inconclusive
    assert (found.decision, found.look) == (expected, 40)


def test_runs_depend_on_their_seed_only():
    seeds = np.random.SeedSequence(7).spawn(4)
    together = runs(PLAN, scenario(0.015), seeds, paces=(), looks=100)
    apart = [runs(PLAN, scenario(0.015), [one], paces=(), looks=100)[0] for one in seeds]
    assert together == apart


@pytest.mark.parametrize("errors", [0.005, 0.02])
def test_a_verdict_that_is_not_computed_would_have_decided_nothing(errors):
    traffic = Traffic(scenario(errors), np.random.default_rng(3), 60)
    replay = Replay(PLAN, intervals=False)
    skipped = 0
    for look in range(1, 61):
        replay.take(traffic.interval(look, 0, 10))
        if replay.undecided(30.0 * look):
            skipped += 1
            verdict = replay.verdict(30.0 * look)
            assert verdict.decision in (Decision.Continue, Decision.Hold)
            assert not verdict.step_complete
    assert skipped > 0
