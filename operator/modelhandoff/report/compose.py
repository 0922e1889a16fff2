"""From an export to a report: which sections there are, in which order, with which words."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Final

from modelhandoff.analysis import wording
from modelhandoff.api.attempt import AttemptKind
from modelhandoff.report.advice import advice, next_step
from modelhandoff.report.before import approvals, checklist, checks, stopped
from modelhandoff.report.changes import changes
from modelhandoff.report.document import (
    Block,
    Bullets,
    Code,
    Facts,
    Heading,
    Line,
    Listing,
    Mark,
    Paragraph,
    Report,
    Tone,
)  # fmt: skip
from modelhandoff.report.export import Attempt, Export
from modelhandoff.report.findings import (
    evidence,
    findings,
    notes,
    shapes,
    split,
    table,
    tails,
)  # fmt: skip
from modelhandoff.report.headline import Headline, headline
from modelhandoff.report.recomputed import Judged, judged
from modelhandoff.report.replay import Replay, replay
from modelhandoff.report.story import rules, timeline, weights
from modelhandoff.report.words import moment, span, unix

_MOST_QUERIES: Final = 30_000
"""Characters of queries in a report: it has to fit where it is kept."""


def compose(export: Export) -> Report:
    """Everything there is to say. A function of the export alone: no clock, no network."""
    attempt = export.attempt
    found = judged(attempt)
    told = found if isinstance(found, Judged) else None
    first = headline(export)
    verdict = attempt.state.verdict
    end = told.end if told is not None and told.looks else None
    blocks = [
        Facts(tuple(_facts(export, first, told))),
        *(checks(attempt) if stopped(attempt) else ()),
        *_measured(attempt, found),
        *_changed(export),
        *(() if stopped(attempt) else checks(attempt)),
        *checklist(attempt),
        *approvals(attempt),
        *_evidence(attempt, told),
        *weights(attempt),
        *_sources(told),
        Heading("Timeline"),
        timeline(attempt),
        Heading("Rules"),
        *rules(attempt),
        *_replay(replay(export, end)),
        Heading("What happens next, and how to decide otherwise"),
        *advice(export),
        *_frozen(attempt),
    ]
    return Report(
        title=f"{attempt.model}: {first.word}",
        about=f"{attempt.namespace}/{attempt.handoff}, attempt {attempt.ordinal} ({attempt.name})",
        headline=first.sentence,
        tone=first.tone,
        why=verdict.message if verdict is not None else "",
        blocks=tuple(blocks),
    )


def _facts(export: Export, first: Headline, told: Judged | None) -> Iterator[tuple[str, Line]]:
    attempt = export.attempt
    state, verdict = attempt.state, attempt.state.verdict
    yield "Production safe", (Mark(first.safe, Tone.GOOD if first.safe == "yes" else Tone.WAIT),)
    yield "Serves", (first.serves,)
    yield "Since", (first.since,)
    yield "Candidate got", (first.share,)
    if told is not None and told.looks:
        most = max((one.samples for one in told.metrics.values()), default=0.0)
        yield "Judged", (f"{told.looks} intervals, {wording.count(most)} candidate requests",)
    if verdict is not None:
        yield "Verdict", (", ".join(dict.fromkeys((str(verdict.outcome), verdict.reason))),)
        if verdict.look:
            bound = wording.evidence(1.0 / attempt.spec.rollout.decision.harm_level)
            shown = wording.evidence(verdict.total_e) if isfinite(verdict.total_e) else "-"
            yield "Evidence of harm", (f"{shown}, rollback at {bound}",)
    if told is not None and told.looks:
        yield "Traffic split", split(told)
    if state.withheld is not None:
        yield "Withheld", (state.withheld.message,)
    if state.paused_seconds or state.paused_at:
        until = state.phase_since or state.paused_at
        length = state.paused_for(until) if until else None
        yield "Paused", (span(length) if length is not None else "-",)
    yield "Next", next_step(export)
    if export.now is not None and not export.current and export.now.message:
        ref = export.now.attempt_ref
        yield "Since then", (f"{ref.name}: " if ref else "", export.now.message)


def _measured(attempt: Attempt, found: Judged | str) -> Iterator[Block]:
    yield Heading("Metrics at the decision" if attempt.state.verdict else "Metrics so far")
    told = found if isinstance(found, Judged) else None
    every = findings(attempt, told)
    if told is None:
        first = attempt.kind is AttemptKind.INITIAL
        why = "There was no version to compare with." if first else str(found)
        yield Paragraph((why if attempt.state.metrics else f"Nothing was measured. {why}",))
    yield table(every)
    remarks = notes(every)
    if remarks:
        yield Bullets(remarks)


def _changed(export: Export) -> Iterator[Block]:
    known = export.baseline_attempt is not None
    yield Heading("What changed" if known else "What was tried")
    yield changes(export)
    if not known and export.attempt.kind is AttemptKind.ROLLOUT:
        yield Paragraph(
            (
                "With the attempt that brought the version before in the export, this table says "
                "what changed.",
            ),
            quiet=True,
        )


def _evidence(attempt: Attempt, told: Judged | None) -> Iterator[Block]:
    if told is None:
        return
    yield Heading("Evidence")
    yield evidence(attempt, told, findings(attempt, told))
    verdict = attempt.state.verdict
    if verdict is None or verdict.look != told.looks:
        return
    text = "Computed again from the stored checkpoint: equal to what was latched."
    if abs(told.total_e - verdict.total_e) > 1e-6 * max(1.0, abs(verdict.total_e)):
        text = (
            f"Computed again from the stored checkpoint it is {wording.evidence(told.total_e)}, "
            f"latched was {wording.evidence(verdict.total_e)}: another version judged."
        )
    yield Paragraph((text,), quiet=True)


def _sources(told: Judged | None) -> Iterator[Block]:
    if told is None:
        return
    figures, slow = shapes(told), tails(told)
    if figures or slow:
        yield Heading("Distributions and latency")
    yield from figures
    yield from slow


def _replay(found: Replay | None) -> Iterator[Block]:
    if found is None:
        return
    yield Heading("Ask Prometheus again")
    yield Paragraph(
        (
            f"From {moment(unix(found.start))} to {moment(unix(found.end))}. The time range is "
            "in the query, so it can be pasted as it is, for as long as Prometheus keeps the "
            "data. increase() extrapolates to the ends of the range: expect values close to the "
            "table, not equal.",
        )
    )
    room = _MOST_QUERIES
    for at, one in enumerate(found.questions):
        room -= len(one.text)
        if room < 0:
            left = len(found.questions) - at
            yield Paragraph((f"{left} more metrics are asked in the same way.",))
            break
        yield Paragraph((Code(one.metric), f": {one.about}"))
        yield Listing(one.text)
    for name, why in found.refused:
        yield Paragraph((Code(name), f": not read, {why}."))
    if found.raw and len(found.raw) < _MOST_QUERIES:
        yield Paragraph(("The raw samples that the operator counted, with its own selector:",))
        yield Listing(found.raw)


def _frozen(attempt: Attempt) -> Iterator[Block]:
    yield Heading("What this report rests on")
    yield Bullets(
        (
            ("Bundle ", Code(attempt.bundle), ", revision ", Code(attempt.revision), "."),
            (
                "The attempt's spec never changes; a latched verdict neither changes nor goes "
                "away. The same export gives the same report, byte for byte.",
            ),
            (
                "The attempt has ended: this is its final report."
                if attempt.state.phase.terminal
                else "The attempt has not ended: export it again for the final report.",
            ),
        )
    )


__all__ = ["compose"]
