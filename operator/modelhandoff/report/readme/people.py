"""Monitoring, runbook, owners, checklist: who watches, who helps, what is signed off."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from modelhandoff.analysis import wording
from modelhandoff.api.meta import Condition, ConditionStatus
from modelhandoff.report.document import (
    Block,
    Bullets,
    Checks,
    Code,
    Facts,
    Line,
    Listing,
    Paragraph,
)  # fmt: skip
from modelhandoff.report.readme.subject import Subject
from modelhandoff.report.readme.terms import told

MONITORING_TERMS = frozenset({"monitoring.source", "monitoring.interval"})


def monitoring(subject: Subject) -> Iterator[Block]:
    """Where the numbers come from and how to see them."""
    found = subject.spec.monitoring
    name, space = shlex.quote(subject.name), shlex.quote(subject.namespace)
    yield Facts(
        (
            ("Metric source", (Code(found.source), ", as the policy names it")),
            ("Looked at", (f"every {wording.duration(found.interval.total_seconds())}",)),
        )
    )
    yield Listing(
        f"# what is going on\nkubectl handoff status {name} -n {space} --watch\n"
        f"# why\nkubectl handoff explain {name} -n {space}\n"
        f"# the evidence of the last decision\nkubectl handoff report {name} -n {space}",
        "sh",
    )


RUNBOOK_TERMS = frozenset(
    {"runbook.url", *(f"runbook.entries[].{one}" for one in ("symptom", "diagnose", "remedy"))}
)


def runbook(subject: Subject) -> Iterator[Block]:
    """Known troubles and the way back."""
    found = subject.spec.runbook
    name, space = shlex.quote(subject.name), shlex.quote(subject.namespace)
    yield Paragraph(("The whole runbook: ", Code(found.url)))
    yield Paragraph(("Take the candidate's traffic away, now and for good:",))
    yield Listing(f"kubectl handoff abort {name} -n {space}", "sh")
    for one in found.entries:
        yield Paragraph((f"Symptom: {one.symptom}",))
        yield Bullets((("How to find the cause: ", one.diagnose), ("What to do: ", one.remedy)))


OWNER_TERMS = frozenset(f"runbook.owners.{one}" for one in ("team", "rotation", "escalation"))


def owners(subject: Subject) -> Iterator[Block]:
    """Whom to call."""
    found = subject.spec.runbook.owners
    rows: list[tuple[str, Line]] = [("Team", (found.team,))]
    if found.rotation is not None:
        rows.append(("On call", (found.rotation,)))
    rows.append(("Escalation, in order", told(found.escalation)))
    yield Facts(tuple(rows))


CHECKLIST = (
    ("ArtifactsVerified", "Artifacts packaged and versioned (code, model, data sample, "
                          "environment)"),
    ("Reproduced", "Reproduction validated by a teammate from scratch"),
    ("ContractsValid", "Data and API contracts documented with examples and edge cases"),
    ("AcceptancePassed", "Acceptance metrics, thresholds and guardrails defined and passed"),
    ("MonitoringReady", "Monitoring, alerts and dashboards specified"),
    ("RunbookComplete", "Rollback plan and on-call ownership documented"),
    ("GovernanceComplete", "Model card and privacy and security considerations completed"),
    ("Approved", "Sign-off from product, data science and engineering leads"),
)  # fmt: skip
"""Condition type, and what it stands for; the order of the handoff checklist."""


def checklist(subject: Subject) -> Iterator[Block]:
    """The eight points; ticked where the operator's status says so, otherwise open."""
    status = subject.status
    found = {one.type: one for one in status.conditions} if status and subject.current else {}
    items = tuple(_check(found.get(kind), text) for kind, text in CHECKLIST)
    yield Checks(items)
    if found:
        done = sum(ticked for ticked, _ in items)
        yield Paragraph((f"{done} of {len(items)}. What is not declared is not ticked.",))
    if status is not None and not subject.current:
        yield Paragraph(("The handoff was edited: nothing is known of it yet.",), quiet=True)


def _check(condition: Condition | None, text: str) -> tuple[bool, Line]:
    if condition is None:
        return False, (text,)
    why = f": {condition.message}" if condition.message else f" ({condition.reason})"
    return condition.status is ConditionStatus.TRUE, (text, why)
