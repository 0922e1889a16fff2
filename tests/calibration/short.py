"""The sharpest cases, small enough for every test run; each must break for a broken engine.

Every check plays seeded runs and raises AssertionError with its figure.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from modelhandoff.analysis import Decision, Interval, Plan, Rate, RatePlan
from modelhandoff.analysis.replay import Replay
from modelhandoff.analysis.simulate import Ending
from modelhandoff.analysis.synthetic import Noise, RateTruth, Scenario, Traffic
from tests.calibration.crossings import RateCell
from tests.calibration.endings import Cell
from tests.calibration.world import BASELINE, BIG, SMALL

SEED = 20240229


def seeds(number: int, salt: int) -> list[np.random.SeedSequence]:
    """Seeds of one check."""
    return np.random.SeedSequence([SEED, salt]).spawn(number)


def _share(endings: list[Ending], decision: Decision) -> float:
    return sum(one.decision is decision for one in endings) / len(endings)


def bursts_do_not_roll_back() -> None:
    """Healthy candidates on bursty counts (mean 5 errors a burst): at most 3 of 100 stopped."""
    for history in (True, False):
        cell = RateCell("bursts", BIG, noise=Noise(burst=5.0), history=history)
        found = [harm for harm, _ in cell.play(seeds(1, 1))]
        rolled = sum(math.isfinite(one) for one in found)
        assert rolled <= 3, f"{rolled} of {len(found)} healthy candidates rolled back on bursts"


def slow_noise_does_not_roll_back() -> None:
    """AR(1) log-noise of sd 0.3 and correlation 0.9, own to each arm, no history."""
    cell = RateCell("slow noise", BIG, noise=Noise(arm_sd=0.3, rho=0.9))
    found = [harm for harm, _ in cell.play(seeds(1, 2))]
    rolled = sum(math.isfinite(one) for one in found)
    assert rolled <= 6, f"{rolled} of {len(found)} healthy candidates rolled back on slow noise"


def no_two_intervals_decide() -> None:
    """Whatever two intervals show, one metric alone needs three (a spike, a bad scrape)."""
    plan = Plan(metrics=(RatePlan("errors", catastrophe=False), RatePlan("other")), min_looks=2)
    replay = Replay(plan, intervals=False)
    for look in (1, 2):
        counts = {"errors": Rate((600.0, 600.0), (27.0, 5400.0)),
                  "other": Rate((3.0, 600.0), (27.0, 5400.0))}  # fmt: skip
        interval = Interval(look, 30.0 * look, 30.0 * look + 30.0, 0, 10, (600.0, 5400.0), counts)
        verdict = replay.look(interval)
        assert verdict.decision is not Decision.Rollback, f"rolled back at look {look}"


def a_late_break_is_not_promoted() -> None:
    """Errors rise from 0.5 to 1 % after look 20: at most one of 20 is promoted."""
    made = Cell("errors 1 % only from look 21", BIG, history=False)
    found = made.play(seeds(20, 4))
    promoted = _share(found, Decision.Promote)
    assert promoted <= 0.05, f"{100 * promoted:.0f} % of the late breaks were promoted"


def silence_is_not_a_pass() -> None:
    """The candidate's failing series vanish after look 10: never promoted, held instead."""
    looks = 60
    scenario = Scenario(6000.0, {"errors": RateTruth(BASELINE, BASELINE)}, random_arrivals=False)
    for seed in seeds(3, 5):
        traffic = Traffic(scenario, np.random.default_rng(seed), looks)
        replay = Replay(Plan(metrics=(RatePlan("errors", limit=0.01),)), intervals=False)
        for look in range(1, looks + 1):
            full = traffic.interval(look, 0, 10)
            seen = full.metrics if look <= 10 else {}
            verdict = replay.look(Interval(look, full.start, full.end, 0, 10, full.requests, seen))
            assert verdict.decision is not Decision.Promote, f"promoted on silence, look {look}"
        assert verdict.decision is Decision.Hold


def healthy_candidates_are_promoted() -> None:
    """Identical versions on five metrics: at least 18 of 20 promoted, none rolled back."""
    found = Cell("identical", BIG, history=True).play(seeds(20, 6))
    assert _share(found, Decision.Rollback) == 0.0
    assert _share(found, Decision.Promote) >= 0.9


def bad_candidates_are_stopped() -> None:
    """2 % errors: all stopped within 12 looks; 60 requests a look: all stopped within 90."""
    for size, salt, within in ((BIG, 7, 12), (SMALL, 8, 90)):
        found = Cell("errors 2 %", size, history=False).play(seeds(10, salt))
        assert _share(found, Decision.Rollback) == 1.0, size
        late = max(one.look for one in found)
        assert late <= within, f"{size}: stopped at look {late}"


CHECKS: dict[str, Callable[[], None]] = {
    check.__name__: check
    for check in (
        bursts_do_not_roll_back,
        slow_noise_does_not_roll_back,
        no_two_intervals_decide,
        a_late_break_is_not_promoted,
        silence_is_not_a_pass,
        healthy_candidates_are_promoted,
        bad_candidates_are_stopped,
    )
}
