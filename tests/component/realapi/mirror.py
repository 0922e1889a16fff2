"""What is stored on the API server, kept up to date by watches of its own, past the fault proxy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import aiohttp

from tests.component.fakeapi.kinds import Kind
from tests.component.fakeapi.objects import Change, Object, Reads, Ref, Write
from tests.component.realapi import connections

MAX_LINE = 4 * 2**20
ARRIVAL = 10.0
"""Seconds until a watch event must have come."""


class Mirror(Reads):
    """All objects of some kinds in one namespace."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, namespace: str, kinds: tuple[Kind, ...]
    ) -> None:
        self.version = 0
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.listeners: list[Callable[[Change], None]] = []
        self.writes: list[Write] = []
        self._objects: dict[Ref, Object] = {}
        self._shelves: dict[Kind, dict[Ref, Object]] = {kind: {} for kind in kinds}
        self._session = session
        self._url = url
        self._namespace = namespace
        self._kinds = kinds
        self._gone: dict[Ref, str] = {}
        self._expected: dict[Ref, Callable[[], bool]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Return once everything that exists is here."""
        versions = await asyncio.gather(*(self._list(kind) for kind in self._kinds))
        for kind, version in zip(self._kinds, versions, strict=True):
            self._tasks.append(asyncio.create_task(self._watch(kind, version)))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def lag(self) -> str:
        """What is known to be committed and has not arrived here; "" when all has."""
        for task in self._tasks:
            if task.done():
                task.result()  # a watch that failed must fail the test
                raise AssertionError("a watch of the mirror ended")
        for ref, arrived in list(self._expected.items()):
            if arrived():
                del self._expected[ref]
        return f"the mirror waits for {next(iter(self._expected))}" if self._expected else ""

    def expect(self, kind: Kind, obj: Object) -> None:
        """Somebody committed this state."""
        meta = obj["metadata"]
        ref = self._ref(kind, meta["name"])
        version, uid = int(meta["resourceVersion"]), meta["uid"]
        if kind not in self._kinds or meta.get("namespace") != self._namespace:
            return

        def arrived() -> bool:
            there = self._objects.get(ref)
            # Gone since, or another one of that name: then this state has been passed.
            same = there is not None and there["metadata"]["uid"] == uid
            return self._gone.get(ref) == uid or bool(
                there and (not same or int(there["metadata"]["resourceVersion"]) >= version)
            )

        self._expected[ref] = arrived

    def expect_gone(self, kind: Kind, name: str, uid: str) -> None:
        """Somebody deleted this object: it goes, or it is marked for deletion."""
        ref = self._ref(kind, name)

        def arrived() -> bool:
            there = self._objects.get(ref)
            return (
                there is None
                or there["metadata"]["uid"] != uid
                or "deletionTimestamp" in there["metadata"]
            )

        if kind in self._kinds:
            self._expected[ref] = arrived

    async def arrival(self, kind: Kind, name: str) -> None:
        """Wait for what was said to be committed of one object."""
        ref = self._ref(kind, name)
        async with asyncio.timeout(ARRIVAL):
            while ref in self._expected and not self._expected[ref]():  # noqa: ASYNC110 - a watch of another thread
                await asyncio.sleep(0.001)

    def _of(self, kind: Kind) -> Iterable[tuple[Ref, Object]]:
        return self._shelves[kind].items()

    def _ref(self, kind: Kind, name: str) -> Ref:
        return kind.group, kind.plural, self._namespace if kind.namespaced else "", name

    def _path(self, kind: Kind) -> str:
        return f"{self._url}{kind.prefix}/namespaces/{self._namespace}/{kind.plural}"

    async def _list(self, kind: Kind) -> str:
        async with self._session.get(self._path(kind)) as answer:
            answer.raise_for_status()
            found = await answer.json()
        for item in found["items"]:
            whole = {"apiVersion": kind.api_version, "kind": kind.kind, **item}
            self._take(kind, "ADDED", whole)
        return str(found["metadata"]["resourceVersion"])

    async def _watch(self, kind: Kind, version: str) -> None:
        query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "3000"}
        timeout = aiohttp.ClientTimeout(total=None, sock_read=None)
        async with self._session.get(
            self._path(kind), params=query, timeout=timeout, read_bufsize=MAX_LINE
        ) as answer:
            answer.raise_for_status()
            try:
                async for line in answer.content:
                    event = json.loads(line)
                    assert event["type"] in ("ADDED", "MODIFIED", "DELETED"), event
                    self._take(kind, event["type"], event["object"])
            finally:
                connections.abort(answer)

    def _take(self, kind: Kind, change: str, obj: Object) -> None:
        meta = obj["metadata"]
        ref = self._ref(kind, meta["name"])
        before = self._objects.get(ref)
        if change == "DELETED":
            self._objects.pop(ref, None)
            self._shelves[kind].pop(ref, None)
            self._gone[ref] = meta["uid"]
        else:
            self._objects[ref] = self._shelves[kind][ref] = obj
        version = int(meta["resourceVersion"])
        self.version = max(self.version, version)
        for listener in list(self.listeners):
            listener(Change(version, change, kind, before, obj))
