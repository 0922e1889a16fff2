"""Where the files of a bundle lie: a registry, a volume, a ConfigMap, each as it really is."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from e2e.cases import Case, Raw, condition
from e2e.cluster import Cluster
from e2e.cluster.addons import REGISTRY, install_registry
from e2e.pushing import push
from e2e.stack import policy

pytestmark = [pytest.mark.full_stack, pytest.mark.timeout(300, func_only=True)]


def test_a_bundle_in_a_registry_is_checked_and_served_and_what_is_not_there_is_said(
    case: Case,
) -> None:
    files = bundle(case, "v1")
    host = install_registry(case.stack.cluster)
    repository = f"{case.namespace}/fraud"
    pinned = push(host, repository, "1.0.0", files)
    place = f"oci+http://{REGISTRY}/{repository}"
    # This registry asks nobody who they are; the Secret is mounted all the same, beside one that
    # does not exist.
    case.kubectl(
        *("create", "secret", "docker-registry", "pull", "--docker-server=registry.example"),
        *("--docker-username=ada", "--docker-password=secret"),
    )
    secrets: Raw = {"imagePullSecrets": [{"name": "pull"}, {"name": "nowhere"}]}
    first = case.handoff("v1", {"candidate": {"serving": secrets}})

    case.stack.apply(moved(first, lambda file: f"{place}@{pinned}#{file}"))
    old = case.workload(case.wait("Promoted"))
    checks = {c["name"]: c["state"] for c in case.attempt()["status"]["checks"]}
    assert set(checks.values()) == {"Passed"}
    case.send()

    # The bundle of the first version under the name of the second: other bytes than declared.
    push(host, repository, "2.0.0", files)
    wrong = moved(case.handoff("v2"), lambda file: f"{place}:2.0.0#{file}")
    case.stack.apply(wrong)
    status = case.wait("Rejected", after=1, timeout=90)
    assert status["verdict"]["reason"] == "ArtifactMismatch"
    assert "digest is wrong; got model.onnx sha256:" in status["message"]
    assert condition(status, "ArtifactsVerified")["reason"] == "ArtifactMismatch"

    case.stack.apply(moved(case.handoff("v2"), lambda file: f"{place}:3.0.0#{file}"))
    status = case.wait("Inconclusive", after=2, timeout=120)
    assert status["verdict"]["reason"] == "ArtifactUnavailable"
    assert f"the registry has no 3.0.0 in repository {repository} (404)" in status["message"]

    strict = policy()
    strict["metadata"]["name"] = case.namespace
    strict["spec"]["artifactHosts"] = ["registry.example"]
    case.stack.cluster.apply([strict])
    try:
        wrong["spec"]["policyRef"] = {"name": case.namespace}
        case.stack.apply(wrong)
        status = case.stack.wait(
            case.namespace,
            lambda found: "the host is not allowed" in found.get("message", ""),
            what="refused by its policy",
        )
    finally:
        case.kubectl("delete", "handoffpolicy", case.namespace)
    assert f"got {place}"[:40] in status["message"]
    assert "allowed registry.example" in status["message"]
    nothing_happened(case, old)


def test_a_model_on_a_volume_and_its_papers_in_a_config_map(case: Case) -> None:
    cluster = case.stack.cluster
    if not isinstance(cluster, Cluster):
        pytest.skip("the volume is a folder of this machine, where only our own node sees it")
    papers = {file: text for file, text in bundle(case, "v1").items() if file != "model.onnx"}
    cluster.apply(
        [
            config_map(case, papers),
            *volume(case, str(case.stack.models)),
        ]
    )

    def lies(file: str) -> str:
        at_model = f"pvc://models/v1/{file}"
        return at_model if file == "model.onnx" else f"configmap://papers/{file}"

    try:
        case.stack.apply(moved(case.handoff("v1"), lies))
        old = case.workload(case.wait("Promoted"))
        case.send()

        case.stack.apply(moved(case.handoff("v2"), lambda file: f"configmap://papers/x-{file}"))
        status = case.wait("Inconclusive", after=1, timeout=120)
        assert status["verdict"]["reason"] == "ArtifactUnavailable"
        assert "there is no ConfigMap papers with a key x-model.onnx" in status["message"]

        impatient: Raw = {"rollout": {"capacity": {"pendingDeadline": "5s"}}}
        case.stack.apply(moved(case.handoff("v2", impatient), lambda file: f"pvc://nowhere/{file}"))
        status = case.wait("Inconclusive", after=2, timeout=60)
        assert status["verdict"]["reason"] == "ArtifactUnavailable"
        assert 'persistentvolumeclaim "nowhere" not found' in status["message"]

        case.stack.apply(
            moved(case.handoff("v2"), lambda file: f"pvc://models/traffic.jsonl/{file}")
        )
        status = case.wait("Inconclusive", after=3, timeout=120)
        assert "claim models has no file traffic.jsonl/model.onnx" in status["message"]
        nothing_happened(case, old)
    finally:
        case.kubectl("delete", "mho", "fraud", "--timeout=60s")
        case.kubectl("delete", "pvc", "models", "--wait=false")
        case.kubectl("delete", "pv", case.namespace, "--wait=false")


def bundle(case: Case, version: str) -> dict[str, bytes]:
    """The files of one trained version."""
    folder = case.stack.models / version
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def moved(document: Raw, lies: Callable[[str], str]) -> Raw:
    """The handoff with its files elsewhere.

    Args:
        document: it is changed.
        lies: the address of a file, by its name.
    """
    for artifact in document["spec"]["candidate"]["artifacts"]:
        artifact["uri"] = lies(artifact["uri"].rsplit("/", 1)[-1])
    return document


def config_map(case: Case, files: dict[str, bytes]) -> Raw:
    """The ConfigMap `papers`, half of it as text and half as bytes."""
    text, data = list(files.items())[::2], list(files.items())[1::2]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "papers", "namespace": case.namespace},
        "data": {file: content.decode() for file, content in text},
        "binaryData": {file: base64.b64encode(content).decode() for file, content in data},
    }


def volume(case: Case, folder: str) -> list[Raw]:
    """The claim `models` and the volume that it is bound to, a folder of the node."""
    size = {"storage": "1Gi"}
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": case.namespace},
            "spec": {
                "capacity": size,
                "accessModes": ["ReadOnlyMany"],
                "hostPath": {"path": folder, "type": "Directory"},
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "",
                "claimRef": {"namespace": case.namespace, "name": "models"},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "models", "namespace": case.namespace},
            "spec": {
                "accessModes": ["ReadOnlyMany"],
                "storageClassName": "",
                "volumeName": case.namespace,
                "resources": {"requests": size},
            },
        },
    ]


def nothing_happened(case: Case, old: str) -> None:
    """No pod of a candidate was ever made, and the first version serves on."""
    there = case.stack.cluster.get("deployments", f"--namespace={case.namespace}")["items"]
    assert [d["metadata"]["name"] for d in there] == [old]
    assert set(case.nothing_lost(least=20).versions) == {"1.0.0"}
