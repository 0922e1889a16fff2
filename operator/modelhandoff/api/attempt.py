"""HandoffAttempt: one try to bring one frozen bundle to production. The audit trail."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from modelhandoff.api.base import StatusModel, Word
from modelhandoff.api.cel import Rule
from modelhandoff.api.checks import MAX_CHECKS, CheckStatus
from modelhandoff.api.job_results import MAX_JOBS, JobResult
from modelhandoff.api.kept_report import ReportRef
from modelhandoff.api.meta import Message, MetricStatus, ObjectMeta, Short
from modelhandoff.api.names import API_VERSION
from modelhandoff.api.quantities import HINT, Label63, ListOf, Percent, Timestamp, Word63
from modelhandoff.api.vocabulary import Outcome, Phase

# The three long texts of an attempt. They are ASCII, and quotes are escaped once more when the
# object is stored; together with the rest an attempt stays below the 1.5 MB that etcd takes in
# one request. The API server refuses a write with a longer text as a whole: an attempt whose
# snapshot is too long never starts, and a checkpoint that is too long leaves the last one.
MAX_SNAPSHOT = 300_000
"""Most characters of a snapshot: resolved spec and rendered objects."""
MAX_EVIDENCE = 300_000
"""Most characters of an evidence checkpoint."""
MAX_CURSOR = 300_000
"""Most characters of a measurement checkpoint."""
MAX_TIMELINE = 100
MAX_STAGES = 100
MAX_BINS = 20_000
MAX_HISTORY = 70_000
"""Most characters of what earlier attempts say of the counts' noise."""

Hash = Annotated[
    str,
    StringConstraints(pattern=r"^v1-[0-9a-f]{64}$", max_length=67),
    Field(json_schema_extra={HINT: "v1- and 64 lower-case hexadecimal digits"}),
]


class AttemptKind(Word):
    """Why the attempt exists."""

    ROLLOUT = "Rollout"
    INITIAL = "Initial"
    REFRESH = "Refresh"
    """The same revision under new rules: no traffic moves."""
    REVERT = "Revert"


class HandoffRef(StatusModel):
    """The handoff that the attempt belongs to."""

    name: Label63
    """Name of the handoff, in the same namespace."""
    uid: Annotated[str, StringConstraints(min_length=1, max_length=63)]
    """Its identity: a re-created handoff of the same name is another one."""


class AttemptSpec(StatusModel):
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
    """Resolved spec and rendered objects, as JSON text. A longer one is refused, and the attempt
    does not start."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self == oldSelf",
            holds=None,
            wrong="an attempt is frozen when it is made",
            allowed="no change of the spec; edit the handoff for a new attempt",
        ),
    )


class LatchedVerdict(StatusModel):
    """The verdict, written once, before the writes that carry it out."""

    decision: Outcome
    """What was decided."""
    reason: Annotated[str, StringConstraints(max_length=63)]
    """Why, as one word."""
    message: Message = ""
    """Why, as a sentence with numbers."""
    at: Timestamp
    """When it was decided."""
    look: Annotated[int, Field(ge=0)] = 0
    """Judged intervals that it rests on."""
    total_e: Annotated[float, Field(ge=0)] = 0.0
    """Combined evidence of harm at that look: a weighted mean of e-values."""


class WithheldStatus(StatusModel):
    """Why the weight is 0 although the step would give more."""

    reason: Annotated[str, StringConstraints(max_length=63)]
    """Why, as one word."""
    message: Message = ""
    """Why, as a sentence."""
    since: Timestamp
    """Since when."""


class StageStatus(StatusModel):
    """A weight that landed."""

    start: Annotated[float, Field(ge=0)]
    """When it landed, in Unix seconds."""
    step: Annotated[int, Field(ge=-1, le=20)]
    """Index of the step."""
    weight: Percent
    """Percent of the traffic."""


class ExclusionStatus(StatusModel):
    """A planned disturbance that gives no evidence."""

    start: Annotated[float, Field(ge=0)]
    """Start, in Unix seconds."""
    end: Annotated[float, Field(ge=0)]
    """End, in Unix seconds."""
    why: Annotated[str, StringConstraints(max_length=63)]
    """What it was."""


class ApprovalRecord(StatusModel):
    """An approval that let the attempt through its gate."""

    role: Word63
    """The role that approved."""
    approver: Short
    """Who approved."""
    name: Short
    """The HandoffApproval; it may be gone since."""
    at: Timestamp
    """When it was made."""
    comment: Message = ""
    """Why."""


class TimelineEntry(StatusModel):
    """One thing that happened."""

    at: Timestamp
    """When."""
    what: Annotated[str, StringConstraints(max_length=320)]
    """What, as a sentence."""


class ProbationStatus(StatusModel):
    """What is known of a candidate on probation."""

    evidence: Annotated[str, StringConstraints(max_length=MAX_EVIDENCE)]
    """Checkpoint of the judgement, as compact JSON text."""
    cursor: Annotated[str, StringConstraints(max_length=MAX_CURSOR)]
    """Checkpoint of the measurement."""


class AttemptStatus(StatusModel):
    """How far the attempt is, and what it is known from."""

    phase: Phase = Phase.PENDING
    """Where the attempt is."""
    phase_since: Timestamp | None = None
    """When it came there."""
    step: Annotated[int, Field(ge=-1, le=20)] = -1
    """Index of the current step, from 0; -1 before traffic."""
    weight: Percent = 0
    """Percent of the traffic that last landed on the candidate."""
    started_at: Timestamp | None = None
    """When work on the attempt began."""
    step_started_at: Timestamp | None = None
    """When the weight of the current step had landed."""
    first_weight_at: Timestamp | None = None
    """When the candidate got its first traffic."""
    off_at: Timestamp | None = None
    """When the candidate lost its traffic."""
    promoted_at: Timestamp | None = None
    """When the candidate became the stable version."""
    max_weight: Percent = 0
    """Largest weight that landed."""
    evidence: Annotated[str, StringConstraints(max_length=MAX_EVIDENCE)] | None = None
    """Checkpoint of the judgement, as compact JSON text. A longer one is refused, and the status
    stays as it was."""
    cursor: Annotated[str, StringConstraints(max_length=MAX_CURSOR)] | None = None
    """Checkpoint of the measurement: last closed interval and last raw values. Refused when
    longer, as evidence is."""
    bins: Annotated[str, StringConstraints(max_length=MAX_BINS)] | None = None
    """Bins of drift metrics as fixed at the first interval, as JSON text."""
    history: Annotated[str, StringConstraints(max_length=MAX_HISTORY)] | None = None
    """What earlier attempts say of the counts' noise, as fixed at the first interval; as JSON text.
    An attempt that ends before leaves there what it found."""
    probation: ProbationStatus | None = None
    """Checkpoints since the candidate has all of the traffic; those above stay as they were."""
    looks: Annotated[int, Field(ge=0)] = 0
    """Judged intervals."""
    step_looks: Annotated[int, Field(ge=0)] = 0
    """Judged intervals of the current step."""
    step_requests: Annotated[float, Field(ge=0)] = 0.0
    """Requests of the candidate in the current step."""
    last_data: Annotated[float, Field(ge=0)] = 0.0
    """End of the last interval with data of the candidate, in Unix seconds."""
    unknown_since: Timestamp | None = None
    """Since when the metric source gives no usable answer."""
    unknown_reason: Annotated[str, StringConstraints(max_length=63)] | None = None
    """Why, as one word."""
    unknown_message: Message | None = None
    """Why, as a sentence."""
    withheld: WithheldStatus | None = None
    """Why the weight is 0 for now."""
    paused_at: Timestamp | None = None
    """Since when the attempt is paused."""
    paused_seconds: Annotated[float, Field(ge=0)] = 0.0
    """Length of all earlier pauses."""
    crashes_before: Annotated[int, Field(ge=0)] = 0
    """Crashes of the candidate's pods before its first traffic."""
    contested: Annotated[int, Field(ge=0)] = 0
    """How often a foreign increase of the weight was taken back."""
    checks: Annotated[tuple[CheckStatus, ...], ListOf(MAX_CHECKS, key="name")] = ()
    """What the verification Job found, check by check; stored before its pod is gone."""
    checks_problem: Message | None = None
    """Why the verification Job's report cannot be used."""
    jobs: Annotated[tuple[JobResult, ...], ListOf(MAX_JOBS, key="name")] = ()
    """What came of the tenant's own Jobs, tests and reproduction, in the order of their runs."""
    approvals: Annotated[tuple[ApprovalRecord, ...], ListOf(16, key="role")] = ()
    """Approvals that let the attempt through its gate; they count for good."""
    warmed_up: bool = False
    """Whether the example requests were answered."""
    stages: Annotated[tuple[StageStatus, ...], ListOf(MAX_STAGES)] = ()
    """Weights that landed, oldest first."""
    exclusions: Annotated[tuple[ExclusionStatus, ...], ListOf(MAX_STAGES)] = ()
    """Planned disturbances, oldest first."""
    metrics: Annotated[tuple[MetricStatus, ...], ListOf(50, key="name")] = ()
    """What each metric last said."""
    verdict: LatchedVerdict | None = None
    """The latched verdict."""
    timeline: Annotated[tuple[TimelineEntry, ...], ListOf(MAX_TIMELINE)] = ()
    """What happened, oldest first; the middle is dropped when it grows too long."""
    baseline_version: Annotated[str, StringConstraints(max_length=253)] | None = None
    """Version that the candidate was compared with, at the verdict."""
    report_ref: ReportRef | None = None
    """The decision report, kept when the attempt ended; absent when it could not be kept."""


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
                "!has(oldSelf.status) || !has(oldSelf.status.verdict)"
                " || (has(self.status) && has(self.status.verdict)"
                " && (self.status.verdict.decision == oldSelf.status.verdict.decision"
                " || (oldSelf.status.verdict.decision in ['Promote', 'Initial']"
                " && self.status.verdict.decision in ['Abort', 'Supersede'])))"
            ),
            holds=None,
            at="status",
            wrong="a verdict is latched: it neither changes nor goes away",
            allowed="the decision that was written first, or Abort before a promotion is done",
        ),
    )
