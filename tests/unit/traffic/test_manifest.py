"""The HTTPRoute as a value: what is built, what a patch changes, when a weight has landed."""

from __future__ import annotations

import copy

import pytest

from modelhandoff.api import names
from modelhandoff.errors import RefusedError
from modelhandoff.traffic.manifest import build, patch, view
from tests.component.fakeapi.patching import merge
from tests.unit.cluster.raw import NS, UID, parent, resolved, route

OWNER = f"{NS}/fraud/{UID}"


def built(spec=None, backends=(("base", 90), ("cand", 10)), **more):
    return build(
        spec or resolved(),
        handoff="fraud",
        namespace=NS,
        owner=OWNER,
        backends=backends,
        stamp="fraud-0123456789/0/10",
        **more,
    )


def routed(**fields):
    return resolved(rollout={"route": fields})


# Built


def test_the_smallest_handoff_becomes_this_route():
    assert built() == {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": "fraud",
            "namespace": NS,
            "labels": {
                "modelhandoff.dev/handoff": "fraud",
                "app.kubernetes.io/managed-by": "modelhandoff",
                "app.kubernetes.io/part-of": "modelhandoff",
            },
            "annotations": {
                "modelhandoff.dev/owner": OWNER,
                "modelhandoff.dev/weights": "fraud-0123456789/0/10",
            },
        },
        "spec": {
            "parentRefs": [
                {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public"}
            ],
            "hostnames": ["fraud.example"],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                    "backendRefs": [
                        {"group": "", "kind": "Service", "name": "base", "port": 80, "weight": 90},
                        {"group": "", "kind": "Service", "name": "cand", "port": 80, "weight": 10},
                    ],
                }
            ],
        },
    }


def test_gateway_namespace_listener_and_matches_are_passed_on():
    spec = built(
        routed(
            gateway={"name": "edge", "namespace": "infra", "sectionName": "https"},
            hostnames=...,
            matches=[{"path": {"type": "Exact", "value": "/score"}}, {"path": {"value": "/v2"}}],
        )
    )["spec"]
    assert spec["parentRefs"][0]["namespace"] == "infra"
    assert spec["parentRefs"][0]["sectionName"] == "https"
    assert "hostnames" not in spec
    assert spec["rules"][0]["matches"] == [
        {"path": {"type": "Exact", "value": "/score"}},
        {"path": {"type": "PathPrefix", "value": "/v2"}},
    ]


def test_a_backend_without_weight_is_left_out():
    refs = built(backends=(("base", 100), ("cand", 0)))["spec"]["rules"][0]["backendRefs"]
    assert [ref["name"] for ref in refs] == ["base"]


@pytest.mark.parametrize(
    "backends", [(), (("base", 90),), (("base", 90), ("cand", 20)), (("base", 110), ("cand", -10))]
)
def test_weights_that_do_not_sum_to_a_hundred_are_refused(backends):
    with pytest.raises(RefusedError, match="sum to 100"):
        built(backends=backends)


# Patched


def patched(current, spec=None, backends=(("base", 100),), intent=""):
    change = patch(current, spec, owner=OWNER, backends=backends, stamp="a/back/0", intent=intent)
    return merge(current, change)


def test_one_patch_carries_weights_stamp_and_intent():
    after = patched(built(), resolved(), intent="a:Rollback:HarmDetected:errors")
    assert [ref["name"] for ref in after["spec"]["rules"][0]["backendRefs"]] == ["base"]
    assert after["metadata"]["annotations"] == {
        names.ANNOTATION_OWNER: OWNER,
        names.ANNOTATION_STAMP: "a/back/0",
        names.ANNOTATION_INTENT: "a:Rollback:HarmDetected:errors",
    }
    assert names.ANNOTATION_INTENT not in patched(after, resolved())["metadata"]["annotations"]


def test_a_patched_route_equals_one_built_anew_but_for_what_others_added():
    current = built()
    current["metadata"]["annotations"]["argocd.example/x"] = "theirs"
    spec = routed(hostnames=["new.example"])
    after = patched(current, spec)
    fresh = build(
        spec,
        handoff="fraud",
        namespace=NS,
        owner=OWNER,
        backends=(("base", 100),),
        stamp="a/back/0",
    )
    assert after["spec"] == fresh["spec"]
    assert after["metadata"]["annotations"]["argocd.example/x"] == "theirs"


def test_host_names_that_are_gone_from_the_spec_go_from_the_route():
    assert "hostnames" not in patched(built(), routed(hostnames=...))["spec"]


def test_without_a_spec_only_the_backends_change():
    before = built()
    after = patched(before)
    expected = copy.deepcopy(before["spec"])
    expected["rules"][0]["backendRefs"] = [
        {"group": "", "kind": "Service", "name": "base", "port": 80, "weight": 100}
    ]
    assert after["spec"] == expected


# Read


def seen(raw):
    return view(raw, OWNER)


def test_a_route_that_its_gateway_accepted_has_landed():
    found = seen(route())
    assert found.landed
    assert found.message == ""
    assert found.backends == {"base": 90, "cand": 10}
    assert found.ours


def test_a_weight_left_out_means_one():
    raw = route()
    for ref in raw["spec"]["rules"][0]["backendRefs"]:
        del ref["weight"]
    assert seen(raw).backends == {"base": 1, "cand": 1}


def test_backends_that_are_no_services_of_this_namespace_keep_their_full_names():
    raw = route()
    raw["spec"]["rules"][0]["backendRefs"] = [
        {"name": "a", "weight": 1},
        {"kind": "ServiceImport", "name": "b", "weight": 2},
        {"name": "c", "namespace": "other", "weight": 3},
    ]
    assert seen(raw).backends == {"a": 1, "ServiceImport/b": 2, "other/c": 3}


def with_parents(*parents, generation=1):
    raw = route()
    raw["metadata"]["generation"] = generation
    raw["status"] = {"parents": list(parents)}
    return seen(raw)


def test_a_route_that_nobody_took_up_has_not_landed():
    assert with_parents().message == (
        "no controller has taken up the route for its gateway (public) yet"
    )
    raw = route()
    raw.pop("status")
    assert not seen(raw).landed


def test_another_gateways_word_does_not_count_for_ours():
    found = with_parents(parent("other"))
    assert not found.landed
    assert "public" in found.message


def test_every_parent_must_agree():
    assert with_parents(parent(), parent("second")).landed
    found = with_parents(parent(), parent("second", Accepted="False"))
    assert not found.landed
    assert "gateway second: Accepted is False" in found.message


def test_an_answer_about_an_earlier_generation_is_none():
    found = with_parents(parent(generation=1), generation=2)
    assert not found.landed
    assert found.message == "gateway public has not looked at the latest change of the route yet"
    assert with_parents(parent(generation=2), generation=2).landed


def test_a_backend_that_cannot_be_resolved_is_told_in_the_gateways_words():
    found = with_parents(parent(ResolvedRefs="False"))
    assert not found.landed
    assert found.message == (
        "gateway public: ResolvedRefs is False, BackendNotFound: Service base not found"
    )


@pytest.mark.parametrize("missing", ["Accepted", "ResolvedRefs"])
def test_a_condition_that_is_not_there_is_not_true(missing):
    silent = parent()
    silent["conditions"] = [c for c in silent["conditions"] if c["type"] != missing]
    assert with_parents(silent).message == f"gateway public does not report {missing} yet"


def test_a_parent_of_another_namespace_or_listener_is_another_parent():
    raw = route(parentRefs=[{"name": "public", "namespace": "edge", "sectionName": "https"}])
    assert not seen(raw).landed
    there = parent()
    there["parentRef"] |= {"namespace": "edge", "sectionName": "https"}
    raw["status"]["parents"] = [there]
    assert seen(raw).landed


@pytest.mark.parametrize(
    ("owner", "ours"),
    [
        (OWNER, True),
        # A deleted handoff left it serving; the one made again takes it over.
        (f"{NS}/fraud/uid-of-an-earlier-life", True),
        (f"{NS}/fraud-2/{UID}", False),
        (f"other/fraud/{UID}", False),
        ("", False),
    ],
)
def test_whose_route_it_is(owner, ours):
    raw = route()
    raw["metadata"]["annotations"] = {names.ANNOTATION_OWNER: owner}
    assert seen(raw).ours is ours


def test_stamp_and_intent_are_read_back():
    raw = built(intent="a:Abort:Aborted:because")
    found = seen(raw)
    assert found.stamp == "fraud-0123456789/0/10"
    assert found.intent == "a:Abort:Aborted:because"
