"""Latency by bucket edges: which tails are judged, and native histograms (2.4).

Never by an interpolated quantile: "95 % within 30 ms" is the statement P(X > 30 ms) <= 5 %, and a
cumulative bucket counts exactly that. A budget between two edges e- < B < e+ is judged by two
tails: harm at e+ (over budget for certain), safety at e- (within budget for certain).
"""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis.compiled import (
    AUTO_EDGES,
    BELOW,
    HISTOGRAM_SLOTS,
    UNSET,
    Compiled,
    Latency,
)
from modelhandoff.analysis.intervals import Histogram, Interval
from modelhandoff.analysis.layout import Views
from modelhandoff.analysis.rates import DECIDE_AFTER, fix_margin
from modelhandoff.analysis.wire import WireError

__all__ = [
    "bracket",
    "choose_edges",
    "edge_margins",
    "learn_edges",
    "native_histogram",
    "set_edges",
]

Array = NDArray[np.float64]

LOWEST_TAIL: Final = 0.001
HIGHEST_TAIL: Final = 0.2
MIN_SCHEMA: Final = -4
MAX_SCHEMA: Final = 8


def bracket(edges: tuple[float, ...], budget: float) -> tuple[float | None, float]:
    """(e-, e+): the last edge <= budget (None below the first) and the first edge >= budget."""
    below = [e for e in edges if e <= budget]
    return (below[-1] if below else None), next(e for e in edges if e >= budget)


def choose_edges(
    edges: tuple[float, ...], baseline: tuple[float, ...], quantile: float, most: int = 5
) -> tuple[float, ...]:
    """Edges for the relative test: baseline tail in [0.001, 0.2], nearest to the quantile's.

    Args:
        edges: rising, the last infinite.
        baseline: cumulative counts of the baseline at the edges.
        quantile: target quantile; its tail is ``1 - quantile``.
        most: number of edges at most.
    """
    tails = _tails(baseline)
    target = math.log(1.0 - quantile)
    fit: dict[float, float] = {}
    for edge, tail in zip(edges[:-1], tails, strict=False):
        if LOWEST_TAIL <= tail <= HIGHEST_TAIL and tail not in fit.values():
            fit[edge] = tail
    nearest = sorted(fit, key=lambda e: abs(math.log(fit[e]) - target))[:most]
    return tuple(sorted(nearest))


def edge_margins(
    edges: tuple[float, ...],
    baseline: tuple[float, ...],
    chosen: tuple[float, ...],
    increase: float,
) -> tuple[float, ...]:
    """Tail ratio that "every quantile may grow by ``increase``" allows at each chosen edge.

    Null F_c(x) >= F_b(x / (1 + increase)), so r0(e) = tail_b(e / (1 + increase)) / tail_b(e); at
    the next lower edge when there is none at that place.
    """
    tails = dict(zip(edges, _tails(baseline), strict=True))
    out = []
    for edge in chosen:
        lower = [e for e in edges if e <= edge / (1.0 + increase)]
        top = tails[lower[-1]] if lower else 1.0
        out.append(max(1.0, top / tails[edge]) if tails[edge] > 0.0 else 1.0)
    return tuple(out)


def _tails(cumulative: tuple[float, ...]) -> list[float]:
    n = cumulative[-1]
    return [(n - c) / n if n > 0.0 else 0.0 for c in cumulative]


def set_edges(c: Compiled, interval: Interval, v: Views) -> None:
    """Fix the budget brackets when a histogram is first seen (a property of the exporter)."""
    edge = v["edge"]
    for lat in c.latency:
        if lat.high < 0 or edge[lat.high] != UNSET or lat.plan.budget is None:
            continue
        found = interval.metrics.get(lat.plan.name)
        if isinstance(found, Histogram):
            low, high = bracket(found.edges, lat.plan.budget)
            edge[lat.high] = high
            edge[lat.low] = BELOW if low is None else low


def learn_edges(c: Compiled, interval: Interval, v: Views) -> None:
    """Without history: choose the relative edges from the first 10 baseline intervals.

    Past baseline intervals only, so what follows starts at E = 1 and stays valid.
    """
    for i, lat in enumerate(c.latency):
        if not lat.auto or not lat.relative or v["edge"][lat.relative[0]] != UNSET:
            continue
        found = interval.metrics.get(lat.plan.name)
        if not isinstance(found, Histogram) or found.baseline is None:
            continue
        tails = v[f"tails_{i}"]
        width = len(found.edges)
        if width > HISTOGRAM_SLOTS or found.baseline[-1] <= 0.0:
            continue
        tails[0] += 1.0
        tails[1 : width + 1] += found.baseline
        if tails[0] >= DECIDE_AFTER:
            counts = tuple(tails[1 : width + 1].tolist())
            _adopt(c, v, lat, found.edges, baseline=counts, looks=float(tails[0]))
            if v["edge"][lat.relative[0]] != UNSET:
                tails[:] = 0.0


def _adopt(
    c: Compiled,
    v: Views,
    lat: Latency,
    edges: tuple[float, ...],
    *,
    baseline: tuple[float, ...],
    looks: float,
) -> None:
    plan = lat.plan
    chosen = choose_edges(edges, baseline, plan.quantile, AUTO_EDGES)
    if not chosen:
        return
    grow = plan.max_relative_increase
    margins = edge_margins(edges, baseline, chosen, grow) if grow is not None else None
    tails = dict(zip(edges, _tails(baseline), strict=True))
    per_look = (baseline[-1] / looks) / (1.0 - c.top_weight)
    for i, row in enumerate(lat.relative):
        if i >= len(chosen):
            break
        v["edge"][row] = chosen[i]
        for test in np.flatnonzero(c.two_source == row).tolist():
            if margins is not None:
                v["two_margin"][test, 0] = margins[i]
                v["two_margin"][test, 1] = max(v["two_margin"][test, 1], margins[i] * 1.2)
            fix_margin(c, v, test, tails[chosen[i]], per_look)


def native_histogram(
    schema: int,
    arms: tuple[tuple[int, Mapping[int, float], float], ...],
    zero_threshold: float = 0.0,
) -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]:
    """Native (exponential) bucket increments of several arms as shared edges.

    Args:
        schema: target resolution; growth per bucket is 2^(2^-schema).
        arms: per arm (its schema, counts by bucket index, count of the zero bucket). Bucket i of
            schema s holds (2^((i-1) 2^-s), 2^(i 2^-s)].
        zero_threshold: upper edge of the zero bucket; it becomes the first edge.

    Returns:
        (edges, cumulative counts per arm); edges end in infinity.

    Raises:
        WireError: a negative or non-finite count, or an arm coarser than the target (merging to
            the coarser schema is exact because boundaries nest; splitting is not).
    """
    if not MIN_SCHEMA <= schema <= MAX_SCHEMA:
        raise WireError("schema", f"a schema from {MIN_SCHEMA} to {MAX_SCHEMA}", schema)
    merged: list[dict[int, float]] = []
    for own, buckets, zero in arms:
        if own < schema:
            raise WireError("schema", f"at most {own}, the coarsest arm", schema)
        width = 2 ** (own - schema)
        out: dict[int, float] = {}
        for index, count in (*buckets.items(), (None, zero)):
            if not (math.isfinite(count) and count >= 0.0):
                raise WireError(f"buckets[{index}]", "a count >= 0", count)
            if index is not None:
                to = -((-index) // width)
                out[to] = out.get(to, 0.0) + count
        merged.append(out)
    indices = sorted({i for one in merged for i in one})
    bounds = range(indices[0] - 1, indices[-1] + 1) if indices else range(0)
    edges = [2.0 ** (i * 2.0**-schema) for i in bounds]
    edges = [zero_threshold, *[e for e in edges if e > zero_threshold], math.inf]
    counts = []
    for (_, _, zero), one in zip(arms, merged, strict=True):
        row = [
            zero + sum(n for i, n in one.items() if 2.0 ** (i * 2.0**-schema) <= e) for e in edges
        ]
        counts.append(tuple(row))
    return tuple(edges), tuple(counts)
