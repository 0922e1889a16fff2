"""Classic histograms: what a scrape's buckets must satisfy, and cumulative counts at edges."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from modelhandoff.metrics.cursor import Key
from modelhandoff.metrics.targets import Process, shown

__all__ = ["Flaw", "Quality", "edge_of", "mend", "without_edge"]


class Quality(StrEnum):
    """Flags on an interval; any of them holds promotion."""

    BUCKETS_FALL = "BucketsFall"
    """Cumulative buckets were not monotone; the larger lower bucket was believed."""
    BUCKET_MISMATCH = "BucketMismatch"
    """The ``+Inf`` bucket and the count of one histogram differed in one scrape."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """A histogram that contradicts itself, in the scrape at ``at`` (Unix milliseconds)."""

    at: int
    quality: Quality
    message: str


@lru_cache(maxsize=1 << 16)
def edge_of(key: Key) -> float:
    """The bucket edge of a key, in the unit of the exposition; NaN if it is no bucket."""
    for label, value in zip(key[1::2], key[2::2], strict=True):
        if label == "le":
            try:
                return float(value)
            except ValueError:
                return math.nan
    return math.nan


@lru_cache(maxsize=1 << 16)
def without_edge(key: Key) -> Key:
    """Identity of the histogram that a bucket belongs to."""
    pairs = zip(key[1::2], key[2::2], strict=True)
    return (key[0], *(part for pair in pairs if pair[0] != "le" for part in pair))


def mend(process: Process) -> tuple[Flaw, ...]:
    """Make the buckets of every scrape cumulative, in place, and say what was wrong.

    Counters may only be differenced after this: a bucket that is lower than its neighbour in one
    scrape would look like a reset in the next.
    """
    flaws: list[Flaw] = []
    for at, values, buckets, count in _histograms(process):
        highest = 0.0
        for key in buckets:
            if values[key] < highest:
                flaws.append(
                    Flaw(
                        at,
                        Quality.BUCKETS_FALL,
                        f"pod {process.pod}: {shown(key)} is {values[key]:.15g}, below the bucket "
                        f"before it ({highest:.15g})",
                    )
                )
                values[key] = highest
            highest = values[key]
        total = values.get(count)
        if total is not None and math.isinf(edge_of(buckets[-1])) and total != highest:
            flaws.append(
                Flaw(
                    at,
                    Quality.BUCKET_MISMATCH,
                    f"pod {process.pod}: {shown(count)} is {total:.15g} but its +Inf bucket "
                    f"{highest:.15g}",
                )
            )
    return tuple(flaws)


def _histograms(
    process: Process,
) -> Iterable[tuple[int, dict[Key, float], tuple[Key, ...], Key]]:
    names: object = None
    layout: list[tuple[tuple[Key, ...], Key]] = []
    for scrape in process.scrapes:
        if scrape.values.keys() != names:
            names, layout = scrape.values.keys(), _layout(scrape.values)
        for buckets, count in layout:
            yield scrape.at, scrape.values, buckets, count


def _layout(keys: Iterable[Key]) -> list[tuple[tuple[Key, ...], Key]]:
    groups: dict[Key, dict[float, Key]] = {}
    for key in keys:
        edge = edge_of(key)
        if not math.isnan(edge):
            groups.setdefault(without_edge(key), {})[edge] = key
    return [
        (tuple(found[edge] for edge in sorted(found)), _count_of(group))
        for group, found in groups.items()
    ]


def _count_of(group: Key) -> Key:
    return (group[0].removesuffix("_bucket") + "_count", *group[1:])


def cumulative(values: Iterable[float]) -> tuple[float, ...]:
    """The values with none below its predecessor."""
    out: list[float] = []
    for value in values:
        out.append(max(value, out[-1]) if out else max(value, 0.0))
    return tuple(out)


def common(layouts: Iterable[frozenset[float]]) -> tuple[float, ...]:
    """Edges that every histogram has, rising; counts at them are exact whatever lies between."""
    found: frozenset[float] | None = None
    for one in layouts:
        found = one if found is None else found & one
    return tuple(sorted(found or ()))


def at_edges(counts: Mapping[float, float], edges: Iterable[float]) -> tuple[float, ...]:
    """Cumulative counts at the given edges."""
    return cumulative(counts.get(edge, 0.0) for edge in edges)
