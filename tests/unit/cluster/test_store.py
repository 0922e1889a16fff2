"""The watch cache: what may replace what, and whom a change concerns."""

from __future__ import annotations

import copy

import pytest

from modelhandoff.api import names
from modelhandoff.cluster.kinds import (
    APPROVAL,
    ATTEMPT,
    CONFIG_MAP,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    EVENT,
    HANDOFF,
    HTTPROUTE,
    NODE,
    POD,
    POLICY,
    SERVICE,
)
from modelhandoff.cluster.store import HandoffKey, Store
from tests.unit.cluster import raw

FRAUD = HandoffKey("payments", "fraud")


@pytest.fixture
def store() -> Store:
    return Store()


def at(obj, version, **metadata):
    changed = copy.deepcopy(obj)
    changed["metadata"] |= {"resourceVersion": str(version), **metadata}
    return changed


def version_of(store, kind, name):
    found = store.get(kind, "payments", name)
    return None if found is None else found["metadata"]["resourceVersion"]


# Order


def test_a_late_watch_event_does_not_undo_our_own_write(store):
    old = raw.deployment(version=10)
    store.apply(DEPLOYMENT, "ADDED", old)
    assert store.upsert(DEPLOYMENT, at(old, 12)) == {FRAUD}
    assert store.apply(DEPLOYMENT, "MODIFIED", at(old, 11)) == set()
    assert version_of(store, DEPLOYMENT, raw.WORKLOAD) == "12"


def test_the_watch_echo_of_our_own_write_wakes_nobody(store):
    obj = raw.deployment(version=12)
    store.upsert(DEPLOYMENT, obj)
    assert store.apply(DEPLOYMENT, "MODIFIED", obj) == set()


def test_versions_compare_as_numbers(store):
    store.upsert(DEPLOYMENT, raw.deployment(version=9))
    store.upsert(DEPLOYMENT, raw.deployment(version=10))
    assert version_of(store, DEPLOYMENT, raw.WORKLOAD) == "10"


def test_a_deleted_object_does_not_come_back_by_a_late_answer(store):
    obj = raw.deployment(version=10)
    store.apply(DEPLOYMENT, "ADDED", obj)
    assert store.apply(DEPLOYMENT, "DELETED", at(obj, 11)) == {FRAUD}
    assert store.upsert(DEPLOYMENT, at(obj, 12)) == set()
    assert version_of(store, DEPLOYMENT, raw.WORKLOAD) is None


def test_an_object_made_again_under_the_same_name_is_another_one(store):
    obj = raw.deployment(version=10)
    store.apply(DEPLOYMENT, "ADDED", obj)
    store.apply(DEPLOYMENT, "ADDED", at(obj, 20, uid="uid-second"))
    # The first one's deletion arrives late; it says nothing about the second.
    assert store.apply(DEPLOYMENT, "DELETED", at(obj, 15)) == set()
    assert version_of(store, DEPLOYMENT, raw.WORKLOAD) == "20"


def test_an_older_incarnation_does_not_replace_a_newer_one(store):
    obj = raw.deployment(version=10)
    store.upsert(DEPLOYMENT, at(obj, 20, uid="uid-second"))
    store.upsert(DEPLOYMENT, obj)
    assert store.get(DEPLOYMENT, "payments", raw.WORKLOAD)["metadata"]["uid"] == "uid-second"


def test_a_complete_listing_finds_what_the_watch_missed(store):
    store.upsert(DEPLOYMENT, raw.deployment("a", version=10))
    store.upsert(DEPLOYMENT, raw.deployment("b", version=11))
    store.upsert(DEPLOYMENT, raw.deployment("made-after-the-listing", version=31))
    touched = store.replace(DEPLOYMENT, [raw.deployment("b", version=12)], "30")
    assert touched == {FRAUD}
    assert store.count(DEPLOYMENT) == 2
    assert version_of(store, DEPLOYMENT, "a") is None
    assert version_of(store, DEPLOYMENT, "b") == "12"


def test_a_listing_of_one_namespace_says_nothing_about_others(store):
    elsewhere = raw.deployment("a", version=10)
    elsewhere["metadata"]["namespace"] = "other"
    store.upsert(DEPLOYMENT, elsewhere)
    store.replace(DEPLOYMENT, [], "30", namespace="payments")
    assert store.count(DEPLOYMENT) == 1


def test_the_same_listing_twice_concerns_nobody_the_second_time(store):
    objects = [raw.deployment("a", version=10), raw.deployment("b", version=11)]
    assert store.replace(DEPLOYMENT, objects, "30") == {FRAUD}
    assert store.replace(DEPLOYMENT, objects, "31") == set()


def test_nothing_is_remembered_of_which_nobody_would_hear_that_it_is_gone(store):
    for number, kind in enumerate((CONFIG_MAP, DISRUPTION_BUDGET, EVENT)):
        assert store.upsert(kind, raw.deployment("a", version=number + 1)) == set()
        assert store.get(kind, "payments", "a") is None


def test_forgetting_names_the_object_it_means(store):
    store.upsert(DEPLOYMENT, raw.deployment("a"))
    assert store.forget(DEPLOYMENT, "payments", "a", uid="uid-of-another") == set()
    assert store.forget(DEPLOYMENT, "payments", "a", uid="uid-a") == {FRAUD}
    assert store.forget(DEPLOYMENT, "payments", "a") == set()


# Whom it concerns


def test_labelled_objects_concern_their_handoff(store):
    assert store.upsert(HANDOFF, raw.handoff()) == {FRAUD}
    assert store.upsert(POD, raw.pod()) == {FRAUD}
    assert store.upsert(ATTEMPT, raw.attempt()) == {FRAUD}
    assert store.upsert(SERVICE, raw.service(raw.WORKLOAD)) == {FRAUD}
    assert [p["metadata"]["name"] for p in store.of(POD, FRAUD)] == [f"{raw.WORKLOAD}-x1"]
    store.apply(POD, "DELETED", store.get(POD, "payments", f"{raw.WORKLOAD}-x1"))
    assert list(store.of(POD, FRAUD)) == []


def test_an_object_that_loses_its_label_concerns_the_handoff_once_more(store):
    obj = raw.service(raw.WORKLOAD)
    store.upsert(SERVICE, obj)
    bare = at(obj, 99999, labels={})
    assert store.upsert(SERVICE, bare) == {FRAUD}
    assert list(store.of(SERVICE, FRAUD)) == []
    assert store.upsert(SERVICE, at(bare, 100000)) == set()


def test_an_adopted_deployment_concerns_whoever_adopts_it(store):
    old = raw.deployment("legacy", ours=False, version=5)
    assert store.upsert(DEPLOYMENT, old) == set()
    adopter = raw.handoff(version=10, baseline={"workloadRef": {"name": "legacy"}})
    store.upsert(HANDOFF, adopter)
    assert store.upsert(DEPLOYMENT, at(old, 20)) == {FRAUD}
    plain = raw.handoff(version=30)
    store.upsert(HANDOFF, plain)
    assert store.upsert(DEPLOYMENT, at(old, 40)) == set()


def test_a_policy_concerns_those_who_name_it_and_default_those_who_name_none(store):
    strict = {"metadata": raw.meta("strict", namespace=""), "spec": {}}
    default = {"metadata": raw.meta("default", namespace=""), "spec": {}}
    store.upsert(HANDOFF, raw.handoff("named", policyRef={"name": "strict"}))
    store.upsert(HANDOFF, raw.handoff("silent"))
    assert store.upsert(POLICY, strict) == {HandoffKey("payments", "named")}
    assert store.upsert(POLICY, default) == {HandoffKey("payments", "silent")}


def test_a_foreign_service_under_a_handoffs_name_concerns_it(store):
    store.upsert(HANDOFF, raw.handoff())
    assert store.upsert(SERVICE, raw.service("fraud", ours=False)) == {FRAUD}
    assert store.upsert(SERVICE, raw.service("other", ours=False)) == set()


def test_a_foreign_route_concerns_those_on_its_gateway_when_its_claims_change(store):
    store.upsert(HANDOFF, raw.handoff())
    elsewhere = {"rollout": {"route": {"gateway": {"name": "public", "namespace": "edge"}}}}
    store.upsert(HANDOFF, raw.handoff("far", **elsewhere))
    foreign = raw.route("theirs", ours=False)
    assert store.upsert(HTTPROUTE, foreign) == {FRAUD}
    # Only its status, or its backends: none of our business.
    assert store.upsert(HTTPROUTE, at(foreign, 50000)) == set()
    moved = at(foreign, 50001)
    moved["spec"]["hostnames"] = ["other.example"]
    assert store.upsert(HTTPROUTE, moved) == {FRAUD}
    assert store.apply(HTTPROUTE, "DELETED", at(moved, 50002)) == {FRAUD}


def test_a_weight_change_of_one_handoff_wakes_no_other_on_the_gateway(store):
    store.upsert(HANDOFF, raw.handoff())
    store.upsert(HANDOFF, raw.handoff("neighbour"))
    mine = raw.route()
    assert store.upsert(HTTPROUTE, mine) == {FRAUD, HandoffKey("payments", "neighbour")}
    stepped = at(mine, 60000)
    stepped["spec"]["rules"][0]["backendRefs"][0]["weight"] = 50
    assert store.upsert(HTTPROUTE, stepped) == {FRAUD}


@pytest.mark.parametrize(
    "spec", [None, [], "text", {"baseline": 7}, {"rollout": {"route": {"gateway": {"name": 1}}}}]
)
def test_a_handoff_of_any_shape_is_kept_and_can_be_removed(store, spec):
    poison = raw.handoff()
    poison["spec"] = spec
    assert store.upsert(HANDOFF, poison) == {FRAUD}
    assert store.handoffs() == (FRAUD,)
    assert store.apply(HANDOFF, "DELETED", poison) == {FRAUD}
    assert store.handoffs() == ()


# What is kept


def test_only_what_is_read_is_kept(store):
    big = raw.deployment("legacy", ours=False)
    big["metadata"]["annotations"] = {
        "kubectl.kubernetes.io/last-applied-configuration": "x" * 10_000,
        "keep": "me",
    }
    big["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "b" * 10_000}]
    store.upsert(DEPLOYMENT, big)
    kept = store.get(DEPLOYMENT, "payments", "legacy")
    assert len(str(kept)) < 1500
    assert "managedFields" not in kept["metadata"]
    assert kept["metadata"]["annotations"] == {"keep": "me"}
    assert kept["spec"]["selector"] == big["spec"]["selector"]
    assert kept["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"] == 9000
    # The caller's object is as it was.
    assert "managedFields" in big["metadata"]


def test_our_own_kinds_are_kept_whole(store):
    store.upsert(HANDOFF, raw.handoff())
    store.upsert(ATTEMPT, raw.attempt())
    assert store.get(HANDOFF, *FRAUD)["spec"] == raw.handoff()["spec"]
    assert store.get(ATTEMPT, "payments", raw.ATTEMPT_NAME)["status"]["phase"] == "Provisioning"


def test_of_a_node_only_its_gpu_is_kept(store):
    node = {
        "metadata": {
            **raw.meta("node-1", namespace=""),
            "labels": {"nvidia.com/gpu.product": "Tesla-T4"},
        },
        "status": {"images": ["x" * 1000]},
    }
    store.upsert(NODE, node)
    assert store.get(NODE, "", "node-1")["product"] == "Tesla-T4"


def test_of_a_foreign_route_only_its_claims_are_kept(store):
    store.upsert(HTTPROUTE, raw.route("theirs", ours=False))
    kept = store.get(HTTPROUTE, "payments", "theirs")
    assert "backendRefs" not in kept["spec"]["rules"][0]
    assert kept["spec"]["hostnames"] == ["fraud.example"]
    store.upsert(HTTPROUTE, raw.route())
    ours = store.get(HTTPROUTE, "payments", "fraud")
    assert ours["spec"]["rules"][0]["backendRefs"][1]["weight"] == 10
    assert ours["metadata"]["annotations"][names.ANNOTATION_OWNER].startswith("payments/fraud/")


# Looking up routes and remembering


def names_of(found):
    return {obj["metadata"]["name"] for obj in found}


def test_routes_are_found_by_their_hosts_as_they_are_now(store):
    plain = raw.route("plain", ours=False, hostnames=None)
    named = raw.route("named", ours=False, hostnames=["a.example", "b.example"])
    store.upsert(HTTPROUTE, plain)
    store.upsert(HTTPROUTE, named)
    assert names_of(store.routes(["a.example", "b.example"])) == {"named"}
    assert names_of(store.routes(["*"])) == {"plain"}
    moved = at(named, 70000)
    moved["spec"]["hostnames"] = ["c.example"]
    store.upsert(HTTPROUTE, moved)
    assert names_of(store.routes(["a.example"])) == set()
    assert names_of(store.routes(["c.example"])) == {"named"}
    store.apply(HTTPROUTE, "DELETED", at(moved, 70001))
    assert names_of(store.routes(["c.example"])) == set()


def test_what_was_made_is_made_again_when_its_stamp_changes(store):
    made = []

    def make():
        made.append(1)
        return len(made)

    obj = raw.handoff()
    store.upsert(HANDOFF, obj)
    assert [store.memo(FRAUD, (1,), make) for _ in range(3)] == [1, 1, 1]
    assert store.memo(FRAUD, (2,), make) == 2
    store.apply(HANDOFF, "DELETED", obj)
    assert store.memo(FRAUD, (2,), make) == 3


def test_an_approval_concerns_the_handoff_that_it_names(store):
    approval = {
        "kind": "HandoffApproval",
        "metadata": raw.meta("signed", version=5),
        "spec": {"handoffRef": {"name": "fraud"}, "role": "Risk"},
    }
    assert store.apply(APPROVAL, "ADDED", approval) == {FRAUD}
    assert [one["metadata"]["name"] for one in store.of(APPROVAL, FRAUD)] == ["signed"]
    assert store.apply(APPROVAL, "DELETED", at(approval, 6)) == {FRAUD}
    assert list(store.of(APPROVAL, FRAUD)) == []
