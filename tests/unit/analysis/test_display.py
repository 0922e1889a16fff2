"""What people read: intervals that hold at every look, words with units."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelhandoff.analysis import wording
from modelhandoff.analysis.display import mantel_haenszel, rate_interval, ratio_interval
from modelhandoff.analysis.windows import advance, length, newest


def test_the_ratio_interval_covers_at_all_looks_together():
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(100):
        sums = np.zeros((1, 4))
        for _ in range(15):
            sums += [[rng.binomial(600, 0.01), 600, rng.binomial(5400, 0.005), 5400]]
            low, high = ratio_interval(sums, 1.0)
            if not low <= 2.0 <= high:
                missed += 1
                break
    assert missed <= 8


def test_it_narrows_with_data_and_widens_with_dispersion():
    few = ratio_interval(np.array([[12.0, 1200.0, 54.0, 10800.0]]), 1.0)
    many = ratio_interval(np.array([[120.0, 12000.0, 540.0, 108000.0]]), 1.0)
    noisy = ratio_interval(np.array([[120.0, 12000.0, 540.0, 108000.0]]), 5.0)
    assert few[0] < noisy[0] < many[0] < 2.0 < many[1] < noisy[1] < few[1]


def test_steps_are_not_pooled_across_weights():
    """Simpson: no difference within any step, a large one in the pooled sums."""
    steps = np.array([[5.0, 500.0, 95.0, 9500.0], [100.0, 5000.0, 100.0, 5000.0]])
    assert mantel_haenszel(steps) == pytest.approx(1.0)
    pooled = steps.sum(axis=0)
    assert (pooled[0] / pooled[1]) / (pooled[2] / pooled[3]) > 1.3
    low, high = ratio_interval(steps, 1.0)
    assert low < 1.0 < high


def test_empty_and_one_sided_data():
    assert ratio_interval(np.zeros((2, 4)), 1.0) is None
    assert mantel_haenszel(np.zeros((2, 4))) is None
    low, high = ratio_interval(np.array([[0.0, 600.0, 0.0, 5400.0]]), 1.0)
    assert low == 0.0
    assert high == math.inf


@given(st.integers(0, 500), st.integers(500, 100_000), st.floats(1.0, 20.0))
def test_the_rate_interval_contains_the_observed_rate(x, n, phi):
    low, high = rate_interval(float(x), float(n), phi)
    assert 0.0 <= low <= x / n + 1e-9
    assert x / n <= high * (1 + 1e-6) + 1e-5
    assert high <= 1.0


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (wording.percent(0.0123), "1.23 %"), (wording.percent(0.112), "11.2 %"),
        (wording.percent(1.0), "100 %"), (wording.percent(0.0), "0 %"),
        (wording.percent(0.00001), "0.001 %"),
        (wording.duration(42), "42 s"), (wording.duration(720), "12 min"),
        (wording.duration(7800), "2 h 10 min"), (wording.duration(7200), "2 h"),
        (wording.duration(3 * 86400), "3 d"), (wording.duration(math.inf), "an unknown time"),
        (wording.latency(0.03, "s"), "30 ms"), (wording.latency(2.5, "s"), "2.5 s"),
        (wording.latency(30.0, "ms"), "30 ms"), (wording.count(18400.4), "18,400"),
        (wording.evidence(0.4), "0.4"), (wording.evidence(1240.2), "1,240"),
        (wording.evidence(3.2e9), "3.2e+09"),
    ],
)  # fmt: skip
def test_words(got, want):
    assert got == want


def test_the_recent_window_covers_between_one_and_one_and_a_half_windows():
    windows = np.zeros((3, 3))
    for t in range(1, 400):
        advance(windows, np.array([float(t)]) if t % 10 else None, float(t))
        age, have, total = newest(windows)
        span = length(float(t))
        if t >= span:
            assert span <= age <= math.ceil(1.5 * span) + 1
            kept = [s for s in range(t - int(age) + 1, t + 1) if s % 10]
            assert (have, total) == (len(kept), sum(kept))
