"""The eight points of the handoff's checklist: status, reason, and the next step. Pure.

A point passes when its condition is ``True``. What is not declared has not passed: it is
``Unknown`` with the reason NotDeclared, and blocks nothing unless the policy requires it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from modelhandoff.api.candidate import Provenance
from modelhandoff.api.checklist import ChecklistPoint, Gap, drift_metrics, gaps, outage_metrics
from modelhandoff.api.checks import (
    ACCEPTANCE_CHECKS,
    ARTIFACT_CHECKS,
    CONTRACT_CHECKS,
    GOVERNANCE_CHECKS,
    CheckName,
    CheckState,
)
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.quantities import format_duration
from modelhandoff.api.vocabulary import CHECKLIST, ConditionType, Phase, Reason
from modelhandoff.errors import cut
from modelhandoff.rollout.attempt import AttemptState
from modelhandoff.rollout.tenant_jobs import condition

Condition = tuple[str, str, str]
"""Status, reason and message."""

_NOT_YET: Final = "No attempt has begun: it is looked at when one does."
_MOST: Final = 900


@dataclass(frozen=True, slots=True)
class Matter:
    """One attempt, as far as its checklist is concerned.

    Attributes:
        spec: the frozen spec.
        asked: whether a verification Job belongs to it.
        fetched: whether a pod of the candidate has compared the artifacts with their digests.
        waiting: whom the attempt waits for to approve, as a sentence; "" when it does not.
    """

    spec: ModelHandoffSpec
    state: AttemptState
    asked: bool
    fetched: bool = False
    waiting: str = ""


def points(matter: Matter | None) -> dict[ConditionType, Condition]:
    """Every point of the checklist, in its order.

    Args:
        matter: ``None`` before the first attempt.
    """
    if matter is None:
        return {kind: ("Unknown", str(Reason.NOT_STARTED), _NOT_YET) for kind in CHECKLIST}
    return {
        ConditionType.ARTIFACTS_VERIFIED: _artifacts(matter),
        ConditionType.REPRODUCED: _reproduced(matter),
        ConditionType.CONTRACTS_VALID: _family(
            matter, ChecklistPoint.CONTRACTS_VALID, CONTRACT_CHECKS, Reason.CONTRACT_BROKEN
        ),
        ConditionType.ACCEPTANCE_PASSED: _acceptance(matter),
        ConditionType.MONITORING_READY: _monitoring(matter),
        ConditionType.RUNBOOK_COMPLETE: _runbook(matter),
        ConditionType.GOVERNANCE_COMPLETE: _governance(matter),
        ConditionType.APPROVED: _approved(matter),
    }


def passed(found: Mapping[ConditionType, Condition]) -> int:
    """How many points have passed."""
    return sum(found[kind][0] == "True" for kind in CHECKLIST)


def _artifacts(matter: Matter) -> Condition:
    """Bytes, format, and that the model loads."""
    verdict = matter.state.verdict
    if verdict is not None and verdict.reason == Reason.ARTIFACT_MISMATCH:
        return "False", str(Reason.ARTIFACT_MISMATCH), verdict.message
    if _of(matter, ARTIFACT_CHECKS):
        return _made(matter, ARTIFACT_CHECKS, Reason.ARTIFACT_REFUSED, ())
    if matter.asked:
        return _pending(matter)
    if matter.fetched or matter.state.warmed_up:
        return (
            "True",
            str(Reason.DIGESTS_MATCH),
            "Every artifact has its declared SHA-256. Nothing else of them is declared to be "
            "checked: see contracts, acceptance and governance.",
        )
    said = "Every pod compares the artifacts with their digests before it serves."
    return "Unknown", str(Reason.NOT_STARTED), said


def _reproduced(matter: Matter) -> Condition:
    """Whether the model was made again, with the same metrics."""
    found = condition(matter.spec, matter.state, reproduction=True)
    if found is not None:
        return found
    stated = _stated(matter.spec.candidate.provenance)
    lacking = _sentences(gaps(matter.spec, ChecklistPoint.REPRODUCED))
    return "Unknown", str(Reason.NOT_DECLARED), f"{lacking} Stated for whoever does: {stated}."


def _stated(provenance: Provenance) -> str:
    """What the provenance says to whoever wants to make the model again."""
    where = provenance.environment.image or provenance.environment.lockfile
    again = provenance.nondeterministic
    seed = f"seed {provenance.seed}" if again is None else f"no seed ({cut(again.reason, 200)})"
    git = provenance.git
    return (
        f"commit {git.commit[:12]} of {cut(git.repo, 120)}, {seed}, environment {cut(where, 120)}"
    )


def _acceptance(matter: Matter) -> Condition:
    """Golden cases, and tests in images of the tenant's."""
    point, asked = ChecklistPoint.ACCEPTANCE_PASSED, matter.spec.acceptance
    tests = condition(matter.spec, matter.state, reproduction=False)
    if asked is None or asked.smoke is None:
        return tests or _undeclared(gaps(matter.spec, point))
    golden = _family(matter, point, ACCEPTANCE_CHECKS, Reason.ACCEPTANCE_FAILED)
    if tests is None or golden[0] != "True":
        return golden
    if tests[0] != "True":
        return tests
    return "True", golden[1], cut(f"{golden[2]} {tests[2]}", _MOST)


def _monitoring(matter: Matter) -> Condition:
    """A plan that notices drift or an outage within minutes, and numbers where traffic flows."""
    spec, state = matter.spec, matter.state
    lacking = gaps(spec, ChecklistPoint.MONITORING_READY)
    if lacking:
        return "False", str(Reason.MONITORING_INCOMPLETE), _sentences(lacking)
    if state.verdict is not None and state.verdict.reason == Reason.NO_DATA:
        return "False", str(Reason.NO_DATA), state.verdict.message
    if state.phase is Phase.PROGRESSING and state.unknown_since is not None:
        reason = state.unknown_reason or str(Reason.METRICS_ERROR)
        return "False", reason, state.unknown_message
    plan = (
        f"{_names(m.name for m in outage_metrics(spec))} notices an outage, "
        f"{_names(m.name for m in drift_metrics(spec))} drift, every "
        f"{format_duration(spec.monitoring.interval)} in the source {spec.monitoring.source}."
    )
    if state.looks:
        return "True", str(Reason.METRICS_AVAILABLE), f"{plan} The metrics are there."
    said = f"{plan} Whether the metrics are there is seen once traffic flows."
    return "True", str(Reason.MONITORING_PLANNED), said


def _runbook(matter: Matter) -> Condition:
    """Who owns it, whom to call, and how to go back."""
    lacking = gaps(matter.spec, ChecklistPoint.RUNBOOK_COMPLETE)
    if lacking:
        return "False", str(Reason.RUNBOOK_INCOMPLETE), _sentences(lacking)
    found = matter.spec.runbook
    return (
        "True",
        str(Reason.RUNBOOK_COMPLETE),
        f"{found.owners.team} owns it, {cut(found.owners.escalation[0])} is called first, and "
        f"the way back is written down. Runbook: {cut(found.url, 300)}",
    )


def _governance(matter: Matter) -> Condition:
    """Model card, licence, privacy, libraries: what was checked, and what was not declared."""
    found = _family(
        matter,
        ChecklistPoint.GOVERNANCE_COMPLETE,
        GOVERNANCE_CHECKS,
        Reason.GOVERNANCE_INCOMPLETE,
    )
    if found[0] != "True":
        return found
    lacking = _sentences(gaps(matter.spec, ChecklistPoint.GOVERNANCE_COMPLETE))
    skipped = [
        f"{one.get('name')}: {one.get('message')}"
        for one in _of(matter, GOVERNANCE_CHECKS)
        if one.get("state") == CheckState.SKIPPED
    ]
    if not lacking and not skipped:
        return found
    return "False", str(Reason.GOVERNANCE_INCOMPLETE), " ".join((lacking, *skipped)).strip()


def _approved(matter: Matter) -> Condition:
    """The signatures."""
    state, verdict = matter.state, matter.state.verdict
    if verdict is not None and verdict.reason == Reason.APPROVAL_REJECTED:
        return "False", str(Reason.APPROVAL_REJECTED), verdict.message
    if state.approvals:
        by = ", ".join(f"{one.role} ({one.approver})" for one in state.approvals)
        return "True", str(Reason.APPROVED), f"Approved by {by}."
    lacking = gaps(matter.spec, ChecklistPoint.APPROVED)
    if lacking:
        return "Unknown", str(Reason.APPROVAL_NOT_REQUIRED), _sentences(lacking)
    if matter.waiting:
        return "False", str(Reason.AWAITING_APPROVAL), matter.waiting
    return "Unknown", str(Reason.NOT_STARTED), "People are asked once every check has passed."


def _family(
    matter: Matter, point: ChecklistPoint, family: Iterable[CheckName], failed: Reason
) -> Condition:
    """A point that checks of the verification Job answer."""
    lacking = gaps(matter.spec, point)
    if matter.state.checks:
        return _made(matter, family, failed, lacking)
    partly = point is ChecklistPoint.GOVERNANCE_COMPLETE and matter.spec.governance is not None
    return _pending(matter) if matter.asked and (partly or not lacking) else _undeclared(lacking)


def _undeclared(lacking: Sequence[Gap]) -> Condition:
    said = _sentences(lacking) or "The verification Job's report has no such check."
    return "Unknown", str(Reason.NOT_DECLARED), said


def _pending(matter: Matter) -> Condition:
    if matter.state.phase is Phase.VERIFYING:
        return "Unknown", str(Reason.VERIFYING), "The verification Job has not reported yet."
    verdict = matter.state.verdict
    if verdict is not None and not verdict.outcome.promotes:
        return "Unknown", verdict.reason, verdict.message
    return "Unknown", str(Reason.NOT_STARTED), "The verification Job has not been made yet."


def _of(matter: Matter, family: Iterable[CheckName]) -> list[Mapping[str, object]]:
    wanted = {str(name) for name in family}
    return [check for check in matter.state.checks if check.get("name") in wanted]


def _made(
    matter: Matter, family: Iterable[CheckName], failed: Reason, lacking: Sequence[Gap]
) -> Condition:
    """A point from the stored checks of its family."""
    made = _of(matter, family)
    for state, value, reason in (
        (CheckState.FAILED, "False", failed),
        (CheckState.INCONCLUSIVE, "Unknown", Reason.CHECK_INCONCLUSIVE),
    ):
        bad = next((check for check in made if check.get("state") == state), None)
        if bad is not None:
            return value, str(reason), f"{bad.get('name')}: {bad.get('message')}"
    if not made:
        return _undeclared(lacking)
    if all(check.get("state") == CheckState.SKIPPED for check in made):
        skipped = f"{made[0].get('name')}: {made[0].get('message')}"
        return "Unknown", str(Reason.CHECKS_SKIPPED), skipped
    told = " ".join(str(check.get("message", "")) for check in made)
    return "True", str(Reason.CHECKS_PASSED), cut(told, _MOST)


def _sentences(lacking: Iterable[Gap]) -> str:
    return cut(" ".join(gap.sentence for gap in lacking), _MOST)


def _names(found: Iterable[str]) -> str:
    return cut(", ".join(found), 200)
