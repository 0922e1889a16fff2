"""The made-up world of the calibration: five metrics, their truths, the baseline's histories."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis import (
    DriftPlan,
    EdgeHistory,
    Feature,
    LatencyPlan,
    MeanPlan,
    Plan,
    RateHistory,
    RatePlan,
)
from modelhandoff.analysis.history import edge_history, rate_history
from modelhandoff.analysis.latency import choose_edges
from modelhandoff.analysis.synthetic import (
    DriftTruth,
    LatencyTruth,
    MeanTruth,
    Noise,
    RateTruth,
    Scenario,
    draw_events,
    event_levels,
)

Array = NDArray[np.float64]

BASELINE = 0.005
P95 = 0.027
BUDGET = 0.03
EDGES = (0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, math.inf)
BINS = 10
LOOKS = 240
HISTORY_LOOKS = 720
"""Six hours of looks of 30 s."""


@dataclass(frozen=True)
class Size:
    """Requests per look of candidate and baseline."""

    candidate: int
    baseline: int

    @property
    def total(self) -> int:
        return self.candidate + self.baseline

    @property
    def weight(self) -> int:
        return round(100 * self.candidate / self.total)

    def __str__(self) -> str:
        return f"{self.candidate}/{self.baseline}"


BIG, SMALL = Size(600, 5400), Size(60, 540)


def scenario(
    size: Size,
    *,
    errors: float = BASELINE,
    p95: float = P95,
    kl: float = 0.0,
    score: float = 0.0,
    onset: int = 0,
    noise: Noise | None = None,
) -> Scenario:
    """Five metrics; drift sees a sixth of the requests (100 and 10 observations per look)."""
    return Scenario(
        requests=float(size.total),
        truths={
            "errors": RateTruth(BASELINE, errors),
            "latency": LatencyTruth(0.95, P95, p95, EDGES),
            "drift": DriftTruth(BINS, kl, observed=1.0 / 6.0),
            "score": MeanTruth(score, sd=0.35),
        },
        noise=noise or Noise(),
        onset=onset,
        random_arrivals=False,
        same={"slo": "errors"},
    )


def plan(
    size: Size, rng: np.random.Generator, *, history: bool, noise: Noise | None = None
) -> Plan:
    """Errors against the baseline, an SLO of 1 %, latency, drift and a score; equal weights."""
    errors: dict[str, Any] = {}
    latency: dict[str, Any] = {}
    if history:
        errors = {"history": error_history(size, rng, noise or Noise())}
        latency = latency_history(size, rng)
    return Plan(
        metrics=(
            RatePlan("errors", **errors),
            RatePlan("slo", limit=0.01, relative=False, **errors),
            LatencyPlan("latency", 0.95, budget=BUDGET, **latency),
            DriftPlan("drift", (Feature("drift", BINS),), max_kl=0.1),
            MeanPlan("score", max_regression=0.05),
        ),
        steps=(size.weight,),
        planned_looks=LOOKS,
    )


def error_history(
    size: Size, rng: np.random.Generator, noise: Noise, rate: float = BASELINE, splits: int = 1
) -> RateHistory:
    """A/A history: baseline pods split into a pseudo-candidate of the candidate's share."""
    counts = aa_counts(size, rng, noise, rate, 1)[0]
    return rate_history(np.stack([counts] * splits))


def aa_counts(size: Size, rng: np.random.Generator, noise: Noise, rate: float, runs: int) -> Array:
    """(runs, looks, 4): events and trials of pseudo-candidate and rest of the *baseline's* pods."""
    share = size.candidate / size.total
    own = round(size.baseline * share)
    sizes = (float(own), float(size.baseline - own))
    if noise.pod_sd > 0.0:
        pods = max(1, round(noise.pods[1] * share))
        noise = replace(noise, pods=(pods, max(1, noise.pods[1] - pods)))
    levels = event_levels(rng, noise, runs, HISTORY_LOOKS)
    out = np.empty((runs, HISTORY_LOOKS, 4))
    for arm, level in enumerate(levels):
        out[:, :, 2 * arm] = draw_events(rng, sizes[arm], rate * level, noise.burst)
        out[:, :, 2 * arm + 1] = sizes[arm]
    return out


def pod_splits(
    size: Size, rng: np.random.Generator, noise: Noise, rate: float, shape: tuple[int, int]
) -> Array:
    """(runs, splits, looks, 4): one history per run, split at random by pod ``splits`` times."""
    runs, splits = shape
    pods = noise.pods[1]
    own = max(1, round(pods * size.candidate / size.total))
    each = float(size.baseline // pods)
    out = np.empty((runs, splits, HISTORY_LOOKS, 4))
    for at in range(runs):
        alone = replace(noise, pods=(1, 1))
        level = event_levels(rng, alone, pods, HISTORY_LOOKS)[0]
        events = draw_events(rng, each, rate * level, noise.burst)
        for split in range(splits):
            order = rng.permutation(pods)
            out[at, split, :, 0] = events[order[:own]].sum(axis=0)
            out[at, split, :, 1] = each * own
            out[at, split, :, 2] = events[order[own:]].sum(axis=0)
            out[at, split, :, 3] = each * (pods - own)
    return out


def latency_history(size: Size, rng: np.random.Generator) -> Mapping[str, Any]:
    """Edges and their histories from an A/A split of the baseline's latencies."""
    share = size.candidate / size.total
    sizes = (round(size.baseline * share), size.baseline - round(size.baseline * share))
    shares = np.diff(LatencyTruth(0.95, P95, P95, EDGES).cumulative(P95), prepend=0.0)
    cumulative = [
        np.cumsum(rng.multinomial(n, shares, size=HISTORY_LOOKS), axis=1).astype(float)
        for n in sizes
    ]
    pooled = tuple((cumulative[0].sum(axis=0) + cumulative[1].sum(axis=0)).tolist())
    chosen = choose_edges(EDGES, pooled, 0.95)
    found: list[EdgeHistory] = []
    for edge in sorted({*chosen, BUDGET}):
        at = EDGES.index(edge)
        columns = []
        for n, one in zip(sizes, cumulative, strict=True):
            columns += [n - one[:, at], np.full(HISTORY_LOOKS, float(n))]
        found.append(edge_history(edge, np.stack(columns, axis=1)[None]))
    return {"edges": chosen, "history": tuple(found)}
