"""The one-sided normal mixture against high-precision arithmetic and simulation."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelhandoff.analysis.mixture import log_one_sided, prior_precision


def oracle(estimate, variance, rho):
    """Integrate the likelihood ratio over the half-normal prior: 50 digits, no closed form.

    With s = est/var ~ N(mu v, v) the ratio at mean mu is exp(mu s - mu^2 v / 2); the prior of mu
    is half-normal with variance 1/rho.
    """
    mpmath.mp.dps = 50
    v, r = mpmath.mpf(1) / mpmath.mpf(variance), mpmath.mpf(rho)
    s = mpmath.mpf(estimate) * v
    peak = max(s / (v + r), mpmath.mpf(0))
    width = 1 / mpmath.sqrt(v + r)

    def density(mu):
        prior = 2 * mpmath.sqrt(r / (2 * mpmath.pi)) * mpmath.exp(-r * mu * mu / 2)
        return prior * mpmath.exp(mu * s - mu * mu * v / 2)

    grid = [0, peak + width, peak + 4 * width, peak + 12 * width, peak + 40 * width]
    return float(mpmath.log(mpmath.quad(density, grid)))


@pytest.mark.parametrize(
    ("estimate", "variance", "rho"),
    [(0.0, 1.0, 1.0), (3.0, 1.0, 0.3), (-2.0, 0.5, 2.0), (-40.0, 1e-2, 3.0),
     (0.05, 1e-4, 900.0), (-0.02, 1e-4, 40.0),
     (30.0, 1.0, 0.1)],
)  # fmt: skip
def test_closed_form_equals_the_integral(estimate, variance, rho):
    got = float(log_one_sided(np.float64(estimate), np.float64(variance), np.float64(rho)))
    assert got == pytest.approx(oracle(estimate, variance, rho), rel=1e-9, abs=1e-9)


@given(st.floats(-1e3, 1e3), st.floats(1e-9, 1e6), st.floats(1e-6, 1e9))
def test_never_nan_and_rising_in_the_estimate(estimate, variance, rho):
    at = [float(log_one_sided(np.float64(e), np.float64(variance), np.float64(rho)))
          for e in (estimate, estimate + 1.0)]  # fmt: skip
    assert all(math.isfinite(one) for one in at)
    assert at[1] >= at[0]


@given(st.floats(-5, 5), st.floats(1e-3, 10.0), st.floats(1e-2, 10.0), st.floats(0.01, 100.0))
def test_scale_of_the_measured_value_does_not_matter(estimate, variance, rho, scale):
    plain = log_one_sided(np.float64(estimate), np.float64(variance), np.float64(rho))
    scaled = log_one_sided(
        np.float64(estimate * scale), np.float64(variance * scale**2), np.float64(rho / scale**2)
    )
    assert float(plain) == pytest.approx(float(scaled), rel=1e-6, abs=1e-9)


def test_expectation_is_one_at_the_boundary():
    """E over est ~ N(0, var) of the mixture, by quadrature."""
    rho, variance = 0.7, 0.4
    z = np.linspace(-12.0, 12.0, 40_001)
    weight = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi) * (z[1] - z[0])
    logs = log_one_sided(z * math.sqrt(variance), np.full_like(z, variance), np.float64(rho))
    assert float((weight * np.exp(logs)).sum()) == pytest.approx(1.0, abs=1e-6)


def test_prior_precision_follows_the_level():
    assert float(prior_precision(100.0, 0.01)) < float(prior_precision(100.0, 0.1))
