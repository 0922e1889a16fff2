"""What a candidate is compared with before any traffic, frozen when its attempt is made. Pure."""

from __future__ import annotations

from modelhandoff.api import names
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.verification import FrozenBaseline, compares, frozen_baseline
from modelhandoff.rollout.context import KIND_REFRESH, Context


def compared(ctx: Context, spec: ModelHandoffSpec, kind: str) -> FrozenBaseline | None:
    """The stable revision as its own attempt froze it; ``None`` when nobody asks to compare.

    Args:
        ctx: the pass.
        spec: of the attempt that is about to be made.
        kind: of that attempt.
    """
    if not compares(spec):
        return None
    stable = ctx.stable
    if kind == KIND_REFRESH and stable is not None:
        return FrozenBaseline(absent=f"{stable.version} serves already")
    if stable is not None:
        brought = [
            attempt
            for attempt in ctx.snapshot.attempts
            if names.revision_label(attempt.revision) == stable.revision
        ]
        if not brought:
            return FrozenBaseline(
                absent=f"the attempt that brought {stable.version}, and with it the addresses of "
                "its files, is gone"
            )
        return frozen_baseline(brought[-1].spec, stable.revision)
    adopted = spec.baseline.workload_ref
    if adopted is not None:
        return FrozenBaseline(
            absent=f"Deployment {adopted.name} was adopted, and its model file is not known here"
        )
    return FrozenBaseline(absent="nothing serves yet")
