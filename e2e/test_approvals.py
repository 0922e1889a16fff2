"""Three people sign, each with a login of their own, before a pod of the candidate exists."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from e2e.cases import STAYS, Case, Raw, condition

pytestmark = [pytest.mark.full_stack, pytest.mark.timeout(300, func_only=True)]

KUBECTL_HANDOFF = Path(sys.executable).with_name("kubectl-handoff")
ROLES = {"ana": "ProductManager", "bo": "DataScience", "cleo": "Engineering"}
SIGNED: Raw = {"approvals": {"roles": list(ROLES.values())}}


def test_nothing_starts_before_the_last_signature_and_an_edit_voids_them(case: Case) -> None:
    people(case)
    old = case.serve("v1")
    case.apply("v2", STAYS, SIGNED)
    status = case.wait("AwaitingApproval", timeout=60)
    first = status["attemptRef"]["ordinal"]
    assert "kubectl handoff approve fraud" in status["nextAction"]
    assert sign(case, "ana").returncode == 0
    wrong = sign(case, "ana", role="Engineering")
    assert wrong.returncode == 1
    assert "has no right to sign as this role" in wrong.stderr

    case.apply("v2", STAYS, SIGNED, {"runbook": {"url": "https://runbooks.example/edited"}})
    status = case.wait("AwaitingApproval", after=first, timeout=60)
    new = case.workload(status)
    for person in ("bo", "cleo"):
        done = sign(case, person)
        assert done.returncode == 0, done.stderr
    waiting = case.until(lambda s: "--role ProductManager" in s.get("nextAction", ""), "one role")
    assert condition(waiting, "Approved")["reason"] == "AwaitingApproval"
    assert case.pods(new) == []

    assert sign(case, "ana").returncode == 0
    case.wait_weight(10)
    assert {a["approver"] for a in case.attempt()["status"]["approvals"]} == set(ROLES)

    assert sign(case, "bo", verb="reject").returncode == 0
    status = case.wait("Aborted", timeout=60)
    assert "bo rejected" in status["message"]
    assert case.routes.of(new) == [0, 10, 0]
    assert case.routes.last == {old: 100}
    case.nothing_lost()


def sign(
    case: Case, person: str, *, verb: str = "approve", role: str = ""
) -> subprocess.CompletedProcess[str]:
    """What this person types, with their own login."""
    login = case.stack.cluster.kubeconfig_for(person)
    return subprocess.run(
        [
            str(KUBECTL_HANDOFF), verb, "fraud", "--role", role or ROLES[person], "--yes",
            "--namespace", case.namespace, "--kubeconfig", str(login),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )  # fmt: skip


def people(case: Case) -> None:
    """The right to sign, as docs/approvals.md gives it."""
    head = {"apiVersion": "rbac.authorization.k8s.io/v1"}
    ours = "modelhandoff.dev"
    for person, role in ROLES.items():
        meta = {"name": person, "namespace": case.namespace}
        rules = [
            {
                "apiGroups": [ours],
                "resources": ["handoffroles"],
                "resourceNames": [role],
                "verbs": ["approve"],
            },
            {
                "apiGroups": [ours],
                "resources": ["handoffapprovals"],
                "verbs": ["create", "get", "list"],
            },
            {
                "apiGroups": [ours],
                "resources": ["modelhandoffs", "handoffattempts"],
                "verbs": ["get", "list"],
            },
        ]
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": person}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": person}
        case.stack.cluster.apply(
            [
                {**head, "kind": "Role", "metadata": meta, "rules": rules},
                {
                    **head,
                    "kind": "RoleBinding",
                    "metadata": meta,
                    "roleRef": reference,
                    "subjects": [subject],
                },
            ]
        )
