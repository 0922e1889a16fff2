"""The kernel against brute force: every bet has expectation at most one under its null."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from modelhandoff.analysis.kernel import (
    ABSOLUTE_HARM,
    ABSOLUTE_SAFE,
    HARM,
    NOTHING,
    SAFE,
    log_mixture,
    log_restarts,
    one_arm,
    restart_step,
    start_mass,
    started_mass,
    two_arm,
)


def expectation(bets, ratio, delta, arms, rates, *, phi=1.0, cap=math.inf):
    """E[exp(min(l/phi, cap))] per bet, by enumerating both binomials."""
    (nc, nb), (pc, pb) = arms, rates
    xc, xb = np.arange(nc + 1.0)[:, None, None], np.arange(nb + 1.0)[None, :, None]
    weight = stats.binom.pmf(xc, nc, pc) * stats.binom.pmf(xb, nb, pb)
    logs = two_arm(bets, ratio, delta, xc, nc, xb, nb)
    return (weight * np.exp(np.minimum(logs / phi, cap))).sum(axis=(0, 1))


@pytest.mark.parametrize("arms", [(3, 5), (1, 9), (6, 2)])
@pytest.mark.parametrize("pb", [0.0, 0.01, 0.3, 0.7])
@pytest.mark.parametrize(("ratio", "delta"), [(1.25, 0.0), (1.0, 0.05), (5.0, 0.05)])
def test_no_bet_on_harm_gains_at_the_edge_of_harmless(arms, pb, ratio, delta):
    pc = min(ratio * pb + delta, 1.0)
    at_edge = expectation(HARM, ratio, delta, arms, (pc, pb))
    capped = expectation(HARM, ratio, delta, arms, (pc, pb), phi=2.5, cap=1.0)
    inside = expectation(HARM, ratio, delta, arms, (pc * 0.5, pb))
    assert (at_edge <= 1.0 + 1e-12).all()
    assert (capped <= 1.0 + 1e-12).all()
    assert (inside <= at_edge + 1e-12).all()


@pytest.mark.parametrize("arms", [(3, 5), (1, 9), (6, 2)])
@pytest.mark.parametrize("pb", [0.0, 0.01, 0.3, 0.6])
@pytest.mark.parametrize(("ratio", "delta"), [(1.5, 0.0), (1.5, 0.05), (0.9, 0.0)])
def test_no_bet_on_safety_gains_while_unsafe(arms, pb, ratio, delta):
    pc = min(ratio * pb + delta, 1.0)
    if pc < ratio * pb + delta - 1e-12:
        pytest.skip("no such rate exists")
    at_edge = expectation(SAFE, ratio, delta, arms, (pc, pb))
    worse = expectation(SAFE, ratio, delta, arms, (min(1.0, pc * 1.3), pb))
    assert (at_edge <= 1.0 + 1e-12).all()
    assert (worse <= at_edge + 1e-12).all()


def test_equality_in_the_poisson_limit():
    value = expectation(np.array([2.0]), 1.25, 0.0, (150, 300), (1.25 * 0.002, 0.002))
    assert value[0] == pytest.approx(1.0, abs=2e-3)


@given(
    xc=st.integers(0, 40), xb=st.integers(0, 40),
    nc=st.integers(40, 5000), nb=st.integers(40, 5000),
    ratio=st.floats(0.5, 3.0), theta=st.floats(0.1, 10.0),
)  # fmt: skip
def test_it_is_the_conditional_binomial_likelihood_ratio(xc, xb, nc, nb, *, ratio, theta):
    """Given the total, the candidate's part is binomial; theta multiplies its odds."""
    w = ratio * nc / nb
    m = xc + xb
    direct = stats.binom.logpmf(xc, m, theta * w / (1 + theta * w)) - stats.binom.logpmf(
        xc, m, w / (1 + w)
    )
    assert float(two_arm(np.array(theta), ratio, 0.0, xc, nc, xb, nb)) == pytest.approx(
        float(direct), abs=1e-8
    )


@given(n=st.integers(1, 400), x=st.integers(0, 400), p0=st.floats(0.001, 0.5),
       theta=st.floats(0.1, 6.0))  # fmt: skip
def test_absolute_bets_are_binomial_likelihood_ratios(n, x, p0, theta):
    x = min(x, n)
    odds = theta * p0 / (1 - p0)
    p1 = odds / (1 + odds)
    direct = stats.binom.logpmf(x, n, p1) - stats.binom.logpmf(x, n, p0)
    assert float(one_arm(np.array(theta), p0, x, n)) == pytest.approx(float(direct), abs=1e-7)


def paths(looks, n, p):
    """All sequences of binomial counts with their probabilities."""
    pmf = [float(stats.binom.pmf(x, n, p)) for x in range(n + 1)]
    for xs in product(range(n + 1), repeat=looks):
        yield xs, math.prod(pmf[x] for x in xs)


def e2(xs, n, p0, horizon):
    log_s = np.full((1, 6), NOTHING)
    for t, x in enumerate(xs, start=1):
        step = one_arm(ABSOLUTE_HARM, p0, x, n)[None, :]
        log_s = restart_step(log_s, np.array([float(t)]), horizon, step)
    return float(np.exp(log_restarts(log_s, np.array([float(len(xs))]), horizon))[0])


@pytest.mark.parametrize("horizon", [2.0, 4.0, 50.0])
def test_the_restart_mixture_has_expectation_exactly_one_at_the_limit(horizon):
    total = math.fsum(w * e2(xs, 2, 0.2, horizon) for xs, w in paths(5, 2, 0.2))
    assert total == pytest.approx(1.0, abs=1e-12)


def test_the_restart_mixture_loses_below_the_limit_and_safe_proofs_above_it():
    below = math.fsum(w * e2(xs, 2, 0.2, 4.0) for xs, w in paths(5, 2, 0.15))
    assert below < 1.0
    total = 0.0
    for xs, w in paths(4, 2, 0.25):
        sums = np.sum([one_arm(ABSOLUTE_SAFE, 0.2, x, 2) for x in xs], axis=0)
        total += w * float(np.exp(log_mixture(sums)))
    assert total < 1.0


def test_the_restart_recursion_is_the_sum_over_all_starts():
    rng = np.random.default_rng(3)
    looks, horizon = 9, 6
    steps = rng.normal(size=(looks, 6))
    log_s = np.full((1, 6), NOTHING)
    for t in range(looks):
        log_s = restart_step(log_s, np.array([t + 1.0]), float(horizon), steps[None, t])
    masses = [float(start_mass(np.array(j), float(horizon))) for j in range(1, looks + 1)]
    assert masses[0] == 0.5
    assert math.fsum(masses) == pytest.approx(1.0)
    expected = np.mean(
        [sum(masses[j] * math.exp(steps[j:, b].sum()) for j in range(looks)) for b in range(6)]
    ) + (1.0 - math.fsum(masses))
    got = float(np.exp(log_restarts(log_s, np.array([float(looks)]), float(horizon)))[0])
    assert got == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("count", [0.0, 1.0, 2.0, 239.0, 240.0, 999.0])
def test_started_and_waiting_mass_make_one(count):
    started = float(started_mass(np.array(count), 240.0))
    summed = math.fsum(
        float(start_mass(np.array(float(j)), 240.0)) for j in range(1, int(count) + 1)
    )
    assert started == pytest.approx(summed)
    assert 0.0 <= started <= 1.0 + 1e-12


@settings(max_examples=60)
@given(
    xc=st.floats(0, 1e6), xb=st.floats(0, 1e6), nc=st.floats(1e-3, 1e9), nb=st.floats(1e-3, 1e9),
    ratio=st.floats(0.5, 10.0), delta=st.floats(0, 0.1),
)  # fmt: skip
def test_finite_counts_never_give_nan(xc, xb, nc, nb, *, ratio, delta):
    xc, xb = min(xc, nc), min(xb, nb)
    for bets in (HARM, SAFE):
        logs = two_arm(bets, ratio, delta, xc, nc, xb, nb)
        assert np.isfinite(logs).all()
        assert math.isfinite(float(log_mixture(logs)))


@given(
    xc=st.integers(0, 50), more=st.integers(1, 20), xb=st.integers(0, 50), extra=st.integers(1, 20)
)
def test_more_candidate_failures_mean_more_harm_and_less_safety(xc, more, xb, extra):
    for bets, sign in ((HARM, 1.0), (SAFE, -1.0)):
        at = two_arm(bets, 1.25, 0.0, xc, 600.0, xb, 5400.0)
        worse = two_arm(bets, 1.25, 0.0, xc + more, 600.0, xb, 5400.0)
        better = two_arm(bets, 1.25, 0.0, xc, 600.0, xb + extra, 5400.0)
        assert (sign * (worse - at) > 0.0).all()
        assert (sign * (better - at) < 0.0).all()


def test_zero_failures_prove_safety_only_with_an_absolute_slack():
    without = log_mixture(40 * two_arm(SAFE, 1.5, 0.0, 0.0, 600.0, 0.0, 5400.0))
    with_slack = log_mixture(40 * two_arm(SAFE, 1.5, 0.0005, 0.0, 600.0, 0.0, 5400.0))
    assert float(without) == pytest.approx(0.0)
    assert float(with_slack) > math.log(20.0)
