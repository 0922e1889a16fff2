"""The tenant's own Jobs as manifests, and what their pods say."""

from __future__ import annotations

from datetime import timedelta

import pytest

from modelhandoff.api.policy import PolicySpec
from modelhandoff.api.policy_check import policy_violations
from modelhandoff.api.resolve import resolve
from modelhandoff.api.tenant_jobs import tenant_jobs
from modelhandoff.cluster import views
from modelhandoff.cluster.objects import render, thaw
from modelhandoff.cluster.tenant_jobs import with_log
from tests import builders
from tests.unit.cluster.raw import ATTEMPT_NAME, NS, SETTINGS, WHO

UNIT = {
    "name": "unit",
    "image": builders.IMAGE,
    "command": ["pytest"],
    "args": ["-q"],
    "env": [{"name": "HOME", "value": "/results"}],
    "resources": {"cpu": "2", "memory": "1Gi"},
    "timeout": "5m",
}
AGAIN = {
    "image": builders.IMAGE,
    "command": ["train"],
    "tolerance": 0.02,
    "metrics": [{"name": "auc", "value": 0.91}],
}
ASKED = {"tests": [UNIT, {**UNIT, "name": "two"}], "reproduce": AGAIN}


def asking(**serving):
    return resolve(builders.spec(acceptance=ASKED, candidate={"serving": serving}))


def jobs(**serving):
    objects = thaw(render(asking(**serving), WHO, SETTINGS)).objects
    return {role: objects[role] for role in ("test-0", "test-1", "reproduce")}


def pod_of(job):
    return job["spec"]["template"]["spec"]


def test_every_job_is_rendered_with_the_attempt_under_a_name_of_its_own():
    names = [job["metadata"]["name"] for job in jobs().values()]

    assert names == [f"{ATTEMPT_NAME}-{role}" for role in ("test-0", "test-1", "reproduce")]
    assert [one.name for one in tenant_jobs(asking())] == ["Test/unit", "Test/two", "Reproduction"]
    assert tenant_jobs(asking())[2].budget == timedelta(hours=1)


@pytest.mark.parametrize("role", ["test-0", "reproduce"])
def test_nothing_in_the_pod_has_rights_or_may_write_what_another_reads(role):
    job = jobs()[role]
    pod = pod_of(job)

    assert pod["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod
    assert [c["name"] for c in pod["initContainers"]] == ["fetch", "work"]
    assert [c["name"] for c in pod["containers"]] == ["check"]
    for container in (*pod["initContainers"], *pod["containers"]):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["runAsNonRoot"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]
    mounts = {
        c["name"]: {m["name"]: m.get("readOnly", False) for m in c["volumeMounts"]}
        for c in (*pod["initContainers"], *pod["containers"])
    }
    assert mounts["work"] == {"model": True, "scratch": False, "results": False}
    assert mounts["check"] == {"model": True, "tmp": False, "results": True}
    assert mounts["fetch"] == {"model": False, "tmp": False}


def test_a_failed_test_is_not_repeated_and_a_lost_node_says_nothing():
    rules = jobs()["test-0"]["spec"]["podFailurePolicy"]["rules"]

    assert [rule["action"] for rule in rules] == ["Ignore", "FailJob", "FailJob"]
    assert rules[2]["onExitCodes"] == {
        "containerName": "work",
        "operator": "NotIn",
        "values": [0],
    }


def test_the_container_is_what_the_handoff_says():
    job = jobs(imagePullSecrets=[{"name": "registry"}])["test-0"]
    work = pod_of(job)["initContainers"][1]

    assert (work["image"], work["command"], work["args"]) == (builders.IMAGE, ["pytest"], ["-q"])
    env = {item["name"]: item["value"] for item in work["env"]}
    assert env == {"HOME": "/results", "MODEL_DIR": "/mnt/models"}
    assert work["resources"]["limits"] == {"memory": "1Gi"}
    assert work["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert pod_of(job)["imagePullSecrets"] == [{"name": "registry"}]
    spec = asking()
    pending = spec.rollout.capacity.pending_deadline + spec.candidate.serving.startup.timeout
    assert job["spec"]["activeDeadlineSeconds"] == (pending.total_seconds() + 300 + 120)


def test_the_collector_knows_which_metrics_are_asked_for():
    collector = pod_of(jobs()["reproduce"])["containers"][0]

    env = {item["name"]: item["value"] for item in collector["env"]}
    assert (env["MODELHANDOFF_KIND"], env["MODELHANDOFF_METRICS"]) == ("reproduction", '["auc"]')


def test_images_of_tests_obey_the_policy_as_the_server_does():
    loose = {**UNIT, "image": "docker.io/library/python:3.12"}
    asked = {"tests": [UNIT, {**loose, "name": "b"}], "reproduce": {**AGAIN, "image": "x/y:1"}}
    spec = resolve(builders.spec(acceptance=asked))

    lines = [
        str(line)
        for line in policy_violations(
            spec, PolicySpec(registries=("registry.example",)), other_sources=("default",)
        )
    ]

    paths = [line.partition(": ")[0] for line in lines]
    assert paths == ["spec.acceptance.tests[1].image"] * 2 + ["spec.acceptance.reproduce.image"] * 2
    assert "the image is not pinned" in lines[0]
    assert "the registry is not allowed" in lines[1]


# What pods say

AT, LATER = "2026-03-02T09:00:00Z", "2026-03-02T09:00:12Z"
JOB = {"metadata": {"name": "fraud-test-0", "namespace": NS}, "status": {}}


def pod(name, work=None, *, check=None, disrupted=False, deleting=False):
    status = {}
    if work is not None:
        status["initContainerStatuses"] = [{"name": "work", "state": work}]
    if check is not None:
        ended = {"exitCode": 0, "message": check}
        status["containerStatuses"] = [{"name": "check", "state": {"terminated": ended}}]
    if disrupted:
        status["conditions"] = [{"type": "DisruptionTarget", "status": "True"}]
    meta = {"name": name, "namespace": NS, "creationTimestamp": f"2026-03-0{name[-1]}"}
    if deleting:
        meta["deletionTimestamp"] = LATER
    return {"metadata": meta, "status": status}


def ended(code, said="", reason="Error"):
    return {
        "terminated": {
            "exitCode": code,
            "message": said,
            "reason": reason,
            "startedAt": AT,
            "finishedAt": LATER,
        }
    }


def test_a_container_that_failed_is_told_with_the_end_of_its_log_and_its_time():
    work = views.job(JOB, [pod("a1", ended(3, "E\n  assert 3 == 4\n"))]).work

    assert work is not None
    assert (work.exit_code, work.said) == (3, "E\n  assert 3 == 4")
    assert work.ended_at is not None
    assert work.started_at is not None
    assert work.ended_at - work.started_at == timedelta(seconds=12)


def test_out_of_memory_is_said():
    work = views.job(JOB, [pod("a1", ended(137, "", "OOMKilled"))]).work

    assert work is not None
    assert work.said == "OOMKilled (exit code 137)"


def test_one_that_runs_is_told_since_when():
    work = views.job(JOB, [pod("a1", {"running": {"startedAt": AT}})]).work

    assert work is not None
    assert (work.exit_code, work.started_at) == (None, views.moment(AT))


@pytest.mark.parametrize("how", ["disrupted", "deleting"])
def test_a_pod_that_was_taken_away_under_it_says_nothing_about_the_test(how):
    gone = pod("a1", ended(143), **{how: True})

    assert views.job(JOB, [gone]).work is None
    again = views.job(JOB, [gone, pod("a2", ended(0), check="{}")])
    assert again.work is not None
    assert (again.work.exit_code, again.receipt) == (0, "{}")


def test_a_run_whose_report_was_lost_does_not_hide_one_that_failed_or_reported():
    lost = pod("a1", ended(0))

    failed = views.job(JOB, [lost, pod("a2", ended(1, "no"))]).work
    assert failed is not None
    assert failed.exit_code == 1
    told = views.job(JOB, [lost, pod("a2", ended(0), check="{}")])
    assert (told.reporter, told.receipt) == ("a2", "{}")
    waiting = views.job(JOB, [lost]).work
    assert waiting is not None
    assert waiting.exit_code == 0


def test_a_failure_before_does_not_take_the_place_of_a_report():
    pods = [pod("a1", ended(1)), pod("a2", ended(0), check="{}")]

    found = views.job(JOB, pods).work

    assert found is not None
    assert found.exit_code == 0


def test_what_reported_counts_although_its_node_goes_away_afterwards():
    found = views.job(JOB, [pod("a1", ended(0), check="{}", disrupted=True)])

    assert found.work is not None
    assert found.work.exit_code == 0


def test_a_log_is_stored_with_the_result_that_it_belongs_to():
    status = {"phase": "Verifying", "jobs": [{"name": "Test/unit"}, {"name": "Reproduction"}]}

    assert with_log(status, "Reproduction", "epoch 9")["jobs"] == [
        {"name": "Test/unit"},
        {"name": "Reproduction", "log": "epoch 9"},
    ]
    assert with_log(status, "Reproduction", "") == status


def test_a_pod_that_was_evicted_is_told_in_the_kubelets_words():
    evicted = pod("a1")
    evicted["status"]["message"] = 'Usage of EmptyDir volume "results" exceeds the limit "256Mi".'

    assert "exceeds the limit" in views.job(JOB, [evicted]).message
