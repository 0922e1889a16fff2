"""Synthetic traffic for the judgement engine: small, seeded, one interval at a time."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from modelhandoff.analysis import Evidence, Interval, Plan, Rate, observe


def interval(index: int, metrics: dict, *, weight: int = 10, **more) -> Interval:
    """One closed interval of 30 s with plausible request counts."""
    return Interval(
        index=index,
        start=30.0 * index,
        end=30.0 * index + 30.0,
        step=more.pop("step", 0),
        weight=weight,
        requests=more.pop("requests", (600.0, 5400.0)),
        metrics=metrics,
        **more,
    )


@pytest.fixture(name="interval")
def _interval() -> Callable[..., Interval]:
    return interval


@pytest.fixture
def feed() -> Callable[..., Evidence]:
    """Feed a list of intervals to fresh evidence of a plan."""

    def run(plan: Plan, intervals: list[Interval]) -> Evidence:
        evidence = Evidence.start(plan)
        for one in intervals:
            evidence = observe(plan, evidence, one)
        return evidence

    return run


@pytest.fixture
def errors() -> Callable[..., list[Interval]]:
    """A run of intervals with one rate metric called ``errors``."""

    def make(
        looks: int,
        candidate: float | Callable[[int], float] = 0.005,
        baseline: float | Callable[[int], float] = 0.005,
        *,
        seed: int = 1,
        size: tuple[int, int] = (600, 5400),
        name: str = "errors",
    ) -> list[Interval]:
        rng = np.random.default_rng(seed)
        nc, nb = size
        out = []
        for t in range(1, looks + 1):
            pc = candidate(t) if callable(candidate) else candidate
            pb = baseline(t) if callable(baseline) else baseline
            x = (float(rng.binomial(nc, pc)), float(nc))
            y = (float(rng.binomial(nb, pb)), float(nb))
            out.append(interval(t, {name: Rate(x, y)}, requests=(float(nc), float(nb))))
        return out

    return make


@pytest.fixture
def shares() -> Callable[[int, float], np.ndarray]:
    """K bins tilted away from uniform by a given KL divergence."""

    def make(bins: int, kl: float) -> np.ndarray:
        uniform = np.full(bins, 1.0 / bins)
        if kl == 0.0:
            return uniform
        grid = np.linspace(-1.0, 1.0, bins)
        low, high = 0.0, 50.0
        for _ in range(80):
            middle = (low + high) / 2.0
            p = np.exp(middle * grid)
            p /= p.sum()
            low, high = (middle, high) if (p * np.log(p / uniform)).sum() < kl else (low, middle)
        return p

    return make


def pytest_make_parametrize_id(val: object) -> str | None:
    """Readable ids for floats."""
    return f"{val:g}" if isinstance(val, float) and math.isfinite(val) else None
