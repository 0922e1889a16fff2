"""A proxy before the API server that can lose, delay, refuse and cut what passes it.

The operator speaks plain HTTP to it; it speaks TLS to the API server, with the operator's own
credentials. Faults are those of the API in this process (``fakeapi.faults``): before a request
is passed on, or between its commit and the reply. Watches can be held, cut and told that their
version is too old.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from tests.component.fakeapi.faults import Effect, Fault, Faults, Request
from tests.component.fakeapi.kinds import BY_PLURAL, Kind
from tests.component.fakeapi.objects import ApiError, Object
from tests.component.fakeapi.server import PATH, VERBS, failure, injected
from tests.component.realapi import connections

MAX_LINE = 4 * 2**20
_PASSED = ("Content-Type", "Accept", "User-Agent")
_RETURNED = ("Content-Type", "Retry-After", "Warning")

OnCommit = Callable[[Request, Kind, Object], None]
"""Told of every write that was committed, before its reply goes out."""


@dataclass(eq=False)
class _Watcher:
    plural: str
    cut: asyncio.Event = field(default_factory=asyncio.Event)
    expired: bool = False


class Proxy:
    """One proxy on a loopback port.

    Attributes:
        url: its address once started.
        faults: in force now; ``faults.seen`` has every request.
        hold_watches: cleared, no watch delivers anything; set, all do.
        in_flight: requests that are not watches and have not been answered.
    """

    def __init__(self, upstream: str, tls: ssl.SSLContext, on_commit: OnCommit) -> None:
        self.faults = Faults()
        self.hold_watches = asyncio.Event()
        self.hold_watches.set()
        self.in_flight = 0
        self.url = ""
        self._upstream = upstream
        self._tls = tls
        self._on_commit = on_commit
        self._watchers: set[_Watcher] = set()
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._tls), auto_decompress=True
        )
        app = web.Application(client_max_size=8 * 2**20)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.05, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        self.drop_watches()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await connections.close(self._session)

    def drop_watches(self) -> None:
        """Cut every watch."""
        for watcher in self._watchers:
            watcher.cut.set()

    def expire_watches(self) -> None:
        """Tell every watcher that its version is too old (410)."""
        for watcher in self._watchers:
            watcher.expired = True
            watcher.cut.set()

    # One request

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        asked, kind = _asked(request, body)
        if asked is None or kind is None:
            return await self._pass(request, body)
        if asked.verb == "watch":
            fault = self.faults.hit(asked)
            try:
                await self._before(fault, request)
            except ApiError as error:
                return failure(error)
            return await self._watch(request, kind.plural)
        self.in_flight += 1
        try:
            return await self._resource(request, body, asked, kind)
        except ApiError as error:
            return failure(error)
        finally:
            self.in_flight -= 1

    async def _resource(
        self, request: web.Request, body: bytes, asked: Request, kind: Kind
    ) -> web.Response:
        fault = self.faults.hit(asked)
        await self._before(fault, request)
        reply = await self._pass(request, body)
        if asked.verb in VERBS.values() and reply.status < 300:
            self._on_commit(asked, kind, json.loads(reply.body or b"{}"))
        if fault is not None and fault.effect is Effect.CUT:
            _cut(request)
        return reply

    async def _before(self, fault: Fault | None, request: web.Request) -> None:
        if fault is None:
            return
        match fault.effect:
            case Effect.DELAY:
                await asyncio.sleep(fault.seconds)
            case Effect.DROP:
                _cut(request)
            case Effect.STATUS:
                raise injected(fault)
            case Effect.CUT:
                pass

    async def _pass(self, request: web.Request, body: bytes) -> web.Response:
        assert self._session is not None
        async with self._session.request(
            request.method,
            self._upstream + request.raw_path,
            data=body or None,
            headers=_some(request.headers, _PASSED),
        ) as answer:
            found = await answer.read()
            headers = _some(answer.headers, _RETURNED)
            return web.Response(body=found, status=answer.status, headers=headers)

    # Watching

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        assert self._session is not None
        watcher = _Watcher(plural)
        async with self._session.get(
            self._upstream + request.raw_path,
            headers=_some(request.headers, _PASSED),
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=MAX_LINE,
        ) as upstream:
            if upstream.status != 200:
                found = await upstream.read()
                headers = _some(upstream.headers, _RETURNED)
                return web.Response(body=found, status=upstream.status, headers=headers)
            response = web.StreamResponse()
            response.content_type = "application/json"
            response.enable_chunked_encoding()
            await response.prepare(request)
            self._watchers.add(watcher)
            pump = asyncio.create_task(self._pump(upstream, response))
            cut = asyncio.create_task(watcher.cut.wait())
            try:
                await asyncio.wait({pump, cut}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._watchers.discard(watcher)
                for task in (pump, cut):
                    task.cancel()
                await asyncio.gather(pump, cut, return_exceptions=True)
                connections.abort(upstream)
        with contextlib.suppress(ConnectionResetError):
            if watcher.expired:
                gone = ApiError(410, "Expired", "too old resource version")
                line = {"type": "ERROR", "object": gone.status()}
                await response.write(json.dumps(line).encode() + b"\n")
            await response.write_eof()
        return response

    async def _pump(self, upstream: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
        async for line in upstream.content:
            await self.hold_watches.wait()
            await response.write(line)


def _asked(request: web.Request, body: bytes) -> tuple[Request | None, Kind | None]:
    match = PATH.match(request.path)
    kind = match and BY_PLURAL.get((match["group"] or "", match["plural"]))
    if not match or kind is None:
        return None, None
    name = match["name"] or ""
    watch = request.query.get("watch") in ("1", "true")
    verb = VERBS.get(request.method) or ("watch" if watch else "get" if name else "list")
    actor = request.headers.get("User-Agent", "")
    parsed = json.loads(body) if body else None
    asked = Request(
        verb, kind.plural, match["namespace"] or "", name, match["sub"] or "", actor, parsed
    )
    return asked, kind


def _some(headers: Mapping[str, str], wanted: tuple[str, ...]) -> dict[str, str]:
    return {name: headers[name] for name in wanted if name in headers}


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
    raise asyncio.CancelledError
