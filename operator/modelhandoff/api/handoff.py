"""ModelHandoff: the reviewable object that says what shall serve and on which terms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from modelhandoff.api.acceptance import Acceptance
from modelhandoff.api.approval import Approvals
from modelhandoff.api.base import SpecModel, StatusModel, Word
from modelhandoff.api.candidate import ArtifactRole, Candidate, ModelFormat
from modelhandoff.api.cel import Rule
from modelhandoff.api.contracts import Contracts
from modelhandoff.api.governance import Governance
from modelhandoff.api.meta import Condition, Message, MetricStatus, ObjectMeta, Short
from modelhandoff.api.monitoring import ALONE_TYPES, DriftOf, MetricRole, Monitoring
from modelhandoff.api.names import API_VERSION
from modelhandoff.api.quantities import HINT, ListOf, ObjectName, Percent, Timestamp
from modelhandoff.api.rollout_spec import Rollout
from modelhandoff.api.runbook import Runbook
from modelhandoff.api.serving import Protocol
from modelhandoff.api.vocabulary import Phase


class WorkloadKind(Word):
    """Kind of an adopted workload."""

    DEPLOYMENT = "Deployment"


class ScaleDown(Word):
    """Whether an adopted baseline may be scaled."""

    NEVER = "Never"
    ON_PROMOTION = "OnPromotion"


class WorkloadRef(SpecModel):
    """A workload of the handoff's namespace."""

    kind: WorkloadKind = WorkloadKind.DEPLOYMENT
    """Its kind."""
    name: ObjectName
    """Its name."""


class Baseline(SpecModel):
    """What the candidate is compared with. The stable revision when not set."""

    workload_ref: WorkloadRef | None = None
    """A Deployment that serves already, adopted on the first handoff and never rewritten."""
    expected_revision: (
        Annotated[
            str,
            StringConstraints(pattern=r"^v1-[0-9a-f]{10,64}$", max_length=67),
            Field(json_schema_extra={HINT: "v1- and the 10 to 64 digits of a revision"}),
        ]
        | None
    ) = None
    """Refuse to start when something else is stable."""
    scale_down: ScaleDown = ScaleDown.NEVER
    """Whether an adopted Deployment goes to zero pods after promotion. Never when not set."""


class PolicyRef(SpecModel):
    """A HandoffPolicy."""

    name: ObjectName
    """Its name."""


def _drift_features(monitoring: Monitoring) -> set[str]:
    return {m.feature for m in monitoring.metrics if m.of is DriftOf.FEATURE and m.feature}


def _watched(spec: ModelHandoffSpec) -> bool:
    if spec.contracts.data is None:
        return True
    sensitive = {f.name for f in spec.contracts.data.features if f.drift_sensitive}
    return sensitive <= _drift_features(spec.monitoring)


def _can_warm_up(spec: ModelHandoffSpec) -> bool:
    if spec.candidate.serving.protocol is not Protocol.CUSTOM_HTTP:
        return True
    examples = any(a.role is ArtifactRole.TEST_DATA for a in spec.candidate.artifacts)
    return examples or spec.rollout.warmup.requests == 0


def _comparable(spec: ModelHandoffSpec) -> bool:
    gpu = spec.candidate.serving.gpu
    if gpu is None or gpu.same_as_baseline:
        return True
    return all(metric.max_relative_increase is None for metric in spec.monitoring.metrics)


def _declared(spec: ModelHandoffSpec) -> bool:
    if spec.contracts.data is None:
        return True
    return _drift_features(spec.monitoring) <= {f.name for f in spec.contracts.data.features}


def _unexposed(spec: ModelHandoffSpec) -> bool:
    privacy = spec.governance.privacy if spec.governance else None
    return privacy is None or not _drift_features(spec.monitoring) & set(privacy.pii_fields)


def _has(spec: ModelHandoffSpec, role: ArtifactRole) -> bool:
    return any(a.role is role for a in spec.candidate.artifacts)


def _needs(asked: str, role: ArtifactRole, holds: Callable[[Any], bool]) -> Rule:
    """The rule that what is asked for comes with the file that it is read from.

    Args:
        asked: CEL expression, true when it is not asked for.
        role: role of the file.
        holds: the same in Python, on the spec.
    """
    return Rule(
        cel=f"{asked} || self.candidate.artifacts.exists(a, a.role == '{role}')",
        holds=lambda self: holds(self) or _has(self, role),
        at="candidate.artifacts",
        wrong=f"there is no file to check: the artifact with role {role} is missing",
        allowed=f"an artifact with role: {role}",
    )


def _can_be_asked(spec: ModelHandoffSpec) -> bool:
    api = spec.contracts.api
    if api.idempotency is None and api.trace is None:
        return True
    if spec.candidate.serving.protocol is not Protocol.CUSTOM_HTTP:
        return True
    return _has(spec, ArtifactRole.TEST_DATA) or _has(spec, ArtifactRole.API_CONTRACT)


def _onnx(asked: str, what: str, at: str, holds: Callable[[Any], bool]) -> Rule:
    """The rule that a check which runs the model has one that onnxruntime can run."""
    return Rule(
        cel=(
            f"{asked} || !has(self.candidate.model.format) || self.candidate.model.format == 'ONNX'"
        ),
        holds=lambda self: holds(self) or self.candidate.model.format is ModelFormat.ONNX,
        at=at,
        wrong=f"{what} can be checked for ONNX models only",
        allowed="candidate.model.format: ONNX, or leave it out",
    )


def _watchable(spec: ModelHandoffSpec) -> bool:
    if spec.rollout.probation is None:
        return True
    silent = (MetricRole.QUALITY, MetricRole.INFO)
    return any(m.type in ALONE_TYPES and m.role not in silent for m in spec.monitoring.metrics)


def _smoke(spec: ModelHandoffSpec) -> bool:
    return spec.acceptance is not None and spec.acceptance.smoke is not None


def _offline(spec: ModelHandoffSpec) -> bool:
    return spec.acceptance is not None and spec.acceptance.offline is not None


_NO_SMOKE = "(!has(self.acceptance) || !has(self.acceptance.smoke))"
_NO_OFFLINE = "(!has(self.acceptance) || !has(self.acceptance.offline))"
_VERIFICATION_RULES = (
    _needs(
        _NO_SMOKE,
        ArtifactRole.TEST_DATA,
        lambda s: not _smoke(s),
    ),
    _needs(
        "!has(self.contracts.api.errors)",
        ArtifactRole.API_CONTRACT,
        lambda s: s.contracts.api.errors is None,
    ),
    Rule(
        cel=(
            "(!has(self.contracts.api.idempotency) && !has(self.contracts.api.trace))"
            " || !has(self.candidate.serving.protocol)"
            " || self.candidate.serving.protocol != 'CustomHTTP'"
            " || self.candidate.artifacts.exists(a, a.role in ['TestData', 'ApiContract'])"
        ),
        holds=_can_be_asked,
        at="candidate.artifacts",
        wrong="nobody knows what to ask a CustomHTTP server to see whether it keeps its promises",
        allowed="an artifact with role: TestData or ApiContract",
    ),
    _needs(_NO_OFFLINE, ArtifactRole.TEST_SET, lambda s: not _offline(s)),
    _onnx(_NO_OFFLINE, "offline metrics", "acceptance", lambda s: not _offline(s)),
    _onnx(
        "(!has(self.contracts.api.inputs) && !has(self.contracts.api.outputs))",
        "inputs and outputs",
        "contracts.api",
        lambda s: s.contracts.api.inputs is None and s.contracts.api.outputs is None,
    ),
    _needs(
        "!has(self.governance) || !has(self.governance.modelCard)",
        ArtifactRole.MODEL_CARD,
        lambda s: s.governance is None or s.governance.model_card is None,
    ),
    _needs(
        "!has(self.governance) || !has(self.governance.pinnedEnvironment)"
        " || !self.governance.pinnedEnvironment",
        ArtifactRole.ENVIRONMENT,
        lambda s: s.governance is None or not s.governance.pinned_environment,
    ),
    _needs(
        "!has(self.governance) || !has(self.governance.sbom)",
        ArtifactRole.SBOM,
        lambda s: s.governance is None or s.governance.sbom is None,
    ),
)


class ModelHandoffSpec(SpecModel):
    """What shall serve, on which terms, and who answers for it."""

    policy_ref: PolicyRef | None = None
    """The policy; the one called default, if it exists, when not set."""
    suspend: bool = False
    """Hold at the current step, weights untouched. Part of no hash."""
    candidate: Candidate
    """What shall serve."""
    baseline: Baseline = Baseline()
    """What the candidate is compared with."""
    contracts: Contracts
    """The contracts between the model and those who call it."""
    acceptance: Acceptance | None = None
    """What the candidate must show before it gets any traffic; nothing when not set."""
    approvals: Approvals | None = None
    """Who has to approve before a pod of the candidate exists; nobody when not set, unless the
    policy requires roles."""
    rollout: Rollout
    """How the candidate comes to production."""
    monitoring: Monitoring
    """What is measured while both versions serve."""
    runbook: Runbook
    """Who owns the model and what to do when it hurts. Recorded for people, not checked."""
    governance: Governance | None = None
    """What has to be written down before a pod of the candidate exists; nothing when not set."""

    rules = (
        Rule(
            cel=(
                "!has(self.candidate.serving.gpu)"
                " || !has(self.candidate.serving.gpu.sameAsBaseline)"
                " || self.candidate.serving.gpu.sameAsBaseline"
                " || !self.monitoring.metrics.exists(m, has(m.maxRelativeIncrease))"
            ),
            holds=_comparable,
            at="monitoring.metrics",
            wrong="latencies on different GPUs cannot be compared",
            allowed="maxRelativeIncrease only without gpu.sameAsBaseline: false",
        ),
        Rule(
            cel=(
                "!has(self.candidate.serving.protocol)"
                " || self.candidate.serving.protocol != 'CustomHTTP'"
                " || (has(self.rollout.warmup) && has(self.rollout.warmup.requests)"
                " && self.rollout.warmup.requests == 0)"
                " || self.candidate.artifacts.exists(a, a.role == 'TestData')"
            ),
            holds=_can_warm_up,
            at="candidate.artifacts",
            wrong="nobody knows what to ask a CustomHTTP server before its first request",
            allowed="an artifact with role: TestData, or rollout.warmup.requests: 0",
        ),
        Rule(
            cel=(
                "!has(self.contracts.data) || self.contracts.data.features.all(f,"
                " !has(f.driftSensitive) || !f.driftSensitive"
                " || self.monitoring.metrics.exists(m, has(m.feature) && m.feature == f.name))"
            ),
            holds=_watched,
            at="contracts.data.features",
            wrong="a driftSensitive feature is not watched",
            allowed="for each a metric with type: Drift, of: Feature, feature: <its name>",
        ),
        Rule(
            cel=(
                "!has(self.contracts.data) || self.monitoring.metrics.all(m,"
                " !has(m.feature)"
                " || self.contracts.data.features.exists(f, f.name == m.feature))"
            ),
            holds=_declared,
            at="monitoring.metrics",
            wrong="a Drift metric names a feature that the data contract does not have",
            allowed="names from contracts.data.features",
        ),
        Rule(
            cel=(
                "!has(self.rollout.probation) || self.monitoring.metrics.exists(m,"
                " m.type in ['ErrorRate', 'AbstainRate', 'ContractViolations', 'Latency']"
                " && (!has(m.role) || !(m.role in ['Quality', 'Info'])))"
            ),
            holds=_watchable,
            at="rollout.probation",
            wrong="nothing can be judged without a baseline beside it",
            allowed="a metric of type ErrorRate, AbstainRate, ContractViolations or Latency whose "
            "role is neither Quality nor Info",
        ),
        Rule(
            cel=(
                "!has(self.governance) || !has(self.governance.privacy)"
                " || self.monitoring.metrics.all(m, !has(m.feature)"
                " || !self.governance.privacy.piiFields.exists(f, f == m.feature))"
            ),
            holds=_unexposed,
            at="monitoring.metrics",
            wrong="a Drift metric shows a field that holds personal data",
            allowed="features that governance.privacy.piiFields does not name",
        ),
        *_VERIFICATION_RULES,
    )


class VersionStatus(StatusModel):
    """A version as it serves or is tried."""

    version: Annotated[str, StringConstraints(max_length=64)]
    """Version of the model."""
    revision: Annotated[str, StringConstraints(max_length=67)]
    """Its revision hash."""
    since: Timestamp | None = None
    """Since when."""


class StepStatus(StatusModel):
    """Where the rollout is."""

    index: Annotated[int, Field(ge=0, le=21)]
    """The current step, counted from 1; 0 before traffic."""
    count: Annotated[int, Field(ge=0, le=21)]
    """Number of steps, a probation included."""
    label: Annotated[str, StringConstraints(max_length=16)] = ""
    """Both as text for the listing, such as 1/2."""
    weight: Percent
    """Percent of the traffic that the candidate has."""
    started_at: Timestamp | None = None
    """When the weight had landed."""


class ChecklistStatus(StatusModel):
    """How far the handoff's checklist is; its points are conditions."""

    passed: Annotated[int, Field(ge=0, le=32)]
    """Points that are True. What is not declared has not passed."""
    total: Annotated[int, Field(ge=0, le=32)]
    """Number of points."""
    label: Annotated[str, StringConstraints(max_length=16)] = ""
    """Both as text for the listing, such as 6/8."""


class ExemptionStatus(StatusModel):
    """A rule of the policy that does not hold for the handoff's namespace."""

    rule: Annotated[str, StringConstraints(max_length=63)]
    """The rule."""
    reason: Short = ""
    """Why, as the policy says."""


class VerdictStatus(StatusModel):
    """What the evidence says."""

    decision: Annotated[str, StringConstraints(max_length=63)]
    """Continue, Promote, Rollback, Hold or Inconclusive."""
    reason: Annotated[str, StringConstraints(max_length=63)]
    """Why, as one word."""
    message: Message = ""
    """Why, as a sentence with numbers."""


class HistoryEntry(StatusModel):
    """How an earlier attempt ended."""

    attempt: Short
    """Name of the attempt."""
    version: Annotated[str, StringConstraints(max_length=64)]
    """Version of the model."""
    revision: Annotated[str, StringConstraints(max_length=67)]
    """Its revision hash."""
    outcome: Annotated[str, StringConstraints(max_length=63)]
    """How it ended."""
    reason: Annotated[str, StringConstraints(max_length=63)]
    """Why."""
    at: Timestamp
    """When."""


class AttemptRef(StatusModel):
    """The current attempt."""

    name: Short
    """Name of the HandoffAttempt."""
    ordinal: Annotated[int, Field(ge=0)] = 0
    """Counts attempts of this handoff."""


class ModelHandoffStatus(StatusModel):
    """What is going on, small and bounded; the evidence is in the attempt."""

    observed_generation: Annotated[int, Field(ge=-1)] = -1
    """Generation that this status speaks of; -1 before the first visit."""
    phase: Phase | None = None
    """Where the current attempt is."""
    message: Annotated[str, StringConstraints(max_length=2048)] = ""
    """What is going on, in one sentence."""
    next_action: Message = ""
    """What a person should do, ready to paste; empty when nothing."""
    stable: VersionStatus | None = None
    """The version that serves."""
    candidate: VersionStatus | None = None
    """The version that is tried."""
    attempt_ref: AttemptRef | None = None
    """The current attempt."""
    step: StepStatus | None = None
    """Where the rollout is."""
    verdict: VerdictStatus | None = None
    """What the evidence says."""
    checklist: ChecklistStatus | None = None
    """How far the handoff's checklist is."""
    exemptions: Annotated[tuple[ExemptionStatus, ...], ListOf(32, key="rule")] = ()
    """Rules of the policy that do not hold for the handoff's namespace."""
    metrics: Annotated[tuple[MetricStatus, ...], ListOf(50, key="name")] = ()
    """What each metric says."""
    gpu: Annotated[str, StringConstraints(max_length=128)] | None = None
    """GPUs of the candidate, as text for the wide listing."""
    handled_request: Annotated[str, StringConstraints(max_length=512)] | None = None
    """The last verb that was carried out; it is never carried out again."""
    history: Annotated[tuple[HistoryEntry, ...], ListOf(10)] = ()
    """How the last ten attempts ended, newest first."""
    conditions: Annotated[tuple[Condition, ...], ListOf(32, key="type")] = ()
    """Aspects of the state, as Kubernetes tools read them."""


class ModelHandoff(StatusModel):
    """A machine-learning model on its way to production, and the terms of its handoff."""

    api_version: Literal["modelhandoff.dev/v1alpha1"] = API_VERSION  # type: ignore[assignment]
    kind: Literal["ModelHandoff"] = "ModelHandoff"
    metadata: ObjectMeta
    spec: dict[str, Any]
    """As the user wrote it; `modelhandoff.api.resolve` turns it into a ModelHandoffSpec."""
    status: ModelHandoffStatus = ModelHandoffStatus()
