"""Offline quality: a paired bootstrap by cluster, BCa bounds, and what they prove."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from modelhandoff.analysis import quality
from modelhandoff.analysis.offline import (
    Proof,
    bounds,
    clusters_to_prove,
    proof,
    resamples_for,
)
from modelhandoff.analysis.wire import WireError


def rng(seed=1):
    return np.random.default_rng(seed)


def mean_of(values, clusters):
    units = quality.Units(clusters, np.ones(len(values)), int(clusters.max()) + 1)
    return quality.average(units, values)


def queries(truth, clusters=60, per=4, spread=0.15, seed=1):
    """Quality of two models on the same queries: they differ by far less than the queries do."""
    source = rng(seed)
    labels = np.repeat(np.arange(clusters), per)
    hard = source.normal(0.7, spread, clusters)[labels]
    base = hard + source.normal(0.0, 0.01, len(labels))
    return base + truth + source.normal(0.0, 0.02, len(labels)), base, labels


def lower_of(mine, base, labels, resamples=1000):
    ours, theirs = mean_of(mine, labels), mean_of(base, labels)
    found = bounds(
        lambda counts: ours(counts) - theirs(counts), int(labels.max()) + 1, rng(9),
        resamples=resamples,
    )  # fmt: skip
    return float(found.lower[0])


def unpaired_lower(mine, base, labels):
    """The mutant: each model is drawn on queries of its own."""
    ours, theirs = mean_of(mine, labels), mean_of(base, labels)
    g = int(labels.max()) + 1

    def draw(seed):
        return rng(seed).multinomial(g, np.full(g, 1.0 / g), size=1000).astype(float)

    return float(np.quantile(ours(draw(1)) - theirs(draw(2)), 0.05))


def test_the_bounds_agree_with_scipy_when_every_unit_is_its_own_cluster():
    values = rng(4).exponential(1.0, 80)
    got = bounds(mean_of(values, np.arange(80)), 80, rng(1), resamples=20_000)
    want = stats.bootstrap(
        (values,), np.mean, confidence_level=0.90, method="BCa", n_resamples=20_000, rng=rng(2)
    ).confidence_interval

    assert got.estimate[0] == pytest.approx(values.mean())
    assert got.lower[0] == pytest.approx(want.low, abs=0.012)
    assert got.upper[0] == pytest.approx(want.high, abs=0.012)


def test_the_grouped_jackknife_finds_the_skewness_of_many_clusters():
    values = rng(4).exponential(1.0, 1500)
    got = bounds(mean_of(values, np.arange(1500)), 1500, rng(1), resamples=8000)
    want = stats.bootstrap(
        (values,), np.mean, confidence_level=0.90, method="BCa", n_resamples=8000, rng=rng(2)
    ).confidence_interval

    assert got.lower[0] == pytest.approx(want.low, abs=0.003)
    assert got.upper[0] == pytest.approx(want.high, abs=0.003)


def test_what_is_not_better_is_proven_to_be_in_about_one_test_set_of_twenty():
    wrong = sum(lower_of(*queries(0.0, seed=s)) >= 0.0 for s in range(200))

    assert 2 <= wrong <= 20


def test_pairing_proves_what_two_separate_draws_cannot():
    paired = sum(lower_of(*queries(0.01, seed=s)) >= 0.0 for s in range(20))
    apart = sum(unpaired_lower(*queries(0.01, seed=s)) >= 0.0 for s in range(20))

    assert paired >= 18
    assert apart <= 2


def test_rows_of_one_cluster_are_not_independent():
    source = rng(3)
    labels = np.repeat(np.arange(60), 20)
    values = source.normal(0.0, 1.0, 60)[labels] + source.normal(0.0, 0.1, 1200)
    whole = bounds(mean_of(values, labels), 60, rng(1), resamples=1000)
    alone = bounds(mean_of(values, np.arange(1200)), 1200, rng(1), resamples=1000)

    assert whole.upper - whole.lower > 3 * (alone.upper - alone.lower)


def test_the_same_seed_gives_the_same_answer():
    assert lower_of(*queries(0.01)) == lower_of(*queries(0.01))


def test_models_that_agree_everywhere_are_judged_without_noise():
    mine, _, labels = queries(0.0)

    assert lower_of(mine, mine, labels) == 0.0
    assert proof(0.0, 0.0, 0.0) is Proof.Proven


def test_a_quantity_without_a_value_in_some_resamples_proves_nothing():
    got = bounds(
        lambda counts: np.where(counts[:, 0] > 1, np.nan, 1.0) + 0.0 * counts[:, 1], 40, rng(1),
        resamples=1000,
    )  # fmt: skip

    assert got.lower[0] == -math.inf
    assert got.upper[0] == math.inf


def test_few_clusters_and_no_estimate_are_refused():
    with pytest.raises(WireError, match="at least 30 clusters"):
        bounds(mean_of(np.zeros(29), np.arange(29)), 29, rng(1))
    with pytest.raises(WireError, match="an estimate"):
        bounds(lambda counts: counts[:, 0] * np.nan, 40, rng(1))


def test_three_things_can_be_said():
    assert proof(0.021, 0.03, 0.02) is Proof.Proven
    assert proof(0.015, 0.035, 0.02) is Proof.Unproven
    assert proof(0.001, 0.019, 0.02) is Proof.Excluded


def test_the_number_of_clusters_that_would_prove_it_does_so_in_four_of_five_test_sets():
    mine, base, labels = queries(0.003, clusters=60)
    estimate = 0.003
    half = float(np.mean(mine - base)) - lower_of(mine, base, labels)
    wanted = clusters_to_prove(estimate, estimate - half, 0.0, 60)
    proven = sum(
        lower_of(*queries(0.003, clusters=wanted, seed=s), resamples=500) >= 0.0 for s in range(60)
    )

    assert 36 <= proven <= 58
    assert clusters_to_prove(0.01, 0.0, 0.02, 60) is None
    assert clusters_to_prove(0.03, -math.inf, 0.02, 60) is None


def test_large_test_sets_get_fewer_resamples():
    assert (resamples_for(100), resamples_for(80_000), resamples_for(10**7)) == (10_000, 5000, 1000)


def scored(n=300, seed=5, ties=True):
    source = rng(seed)
    label = (source.random(n) < 0.3).astype(float)
    score = np.clip(0.3 * label + source.normal(0.4, 0.2, n), 0.01, 0.99)
    score = np.round(score, 1) if ties else score
    return label, score, source.integers(0, 40, n), source.integers(1, 4, n).astype(float)


def recall_by_sklearn(precision):
    def metric(label, score, weight):
        got, recall, _ = metrics.precision_recall_curve(label, score, sample_weight=weight)
        return recall[got >= precision].max()

    return metric


METRICS = {
    "auc": (quality.roc_auc, metrics.roc_auc_score),
    "average precision": (quality.average_precision, metrics.average_precision_score),
    "recall at precision 0.6": (quality.recall_at(0.6), recall_by_sklearn(0.6)),
    "recall at a precision that nothing has": (quality.recall_at(1.0), recall_by_sklearn(1.0)),
}


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("name", METRICS)
def test_every_resample_has_the_value_that_scikit_learn_gives_to_its_rows(name, ties):
    ours, theirs = METRICS[name]
    label, score, cluster, weight = scored(ties=ties)
    statistic = ours(quality.Units(cluster, weight, 40), label, score)
    counts = rng(2).multinomial(40, np.full(40, 1 / 40), size=20).astype(float)
    got = statistic(counts)

    for row, drawn in zip(got, counts, strict=True):
        weights = drawn[cluster] * weight
        kept = weights > 0
        args = (label[kept], score[kept])
        if name.startswith("recall"):
            want = theirs(*args, weights[kept])
        else:
            want = theirs(*args, sample_weight=weights[kept])
        assert row == pytest.approx(want, abs=1e-12)


def test_means_and_root_means_are_weighted():
    _, score, cluster, weight = scored()
    units = quality.Units(cluster, weight, 40)
    ones = np.ones((1, 40))

    assert quality.average(units, score)(ones)[0] == pytest.approx(
        np.average(score, weights=weight)
    )
    assert quality.root_average(units, score**2)(ones)[0] == pytest.approx(
        np.sqrt(np.average(score**2, weights=weight))
    )
