"""Promise 2 against a real Prometheus: weights never rise on ignorance.

No answer holds the weight, and after its budget takes it to 0; it comes back when the answers
do. A metric store that is down or lies is never a reason to promote or to blame the model.
"""

from __future__ import annotations

import time

import pytest

from e2e.cases import STAYS, Case, Raw, condition
from e2e.faults.prometheus import Lie, LyingPrometheus

pytestmark = [pytest.mark.full_stack, pytest.mark.timeout(400, func_only=True)]

LIES: dict[Lie, str] = {
    "nan": "MetricsInvalid",
    "two series": "MetricsAmbiguous",
    "html": "MetricsError",
    "error": "MetricsError",
    "silent": "MetricsError",
}
"""What each lie is called in the condition."""


def impatient(source: str = "default") -> Raw:
    """Eight seconds without an answer take the weight off."""
    return {
        "rollout": {"onMetricsUnknown": {"holdFor": "8s"}},
        "monitoring": {"source": source},
    }


def test_a_prometheus_that_lies_holds_takes_the_weight_off_and_is_forgiven(case: Case) -> None:
    lying = LyingPrometheus(case.stack, case.namespace)
    try:
        case.serve("v1", impatient(lying.source))
        case.apply("v2", STAYS, impatient(lying.source))
        new = case.workload(case.wait_weight(10))
        looks = 2
        for count, (lie, reason) in enumerate(LIES.items(), 1):
            looks = case.wait_looks(looks)["looks"]
            told = time.monotonic()
            lying.tell(lie)
            status = case.until(
                lambda s: condition(s, "MetricsAvailable")["status"] == "False", lie
            )
            assert condition(status, "MetricsAvailable")["reason"] == reason, lie
            assert case.routes.last[new] == 10, "held first"
            status = case.wait_weight(0, timeout=40)
            assert time.monotonic() - told > 8, "the budget was not over"
            assert status["phase"] == "Progressing"
            assert status["verdict"]["decision"] == "Hold"
            lying.tell("none")
            case.wait_weight(10, timeout=40)
            assert case.routes.of(new) == [0, 10] * (count + 1)
            looks = case.attempt()["status"]["looks"] + 2
        events = case.kubectl("get", "events", "--field-selector=reason=Resumed", "-o", "name")
        assert events
        assert case.attempt()["status"].get("verdict") is None
        case.nothing_lost()
    finally:
        lying.close()


@pytest.mark.alone
def test_a_prometheus_that_is_gone_and_comes_back_empty(case: Case) -> None:
    case.serve("v1", impatient())
    case.apply("v2", impatient())
    new = case.workload(case.wait_weight(10))
    case.wait_looks(3)
    scale_prometheus(case, 0)
    try:
        status = case.wait_weight(0, timeout=60)
        assert status["phase"] == "Progressing"
        assert condition(status, "MetricsAvailable")["status"] == "False"
        assert case.routes.of(new) == [0, 10, 0]
        mark = case.traffic.now()
        case.stack.cluster.wait(
            lambda: case.traffic.summary(since=mark).answered > 1200, "half a minute", 60
        )
        assert case.traffic.summary(since=mark).share("1.0.0") == 1.0
        status = case.status()
        assert status["phase"] == "Progressing", "a metric store that is down judges nobody"
    finally:
        scale_prometheus(case, 1)
    case.wait("Promoted", timeout=180)
    assert case.routes.of(new) == [0, 10, 0, 10, 50, 100]
    case.nothing_lost()


def scale_prometheus(case: Case, replicas: int) -> None:
    """For everybody; its samples are gone with its pod."""
    cluster = case.stack.cluster
    where = ("--namespace=monitoring", "deployment/prometheus")
    cluster.kubectl("scale", *where, f"--replicas={replicas}")
    if replicas:
        cluster.kubectl("rollout", "status", *where, "--timeout=60s")
    else:
        selector = ("--namespace=monitoring", "--selector=app=prometheus")
        cluster.wait(lambda: not cluster.get("pods", *selector)["items"], "it to be gone", 60)
