"""Fitting with numpy alone: a logistic model and a one-layer network over the same inputs.

Both see standardised features plus one learned number per merchant code ("risk").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from transactions import FEATURES, LONG_TAILED, MERCHANT, Floats, Transactions


@dataclass(frozen=True)
class Scaling:
    """How raw features become standard ones: log1p where ``tails`` is 1, then (t - mean) / std."""

    tails: Floats
    mean: Floats
    std: Floats

    def apply(self, features: Floats) -> Floats:
        """Standardised features (n, 8)."""
        logged = np.log1p(np.maximum(features, 0.0))
        mixed = self.tails * logged + (1.0 - self.tails) * features
        return (mixed - self.mean) / self.std


def fit_scaling(features: Floats) -> Scaling:
    """Means and standard deviations of the training rows."""
    tails = np.array([float(name in LONG_TAILED) for name in FEATURES])
    raw = Scaling(tails, np.zeros(len(FEATURES)), np.ones(len(FEATURES))).apply(features)
    return Scaling(tails, raw.mean(axis=0), raw.std(axis=0))


@dataclass(frozen=True)
class Network:
    """``logit = slope * (tanh(z W1 + b1) w2 + z w + risk[code]) + offset``.

    A logistic model has a hidden layer of width 0.
    """

    scaling: Scaling
    hidden_weights: Floats  # (8, h)
    hidden_bias: Floats  # (h,)
    output_weights: Floats  # (h,)
    direct_weights: Floats  # (8,)
    risk: Floats  # (codes,)
    slope: float = 1.0
    offset: float = 0.0

    def logits(self, features: Floats) -> Floats:
        """Raw scores (n,); codes beyond the table are clipped to its last row."""
        scaled = self.scaling.apply(features)
        hidden = np.tanh(scaled @ self.hidden_weights + self.hidden_bias)
        codes = np.clip(features[:, MERCHANT].astype(int), 0, len(self.risk) - 1)
        inner = hidden @ self.output_weights + scaled @ self.direct_weights + self.risk[codes]
        result: Floats = self.slope * inner + self.offset
        return result

    def on_scale_of(self, other: Network, features: Floats) -> Network:
        """The same ranking with the mean and spread of another model's logits.

        Whoever acts on a score has thresholds for it: a better model keeps the scale.
        """
        mine, theirs = self.logits(features), other.logits(features)
        slope = float(theirs.std() / mine.std())
        return replace(
            self,
            slope=self.slope * slope,
            offset=float(theirs.mean() - slope * (mine.mean() - self.offset)),
        )


def fit(
    data: Transactions,
    *,
    codes: int,
    hidden: int,
    seed: int,
    steps: int = 500,
    fraud_weight: float = 1.0,
) -> Network:
    """Weighted maximum likelihood by full-batch Adam.

    Args:
        data: training rows.
        codes: rows of the merchant table; every code in ``data`` must be below it.
        hidden: width of the hidden layer, 0 for a logistic model.
        seed: of the initial weights.
        steps: gradient steps.
        fraud_weight: how often a fraud row counts.
    """
    rng = np.random.default_rng(seed)
    scaling = fit_scaling(data.features)
    z = scaling.apply(data.features)
    z[:, MERCHANT] = 0.0  # a code is a name, not a quantity
    code = data.features[:, MERCHANT].astype(int)
    weight = np.where(data.fraud == 1.0, fraud_weight, 1.0)
    weight /= weight.sum()
    parameters = {
        "w1": rng.normal(0.0, 0.5, (len(FEATURES), hidden)),
        "b1": np.zeros(hidden),
        "w2": rng.normal(0.0, 0.1, hidden),
        "w": np.zeros(len(FEATURES)),
        "risk": np.full(codes, -2.0),
    }

    def gradient(p: dict[str, Floats]) -> dict[str, Floats]:
        h = np.tanh(z @ p["w1"] + p["b1"])
        logit = h @ p["w2"] + z @ p["w"] + p["risk"][code]
        error = weight * (1.0 / (1.0 + np.exp(-logit)) - data.fraud)
        inner = np.outer(error, p["w2"]) * (1.0 - h**2)
        return {
            "w1": z.T @ inner,
            "b1": inner.sum(axis=0),
            "w2": h.T @ error,
            "w": z.T @ error,
            "risk": np.bincount(code, error, minlength=codes),
        }

    fitted = _adam(parameters, gradient, steps)
    # The column of the code takes no part: its standard value is arbitrary, its weights are 0.
    fitted["w1"][MERCHANT] = 0.0
    fitted["w"][MERCHANT] = 0.0
    return Network(scaling, fitted["w1"], fitted["b1"], fitted["w2"], fitted["w"], fitted["risk"])


def _adam(
    parameters: dict[str, Floats],
    gradient: Callable[[dict[str, Floats]], dict[str, Floats]],
    steps: int,
    rate: float = 0.03,
) -> dict[str, Floats]:
    first = {name: np.zeros_like(value) for name, value in parameters.items()}
    second = {name: np.zeros_like(value) for name, value in parameters.items()}
    for step in range(1, steps + 1):
        for name, slope in gradient(parameters).items():
            first[name] = 0.9 * first[name] + 0.1 * slope
            second[name] = 0.999 * second[name] + 0.001 * slope**2
            mean = first[name] / (1.0 - 0.9**step)
            spread = second[name] / (1.0 - 0.999**step)
            parameters[name] = parameters[name] - rate * mean / (np.sqrt(spread) + 1e-8)
    return parameters


def area_under_curve(score: Floats, fraud: Floats) -> float:
    """Probability that a fraud row scores above an honest one (rank formula, no ties assumed)."""
    ranks = np.empty(len(score))
    ranks[np.argsort(score, kind="stable")] = np.arange(1, len(score) + 1)
    positives = fraud.sum()
    negatives = len(fraud) - positives
    return float(
        (ranks[fraud == 1.0].sum() - positives * (positives + 1) / 2) / (positives * negatives)
    )


def divergence(candidate: Floats, baseline: Floats, edges: Floats) -> float:
    """KL(candidate || baseline) in nats over the bins, with half a count added to each bin."""
    p = np.bincount(np.searchsorted(edges, candidate), minlength=len(edges) + 1) + 0.5
    q = np.bincount(np.searchsorted(edges, baseline), minlength=len(edges) + 1) + 0.5
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum(p * np.log(p / q)))
