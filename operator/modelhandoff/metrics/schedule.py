"""Which intervals count: decided from planned times alone, before any value is seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from modelhandoff.metrics.collector import Exclusion, Segment

__all__ = ["placed"]


def placed(
    start: float, end: float, schedule: Sequence[Segment], exclusions: Iterable[Exclusion]
) -> tuple[int, int, str]:
    """Step, weight and reason for exclusion of the interval ``(start, end]`` (Unix seconds).

    The reason is empty for an interval that counts. An interval counts when one landed weight
    was in force all through it and no planned window touches it.
    """
    before = [one for one in schedule if one.start <= start]
    inside = [one for one in schedule if start < one.start < end]
    for one in exclusions:
        if one.start < end and one.end > start:
            step, weight = (before[-1].step, before[-1].weight) if before else (0, 0)
            return step, weight, one.why
    if inside:
        last = inside[-1]
        return last.step, last.weight, f"weight {last.weight} % landed at {_clock(last.start)}"
    if not before:
        return 0, 0, "no weight had landed"
    return before[-1].step, before[-1].weight, ""


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%SZ")
