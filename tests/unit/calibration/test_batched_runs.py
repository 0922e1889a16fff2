"""The calibration's own tools: many runs in one plan are the same as one run each."""

import math

import numpy as np
import pytest
from scipy import stats

from modelhandoff.analysis import Evidence, Interval, Plan, Rate, RatePlan, observe
from modelhandoff.analysis.evidence import readout
from modelhandoff.analysis.synthetic import Noise, ar1, draw_events, event_levels, tilted
from tests.calibration.crossings import copies


def test_copies_in_one_plan_judge_as_each_would_alone():
    """Copies of weight 1 have the evidence that each metric has in a plan of its own."""
    rng = np.random.default_rng(5)
    together = copies(
        metrics=tuple(RatePlan(f"r{i}", catastrophe=False) for i in range(10)),
        harm_level=1 / 500, check_split=False,
    )  # fmt: skip
    alone = Plan(metrics=(RatePlan("r", catastrophe=False),), harm_level=1 / 500, check_split=False)
    many = Evidence.start(together)
    single = [Evidence.start(alone) for _ in range(10)]
    for look in range(1, 40):
        x, y = rng.negative_binomial(2, 0.3, 10), rng.negative_binomial(20, 0.4, 10)
        rates = [Rate((float(a), 600.0), (float(b), 5400.0)) for a, b in zip(x, y, strict=True)]
        span = (30.0 * look, 30.0 * look + 30.0, 0, 10, (600.0, 5400.0))
        many = observe(
            together, many, Interval(look, *span, {f"r{i}": r for i, r in enumerate(rates)})
        )
        single = [
            observe(alone, one, Interval(look, *span, {"r": r}))
            for one, r in zip(single, rates, strict=True)
        ]
    expected = [readout(alone, one).metric[0] for one in single]
    assert readout(together, many).metric == pytest.approx(expected, abs=1e-9)


def test_single_events_are_binomial():
    found = draw_events(np.random.default_rng(1), np.full(20_000, 600.0), 0.005)
    expected = stats.binom(600, 0.005)
    assert found.mean() == pytest.approx(expected.mean(), abs=0.05)
    assert found.var() == pytest.approx(expected.var(), rel=0.05)


def test_bursts_keep_the_mean_and_widen_the_variance():
    """Compound Poisson with geometric sizes of mean b: variance / mean = 2 b - 1."""
    found = draw_events(np.random.default_rng(2), np.full(40_000, 6000.0), 0.005, burst=5.0)
    assert found.mean() == pytest.approx(30.0, rel=0.02)
    assert found.var() / found.mean() == pytest.approx(9.0, rel=0.05)
    assert draw_events(np.random.default_rng(3), 10.0, 0.9, burst=50.0) <= 10.0


def test_slow_noise_has_its_spread_and_memory():
    found = ar1(np.random.default_rng(4), 400, 200, 0.3, 0.9)
    assert found.std() == pytest.approx(0.3, rel=0.05)
    lag = np.corrcoef(found[:, :-1].ravel(), found[:, 1:].ravel())[0, 1]
    assert lag == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize(
    "noise",
    [Noise(arm_sd=0.3, rho=0.9), Noise(shared_sd=0.3), Noise(pods=(3, 27), pod_sd=0.2)],
    ids=["arm", "shared", "pods"],
)
def test_noise_leaves_the_mean_rate_alone(noise):
    own, other = event_levels(np.random.default_rng(6), noise, 4000, 20)
    assert own.mean() == pytest.approx(1.0, abs=0.02)
    assert other.mean() == pytest.approx(1.0, abs=0.02)
    assert (np.allclose(own, other)) is (noise.shared_sd > 0.0)


@pytest.mark.parametrize("kl", [0.0, 0.05, 0.3, 1.5])
def test_shares_lie_at_the_asked_divergence(kl):
    p = tilted(20, kl)
    assert p.sum() == pytest.approx(1.0)
    assert float(stats.entropy(p, np.full(20, 0.05))) == pytest.approx(kl, abs=1e-6)
    assert math.isfinite(p.min())
