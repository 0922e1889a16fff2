"""Invented card transactions: eight features, a label, and a rule no logistic model can learn.

Everything follows from the seed. Amounts, ages and distances have long tails; merchant code 19
makes up 5 % of the traffic, which is what undoes version 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEATURES = (
    "amount",
    "hour",
    "merchant_code",
    "account_age_days",
    "tx_last_hour",
    "distance_km",
    "is_foreign",
    "device_score",
)
MERCHANT = FEATURES.index("merchant_code")
MERCHANT_CODES = 20
NEW_CODE = MERCHANT_CODES - 1
NEW_CODE_SHARE = 0.05
LONG_TAILED = ("amount", "account_age_days", "distance_km")


@dataclass(frozen=True)
class Transactions:
    """Rows of features (n, 8) and labels (n,), 1 for fraud."""

    features: Floats
    fraud: Floats

    def where(self, keep: NDArray[np.bool_]) -> Transactions:
        """The rows for which ``keep`` is true."""
        return Transactions(self.features[keep], self.fraud[keep])


def draw(rows: int, seed: int) -> Transactions:
    """Independent transactions from the one distribution every version meets in production."""
    rng = np.random.default_rng(seed)
    codes = np.where(
        rng.random(rows) < NEW_CODE_SHARE, NEW_CODE, rng.integers(0, NEW_CODE, size=rows)
    )
    features = np.column_stack(
        [
            np.round(rng.lognormal(3.2, 1.1, rows), 2),
            rng.integers(0, 24, rows),
            codes,
            np.round(rng.exponential(600.0, rows), 1),
            rng.poisson(1.2, rows),
            np.round(rng.lognormal(1.5, 1.2, rows), 2),
            rng.random(rows) < 0.12,
            np.round(rng.beta(5.0, 2.0, rows), 4),
        ]
    ).astype(np.float64)
    # Clients send what fits a float32: labels must be a function of the same numbers.
    features = features.astype(np.float32).astype(np.float64)
    amount, hour, _, age, recent, distance, foreign, device = features.T
    merchant_risk = 0.9 * np.sin(1.7 * np.arange(MERCHANT_CODES))[codes]
    spend = (np.log1p(amount) - 3.3) / 1.05
    night = ((hour < 6) | (hour >= 22)).astype(float)
    logit = (
        -5.2
        + 0.5 * spend
        + 0.5 * spend**2  # very small and very large amounts: testing a card, emptying it
        + 1.5 * foreign * spend
        + 3.0 * night * (1.0 - device)
        + 1.2 * ((recent >= 4) & (distance > 5.0))
        + 0.2 * recent
        - 0.3 * (np.log1p(age) - 5.8)
        + 1.5 * (0.7 - device)
        + merchant_risk
    )
    fraud = rng.random(rows) < 1.0 / (1.0 + np.exp(-logit))
    return Transactions(features, fraud.astype(np.float64))
