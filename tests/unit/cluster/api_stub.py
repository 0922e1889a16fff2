"""A loopback server that answers as a test tells it, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Answer = Callable[[web.Request], web.StreamResponse]


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Stub:
    """Answers every request with ``answer``; holds them back while ``held`` is clear."""

    answer: Answer
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        body = json.loads(text) if text else None
        async with self.arrived:
            self.asked.append(
                Asked(
                    request.method,
                    request.path,
                    dict(request.query),
                    {name.lower(): value for name, value in request.headers.items()},
                    body,
                )
            )
            self.arrived.notify_all()
        await self.open.wait()
        return self.answer(request)

    async def wait_for(self, count: int) -> None:
        """Until ``count`` requests have arrived."""
        async with asyncio.timeout(10), self.arrived:
            await self.arrived.wait_for(lambda: len(self.asked) >= count)


@asynccontextmanager
async def serving(answer: Answer, *, held: bool = False) -> AsyncIterator[Stub]:
    """A stub on a free loopback port."""
    stub = Stub(answer)
    if not held:
        stub.open.set()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", stub.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    stub.url = f"http://{host}:{port}"
    try:
        yield stub
    finally:
        stub.open.set()
        await runner.cleanup()


def said(code: int, reason: str, message: str, **headers: str) -> Answer:
    """An answer as the API server refuses: a Status object."""

    def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(
            {"kind": "Status", "status": "Failure", "reason": reason, "message": message},
            status=code,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    return answer


def ok(body: dict[str, Any] | None = None) -> Answer:
    """An answer with 200 and an object."""
    return lambda _: web.json_response(body or {"metadata": {"name": "x"}})
