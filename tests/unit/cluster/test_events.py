"""Events: told once, never waited for."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from modelhandoff.cluster.client import Client
from modelhandoff.cluster.events import MAX_PENDING, Poster, manifest
from modelhandoff.rollout.actions import Event
from modelhandoff.rollout.snapshot import HandoffView
from tests.clocks import START, ManualClock
from tests.unit.cluster.api_stub import ok, said, serving
from tests.unit.cluster.raw import SETTINGS

HANDOFF = HandoffView("fraud", "payments", "uid-1", 3, "42", {}, None)
PROMOTED = Event("Promoted", "All traffic is on fraud 1.4.0.")
HARM = Event("HarmDetected", "Weight 0: errors 5 %.", warning=True)


@pytest.fixture
def clock():
    return ManualClock()


async def post(stub, clock, *events, client=None):
    client = client or Client.at(stub.url)
    poster = Poster(client, SETTINGS, clock.now)
    for event in events:
        await poster.post(event, HANDOFF)
    await poster.close()
    await client.close()


def test_an_event_names_its_handoff():
    body = manifest(HARM, HANDOFF, START, "pod-1")
    assert body["type"] == "Warning"
    assert body["reason"] == "HarmDetected"
    assert body["message"] == "Weight 0: errors 5 %."
    assert body["involvedObject"] == {
        "apiVersion": "modelhandoff.dev/v1alpha1",
        "kind": "ModelHandoff",
        "name": "fraud",
        "namespace": "payments",
        "uid": "uid-1",
        "resourceVersion": "42",
    }
    assert body["firstTimestamp"] == "2026-03-02T09:00:00Z"
    assert body["reportingInstance"] == "pod-1"
    assert manifest(PROMOTED, HANDOFF, START, "x")["type"] == "Normal"


def test_a_long_message_fits():
    long = Event("X", "word " * 1000)
    assert len(manifest(long, HANDOFF, START, "x")["message"]) == 1024


async def test_the_same_event_is_told_once_and_again_after_a_while(clock):
    async with serving(ok()) as stub:
        client = Client.at(stub.url)
        poster = Poster(client, SETTINGS, clock.now)
        for _ in range(3):
            await poster.post(HARM, HANDOFF)
        await poster.post(PROMOTED, HANDOFF)
        clock.move(timedelta(minutes=11).total_seconds())
        await poster.post(HARM, HANDOFF)
        await poster.close()
        await client.close()
    reasons = sorted(asked.body["reason"] for asked in stub.asked)
    assert reasons == ["HarmDetected", "HarmDetected", "Promoted"]
    assert len({asked.body["metadata"]["name"] for asked in stub.asked}) == 3


async def test_a_second_process_tells_the_same_transition_under_the_same_name(clock):
    async with serving(said(409, "AlreadyExists", "there")) as stub:
        await post(stub, clock, HARM)
        await post(stub, clock, HARM)
    names = {asked.body["metadata"]["name"] for asked in stub.asked}
    assert len(stub.asked) == 2
    assert len(names) == 1


async def test_a_refused_event_is_lost_quietly(clock):
    async with serving(said(403, "Forbidden", "no right")) as stub:
        await post(stub, clock, HARM)
    assert len(stub.asked) == 1


async def test_a_silent_server_holds_up_no_pass_and_no_end(clock):
    async with serving(ok(), held=True) as stub:
        client = Client.at(stub.url)
        poster = Poster(client, SETTINGS, clock.now)
        async with asyncio.timeout(5):
            for number in range(MAX_PENDING + 20):
                await poster.post(Event("X", str(number)), HANDOFF)
            await poster.close(patience=0.05)
        await client.close()
    assert len(stub.asked) <= MAX_PENDING
