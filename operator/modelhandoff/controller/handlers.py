"""What is watched, and what an event does: into the cache, and its handoffs into the queue.

Event handlers only: no diffing, no annotations, no retries, no progress. Whatever an event
meant, the handoff that it touches gets one look at everything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import aiohttp
import kopf

from modelhandoff.cluster.kinds import Kind

OnEvent = Callable[[Kind, str | None, dict[str, Any]], None]
"""Told of every watch event: kind, type (``None`` = listed), object."""


def registry(
    kinds: Collection[Kind],
    on_event: OnEvent,
    server: str,
    new_session: Callable[[], aiohttp.ClientSession],
) -> kopf.OperatorRegistry:
    """All handlers: one login, and one event handler per kind."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return kopf.AiohttpSession(server=server, aiohttp_session=new_session())

    for kind in kinds:
        _watch(handlers, kind, on_event)
    return handlers


def _watch(handlers: kopf.OperatorRegistry, kind: Kind, on_event: OnEvent) -> None:
    @kopf.on.event(
        group=kind.group,
        version=kind.version,
        plural=kind.plural,
        id=kind.plural,
        registry=handlers,
    )
    async def seen(event: Any, **_: Any) -> None:
        on_event(kind, event["type"], event["object"])
