"""The closed sets of words that status, events, metrics and the command line share.

A reason is never renamed: alerts and scripts match on it.
"""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """Where an attempt is. Paused is a condition, not a phase."""

    PENDING = "Pending"
    VERIFYING = "Verifying"
    AWAITING_APPROVAL = "AwaitingApproval"
    PROVISIONING = "Provisioning"
    WARMING_UP = "WarmingUp"
    MIRRORING = "Mirroring"
    PROGRESSING = "Progressing"
    PROMOTING = "Promoting"
    ROLLING_BACK = "RollingBack"
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    REJECTED = "Rejected"
    INCONCLUSIVE = "Inconclusive"
    ABORTED = "Aborted"
    SUPERSEDED = "Superseded"
    FALLEN_BACK = "FallenBack"

    @property
    def terminal(self) -> bool:
        """Whether the attempt has ended: nothing but cleaning up follows."""
        return self in TERMINAL

    @property
    def before_pods(self) -> bool:
        """Whether no pod of the candidate exists yet: the gates are still ahead."""
        return self in BEFORE_PODS


BEFORE_PODS = frozenset({Phase.PENDING, Phase.VERIFYING, Phase.AWAITING_APPROVAL})
TERMINAL = frozenset(
    {
        Phase.PROMOTED,
        Phase.ROLLED_BACK,
        Phase.REJECTED,
        Phase.INCONCLUSIVE,
        Phase.ABORTED,
        Phase.SUPERSEDED,
        Phase.FALLEN_BACK,
    }
)


class Outcome(StrEnum):
    """The latched verdict of an attempt: written once, before the writes that carry it out."""

    PROMOTE = "Promote"
    INITIAL = "Initial"
    ROLLBACK = "Rollback"
    REJECT = "Reject"
    INCONCLUSIVE = "Inconclusive"
    ABORT = "Abort"
    SUPERSEDE = "Supersede"

    @property
    def final_phase(self) -> Phase:
        """The terminal phase that this outcome ends in."""
        return _FINAL[self]

    @property
    def promotes(self) -> bool:
        """Whether traffic goes to the candidate (True) or back to the baseline (False)."""
        return self in (Outcome.PROMOTE, Outcome.INITIAL)


_FINAL = {
    Outcome.PROMOTE: Phase.PROMOTED,
    Outcome.INITIAL: Phase.PROMOTED,
    Outcome.ROLLBACK: Phase.ROLLED_BACK,
    Outcome.REJECT: Phase.REJECTED,
    Outcome.INCONCLUSIVE: Phase.INCONCLUSIVE,
    Outcome.ABORT: Phase.ABORTED,
    Outcome.SUPERSEDE: Phase.SUPERSEDED,
}


class ConditionType(StrEnum):
    """Condition types of a ModelHandoff; all present from the first visit."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    PAUSED = "Paused"
    ARTIFACTS_VERIFIED = "ArtifactsVerified"
    REPRODUCED = "Reproduced"
    CONTRACTS_VALID = "ContractsValid"
    ACCEPTANCE_PASSED = "AcceptancePassed"
    MONITORING_READY = "MonitoringReady"
    RUNBOOK_COMPLETE = "RunbookComplete"
    GOVERNANCE_COMPLETE = "GovernanceComplete"
    APPROVED = "Approved"
    CAPACITY_AVAILABLE = "CapacityAvailable"
    CANARY_READY = "CanaryReady"
    TRAFFIC_ALIGNED = "TrafficAligned"
    METRICS_AVAILABLE = "MetricsAvailable"
    PROMOTED = "Promoted"


CHECKLIST = (
    ConditionType.ARTIFACTS_VERIFIED,
    ConditionType.REPRODUCED,
    ConditionType.CONTRACTS_VALID,
    ConditionType.ACCEPTANCE_PASSED,
    ConditionType.MONITORING_READY,
    ConditionType.RUNBOOK_COMPLETE,
    ConditionType.GOVERNANCE_COMPLETE,
    ConditionType.APPROVED,
)
"""The eight points of the handoff's checklist, in its order. A point passes when it is True."""


class Reason(StrEnum):
    """Why: reasons of conditions, events and verdicts."""

    # Life of an attempt
    ATTEMPT_STARTED = "AttemptStarted"
    PROVISIONING = "Provisioning"
    WARMING_UP = "WarmingUp"
    COLLECTING = "Collecting"
    STEP_STARTED = "StepStarted"
    PROBATION = "Probation"
    PROMOTING = "Promoting"
    ROLLING_BACK = "RollingBack"
    PROMOTED = "Promoted"
    INITIAL = "Initial"
    STEADY = "Steady"
    NOTHING_SERVES = "NothingServes"

    # Verdicts
    HARM_DETECTED = "HarmDetected"
    PROOFS_COMPLETE = "ProofsComplete"
    MAX_DURATION = "MaxDuration"
    NO_DATA = "NoData"
    SHARED_INCIDENT = "SharedIncident"
    TRAFFIC_SPLIT_MISMATCH = "TrafficSplitMismatch"
    BUDGET_INSIDE_BUCKET = "BudgetInsideBucket"

    # Verification
    VERIFYING = "Verifying"
    CHECKS_PASSED = "ChecksPassed"
    CHECKS_SKIPPED = "ChecksSkipped"
    DIGESTS_MATCH = "DigestsMatch"
    NOT_DECLARED = "NotDeclared"
    ARTIFACT_REFUSED = "ArtifactRefused"
    CONTRACT_BROKEN = "ContractBroken"
    ACCEPTANCE_FAILED = "AcceptanceFailed"
    GOVERNANCE_INCOMPLETE = "GovernanceIncomplete"
    MONITORING_PLANNED = "MonitoringPlanned"
    MONITORING_INCOMPLETE = "MonitoringIncomplete"
    RUNBOOK_COMPLETE = "RunbookComplete"
    RUNBOOK_INCOMPLETE = "RunbookIncomplete"
    CHECK_INCONCLUSIVE = "CheckInconclusive"
    TAMPERED_SPEC = "TamperedSpec"
    REPORT_UNREADABLE = "ReportUnreadable"
    VERIFICATION_NOT_RUN = "VerificationNotRun"
    TEST_FAILED = "TestFailed"
    TEST_RAN_NOTHING = "TestRanNothing"
    TEST_TOO_SLOW = "TestTooSlow"
    REPRODUCED = "Reproduced"
    REPRODUCTION_FAILED = "ReproductionFailed"
    REPRODUCTION_TOO_SLOW = "ReproductionTooSlow"
    REPRODUCTION_DIFFERS = "ReproductionDiffers"
    JOB_REPORT_BROKEN = "JobReportBroken"
    JOB_NOT_RUN = "JobNotRun"

    # The candidate's pods
    CANARY_READY = "CanaryReady"
    CANARY_CRASHED = "CanaryCrashed"
    CANARY_UNSTABLE = "CanaryUnstable"
    CANARY_NOT_READY = "CanaryNotReady"
    CANARY_LOST = "CanaryLost"
    ARTIFACT_MISMATCH = "ArtifactMismatch"
    ARTIFACT_UNAVAILABLE = "ArtifactUnavailable"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    WARMUP_FAILED = "WarmupFailed"
    CAPACITY_AVAILABLE = "CapacityAvailable"
    CAPACITY_SHORTAGE = "CapacityShortage"
    QUOTA_EXCEEDED = "QuotaExceeded"
    GPU_MISMATCH = "GpuMismatch"

    # Traffic
    TRAFFIC_ALIGNED = "TrafficAligned"
    TRAFFIC_PENDING = "TrafficPending"
    TRAFFIC_CONTESTED = "TrafficContested"
    ROUTE_CONFLICT = "RouteConflict"
    ROUTE_REJECTED = "RouteRejected"
    BASELINE_MISSING = "BaselineMissing"
    BASELINE_NOT_READY = "BaselineNotReady"
    BASELINE_CHANGED = "BaselineChanged"

    # Metrics
    METRICS_AVAILABLE = "MetricsAvailable"
    METRICS_ERROR = "MetricsError"
    METRICS_INVALID = "MetricsInvalid"
    METRICS_AMBIGUOUS = "MetricsAmbiguous"
    METRICS_STALE = "MetricsStale"
    METRICS_MISSING = "MetricsMissing"

    # Approvals
    AWAITING_APPROVAL = "AwaitingApproval"
    APPROVED = "Approved"
    APPROVAL_REJECTED = "ApprovalRejected"
    APPROVAL_NOT_REQUIRED = "ApprovalNotRequired"

    # People
    PAUSED = "Paused"
    FROZEN = "Frozen"
    RESUMED = "Resumed"
    ABORTED = "Aborted"
    MANUAL_GATE = "ManualGate"
    MANUALLY_PROMOTED = "ManuallyPromoted"
    SUPERSEDED = "Superseded"
    DELETED = "Deleted"
    EXTERNAL_BRAKE = "ExternalBrake"
    RETRY_REQUESTED = "RetryRequested"

    # Input and rights
    SPEC_INVALID = "SpecInvalid"
    POLICY_VIOLATION = "PolicyViolation"
    PERMISSION_DENIED = "PermissionDenied"
    API_REFUSED = "ApiRefused"
    PENDING = "Pending"
    NOT_STARTED = "NotStarted"


class Standing(StrEnum):
    """What an approval is worth: the reason in its status."""

    COUNTS = "Counts"
    REJECTS = "Rejects"
    OTHER_BUNDLE = "OtherBundle"
    """It signs another hash: the handoff was edited."""
    ROLE_NOT_REQUIRED = "RoleNotRequired"
    EXPIRED = "Expired"
    ROLE_FILLED = "RoleFilled"
    IDENTITY_USED = "IdentityUsed"
    """Its approver fills another role, and each needs a person of its own."""
    AUTHOR = "Author"
    """Its approver wrote what is approved."""
    AUTHOR_UNKNOWN = "AuthorUnknown"
    SERVICE_ACCOUNT = "ServiceAccount"
    UNREADABLE = "Unreadable"

    @property
    def valid(self) -> bool:
        """Whether it counts, for or against the bundle."""
        return self in (Standing.COUNTS, Standing.REJECTS)
