"""HandoffAttempt: one try to bring one frozen bundle to production. The audit trail."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from modelhandoff.api.base import SpecModel, StatusModel, Word
from modelhandoff.api.cel import Rule
from modelhandoff.api.meta import Message, ObjectMeta, Short
from modelhandoff.api.names import API_VERSION
from modelhandoff.api.quantities import HINT, Label63, ListOf, Percent, Timestamp
from modelhandoff.api.vocabulary import Outcome, Phase

MAX_SNAPSHOT = 400_000
"""Most characters of a snapshot: resolved spec and rendered objects."""
MAX_EVIDENCE = 400_000
"""Most characters of an evidence checkpoint."""
MAX_TIMELINE = 100

Hash = Annotated[
    str,
    StringConstraints(pattern=r"^v1-[0-9a-f]{64}$", max_length=67),
    Field(json_schema_extra={HINT: "v1- and 64 lower-case hexadecimal digits"}),
]


class AttemptKind(Word):
    """Why the attempt exists."""

    ROLLOUT = "Rollout"
    INITIAL = "Initial"
    REVERT = "Revert"


class HandoffRef(SpecModel):
    """The handoff that the attempt belongs to."""

    name: Label63
    """Name of the handoff, in the same namespace."""
    uid: Annotated[str, StringConstraints(min_length=1, max_length=63)]
    """Its identity: a re-created handoff of the same name is another one."""


class AttemptSpec(SpecModel):
    """What is tried. Frozen: nothing of it ever changes."""

    handoff_ref: HandoffRef
    """The handoff that the attempt belongs to."""
    bundle_hash: Hash
    """Hash of everything that was signed: all of the spec but suspend and runbook entries."""
    revision: Hash
    """Hash of the candidate; it names the pods."""
    ordinal: Annotated[int, Field(ge=1, le=1_000_000)]
    """Counts attempts of a handoff."""
    kind: AttemptKind
    """Why the attempt exists."""
    snapshot: Annotated[str, StringConstraints(min_length=2, max_length=MAX_SNAPSHOT)]
    """Resolved spec and rendered objects, as JSON text."""

    rules = (
        Rule(
            cel="self == oldSelf",
            holds=None,
            wrong="an attempt is frozen when it is made",
            allowed="no change of the spec; edit the handoff for a new attempt",
        ),
    )


class LatchedOutcome(StatusModel):
    """The verdict, written once, before the writes that carry it out."""

    outcome: Outcome
    """What was decided."""
    reason: Annotated[str, StringConstraints(max_length=63)]
    """Why, as one word."""
    message: Message = ""
    """Why, as a sentence with numbers."""
    at: Timestamp
    """When it was decided."""
    look: Annotated[int, Field(ge=0)] | None = None
    """Number of the interval that it rests on."""
    metrics: Annotated[tuple[Short, ...], ListOf(50)] = ()
    """The metrics that decided, by weight of evidence."""


class TimelineEntry(StatusModel):
    """One thing that happened."""

    at: Timestamp
    """When."""
    reason: Annotated[str, StringConstraints(max_length=63)]
    """What, as one word."""
    message: Message = ""
    """What, as a sentence."""
    weight: Percent | None = None
    """Percent of the traffic from then on."""


class AttemptStatus(StatusModel):
    """How far the attempt is, and what it is known from."""

    phase: Phase = Phase.PENDING
    """Where the attempt is."""
    step: Annotated[int, Field(ge=0, le=20)] = 0
    """Index of the current step, from 0."""
    weight: Percent = 0
    """Percent of the traffic that the candidate shall have."""
    epoch: Annotated[int, Field(ge=0)] = 0
    """Epoch of the leader that wrote last."""
    started_at: Timestamp | None = None
    """When work on the attempt began."""
    step_started_at: Timestamp | None = None
    """When the weight of the current step had landed."""
    finished_at: Timestamp | None = None
    """When the attempt reached its last phase."""
    evidence: Annotated[str, StringConstraints(max_length=MAX_EVIDENCE)] | None = None
    """Checkpoint of the judgement, as compact JSON text."""
    outcome: LatchedOutcome | None = None
    """The latched verdict; never replaced once written."""
    timeline: Annotated[tuple[TimelineEntry, ...], ListOf(MAX_TIMELINE)] = ()
    """What happened, oldest first; the middle is dropped when it grows too long."""


class HandoffAttempt(StatusModel):
    """One try to bring one frozen bundle to production. Written by the operator only."""

    api_version: Literal["modelhandoff.dev/v1alpha1"] = API_VERSION  # type: ignore[assignment]
    kind: Literal["HandoffAttempt"] = "HandoffAttempt"
    metadata: ObjectMeta
    spec: AttemptSpec
    status: AttemptStatus = AttemptStatus()

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=(
                "!has(oldSelf.status) || !has(oldSelf.status.outcome)"
                " || (has(self.status) && has(self.status.outcome)"
                " && self.status.outcome.outcome == oldSelf.status.outcome.outcome)"
            ),
            holds=None,
            at="status",
            wrong="a verdict is latched: it neither changes nor goes away",
            allowed="the outcome that was written first",
        ),
    )
