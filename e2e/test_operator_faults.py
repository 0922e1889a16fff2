"""The operator dies, freezes, wakes up: the verdict is the same, and every request counts once.

Prometheus is asked again, by nobody's code but this file's, how many requests the candidate
answered in the intervals that were judged; that must be exactly what the evidence rests on.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from e2e.cases import Case, Raw
from e2e.cluster import Cluster
from e2e.faults.processes import send
from e2e.faults.prometheus import counter
from e2e.stack import SYSTEM, Stack

pytestmark = [
    pytest.mark.full_stack,
    pytest.mark.alone,
    pytest.mark.timeout(400, func_only=True),
]

OPERATOR = "modelhandoff run"
ACCOUNT = f"system:serviceaccount:{SYSTEM}:modelhandoff"
WRITES = ("create", "update", "patch", "delete", "deletecollection")


def test_a_killed_operator_loses_nothing_and_counts_nothing_twice(case: Case) -> None:
    case.serve("v1")
    case.apply("v2")
    new = case.workload(case.wait_weight(10))
    case.wait_looks(3)
    [operator] = case.stack.operator_pods()
    send(operator, OPERATOR, signal.SIGKILL)
    case.wait_weight(50)
    case.wait_looks(case.attempt()["status"]["looks"] + 2)
    send(operator, OPERATOR, signal.SIGKILL)
    status = case.wait("Promoted", timeout=240)
    assert case.routes.of(new) == [0, 10, 50, 100]
    assert status["stable"]["version"] == "1.1.0"
    [operator] = case.stack.operator_pods()
    assert operator["status"]["containerStatuses"][0]["restartCount"] >= 2
    assert len(case.attempts()) == 2
    every_request_counted_once(case, new)
    case.nothing_lost()


def test_a_leader_that_froze_for_a_minute_writes_nothing_when_it_wakes(
    case: Case, two_operators: dict[str, Raw], request_log: Cluster
) -> None:
    cluster = request_log
    case.serve("v1")
    case.apply("v2")
    new = case.workload(case.wait_weight(10))
    case.wait_looks(3)
    leader = holder(case.stack)
    frozen = two_operators[leader]
    began = time.monotonic()
    log = cluster.audit_offset()
    send(frozen, OPERATOR, signal.SIGSTOP)
    try:
        cluster.wait(lambda: holder(case.stack) not in (leader, ""), "another leader", 60)
        status = case.wait("Promoted", timeout=180)
        cluster.wait(lambda: time.monotonic() - began > 60, "a minute to be over", 61)
    finally:
        send(frozen, OPERATOR, signal.SIGCONT)
    woken = f"{leader} to notice and start over"
    cluster.wait(lambda: restarts(case.stack, leader) == 1, woken, 60)
    assert holder(case.stack) != leader
    took_over, late = writes(cluster, log, leader)
    assert took_over, "the second one has written"
    assert not late, "what the first one wrote after the second had begun"
    assert case.routes.of(new) == [0, 10, 50, 100]
    assert status["stable"]["version"] == "1.1.0"
    assert len(case.attempts()) == 2
    every_request_counted_once(case, new)
    case.nothing_lost()


def every_request_counted_once(case: Case, workload: str) -> None:
    """Looks and requests of the evidence, against the raw counters in Prometheus."""
    status = case.attempt()["status"]
    cursor = json.loads(status["cursor"])
    length, first, last = cursor["d"], cursor["f"], cursor["i"]
    selector = (
        f'modelhandoff_server_requests_total{{namespace="{case.namespace}",'
        f'pod=~"{workload}-.*",code="200"}}'
    )
    samples = counter(case.stack, selector, (last + 1) * length, (last - first + 30) * length)

    def reading(at: float) -> float:
        return max((value for when, value in samples if when <= at), default=0.0)

    left_out = [(one["start"], one["end"]) for one in status["exclusions"]]
    judged = [
        (k * length, (k + 1) * length)
        for k in range(first, last + 1)
        if not any((k + 1) * length > start and k * length < end for start, end in left_out)
    ]
    if status["looks"] != len(judged):
        # A pod that Prometheus had not found yet when an interval began cannot be read for it.
        judged = [one for one in judged if one[0] >= samples[0][0]]
    assert status["looks"] == len(judged)
    requests = sum(reading(end) - reading(begin) for begin, end in judged)
    [errors] = [metric for metric in status["metrics"] if metric["name"] == "errors"]
    assert errors["samples"] == requests


@pytest.fixture
def two_operators(stack: Stack) -> Iterator[dict[str, Raw]]:
    """A second replica; the pods by name.

    Probes are patient, so that the kubelet does not kill the frozen one before it can wake.
    """
    cluster = stack.cluster
    where = ("--namespace", SYSTEM, "deployment/modelhandoff")
    before = cluster.get("deployment", "modelhandoff", f"--namespace={SYSTEM}")["spec"]
    scale(stack, 2, failures=30)
    pods = {pod["metadata"]["name"]: pod for pod in stack.operator_pods()}
    assert len(pods) == 2
    try:
        yield pods
    finally:
        probe = before["template"]["spec"]["containers"][0]["livenessProbe"]
        scale(stack, before["replicas"], failures=probe["failureThreshold"])
        cluster.kubectl("rollout", "status", *where, "--timeout=120s", timeout=130)


def scale(stack: Stack, replicas: int, failures: int) -> None:
    container = {"name": "operator", "livenessProbe": {"failureThreshold": failures}}
    spec = {"replicas": replicas, "template": {"spec": {"containers": [container]}}}
    where = ("--namespace", SYSTEM, "deployment/modelhandoff")
    stack.cluster.kubectl("patch", *where, "-p", json.dumps({"spec": spec}))
    stack.cluster.kubectl("rollout", "status", *where, "--timeout=120s", timeout=130)
    # Those of before are gone as well, and with them their claim to lead.
    stack.cluster.wait(lambda: len(stack.operator_pods()) == replicas, "old pods to end", 60)
    names = [pod["metadata"]["name"] for pod in stack.operator_pods()]
    stack.cluster.wait(lambda: holder(stack) in names, "one of them to lead", 60)


def holder(stack: Stack) -> str:
    """Who leads."""
    lease = stack.cluster.get("lease", "modelhandoff", f"--namespace={SYSTEM}")
    return str(lease["spec"].get("holderIdentity") or "")


def restarts(stack: Stack, name: str) -> int:
    pod = stack.cluster.get("pod", name, f"--namespace={SYSTEM}")
    return int(pod["status"]["containerStatuses"][0]["restartCount"])


def writes(cluster: Cluster, since: int, frozen: str) -> tuple[list[Raw], list[Raw]]:
    """Successful writes of the others, and those of the frozen pod after the first of them."""
    found = []
    for event in cluster.audit_events(since):
        made = event["user"]["username"] == ACCOUNT and event["verb"] in WRITES
        if made and event["responseStatus"].get("code", 0) < 300:
            [pod] = event["user"]["extra"]["authentication.kubernetes.io/pod-name"]
            at = datetime.fromisoformat(event["requestReceivedTimestamp"])
            found.append((at, pod, event))
    found.sort(key=lambda write: write[0])
    others = [(at, event) for at, pod, event in found if pod != frozen]
    if not others:
        return [], []
    begun = others[0][0]
    late = [event["objectRef"] for at, pod, event in found if pod == frozen and at > begun]
    return [event for _, event in others], late
