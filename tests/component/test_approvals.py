"""The gate of people, with the whole operator: on the API in this process and on a real one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from modelhandoff.api import names
from tests.component.crashing import Killer, When
from tests.component.fakeapi.kinds import BY_PLURAL
from tests.component.fakeapi.objects import Object
from tests.component.handoffs import V1, V2, V3, quick
from tests.component.invariants import check
from tests.component.phases import LONG, serving
from tests.component.world import World

APPROVAL = BY_PLURAL[names.GROUP, names.APPROVALS]
ROLES = ("DataScience", "Engineering")


def gated(number: str = V2, **rules: Any) -> Object:
    handoff = quick(number)
    handoff["spec"]["approvals"] = {"roles": list(ROLES), **rules}
    return handoff


async def sign(
    place: World, role: str, approver: str, *, bundle: str = "", decision: str = "Approve"
) -> str:
    """Somebody signs the current attempt, as ``kubectl handoff approve`` does."""
    name = f"fraud-{role.lower()}-{approver}-{place.objects.version}"
    await place.hand.create(
        APPROVAL,
        place.namespace,
        {
            "apiVersion": names.API_VERSION,
            "kind": "HandoffApproval",
            "metadata": {"name": name, "namespace": place.namespace},
            "spec": {
                "handoffRef": {"name": "fraud"},
                "role": role,
                "bundleHash": bundle or place.attempt()["spec"]["bundleHash"],
                "decision": decision,
                "approver": approver,
            },
        },
    )
    await place.settle()
    return name


def told(place: World, name: str) -> tuple[bool, str]:
    status = place.objects.get(APPROVAL, place.namespace, name)["status"]
    return status["valid"], status["reason"]


def candidate(place: World) -> str:
    return names.workload_name("fraud", place.attempt()["spec"]["revision"])


async def test_it_waits_with_no_pod_and_goes_on_with_the_last_approval(anywhere: World) -> None:
    place = anywhere
    await serving(place)
    await place.apply(gated())
    assert place.phase() == "AwaitingApproval"
    assert place.status()["nextAction"].startswith(
        f"kubectl handoff approve fraud -n {place.namespace} --role DataScience"
    )
    first = await sign(place, "DataScience", "ana")
    assert told(place, first) == (True, "Counts")
    since = place.objects.version
    await place.pass_time(300)
    assert place.writes(since) == [], "waiting for people writes nothing"
    assert candidate(place) not in place.deployments()

    await sign(place, "Engineering", "bo")
    assert candidate(place) in place.deployments()
    recorded = place.attempt()["status"]["approvals"]
    assert [(one["role"], one["approver"]) for one in recorded] == [
        ("DataScience", "ana"),
        ("Engineering", "bo"),
    ]
    await place.remove(APPROVAL, first)
    place.stride = LONG
    await place.run_until(lambda: place.phase() == "Promoted")
    await place.pass_time(3600)
    await check(place)


async def test_an_edit_voids_and_a_rejection_is_final(anywhere: World) -> None:
    place = anywhere
    await serving(place)
    await place.apply(gated(V2))
    signed = [await sign(place, "DataScience", "ana"), await sign(place, "Engineering", "ana")]
    assert told(place, signed[1]) == (False, "IdentityUsed")
    await place.apply(gated(V3))
    assert place.phase() == "AwaitingApproval"
    assert {told(place, name) for name in signed} == {(False, "OtherBundle")}

    await sign(place, "Engineering", "bo", decision="Reject")
    assert place.phase() == "Rejected"
    assert place.condition("Approved")["reason"] == "ApprovalRejected"
    await sign(place, "DataScience", "ana")
    await sign(place, "Engineering", "cleo")
    await place.annotate(names.ANNOTATION_RETRY, place.attempt()["metadata"]["name"])
    assert place.phase() == "Rejected"
    assert len(place.deployments()) == 1, "no pod of either version was ever made"
    await check(place)


async def test_a_rejection_during_the_rollout_takes_the_traffic_off(anywhere: World) -> None:
    place = anywhere
    await serving(place)
    await place.apply(gated())
    await sign(place, "DataScience", "ana")
    await sign(place, "Engineering", "bo")
    await place.run_until(lambda: place.share(place.attempt()) == 10)
    await sign(place, "DataScience", "cleo", decision="Reject")
    assert place.share(place.attempt()) == 0
    await place.run_until(lambda: place.phase() == "Aborted")
    assert "cleo rejected" in place.status()["message"]
    await check(place)


async def test_approvals_that_came_while_the_operator_was_down_count(place: World) -> None:
    await serving(place)
    await place.apply(gated(expiresAfter="1h"))
    await sign(place, "DataScience", "ana")
    await place.kill()
    place.clock.move(3601)
    late = await sign(place, "Engineering", "bo")
    await place.start()
    assert place.phase() == "AwaitingApproval", "the first one expired meanwhile"
    assert told(place, late) == (True, "Counts")
    await sign(place, "DataScience", "ana")
    assert candidate(place) in place.deployments()


async def test_an_approval_expires_at_its_minute(place: World) -> None:
    await serving(place)
    await place.apply(gated(expiresAfter="1h"))
    name = await sign(place, "DataScience", "ana")
    await place.pass_time(3599)
    assert told(place, name) == (True, "Counts")
    await place.pass_time(2)
    assert told(place, name) == (False, "Expired")


async def test_what_no_schema_would_let_in_counts_for_nothing(place: World) -> None:
    await serving(place)
    await place.apply(gated())
    for number, spec in enumerate(
        (
            None,
            "text",
            {"handoffRef": {"name": "fraud"}},
            {"handoffRef": {"name": "fraud"}, "role": 7, "decision": ["Reject"]},
            {"handoffRef": "fraud", "role": "Engineering", "decision": "Reject"},
            {"handoffRef": {"name": "nobody"}, "role": "Engineering", "decision": "Reject"},
        )
    ):
        meta = {"name": f"odd-{number}", "namespace": place.namespace}
        await place.hand.create(APPROVAL, place.namespace, {"metadata": meta, "spec": spec})
    await place.settle()
    assert place.phase() == "AwaitingApproval"
    assert told(place, "odd-2") == (False, "Unreadable")
    await sign(place, "DataScience", "ana")
    await sign(place, "Engineering", "bo")
    assert candidate(place) in place.deployments()


async def test_a_role_that_the_policy_requires_is_waited_for(place: World) -> None:
    policy = BY_PLURAL[names.GROUP, names.POLICIES]
    await place.hand.create(
        policy,
        "",
        {
            "metadata": {"name": "default"},
            "spec": {
                "metricSources": [{"name": "default", "url": "http://prometheus.example"}],
                "approvals": {"requiredRoles": ["Risk"]},
            },
        },
    )
    await place.start()
    await place.apply(quick(V1))
    assert place.phase() == "AwaitingApproval"
    assert "Risk must approve" in place.status()["message"]
    await sign(place, "Risk", "ana")
    await place.run_until(lambda: place.phase() == "Promoted")


@pytest.mark.parametrize("when", When, ids=lambda when: when.name.lower())
async def test_a_crash_at_every_write_loses_no_signature(place: World, when: When) -> None:
    await serving(place)
    killer = Killer(place, when)
    await place.apply(gated())
    await place.run_until(lambda: place.phase() == "AwaitingApproval")
    await sign(place, "DataScience", "ana")
    await sign(place, "Engineering", "bo")
    await place.run_until(lambda: place.share(place.attempt()) == 10)
    await sign(place, "Engineering", "cleo", decision="Reject")
    await place.run_until(lambda: place.phase() == "Aborted")
    assert {r.plural for r in killer.struck} >= {names.APPROVALS, names.ATTEMPTS}
    assert len(place.attempts()) == 2
    assert len(place.attempt()["status"]["approvals"]) == 2
    await check(place)


async def test_a_freeze_counts_at_once_and_so_does_its_end(place: World) -> None:
    policy = BY_PLURAL[names.GROUP, names.POLICIES]
    await serving(place)
    now = place.clock.now()
    window = {
        "from": (now - timedelta(hours=1)).isoformat(),
        "until": (now + timedelta(days=9)).isoformat(),
        "reason": "end of the year",
    }
    spec = {"metricSources": [{"name": "default", "url": "http://prometheus.example"}]}
    frozen = {"metadata": {"name": "default"}, "spec": {**spec, "freeze": [window]}}
    await place.hand.create(policy, "", frozen)
    await place.apply(quick(V2))
    assert "end of the year" in place.status()["message"]
    assert place.condition("Paused")["reason"] == "Frozen"
    since = place.objects.version
    await place.pass_time(7200)
    assert place.writes(since) == []
    assert candidate(place) not in place.deployments()

    await place.hand.patch(policy, "", "default", {"spec": {"freeze": None}})
    await place.settle()
    assert candidate(place) in place.deployments()
