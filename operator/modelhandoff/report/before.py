"""What was asked before traffic: the checks of the bundle, and the people who signed it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from modelhandoff.api.checks import CheckState
from modelhandoff.api.verification import needed
from modelhandoff.api.vocabulary import Phase
from modelhandoff.report.document import (
    Block,
    Code,
    Heading,
    Listing,
    Mark,
    Paragraph,
    Row,
    Table,
    Tone,
)
from modelhandoff.report.export import Attempt
from modelhandoff.report.words import moment
from modelhandoff.rollout.checklist import Matter, passed, points

_TONES: Final[Mapping[str, Tone]] = {
    CheckState.PASSED: Tone.GOOD,
    CheckState.FAILED: Tone.BAD,
    CheckState.INCONCLUSIVE: Tone.WAIT,
    CheckState.SKIPPED: Tone.PLAIN,
}
_POINTS: Final[Mapping[str, tuple[str, Tone]]] = {
    "True": ("yes", Tone.GOOD),
    "False": ("no", Tone.BAD),
    "Unknown": ("not shown", Tone.PLAIN),
}
_FINE: Final = (CheckState.PASSED, CheckState.SKIPPED)


def stopped(attempt: Attempt) -> bool:
    """Whether the checks kept the candidate from starting: then they come first."""
    state = attempt.state
    made = (*state.checks, *state.jobs)
    return bool(state.checks_problem) or any(one.get("state") not in _FINE for one in made)


def checks(attempt: Attempt) -> Iterator[Block]:
    """Every check of the verification Job, then the tenant's own, in the order of their runs."""
    state = attempt.state
    made = (*state.checks, *state.jobs)
    if not made and not state.checks_problem:
        return
    yield Heading("Checks before traffic")
    if state.checks_problem:
        yield Paragraph((f"The verification Job left no usable report: {state.checks_problem}",))
    yield Table(("Check", "Result", "What was found"), tuple(_row(one) for one in made))
    for one in state.jobs:
        if one.get("log"):
            yield Paragraph(("The end of the log of ", Code(str(one.get("name"))), ":"))
            yield Listing(str(one["log"]))


def _row(check: Mapping[str, Any]) -> Row:
    result = str(check.get("state") or "")
    tone = _TONES.get(result, Tone.WAIT)
    numbers = check.get("numbers") or {}
    told = "; ".join(f"{name} {float(numbers[name]):g}" for name in sorted(numbers))
    found = str(check.get("message") or "-")
    return Row(
        (
            (Code(str(check.get("name") or "")),),
            (Mark(result.lower(), tone),),
            (f"{found} ({told})" if told else found,),
        ),
        tone if tone in (Tone.BAD, Tone.WAIT) else Tone.PLAIN,
    )


def checklist(attempt: Attempt) -> Iterator[Block]:
    """The handoff's checklist as it stood at the end, from the attempt alone."""
    found = points(
        Matter(
            spec=attempt.spec,
            state=attempt.state,
            asked=needed(attempt.spec),
            waiting="Not every role has signed."
            if attempt.state.phase is Phase.AWAITING_APPROVAL
            else "",
        )
    )
    yield Heading(f"Handoff checklist: {passed(found)} of {len(found)}")
    yield Table(
        ("Point", "Passed", "Why"),
        tuple(_point(kind, *condition) for kind, condition in found.items()),
    )


def _point(kind: str, value: str, reason: str, message: str) -> Row:
    word, tone = _POINTS[value]
    told = f"{reason}: {message}" if message else reason
    return Row(((Code(kind),), (Mark(word, tone),), (told,)))


def approvals(attempt: Attempt) -> Iterator[Block]:
    """Who let the attempt through its gate."""
    signed = attempt.state.approvals
    if not signed:
        return
    yield Heading("Approvals")
    yield Table(
        ("Role", "Who", "When", "Comment"),
        tuple(
            Row(((one.role,), (Code(one.approver),), (moment(one.at),), (one.comment or "-",)))
            for one in signed
        ),
    )
