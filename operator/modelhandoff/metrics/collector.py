"""What the controller asks the metrics room, and what it gets back.

One call is one look: everything that can be closed by now, or why nothing can. Three answers,
never mixed: evidence (``Closed``), too early (``NotYet``), not known (``Unknown``). An unknown
is never a zero, a pass or a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from modelhandoff.api.vocabulary import Reason
from modelhandoff.metrics.cursor import Cursor
from modelhandoff.metrics.trouble import Trouble

if TYPE_CHECKING:
    from modelhandoff.analysis.intervals import Interval
    from modelhandoff.api.monitoring import Metric

__all__ = [
    "Answer", "Arms", "Closed", "CollectRequest", "Collector", "Cursor", "Exclusion", "NotYet",
    "Segment", "Unknown",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Arms:
    """The two Deployments that are compared, by name; every pod of one is one arm."""

    candidate: str
    baseline: str | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """From ``start`` (Unix seconds) on this weight had landed on the route."""

    start: float
    step: int
    weight: int


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A planned warm-up or weight change, Unix seconds: both arms ignore what it touches."""

    start: float
    end: float
    why: str


@dataclass(frozen=True, slots=True)
class CollectRequest:
    """One handoff's question.

    Attributes:
        key: ``namespace/handoff`` or whatever names the asker; only for messages and batching.
        source: name of the metric source in the policy.
        namespace: where the pods run; always part of the query, never the tenant's choice.
        arms: the Deployments.
        metrics: what to read, resolved.
        interval: length of one interval in seconds; the grid is its absolute multiples, so that
            all handoffs of one source ask at the same times and share queries.
        lag: seconds after an interval's end before it may be closed: two scrape intervals and
            the delay of ingestion.
        schedule: landed weights in order of time. An interval that no segment covers, or that
            straddles the start of one, is excluded.
        exclusions: planned windows; decided before the values are seen.
        begin: start of the evidence clock, Unix seconds. Nothing before it counts.
        bins: by measurement key (see ``Closed.edges``) the inner bin edges fixed at admission.
            A pod that does not expose all of them leaves the measurement unknown; a key without
            an entry gets the edges that all pods expose.
    """

    key: str
    source: str
    namespace: str
    arms: Arms
    metrics: tuple[Metric, ...]
    interval: float
    lag: float
    schedule: tuple[Segment, ...]
    exclusions: tuple[Exclusion, ...] = ()
    begin: float = 0.0
    bins: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Closed:
    """New evidence. Store ``cursor`` in the same write as what is made of ``intervals``.

    Attributes:
        intervals: at least one, in order of time.
        cursor: where the next call resumes.
        warnings: one line each, for people (a pod that went silent, buckets out of order, ...).
        edges: inner bin edges behind every ``Bins`` measurement, by its key in
            ``Interval.metrics``: ``<metric>``, or ``<metric>/<output>`` for a server with several
            outputs. The last bin counts missing values where the server counts them.
    """

    intervals: tuple[Interval, ...]
    cursor: Cursor
    warnings: tuple[str, ...] = ()
    edges: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotYet:
    """The next interval closes at ``until`` (Unix seconds)."""

    until: float


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing could be learned; the stored cursor stays as it is.

    Attributes:
        reason: what status and events say, one of ``Metrics*``.
        message: one line with numbers and the query.
        trouble: the exact kind of failure.
        retry_at: Unix seconds; an earlier call gets the same answer without asking again.
    """

    reason: Reason
    message: str
    trouble: Trouble
    retry_at: float


Answer: TypeAlias = Closed | NotYet | Unknown


class Collector(Protocol):
    """A metric backend as the controller sees it. Safe to call from many tasks at once."""

    async def collect(self, request: CollectRequest, cursor: Cursor | None, now: float) -> Answer:
        """Close what can be closed at ``now`` (Unix seconds) after ``cursor``; never raises."""
        ...
