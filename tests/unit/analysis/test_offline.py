"""Paired offline quality: bootstrap by cluster, BCa bounds, calibrated evidence."""

import math

import numpy as np
import pytest
from scipy import stats

from modelhandoff.analysis.offline import OfflineVerdict, paired_quality
from modelhandoff.analysis.wire import WireError


def sample(mean, seed=1, clusters=120, per=4, spread=0.1):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(clusters), per)
    common = rng.normal(0.0, spread, clusters)[labels]
    return mean + common + rng.normal(0.0, 0.02, clusters * per), labels


def judge(mean, margin=0.02, seed=1, **more):
    values, labels = sample(mean, seed, **more)
    return paired_quality(values, labels, margin, np.random.default_rng(9), resamples=2000)


def test_equal_better_and_worse():
    assert judge(0.02).verdict is OfflineVerdict.Safe
    assert judge(-0.08).verdict is OfflineVerdict.Harm
    assert judge(-0.02).verdict is OfflineVerdict.Unproven
    worse = judge(-0.08)
    assert worse.lower < worse.estimate < worse.upper < -0.02
    assert worse.log_e_harm > math.log(5.0)
    assert judge(0.02).log_e_harm <= 0.0


def test_the_bounds_agree_with_scipy_bca_when_every_unit_is_its_own_cluster():
    rng = np.random.default_rng(4)
    values = rng.exponential(1.0, 80) - 1.0
    got = paired_quality(values, np.arange(80), 0.0, np.random.default_rng(1), resamples=20_000)
    want = stats.bootstrap(
        (values,), np.mean, confidence_level=0.90, method="BCa", n_resamples=20_000,
        rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip
    assert got.lower == pytest.approx(want.low, abs=0.012)


def test_clusters_widen_the_bounds():
    values, labels = sample(0.0)
    rng = np.random.default_rng
    alone = paired_quality(values, np.arange(len(values)), 0.02, rng(1), resamples=2000)
    whole = paired_quality(values, labels, 0.02, rng(1), resamples=2000)
    assert whole.upper - whole.lower > 1.5 * (alone.upper - alone.lower)


def test_the_false_safe_rate_is_about_the_level():
    wrong = sum(judge(-0.02, seed=s, clusters=60).verdict is OfflineVerdict.Safe for s in range(60))
    assert wrong <= 8


def test_the_p_value_and_the_bound_tell_the_same_story():
    found = judge(-0.055)
    assert (found.p_harm < 0.01) == (found.upper < -0.02)


def test_the_same_seed_gives_the_same_answer():
    assert judge(0.0) == judge(0.0)


def test_constant_differences_are_judged_without_noise():
    flat = paired_quality(np.full(40, -0.05), np.arange(40), 0.02, np.random.default_rng(1))
    assert (flat.verdict, flat.lower) == (OfflineVerdict.Harm, pytest.approx(-0.05))


@pytest.mark.parametrize(
    ("values", "labels", "margin", "message"),
    [
        (np.zeros(29), np.arange(29), 0.0, "at least 30 clusters"),
        (np.zeros(90), np.repeat(np.arange(9), 10), 0.0, "at least 30 clusters"),
        (np.zeros(40), np.arange(39), 0.0, "one value and one cluster"),
        (np.full(40, np.nan), np.arange(40), 0.0, "finite values"),
        (np.zeros(40), np.arange(40), -1.0, "margin >= 0"),
    ],
)
def test_what_no_bootstrap_can_answer_is_refused(values, labels, margin, message):
    with pytest.raises(WireError, match=message):
        paired_quality(values, labels, margin, np.random.default_rng(1))
