"""From an export to a report: which sections there are, in which order, with which words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from math import isfinite

from modelhandoff.analysis import wording
from modelhandoff.api.attempt import AttemptKind
from modelhandoff.api.rollout_spec import Promotion
from modelhandoff.report.advice import advice, next_step
from modelhandoff.report.changes import changes
from modelhandoff.report.document import (
    Block,
    Bullets,
    Code,
    Facts,
    Figure,
    Heading,
    Line,
    Listing,
    Mark,
    Paragraph,
    Report,
    Row,
    Table,
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
from modelhandoff.report.plots import Span, steps
from modelhandoff.report.recomputed import Judged, judged
from modelhandoff.report.replay import Replay, replay
from modelhandoff.report.words import moment, span, unix


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
        *_measured(attempt, found),
        Heading("What changed"),
        changes(export),
        *_evidence(attempt, told),
        *_weights(attempt),
        *_sources(told),
        Heading("Timeline"),
        _timeline(attempt),
        Heading("Rules"),
        *_rules(attempt),
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
        yield "Verdict", (f"{verdict.outcome}, {verdict.reason}",)
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


def _weights(attempt: Attempt) -> Iterator[Block]:
    state = attempt.state
    if not state.stages:
        return
    points = [(one.start, float(one.weight)) for one in state.stages]
    if state.promoted_at is not None:
        points.append((state.promoted_at.timestamp(), 100.0))
    elif state.off_at is not None:
        points.append((state.off_at.timestamp(), 0.0))
    ends = [at.timestamp() for at in (state.phase_since, state.off_at, state.promoted_at) if at]
    ends += [state.verdict.at.timestamp()] if state.verdict else []
    first, last = points[0][0], max([*ends, points[-1][0]])
    room = max(last - first, 1.0) * 0.04
    window = Span(first - room, last + room)
    excluded = [Span(one.start, one.end) for one in state.exclusions]
    decided = state.verdict.at.timestamp() if state.verdict else None
    yield Heading("Weights over time")
    yield Figure(
        title="Share of the traffic on the candidate, in percent (UTC)",
        note="Grey: planned disturbances that gave no evidence." if excluded else "",
        plot=steps(points, window, excluded, decided, "The candidate's weight over time"),
        instead=Table(
            ("From", "Weight", "Step"),
            tuple(
                Row(((moment(unix(at)),), (f"{weight:.0f} %",), (_step(attempt, i),)))
                for i, (at, weight) in enumerate(points)
            ),
            (1,),
        ),
    )
    if state.exclusions:
        yield Bullets(
            tuple(
                (f"{moment(unix(e.start))}, {wording.duration(e.end - e.start)}: {e.why}",)
                for e in state.exclusions
            )
        )


def _step(attempt: Attempt, at: int) -> str:
    stages = attempt.state.stages
    count = len(attempt.spec.rollout.steps)
    return f"{stages[at].step + 1} of {count}" if at < len(stages) else "end"


def _timeline(attempt: Attempt) -> Block:
    lines = attempt.state.timeline
    if not lines:
        return Paragraph(("Nothing has happened yet.",))
    began = lines[0].at
    return Table(
        ("Time", "After", "What happened"),
        tuple(Row(((moment(one.at),), (_after(began, one.at),), (one.what,))) for one in lines),
        (1,),
    )


def _after(began: datetime, at: datetime) -> str:
    return "start" if at <= began else f"+{span(at - began)}"


def _rules(attempt: Attempt) -> Iterator[Block]:
    rollout, monitoring = attempt.spec.rollout, attempt.spec.monitoring
    decision = rollout.decision
    margin = f"{decision.harm_margin:g}x the baseline"
    safe = f", safe below {decision.safe_margin:g}x" if decision.safe_margin else ""
    unknown = wording.duration(rollout.on_metrics_unknown.hold_for.total_seconds())
    yield Facts(
        (
            ("Rollback", (f"combined evidence of harm at {1 / decision.harm_level:g}: at most "
                          f"{100 * decision.harm_level:g} % chance to blame a good candidate",)),
            ("Promotion", (f"every guardrail proven safe at {1 / decision.safe_level:g}: at most "
                           f"{100 * decision.safe_level:g} % chance per metric to pass a bad "
                           f"one; {_last_word(attempt)}",)),
            ("Harm is", (f"a rate above {margin}{safe}, or beyond the limit",)),
            ("Shortest", (f"{decision.min_looks} intervals of "
                          f"{wording.duration(monitoring.interval.total_seconds())} per step",)),
            ("Longest", (f"{wording.duration(decision.max_duration.total_seconds())}, then "
                         f"{decision.on_inconclusive}",)),
            ("Without data", (f"hold; weight 0 after {unknown}",)),
        )
    )  # fmt: skip
    yield Table(
        ("Step", "Weight", "At least", "Candidate requests"),
        tuple(
            Row(
                (
                    (str(at),),
                    (f"{one.weight} %",),
                    (wording.duration(one.min_duration.total_seconds()),),
                    (wording.count(one.min_samples),),
                )
            )
            for at, one in enumerate(rollout.steps, start=1)
        ),
        (1, 2, 3),
    )


def _last_word(attempt: Attempt) -> str:
    manual = attempt.spec.rollout.decision.promotion is Promotion.MANUAL
    return "a person has the last word" if manual else "automatic"


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
    for one in found.questions:
        yield Paragraph((Code(one.metric), f": {one.about}"))
        yield Listing(one.text)
    for name, why in found.refused:
        yield Paragraph((Code(name), f": not read, {why}."))
    if found.raw:
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
