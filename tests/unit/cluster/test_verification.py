"""The verification Job as a manifest, and what its pods say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelhandoff.api import names
from modelhandoff.api.candidate import ArtifactRole
from modelhandoff.api.checks import sha256
from modelhandoff.api.resolve import resolve
from modelhandoff.api.verification import frozen_baseline, job_budget
from modelhandoff.cluster import views
from modelhandoff.cluster.objects import render, thaw
from modelhandoff.cluster.verification import memory_bytes, spec_map, verification_job
from modelhandoff.verify.bundle import read_bundle
from modelhandoff.verify.manifest import parse_manifest
from tests import builders
from tests.unit.cluster.raw import ATTEMPT_NAME, NS, SETTINGS, WHO

MODEL = builders.spec()["candidate"]["artifacts"][0]
GOLDEN = {**MODEL, "role": "TestData", "uri": "https://models.example/golden.jsonl"}


def asking(**serving):
    return resolve(
        builders.spec(
            candidate={"artifacts": [MODEL, GOLDEN], "serving": serving}, acceptance={"smoke": {}}
        )
    )


def rendered():
    """The Job of a snapshot, and the ConfigMap that is made of the same snapshot later."""
    snapshot = json.loads(render(asking(), WHO, SETTINGS))
    job = snapshot["objects"]["verification"]
    return job, spec_map(job, snapshot["spec"])


def test_the_job_has_no_rights_and_hard_limits():
    job = verification_job(asking(), WHO, SETTINGS)

    pod = job["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["restartPolicy"] == "Never"
    assert "serviceAccountName" not in pod
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert job["spec"]["activeDeadlineSeconds"] == job_budget(asking()).total_seconds()
    for container in (*pod["initContainers"], *pod["containers"]):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]
    mounts = {m["name"]: m.get("readOnly", False) for m in pod["containers"][0]["volumeMounts"]}
    assert mounts == {"model": True, "spec": True, "tmp": False}


def test_the_job_has_the_volumes_that_its_artifacts_lie_on():
    spec = resolve(
        builders.spec(
            candidate={
                "artifacts": [
                    {**MODEL, "uri": "pvc://models/model.onnx"},
                    {**GOLDEN, "uri": "configmap://golden/golden.jsonl"},
                ]
            },
            acceptance={"smoke": {}},
        )
    )
    pod = verification_job(spec, WHO, SETTINGS)["spec"]["template"]["spec"]
    assert [v["name"] for v in pod["volumes"]] == [
        "model",
        "tmp",
        "spec",
        "artifacts-0",
        "artifacts-1",
    ]
    assert [m["name"] for m in pod["initContainers"][0]["volumeMounts"]][2:] == [
        "artifacts-0",
        "artifacts-1",
    ]
    checker = {m["name"] for m in pod["containers"][0]["volumeMounts"]}
    assert checker == {"model", "tmp", "spec"}


def test_the_checks_may_use_what_a_serving_pod_may_and_never_less_than_a_gibibyte():
    def limits(memory):
        job = verification_job(asking(resources={"memory": memory}), WHO, SETTINGS)
        container = job["spec"]["template"]["spec"]["containers"][0]
        env = {item["name"]: item["value"] for item in container["env"]}
        return container["resources"]["limits"]["memory"], int(env["MODELHANDOFF_MEMORY"])

    mib = 1024**2
    assert limits("256Mi") == ("1024Mi", 768 * mib)
    assert limits("4Gi") == ("4096Mi", 3840 * mib)


def test_the_baselines_files_lie_beside_the_candidates_and_no_attempt_renders_them_anew():
    scored = {**MODEL, "role": "TestSet", "uri": "https://models.example/testset.csv"}
    metric = {"metric": "NDCG", "k": 10, "minRelativeChange": 0.02}
    spec = resolve(
        builders.spec(candidate={"artifacts": [MODEL, scored]}, acceptance={"offline": [metric]})
    )
    serving = frozen_baseline(resolve(builders.spec()), "0123456789")
    snapshot = json.loads(render(spec, WHO, SETTINGS, serving))
    job = snapshot["objects"]["verification"]
    document = spec_map(job, snapshot["spec"], snapshot["baseline"])["data"]["spec.json"]
    env = {
        e["name"]: e["value"] for e in job["spec"]["template"]["spec"]["initContainers"][0]["env"]
    }

    files = {(w.role, w.file) for w in parse_manifest(env["MODELHANDOFF_ARTIFACTS"])}
    assert files == {
        ("Model", "model.onnx"),
        ("TestSet", "testset.csv"),
        ("Baseline Model", "baseline/model.onnx"),
    }
    digest = job["metadata"]["annotations"][names.ANNOTATION_SPEC_DIGEST]
    assert sha256(document.encode()) == digest
    rival = read_bundle(document.encode(), Path("/m")).baseline
    assert rival.first(ArtifactRole.MODEL) == Path("/m/baseline/model.onnx")
    assert rival.frozen.version == "1.4.0"


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [("512Mi", 512 * 2**20), ("1.5Gi", 1536 * 2**20), ("1G", 10**9), ("1000", 1000), ("5m", 1)],
)
def test_quantities_become_bytes(quantity, expected):
    assert memory_bytes(quantity) == expected


def test_the_spec_is_in_an_immutable_map_and_the_job_knows_its_digest():
    job, document = rendered()

    assert document["immutable"] is True
    assert document["metadata"]["name"] == names.verification_job_name(ATTEMPT_NAME)
    text = document["data"]["spec.json"].encode()
    assert job["metadata"]["annotations"] == {names.ANNOTATION_SPEC_DIGEST: sha256(text)}
    volumes = {v["name"]: v for v in job["spec"]["template"]["spec"]["volumes"]}
    assert volumes["spec"] == {"name": "spec", "configMap": {"name": document["metadata"]["name"]}}


def test_the_runner_finds_the_files_where_the_fetcher_puts_them(tmp_path):
    job, document = rendered()

    bundle = read_bundle(document["data"]["spec.json"].encode(), tmp_path)

    fetch = job["spec"]["template"]["spec"]["initContainers"][0]
    manifest = next(e["value"] for e in fetch["env"] if e["name"] == "MODELHANDOFF_ARTIFACTS")
    assert [path.name for _, path in bundle.files] == [w.file for w in parse_manifest(manifest)]


def test_it_is_rendered_only_where_something_is_asked_for():
    plain = thaw(render(resolve(builders.spec()), WHO, SETTINGS))
    asked = thaw(render(asking(), WHO, SETTINGS))

    assert (plain.spec_digest, plain.objects.get("verification")) == ("", None)
    assert asked.spec_digest.startswith("sha256:")
    assert "spec.json" not in json.dumps(asked.objects["deployment"])


def pod(name, *, exit_code=None, message="", init=None):
    status = {}
    if init is not None:
        code, said = init
        ended = {"exitCode": code, "message": said}
        status["initContainerStatuses"] = [{"name": "fetch", "state": {"terminated": ended}}]
    if exit_code is not None:
        ended = {"exitCode": exit_code, "message": message}
        status["containerStatuses"] = [{"name": "check", "state": {"terminated": ended}}]
    return {
        "metadata": {"name": name, "namespace": NS, "creationTimestamp": f"2026-03-0{name[-1]}"},
        "status": status,
    }


JOB = {"metadata": {"name": "fraud-verify", "namespace": NS}, "status": {}}


def test_the_receipt_is_that_of_the_first_pod_that_ended_well():
    pods = [pod("a1", exit_code=137), pod("a2", exit_code=0, message="{}"), pod("a3", exit_code=0)]

    found = views.job(JOB, reversed(pods))

    assert (found.reporter, found.receipt) == ("a2", "{}")
    assert found.pod is not None
    assert found.pod.name == "a3"


def test_checks_that_ended_well_without_a_word_have_a_receipt_that_is_none():
    assert views.job(JOB, [pod("a1", exit_code=0)]).receipt == views.NO_RECEIPT


def test_no_receipt_before_the_end_or_after_a_crash():
    for raw in (pod("a1"), pod("a1", init=(0, "")), pod("a1", exit_code=2, message="{}")):
        assert views.job(JOB, [raw]).receipt == ""


def test_a_fetch_that_failed_is_told_in_its_own_words():
    found = views.job(JOB, [pod("a1", init=(3, "fetch: Model: digest is wrong"))])

    assert found.message == "fetch: Model: digest is wrong"
    assert found.pod is not None
    assert found.pod.init_exit_code == 3
