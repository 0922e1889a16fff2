"""People's approvals: which count, what an attempt waits for, what a rejection ends. Pure.

An approval counts for one bundle hash, so an edit voids it. What let an attempt through its gate
is recorded in the attempt: from then on no deletion and no clock takes it back, only a rejection.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from modelhandoff.api import names
from modelhandoff.api.approval import Approvals, Choice
from modelhandoff.api.vocabulary import Outcome, Phase, Reason, Standing
from modelhandoff.errors import cut
from modelhandoff.rollout.actions import Event, WriteApproval
from modelhandoff.rollout.attempt import Approved, minute
from modelhandoff.rollout.context import Context, Move
from modelhandoff.rollout.latching import take_down
from modelhandoff.rollout.snapshot import ApprovalView

SERVICE_ACCOUNT = "system:serviceaccount:"
_MAX_NOTES = 3
_MAX_COMMENT = 300


@dataclass(frozen=True, slots=True)
class Judged:
    """One approval and what it is worth now."""

    approval: ApprovalView
    standing: Standing
    message: str


@dataclass(frozen=True, slots=True)
class Tally:
    """All approvals of a handoff, counted for one bundle.

    Attributes:
        filled: role -> the approval that fills it.
        missing: roles that nobody has filled, in the order in which the handoff names them.
        rejection: the first rejection by a required role, or ``None``.
        expires: when the first approval that fills a role stops counting.
    """

    judged: tuple[Judged, ...]
    filled: Mapping[str, ApprovalView]
    missing: tuple[str, ...]
    rejection: ApprovalView | None
    expires: datetime | None


def await_approval(ctx: Context) -> Move | None:
    """The gate before the first pod: ``None`` once every role has approved this bundle."""
    attempt, rules = ctx.attempt, ctx.spec.approvals
    if attempt is None:
        raise ValueError("no attempt to approve")
    if rules is None or ctx.state.approvals:
        return None
    counted = tally(ctx, rules, attempt.bundle)
    if not counted.missing:
        return _pass(ctx, counted)
    sentence = _waiting_for(ctx, counted)
    if ctx.state.phase is not Phase.AWAITING_APPROVAL:
        state = ctx.state.enter(Phase.AWAITING_APPROVAL, ctx.now, sentence)
        return Move(
            ctx.write(state),
            reason=Reason.AWAITING_APPROVAL,
            sentence=sentence,
            events=(Event(Reason.AWAITING_APPROVAL, sentence),),
        )
    left = None if counted.expires is None else (counted.expires - ctx.now).total_seconds()
    return Move(reason=Reason.AWAITING_APPROVAL, sentence=sentence, wait=left)


def object_to(ctx: Context) -> Move | None:
    """A rejection ends the attempt wherever it is: before the gate for good, after it as an abort.

    What was rejected in an earlier attempt never starts again, whether or not the signature is
    still there.
    """
    attempt, verdict, phase = ctx.attempt, ctx.state.verdict, ctx.state.phase
    if attempt is None or phase.terminal:
        return None
    if verdict is not None and not verdict.outcome.promotes:
        return None
    if verdict is not None and ctx.candidate is not None and ctx.candidate.stable:
        return None  # All traffic is there already: what serves is changed by an edit only.
    before = phase.before_pods
    said = rejected(ctx, attempt.bundle) if before else ""
    if not said and ctx.spec.approvals is not None:
        found = tally(ctx, ctx.spec.approvals, attempt.bundle).rejection
        said = _said_no(ctx, found) if found is not None else ""
    if not said:
        return None
    outcome = Outcome.REJECT if before else Outcome.ABORT
    return take_down(ctx, outcome, Reason.APPROVAL_REJECTED, said)


def rejected(ctx: Context, bundle: str) -> str:
    """Why this bundle was rejected in an earlier attempt, or "": a rejection is final."""
    for attempt in ctx.snapshot.attempts:
        verdict = attempt.status.get("verdict") or {}
        if attempt.bundle == bundle and verdict.get("reason") == Reason.APPROVAL_REJECTED:
            return str(verdict.get("message") or "This bundle was rejected before.")
    return ""


def answer(ctx: Context, move: Move) -> Move:
    """When nothing else is to do: tell every approval what it is worth.

    While an attempt waits, an answer follows what changes. Otherwise only an approval without an
    answer gets one: a clock that runs on makes no writes.
    """
    if move.action is not None or ctx.handoff.deleting:
        return move
    waiting = ctx.active and ctx.state.phase.before_pods
    for judged in standings(ctx):
        told = judged.approval.status
        if (told.get("valid"), told.get("reason")) == (judged.standing.valid, judged.standing):
            continue
        if told.get("reason") and not waiting:
            continue
        status = {
            "observedGeneration": judged.approval.generation,
            "valid": judged.standing.valid,
            "reason": str(judged.standing),
            "message": cut(judged.message, 1000),
        }
        approval = judged.approval
        write = WriteApproval(approval.name, approval.resource_version, status)
        return dataclasses.replace(move, action=write, events=())
    return move


def standings(ctx: Context) -> tuple[Judged, ...]:
    """What every approval of this handoff is worth for what it says now."""
    if not ctx.snapshot.approvals:
        return ()
    if ctx.attempt is not None:
        rules, bundle = ctx.attempt.spec.approvals, ctx.attempt.bundle
    elif ctx.handoff.spec is not None:
        rules, bundle = ctx.handoff.spec.approvals, ctx.bundle
    else:
        return ()
    if rules is None:
        return tuple(
            Judged(one, Standing.ROLE_NOT_REQUIRED, "No role has to approve this handoff.")
            for one in ctx.snapshot.approvals
        )
    recorded = {one.name for one in ctx.state.approvals}
    return tuple(
        Judged(one.approval, Standing.COUNTS, f"Let attempt {ctx.attempt.name} start.")
        if ctx.attempt is not None and one.approval.name in recorded
        else one
        for one in tally(ctx, rules, bundle).judged
    )


def missing_roles(ctx: Context) -> tuple[str, ...]:
    """Roles that the present attempt waits for."""
    rules, attempt = ctx.spec.approvals, ctx.attempt
    if rules is None or attempt is None or ctx.state.approvals:
        return ()
    return tally(ctx, rules, attempt.bundle).missing


def tally(ctx: Context, rules: Approvals, bundle: str) -> Tally:
    """Count the approvals for a bundle."""
    alone = [(one, *_alone(ctx, rules, bundle, one)) for one in ctx.snapshot.approvals]
    good = [one for one, standing, _ in alone if standing is Standing.COUNTS]
    filled = _seats(good) if rules.separate_identities else _first(good)
    judged = tuple(
        _beside(one, standing, message, filled) if standing is Standing.COUNTS
        # Everything else is settled by the approval itself.
        else Judged(one, standing, message)
        for one, standing, message in alone
    )  # fmt: skip
    return Tally(
        judged=judged,
        filled=filled,
        missing=tuple(role for role in rules.roles if role not in filled),
        rejection=next((one.approval for one in judged if one.standing is Standing.REJECTS), None),
        expires=min((_expiry(one, rules) for one in filled.values()), default=None),
    )


def _alone(ctx: Context, rules: Approvals, bundle: str, one: ApprovalView) -> tuple[Standing, str]:
    """What an approval is worth by itself; ``COUNTS`` when it may fill its role."""
    if one.decision not in set(Choice) or one.created is None or not one.approver:
        return Standing.UNREADABLE, "It has no decision, approver or time that can be read."
    if one.bundle != bundle:
        return (
            Standing.OTHER_BUNDLE,
            f"It signs {names.revision_label(one.bundle)}; this attempt is for "
            f"{names.revision_label(bundle)}. An edit of the handoff voids approvals.",
        )
    if one.role not in rules.roles:
        needed = ", ".join(rules.roles)
        return Standing.ROLE_NOT_REQUIRED, f"This handoff is approved by {needed}."
    machine = one.approver.startswith(SERVICE_ACCOUNT)
    if machine and one.approver not in ctx.snapshot.approving_accounts:
        return (
            Standing.SERVICE_ACCOUNT,
            "A person has to approve; the policy lists no such service account.",
        )
    if one.decision == Choice.REJECT:
        return Standing.REJECTS, f"Rejects {ctx.model} as {one.role}; final for this bundle."
    author = ctx.handoff.annotations.get(names.ANNOTATION_AUTHOR, "")
    if rules.separate_author and not author:
        return (
            Standing.AUTHOR_UNKNOWN,
            f"Nobody approves what they wrote, and the handoff's annotation "
            f"{names.ANNOTATION_AUTHOR} does not say who did.",
        )
    if rules.separate_author and author == one.approver:
        return Standing.AUTHOR, f"{author} wrote this handoff; somebody else has to approve it."
    until = _expiry(one, rules)
    if until <= ctx.now:
        return Standing.EXPIRED, f"It expired on {minute(until)}; approve again."
    return Standing.COUNTS, f"Counts as {one.role} until {minute(until)}."


def _beside(
    one: ApprovalView, standing: Standing, message: str, filled: Mapping[str, ApprovalView]
) -> Judged:
    """What an approval is worth beside all others."""
    seated = filled.get(one.role)
    if seated is one:
        return Judged(one, standing, message)
    if seated is not None:
        said = f"{seated.approver} fills the role {one.role} ({seated.name})."
        return Judged(one, Standing.ROLE_FILLED, said)
    elsewhere = ", ".join(role for role, by in filled.items() if by.approver == one.approver)
    said = f"{one.approver} fills {elsewhere}; every role needs a person of its own."
    return Judged(one, Standing.IDENTITY_USED, said)


def _first(good: Sequence[ApprovalView]) -> dict[str, ApprovalView]:
    filled: dict[str, ApprovalView] = {}
    for one in good:
        filled.setdefault(one.role, one)
    return filled


def _seats(good: Sequence[ApprovalView]) -> dict[str, ApprovalView]:
    """As many roles as possible, each with a person of its own: a matching, oldest first.

    Taking the oldest approval of each role would not do: somebody who approved in two roles
    would keep the one that nobody else can fill, by accident of order.
    """
    offers: dict[str, dict[str, ApprovalView]] = {}
    for one in good:
        offers.setdefault(one.approver, {}).setdefault(one.role, one)
    seated: dict[str, str] = {}

    def seat(person: str, tried: set[str]) -> bool:
        for role in offers[person]:
            if role in tried:
                continue
            tried.add(role)
            if role not in seated or seat(seated[role], tried):
                seated[role] = person
                return True
        return False

    for person in offers:
        seat(person, set())
    return {role: offers[person][role] for role, person in seated.items()}


def _pass(ctx: Context, counted: Tally) -> Move:
    """The last approval is there: recorded, so that it counts for good."""
    rules = ctx.spec.approvals
    roles = rules.roles if rules is not None else ()
    by = [counted.filled[role] for role in roles]
    said = ", ".join(f"{one.role} ({one.approver})" for one in by)
    sentence = f"{ctx.model} is approved by {said}."
    state = ctx.state.note(ctx.now, sentence).but(
        approvals=tuple(
            Approved(
                one.role, one.approver, one.name, one.created or ctx.now,
                cut(one.comment, _MAX_COMMENT),
            )
            for one in by
        ),
    )  # fmt: skip
    return Move(
        ctx.write(state),
        reason=Reason.APPROVED,
        sentence=sentence,
        events=(Event(Reason.APPROVED, sentence),),
    )


def _waiting_for(ctx: Context, counted: Tally) -> str:
    have = [f"{role} ({one.approver})" for role, one in counted.filled.items()]
    approved = f"; approved by {_listed(have)}" if have else ""
    needed = f"{_listed(counted.missing)} must approve{approved}"
    notes = list(_notes(counted))
    more = f" {' '.join(notes)}" if notes else ""
    return f"{ctx.model} waits for people: {needed}.{more}"


def _notes(counted: Tally) -> Iterable[str]:
    """Approvals that somebody may believe to count, newest first."""
    beside = [
        one
        for one in reversed(counted.judged)
        if one.approval.role in counted.missing and not one.standing.valid
    ]
    for one in beside[:_MAX_NOTES]:
        yield (
            f"{one.approval.approver or one.approval.name} as {one.approval.role} does not count "
            f"({one.standing}): {one.message}"
        )


def _said_no(ctx: Context, one: ApprovalView) -> str:
    why = f": {cut(one.comment, _MAX_COMMENT)}" if one.comment else ""
    end = "" if why.endswith(".") else "."
    return f"{one.approver} rejected {ctx.model} as {one.role}{why}{end}"


def _expiry(one: ApprovalView, rules: Approvals) -> datetime:
    return (one.created or datetime.fromtimestamp(0, UTC)) + min(
        rules.expires_after, timedelta(days=36_500)
    )


def _listed(words: Sequence[str]) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
