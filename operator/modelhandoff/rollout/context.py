"""One pass's view of the world, with the names everybody uses: candidate, baseline, stable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from modelhandoff.api import names
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.hashing import bundle_hash, revision_hash
from modelhandoff.api.vocabulary import Phase
from modelhandoff.rollout.actions import Action, Collected, Event, WriteAttempt
from modelhandoff.rollout.attempt import AttemptState
from modelhandoff.rollout.snapshot import AttemptView, HandoffView, Snapshot, WorkloadView

KIND_ROLLOUT = "Rollout"
KIND_INITIAL = "Initial"
KIND_REFRESH = "Refresh"
"""Same revision under a new bundle: the rules change, no traffic moves."""


@dataclass(frozen=True, slots=True)
class RolloutSettings:
    """What the platform sets for every handoff.

    Attributes:
        drain: a candidate keeps its pods this long after its last request may have been routed.
        crash_budget: crashes of candidate pods under traffic that are borne; one more ends it.
        start_crashes: crashes before the first readiness that end an attempt.
        attempts_kept: ended attempts kept per handoff.
        summary_every: the numbers in the handoff's status are at most this old while running.
    """

    drain: timedelta = timedelta(seconds=10)
    crash_budget: int = 2
    start_crashes: int = 3
    attempts_kept: int = 10
    summary_every: timedelta = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Move:
    """What a rule wants: one action, or to wait; ``wait`` in seconds, ``None`` = for an event."""

    action: Action | None = None
    reason: str = ""
    sentence: str = ""
    wait: float | None = None
    urgent: bool = False
    stalled: bool = False
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Context:
    """A snapshot with everything that follows from it, computed when asked for."""

    snapshot: Snapshot
    settings: RolloutSettings = field(default_factory=RolloutSettings)
    collected: Collected | None = None

    @property
    def now(self) -> datetime:
        """The pass's clock."""
        return self.snapshot.now

    @property
    def handoff(self) -> HandoffView:
        """The handoff."""
        return self.snapshot.handoff

    @cached_property
    def attempt(self) -> AttemptView | None:
        """The newest attempt of this handoff.

        Of two with one ordinal (made on a stale reading) one that has not ended comes first:
        it may have weight.
        """
        own = [a for a in self.snapshot.attempts if a.handoff_uid == self.handoff.uid]
        return max(own, key=_age, default=None)

    @cached_property
    def state(self) -> AttemptState:
        """The newest attempt's status."""
        return AttemptState.from_status(self.attempt.status) if self.attempt else AttemptState()

    @property
    def active(self) -> bool:
        """Whether an attempt is under way."""
        return self.attempt is not None and not self.state.phase.terminal

    @cached_property
    def bundle(self) -> str:
        """Bundle hash of what the user wrote now."""
        return bundle_hash(self.handoff.raw_spec)

    @cached_property
    def revision(self) -> str:
        """Revision hash of what the user wrote now."""
        return revision_hash(self.handoff.raw_spec)

    @cached_property
    def spec(self) -> ModelHandoffSpec:
        """The running attempt's frozen spec; without one, the handoff's own."""
        if self.attempt is not None:
            return self.attempt.spec
        if self.handoff.spec is None:
            raise ValueError("an invalid spec reached a rule that needs one")
        return self.handoff.spec

    @cached_property
    def stable(self) -> WorkloadView | None:
        """The revision that was last promoted; of two marked ones the later (mid-promotion)."""
        marked = [
            w for w in self.snapshot.workloads.values() if w.stable and w.managed and not w.deleting
        ]
        return max(
            marked, key=lambda w: (w.promoted_at is not None, w.promoted_at, w.name), default=None
        )

    @cached_property
    def adopted(self) -> WorkloadView | None:
        """The Deployment that the spec names as first baseline, if it exists."""
        spec = self.attempt.spec if self.attempt else self.handoff.spec
        if spec is None or spec.baseline is None or spec.baseline.workload_ref is None:
            return None
        found = self.snapshot.workloads.get(spec.baseline.workload_ref.name)
        return None if found is None or found.managed or found.deleting else found

    @cached_property
    def candidate_name(self) -> str:
        """Deployment and Service of the attempt's revision."""
        if self.attempt is None:
            raise ValueError("no attempt, no candidate")
        return names.workload_name(self.handoff.name, self.attempt.revision)

    @cached_property
    def candidate(self) -> WorkloadView | None:
        """The attempt's Deployment, if it exists."""
        found = self.snapshot.workloads.get(self.candidate_name) if self.attempt else None
        return None if found is None or found.deleting else found

    @cached_property
    def baseline(self) -> WorkloadView | None:
        """What serves beside the candidate: the stable revision, or the adopted Deployment."""
        marked = [
            w
            for w in self.snapshot.workloads.values()
            if w.stable
            and w.managed
            and not w.deleting
            and not (self.attempt and w.name == self.candidate_name)
        ]
        newest = max(
            marked, key=lambda w: (w.promoted_at is not None, w.promoted_at, w.name), default=None
        )
        return newest or self.adopted

    @property
    def model(self) -> str:
        """The candidate as people call it: name and version."""
        model = self.spec.candidate.model
        return f"{model.name} {model.version}"

    def service_of(self, workload: WorkloadView) -> str:
        """The Service in front of a Deployment that the route refers to."""
        return workload.name if workload.managed else f"{self.handoff.name}-baseline"

    @property
    def candidate_weight(self) -> int:
        """Percent of the traffic that the route now sends to the candidate."""
        route = self.snapshot.route
        return 0 if route is None or self.attempt is None else self.share(self.candidate_name)

    def share(self, service: str) -> int:
        """Percent of the traffic that the route now sends to ``service``."""
        backends: Mapping[str, int] = self.snapshot.route.backends if self.snapshot.route else {}
        total = sum(backends.values())
        return round(100 * backends.get(service, 0) / total) if total else 0

    def write(self, state: AttemptState, **extra: Any) -> WriteAttempt:
        """The write that stores ``state``, resting on the attempt as it was read."""
        if self.attempt is None:
            raise ValueError("no attempt to write")
        return WriteAttempt(
            self.attempt.name, self.attempt.resource_version, {**state.to_status(), **extra}
        )

    def left(self, since: datetime | None, budget: timedelta) -> float:
        """Seconds left of ``budget`` counted from ``since``; at most 0 when it is over."""
        if since is None:
            return budget.total_seconds()
        return (since + budget - self.now).total_seconds()


def _age(attempt: AttemptView) -> tuple[int, bool, bool, str]:
    phase = Phase(attempt.status.get("phase") or Phase.PENDING)
    return attempt.ordinal, not phase.terminal, phase is not Phase.PENDING, attempt.name
