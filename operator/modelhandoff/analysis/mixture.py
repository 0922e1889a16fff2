"""One-sided normal mixture: evidence that a mean contrast is above zero.

Asymptotic confidence sequence / mixture SPRT with estimated variance (Robbins 1970; Howard,
Ramdas, McAuliffe & Sekhon 2021; Waudby-Smith et al. 2024), half-normal prior on the mean.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr

__all__ = ["log_one_sided", "prior_precision"]

Array = NDArray[np.float64]


def prior_precision(optimum: float | Array, level: float) -> Array:
    """Best rho near information ``optimum``: v_opt / (2L + ln(1+2L)), L = ln(1/(2 alpha))."""
    odds = math.log(1.0 / (2.0 * min(level, 0.49)))
    return np.asarray(optimum / (2.0 * odds + math.log1p(2.0 * odds)))


def log_one_sided(estimate: Array | np.float64, variance: Array | np.float64, rho: Array) -> Array:
    """Log E for "the contrast is > 0".

    ``v = 1/var``, ``s = est/var``:
    ``ln E = (1/2) ln(4 rho/(v+rho)) + s^2/(2(v+rho)) + ln Phi(s/sqrt(v+rho))``.
    """
    v = 1.0 / variance
    total = v + rho
    z = estimate * v / np.sqrt(total)
    # For z < 0 the two terms cancel; exp(z^2/2) Phi(z) = erfcx(-z/sqrt 2)/2 keeps all digits.
    below = np.log(0.5 * erfcx(np.maximum(-z, 0.0) / math.sqrt(2.0)))
    above = 0.5 * z * z + log_ndtr(np.maximum(z, 0.0))
    return np.asarray(0.5 * np.log(4.0 * rho / total) + np.where(z < 0.0, below, above))
