"""The other tools' rules, as their documentation says them, on series made by hand."""

import numpy as np
import pytest
from scipy import stats

from tests.calibration.rivals import argo, flagger, kayenta, ours, shift_interval
from tests.calibration.world import BIG

BAD, GOOD = 0.02, 0.005


def series(*parts):
    """(value, times) pairs as one series."""
    return np.array([value for value, times in parts for _ in range(times)])


def test_argo_fails_when_failures_exceed_the_limit():
    rates = series((GOOD, 4), (BAD, 1), (GOOD, 4), (BAD, 1), (GOOD, 2))
    assert argo(rates, 0) == ("rolled back", 5)
    assert argo(rates, 1) == ("rolled back", 10)
    assert argo(rates, 2) == ("promoted", 12)


def test_argo_takes_the_limit_itself_for_a_success():
    assert argo(series((0.01, 3)), 0) == ("promoted", 3)


def test_flagger_adds_up_failed_checks_and_counts_passed_ones():
    rates = series((BAD, 2), (GOOD, 5), (BAD, 1), (GOOD, 5))
    assert flagger(rates, 3, 20) == ("rolled back", 8)
    assert flagger(rates, 4, 10) == ("promoted", 13)
    assert flagger(rates, 4, 11) == ("open", 13)


def test_the_shift_interval_agrees_with_the_rank_test():
    """The lower 98 % limit is above 0 where the two-sided rank test rejects at 2 %."""
    rng = np.random.default_rng(3)
    agree = 0
    for shift in np.linspace(0.0, 1.5, 60):
        own, other = rng.normal(shift, 1.0, 30), rng.normal(0.0, 1.0, 30)
        estimate, low = shift_interval(own, other)
        assert estimate == pytest.approx(np.median(own[:, None] - other[None, :]))
        p = stats.mannwhitneyu(own, other, method="asymptotic").pvalue
        agree += (low > 0.0) == (p < 0.02 and estimate > 0.0)
    assert agree >= 58


def test_kayenta_needs_a_shift_larger_than_its_tolerance():
    rng = np.random.default_rng(4)
    other = rng.normal(0.005, 0.0005, 60)
    assert kayenta(other + rng.normal(0.0, 0.0001, 60), other) == ("promoted", 60)
    assert kayenta(rng.normal(0.01, 0.0005, 60), other) == ("rolled back", 10)
    assert kayenta(rng.normal(0.001, 0.0001, 60), other) == ("promoted", 60)


def test_our_rule_is_the_engine():
    counts = np.stack((np.full(40, 30.0), np.full(40, 27.0)), axis=1)
    assert ours(counts, BIG) == ("rolled back", 3)
    assert ours(np.stack((np.full(40, 3.0), np.full(40, 27.0)), axis=1), BIG)[0] == "promoted"
