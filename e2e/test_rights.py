"""What the operator may do, against what it does: the API server's own log is the witness."""

from __future__ import annotations

import json

import pytest

from e2e.cases import STAYS, Case
from e2e.cluster import Cluster
from e2e.stack import SYSTEM

pytestmark = [pytest.mark.full_stack, pytest.mark.timeout(300, func_only=True)]

ACCOUNT = f"system:serviceaccount:{SYSTEM}:modelhandoff"
Right = tuple[str, str, str]
"""API group, resource with subresource, verb."""

WRITTEN = (
    ("modelhandoff.dev", "modelhandoffs"),
    ("modelhandoff.dev", "handoffattempts"),
    ("modelhandoff.dev", "handoffapprovals"),
    ("apps", "deployments"),
    ("", "services"),
    ("batch", "jobs"),
    ("", "configmaps"),
    ("policy", "poddisruptionbudgets"),
    ("gateway.networking.k8s.io", "httproutes"),
)
SPARE: dict[Right, str] = {
    **{(*kind, "get"): "read again after a conflict" for kind in WRITTEN},
    ("policy", "poddisruptionbudgets", "create"): "a version with more than one pod",
    ("policy", "poddisruptionbudgets", "patch"): "a version with more than one pod",
    ("modelhandoff.dev", "handoffattempts", "patch"): "a new leader's epoch",
    ("modelhandoff.dev", "handoffattempts", "operate"): "admission asks for it, no request does",
    ("modelhandoff.dev", "handoffapprovals/status", "update"): "a handoff that people approve",
    ("modelhandoff.dev", "handoffattempts", "delete"): "attempts beyond the history limit",
    ("gateway.networking.k8s.io", "httproutes", "delete"): "deleted before anything was stable",
    ("coordination.k8s.io", "leases", "create"): "the first start of all",
    ("coordination.k8s.io", "leases", "get"): "at every start",
}
"""Rights that the story below does not need, and who does."""


def test_every_right_is_used_and_none_is_missing(case: Case, request_log: Cluster) -> None:
    case.serve("v1")
    case.apply("v2", STAYS)
    attempt = case.wait_weight(10)["attemptRef"]["name"]
    case.annotate("abort", attempt)
    case.wait("Aborted", timeout=60)
    case.kubectl("delete", "mho", "fraud", "--timeout=60s")
    used, refused = seen(request_log)
    allowed = granted(request_log)
    assert not refused
    assert not used - allowed
    unused = allowed - used - SPARE.keys()
    assert not unused, "granted, but nothing needs it"
    assert not SPARE.keys() - allowed, "listed here, but not granted"
    assert not any(resource == "secrets" for _, resource, _ in allowed)


def granted(cluster: Cluster) -> set[Right]:
    """What the chart's roles say."""
    roles = [
        cluster.get("clusterrole", f"{SYSTEM}-modelhandoff"),
        cluster.get("role", "modelhandoff-lease", f"--namespace={SYSTEM}"),
    ]
    return {
        (group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def seen(cluster: Cluster) -> tuple[set[Right], list[object]]:
    """Rights that the operator made use of since the cluster's start, and what was refused."""
    used: set[Right] = set()
    refused: list[object] = []
    with cluster.audit_log.open(encoding="utf-8") as log:
        # Hundreds of megabytes, of which one line in twenty is ours.
        ours = [json.loads(line) for line in log if ACCOUNT in line and line.endswith("\n")]
    for event in ours:
        if event["user"]["username"] != ACCOUNT or "objectRef" not in event:
            continue
        what = event["objectRef"]
        resource = "/".join(filter(None, (what.get("resource", ""), what.get("subresource"))))
        used.add((what.get("apiGroup", ""), resource, event["verb"]))
        if event.get("responseStatus", {}).get("code") in (401, 403):
            refused.append((event["verb"], what, event["responseStatus"].get("message")))
    return used, refused
