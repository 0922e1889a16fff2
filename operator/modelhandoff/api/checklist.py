"""The handoff's checklist as far as the spec can answer it: what is declared, and what lacks.

The eight points are conditions of the handoff; what they come to is said by ``rollout.checklist``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from modelhandoff.api.base import Word
from modelhandoff.api.candidate import ArtifactRole
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.monitoring import Metric, MetricRole, MetricType
from modelhandoff.api.quantities import format_duration
from modelhandoff.api.vocabulary import ConditionType

NOTICE_WITHIN: Final = timedelta(minutes=5)
"""Longest interval of a monitoring plan that notices trouble within minutes."""
OUTAGE_TYPES: Final = frozenset({MetricType.ERROR_RATE})
"""Types of metrics that notice that requests fail."""


class ChecklistPoint(Word):
    """A point of the handoff's checklist: the condition type of the same name."""

    ARTIFACTS_VERIFIED = ConditionType.ARTIFACTS_VERIFIED.value
    REPRODUCED = ConditionType.REPRODUCED.value
    CONTRACTS_VALID = ConditionType.CONTRACTS_VALID.value
    ACCEPTANCE_PASSED = ConditionType.ACCEPTANCE_PASSED.value
    MONITORING_READY = ConditionType.MONITORING_READY.value
    RUNBOOK_COMPLETE = ConditionType.RUNBOOK_COMPLETE.value
    GOVERNANCE_COMPLETE = ConditionType.GOVERNANCE_COMPLETE.value
    APPROVED = ConditionType.APPROVED.value


@dataclass(frozen=True, slots=True)
class Gap:
    """What a point lacks.

    Attributes:
        path: of the field, from ``spec``.
        wrong: what is missing, as a sentence without its end.
        allowed: what to write there.
        got: what stands there now.
    """

    path: str
    wrong: str
    allowed: str
    got: str = "nothing"

    @property
    def sentence(self) -> str:
        """What is missing and the next step."""
        return f"{self.path}: {self.wrong}; add {self.allowed}."


def gaps(spec: ModelHandoffSpec, point: ChecklistPoint) -> tuple[Gap, ...]:
    """What a resolved spec lacks for a point; empty when the rest is up to checks and people."""
    return tuple(_GAPS[point](spec))


def _nothing(_: ModelHandoffSpec) -> Iterator[Gap]:
    # Every artifact has a digest: there is no bundle without.
    yield from ()


def _reproduced(spec: ModelHandoffSpec) -> Iterator[Gap]:
    if spec.acceptance is None or spec.acceptance.reproduce is None:
        yield Gap(
            "spec.acceptance.reproduce",
            "nobody is declared to make the model again",
            "an image that trains it and the metrics that have to come out",
        )


def _contracts(spec: ModelHandoffSpec) -> Iterator[Gap]:
    api = spec.contracts.api
    files = any(a.role is ArtifactRole.API_CONTRACT for a in spec.candidate.artifacts)
    if not (spec.contracts.data or api.inputs or api.outputs or files):
        yield Gap(
            "spec.contracts",
            "no contract is declared that could be checked",
            "contracts.data, contracts.api.inputs and outputs, or an artifact with role: "
            "ApiContract",
        )


def _acceptance(spec: ModelHandoffSpec) -> Iterator[Gap]:
    found = spec.acceptance
    if found is None or not (found.smoke or found.tests):
        yield Gap(
            "spec.acceptance",
            "nothing is declared that the candidate must show",
            "acceptance.smoke and golden cases (an artifact with role: TestData), or tests",
        )


def outage_metrics(spec: ModelHandoffSpec) -> tuple[Metric, ...]:
    """Guardrails that notice that requests fail."""
    return tuple(
        m
        for m in spec.monitoring.metrics
        if m.role is MetricRole.GUARDRAIL and m.type in OUTAGE_TYPES
    )


def drift_metrics(spec: ModelHandoffSpec) -> tuple[Metric, ...]:
    """Metrics that notice that inputs or outputs are others than in training."""
    return tuple(m for m in spec.monitoring.metrics if m.type is MetricType.DRIFT)


def _monitoring(spec: ModelHandoffSpec) -> Iterator[Gap]:
    # That the source exists is a rule of every policy, see policy_check.
    if not outage_metrics(spec):
        yield Gap(
            "spec.monitoring.metrics",
            "no guardrail notices that requests fail",
            "a metric with type: ErrorRate and role: Guardrail",
        )
    if not drift_metrics(spec):
        yield Gap("spec.monitoring.metrics", "no metric notices drift", "one with type: Drift")
    if spec.monitoring.interval > NOTICE_WITHIN:
        yield Gap(
            "spec.monitoring.interval",
            "trouble is not noticed within minutes",
            f"at most {format_duration(NOTICE_WITHIN)}",
            format_duration(spec.monitoring.interval),
        )


def _runbook(spec: ModelHandoffSpec) -> Iterator[Gap]:
    # Owners, escalation, the runbook's address and a guardrail: no handoff is without.
    if spec.rollout.rollback_plan is None:
        yield Gap(
            "spec.rollout.rollbackPlan",
            "nobody has written how to go back",
            "the steps for when removing the traffic is not enough",
        )


def _governance(spec: ModelHandoffSpec) -> Iterator[Gap]:
    found = spec.governance
    if found is None:
        yield Gap(
            "spec.governance",
            "nothing is declared that has to be written down",
            "governance.modelCard, privacy, and sbom or pinnedEnvironment",
        )
        return
    if found.model_card is None:
        yield Gap(
            "spec.governance.modelCard",
            "no model card is declared",
            "modelCard: {} and an artifact with role: ModelCard",
        )
    if found.privacy is None:
        yield Gap(
            "spec.governance.privacy",
            "nothing is said about personal data",
            "privacy: {piiFields: [...]}, an empty list where there are none",
        )
    if found.sbom is None and not found.pinned_environment:
        yield Gap(
            "spec.governance.sbom",
            "the risk of its libraries is not looked at",
            "sbom or pinnedEnvironment: true",
        )


def _approved(spec: ModelHandoffSpec) -> Iterator[Gap]:
    if spec.approvals is None:
        yield Gap("spec.approvals", "no role has to approve", "approvals.roles")


_GAPS: Final[Mapping[ChecklistPoint, Callable[[ModelHandoffSpec], Iterator[Gap]]]] = {
    ChecklistPoint.ARTIFACTS_VERIFIED: _nothing,
    ChecklistPoint.REPRODUCED: _reproduced,
    ChecklistPoint.CONTRACTS_VALID: _contracts,
    ChecklistPoint.ACCEPTANCE_PASSED: _acceptance,
    ChecklistPoint.MONITORING_READY: _monitoring,
    ChecklistPoint.RUNBOOK_COMPLETE: _runbook,
    ChecklistPoint.GOVERNANCE_COMPLETE: _governance,
    ChecklistPoint.APPROVED: _approved,
}
