"""Which other routes take the same requests: same gateway, same host, same plain match."""

from __future__ import annotations

import pytest

from modelhandoff.traffic.claims import conflicts
from tests.unit.cluster.raw import NS, resolved, route

GATEWAY = "gateway.networking.k8s.io"


def found(*others, namespace=NS, **fields):
    spec = resolved(rollout={"route": fields}) if fields else resolved()
    return conflicts(spec, namespace, "fraud", others)


def theirs(**changes):
    return route("theirs", ours=False, **changes)


def matching(*matches):
    return theirs(rules=[{"matches": list(matches)}])


def test_the_same_gateway_host_and_path_is_a_conflict():
    assert found(theirs()) == ("payments/theirs",)


def test_our_own_route_is_none():
    assert found(route()) == ()


def test_the_same_name_in_another_namespace_is_another_route():
    other = route(namespace="elsewhere", parentRefs=[{"name": "public", "namespace": NS}])
    assert found(other) == ("elsewhere/fraud",)


def test_a_gateway_of_the_same_name_elsewhere_is_another_gateway():
    assert found(route("x", ours=False, namespace="elsewhere")) == ()
    assert found(theirs(), gateway={"name": "public", "namespace": "edge"}) == ()


def test_a_route_on_its_way_out_is_none():
    going = theirs()
    going["metadata"]["deletionTimestamp"] = "2026-03-02T09:00:00Z"
    assert found(going) == ()


def test_another_host_is_no_conflict():
    assert found(theirs(hostnames=["other.example"])) == ()
    assert found(theirs(hostnames=["other.example", "fraud.example"])) == ("payments/theirs",)


def test_a_wildcard_or_no_host_is_less_specific_than_ours():
    assert found(theirs(hostnames=["*.example"])) == ()
    assert found(theirs(hostnames=None)) == ()


def test_two_routes_without_hosts_meet():
    assert found(theirs(hostnames=None), hostnames=...) == ("payments/theirs",)
    assert found(theirs(), hostnames=...) == ()


@pytest.mark.parametrize(
    ("match", "meets"),
    [
        ({}, True),
        ({"path": {"type": "PathPrefix", "value": "/"}}, True),
        ({"path": {"value": "/"}}, True),
        ({"path": {"type": "Exact", "value": "/"}}, False),
        ({"path": {"type": "PathPrefix", "value": "/other"}}, False),
        ({"path": {"value": "/"}, "headers": [{"name": "x", "value": "y"}]}, False),
        ({"path": {"value": "/"}, "method": "GET"}, False),
        ({"path": {"value": "/"}, "queryParams": [{"name": "x", "value": "y"}]}, False),
    ],
)
def test_only_the_same_plain_match_meets(match, meets):
    assert found(matching(match)) == (("payments/theirs",) if meets else ())


def test_one_of_several_matches_is_enough():
    other = matching({"path": {"value": "/other"}}, {"path": {"value": "/score/"}})
    ours = [{"path": {"value": "/v2"}}, {"path": {"value": "/score"}}]
    assert found(other, matches=ours) == ("payments/theirs",)


def test_a_slash_at_the_end_of_an_exact_path_matters():
    other = matching({"path": {"type": "Exact", "value": "/score/"}})
    assert found(other, matches=[{"path": {"type": "Exact", "value": "/score"}}]) == ()


def test_a_rule_without_matches_takes_everything():
    assert found(theirs(rules=[{}])) == ("payments/theirs",)
    assert found(theirs(rules=None)) == ("payments/theirs",)


@pytest.mark.parametrize(
    ("ours", "others", "meets"),
    [
        (None, None, True),
        ("https", None, True),
        (None, "https", True),
        ("https", "https", True),
        ("https", "http", False),
    ],
)
def test_listeners_meet_when_either_is_open_or_both_are_the_same(ours, others, meets):
    gateway = {"name": "public"} | ({"sectionName": ours} if ours else {})
    parent = {"name": "public"} | ({"sectionName": others} if others else {})
    rival = theirs(parentRefs=[parent])
    assert found(rival, gateway=gateway) == (("payments/theirs",) if meets else ())


def test_a_parent_that_is_no_gateway_is_none():
    assert found(theirs(parentRefs=[{"group": "", "kind": "Service", "name": "public"}])) == ()


def test_conflicts_are_listed_once_and_in_order():
    both = theirs(parentRefs=[{"name": "public"}, {"name": "public", "sectionName": "https"}])
    assert found(both, route("another", ours=False)) == ("payments/another", "payments/theirs")
