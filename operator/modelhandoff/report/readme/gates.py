"""What is asked for before a pod of the candidate exists: acceptance, governance, signatures."""

from __future__ import annotations

from collections.abc import Iterator

from modelhandoff.api.acceptance import (
    Acceptance,
    OfflineMetric,
    OfflineRole,
    Quality,
    Smoke,
    WithoutBaseline,
)
from modelhandoff.api.acceptance_jobs import AcceptanceTest, Reproduction, TestEvidence
from modelhandoff.api.quantities import format_duration
from modelhandoff.report.document import Block, Bullets, Code, Line, Paragraph
from modelhandoff.report.readme.subject import Subject
from modelhandoff.report.readme.terms import told

_SMOKE = ("absTolerance", "relTolerance", "topK")
_OFFLINE = (
    "metric",
    "role",
    "k",
    "atPrecision",
    "clusterBy",
    "minValue",
    "maxValue",
    "minRelativeChange",
    "nonInferiorityMargin",
)
_TEST_SET = ("label", "query", "weight", "output", "column", "threshold")
_TEST = ("name", "image", "command", "timeout", "evidence")
_AGAIN = ("image", "command", "within", "tolerance")
_METRIC = ("name", "value", "tolerance")
ACCEPTANCE_TERMS = frozenset(
    (
        *(f"acceptance.smoke.{one}" for one in _SMOKE),
        *(f"acceptance.offline[].{one}" for one in _OFFLINE),
        *(f"acceptance.testSet.{one}" for one in _TEST_SET),
        "acceptance.withoutBaseline",
        *(f"acceptance.tests[].{one}" for one in _TEST),
        *(f"acceptance.reproduce.{one}" for one in _AGAIN),
        *(f"acceptance.reproduce.metrics[].{one}" for one in _METRIC),
    )
)


def acceptance(subject: Subject) -> Iterator[Block]:
    """What the candidate must show offline."""
    found = subject.spec.acceptance
    if found is None:
        return
    yield from _smoke(found.smoke)
    yield from _offline(found)
    yield from _tests(found.tests)
    yield from _reproduction(found.reproduce)


def _smoke(smoke: Smoke | None) -> Iterator[Block]:
    if smoke is None:
        return
    yield Paragraph(
        (
            "Before a pod of it exists, the candidate must answer every golden case: each number "
            f"within {smoke.abs_tolerance:g}, or within {smoke.rel_tolerance:g} times the right "
            "one.",
            f" Of several numbers in a row, the positions of the {smoke.top_k} largest must agree."
            if smoke.top_k is not None
            else "",
        )
    )


def _offline(found: Acceptance) -> Iterator[Block]:
    if not found.offline:
        return
    judged = found.judged
    score = "The only output" if judged.output is None else f"Output {judged.output}"
    place = "" if judged.column is None else f", number {judged.column} of each row,"
    weight = "" if judged.weight is None else f", and weighted by {judged.weight}"
    yield Paragraph(
        (
            "On the rows of the test set candidate and baseline are compared before any traffic. "
            f"{score}{place} is judged against the column {judged.label}{weight}. "
            f"Decisions are positive from {judged.threshold:g} on; rows of one {judged.query} are "
            "one query. What must hold is proven by the lower end of a 90 % interval:",
        )
    )
    yield Bullets(tuple((_metric(metric, found),) for metric in found.offline))
    if found.compares:
        stops = found.without_baseline is WithoutBaseline.INCONCLUSIVE
        what = "the handoff stops as inconclusive" if stops else "comparisons are skipped"
        yield Paragraph((f"When there is no earlier model to compare with, {what}.",))


def _metric(metric: OfflineMetric, found: Acceptance) -> str:
    at = [f"@{one:g}" for one in (metric.k, metric.at_precision) if one is not None]
    asked = [
        text.format(value)
        for text, value in (
            ("is at least {:g}", metric.min_value),
            ("is at most {:g}", metric.max_value),
            ("is worse than the baseline's by at most {:g}", metric.non_inferiority_margin),
        )
        if value is not None
    ]
    if metric.min_relative_change is not None:
        share = 100 * metric.min_relative_change
        asked.append(f"is at least {share:g} % better than the baseline's")
    what = " and ".join(asked) or "is reported"
    if metric.role is OfflineRole.SECONDARY:
        what += ", which decides nothing"
    rows = found.judged.query if metric.metric is Quality.NDCG else "row"
    return f"{metric.metric}{''.join(at)} {what}; resampled by {metric.cluster_by or rows}."


def _tests(tests: tuple[AcceptanceTest, ...]) -> Iterator[Block]:
    if not tests:
        return
    yield Paragraph(("Before a pod of it exists, these tests must pass:",))
    shown = {
        TestEvidence.JUNIT: "by exit code and JUnit report",
        TestEvidence.EXIT_CODE: "by exit code",
    }
    yield Bullets(
        tuple(
            (
                f"{one.name} ({shown[one.evidence]}, within {format_duration(one.timeout)}): ",
                Code(" ".join(one.command)),
                " in ",
                Code(one.image),
            )
            for one in tests
        )
    )


def _reproduction(again: Reproduction | None) -> Iterator[Block]:
    if again is None:
        return
    yield Paragraph(
        (
            f"The model is made again within {format_duration(again.within)} by ",
            Code(" ".join(again.command)),
            " in ",
            Code(again.image),
            f"; these metrics must come out again, within {again.tolerance:g} where nothing else "
            "is said:",
        )
    )
    yield Bullets(
        tuple((f"{one.name}: {one.value:g} +- {again.allowed(one):g}",) for one in again.metrics)
    )


GOVERNANCE_TERMS = frozenset(
    {
        "governance.modelCard.requiredSections",
        "governance.pinnedEnvironment",
        "governance.sbom.maxSeverity",
    }
)


def governance(subject: Subject) -> Iterator[Block]:
    """What has to be written down."""
    found = subject.spec.governance
    if found is None:
        yield Paragraph(("The handoff asks for no model card and no bill of materials.",))
        return
    lines: list[Line] = []
    if found.model_card is not None:
        lines.append(("The model card has these sections: ",
                      *told(found.model_card.required_sections)))  # fmt: skip
    lines.append(
        (
            "Every library of the environment has one exact version."
            if found.pinned_environment
            else "Libraries of the environment need no exact version.",
        )
    )
    if found.sbom is not None:
        worst = found.sbom.max_severity
        lines.append((f"Known vulnerabilities in the bill of materials: {worst} at worst.",))
    yield Bullets(tuple(lines))


_APPROVALS = ("roles", "separateIdentities", "separateAuthor", "expiresAfter")
APPROVAL_TERMS = frozenset(f"approvals.{one}" for one in _APPROVALS)


def approvals(subject: Subject) -> Iterator[Block]:
    """Who has to sign."""
    found = subject.spec.approvals
    if found is None:
        return
    people = "each by a person of its own" if found.separate_identities else "by anybody who may"
    author = "nobody signs what they wrote" if found.separate_author else "the author may sign"
    yield Paragraph(
        (
            "No pod of the candidate exists before these roles have signed: ",
            *told(found.roles),
            f"; {people}; {author}; a signature counts for "
            f"{format_duration(found.expires_after)}. ",
            Code(f"kubectl handoff approve {subject.name} -n {subject.namespace} --role ROLE"),
        )
    )
