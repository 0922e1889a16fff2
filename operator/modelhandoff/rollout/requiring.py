"""What the policy requires of the checklist must have been shown before people are asked. Pure.

That a point is declared at all is a rule of the policy (``api.policy_check``); here it is about
checks that were skipped, or a policy that asks for more since the attempt began.
"""

from __future__ import annotations

from modelhandoff.api.candidate import ModelFormat
from modelhandoff.api.vocabulary import CHECKLIST, ConditionType, Outcome, Reason
from modelhandoff.rollout.checklist import Matter, points
from modelhandoff.rollout.context import Context, Move
from modelhandoff.rollout.latching import take_down

_BEFORE_PODS = tuple(kind for kind in CHECKLIST if kind is not ConditionType.APPROVED)
"""Points that are settled before people are asked; Approved is what they are asked for."""


def require(ctx: Context) -> Move | None:
    """``None`` once everything that the policy requires is shown; else the attempt ends."""
    if ctx.attempt is None:
        raise ValueError("no attempt to require anything of")
    asked = bool(ctx.attempt.verification)
    found = points(Matter(ctx.attempt.spec, ctx.state, asked))
    for kind in _BEFORE_PODS:
        value, reason, message = found[kind]
        if kind not in ctx.snapshot.required_checks or value == "True":
            continue
        if kind is ConditionType.ARTIFACTS_VERIFIED and not asked:
            continue  # The first pod compares the digests, and does not serve without.
        if reason == Reason.CHECKS_SKIPPED and _left_to_pods(ctx, kind):
            continue  # No pod of it gets any weight without.
        said = f"The policy requires {kind}, and it is not shown ({reason}): {message}"
        return take_down(ctx, Outcome.REJECT, Reason.POLICY_VIOLATION, said)
    return None


def _left_to_pods(ctx: Context, kind: ConditionType) -> bool:
    """Whether the pods of the candidate answer the golden cases in place of the Job."""
    asked = ctx.spec.acceptance
    smoke = asked is not None and asked.smoke is not None
    other = ctx.spec.candidate.model.format is not ModelFormat.ONNX
    promised = ctx.attempt is not None and bool(ctx.attempt.promises)
    return kind is ConditionType.ACCEPTANCE_PASSED and smoke and other and promised
