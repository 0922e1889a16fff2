"""Candidates that never get a request: no room, no image, wrong bytes, a server that dies.

Whose fault it is decides the word: *Inconclusive* for what a retry can heal, *Rejected* for what
only another candidate can. The weight is never above 0, and the first version serves on.
"""

from __future__ import annotations

import time

import pytest

from e2e.cases import Case, condition
from e2e.cluster.addons import set_gpus
from e2e.cluster.cluster import GPU

pytestmark = [pytest.mark.full_stack, pytest.mark.timeout(300, func_only=True)]


def never_had_traffic(case: Case, candidate: str, baseline: str) -> None:
    assert case.routes.of(candidate) == [0]
    assert case.routes.last == {baseline: 100}
    assert set(case.nothing_lost(100).versions) == {"1.0.0"}


def test_without_a_free_gpu_it_is_inconclusive_in_the_schedulers_own_words(case: Case) -> None:
    cluster = case.stack.cluster
    old = case.serve("v1")
    have = int(cluster.get("node", cluster.node)["status"]["allocatable"][GPU])
    case.apply(
        "v2",
        {
            "candidate": {"serving": {"gpu": {"count": have}}},  # v1 holds one of them
            "rollout": {"capacity": {"pendingDeadline": "10s"}},
        },
    )
    status = case.wait("Inconclusive", timeout=60)
    assert "Insufficient nvidia.com/gpu" in status["message"]
    assert "not the model's fault" in status["message"]
    assert condition(status, "CapacityAvailable")["reason"] == "CapacityShortage"
    assert "retry" in status["nextAction"]
    never_had_traffic(case, case.workload(status), old)
    # Others keep theirs: the retry finds room because there are more GPUs now.
    set_gpus(cluster, 2 * have)
    try:
        case.annotate("retry", status["attemptRef"]["name"])
        case.wait_weight(10, after=status["attemptRef"]["ordinal"])
    finally:
        case.kubectl("delete", "mho", "fraud", "--timeout=60s")
        # Others would wait for room if their GPUs went before this candidate's pod.
        candidate = case.workload(status)
        cluster.wait(lambda: not case.pods(candidate), "its pod to end", 60)
        set_gpus(cluster, have)
    case.nothing_lost()


def test_an_image_that_cannot_be_pulled_is_inconclusive(case: Case) -> None:
    old = case.serve("v1")
    missing = "127.0.0.1:1/fraud/server@sha256:" + "1" * 64
    case.apply("v2", {"candidate": {"serving": {"image": missing, "startup": {"timeout": "30s"}}}})
    # The kubelet says why only when it tries again, ten seconds and more after it failed.
    status = case.wait("Inconclusive", timeout=90)
    assert "127.0.0.1:1/fraud/server" in status["message"]
    assert "not the model's fault" in status["message"]
    never_had_traffic(case, case.workload(status), old)


def test_wrong_bytes_are_rejected(case: Case) -> None:
    old = case.serve("v1")
    document = case.handoff("v2")
    wrong = document["spec"]["candidate"]["artifacts"][0]
    right, wrong["digest"] = wrong["digest"], "sha256:" + "0" * 64
    case.stack.apply(document)
    status = case.wait("Rejected", timeout=60)
    assert status["verdict"]["reason"] == "ArtifactMismatch"
    assert right in status["message"], "the digest of what was found"
    assert condition(status, "ArtifactsVerified")["status"] == "False"
    never_had_traffic(case, case.workload(status), old)


def test_a_server_that_crashes_at_start_is_rejected_with_its_last_words(case: Case) -> None:
    old = case.serve("v1")
    dies = "raise SystemExit('CUDA driver version is insufficient for this runtime')"
    case.apply("v2", {"candidate": {"serving": {"command": ["python", "-c", dies]}}})
    status = case.wait("Rejected", timeout=150)
    assert status["verdict"]["reason"] == "CanaryCrashed"
    assert "CUDA driver version is insufficient" in status["message"]
    never_had_traffic(case, case.workload(status), old)


def test_a_minute_of_loading_is_waited_for(case: Case) -> None:
    case.serve("v1")
    began = time.monotonic()
    command = ["sh", "-c", "sleep 60; exec modelhandoff-serve"]
    serving = {"command": command, "startup": {"timeout": "3m"}}
    case.apply("v2", {"candidate": {"serving": serving}})
    status = case.wait_weight(10, timeout=150)
    assert time.monotonic() - began > 60
    [pod] = case.pods(case.workload(status))
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    told = [line["what"] for line in case.attempt()["status"]["timeline"]]
    begun = next(i for i, what in enumerate(told) if what.startswith("Attempt for"))
    assert told[begun + 1] == "1 pods ready; warming up.", "nothing was worth a line before"
    case.nothing_lost()
