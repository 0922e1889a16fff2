"""Dispersion: clean traffic gives one, bursts give more, a lasting regression hides nothing."""

import numpy as np
import pytest

from modelhandoff.analysis import Plan, RatePlan
from modelhandoff.analysis.compiled import compiled
from modelhandoff.analysis.dispersion import (
    bin_pair,
    growth,
    history_phi,
    one_arm_history,
    pairs_of,
    phi_of,
)
from modelhandoff.analysis.history import edge_history, rate_history
from modelhandoff.analysis.sources import phi_two_arm
from modelhandoff.analysis.wire import WireError


def phi_after(plan, evidence):
    c = compiled(plan)
    v = c.layout.views(evidence.state)
    pair = phi_of(v["u2"], v["vu"], pairs_of(v["count"]))
    return float(pair[0]), float(phi_two_arm(c.banks, v)[0])


PLAN = Plan(metrics=(RatePlan("errors", baseline_rate=0.005),), requests_per_interval=6000.0)


def test_one_before_seven_pairs_and_near_one_on_binomial_traffic(errors, feed):
    assert phi_after(PLAN, feed(PLAN, errors(7))) == (1.0, 1.0)
    phis = [phi_after(PLAN, feed(PLAN, errors(80, seed=s)))[0] for s in range(8)]
    assert all(1.0 <= phi < 3.0 for phi in phis)
    assert np.median(phis) < 1.7


def test_swings_common_to_both_arms_cancel(errors, feed):
    def swing(t):
        return 0.006 * (1.0 + 0.9 * np.sin(t / 3.0))

    assert phi_after(PLAN, feed(PLAN, errors(100, swing, swing)))[0] < 1.6


def test_bursts_are_seen(errors, feed):
    rng = np.random.default_rng(5)
    arms = [rng.gamma(0.2, 0.025, size=101) for _ in range(2)]

    def rate(arm):
        return lambda t: min(float(arms[arm][t]), 1.0)

    assert phi_after(PLAN, feed(PLAN, errors(100, rate(0), rate(1))))[0] > 5.0


def test_a_lasting_regression_hardly_hides_itself(errors, feed):
    doubled = errors(160, lambda t: 0.005 if t <= 100 else 0.01, seed=11)
    assert phi_after(PLAN, feed(PLAN, doubled))[0] < 2.0


def test_without_history_what_is_seen_counts_up_to_three_times():
    counts = np.array([1.0, 60.0, 120.0, 6000.0])
    assert growth(counts).tolist() == pytest.approx([3.0, 3.0, 2.0, 1.02])


def splits(rng, noisy, length=240, number=5):
    out = np.empty((number, length, 4))
    for s in range(number):
        for t in range(length):
            burst = rng.gamma(0.3, 1 / 0.3, size=2) if noisy else (1.0, 1.0)
            out[s, t] = (rng.binomial(600, min(0.005 * burst[0], 1)), 600,
                         rng.binomial(5400, min(0.005 * burst[1], 1)), 5400)  # fmt: skip
    return out


def test_history_of_clean_and_bursty_baselines():
    rng = np.random.default_rng(2)
    clean, bursty = splits(rng, noisy=False), splits(rng, noisy=True)
    assert history_phi(clean)[0] < 1.5
    assert history_phi(bursty)[0] > 5.0
    assert one_arm_history(clean[..., :2])[0] < 1.5
    found = rate_history(clean)
    assert found.baseline_rate == pytest.approx(0.005, rel=0.05)
    # m pi (1 - pi) with 30 events and a tenth of the traffic.
    assert found.relative.information == pytest.approx(30 * 0.09, rel=0.1)
    assert edge_history(0.03, bursty).absolute.phi > 2.0


def test_a_daily_swing_is_not_noise_for_the_absolute_test_when_declared():
    rng = np.random.default_rng(3)
    t = np.arange(720)
    rate = 0.01 * (1 + 0.7 * np.sin(2 * np.pi * t / 720))
    sizes = (np.full(720, 600), np.full(720, 5400))
    columns = (rng.binomial(600, rate), sizes[0], rng.binomial(5400, rate), sizes[1])
    counts = np.stack(columns, axis=1)[None].astype(float)
    plain, periodic = rate_history(counts), rate_history(counts, periodic=True)
    assert plain.absolute.phi > 1.5 * periodic.absolute.phi
    assert plain.relative.phi < 1.6


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda a: a[:, :100], "at least 120 intervals"),
        (lambda a: a[0], "splits, intervals, 4"),
        (lambda a: a - 1e9, "0 <= events <= trials"),
        (lambda a: np.where(a == 600.0, np.nan, a), "0 <= events <= trials"),
    ],
)
def test_a_history_that_cannot_be_trusted_is_refused(change, wanted):
    counts = splits(np.random.default_rng(1), noisy=False, length=130, number=1)
    with pytest.raises(WireError, match=wanted):
        rate_history(change(counts))


def test_k_bin_pairs_have_the_expected_size_for_multinomial_counts():
    rng = np.random.default_rng(4)
    q = np.full(10, 0.1)
    x = expected = 0.0
    for _ in range(400):
        a, b = rng.multinomial(500, q), rng.multinomial(300, q)
        one, two = bin_pair(500.0, a / 500, 300.0, b / 300, a + b)
        x, expected = x + one, expected + two
    assert x / expected == pytest.approx(1.0, abs=0.05)
    assert bin_pair(0.0, q, 1.0, q, q) == (0.0, 0.0)


def test_history_scales_with_traffic_and_never_below_the_pairs(errors, feed):
    from modelhandoff.analysis import Dispersion, RateHistory

    def phi(information):
        history = RateHistory(0.005, Dispersion(3.0, information))
        plan = Plan(metrics=(RatePlan("errors", history=history),))
        return phi_after(plan, feed(plan, errors(40)))[1]

    assert phi(0.0) == 3.0
    assert phi(100.0) == 3.0
    assert phi(1.0) == pytest.approx(1.0 + 2.0 * 30 * 0.09, rel=0.2)


def test_halves_of_the_baseline_reveal_noise_the_candidate_does_not_show(errors, interval):
    from dataclasses import replace

    from modelhandoff.analysis import Evidence, Rate, observe

    rng = np.random.default_rng(9)
    plan = Plan(metrics=(RatePlan("errors", baseline_rate=0.005),), split_halves=True,
                requests_per_interval=6000.0)  # fmt: skip
    evidence = Evidence.start(plan)
    for one in errors(60):
        noisy = [min(0.005 * rng.gamma(0.2, 5.0), 1.0) for _ in range(2)]
        half = Rate((float(rng.binomial(2700, noisy[0])), 2700.0),
                    (float(rng.binomial(2700, noisy[1])), 2700.0))  # fmt: skip
        evidence = observe(plan, evidence, replace(one, halves={"errors": half}))
    assert phi_after(plan, evidence)[1] > 3.0
