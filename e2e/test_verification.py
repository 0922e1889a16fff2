"""What is checked before a pod of a candidate exists: on real pods, by the real runner."""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from model_signing import signing

from e2e.cases import STAYS, Case, Raw, condition
from e2e.stack import ROOT
from e2e.stack import policy as default_policy

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


def test_a_server_that_names_another_version_is_rejected_by_its_pods_before_any_weight(
    case: Case,
) -> None:
    trace: Raw = {
        "contracts": {
            "api": {"trace": {"requestIdHeader": "X-Call", "versionHeader": "X-Model-Version"}}
        }
    }
    old = case.serve("v1", trace)
    kept = {c["name"]: c for c in case.attempt()["status"]["checks"]}
    assert kept["CanaryGoldenCases"]["state"] == kept["CanaryContract"]["state"] == "Passed"
    assert kept["CanaryGoldenCases"]["numbers"]["cases"] == 20

    document = case.handoff("v2", trace)
    # The bundle is right in every check; what the image serves calls itself something else.
    document["spec"]["candidate"]["serving"]["args"] = ["--model-version", "9.9.9"]
    case.stack.apply(document)
    status = case.wait("Rejected", timeout=180)

    assert status["verdict"]["reason"] == "ContractBroken"
    assert (
        "CanaryContract: golden.jsonl:1: header X-Model-Version of the answer is wrong; got 9.9.9"
        in status["message"]
    )
    assert condition(status, "ContractsValid")["status"] == "False"
    workload = case.workload(status)
    assert workload != old
    assert case.routes.highest(workload) == 0
    case.nothing_lost(least=20)


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


def test_only_what_a_trusted_key_signed_serves(case: Case, tmp_path: Path) -> None:
    ours, other = key(tmp_path / "ours.pem"), key(tmp_path / "other.pem")
    policy = f"signed-{case.namespace}"
    case.stack.apply(
        {
            "apiVersion": "modelhandoff.dev/v1alpha1",
            "kind": "HandoffPolicy",
            "metadata": {"name": policy},
            "spec": {
                **default_policy()["spec"],
                "requireSignature": True,
                "trustedKeys": [{"name": "release", "publicKey": ours}],
            },
        }
    )
    try:
        case.stack.apply(signed(case, "v1", policy, tmp_path / "ours.pem"))
        old = case.workload(case.wait("Promoted", timeout=120))
        case.send()
        checks = {c["name"]: c for c in case.attempt()["status"]["checks"]}
        assert checks["Signature"]["state"] == "Passed"
        assert "signed with the key release" in checks["Signature"]["message"]

        case.stack.apply(signed(case, "v2", policy, tmp_path / "other.pem"))
        status = case.wait("Rejected", timeout=90)
        assert status["verdict"]["reason"] == "ArtifactRefused"
        assert "Signature: v2.sig: signed with another key; got " in status["message"]
        never_existed(case, status, old)

        unsigned = case.handoff("v2")
        unsigned["spec"]["policyRef"] = {"name": policy}
        case.stack.apply(unsigned)
        said = case.wait_stalled("SpecInvalid")
        assert "spec.candidate.signature: the policy wants the bundle signed" in said
        own = signed(case, "v2", policy, tmp_path / "other.pem")
        own["spec"]["candidate"]["signature"] = {"keys": [{"name": "mine", "publicKey": other}]}
        case.stack.apply(own)
        case.stack.wait(
            case.namespace,
            lambda s: "the policy does not trust this key; got mine" in s.get("message", ""),
            what="refused with a key of its own",
        )
        case.nothing_lost(least=20)
    finally:
        case.stack.cluster.kubectl("delete", "handoffpolicy", policy, "--ignore-not-found")


def test_a_gain_on_the_test_set_must_be_proven_and_not_only_seen(case: Case) -> None:
    old = case.serve("v1")
    rows = holdout()
    case.stack.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "holdout", "namespace": case.namespace},
            "data": {"testset.csv": rows},
        }
    )
    digest = f"sha256:{hashlib.sha256(rows.encode()).hexdigest()}"

    def asking(gain: float) -> Raw:
        document = case.handoff("v2", STAYS)
        document["spec"]["candidate"]["artifacts"].append(
            {"role": "TestSet", "uri": "configmap://holdout/testset.csv", "digest": digest}
        )
        document["spec"]["acceptance"]["offline"] = [{"metric": "AUC", "minRelativeChange": gain}]
        document["spec"]["acceptance"]["testSet"] = {"output": "score"}
        return document

    # Version 2 is about 4 % better on these rows, give or take 2.
    case.stack.apply(asking(0.03))
    status = case.wait("Rejected", timeout=120)
    assert status["verdict"]["reason"] == "AcceptanceFailed"
    assert "OfflineMetrics: AUC: is not proven; got +" in status["message"]
    assert "over 1.0.0" in status["message"]
    never_existed(case, status, old)

    case.stack.apply(asking(0.005))
    case.wait_weight(10, after=status["attemptRef"]["ordinal"])
    checks = {c["name"]: c for c in case.attempt()["status"]["checks"]}
    assert checks["OfflineMetrics"]["state"] == "Passed"
    assert "is proven" in checks["OfflineMetrics"]["message"]
    case.nothing_lost(least=20)


def holdout() -> str:
    """Labelled transactions that no version was trained on, as CSV."""
    sys.path.insert(0, str(ROOT / "examples" / "fraud"))
    try:
        from transactions import FEATURES, MERCHANT, NEW_CODE, draw
    finally:
        sys.path.pop(0)
    drawn = draw(9000, seed=77)
    known = drawn.where(drawn.features[:, MERCHANT] != NEW_CODE)
    text = io.StringIO()
    table = np.column_stack([known.features, known.fraud])[:8000]
    np.savetxt(
        text, table, fmt="%.7g", delimiter=",", comments="", header=",".join((*FEATURES, "label"))
    )
    return text.getvalue()


def key(path: Path) -> str:
    """A new private key in a file; its public one."""
    made = ec.generate_private_key(ec.SECP256R1())
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path.write_bytes(made.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    return made.public_key().public_bytes(pem, public).decode()


def signed(case: Case, version: str, policy: str, private: Path) -> Raw:
    """The example's handoff, signed as its author would; the signature lies in a ConfigMap."""
    document = case.handoff(version)
    candidate = document["spec"]["candidate"]
    folder = private.parent / version
    folder.mkdir(exist_ok=True)
    for one in candidate["artifacts"]:
        file = one["uri"].rpartition("/")[2]
        (folder / file).write_bytes((case.stack.models / version / file).read_bytes())
    signature = private.parent / f"{version}.sig"
    signing.Config().use_elliptic_key_signer(private_key=private).sign(folder, signature)
    case.stack.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"signature-{version}", "namespace": case.namespace},
            "data": {signature.name: signature.read_text()},
        }
    )
    digest = hashlib.sha256(signature.read_bytes()).hexdigest()
    candidate["artifacts"].append(
        {
            "role": "Signature",
            "uri": f"configmap://signature-{version}/{signature.name}",
            "digest": f"sha256:{digest}",
        }
    )
    candidate["signature"] = {}
    document["spec"]["policyRef"] = {"name": policy}
    return document
