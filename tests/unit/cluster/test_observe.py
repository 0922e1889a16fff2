"""From raw objects, as other programs write them, to what a pass may look at."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from modelhandoff.api import names
from modelhandoff.cluster import observe, views
from modelhandoff.cluster.kinds import (
    APPROVAL,
    ATTEMPT,
    DEPLOYMENT,
    HANDOFF,
    HTTPROUTE,
    JOB,
    NODE,
    POD,
    POLICY,
    SERVICE,
)
from modelhandoff.cluster.slim import slim
from modelhandoff.cluster.store import HandoffKey, Store
from modelhandoff.errors import RefusedError
from modelhandoff.traffic.httproute import HTTPRouteRouter
from tests.unit.cluster import raw
from tests.unit.cluster.raw import AT, WORKLOAD

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
FRAUD = HandoffKey("payments", "fraud")


def seen(*objects):
    store = Store()
    kinds = {
        kind.name: kind
        for kind in (HANDOFF, ATTEMPT, APPROVAL, POLICY, DEPLOYMENT, SERVICE, POD, JOB, HTTPROUTE)
    }
    for obj in objects:
        store.upsert(kinds[obj["kind"]], obj)
    return observe.snapshot(store, FRAUD, NOW, HTTPRouteRouter())


def mine(**metadata):
    return raw.handoff(metadata={"uid": raw.UID, **metadata})


def policy(name="default", **spec):
    return {"kind": "HandoffPolicy", "metadata": raw.meta(name, namespace=""), "spec": spec}


# The handoff


def test_there_is_no_snapshot_of_a_handoff_that_is_gone():
    assert seen(raw.deployment()) is None


def test_the_handoff_as_it_is_stored():
    found = seen(
        mine(
            finalizers=[names.FINALIZER],
            annotations={names.ANNOTATION_ABORT: "x"},
            generation=4,
            deletionTimestamp=AT,
        )
    ).handoff
    assert (found.name, found.namespace, found.uid, found.generation) == (
        "fraud",
        "payments",
        raw.UID,
        4,
    )
    assert found.has_finalizer
    assert found.deleting
    assert found.annotations == {names.ANNOTATION_ABORT: "x"}
    assert found.raw_spec == raw.handoff()["spec"]
    assert found.spec.candidate.model.version == "1.4.0"
    assert found.errors == ()
    assert found.status == {}


def test_an_invalid_spec_is_told_line_by_line_and_hides_nothing_else():
    broken = mine()
    broken["spec"]["rollout"]["steps"][0]["weight"] = 250
    broken["spec"]["candidate"]["model"]["version"] = "latest"
    found = seen(broken, raw.deployment())
    assert found.handoff.spec is None
    assert len(found.handoff.errors) == 2
    assert any(line.startswith("spec.rollout.steps[0].weight:") for line in found.handoff.errors)
    assert list(found.workloads) == [WORKLOAD]


@pytest.mark.parametrize("spec", [None, "text", [], 7])
def test_a_poison_handoff_is_an_error_of_its_own(spec):
    poison = mine()
    poison["spec"] = spec
    found = seen(poison).handoff
    assert found.spec is None
    assert found.errors[0].startswith("spec: required block is missing")


def test_the_default_policy_presets_what_the_handoff_leaves_out():
    preset = policy(defaults={"scaleDownDelay": "5m"})
    assert seen(mine(), preset).handoff.spec.rollout.scale_down_delay.total_seconds() == 300
    assert seen(mine()).handoff.spec.rollout.scale_down_delay.total_seconds() == 1800


def test_a_policy_that_does_not_exist_is_named_with_those_that_do():
    naming = mine()
    naming["spec"]["policyRef"] = {"name": "strict"}
    found = seen(naming, policy("lenient")).handoff
    assert found.spec is None
    assert found.errors == (
        "spec.policyRef.name: there is no such HandoffPolicy; got strict; "
        "allowed the name of one that exists (lenient)",
    )


def test_a_policy_that_cannot_be_read_is_the_platforms_error():
    found = seen(mine(), policy(limits={"maxFirstWeight": "much"})).handoff
    assert found.spec is None
    assert found.errors[0].startswith("HandoffPolicy default: spec.limits.maxFirstWeight:")


# Attempts


def test_attempts_of_this_uid_by_ordinal():
    found = seen(
        mine(),
        raw.attempt(2, name="fraud-b"),
        raw.attempt(1, name="fraud-a"),
        raw.attempt(9, name="fraud-z", uid="uid-of-an-earlier-life"),
    )
    assert [(a.name, a.ordinal) for a in found.attempts] == [("fraud-a", 1), ("fraud-b", 2)]
    first = found.attempts[0]
    assert first.revision == raw.REVISION
    assert first.bundle == raw.BUNDLE
    assert first.spec.candidate.model.name == "fraud-classifier"
    assert first.status["phase"] == "Provisioning"


def test_an_attempt_that_cannot_be_read_stops_this_handoff_and_says_so():
    broken = raw.attempt()
    broken["spec"]["snapshot"] = "{}"
    with pytest.raises(RefusedError, match=r"spec\.snapshot"):
        seen(mine(), broken)


# Workloads


def test_a_revisions_deployment_with_its_pods():
    manifest = raw.deployment(
        replicas=2,
        annotations={
            names.ANNOTATION_MODEL_VERSION: "1.4.0",
            names.ANNOTATION_BUNDLE: raw.BUNDLE,
            names.ANNOTATION_PROMOTED_AT: AT,
        },
        ownerReferences=[raw.OWNER],
    )
    manifest["metadata"]["labels"][names.LABEL_ROLE] = "stable"
    found = seen(mine(), manifest, raw.pod("p1"), raw.pod("p2")).workloads[WORKLOAD]
    assert (found.revision, found.bundle, found.model_version) == (
        "ab12cd34ef",
        raw.BUNDLE,
        "1.4.0",
    )
    assert (found.stable, found.owned, found.managed, found.deleting) == (True, True, True, False)
    assert (found.desired, found.ready, found.observed) == (2, 2, True)
    assert found.promoted_at == datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    assert [pod.name for pod in found.pods] == ["p1", "p2"]
    assert found.pod_labels == names.labels("fraud", raw.REVISION)


def test_a_pod_that_just_lost_readiness_counts_before_the_deployment_notices():
    fallen = raw.ready_status()
    fallen["conditions"][1]["status"] = "False"
    found = seen(mine(), raw.deployment(replicas=2), raw.pod("p1"), raw.pod("p2", status=fallen))
    assert found.workloads[WORKLOAD].ready == 1


def test_a_pod_on_its_way_out_is_not_ready_any_more():
    found = seen(mine(), raw.deployment(), raw.pod("p1", deletionTimestamp=AT))
    assert found.workloads[WORKLOAD].ready == 0
    assert found.workloads[WORKLOAD].pods[0].deleting


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        ({}, 0),
        ({"replicas": 3, "updatedReplicas": 3, "readyReplicas": 2}, 2),
        # One pod of an old template is still there, and may be among the ready ones.
        ({"replicas": 4, "updatedReplicas": 3, "readyReplicas": 3}, 2),
        ({"replicas": 3, "readyReplicas": 3}, 0),
    ],
)
def test_only_pods_certainly_of_the_current_template_count(status, ready):
    adopted = raw.deployment("legacy", ours=False, status=status)
    adopter = mine()
    adopter["spec"]["baseline"] = {"workloadRef": {"name": "legacy"}}
    assert seen(adopter, adopted).workloads["legacy"].ready == ready


def test_an_adopted_deployment_is_foreign_in_every_respect():
    adopter = mine()
    adopter["spec"]["baseline"] = {"workloadRef": {"name": "legacy"}}
    adopted = raw.deployment("legacy", ours=False)
    adopted["metadata"]["labels"][names.LABEL_ROLE] = "stable"  # Somebody's copy of our label.
    found = seen(adopter, adopted).workloads["legacy"]
    assert (found.managed, found.stable, found.revision, found.owned) == (False, False, "", False)
    # What its selector selects, not what its template happens to carry.
    assert found.pod_labels == {"app": "old-fraud"}


def test_a_selector_with_expressions_falls_back_to_the_templates_labels():
    adopter = mine()
    adopter["spec"]["baseline"] = {"workloadRef": {"name": "legacy"}}
    adopted = raw.deployment("legacy", ours=False)
    adopted["spec"]["selector"]["matchExpressions"] = [{"key": "app", "operator": "Exists"}]
    found = seen(adopter, adopted).workloads["legacy"]
    assert found.pod_labels == {"app": "old-fraud", "version": "7"}


def test_a_deployment_that_the_quota_refuses_says_so():
    status = {
        "observedGeneration": 1,
        "conditions": [
            {"type": "Available", "status": "False", "message": "no"},
            {
                "type": "ReplicaFailure",
                "status": "True",
                "message": 'pods "fraud" is forbidden: exceeded quota: gpu',
            },
        ],
    }
    found = seen(mine(), raw.deployment(status=status)).workloads[WORKLOAD]
    assert found.failure == 'pods "fraud" is forbidden: exceeded quota: gpu'


def test_a_generation_that_its_controller_has_not_seen():
    ahead = raw.deployment(generation=3)
    assert not seen(mine(), ahead).workloads[WORKLOAD].observed


def test_replicas_left_out_mean_one():
    assert seen(mine(), raw.deployment(replicas=None, status={})).workloads[WORKLOAD].desired == 1


# Pods


def pod_view(status, **metadata):
    return views.pod(raw.pod(status=status, **metadata))


def test_a_pending_pod_carries_the_schedulers_own_sentence():
    said = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    found = pod_view(
        {
            "phase": "Pending",
            "conditions": [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "Unschedulable",
                    "message": said,
                }
            ],
        }
    )
    assert found.unschedulable == said
    assert found.scheduled_at is None
    assert not found.ready


def test_a_ready_pod_has_nothing_to_explain():
    found = pod_view(raw.ready_status(restarts=1))
    assert found.ready
    assert found.restarts == 1
    assert found.init_exit_code == 0
    assert (found.unschedulable, found.waiting_reason, found.crashed) == ("", "", False)
    assert found.begun
    assert found.scheduled_at == datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    assert found.node == "node-1"


def waiting(name, reason, message="", group="containerStatuses", **rest):
    return {
        group: [
            {"name": name, "state": {"waiting": {"reason": reason, "message": message}}, **rest}
        ]
    }


def test_an_image_that_cannot_be_pulled():
    message = 'Back-off pulling image "registry.example/serve": not found'
    found = pod_view(waiting("server", "ImagePullBackOff", message))
    assert found.waiting_reason == "ImagePullBackOff"
    assert found.waiting_message == message


def test_the_image_of_the_fetcher_counts_too():
    found = pod_view(
        waiting("fetch", "ErrImagePull", "no", group="initContainerStatuses")
        | waiting("server", "PodInitializing")
    )
    assert found.waiting_reason == "ErrImagePull"


@pytest.mark.parametrize(
    ("sandbox", "node", "expected"),
    [
        ("False", "node-1", ("models",)),
        ("True", "node-1", ()),
        (None, "node-1", ()),
        ("False", "", ()),
    ],
)
def test_a_claim_that_its_node_has_not_mounted_is_named(sandbox, node, expected):
    found = raw.pod(status=waiting("server", "PodInitializing"))
    found["spec"] |= {
        "nodeName": node,
        "volumes": [
            {"name": "model", "emptyDir": {}},
            {"name": "artifacts-0", "persistentVolumeClaim": {"claimName": "models"}},
        ],
    }
    if sandbox is not None:
        condition = {"type": "PodReadyToStartContainers", "status": sandbox}
        found["status"]["conditions"] = [condition]
    assert views.pod(slim(POD, found)).unmounted == expected


def test_merely_starting_is_no_reason():
    found = pod_view(waiting("server", "ContainerCreating"))
    assert found.waiting_reason == ""
    assert not found.begun


def test_a_fetcher_that_found_the_wrong_bytes():
    message = "fetch: Model https://models.example/model.onnx: digest is wrong; got sha256:0"
    found = pod_view(
        {
            "initContainerStatuses": [
                {
                    "name": "fetch",
                    "restartCount": 2,
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                    "lastState": {
                        "terminated": {"exitCode": 3, "reason": "Error", "message": message + "\n"}
                    },
                }
            ]
        }
    )
    assert found.init_exit_code == 3
    assert found.init_message == message
    assert not found.crashed
    assert found.restarts == 0


def ended(exit_code, reason="Error", message="", restarts=1):
    return {
        "containerStatuses": [
            {
                "name": "server",
                "restartCount": restarts,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                "lastState": {
                    "terminated": {"exitCode": exit_code, "reason": reason, "message": message}
                },
            }
        ]
    }


def test_a_crash_loop_carries_the_servers_last_words():
    found = pod_view(ended(1, message="model.onnx: not an ONNX file\n", restarts=4))
    assert found.crashed
    assert found.begun
    assert found.restarts == 4
    assert found.crash_message == "model.onnx: not an ONNX file"
    assert found.waiting_reason == "CrashLoopBackOff"


def test_out_of_memory_is_said_by_name():
    assert pod_view(ended(137, "OOMKilled")).crash_message == "OOMKilled (exit code 137)"
    assert pod_view(ended(139)).crash_message == "Error (exit code 139)"


def test_a_clean_end_is_no_crash():
    found = pod_view(ended(0, "Completed"))
    assert not found.crashed
    assert found.restarts == 1


def test_sidecars_do_not_speak_for_the_server():
    status = raw.ready_status()
    status["containerStatuses"].insert(
        0, {"name": "istio-proxy", "restartCount": 9, "state": {"terminated": {"exitCode": 1}}}
    )
    found = pod_view(status)
    assert found.restarts == 0
    assert not found.crashed


def test_a_pod_of_which_nothing_is_known_yet():
    found = pod_view({})
    assert not found.ready
    assert found.init_exit_code is None


def test_the_gpu_of_the_node_where_nodes_are_watched():
    store = Store()
    store.upsert(HANDOFF, mine())
    store.upsert(DEPLOYMENT, raw.deployment())
    store.upsert(POD, raw.pod())
    node = {
        "metadata": {
            **raw.meta("node-1", namespace=""),
            "labels": {"nvidia.com/gpu.product": "Tesla-T4"},
        }
    }
    store.upsert(NODE, node)
    found = observe.snapshot(store, FRAUD, NOW, HTTPRouteRouter())
    assert found.workloads[WORKLOAD].pods[0].gpu_product == "Tesla-T4"


# Services, Jobs, the route


def test_services_of_ours_and_foreign_ones_in_our_way():
    found = seen(
        mine(),
        raw.attempt(),
        raw.service(WORKLOAD, selector={"a": "b"}),
        raw.service("fraud", ours=False),
        raw.service("fraud-baseline", ours=False),
        raw.service("unrelated", ours=False),
    ).services
    assert {name: view.ours for name, view in found.items()} == {
        WORKLOAD: True,
        "fraud": False,
        "fraud-baseline": False,
    }
    assert found[WORKLOAD].selector == {"a": "b"}


def job(**status):
    labels = names.labels("fraud") | {names.LABEL_ATTEMPT: raw.ATTEMPT_NAME}
    name = f"{raw.ATTEMPT_NAME}-warmup"
    return {"kind": "Job", "metadata": {**raw.meta(name), "labels": labels}, "status": status}


def job_pod(name, status, created=AT):
    owner = {"kind": "Job", "uid": f"uid-{raw.ATTEMPT_NAME}-warmup", "name": "w"}
    found = raw.pod(name, status=status, ownerReferences=[owner], creationTimestamp=created)
    found["metadata"]["labels"] = names.labels("fraud")
    return found


def terminated(message, code=0):
    return {
        "containerStatuses": [
            {
                "name": "warmup",
                "state": {
                    "terminated": {"exitCode": code, "reason": "Completed", "message": message}
                },
            }
        ]
    }


def test_a_warm_up_that_is_done():
    done = job(conditions=[{"type": "Complete", "status": "True"}], startTime=AT)
    found = seen(mine(), done, job_pod("w-1", terminated('{"verdict":"Warm"}')))
    view = found.jobs[f"{raw.ATTEMPT_NAME}-warmup"]
    assert (view.succeeded, view.failed) == (True, False)
    assert view.message == '{"verdict":"Warm"}'
    assert view.started_at == datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    # Its pods are nobody's serving pods.
    assert found.workloads == {}


def test_a_warm_up_that_failed_says_what_its_newest_pod_said():
    failed = job(conditions=[{"type": "Failed", "status": "True", "message": "Job has failed"}])
    found = seen(
        mine(),
        failed,
        job_pod("w-2", terminated("the second", 3), created="2026-03-02T09:05:00Z"),
        job_pod("w-1", terminated("the first", 3)),
    )
    view = found.jobs[f"{raw.ATTEMPT_NAME}-warmup"]
    assert (view.succeeded, view.failed, view.message) == (False, True, "the second")


def test_a_warm_up_that_failed_without_a_pod_gives_the_jobs_own_reason():
    message = "Job was active longer than specified deadline"
    failed = job(conditions=[{"type": "Failed", "status": "True", "message": message}])
    assert seen(mine(), failed).jobs[f"{raw.ATTEMPT_NAME}-warmup"].message == message


def test_a_warm_up_that_cannot_start_says_why():
    pending = {
        "conditions": [
            {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}
        ]
    }
    view = seen(mine(), job(active=1), job_pod("w-1", pending)).jobs[f"{raw.ATTEMPT_NAME}-warmup"]
    assert (view.succeeded, view.failed) == (False, False)
    assert view.message == "0/1 nodes are available"


def test_the_route_and_its_rivals():
    found = seen(mine(), raw.route(), raw.route("theirs", ours=False))
    assert found.route.backends == {"base": 90, "cand": 10}
    assert found.route.ours
    assert found.conflicting_routes == ("payments/theirs",)
    assert seen(mine()).route is None


def test_a_snapshot_of_the_same_store_is_the_same():
    objects = [mine(), raw.attempt(), raw.deployment(), raw.pod(), raw.route()]
    assert seen(*objects) == seen(*objects)


def test_an_edit_and_a_policy_change_are_seen_at_once():
    store = Store()
    store.upsert(HANDOFF, mine())

    def delay():
        found = observe.snapshot(store, FRAUD, NOW, HTTPRouteRouter())
        return found.handoff.spec.rollout.scale_down_delay.total_seconds()

    assert delay() == 1800
    store.upsert(POLICY, policy(defaults={"scaleDownDelay": "5m"}))
    assert delay() == 300
    edited = mine(generation=2, resourceVersion="999999")
    edited["spec"]["rollout"]["scaleDownDelay"] = "1m"
    store.upsert(HANDOFF, edited)
    assert delay() == 60


# Approvals


def approval(name, created=AT, **spec):
    return {
        "kind": "HandoffApproval",
        "metadata": raw.meta(name) | {"creationTimestamp": created},
        "spec": {"handoffRef": {"name": "fraud"}, **spec},
    }


def test_approvals_that_name_the_handoff_are_seen_oldest_first():
    found = seen(
        mine(),
        approval("late", "2026-03-02T09:30:00Z", role="Risk", approver="bo", decision="Approve"),
        approval("early", role="Legal", approver="ana", decision="Reject", bundleHash=raw.BUNDLE),
        approval("other", handoffRef={"name": "churn"}),
        approval("undated", "soon"),
    ).approvals

    assert [one.name for one in found] == ["early", "late", "undated"]
    assert (found[0].role, found[0].approver, found[0].decision) == ("Legal", "ana", "Reject")
    assert found[0].bundle == raw.BUNDLE
    assert found[2].created is None


@pytest.mark.parametrize("spec", [None, "text", [], {"handoffRef": "fraud"}, {"handoffRef": 7}])
def test_an_approval_that_names_no_handoff_concerns_none(spec):
    odd = approval("odd")
    odd["spec"] = spec
    assert seen(mine(), odd).approvals == ()


def test_an_approval_of_any_shape_reads_as_empty_words():
    (found,) = seen(mine(), approval("odd", role=7, approver=["ana"], decision={})).approvals
    assert (found.role, found.approver, found.decision, found.bundle) == ("", "", "", "")


@pytest.mark.parametrize(
    ("spec", "accounts"),
    [
        ({"approvals": {"serviceAccounts": ["system:serviceaccount:ci:gate"]}}, 1),
        ({"approvals": {"serviceAccounts": [{"no": "text"}, 7]}}, 0),
        ({"approvals": {"serviceAccounts": None}}, 0),
        ({"approvals": "none"}, 0),
        ({}, 0),
    ],
)
def test_the_policy_lists_the_machines_that_may_approve(spec, accounts):
    assert len(seen(mine(), policy(**spec)).approving_accounts) == accounts


def test_freezes_are_the_policys_as_it_is_now():
    window = {"from": AT, "until": "2026-03-03T09:00:00Z", "reason": "month end"}
    (found,) = seen(mine(), policy(freeze=[window, "odd", {"from": AT}, None])).freezes
    assert (found.start.hour, found.until.day, found.reason) == (9, 3, "month end")
    assert seen(mine(), policy(freeze="odd")).freezes == ()
    assert seen(mine()).freezes == ()


def test_what_the_policy_requires_is_what_this_namespace_is_not_exempted_from():
    space = mine()["metadata"]["namespace"]
    exempted = [
        {"namespace": space, "rule": "RunbookComplete", "reason": "moves in May"},
        {"namespace": space, "rule": "RunbookComplete", "reason": "twice"},
        {"namespace": "elsewhere", "rule": "Approved", "reason": "not here"},
        "odd",
    ]
    strict = policy(requiredChecks=["RunbookComplete", "Approved", 5], exemptions=exempted)

    found = seen(mine(), strict)

    assert found.required_checks == {"Approved"}
    assert [(one.rule, one.reason) for one in found.exemptions] == [
        ("RunbookComplete", "moves in May")
    ]
    odd = seen(mine(), policy(requiredChecks=5, exemptions="odd"))
    assert (odd.required_checks, odd.exemptions) == (frozenset(), ())
