"""Whether two versions run on hardware whose latencies can be compared."""

from __future__ import annotations

from modelhandoff.api.vocabulary import Outcome, Reason
from modelhandoff.rollout.context import Context, Move
from modelhandoff.rollout.latching import take_down
from modelhandoff.rollout.snapshot import WorkloadView


def other_hardware(ctx: Context) -> Move | None:
    """Ends an attempt, before any traffic, whose pods got GPUs that the baseline has not.

    Only where both products are known and the baseline is whole: a baseline without a GPU, a node
    without the label, or a pod that is just being replaced says nothing. Every product of the
    candidate must be one of the baseline's; the other way round the baseline merely has more
    variety.
    """
    gpu, baseline, candidate = ctx.spec.candidate.serving.gpu, ctx.baseline, ctx.candidate
    if gpu is None or not gpu.same_as_baseline or baseline is None or candidate is None:
        return None
    if baseline.ready < baseline.desired:
        return None
    mine, theirs = _products(candidate), _products(baseline)
    if not mine or not theirs or mine <= theirs:
        return None
    return take_down(
        ctx,
        Outcome.INCONCLUSIVE,
        Reason.GPU_MISMATCH,
        f"{ctx.model} got {', '.join(sorted(mine))}, the baseline runs on "
        f"{', '.join(sorted(theirs))}: their latencies cannot be compared. This is not the "
        "model's fault. Name the baseline's product in candidate.serving.gpu.product, or set "
        "candidate.serving.gpu.sameAsBaseline: false to be judged by the budget alone.",
    )


def _products(workload: WorkloadView) -> set[str]:
    return {
        pod.gpu_product
        for pod in workload.pods
        if pod.gpu_product and pod.ready and not pod.deleting
    }
