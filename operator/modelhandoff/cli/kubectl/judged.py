"""The verdict again, from the evidence that the attempt keeps: the operator's own engine.

The stored evidence is a complete checkpoint. Judging it here gives what the status is too small
for: the evidence of every metric, its proof of safety, what each rule saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from modelhandoff.cli.kubectl.api import Raw

if TYPE_CHECKING:
    from modelhandoff.analysis.verdict import Progress, Verdict
    from modelhandoff.api.handoff import ModelHandoffSpec
    from modelhandoff.rollout.attempt import AttemptState


@dataclass(frozen=True, slots=True)
class Judged:
    """An attempt's evidence, read once more.

    Attributes:
        verdict: ``None`` before the first judged interval, or when ``trouble`` says why not.
        at: the moment it speaks of: the latched verdict's, or now.
        trouble: why the evidence cannot be read here, such as another version's format.
    """

    spec: ModelHandoffSpec
    state: AttemptState
    progress: Progress
    verdict: Verdict | None
    at: datetime
    trouble: str = ""


def rejudge(attempt: Raw, now: datetime) -> Judged | None:
    """The verdict on the stored evidence; ``None`` when the attempt itself cannot be read."""
    from modelhandoff.cluster.objects import thaw
    from modelhandoff.errors import HandoffError, cut
    from modelhandoff.rollout.attempt import AttemptState
    from modelhandoff.rollout.judging import judge_again, progress_of

    try:
        spec = thaw(attempt["spec"]["snapshot"]).spec
        state = AttemptState.from_status(attempt.get("status") or {})
    except (HandoffError, ValueError, KeyError, TypeError):
        return None
    at = state.verdict.at if state.verdict is not None else now
    progress = progress_of(spec, state, at)
    verdict, trouble = None, ""
    try:
        found = judge_again(spec, state, at)
        verdict = found.verdict if found is not None else None
    except (HandoffError, ValueError, KeyError, TypeError, ArithmeticError) as failure:
        trouble = f"the evidence is of another version of this program ({cut(failure, 120)})"
    return Judged(spec, state, progress, verdict, at, trouble)
