"""A candidate that dies while it has traffic: weight 0 at the event, then rolled back."""

from __future__ import annotations

import pytest

from e2e.cases import STAYS, Case

pytestmark = [pytest.mark.full_stack, pytest.mark.timeout(300, func_only=True)]

POISONED = """
import os, onnxruntime
from modelhandoff.serve import main
whole = onnxruntime.InferenceSession.run
def run(self, outputs, inputs, *more):
    # Merchant code 19 is in no example request, and in one of twenty live ones.
    if (inputs["features"][:, 2] == 19).any():
        print("illegal memory access in kernel gather", file=__import__("sys").stderr, flush=True)
        os.abort()
    return whole(self, outputs, inputs, *more)
onnxruntime.InferenceSession.run = run
main.run()
"""
"""A server whose process dies of some requests, as one with a broken native kernel does."""


def test_a_server_that_dies_of_some_requests_loses_its_weight_and_is_rolled_back(
    case: Case,
) -> None:
    old = case.serve("v1")
    case.apply("v2", STAYS, {"candidate": {"serving": {"command": ["python", "-c", POISONED]}}})
    status = case.wait("RolledBack", timeout=200)
    bad = case.workload(status)
    assert status["verdict"]["reason"] == "CanaryUnstable"
    assert "illegal memory access" in status["message"]
    weights = case.routes.of(bad)
    assert set(weights) == {0, 10}
    assert weights[-1] == 0
    assert weights.count(10) >= 2, "each crash took the weight off; readiness gave it back"
    mark = case.traffic.now()
    case.stack.cluster.wait(lambda: case.traffic.summary(since=mark).answered > 100, "answers", 30)
    after = case.traffic.summary(since=mark)
    assert after.outcomes == {"ok": after.answered}
    assert after.share("1.0.0") == 1.0
    assert case.routes.last == {old: 100}
    # The candidate's own share is all that can have suffered.
    whole = case.traffic.summary()
    assert whole.not_the_models_fault < 0.05 * whole.answered, whole.failures
