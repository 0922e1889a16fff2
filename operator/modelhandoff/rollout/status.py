"""The handoff's status: one true sentence, the next action, conditions, bounded history.

Rendered from what is seen, never from what is hoped: the controller writes it once a pass has
nothing left to do, so every effect precedes the condition that claims it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from modelhandoff.api import names
from modelhandoff.api.vocabulary import ConditionType, Outcome, Phase, Reason
from modelhandoff.errors import cut
from modelhandoff.rollout import checklist
from modelhandoff.rollout.approving import missing_roles
from modelhandoff.rollout.attempt import AttemptState, span, stamp
from modelhandoff.rollout.context import Context, Move
from modelhandoff.rollout.history import told
from modelhandoff.rollout.latching import merged, summary
from modelhandoff.rollout.lifecycle import settled
from modelhandoff.rollout.shares import on_probation, shares_of

_MAX_HISTORY = 10
_MAX_SENTENCE = 1000
_MAX_EXEMPTIONS = 32
_MAX_REASON = 253


def render(ctx: Context, move: Move) -> dict[str, Any]:
    """The status of the handoff as it is true now."""
    whole, ctx = ctx, _spoken_of(ctx)
    state, attempt = ctx.state, ctx.attempt
    sentence = _sentence(ctx, move)
    if ctx is not whole and not move.stalled:
        tried = f"{whole.model} was tried in between: {whole.state.phase}"
        sentence = f"{sentence} The handoff says again what serves; {tried}."
    found: dict[str, Any] = {
        "observedGeneration": ctx.handoff.generation,
        "message": cut(sentence, _MAX_SENTENCE),
    }
    if attempt is not None:
        found["phase"] = str(state.phase)
        found["attemptRef"] = {"name": attempt.name, "ordinal": attempt.ordinal}
        model = attempt.spec.candidate.model
        found["candidate"] = {"version": model.version, "revision": attempt.revision}
        count = len(shares_of(attempt.spec))
        step: dict[str, Any] = {
            "index": state.step + 1,
            "count": count,
            "label": f"{state.step + 1}/{count}",
            "weight": _weight(ctx),
        }
        if state.step_since is not None:
            step["startedAt"] = stamp(state.step_since)
        found["step"] = step
        verdict = _verdict(ctx, move)
        if verdict:
            found["verdict"] = verdict
        metrics = _metrics(ctx)
        if metrics:
            found["metrics"] = metrics
        products = attempt.spec.candidate.serving.gpu
        if products is not None:
            found["gpu"] = _gpu(ctx)
    serving = ctx.stable or ctx.adopted
    if serving is not None:
        stable: dict[str, Any] = {
            "version": serving.version,
            "revision": _full_revision(ctx, serving.revision) or serving.name,
        }
        if serving.promoted_at is not None:
            stable["since"] = stamp(serving.promoted_at)
        found["stable"] = stable
    action = next_action(ctx, move)
    if action:
        found["nextAction"] = action
    history = _history(whole)
    if history:
        found["history"] = history
    if ctx.snapshot.exemptions:
        found["exemptions"] = [
            {"rule": cut(one.rule, 63), "reason": cut(one.reason, _MAX_REASON)}
            for one in ctx.snapshot.exemptions[:_MAX_EXEMPTIONS]
        ]
    points = checklist.points(_matter(ctx, move))
    passed, total = checklist.passed(points), len(points)
    found["checklist"] = {"passed": passed, "total": total, "label": f"{passed}/{total}"}
    found["conditions"] = _conditions(ctx, {**_values(ctx, move, sentence), **points})
    return found


def _matter(ctx: Context, move: Move) -> checklist.Matter | None:
    """What the checklist is judged by."""
    attempt = ctx.attempt
    if attempt is None:
        return None
    pods = ctx.candidate.pods if ctx.candidate else ()
    return checklist.Matter(
        spec=attempt.spec,
        state=ctx.state,
        asked=bool(attempt.verification),
        fetched=any(pod.init_exit_code == 0 for pod in pods),
        waiting=move.sentence if move.reason == Reason.AWAITING_APPROVAL else "",
    )


def _spoken_of(ctx: Context) -> Context:
    """The attempts up to the one that the status speaks of: as a rule all of them.

    Who takes an edit back says again what serves. What was tried in between is history: nothing
    of it stands any more, and nobody has to do anything about it.
    """
    if ctx.attempt is None or not settled(ctx) or _current(ctx):
        return ctx
    served = [
        a.ordinal
        for a in ctx.snapshot.attempts
        if a.handoff_uid == ctx.handoff.uid
        and a.bundle == ctx.bundle
        and AttemptState.from_status(a.status).phase is Phase.PROMOTED
    ]
    if not served:
        return ctx
    upto = tuple(a for a in ctx.snapshot.attempts if a.ordinal <= max(served))
    return Context(dataclasses.replace(ctx.snapshot, attempts=upto), ctx.settings)


def _sentence(ctx: Context, move: Move) -> str:
    """What is going on: for a running attempt what it does, for an ended one how it ended."""
    state = ctx.state
    serving = ctx.stable or ctx.adopted
    now_serving = f"100 % on {serving.version}" if serving else "nothing serves"
    verdict = state.verdict
    if move.stalled:
        return move.sentence
    if ctx.attempt is None:
        return move.sentence or "Waiting."
    if state.phase is Phase.PROMOTED:
        since = f" since {_clock(state.promoted_at)}" if state.promoted_at else ""
        why = verdict.message if verdict else ""
        return f"{ctx.model} serves all traffic{since}. {why}".strip()
    if state.phase.terminal and verdict is not None:
        share = ""
        if state.first_weight_at is not None:
            off = state.off_at or verdict.at
            share = (
                f" {ctx.spec.candidate.model.version} had up to {state.max_weight} % "
                f"for {span(off - state.first_weight_at)};"
            )
        head = {
            Outcome.ROLLBACK: "Rolled back",
            Outcome.REJECT: "Rejected before traffic",
            Outcome.INCONCLUSIVE: "Inconclusive",
            Outcome.ABORT: "Aborted",
            Outcome.SUPERSEDE: "Superseded",
        }.get(verdict.outcome, str(verdict.outcome))
        return f"{head} at {_clock(verdict.at)}: {now_serving}.{share} {verdict.message}".strip()
    weight = f"{_weight(ctx)} % on {ctx.model}: " if state.phase is Phase.PROGRESSING else ""
    return weight + (move.sentence or f"{ctx.model} is {state.phase}.")


def next_action(ctx: Context, move: Move) -> str:
    """The next command a person may want, ready to paste; empty when nothing is needed."""
    attempt, state = ctx.attempt, ctx.state
    if attempt is None or move.reason == Reason.SPEC_INVALID:
        return ""
    where = f"kubectl annotate mho {ctx.handoff.name} -n {ctx.handoff.namespace}"
    if move.reason == Reason.AWAITING_APPROVAL:
        return _approve(ctx)
    if state.verdict is not None and state.verdict.reason == Reason.APPROVAL_REJECTED:
        return "Apply a corrected candidate; a rejection is final for what was rejected."
    if move.reason == Reason.MANUAL_GATE:
        return f"{where} {names.ANNOTATION_PROMOTE}={attempt.name}"
    if state.phase in (Phase.INCONCLUSIVE, Phase.ABORTED) or (
        state.phase in (Phase.ROLLED_BACK, Phase.REJECTED)
    ):
        again = f"{where} --overwrite {names.ANNOTATION_RETRY}={attempt.name}"
        if state.phase in (Phase.ROLLED_BACK, Phase.REJECTED):
            return f"Apply a corrected candidate, or try the same again: {again}"
        return again
    if move.reason == Reason.PAUSED:
        return f"{where} {names.ANNOTATION_PAUSE}- (or suspend: false) resumes"
    if state.phase is Phase.PROGRESSING and move.reason == Reason.MAX_DURATION:
        return (
            f"{where} {names.ANNOTATION_PROMOTE}={attempt.name} promotes, "
            f"{where} {names.ANNOTATION_ABORT}={attempt.name} goes back"
        )
    return ""


def _approve(ctx: Context) -> str:
    """How the next role approves; the others, where there are any, do the same."""
    first, *others = missing_roles(ctx) or ("",)
    more = f" (then also --role {', '.join(others)})" if others else ""
    handoff = ctx.handoff
    return f"kubectl handoff approve {handoff.name} -n {handoff.namespace} --role {first}{more}"


def _conditions(
    ctx: Context, values: Mapping[ConditionType, checklist.Condition]
) -> list[dict[str, Any]]:
    """All condition types, always; a time moves only when the value changes."""
    before = {c["type"]: c for c in ctx.handoff.status.get("conditions") or ()}
    found = []
    for kind in ConditionType:
        value, reason, message = values[kind]
        old = before.get(str(kind))
        changed = old is None or old.get("status") != value
        found.append(
            {
                "type": str(kind),
                "status": value,
                "reason": reason,
                "message": cut(message, _MAX_SENTENCE),
                "lastTransitionTime": stamp(ctx.now)
                if changed or old is None
                else old["lastTransitionTime"],
                "observedGeneration": ctx.handoff.generation,
            }
        )
    return found


def _values(ctx: Context, move: Move, sentence: str) -> Mapping[ConditionType, checklist.Condition]:
    """The conditions that are no point of the checklist."""
    state, attempt = ctx.state, ctx.attempt
    reason = str(move.reason or Reason.PENDING)
    working = (ctx.active or attempt is None or not _current(ctx)) and not move.stalled
    promoted = attempt is not None and state.phase is Phase.PROMOTED and _current(ctx)
    steady = (promoted or settled(ctx)) and not move.stalled
    stalled = move.stalled or (not working and not steady)
    if steady:
        reason = str(Reason.STEADY)
    elif attempt is not None and state.phase.terminal and _current(ctx) and not move.stalled:
        reason = str(state.phase)
    paused = move.reason in (
        Reason.PAUSED,
        Reason.FROZEN,
        Reason.MANUAL_GATE,
        Reason.AWAITING_APPROVAL,
    )
    return {
        ConditionType.READY: ("True" if steady else "False", reason, sentence),
        ConditionType.RECONCILING: (
            "True" if working and not steady else "False",
            reason if working else "Done",
            sentence if working else "",
        ),
        ConditionType.STALLED: (
            "True" if stalled else "False",
            reason if stalled else "Working",
            sentence if stalled else "",
        ),
        ConditionType.PAUSED: (
            "True" if paused else "False",
            str(move.reason) if paused else "NotPaused",
            sentence if paused else "",
        ),
        ConditionType.CAPACITY_AVAILABLE: _capacity(ctx, move),
        ConditionType.CANARY_READY: _canary(ctx, move),
        ConditionType.TRAFFIC_ALIGNED: _traffic(ctx, move),
        ConditionType.METRICS_AVAILABLE: _metrics_available(ctx),
        ConditionType.PROMOTED: (
            "True" if promoted else "False",
            str(Reason.PROMOTED if promoted else Reason.NOT_STARTED),
            "",
        ),
    }


def _capacity(ctx: Context, move: Move) -> checklist.Condition:
    short = (Reason.CAPACITY_SHORTAGE, Reason.QUOTA_EXCEEDED)
    verdict = ctx.state.verdict
    if move.reason in short:
        return "False", str(move.reason), move.sentence
    if verdict is not None and verdict.reason in short:
        return "False", verdict.reason, verdict.message
    if ctx.candidate is not None and any(p.node for p in ctx.candidate.pods):
        return "True", str(Reason.CAPACITY_AVAILABLE), ""
    return "Unknown", str(Reason.NOT_STARTED), ""


def _canary(ctx: Context, move: Move) -> checklist.Condition:
    candidate = ctx.candidate
    if candidate is None:
        return "Unknown", str(Reason.NOT_STARTED), ""
    if candidate.desired and candidate.ready >= candidate.desired:
        return "True", str(Reason.CANARY_READY), f"{candidate.ready} pods are ready."
    reason = move.reason if str(move.reason).startswith(("Canary", "Image", "Artifact")) else ""
    return (
        "False",
        str(reason or Reason.CANARY_NOT_READY),
        f"{candidate.ready} of {candidate.desired} pods are ready.",
    )


def _traffic(ctx: Context, move: Move) -> checklist.Condition:
    route = ctx.snapshot.route
    if route is None:
        return "Unknown", str(Reason.NOT_STARTED), ""
    if move.reason in (Reason.TRAFFIC_CONTESTED, Reason.ROUTE_CONFLICT):
        return "False", str(move.reason), move.sentence
    if not route.landed:
        return "False", str(Reason.TRAFFIC_PENDING), cut(route.message, 500)
    shares = ", ".join(f"{weight} % {service}" for service, weight in route.backends.items())
    return "True", str(Reason.TRAFFIC_ALIGNED), shares


def _metrics_available(ctx: Context) -> checklist.Condition:
    state = ctx.state
    begun = state.step_since is not None or state.unknown_since is not None
    if state.phase is not Phase.PROGRESSING or not begun:
        return "Unknown", str(Reason.NOT_STARTED), ""
    if state.unknown_since is not None:
        return "False", state.unknown_reason or str(Reason.METRICS_ERROR), state.unknown_message
    if state.looks:
        return "True", str(Reason.METRICS_AVAILABLE), told(ctx.spec, state.history)
    return "Unknown", str(Reason.COLLECTING), "No interval has closed yet."


def _verdict(ctx: Context, move: Move) -> dict[str, Any]:
    state = ctx.state
    if state.verdict is not None:
        return {
            "decision": str(state.verdict.outcome),
            "reason": state.verdict.reason,
            "message": cut(state.verdict.message, _MAX_SENTENCE),
        }
    if state.phase is not Phase.PROGRESSING:
        return {}
    judged = ctx.collected.verdict if ctx.collected else None
    if judged is None:
        return {
            "decision": "Hold" if state.withheld or state.unknown_since else "Continue",
            "reason": str(move.reason or Reason.COLLECTING),
            "message": cut(move.sentence, _MAX_SENTENCE),
        }
    return {
        "decision": str(judged.decision),
        "reason": str(judged.reason),
        "message": cut(judged.message, _MAX_SENTENCE),
    }


def _metrics(ctx: Context) -> list[dict[str, Any]]:
    judged = ctx.collected.verdict if ctx.collected else None
    if judged is not None and not ctx.state.phase.terminal:
        if ctx.attempt is not None and on_probation(ctx.spec, ctx.state):
            return [dict(metric) for metric in merged(ctx, ctx.state.metrics)]
        return [summary(metric, ctx.spec) for metric in judged.metrics]
    return [dict(metric) for metric in ctx.state.metrics]


def _history(ctx: Context) -> list[dict[str, Any]]:
    ended = []
    for attempt in ctx.snapshot.attempts:
        state = AttemptState.from_status(attempt.status)
        if state.phase.terminal and state.verdict is not None:
            ended.append((attempt, state))
    ended.sort(key=lambda pair: -pair[0].ordinal)
    return [
        {
            "attempt": attempt.name,
            "version": attempt.spec.candidate.model.version,
            "revision": attempt.revision,
            "outcome": str(state.phase),
            "reason": state.verdict.reason if state.verdict else "",
            "at": stamp(state.phase_since or ctx.now),
        }
        for attempt, state in ended[:_MAX_HISTORY]
    ]


def _gpu(ctx: Context) -> str:
    gpu = ctx.spec.candidate.serving.gpu
    if gpu is None:
        return ""
    seen = sorted(
        {p.gpu_product for p in (ctx.candidate.pods if ctx.candidate else ()) if p.gpu_product}
    )
    return cut(
        f"{gpu.count} x {', '.join(seen) or ', '.join(gpu.product or ()) or gpu.resource}", 120
    )


def _weight(ctx: Context) -> int:
    return ctx.candidate_weight if ctx.attempt else 0


def _current(ctx: Context) -> bool:
    """Whether the newest attempt is about what the handoff says now."""
    return ctx.attempt is not None and ctx.attempt.bundle == ctx.bundle


def _full_revision(ctx: Context, label: str) -> str:
    for attempt in ctx.snapshot.attempts:
        if names.revision_label(attempt.revision) == label:
            return attempt.revision
    return label


def _clock(at: datetime | None) -> str:
    return at.astimezone(UTC).strftime("%H:%M UTC") if at else ""
