"""The handoff README: which sections there are, and that no term is forgotten.

Every section names the terms that its own words tell. Whatever else a handoff says, fields that
are younger than this module included, stands in a table at the end of the section that it
belongs to, in the words of its model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from modelhandoff.report.document import Block, Code, Heading, Report, Row, Table, Tone
from modelhandoff.report.readme import bundle, gates, interface, measures, people, rules
from modelhandoff.report.readme.subject import Subject
from modelhandoff.report.readme.terms import Term, terms, told

Tell = Callable[[Subject], Iterable[Block]]


@dataclass(frozen=True, slots=True)
class Section:
    """One section.

    Attributes:
        tell: its blocks.
        shown: patterns of the terms that those blocks tell.
        roots: blocks of the spec whose other terms it lists; the longest root wins.
    """

    title: str
    tell: Tell
    shown: frozenset[str]
    roots: tuple[str, ...] = ()


def _both(first: Tell, second: Tell) -> Tell:
    return lambda subject: (*first(subject), *second(subject))


SECTIONS: Final = (
    Section("Purpose", bundle.purpose, bundle.PURPOSE_TERMS, ("candidate.model",)),
    Section(
        "Artifacts", bundle.artifacts, bundle.ARTIFACT_TERMS,
        ("candidate.artifacts", "candidate.signature"),
    ),
    Section("Environment", bundle.environment, bundle.ENVIRONMENT_TERMS, ("candidate",)),
    Section("Data schema", interface.data, interface.DATA_TERMS, ("contracts.data",)),
    Section("API", interface.api, interface.API_TERMS, ("contracts",)),
    Section(
        "Metrics and acceptance criteria",
        _both(gates.acceptance, measures.metrics),
        gates.ACCEPTANCE_TERMS | measures.METRIC_TERMS,
        ("acceptance", "monitoring.metrics"),
    ),
    Section("Rollout", rules.rollout, rules.ROLLOUT_TERMS, ("rollout", "baseline")),
    Section("Monitoring", people.monitoring, people.MONITORING_TERMS, ("monitoring",)),
    Section("Runbook", people.runbook, people.RUNBOOK_TERMS, ("runbook",)),
    Section("Owners", people.owners, people.OWNER_TERMS, ("runbook.owners",)),
    Section(
        "Responsible AI and compliance", gates.governance, gates.GOVERNANCE_TERMS, ("governance",)
    ),
    Section(
        "Checklist", _both(gates.approvals, people.checklist), gates.APPROVAL_TERMS, ("approvals",)
    ),
    Section("Further terms", lambda _: (), frozenset(), ("",)),
)  # fmt: skip

LEFT_OUT: Final[Mapping[str, str]] = {
    "suspend": "a switch of the moment, no term of the handoff",
}
"""Terms that the README does not tell, and why."""


def compose_readme(subject: Subject) -> Report:
    """The whole document. A function of the subject alone: no clock, no network."""
    model = subject.spec.candidate.model
    blocks: list[Block] = []
    rest = leftovers(subject)
    for section in SECTIONS:
        own = [*section.tell(subject), *_listed(rest[section.title])]
        if own:
            blocks += [Heading(section.title), *own]
    return Report(
        title=f"Handoff: {model.name} {model.version}",
        about=f"ModelHandoff {subject.namespace}/{subject.name}, generated from the resource: "
        "edit that instead.",
        headline="",
        tone=Tone.PLAIN,
        why="",
        blocks=tuple(blocks),
    )


def leftovers(subject: Subject) -> dict[str, list[Term]]:
    """Terms that no section tells in words of its own, by the title of the one they belong to."""
    known = frozenset[str]().union(*(section.shown for section in SECTIONS))
    found: dict[str, list[Term]] = {section.title: [] for section in SECTIONS}
    for term in terms(subject.spec):
        if term.pattern not in known and term.pattern not in LEFT_OUT:
            found[home(term.pattern)].append(term)
    return found


def home(pattern: str) -> str:
    """Title of the section that a term belongs to."""
    rooted = [
        (len(root), section.title)
        for section in SECTIONS
        for root in section.roots
        if not root or pattern == root or pattern.startswith((f"{root}.", f"{root}["))
    ]
    return max(rooted)[1]


def _listed(rest: Iterable[Term]) -> Iterator[Block]:
    rows = tuple(Row(((Code(one.path),), told(one.value), (one.about,))) for one in rest)
    if rows:
        yield Table(("Term", "Value", "Meaning"), rows)
