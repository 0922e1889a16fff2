"""What earlier rollouts say about the noise of the counts: the history that judges the next one.

Every rollout compares two Deployments interval by interval. Whatever the ratio of their rates, the
contrasts of *neighbouring blocks* (:mod:`~.dispersion`) show how much noisier than binomial that
comparison is, including noise that a whole arm shares, which no split of one arm's own pods could
show. So the history is read off an attempt's evidence when the next one begins; nothing more is
measured for it. Sums of several rollouts add; old ones fade.

A history of fewer than :data:`ENOUGH` intervals is none: the longest blocks, which alone see slow
noise, need that many (docs/calibration.md, "History from earlier rollouts").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis.compiled import BELOW, UNSET, Compiled, compiled
from modelhandoff.analysis.dispersion import MIN_PAIRS, pairs_of
from modelhandoff.analysis.evidence import Evidence, views
from modelhandoff.analysis.latency import HIGHEST_TAIL, LOWEST_TAIL
from modelhandoff.analysis.layout import Views
from modelhandoff.analysis.plan import (
    CountPlan,
    Dispersion,
    EdgeHistory,
    LatencyPlan,
    MetricPlan,
    Plan,
    RateHistory,
    RatePlan,
)

__all__ = ["ENOUGH", "KEPT", "MetricPast", "Pairs", "Part", "added", "learn", "with_past"]

Array = NDArray[np.float64]

ENOUGH: Final = 240
"""Intervals without which there is no history: seven pairs of blocks of 32."""
KEPT: Final = 2880.0
"""Intervals of history that count fully, a day of looks of 30 s; older ones fade."""
MOST_PHI: Final = 1e6
"""Beyond every noise that leaves anything to be judged."""
MOST_PARTS: Final = 6
"""Edges kept per latency metric."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Sums over pairs of neighbouring blocks, one entry per length of :data:`~.dispersion.LENGTHS`.

    Attributes:
        intervals: intervals behind them.
        information: sum of the intervals' binomial variances (see :class:`~.plan.Dispersion`).
        pairs: number of pairs.
        u2, vu: squared contrasts, and what they would be on average if counts were binomial.
    """

    intervals: float
    information: float
    pairs: tuple[float, ...]
    u2: tuple[float, ...]
    vu: tuple[float, ...]

    def plus(self, older: Pairs) -> Pairs:
        """Both together; the older one fades so that at most :data:`KEPT` intervals count."""
        part = min(1.0, max(KEPT - self.intervals, 0.0) / max(older.intervals, 1.0))

        def sums(mine: tuple[float, ...], theirs: tuple[float, ...]) -> tuple[float, ...]:
            return tuple(_rounded(a + part * b) for a, b in zip(mine, theirs, strict=True))

        return Pairs(
            _rounded(self.intervals + part * older.intervals),
            _rounded(self.information + part * older.information),
            sums(self.pairs, older.pairs),
            sums(self.u2, older.u2),
            sums(self.vu, older.vu),
        )

    @property
    def dispersion(self) -> Dispersion:
        """phi: the largest f over the lengths with at least 7 pairs, at least 1 (2.2)."""
        found = [
            u2 / vu
            for k, u2, vu in zip(self.pairs, self.u2, self.vu, strict=True)
            if k >= MIN_PAIRS and vu > 0.0
        ]
        return Dispersion(
            min(max(1.0, *found), MOST_PHI) if found else 1.0,
            self.information / max(self.intervals, 1.0),
            aged=True,
        )


@dataclass(frozen=True, slots=True)
class Part:
    """One series of counts: a rate, or the tail above one latency edge.

    Attributes:
        events, trials: of the version that serves after the last rollout.
        relative: pairs of candidate against baseline; ``absolute``: of the candidate alone.
        edge: the latency edge, None for rates and counts.
    """

    events: float
    trials: float
    relative: Pairs | None = None
    absolute: Pairs | None = None
    edge: float | None = None

    @property
    def rate(self) -> float:
        """Share of events; 0 without trials."""
        return self.events / self.trials if self.trials > 0.0 else 0.0

    @property
    def intervals(self) -> int:
        """Intervals behind the weaker of the two."""
        return int(min(p.intervals for p in (self.relative, self.absolute) if p is not None))


@dataclass(frozen=True, slots=True)
class MetricPast:
    """What is known of one metric's counts."""

    parts: tuple[Part, ...]

    @property
    def intervals(self) -> int:
        """Intervals behind the part that has most."""
        return max((part.intervals for part in self.parts), default=0)


def learn(plan: Plan, evidence: Evidence, *, promoted: bool) -> dict[str, MetricPast]:
    """History of every metric from one attempt's evidence.

    Args:
        plan: of the attempt.
        evidence: its last checkpoint.
        promoted: the candidate serves now; otherwise the baseline still does.
    """
    c, v = compiled(plan), views(plan, evidence)
    out: dict[str, MetricPast] = {}
    for at, metric in enumerate(plan.metrics):
        if not isinstance(metric, RatePlan | LatencyPlan | CountPlan) or plan.initial:
            continue
        parts = _parts(c, v, at, promoted=promoted)
        if parts:
            out[metric.name] = MetricPast(parts)
    return out


def _parts(c: Compiled, v: Views, at: int, *, promoted: bool) -> tuple[Part, ...]:
    own = slice(0, 2) if promoted else slice(2, 4)
    compared = {c.two[i].source for i in c.rows[at].two}
    against = {c.absolute[i].source: i for i in c.rows[at].absolute}
    found: dict[float | None, Part] = {}
    for row in c.rows[at].sources:
        edge = float(v["edge"][row]) if c.sources[row].kind == "edge" else None
        if edge in (UNSET, BELOW) or v["count"][row] < 1.0:
            continue
        events, trials = v["total"][row, own].tolist()
        made = Part(
            events, trials,
            _relative(v, row) if row in compared else None,
            _absolute(v, against[row]) if row in against else None,
            edge,
        )  # fmt: skip
        before = found.get(edge)
        if before is not None:
            made = replace(
                made, relative=made.relative or before.relative,
                absolute=made.absolute or before.absolute,
            )  # fmt: skip
        found[edge] = made
    return tuple(found[edge] for edge in sorted(found, key=lambda e: e or 0.0))


def _relative(v: Views, row: int) -> Pairs:
    return _pairs(v["count"][row], v["information"][row], v["u2"][row], v["vu"][row])


def _absolute(v: Views, row: int) -> Pairs:
    found = (v[name][row] for name in ("one_count", "one_information", "one_u2", "one_vu"))
    return _pairs(*found)


def _pairs(count: float, information: float, u2: Array, vu: Array) -> Pairs:
    return Pairs(
        float(count),
        _rounded(float(information)),
        tuple(pairs_of(np.array(count)).tolist()),
        tuple(_rounded(one) for one in u2.tolist()),
        tuple(_rounded(one) for one in vu.tolist()),
    )


def added(
    newer: Mapping[str, MetricPast], older: Mapping[str, MetricPast]
) -> dict[str, MetricPast]:
    """Both histories; what only one of them knows stays."""
    return {**older, **{name: _plus(one, older.get(name)) for name, one in newer.items()}}


def _plus(newer: MetricPast, older: MetricPast | None) -> MetricPast:
    if older is None:
        return newer
    before = {part.edge: part for part in older.parts}
    made = [_merged(part, before.pop(part.edge, None)) for part in newer.parts]
    return MetricPast((*made, *before.values())[:MOST_PARTS])


def _merged(part: Part, older: Part | None) -> Part:
    if older is None:
        return part

    def both(a: Pairs | None, b: Pairs | None) -> Pairs | None:
        return a.plus(b) if a is not None and b is not None else a

    return replace(
        part,
        relative=both(part.relative, older.relative),
        absolute=both(part.absolute, older.absolute),
    )


def with_past(metric: MetricPlan, past: MetricPast) -> MetricPlan | None:
    """The metric judged with its history; None while there is too little of it."""
    if past.intervals < ENOUGH:
        return None
    if isinstance(metric, LatencyPlan):
        return _latency(metric, past)
    part = past.parts[0]
    if isinstance(metric, CountPlan) and part.relative is not None:
        return replace(metric, history=part.relative.dispersion)
    if not isinstance(metric, RatePlan) or part.rate > 0.5:
        return None
    if (metric.relative and part.relative is None) or (metric.limit and part.absolute is None):
        return None
    return replace(
        metric,
        history=RateHistory(
            baseline_rate=part.rate,
            relative=part.relative.dispersion if part.relative else Dispersion(aged=True),
            absolute=part.absolute.dispersion if part.absolute else Dispersion(aged=True),
            intervals=past.intervals,
        ),
    )


def _latency(metric: LatencyPlan, past: MetricPast) -> LatencyPlan | None:
    """Edges and dispersions of the past; "may grow by 10 %" learns its edges anew each time.

    The margin of that rule is a ratio of the baseline's own tails, and the baseline is another.
    """
    fixed = metric.max_relative_increase is None and metric.relative
    history = tuple(
        EdgeHistory(
            edge=part.edge,
            tail=part.rate,
            relative=part.relative.dispersion if fixed and part.relative else None,
            absolute=part.absolute.dispersion if part.absolute else None,
        )
        for part in sorted(past.parts, key=lambda part: part.edge or 0.0)
        if part.edge is not None and part.intervals >= ENOUGH and (part.absolute or fixed)
    )
    edges = tuple(h.edge for h in history if h.relative is not None)
    comparable = all(
        LOWEST_TAIL <= h.tail <= HIGHEST_TAIL for h in history if h.relative is not None
    )
    if not history or not comparable or (fixed and not edges):
        return None
    return replace(metric, edges=edges, history=history)


def _rounded(value: float) -> float:
    """Six digits: history is an estimate, and is stored."""
    return float(f"{value:.6g}")
