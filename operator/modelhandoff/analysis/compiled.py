"""A plan turned into arrays: which counts are read, which tests run on them, who they speak for.

Vocabulary: a *source* is one series of counts (events and trials of both arms, e.g. failures, or
requests above one latency edge); a *two-arm test* compares the arms of a source (kernel), an
*absolute test* compares the candidate with a fixed rate; a *component* is one e-value; a metric's
e-value is a weighted mean of components.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis.banks import Banks
from modelhandoff.analysis.dispersion import BIN_LENGTHS, LENGTHS
from modelhandoff.analysis.kernel import (
    ABSOLUTE_HARM,
    ABSOLUTE_SAFE,
    GRID,
    HARM,
    LN_GRID,
    NOTHING,
    SAFE,
)
from modelhandoff.analysis.layout import Layout
from modelhandoff.analysis.plan import (
    CATASTROPHE_SHARE,
    CountPlan,
    Dispersion,
    DriftPlan,
    EdgeHistory,
    FairnessPlan,
    Feature,
    LatencyPlan,
    MeanPlan,
    Plan,
    RatePlan,
    Role,
)

__all__ = ["RING", "Compiled", "Source", "SourceKind", "compiled"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]

RING: Final = 64
AUTO_EDGES: Final = 3
HISTOGRAM_SLOTS: Final = 160
UNSET: Final = -2.0
BELOW: Final = -1.0
NO_HISTORY_RATIO: Final = 1.5
NO_HISTORY_SAFE: Final = 1.75
SPLIT_BETS: Final = 5
WINDOWS: Final = 3
MAX_STARTS: Final = 12

SourceKind = str


@dataclass(frozen=True, slots=True)
class Source:
    """One series of counts: ``rate`` or ``count`` by key, or ``edge`` = tail above one edge."""

    key: str
    kind: SourceKind
    metric: int
    relative: Dispersion | None = None
    half: bool = False


@dataclass(frozen=True, slots=True)
class TwoArm:
    """Parameters of one two-arm test; ``down`` = a drop is harm (counts)."""

    source: int
    metric: int
    ratio: float
    safe_ratio: float
    delta: float
    delta_safe: float
    auto_delta: bool = False
    harm: bool = True
    safe: bool = False
    down: bool = False
    catastrophe: bool = False
    decided: bool = False
    guard: bool = True


@dataclass(frozen=True, slots=True)
class Absolute:
    """Parameters of one absolute test: P(event) <= limit."""

    source: int
    metric: int
    limit: float
    history: Dispersion | None
    harm: bool = True
    safe: bool = True


@dataclass(frozen=True, slots=True)
class Latency:
    """Where the edges of one latency metric live: budget brackets and relative sources."""

    metric: int
    plan: LatencyPlan
    high: int
    low: int
    relative: tuple[int, ...]
    auto: bool


@dataclass(frozen=True, slots=True)
class Series:
    """One paired-mean contrast: harm and safe multipliers of ``mu_c - M mu_b``."""

    metric: int
    key: str
    plan: MeanPlan | FairnessPlan
    other: str = ""


@dataclass(frozen=True, slots=True)
class Component:
    """One e-value of a metric: bank and row, and its share in the metric's mean."""

    bank: str
    row: int
    share: float


@dataclass(frozen=True, slots=True)
class MetricRows:
    """Where one metric lives in the banks."""

    two: list[int]
    absolute: list[int]
    drift: list[int]
    series: list[int]
    sources: list[int]


@dataclass
class Compiled:
    """Everything :func:`~.evidence.observe` needs, computed once per plan."""

    plan: Plan
    sources: list[Source] = field(default_factory=list)
    two: list[TwoArm] = field(default_factory=list)
    absolute: list[Absolute] = field(default_factory=list)
    latency: list[Latency] = field(default_factory=list)
    drift: list[tuple[int, Feature, DriftPlan]] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    components: list[list[Component]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for at, metric in enumerate(self.plan.metrics):
            # Without a baseline a relative metric has no component: it decides nothing.
            self.components.append(self._metric(at, metric))
        if self.plan.split_halves and not self.plan.initial:
            judged = {t.source for t in self.two}
            for row in sorted(judged):
                one = self.sources[row]
                if one.kind != "count":
                    self.sources.append(
                        Source(one.key, one.kind, one.metric, one.relative, half=True)
                    )
                    self._halves[row] = len(self.sources) - 1

    _halves: dict[int, int] = field(default_factory=dict)

    def _metric(self, at: int, metric: object) -> list[Component]:
        if isinstance(metric, RatePlan):
            return self._rate(at, metric)
        if isinstance(metric, LatencyPlan):
            return self._latency(at, metric)
        if isinstance(metric, CountPlan):
            return self._count(at, metric)
        if isinstance(metric, DriftPlan):
            return self._drift(at, metric)
        assert isinstance(metric, MeanPlan | FairnessPlan)
        return self._mean(at, metric)

    def _source(self, one: Source) -> int:
        self.sources.append(one)
        return len(self.sources) - 1

    def _rate(self, at: int, m: RatePlan) -> list[Component]:
        history = m.history
        row = self._source(Source(m.name, "rate", at, history.relative if history else None))
        parts: list[str] = []
        slack = (m.limit / 20.0 if m.limit is not None else 0.0005) if m.delta_safe is None else (
            m.delta_safe
        )  # fmt: skip
        if m.relative and not self.plan.initial:
            ratio, safe_ratio, decided = self._margins(
                m.harm_margin, m.safe_margin or 1.5, m.known_rate, history is not None
            )
            delta = m.delta if m.delta is not None else 0.0
            if m.delta is None and m.known_rate is not None and m.known_rate < 0.0005:
                delta = 0.0005
            proves = m.safe_margin is not None or m.limit is None
            self.two.append(
                TwoArm(row, at, ratio, safe_ratio, delta, slack, m.delta is None, safe=proves,
                       decided=decided)
            )  # fmt: skip
            parts.append("two")
        if m.limit is not None:
            known = history.absolute if history else None
            self.absolute.append(Absolute(row, at, m.limit, known))
            parts.append("absolute")
        rows = {"two": len(self.two) - 1, "absolute": len(self.absolute) - 1}
        out = [Component(bank, rows[bank], 1.0 / len(parts)) for bank in parts]
        if m.catastrophe and "two" in parts and m.role in _VOTING:
            self.two.append(
                TwoArm(row, at, 5.0, 10.0, 0.05, 0.05, catastrophe=True, decided=True, guard=False)
            )
        return out

    def _margins(
        self, harm: float, safe: float, rate: float | None, history: bool
    ) -> tuple[float, float, bool]:
        """Margins at admission and whether they are final (2.2, "without history")."""
        safe = max(safe, harm * 1.05)
        if history:
            return harm, safe, True
        total = self.plan.requests_per_interval
        if rate is None or total is None:
            return harm, safe, False
        if total * self.top_weight * rate > 20.0:
            harm = max(harm, NO_HISTORY_RATIO)
            safe = max(safe, NO_HISTORY_SAFE, harm * 1.05)
        return harm, safe, True

    @property
    def top_weight(self) -> float:
        """Largest planned share below 100 %: the traffic that decides the margins."""
        below = [w for w in self.plan.steps if 0 < w < 100]
        return (max(below) if below else 50) / 100.0

    def _latency(self, at: int, m: LatencyPlan) -> list[Component]:
        known = {h.edge: h for h in m.history}
        high = low = -1
        out: list[Component] = []
        groups = (m.budget is not None) + (m.relative and not self.plan.initial)
        if m.budget is not None:
            bracket = _bracket(known, m.budget)
            high = self._source(Source(m.name, "edge", at, None))
            low = self._source(Source(m.name, "edge", at, None))
            tail = m.tail
            for row, one in ((high, bracket[1]), (low, bracket[0])):
                self.absolute.append(
                    Absolute(row, at, tail, one.absolute if one else None,
                             harm=row == high, safe=row == low)
                )  # fmt: skip
            out.append(Component("absolute", len(self.absolute) - 2, 1.0 / groups))
        rows: list[int] = []
        auto = not m.edges
        if m.relative and not self.plan.initial:
            count = AUTO_EDGES if auto else len(m.edges)
            for i in range(count):
                h = None if auto else known.get(m.edges[i])
                row = self._source(Source(m.name, "edge", at, h.relative if h else None))
                rows.append(row)
                base = h.harm_margin if h and h.harm_margin else m.harm_margin
                ratio, safe_ratio, decided = self._margins(
                    base, 1.5, h.tail if h else None, h is not None and h.relative is not None
                )
                self.two.append(
                    TwoArm(row, at, ratio, safe_ratio, 0.0, (m.tail) / 20.0,
                           decided=decided)
                )  # fmt: skip
                out.append(Component("two", len(self.two) - 1, 1.0 / (groups * count)))
        self.latency.append(Latency(at, m, high, low, tuple(rows), auto))
        return out

    def _count(self, at: int, m: CountPlan) -> list[Component]:
        if self.plan.initial:
            return []
        row = self._source(Source(m.name, "count", at, m.history))
        self.two.append(
            TwoArm(row, at, 1.0 - m.max_drop, 1.0 - 2.0 * m.max_drop, 0.0, 0.0, safe=True,
                   down=True, decided=True)
        )  # fmt: skip
        return [Component("two", len(self.two) - 1, 1.0)]

    def _drift(self, at: int, m: DriftPlan) -> list[Component]:
        total = math.fsum(f.weight for f in m.features)
        out = []
        for feature in m.features:
            if self.plan.initial and not feature.reference:
                continue
            self.drift.append((at, feature, m))
            out.append(Component("drift", len(self.drift) - 1, feature.weight / total))
        return out

    def _mean(self, at: int, m: MeanPlan | FairnessPlan) -> list[Component]:
        if isinstance(m, MeanPlan):
            if self.plan.initial:
                return []
            self.series.append(Series(at, m.name, m))
            return [Component("series", len(self.series) - 1, 1.0)]
        if m.against_baseline and self.plan.initial:
            return []
        if m.against_baseline:
            for name in (m.reference, *m.groups):
                self.series.append(Series(at, f"{m.name}/{name}", m))
        else:
            for name in m.groups:
                self.series.append(Series(at, f"{m.name}/{name}", m, f"{m.name}/{m.reference}"))
        first = len(self.series) - len(m.groups)
        return [Component("gap", first + i, 1.0 / len(m.groups)) for i in range(len(m.groups))]

    @cached_property
    def rows(self) -> list["MetricRows"]:
        """Rows of every bank by metric."""
        return [
            MetricRows(
                two=[i for i, t in enumerate(self.two) if t.metric == at],
                absolute=[i for i, t in enumerate(self.absolute) if t.metric == at],
                drift=[i for i, d in enumerate(self.drift) if d[0] == at],
                series=[i for i, s in enumerate(self.series) if s.metric == at],
                sources=[i for i, s in enumerate(self.sources) if s.metric == at and not s.half],
            )
            for at in range(len(self.plan.metrics))
        ]

    # --- arrays ---------------------------------------------------------------------------------

    @cached_property
    def size(self) -> int:
        """Number of sources, halves included."""
        return len(self.sources)

    @cached_property
    def half_row(self) -> Index:
        """Row of the half series of each source, or -1."""
        out = np.full(self.size, -1, dtype=np.intp)
        for row, half in self._halves.items():
            out[row] = half
        return out

    @cached_property
    def history_phi(self) -> Array:
        """phi_hist per source; 0 where there is no history."""
        return np.array([s.relative.phi if s.relative else 0.0 for s in self.sources])

    @cached_property
    def history_aged(self) -> NDArray[np.bool_]:
        """Per source: history that may be out of date, or none."""
        return np.array([not _fresh(s.relative) for s in self.sources], dtype=bool)

    @cached_property
    def history_information(self) -> Array:
        """Information behind phi_hist per source; 0 = do not scale."""
        return np.array([s.relative.information if s.relative else 0.0 for s in self.sources])

    def _cap(self, share: float) -> float:
        """One third of c: no bet may decide in fewer than three intervals (2.2)."""
        return (math.log(1.0 / (share * self.plan.harm_level)) + math.log(2.0) + LN_GRID) / 3.0

    def share(self, metric: int) -> float:
        """Weight of a metric in the combined evidence (1 for those that have no vote)."""
        return self.plan.weights[metric] or 1.0

    @cached_property
    def two_arrays(self) -> dict[str, Array]:
        """Constant arrays of the two-arm bank, one row per test."""
        rows = self.two
        up = np.array([[not t.down] for t in rows], dtype=bool).reshape(len(rows), 1)
        harm, safe = np.where(up, HARM, 1.0 / HARM), np.where(up, SAFE, 1.0 / SAFE)
        caps = [
            self._cap(CATASTROPHE_SHARE if t.catastrophe else self.share(t.metric)) for t in rows
        ]
        known = np.array([_fresh(self.sources[t.source].relative) for t in rows], dtype=bool)
        always = np.array([t.catastrophe for t in rows], dtype=bool) | known
        large = np.abs(np.log(harm)) >= math.log(4.0)
        return {
            "bets": np.concatenate((harm, safe), axis=1),
            "cap": np.array(caps).reshape(-1, 1),
            "full_cap": always[:, None] | large,
            "delta_safe": np.array([t.delta_safe for t in rows]),
        }

    @cached_property
    def two_source(self) -> Index:
        """Source row of each two-arm test."""
        return np.array([t.source for t in self.two], dtype=np.intp)

    @cached_property
    def catastrophes(self) -> Index:
        """Rows of the two-arm bank that are catastrophe processes."""
        return np.array([i for i, t in enumerate(self.two) if t.catastrophe], dtype=np.intp)

    @cached_property
    def absolute_source(self) -> Index:
        """Source row of each absolute test."""
        return np.array([t.source for t in self.absolute], dtype=np.intp)

    @cached_property
    def absolute_arrays(self) -> dict[str, NDArray[Any]]:
        """Constant arrays of the absolute bank, one row per test."""
        rows = self.absolute
        limit = np.array([t.limit for t in rows]).reshape(-1, 1)
        bets = np.broadcast_to(np.concatenate((ABSOLUTE_HARM, ABSOLUTE_SAFE)), (len(rows), 12))
        return {
            "limit": limit[:, 0],
            "per_event": np.log(bets),
            "per_trial": -np.log1p(limit * (bets - 1.0)),
            "cap": np.array([self._cap(self.share(t.metric)) for t in rows]).reshape(-1, 1),
            "full_cap": np.array([[_fresh(t.history)] for t in rows], dtype=bool).reshape(
                len(rows), 1
            )
            | (ABSOLUTE_HARM >= 3.0),
            "ignored": np.array(
                [[bool(t.history and t.history.periodic)] for t in rows], dtype=bool
            ).reshape(len(rows), 1)
            & (np.array(LENGTHS) > 8),
            # Only a harm test that can roll back needs an excuse; others just inform.
            "decides": np.array([t.harm for t in rows], dtype=bool),
            "phi": np.array([t.history.phi if t.history else 0.0 for t in rows]),
            "aged": np.array([not _fresh(t.history) for t in rows], dtype=bool),
            "information": np.array([t.history.information if t.history else 0.0 for t in rows]),
        }

    @cached_property
    def banks(self) -> Banks:
        """All of the above as they are advanced, alone or beside other plans."""
        horizon, initial = float(self.plan.planned_looks), self.plan.initial
        return Banks(
            initial=np.full(self.size, initial),
            phi=self.history_phi,
            information=self.history_information,
            aged=self.history_aged,
            half=self.half_row,
            two_source=self.two_source,
            two_horizon=np.full(len(self.two), horizon),
            two=self.two_arrays,
            one_source=self.absolute_source,
            one_horizon=np.full(len(self.absolute), horizon),
            one=self.absolute_arrays,
            excusable=self.absolute_arrays["decides"] & (not initial),
        )

    @cached_property
    def starts(self) -> tuple[int, int]:
        """Drift: (looks between starts, number of starts) from the planned run."""
        horizon = self.plan.planned_looks
        step = max(30, math.ceil(horizon / MAX_STARTS))
        return step, max(1, min(MAX_STARTS, math.ceil(horizon / step)))

    @cached_property
    def layout(self) -> Layout:
        """The cut of the state vector."""
        out = Layout()
        s, two, one = self.size, len(self.two), len(self.absolute)
        metrics, steps = len(self.plan.metrics), len(self.plan.steps) + 1
        out.add("clock", (5,))  # looks, log of the largest combined e, clock, step, present since
        out.add("present", (RING, metrics + 1))
        out.add("ring", (5, s, RING), parts=5)  # x_c, n_c, x_b, n_b, look
        out.add("count", (s,))
        out.add("u2", (s, len(LENGTHS)))
        out.add("vu", (s, len(LENGTHS)))
        out.add("total", (s, 4))
        out.add("steps", (steps, s, 4))
        out.add("information", (s,))
        out.add("edge", (s,), UNSET)
        out.add("two_count", (two,))
        out.add("two_harm", (two, GRID), NOTHING)
        out.add("two_safe", (two, GRID))
        out.add("two_margin", (two, 4))  # ratio, safe ratio, delta, decided
        out.add("one_count", (one,))
        out.add("one_harm", (one, GRID), NOTHING)
        out.add("one_safe", (one, GRID))
        out.add("one_block", (one, len(LENGTHS), 4))
        out.add("one_u2", (one, len(LENGTHS)))
        out.add("one_vu", (one, len(LENGTHS)))
        out.add("one_trials", (one,))
        out.add("one_information", (one,))
        out.add("one_excused", (one,))
        for i, lat in enumerate(self.latency):
            if lat.auto and lat.relative:
                out.add(f"tails_{i}", (HISTOGRAM_SLOTS + 1,))
        for i, (_, feature, m) in enumerate(self.drift):
            self._drift_layout(out, i, feature, m)
        p = len(self.series)
        out.add("mean", (p, 12))
        out.add("mean_block", (p, len(BIN_LENGTHS), 6))
        out.add("mean_pairs", (p, len(BIN_LENGTHS), 3))
        out.add("mean_window", (p, WINDOWS, 5))
        out.add("mean_v", (p, 2))
        out.add("split", (4,))  # step, looks, largest log e, spare
        out.add("split_bets", (2, SPLIT_BETS))
        out.add("split_block", (len(LENGTHS), 4))
        out.add("split_u2", (len(LENGTHS),))
        out.add("split_vu", (len(LENGTHS),))
        return out

    def _drift_layout(self, out: Layout, i: int, feature: Feature, m: DriftPlan) -> None:
        width = 2 * feature.judged + 3
        out.add(f"drift_sum_{i}", (self.starts[1], width))
        out.add(f"drift_window_{i}", (WINDOWS, width + 2))
        out.add(f"drift_block_{i}", (len(BIN_LENGTHS), 2, 2 * feature.judged + 1))
        out.add(f"drift_pairs_{i}", (len(BIN_LENGTHS), 2))
        out.add(f"drift_state_{i}", (4,))  # intervals, planned s, sustained looks, judged bins
        if not feature.reference and not feature.groups:
            out.add(f"drift_groups_{i}", (feature.judged,))
        if m.sustained is not None:
            out.add(f"drift_hours_{i}", (m.sustained.windows + 1, width))

    def start(self) -> Array:
        """The state before the first interval."""
        vector = self.layout.fresh()
        v = self.layout.views(vector)
        for i, t in enumerate(self.two):
            v["two_margin"][i] = (t.ratio, t.safe_ratio, t.delta, float(t.decided))
        for lat in self.latency:
            if not lat.auto:
                for row, edge in zip(lat.relative, lat.plan.edges, strict=True):
                    v["edge"][row] = edge
        for i, (_, feature, _) in enumerate(self.drift):
            if feature.reference or feature.groups:
                v[f"drift_state_{i}"][3] = feature.judged
        v["clock"][3] = -1.0
        v["split"][0] = -1.0
        return vector


_VOTING: Final = (Role.Guardrail, Role.Success, Role.Watch)


def _fresh(history: Dispersion | None) -> bool:
    """Whether the caution of first use may be laid down: the noise of the last hours is known."""
    return history is not None and not history.aged


def _bracket(
    known: dict[float, EdgeHistory], budget: float
) -> tuple[EdgeHistory | None, EdgeHistory | None]:
    below: Sequence[float] = [e for e in known if e <= budget]
    above = [e for e in known if e >= budget]
    low = known[max(below)] if below else None
    return low, known[min(above)] if above else None


def compiled(plan: Plan) -> Compiled:
    """The compiled plan, made once and kept on the plan itself."""
    found = plan.__dict__.get("_compiled")
    if found is None:
        found = Compiled(plan)
        plan.__dict__["_compiled"] = found
    assert isinstance(found, Compiled)
    return found
