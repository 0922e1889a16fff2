"""Reading one interval into arrays of counts, and what every source remembers of the past."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis.banks import Banks
from modelhandoff.analysis.compiled import BELOW, RING, UNSET, Compiled, Source
from modelhandoff.analysis.dispersion import (
    LENGTHS,
    growth,
    information,
    pairs_of,
    phi_of,
    two_arm_pair,
)
from modelhandoff.analysis.intervals import Count, Histogram, Interval, Measurement, Rate
from modelhandoff.analysis.layout import Views

__all__ = ["Look", "past_rate", "phi_two_arm", "read", "recent", "remember", "together"]

TINY: Final = 1e-6
"""Fewer trials than this are none: ratios of such numbers overflow."""

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Look:
    """Counts of one interval, one entry per source; no data reads as zero trials."""

    xc: Array
    nc: Array
    xb: Array
    nb: Array
    both: Mask


def read(c: Compiled, interval: Interval, v: Views) -> Look:
    """The counts of every source in this interval."""
    edges = v["edge"].tolist()
    rows = []
    for row, source in enumerate(c.sources):
        found = (interval.halves if source.half else interval.metrics).get(source.key)
        rows.append(_counts(source, found, interval, edges[row]))
    counts = np.array(rows).reshape(len(rows), 4)
    xc, nc, xb, nb = counts.T
    nc, nb = np.where(nc < TINY, 0.0, nc), np.where(nb < TINY, 0.0, nb)
    return Look(xc, nc, xb, nb, (nc > 0.0) & (nb > 0.0))


def together(looks: Sequence[Look]) -> Look:
    """The counts of many handoffs side by side."""
    if len(looks) == 1:
        return looks[0]
    return Look(
        np.concatenate([one.xc for one in looks]),
        np.concatenate([one.nc for one in looks]),
        np.concatenate([one.xb for one in looks]),
        np.concatenate([one.nb for one in looks]),
        np.concatenate([one.both for one in looks]),
    )


_NONE = (0.0, 0.0, 0.0, 0.0)
Four = tuple[float, float, float, float]


def _counts(source: Source, found: Measurement | None, interval: Interval, edge: float) -> Four:
    if isinstance(found, Rate) and source.kind == "rate":
        x, n = found.candidate
        return (x, n, *(found.baseline or (0.0, 0.0)))
    if isinstance(found, Histogram) and source.kind == "edge" and edge != UNSET:
        at = position(found.edges, edge)
        if at is None:
            return _NONE
        n = found.candidate[-1]
        x = n - found.candidate[at] if at >= 0 else n
        if found.baseline is None:
            return (x, n, 0.0, 0.0)
        m = found.baseline[-1]
        return (x, n, m - found.baseline[at] if at >= 0 else m, m)
    if isinstance(found, Count) and source.kind == "count":
        span = interval.end - interval.start
        nc, nb = found.exposure_candidate, found.exposure_baseline
        nc = interval.weight * span if nc is None else nc
        nb = (100 - interval.weight) * span if nb is None else nb
        if found.baseline is None:
            return (found.candidate, nc, 0.0, 0.0)
        return (found.candidate, nc, found.baseline, nb)
    return _NONE


def position(edges: tuple[float, ...], edge: float) -> int | None:
    """Index of an edge; -1 = below the first; None = this histogram does not have it."""
    if edge == BELOW:
        return -1
    at = bisect_left(edges, edge)
    return at if at < len(edges) and edges[at] == edge else None


def phi_two_arm(b: Banks, v: Views) -> Array:
    """phi_t per source from the intervals before this one (2.2)."""
    count = v["count"]
    pair = phi_of(v["u2"], v["vu"], pairs_of(count))
    mean = v["information"] / np.maximum(count, 1.0)
    grown = 1.0 + growth(count) * (pair - 1.0)
    if b.phi.any():
        ratio = mean / np.where(b.information > 0.0, b.information, np.inf)
        history = 1.0 + (b.phi - 1.0) * np.maximum(1.0, ratio)
        seen = np.where(b.aged, grown, pair)
        out = np.where(b.phi > 0.0, np.maximum(history, seen), grown)
    else:
        out = grown
    half = b.half
    rows = np.flatnonzero(half >= 0)
    if len(rows):
        twin = half[rows]
        ratio = mean[rows] / np.where(mean[twin] > 0.0, mean[twin], np.inf)
        split = 1.0 + (pair[twin] - 1.0) * np.maximum(1.0, ratio)
        out[rows] = np.maximum(out[rows], split)
    return out


def past_rate(v: Views) -> Array:
    """Baseline rate of the past intervals per source; 0 before the first."""
    total = v["total"]
    trials = total[:, 3]
    return total[:, 2] / np.where(trials > 0.0, trials, 1.0)


def remember(b: Banks, v: Views, look: Look, clock: Array) -> Array:
    """Ring, block pairs and totals after this interval; ``clock`` (S,) is the look's number.

    Returns:
        (S, 4) what was added to the totals, for the sums per step.
    """
    kept = np.where(b.initial, look.nc > 0.0, look.both)
    rows = np.flatnonzero(kept)
    if not len(rows):
        return np.zeros((len(kept), 4))
    count = v["count"]
    at = (count[rows] % RING).astype(np.intp)
    counts = np.stack((look.xc, look.nc, look.xb, look.nb), axis=1)
    ring = v["ring"]
    ring[:4, rows, at] = counts[rows].T
    ring[4, rows, at] = clock[rows]
    if len(rows) != len(count):
        counts = np.where(kept[:, None], counts, 0.0)
    v["total"] += counts
    count[rows] += 1.0
    compared = rows[~b.initial[rows]]
    if len(compared):
        v["information"][compared] += information(
            look.xc[compared], look.nc[compared], look.xb[compared], look.nb[compared]
        )
        _pairs(v, compared, count[compared])
    return counts


def _pairs(v: Views, rows: NDArray[np.intp], count: Array) -> None:
    """Close the block pairs that end with the newest interval of each source."""
    ring = v["ring"]
    newest = int(count.max())
    aligned = bool((count == newest).all())
    for at, length in enumerate(LENGTHS):
        if aligned:
            if newest % length or newest < 2 * length:
                continue
            closing, ends = rows, count
        else:
            due = (count % length == 0.0) & (count >= 2.0 * length)
            if not due.any():
                continue
            closing, ends = rows[due], count[due]
        back = (ends[:, None].astype(np.intp) - 2 * length + np.arange(2 * length)) % RING
        shape = (len(closing), 2, length)
        xc, nc, xb, nb = ring[:4, closing[:, None], back].reshape(4, *shape)
        u2, vu = two_arm_pair(xc, nc, xb, nb)
        v["u2"][closing, at] += u2
        v["vu"][closing, at] += vu


def recent(v: Views, clock: float, looks: float) -> tuple[Array, Array, Array]:
    """Sums over the last ``looks`` looks for the promotion guard.

    Returns:
        (sums, plain, share): sums (S, 3) = A, B, N of the Mantel-Haenszel contrast; plain (S, 4) =
        events and trials of candidate and baseline; share (S,) of the looks that have data.
    """
    ring = v["ring"]
    inside = ring[4] > max(clock - looks, 0.0)  # an unused slot has look 0
    xc, nc, xb, nb = ring[:4] * inside
    total = np.where(nc + nb > 0.0, nc + nb, 1.0)
    parts = (xc * nb / total, xb * nc / total, nc * nb / total, xc, nc, xb, nb)
    found = np.add.reduce(np.stack(parts, axis=1), axis=2)
    sums, plain = found[:, :3], found[:, 3:]
    return sums, plain, inside.sum(1) / looks
