"""Where an attempt's history comes from: the newest earlier attempt that knows anything.

It is asked for what it was judged with, and for what its own evidence adds. Every attempt that
ends hands on what it found, judged or not, so earlier attempts may be deleted; and since the answer
is a function of attempts that have ended, asking twice changes nothing.
"""

from __future__ import annotations

import contextlib
from typing import Final

from modelhandoff.analysis.past import MetricPast, added, learn
from modelhandoff.api.vocabulary import Phase
from modelhandoff.rollout.attempt import AttemptState
from modelhandoff.rollout.context import KIND_INITIAL, Context
from modelhandoff.rollout.history import History, Known, definition
from modelhandoff.rollout.judging import stored_evidence
from modelhandoff.rollout.snapshot import AttemptView, WorkloadView

OWN: Final = "own"
"""The baseline is a revision of this handoff: the successor of what was compared before."""
MAX_AGE: Final = 30 * 86_400.0
"""Seconds after which noise that was seen says nothing any more."""
MAX_METRICS: Final = 50


def inherited(ctx: Context) -> str:
    """The history of the attempt at hand, whose first interval is about to be judged."""
    now = _identity(ctx.baseline)
    found = _found(ctx)
    if found is None:
        return History(now).to_text()
    dropped = ""
    if now not in (OWN, found.baseline):
        dropped = "the baseline was replaced by another Deployment"
    elif ctx.now.timestamp() - found.end > MAX_AGE:
        dropped = f"the last judged interval is more than {MAX_AGE / 86_400:.0f} days old"
    metrics = {} if dropped else found.metrics
    return History(now, found.end, metrics, dropped).to_text()


def handed_on(ctx: Context) -> str:
    """What an attempt that ends unjudged leaves to the next: what it found itself."""
    found = None if ctx.attempt and ctx.attempt.kind == KIND_INITIAL else _found(ctx)
    return found.to_text() if found is not None else ""


def _identity(baseline: WorkloadView | None) -> str:
    if baseline is None:
        return ""
    return OWN if baseline.managed else f"{baseline.name}/{baseline.uid}"


def _found(ctx: Context) -> History | None:
    """The newest of the earlier attempts that has anything to say."""
    own = ctx.attempt
    if own is None:
        return None
    earlier = [
        a
        for a in ctx.snapshot.attempts
        if a.handoff_uid == own.handoff_uid and a.ordinal < own.ordinal
    ]
    for before in sorted(earlier, key=lambda a: -a.ordinal):
        state = AttemptState.from_status(before.status)
        if state.history or state.evidence:
            return _after(before, state)
        if before.kind == KIND_INITIAL and state.phase is Phase.PROMOTED:
            return None  # What serves now was never compared with what served before.
    return None


def _after(before: AttemptView, state: AttemptState) -> History:
    """What an attempt was judged with, and what it has seen itself."""
    older = History.read(state.history) if state.history else None
    older = older or History()
    seen = _seen(before, state)
    if seen is None:
        return older
    end, learned = seen
    metrics: dict[str, Known] = {}
    for metric in before.spec.monitoring.metrics:
        past = learned.get(metric.name)
        if past is None:
            continue
        told, known = definition(metric, before.spec), older.metrics.get(metric.name)
        if known is not None and known.definition == told:
            # Sums of another shape, by another version of the operator, cannot be added.
            with contextlib.suppress(ValueError):
                past = added({metric.name: past}, {metric.name: known.past})[metric.name]
        metrics[metric.name] = Known(told, past)
    rest = {name: known for name, known in older.metrics.items() if name not in metrics}
    kept = dict([*metrics.items(), *rest.items()][:MAX_METRICS])
    return History(older.baseline, end, kept)


def _seen(before: AttemptView, state: AttemptState) -> tuple[float, dict[str, MetricPast]] | None:
    """End of the last interval and what the evidence says; ``None`` if it cannot be read."""
    if not state.evidence:
        return None
    try:
        plan, evidence = stored_evidence(before.spec, state)
    except ValueError:
        return None  # Written by another version of the operator.
    learned = learn(plan, evidence, promoted=state.phase is Phase.PROMOTED)
    return evidence.last_end, learned
