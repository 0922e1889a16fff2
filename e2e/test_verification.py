"""What is checked before a pod of a candidate exists: on real pods, by the real runner."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.cases import Case, Raw, condition

pytestmark = [pytest.mark.full_stack, pytest.mark.timeout(300, func_only=True)]


def test_wrong_golden_answers_are_rejected_by_name_and_no_pod_ever_exists(case: Case) -> None:
    old = case.serve("v1")
    checks = {c["name"]: c for c in case.attempt()["status"]["checks"]}
    assert {c["state"] for c in checks.values()} == {"Passed"}
    assert checks["GoldenCases"]["numbers"]["cases"] == 20

    document = case.handoff("v2")
    # The answers of another version: what a wrong export of the model would look like.
    artifact(document, "TestData").update(artifact(case.handoff("v1"), "TestData"))
    case.stack.apply(document)
    status = case.wait("Rejected", timeout=90)

    assert status["verdict"]["reason"] == "AcceptanceFailed"
    assert "GoldenCases: golden.jsonl:1: output score[0] is wrong; got " in status["message"]
    assert condition(status, "AcceptancePassed")["status"] == "False"
    assert condition(status, "ContractsValid")["status"] == "True"
    never_existed(case, status, old)


def test_a_graph_that_breaks_the_contract_is_rejected_by_name(case: Case) -> None:
    old = case.serve("v1")
    document = case.handoff("v2")
    document["spec"]["contracts"]["api"]["inputs"][0]["datatype"] = "FP64"
    case.stack.apply(document)
    status = case.wait("Rejected", timeout=90)

    assert status["verdict"]["reason"] == "ContractBroken"
    assert "contracts.api.inputs[0].datatype: features has another; got FP64" in status["message"]
    never_existed(case, status, old)


def artifact(document: Raw, role: str) -> dict[str, Any]:
    """The artifact of a handoff with this role."""
    found = document["spec"]["candidate"]["artifacts"]
    chosen: dict[str, Any] = next(a for a in found if a["role"] == role)
    return chosen


def never_existed(case: Case, status: Raw, old: str) -> None:
    """No Deployment of the candidate was ever made: a rejected one is kept at zero pods."""
    workload = case.workload(status)
    assert workload != old
    there = case.stack.cluster.get("deployments", f"--namespace={case.namespace}")["items"]
    assert [d["metadata"]["name"] for d in there] == [old]
    assert case.pods(workload) == []
    assert case.routes.highest(workload) == 0
    case.nothing_lost(least=20)
