"""How the attempt went: weights over time, the timeline, and the rules it was judged by."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from modelhandoff.analysis import wording
from modelhandoff.api.rollout_spec import Promotion
from modelhandoff.report.document import (
    Block,
    Bullets,
    Facts,
    Figure,
    Heading,
    Line,
    Paragraph,
    Row,
    Table,
)
from modelhandoff.report.export import Attempt
from modelhandoff.report.plots import Span, steps
from modelhandoff.report.words import moment, span, unix
from modelhandoff.rollout.shares import shares_of

_MOST_LINES: Final = 40
"""Lines of a timeline or of a list; as many as an attempt keeps."""


def weights(attempt: Attempt) -> Iterator[Block]:
    """The weights that landed, drawn over time."""
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
        shown = state.exclusions[:_MOST_LINES]
        lines: list[Line] = [
            (f"{moment(unix(e.start))}, {wording.duration(e.end - e.start)}: {e.why}",)
            for e in shown
        ]
        if len(shown) < len(state.exclusions):
            lines.append((f"and {len(state.exclusions) - len(shown)} more",))
        yield Bullets(tuple(lines))


def _step(attempt: Attempt, at: int) -> str:
    stages = attempt.state.stages
    count = len(shares_of(attempt.spec))
    return f"{stages[at].step + 1} of {count}" if at < len(stages) else "end"


def timeline(attempt: Attempt) -> Block:
    """What happened, line by line."""
    lines = attempt.state.timeline
    if not lines:
        return Paragraph(("Nothing has happened yet.",))
    began = lines[0].at
    if len(lines) > _MOST_LINES:
        lines = (lines[0], *lines[1 - _MOST_LINES :])
    return Table(
        ("Time", "After", "What happened"),
        tuple(Row(((moment(one.at),), (_after(began, one.at),), (one.what,))) for one in lines),
        (1,),
    )


def _after(began: datetime, at: datetime) -> str:
    return "start" if at <= began else f"+{span(at - began)}"


def rules(attempt: Attempt) -> Iterator[Block]:
    """Levels, margins and steps that the verdict obeyed."""
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
                    (str(at) if one.weight < 100 else "probation",),
                    (f"{one.weight} %",),
                    (wording.duration(one.min_duration.total_seconds()),),
                    (wording.count(one.min_samples),),
                )
            )
            for at, one in enumerate(shares_of(attempt.spec), start=1)
        ),
        (1, 2, 3),
    )


def _last_word(attempt: Attempt) -> str:
    manual = attempt.spec.rollout.decision.promotion is Promotion.MANUAL
    return "a person has the last word" if manual else "automatic"
