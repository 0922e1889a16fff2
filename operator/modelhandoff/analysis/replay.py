"""Intervals one after another through the engine, with the clock read off the intervals.

What ``judge`` and ``simulate`` share: :func:`~.evidence.observe` and :func:`~.judge.judge`, the
functions the operator runs, with the progress (step, looks, time) that it would hand over.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from modelhandoff.analysis.checks import proofs_hold
from modelhandoff.analysis.compiled import compiled
from modelhandoff.analysis.evidence import Evidence, observe, readout
from modelhandoff.analysis.intervals import Interval
from modelhandoff.analysis.judge import judge
from modelhandoff.analysis.plan import DriftPlan, Plan
from modelhandoff.analysis.verdict import Progress, Verdict

__all__ = ["Pace", "Replay"]


@dataclass(frozen=True, slots=True)
class Pace:
    """The minimums of one step."""

    min_seconds: float = 0.0
    min_samples: float = 0.0


class Replay:
    """One attempt, judged interval by interval.

    Args:
        plan: what is judged.
        paces: minimums per step; none when left out.
        max_seconds: end of the run, or None.
        intervals: also compute the displayed ratio intervals.
    """

    def __init__(
        self,
        plan: Plan,
        paces: Sequence[Pace] = (),
        max_seconds: float | None = None,
        *,
        intervals: bool = True,
    ) -> None:
        self.plan = plan
        self.evidence = Evidence.start(plan)
        self._paces = tuple(paces)
        self._max_seconds = max_seconds
        self._intervals = intervals
        self._begin: float | None = None
        self._step = -1
        self._since = 0.0
        self._looks = 0
        self._requests = 0.0
        self._last_data = 0.0

    def look(self, interval: Interval) -> Verdict:
        """Take in one interval and judge; intervals come in the order of their index."""
        self.take(interval)
        return self.verdict(interval.end)

    def take(self, interval: Interval) -> None:
        """Take in one interval without judging."""
        self.evidence = observe(self.plan, self.evidence, interval)
        if self._begin is None:
            self._begin = self._last_data = interval.start
        if interval.step != self._step:
            self._step, self._since = interval.step, interval.start
            self._looks, self._requests = 0, 0.0
        if not interval.excluded:
            self._looks += 1
            self._requests += interval.requests[0]
        if interval.requests[0] > 0.0:
            self._last_data = interval.end

    def undecided(self, now: float) -> bool:
        """Whether the verdict can only be to go on or to hold, without computing it.

        Without evidence for harm a rollout can only rise or be promoted: not before ``min_looks``
        of its step, and on the last step not while a proof is missing.
        """
        plan = self.plan
        over = self._max_seconds is not None and now - (self._begin or 0.0) >= self._max_seconds
        lasting = any(isinstance(m, DriftPlan) and m.sustained is not None for m in plan.metrics)
        found = readout(plan, self.evidence)
        if over or lasting or found.total_e * plan.harm_level >= 1.0:
            return False
        if self._looks < plan.min_looks:
            return True
        return self._step >= len(plan.steps) - 1 and not proofs_hold(compiled(plan), found)

    def verdict(self, now: float) -> Verdict:
        """The verdict on everything so far at time ``now`` (seconds since the epoch)."""
        step = max(self._step, 0)
        pace = self._paces[min(step, len(self._paces) - 1)] if self._paces else Pace()
        silent = now - self._last_data
        progress = Progress(
            elapsed_seconds=now - (self._begin or 0.0),
            step=step,
            last_step=step >= len(self.plan.steps) - 1,
            step_looks=self._looks,
            step_requests=self._requests,
            step_elapsed_seconds=now - self._since,
            step_min_seconds=pace.min_seconds,
            step_min_samples=pace.min_samples,
            max_duration_seconds=self._max_seconds,
            # An interval closes late by its own length; that is not silence.
            seconds_without_data=max(0.0, silent - 2.0 * self.plan.interval_seconds),
        )
        return judge(self.plan, self.evidence, progress, intervals=self._intervals)
