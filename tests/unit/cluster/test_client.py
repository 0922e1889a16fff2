"""The client: what it sends, how it translates refusals, what it refuses to send."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from modelhandoff.cluster.client import Client, PatchType
from modelhandoff.cluster.kinds import ATTEMPT, DEPLOYMENT, HANDOFF, HTTPROUTE, POD, POLICY
from modelhandoff.cluster.lanes import Lanes
from modelhandoff.cluster.refusals import AlreadyExistsError, BusyError
from modelhandoff.errors import (
    ConflictError,
    FencedError,
    ForbiddenError,
    GoneError,
    RefusedError,
    UnavailableError,
)
from tests.unit.cluster.api_stub import ok, said, serving


@asynccontextmanager
async def talking(url, **options):
    client = Client.at(url, **options)
    try:
        yield client
    finally:
        await client.close()


# What is sent


async def test_objects_are_addressed_by_group_namespace_and_name():
    async with serving(ok()) as stub, talking(stub.url) as client:
        await client.get(HTTPROUTE, "payments", "fraud")
        await client.get(POD, "payments", "fraud-1")
        await client.get(POLICY, None, "default")
    assert [asked.path for asked in stub.asked] == [
        "/apis/gateway.networking.k8s.io/v1/namespaces/payments/httproutes/fraud",
        "/api/v1/namespaces/payments/pods/fraud-1",
        "/apis/modelhandoff.dev/v1alpha1/handoffpolicies/default",
    ]


async def test_a_netrc_of_the_machine_is_not_sent(tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret")
    monkeypatch.setenv("NETRC", str(netrc))
    async with serving(ok()) as stub, talking(stub.url) as client:
        await client.get(POD, "payments", "fraud-1")
    assert "authorization" not in stub.asked[0].headers


async def test_a_patch_carries_its_precondition_and_says_who_writes():
    async with serving(ok()) as stub, talking(stub.url) as client:
        await client.patch(DEPLOYMENT, "ns", "d", {"spec": {"replicas": 2}}, resource_version="41")
    asked = stub.asked[0]
    assert asked.body == {"spec": {"replicas": 2}, "metadata": {"resourceVersion": "41"}}
    assert asked.headers["content-type"] == "application/merge-patch+json"
    assert asked.query == {"fieldManager": "modelhandoff"}


async def test_a_json_patch_stays_a_list_and_an_apply_patch_stays_json():
    operations = [{"op": "remove", "path": "/spec/x"}]
    async with serving(ok()) as stub, talking(stub.url) as client:
        await client.patch(DEPLOYMENT, "ns", "d", operations, how=PatchType.JSON)
        await client.patch(DEPLOYMENT, "ns", "d", {"a": 1}, how=PatchType.APPLY, force=True)
    first, second = stub.asked
    assert first.body == operations
    assert first.headers["content-type"] == "application/json-patch+json"
    assert second.headers["content-type"] == "application/apply-patch+yaml"
    assert second.query["force"] == "true"


async def test_a_json_patch_cannot_pretend_to_have_a_precondition():
    async with serving(ok()) as stub, talking(stub.url) as client:
        with pytest.raises(ValueError, match="no such precondition"):
            await client.patch(DEPLOYMENT, "ns", "d", [], how=PatchType.JSON, resource_version="1")
    assert stub.asked == []


async def test_a_status_is_replaced_as_a_whole_at_one_version():
    async with serving(ok()) as stub, talking(stub.url) as client:
        await client.replace_status(ATTEMPT, "ns", "a", {"step": 1}, resource_version="7")
    asked = stub.asked[0]
    assert (asked.method, asked.path) == (
        "PUT",
        "/apis/modelhandoff.dev/v1alpha1/namespaces/ns/handoffattempts/a/status",
    )
    assert asked.body == {
        "apiVersion": "modelhandoff.dev/v1alpha1",
        "kind": "HandoffAttempt",
        "metadata": {"name": "a", "namespace": "ns", "resourceVersion": "7"},
        "status": {"step": 1},
    }


async def test_a_deletion_names_which_object_it_means():
    async with serving(ok()) as stub, talking(stub.url) as client:
        await client.delete(DEPLOYMENT, "ns", "d", uid="u-1", resource_version="9")
    body = stub.asked[0].body
    assert body["preconditions"] == {"uid": "u-1", "resourceVersion": "9"}
    assert body["propagationPolicy"] == "Background"


async def test_a_list_is_read_to_its_last_page():
    def answer(request: web.Request) -> web.StreamResponse:
        if request.query.get("continue") != "more":
            meta = {"resourceVersion": "100", "continue": "more"}
            return web.json_response({"metadata": meta, "items": [{"metadata": {"name": "a"}}]})
        meta = {"resourceVersion": "101"}
        return web.json_response({"metadata": meta, "items": [{"metadata": {"name": "b"}}]})

    async with serving(answer) as stub, talking(stub.url) as client:
        found = await client.list(POD, label_selector="x")
    assert [item["metadata"]["name"] for item in found.items] == ["a", "b"]
    assert found.items[0]["kind"] == "Pod"
    assert found.resource_version == "101"
    assert {asked.query["labelSelector"] for asked in stub.asked} == {"x"}


async def test_a_rotated_token_is_read_at_every_request():
    async with serving(ok()) as stub, talking(stub.url) as client:
        tokens = iter(["bearer one", "bearer two"])

        def rotate(configuration):
            configuration.api_key["BearerToken"] = next(tokens)

        client._configuration.api_key["BearerToken"] = "bearer zero"
        client._configuration.refresh_api_key_hook = rotate
        await client.get(POD, "ns", "p")
        await client.get(POD, "ns", "p")
    assert [asked.headers["authorization"] for asked in stub.asked] == ["bearer one", "bearer two"]


# What comes back


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (400, "BadRequest", RefusedError),
        (401, "Unauthorized", UnavailableError),
        (403, "Forbidden", ForbiddenError),
        (404, "NotFound", GoneError),
        (405, "MethodNotAllowed", RefusedError),
        (409, "Conflict", ConflictError),
        (410, "Expired", UnavailableError),
        (413, "RequestEntityTooLarge", RefusedError),
        (422, "Invalid", RefusedError),
        (429, "TooManyRequests", UnavailableError),
        (500, "InternalError", UnavailableError),
        (503, "ServiceUnavailable", UnavailableError),
        (504, "Timeout", UnavailableError),
    ],
)
async def test_every_refusal_becomes_an_error_of_ours(code, reason, expected):
    message = "the first line\n   and the second"
    async with serving(said(code, reason, message)) as stub, talking(stub.url) as client:
        with pytest.raises(expected) as caught:
            await client.patch(DEPLOYMENT, "ns", "d", {})
    text = str(caught.value)
    assert f"{code} the first line and the second" in text
    assert "\n" not in text
    assert "/apis/apps/v1/namespaces/ns/deployments/d" in text
    assert len(stub.asked) == 1


async def test_a_creation_tells_a_taken_name_from_a_conflict():
    async with serving(said(409, "AlreadyExists", "exists")) as stub, talking(stub.url) as client:
        with pytest.raises(AlreadyExistsError):
            await client.create(DEPLOYMENT, "ns", {"metadata": {"name": "d"}})
    async with serving(said(409, "Conflict", "quota")) as stub, talking(stub.url) as client:
        with pytest.raises(ConflictError) as caught:
            await client.create(DEPLOYMENT, "ns", {"metadata": {"name": "d"}})
    assert not isinstance(caught.value, AlreadyExistsError)


async def test_the_server_says_when_to_come_back():
    answer = said(429, "TooManyRequests", "slow down", Retry_After="7")
    async with serving(answer) as stub, talking(stub.url) as client:
        with pytest.raises(BusyError) as caught:
            await client.get(POD, "ns", "p")
    assert caught.value.retry_after == 7
    assert caught.value.retryable


@pytest.mark.parametrize("text", ["<html>gateway</html>", "[1]", '{"cut": '])
async def test_an_answer_that_is_no_object_is_no_answer(text):
    async with (
        serving(lambda _: web.Response(text=text)) as stub,
        talking(stub.url) as client,
    ):
        with pytest.raises(UnavailableError, match="answer is not"):
            await client.get(POD, "ns", "p")


async def test_a_long_message_is_cut_to_one_bounded_line():
    async with serving(said(422, "Invalid", "x" * 5000)) as stub, talking(stub.url) as client:
        with pytest.raises(RefusedError) as caught:
            await client.create(DEPLOYMENT, "ns", {})
    assert len(str(caught.value)) < 600


# When nothing comes back


async def test_silence_ends_at_the_timeout():
    async with (
        serving(ok(), held=True) as stub,
        talking(stub.url, timeout=0.2) as client,
    ):
        with pytest.raises(UnavailableError, match=r"no answer in 0\.2 s"):
            await client.create(DEPLOYMENT, "ns", {"metadata": {"name": "d"}})
        assert len(stub.asked) == 1


async def test_waiting_for_a_place_counts_towards_the_timeout():
    lanes = Lanes(2, 1)
    async with (
        serving(ok(), held=True) as stub,
        talking(stub.url, lanes=lanes) as patient,
        talking(stub.url, lanes=lanes, timeout=0.2) as client,
    ):
        first = asyncio.create_task(patient.get(POD, "ns", "a"))
        await stub.wait_for(1)
        with pytest.raises(UnavailableError):
            await client.get(POD, "ns", "b")
        stub.open.set()
        await first
    assert len(stub.asked) == 1


async def test_a_port_where_nobody_listens_is_unavailable():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    codes = Counter()
    count = lambda verb, kind, code: codes.update([(verb, kind, code)])  # noqa: E731
    async with talking(url, on_request=count) as client:
        with pytest.raises(UnavailableError):
            await client.get(POD, "ns", "p")
        with pytest.raises(UnavailableError):
            await client.patch(POD, "ns", "p", {})
    # A read that found no connection is tried twice, a write never.
    assert codes == {("get", "pods", 0): 2, ("patch", "pods", 0): 1}


@pytest.mark.parametrize("method", ["replace", "delete", "create", "patch"])
async def test_a_write_whose_reply_was_cut_off_is_not_sent_again(method):
    def cut(request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return web.json_response({"metadata": {}})
        request.transport.abort()
        return web.Response()

    async with serving(cut) as stub, talking(stub.url) as client:
        await client.get(POD, "ns", "p")  # The connection is now one that is used again.
        call = {
            "replace": lambda: client.replace(POD, "ns", "p", {}),
            "delete": lambda: client.delete(POD, "ns", "p"),
            "create": lambda: client.create(POD, "ns", {}),
            "patch": lambda: client.patch(POD, "ns", "p", {}),
        }[method]
        with pytest.raises(UnavailableError):
            await call()
    assert len(stub.asked) == 2


# The gate


class Gate:
    def __init__(self) -> None:
        self.asked = 0
        self.closed_from: int | None = None

    def __call__(self) -> None:
        self.asked += 1
        if self.closed_from is not None and self.asked >= self.closed_from:
            raise FencedError("no longer the leader")


async def test_a_closed_gate_lets_no_write_out_and_every_read():
    gate = Gate()
    gate.closed_from = 0
    async with serving(ok()) as stub, talking(stub.url, gate=gate) as client:
        await client.get(POD, "ns", "p")
        assert gate.asked == 0
        for write in (
            client.create(POD, "ns", {}),
            client.replace(POD, "ns", "p", {}),
            client.replace_status(POD, "ns", "p", {}, resource_version="1"),
            client.patch(POD, "ns", "p", {}),
            client.patch_status(POD, "ns", "p", {}),
            client.delete(POD, "ns", "p"),
        ):
            with pytest.raises(FencedError):
                await write
    assert [asked.method for asked in stub.asked] == ["GET"]


async def test_the_gate_is_asked_again_once_the_connection_stands():
    gate = Gate()
    gate.closed_from = 2  # Open when the call starts, closed once it is connected.
    async with serving(ok()) as stub, talking(stub.url, gate=gate) as client:
        with pytest.raises(FencedError):
            await client.patch(POD, "ns", "p", {})
        await client.get(POD, "ns", "p")
        with pytest.raises(FencedError):
            await client.patch(POD, "ns", "p", {})
    assert [asked.method for asked in stub.asked] == ["GET"]


async def test_a_write_that_waited_for_a_place_asks_the_gate_when_it_gets_one():
    gate = Gate()
    async with (
        serving(ok(), held=True) as stub,
        talking(stub.url, gate=gate, lanes=Lanes(2, 1)) as client,
    ):
        first = asyncio.create_task(client.get(POD, "ns", "a"))
        await stub.wait_for(1)
        write = asyncio.create_task(client.patch(POD, "ns", "b", {}))
        await asyncio.sleep(0)
        assert gate.asked == 0
        gate.closed_from = 0
        stub.open.set()
        await first
        with pytest.raises(FencedError):
            await write


async def test_the_lease_itself_passes_the_gate():
    gate = Gate()
    gate.closed_from = 0
    async with serving(ok()) as stub, talking(stub.url, gate=gate) as client:
        await client.unfenced().replace(HANDOFF, "ns", "lease", {})
        with pytest.raises(FencedError):
            await client.replace(HANDOFF, "ns", "other", {})
    assert [asked.path.rsplit("/", 1)[1] for asked in stub.asked] == ["lease"]


async def test_the_lease_does_not_stand_in_line_behind_other_writes():
    async with (
        serving(ok(), held=True) as stub,
        talking(stub.url, lanes=Lanes(2, 1)) as client,
    ):
        writes = [asyncio.create_task(client.patch(POD, "ns", name, {})) for name in "abc"]
        await stub.wait_for(1)
        renewal = asyncio.create_task(client.unfenced().replace(HANDOFF, "ns", "lease", {}))
        await stub.wait_for(2)
        assert [asked.path.rsplit("/", 1)[1] for asked in stub.asked] == ["a", "lease"]
        stub.open.set()
        await asyncio.gather(renewal, *writes)


async def test_a_renewal_that_hangs_is_given_up_in_time_for_another():
    async with serving(ok(), held=True) as stub, talking(stub.url, timeout=30) as client:
        with pytest.raises(UnavailableError, match=r"no answer in 0\.05 s"):
            await client.unfenced(0.05).replace(HANDOFF, "ns", "lease", {})
        stub.open.set()


# The lanes


async def test_an_urgent_write_goes_ahead_of_the_queue():
    lanes = Lanes(3, 1)
    async with (
        serving(ok(), held=True) as stub,
        talking(stub.url, lanes=lanes) as client,
    ):
        ordinary = [asyncio.create_task(client.patch(POD, "ns", f"o{i}", {})) for i in range(6)]
        await stub.wait_for(2)
        urgent = asyncio.create_task(client.patch(POD, "ns", "urgent", {}, urgent=True))
        await stub.wait_for(3)
        assert stub.asked[2].path.endswith("/urgent")
        assert lanes.in_flight == 3
        stub.open.set()
        await asyncio.gather(*ordinary, urgent)
    assert len(stub.asked) == 7
    assert lanes.in_flight == 0


async def test_a_freed_place_goes_to_the_urgent_lane_first():
    lanes = Lanes(2, 1)
    order: list[str] = []

    async def work(name: str, urgent: bool, leave: asyncio.Event) -> None:
        async with lanes.place(urgent=urgent):
            order.append(name)
            await leave.wait()

    hold, go = asyncio.Event(), asyncio.Event()
    go.set()
    async with asyncio.TaskGroup() as group:
        group.create_task(work("first", True, hold))
        group.create_task(work("second", True, hold))
        await asyncio.sleep(0)
        group.create_task(work("ordinary", False, go))
        await asyncio.sleep(0)
        group.create_task(work("urgent", True, go))
        await asyncio.sleep(0)
        hold.set()
    assert order == ["first", "second", "urgent", "ordinary"]


async def test_whoever_gives_up_waiting_leaves_no_place_taken():
    lanes = Lanes(2, 1)
    leave = asyncio.Event()

    async def hold() -> None:
        async with lanes.place():
            await leave.wait()

    holder = asyncio.create_task(hold())
    await asyncio.sleep(0)
    waiter = asyncio.create_task(hold())
    await asyncio.sleep(0)
    # Given a place and cancelled in the same turn of the loop.
    leave.set()
    holder.cancel()
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.gather(holder, waiter, return_exceptions=True)
    assert lanes.in_flight == 0
    async with asyncio.timeout(1), lanes.place():
        assert lanes.in_flight == 1


def test_lanes_leave_room_for_ordinary_work():
    with pytest.raises(ValueError, match="reserved places"):
        Lanes(2, 2)


async def test_requests_are_counted_by_verb_kind_and_code():
    codes = Counter()
    count = lambda verb, kind, code: codes.update([(verb, kind, code)])  # noqa: E731
    async with (
        serving(said(404, "NotFound", "no")) as stub,
        talking(stub.url, on_request=count) as client,
    ):
        with pytest.raises(GoneError):
            await client.get(POD, "ns", "p")
        with pytest.raises(GoneError):
            await client.delete(DEPLOYMENT, "ns", "d")
    assert codes == {("get", "pods", 404): 1, ("delete", "deployments", 404): 1}
