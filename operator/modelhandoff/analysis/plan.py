"""The frozen description of what is judged: metrics, margins, levels, horizon.

A plan is made once per attempt and never changes; evidence carries its hash. What can never
work (a margin below the bias floor, a limit that no count can meet) is refused here, by name.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, TypeAlias

from modelhandoff.analysis.wire import WireError, decode, encode, keys, number

__all__ = [
    "CountPlan", "Direction", "Dispersion", "DriftPlan", "EdgeHistory", "FairnessPlan", "Feature",
    "LatencyPlan", "MeanPlan", "MetricPlan", "OnAlarm", "OnInconclusive", "Plan", "RateHistory",
    "RatePlan", "Role", "Sustained",
]  # fmt: skip

MAX_EDGES: Final = 6
CATASTROPHE_SHARE: Final = 0.05


class Role(StrEnum):
    """What a metric may decide."""

    Guardrail = "Guardrail"
    """Harm stops the rollout; safety must be proven before promotion."""
    Success = "Success"
    """Harm stops the rollout; the promised improvement must be proven."""
    Watch = "Watch"
    """Harm stops the rollout; nothing must be proven."""
    Quality = "Quality"
    """Harm holds promotion, never rolls back."""
    Info = "Info"
    """Shown, decides nothing."""


class Direction(StrEnum):
    """Which way is better."""

    Increase = "Increase"
    Decrease = "Decrease"


class OnInconclusive(StrEnum):
    """What happens when the longest duration ends without a verdict."""

    Hold = "Hold"
    Extend = "Extend"
    Rollback = "Rollback"


class OnAlarm(StrEnum):
    """What a sustained drift alarm does."""

    Rollback = "Rollback"
    Alert = "Alert"


@dataclass(frozen=True)
class Dispersion:
    """Over-dispersion seen in an A/A split of the baseline before the rollout (section phi_hist).

    ``phi`` >= 1; ``information`` is the mean per-interval variance behind it (m pi (1-pi) for two
    arms, n p (1-p) for one), used to scale phi when the run sees more traffic. ``periodic``: the
    history has a daily swing, so an absolute test may not use blocks of more than 8 intervals (they
    would take the swing for noise). ``aged``: seen in earlier rollouts and not in the hours before
    this one; the noise may have changed since, so the caution of first use stays beside ``phi``.
    """

    phi: float = 1.0
    information: float = 0.0
    periodic: bool = False
    aged: bool = False

    def __post_init__(self) -> None:
        number(self.phi, "phi", 1.0)
        number(self.information, "information", 0.0)


@dataclass(frozen=True)
class RateHistory:
    """What the last hours of the baseline say about one rate."""

    baseline_rate: float
    relative: Dispersion = Dispersion()
    absolute: Dispersion = Dispersion()
    intervals: int = 120

    def __post_init__(self) -> None:
        number(self.baseline_rate, "baseline_rate", 0.0, 1.0)


@dataclass(frozen=True)
class EdgeHistory:
    """What history says about the tail above one latency edge.

    ``tail``: share of the baseline's requests above the edge; ``relative`` / ``absolute``: A/A
    dispersion, None while there is none (the tail alone settles the margin at admission);
    ``harm_margin``: tail ratio that is harmless here (see :func:`~.latency.edge_margins`).
    """

    edge: float
    tail: float
    relative: Dispersion | None = None
    absolute: Dispersion | None = None
    harm_margin: float | None = None


@dataclass(frozen=True)
class RatePlan:
    """A share of failed requests (errors, timeouts, abstentions): count the rarer outcome.

    Attributes:
        name: key of the metric in ``Interval.metrics`` (a :class:`~.intervals.Rate`).
        role: what it may decide.
        critical: weighs three times in the combined evidence.
        limit: absolute limit of the rate (0.01 = 1 %), or None.
        relative: compare with the baseline (needs one).
        harm_margin: candidate <= margin x baseline is harmless.
        safe_margin: prove candidate < margin x baseline + delta_safe; None = 1.5 when there is no
            absolute limit, no relative proof otherwise.
        delta: absolute slack of the harm test; None = 0, or 0.0005 for a baseline rate < 0.0005.
        delta_safe: absolute slack of the proof; None = limit / 20, or 0.0005.
        catastrophe: also run the fast process (5 x baseline + 5 points) that judges in warm-up.
        baseline_rate: known baseline rate (decides margins at admission), or None.
        history: A/A history; None = first use (wider margins where noise needs it).
    """

    name: str
    role: Role = Role.Guardrail
    critical: bool = False
    limit: float | None = None
    relative: bool = True
    harm_margin: float = 1.25
    safe_margin: float | None = None
    delta: float | None = None
    delta_safe: float | None = None
    catastrophe: bool = True
    baseline_rate: float | None = None
    history: RateHistory | None = None

    def __post_init__(self) -> None:
        if self.limit is not None:
            number(self.limit, "limit", 1e-6, 0.5)
        elif not self.relative:
            raise WireError("limit", "a limit, or relative: true", None)
        number(self.harm_margin, "harm_margin", 1.0, 100.0)
        if self.safe_margin is not None and not self.safe_margin > self.harm_margin:
            raise WireError("safe_margin", f"more than harm_margin {self.harm_margin:g}",
                            self.safe_margin)  # fmt: skip
        for name in ("delta", "delta_safe"):
            value = getattr(self, name)
            if value is not None:
                number(value, name, 0.0, 1.0)
        rate = self.known_rate
        if rate is not None and rate > 0.5:
            raise WireError("baseline_rate", "at most 0.5: declare the complement", rate)

    @property
    def known_rate(self) -> float | None:
        """The baseline rate known before the rollout, if any."""
        return self.history.baseline_rate if self.history is not None else self.baseline_rate


@dataclass(frozen=True)
class LatencyPlan:
    """A latency budget at a quantile, judged by counts above bucket edges.

    Attributes:
        name: key in ``Interval.metrics`` (a :class:`~.intervals.Histogram`).
        quantile: e.g. 0.95.
        budget: in the unit of the edges, or None for the relative test alone.
        relative: compare tails with the baseline at ``edges``.
        harm_margin: tail ratio that is harmless at every edge.
        max_relative_increase: "may grow by 10 %" (0.1): per-edge margins come from the baseline's
            own tail curve; replaces ``harm_margin``.
        edges: edges of the relative test chosen before the rollout from the history; empty = the
            engine chooses them from the first 10 baseline intervals.
        history: per edge, for the edges above and the two around the budget.
        unit: unit of budget and edges, for messages.
    """

    name: str
    quantile: float
    budget: float | None = None
    role: Role = Role.Guardrail
    critical: bool = False
    relative: bool = True
    harm_margin: float = 1.25
    max_relative_increase: float | None = None
    edges: tuple[float, ...] = ()
    history: tuple[EdgeHistory, ...] = ()
    unit: str = "s"

    def __post_init__(self) -> None:
        number(self.quantile, "quantile", 0.5, 0.9999)
        if self.budget is not None:
            number(self.budget, "budget", 0.0)
        elif not self.relative:
            raise WireError("budget", "a budget, or relative: true", None)
        number(self.harm_margin, "harm_margin", 1.0, 100.0)
        if self.max_relative_increase is not None:
            number(self.max_relative_increase, "max_relative_increase", 0.01, 10.0)
        if len(self.edges) > MAX_EDGES:
            raise WireError("edges", f"at most {MAX_EDGES} edges", self.edges)

    @property
    def tail(self) -> float:
        """Tolerated share above the budget, without the rounding of ``1 - 0.95``."""
        return round(1.0 - self.quantile, 12)


@dataclass(frozen=True)
class Sustained:
    """KL above the limit for a day: windows of fixed length, all judged on the bias-free KL."""

    max_kl: float = 0.2
    window_looks: int = 120
    windows: int = 24
    action: OnAlarm = OnAlarm.Alert


@dataclass(frozen=True)
class Feature:
    """One histogram of a drift metric.

    Attributes:
        key: key in ``Interval.metrics`` (a :class:`~.intervals.Bins`).
        bins: number of raw bins K.
        groups: raw bin -> judged bin, from :func:`~.drift.merge_bins`; empty = as they are.
        reference: shares of the judged bins in training; empty = compare with the live baseline.
        weight: weight of this feature inside the metric.
    """

    key: str
    bins: int
    groups: tuple[int, ...] = ()
    reference: tuple[float, ...] = ()
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.groups and len(self.groups) != self.bins:
            raise WireError("groups", f"{self.bins} entries, one per raw bin", self.groups)
        if self.groups and sorted(set(self.groups)) != list(range(self.judged)):
            raise WireError("groups", "judged bins numbered from 0 without holes", self.groups)
        if not 2 <= self.judged <= 64:
            raise WireError("bins", "2 to 64 judged bins (best 5 to 50)", self.judged)
        if self.reference:
            if len(self.reference) != self.judged:
                raise WireError("reference", f"{self.judged} shares", self.reference)
            for i, q in enumerate(self.reference):
                number(q, f"reference[{i}]", 0.001, 1.0)
            if abs(sum(self.reference) - 1.0) > 1e-6:
                raise WireError("reference", "shares that sum to 1", sum(self.reference))
        number(self.weight, "weight", 1e-6)

    @property
    def judged(self) -> int:
        """Number of judged bins."""
        return max(self.groups) + 1 if self.groups else self.bins


@dataclass(frozen=True)
class DriftPlan:
    """Drift of one or many histograms as one metric; the margin is a bias-corrected KL."""

    name: str
    features: tuple[Feature, ...]
    max_kl: float = 0.1
    role: Role = Role.Guardrail
    critical: bool = False
    phi_history: float = 1.0
    sustained: Sustained | None = None

    def __post_init__(self) -> None:
        number(self.max_kl, "max_kl", 1e-4, 10.0)
        number(self.phi_history, "phi_history", 1.0)
        if not self.features:
            raise WireError("features", "at least one feature", ())
        if len({f.key for f in self.features}) != len(self.features):
            raise WireError("features", "distinct keys", [f.key for f in self.features])


@dataclass(frozen=True)
class MeanPlan:
    """A mean per arm (score, revenue per request) compared by interval pairs.

    Attributes:
        max_regression: tolerated relative loss (0.05 = 5 %).
        min_lift: promised relative gain (role Success), or None.
        direction: which way is better.
        min_observations: per arm, before anything is judged.
        min_intervals: 10; 30 when one user makes many requests.
    """

    name: str
    max_regression: float = 0.05
    min_lift: float | None = None
    direction: Direction = Direction.Increase
    role: Role = Role.Guardrail
    critical: bool = False
    min_observations: int = 500
    min_intervals: int = 10

    def __post_init__(self) -> None:
        number(self.max_regression, "max_regression", 1e-4, 0.99)
        if self.min_lift is not None:
            number(self.min_lift, "min_lift", 0.0, 10.0)
        if self.role is Role.Success and self.min_lift is None:
            raise WireError("min_lift", "a promised lift for role Success", None)


@dataclass(frozen=True)
class CountPlan:
    """Events per exposure (conversions, successful predictions); harm is a drop.

    Needs that all traffic passes the route; where that is not known use role Info.
    """

    name: str
    max_drop: float = 0.1
    role: Role = Role.Watch
    critical: bool = False
    history: Dispersion | None = None

    def __post_init__(self) -> None:
        number(self.max_drop, "max_drop", 0.01, 0.49)


@dataclass(frozen=True)
class FairnessPlan:
    """Gap between groups and the largest group, as a difference of differences to the baseline.

    Each group g has a :class:`~.intervals.Moments` or :class:`~.intervals.Rate` under the key
    ``name/g``; ``reference`` is the largest group.
    """

    name: str
    groups: tuple[str, ...]
    reference: str
    max_gap: float = 0.05
    against_baseline: bool = True
    role: Role = Role.Watch
    critical: bool = False
    min_observations: int = 500

    def __post_init__(self) -> None:
        number(self.max_gap, "max_gap", 1e-6)
        if self.reference in self.groups or not self.groups:
            raise WireError("groups", "at least one group besides the reference", self.groups)


MetricPlan: TypeAlias = RatePlan | LatencyPlan | DriftPlan | MeanPlan | CountPlan | FairnessPlan

_KINDS: Final[dict[str, type[Any]]] = {
    "rate": RatePlan, "latency": LatencyPlan, "drift": DriftPlan,
    "mean": MeanPlan, "count": CountPlan, "fairness": FairnessPlan,
}  # fmt: skip
_TAGS: Final = {kind: tag for tag, kind in _KINDS.items()}


@dataclass(frozen=True)
class Plan:
    """Everything a verdict depends on besides the data.

    Attributes:
        metrics: at least one.
        harm_level: bound on the chance of rolling back a harmless candidate, over the whole
            rollout and all metrics.
        safe_level: bound per guardrail on the chance of a wrong safety proof.
        success_level: the same for promised improvements.
        min_looks: judged intervals before promotion, per attempt and per step.
        planned_looks: horizon H of the run in looks; validity does not depend on it.
        interval_seconds: length of one look.
        steps: planned weights in percent, rising; 100 is implied at the end.
        no_data_seconds: budget of silence before the weight goes to 0.
        on_inconclusive: what the end of the longest duration means.
        initial: no baseline serves: absolute metrics alone decide.
        check_split: test the observed traffic share against the planned weight.
        split_halves: intervals carry two halves of the baseline for the split dispersion.
        requests_per_interval: expected requests of both arms in one look, or None.
    """

    metrics: tuple[MetricPlan, ...]
    harm_level: float = 0.01
    safe_level: float = 0.05
    success_level: float = 0.05
    min_looks: int = 30
    planned_looks: int = 240
    interval_seconds: float = 30.0
    steps: tuple[int, ...] = (10,)
    no_data_seconds: float = 600.0
    on_inconclusive: OnInconclusive = OnInconclusive.Hold
    initial: bool = False
    check_split: bool = True
    split_halves: bool = False
    requests_per_interval: float | None = None

    def __post_init__(self) -> None:
        if not self.metrics:
            raise WireError("metrics", "at least one metric", ())
        names = [m.name for m in self.metrics]
        if len(set(names)) != len(names):
            raise WireError("metrics", "distinct names", names)
        for name in ("harm_level", "safe_level", "success_level"):
            number(getattr(self, name), name, 1e-6, 0.5)
        number(self.interval_seconds, "interval_seconds", 0.001)
        if self.min_looks < 1:
            raise WireError("min_looks", "at least 1", self.min_looks)
        if self.planned_looks < max(2, self.min_looks):
            wanted = f"at least min_looks ({self.min_looks}) and 2"
            raise WireError("planned_looks", wanted, self.planned_looks)
        if not self.steps or any(not 0 <= w <= 100 for w in self.steps):
            raise WireError("steps", "weights of 0 to 100 percent", self.steps)

    @cached_property
    def has_history(self) -> bool:
        """Whether every metric that can use A/A history has it."""
        return all(_has_history(m) for m in self.metrics)

    @cached_property
    def weights(self) -> tuple[float, ...]:
        """Share of each metric in the combined harm evidence (0 for Quality and Info).

        Equal, critical metrics three times; the catastrophe process takes a fixed 5 % when a
        metric feeds it; all shares together are at most 1, which is what bounds false rollbacks.
        """
        voting = (Role.Guardrail, Role.Success, Role.Watch)
        raw = [
            (3.0 if m.critical else 1.0) if m.role in voting and self._can_judge(m) else 0.0
            for m in self.metrics
        ]
        total = math.fsum(raw)
        left = 1.0 - (CATASTROPHE_SHARE if self.has_catastrophe else 0.0)
        return tuple(left * r / total if total else 0.0 for r in raw)

    def _can_judge(self, metric: MetricPlan) -> bool:
        """Whether the metric says anything at all; without a baseline only absolute ones do."""
        if not self.initial:
            return True
        if isinstance(metric, RatePlan):
            return metric.limit is not None
        if isinstance(metric, LatencyPlan):
            return metric.budget is not None
        if isinstance(metric, DriftPlan):
            return any(f.reference for f in metric.features)
        return isinstance(metric, FairnessPlan) and not metric.against_baseline

    @cached_property
    def has_catastrophe(self) -> bool:
        """Whether some voting rate feeds the catastrophe process."""
        voting = (Role.Guardrail, Role.Success, Role.Watch)
        return not self.initial and any(
            isinstance(m, RatePlan) and m.catastrophe and m.relative and m.role in voting
            for m in self.metrics
        )

    def to_json(self) -> dict[str, Any]:
        """The plan as one JSON object; defaults are left out."""
        out: dict[str, Any] = encode(self)
        out["metrics"] = [{"type": _TAGS[type(m)], **encode(m)} for m in self.metrics]
        return out

    @classmethod
    def from_json(cls, value: object) -> "Plan":
        """Read what :meth:`to_json` wrote; raises :class:`WireError` naming the path."""
        names = tuple(cls.__dataclass_fields__)
        got = dict(keys(value, "", ("metrics",), names[1:]))
        items = got.pop("metrics")
        if not isinstance(items, list | tuple):
            raise WireError("metrics", "a list", items)
        rest = decode(_Settings, got)
        made = tuple(_metric(one, f"metrics[{i}]") for i, one in enumerate(items))
        settings = {n: getattr(rest, n) for n in names[1:]}
        return cls(metrics=made, **settings)

    @cached_property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical JSON."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _has_history(metric: MetricPlan) -> bool:
    if isinstance(metric, LatencyPlan):
        return bool(metric.history) and all(h.relative is not None for h in metric.history)
    return not isinstance(metric, RatePlan | CountPlan) or metric.history is not None


def _metric(value: object, path: str) -> MetricPlan:
    if not isinstance(value, dict):
        raise WireError(path, "an object", value)
    body = dict(value)
    tag = body.pop("type", None)
    if tag not in _KINDS:
        raise WireError(f"{path}.type", "one of " + ", ".join(_KINDS), tag)
    made: MetricPlan = decode(_KINDS[tag], body, path)
    return made


@dataclass(frozen=True)
class _Settings:
    """The fields of a plan besides its metrics, for the generic decoder."""

    harm_level: float = 0.01
    safe_level: float = 0.05
    success_level: float = 0.05
    min_looks: int = 30
    planned_looks: int = 240
    interval_seconds: float = 30.0
    steps: tuple[int, ...] = (10,)
    no_data_seconds: float = 600.0
    on_inconclusive: OnInconclusive = OnInconclusive.Hold
    initial: bool = False
    check_split: bool = True
    split_halves: bool = False
    requests_per_interval: float | None = None
