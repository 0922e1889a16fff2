"""The rollout: route, capacity, warm-up, steps and the rule that decides."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Annotated

from pydantic import Field, StringConstraints

from modelhandoff.api.base import SpecModel, Word
from modelhandoff.api.cel import Rule, positive
from modelhandoff.api.quantities import (
    HINT,
    Duration,
    ListOf,
    LongText,
    ObjectName,
    UrlPath,
)


class CapacityMode(Word):
    """Where the candidate's room comes from."""

    SURGE = "Surge"


class OnShortage(Word):
    """What to do when there is no room for the candidate."""

    WAIT = "Wait"
    ABORT = "Abort"


class OnInconclusive(Word):
    """What to do when maxDuration ends without a verdict."""

    HOLD = "Hold"
    EXTEND = "Extend"
    ROLLBACK = "Rollback"


class Promotion(Word):
    """Who gives the last word once all proofs are there."""

    AUTO = "Auto"
    MANUAL = "Manual"


class Initial(Word):
    """What to do when nothing is stable yet."""

    DIRECT = "Direct"
    REQUIRE_BASELINE = "RequireBaseline"


class PathMatchType(Word):
    """How a path is compared."""

    PATH_PREFIX = "PathPrefix"
    EXACT = "Exact"


class GatewayRef(SpecModel):
    """The gateway that traffic comes through."""

    name: ObjectName
    """Name of the Gateway."""
    namespace: ObjectName | None = None
    """Its namespace; the handoff's own when not set."""
    section_name: ObjectName | None = None
    """The listener; every listener that allows it when not set."""


class PathMatch(SpecModel):
    """A path and how it is compared."""

    type: PathMatchType = PathMatchType.PATH_PREFIX
    """PathPrefix compares whole path elements, Exact the whole path."""
    value: UrlPath
    """The path."""


class RouteMatch(SpecModel):
    """Requests that belong to this handoff."""

    path: PathMatch
    """The path of the request."""


def _every_path() -> tuple[RouteMatch, ...]:
    return (RouteMatch.model_validate({"path": {"value": "/"}}),)


class Route(SpecModel):
    """How traffic reaches the two versions."""

    gateway: GatewayRef
    """The gateway; the operator owns an HTTPRoute on it, named like the handoff."""
    hostnames: Annotated[
        tuple[
            Annotated[
                str,
                StringConstraints(
                    pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
                    max_length=253,
                ),
                Field(json_schema_extra={HINT: "a lower-case host name, or *. and one"}),
            ],
            ...,
        ],
        ListOf(16, unique=True),
    ] = ()
    """Host names of the requests; every one that the listener allows when not set."""
    matches: Annotated[tuple[RouteMatch, ...], ListOf(8, minimum=1)] = Field(
        default_factory=_every_path
    )
    """Paths of the requests; every path when not set."""


class Capacity(SpecModel):
    """Where the candidate's room comes from."""

    mode: CapacityMode = CapacityMode.SURGE
    """Surge: the candidate gets extra room, beside the whole baseline."""
    pending_deadline: Duration = timedelta(minutes=30)
    """How long a pod may wait for room; then the attempt is Inconclusive. 30m when not set."""
    on_shortage: OnShortage = OnShortage.WAIT
    """Wait until the deadline, or give up at the scheduler's first refusal."""


class Warmup(SpecModel):
    """What happens before the candidate gets its first request."""

    requests: Annotated[int, Field(ge=0, le=10_000)] = 50
    """Example requests sent to every new pod. 50 when not set, 0 for none."""
    max_duration: Duration = timedelta(minutes=10)
    """How long they may take. 10m when not set."""
    discard: Duration = timedelta(minutes=2)
    """Measurements this soon after a planned start are left out, for both versions."""


class Step(SpecModel):
    """One share of the traffic for the candidate."""

    weight: Annotated[int, Field(ge=1, le=99)]
    """Percent of the traffic, 1 to 99. 100 is implied after the last step."""
    min_duration: Duration = timedelta(minutes=10)
    """Shortest stay at this step. 10m when not set."""
    min_samples: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    """Fewest requests that the candidate must have answered at this step."""


Level = Annotated[float, Field(ge=1e-6, le=0.5)]
"""A chance to be wrong that somebody accepts."""


class Decision(SpecModel):
    """The rule that decides, with the chances of being wrong that you accept."""

    harm_level: Level = 0.01
    """Largest chance to roll back a candidate that does no harm. 0.01 when not set."""
    safe_level: Level = 0.05
    """Largest chance, per metric, to call a harmful candidate safe. 0.05 when not set."""
    harm_margin: Annotated[float, Field(ge=1, le=100)] = 1.25
    """A rate above the baseline's times this is harm. 1.25 when not set."""
    safe_margin: Annotated[float, Field(gt=1, le=100)] | None = None
    """With it a rate must also be proven below the baseline's times this, not only its limit."""
    min_looks: Annotated[int, Field(ge=1, le=10_000)] = 30
    """Fewest intervals before promotion. 30 when not set."""
    max_duration: Duration = timedelta(hours=24)
    """Longest time on live traffic without a verdict. 24h when not set."""
    on_inconclusive: OnInconclusive = OnInconclusive.HOLD
    """What to do then. Hold keeps the weight and asks people."""
    promotion: Promotion = Promotion.AUTO
    """Manual waits for a person once all proofs are there."""

    rules = (
        positive("maxDuration", "max_duration"),
        Rule(
            cel=(
                "!has(self.safeMargin)"
                " || self.safeMargin > (has(self.harmMargin) ? self.harmMargin : 1.25)"
            ),
            holds=lambda self: self.safe_margin is None or self.safe_margin > self.harm_margin,
            at="safeMargin",
            wrong="what is proven safe must lie above what is called harm",
            allowed="safeMargin > harmMargin (1.25 when not set)",
        ),
    )


class OnMetricsUnknown(SpecModel):
    """What happens while nothing is known."""

    hold_for: Duration = timedelta(minutes=10)
    """How long the weight is kept without data; then it goes to 0. 10m when not set."""


def _non_decreasing(steps: tuple[Step, ...]) -> bool:
    return all(before.weight <= after.weight for before, after in pairwise(steps))


def _fits(rollout: Rollout) -> bool:
    planned = sum((step.min_duration for step in rollout.steps), timedelta())
    return planned <= rollout.decision.max_duration


class Rollout(SpecModel):
    """How the candidate comes to production."""

    route: Route
    """How traffic reaches the two versions."""
    capacity: Capacity = Capacity()
    """Where the candidate's room comes from."""
    warmup: Warmup = Warmup()
    """What happens before the candidate gets its first request."""
    steps: Annotated[tuple[Step, ...], ListOf(20, minimum=1)]
    """Shares of the traffic, in order; 100 is implied at the end."""
    decision: Decision = Decision()
    """The rule that decides."""
    on_metrics_unknown: OnMetricsUnknown = OnMetricsUnknown()
    """What happens while nothing is known."""
    initial: Initial = Initial.DIRECT
    """What to do when nothing is stable yet: serve at once, or ask for a baseline."""
    probation: Duration | None = None
    """How long the candidate serves all traffic before it is promoted, the old version warm beside
    it, judged by the limits of ErrorRate and similar metrics and by latency budgets alone. Harm
    sends all traffic back. No probation when not set; a first version has none."""
    scale_down_delay: Duration = timedelta(minutes=30)
    """How long the old version stays warm after promotion. 30m when not set."""
    revision_history_limit: Annotated[int, Field(ge=0, le=20)] = 3
    """Old revisions kept at zero pods for a revert. 3 when not set."""
    rollback_plan: LongText | None = None
    """What people do when a rollback needs more than traffic. Recorded and signed, not executed."""

    rules = (
        positive("probation", "probation"),
        Rule(
            cel="self.steps.map(s, s.weight).isSorted()",
            holds=lambda self: _non_decreasing(self.steps),
            at="steps",
            wrong="a step has less weight than the one before",
            allowed="weights that never go down",
        ),
        Rule(
            cel=(
                "!has(self.decision) || !has(self.decision.maxDuration)"
                " || self.steps.map(s, has(s.minDuration)"
                " ? duration(s.minDuration) : duration('10m')).sum()"
                " <= duration(self.decision.maxDuration)"
            ),
            holds=_fits,
            at="decision.maxDuration",
            wrong="the steps alone take longer than maxDuration (24h when not set)",
            allowed="at least the sum of all minDuration (10m each when not set)",
        ),
    )
