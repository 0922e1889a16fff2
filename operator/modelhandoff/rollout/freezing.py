"""Times in which nothing new comes to production: the policy's freeze windows. Pure.

They are read anew at every look, so that a freeze reaches what is under way: it holds the weight
as a pause does. Harm is acted on all the same, and a promotion that is latched is finished.
"""

from __future__ import annotations

from modelhandoff.api.vocabulary import Reason
from modelhandoff.errors import cut
from modelhandoff.rollout.attempt import minute
from modelhandoff.rollout.context import KIND_REFRESH, Context, Move
from modelhandoff.rollout.snapshot import FreezeView


def frozen(ctx: Context) -> FreezeView | None:
    """The freeze that is on now; of several the one that ends last."""
    on = [one for one in ctx.snapshot.freezes if one.start <= ctx.now < one.until]
    return max(on, key=lambda one: one.until, default=None)


def await_thaw(ctx: Context) -> Move | None:
    """The last gate before the first pod: ``None`` when nothing is frozen now.

    New rules for pods that serve already move no traffic, and pass.
    """
    freeze = frozen(ctx)
    if freeze is None or ctx.attempt is None or ctx.attempt.kind == KIND_REFRESH:
        return None
    return Move(
        reason=Reason.FROZEN,
        sentence=f"{ctx.model} starts when the freeze ends: {frozen_until(freeze)}.",
        wait=(freeze.until - ctx.now).total_seconds(),
    )


def frozen_until(freeze: FreezeView) -> str:
    """Until when and why, in words."""
    return f"frozen until {minute(freeze.until)} ({cut(freeze.reason, 200)})"
