"""Writing to the API server as a person or a played controller, past the fault proxy."""

from __future__ import annotations

import json
from typing import Any

import aiohttp

from tests.component.fakeapi.kinds import Kind
from tests.component.fakeapi.objects import MERGE, ApiError, Object
from tests.component.realapi.mirror import Mirror


class HttpHand:
    """Writes with an administrator's rights; returns when the mirror has seen it."""

    def __init__(self, session: aiohttp.ClientSession, url: str, mirror: Mirror) -> None:
        self._session = session
        self._url = url
        self._mirror = mirror

    async def create(self, kind: Kind, namespace: str, obj: Object) -> Object:
        whole = {"apiVersion": kind.api_version, "kind": kind.kind, **obj}
        return await self._write("POST", kind, namespace, "", whole)

    async def replace(
        self, kind: Kind, namespace: str, name: str, obj: Object, subresource: str = ""
    ) -> Object:
        return await self._write("PUT", kind, namespace, _path(name, subresource), obj)

    async def patch(  # noqa: PLR0917
        self,
        kind: Kind,
        namespace: str,
        name: str,
        body: Any,
        content_type: str = MERGE,
        subresource: str = "",
    ) -> Object:
        path = _path(name, subresource)
        return await self._write("PATCH", kind, namespace, path, body, content_type)

    async def delete(
        self, kind: Kind, namespace: str, name: str, options: Object | None = None
    ) -> None:
        known = self._mirror.find(kind, namespace, name)
        body = {"kind": "DeleteOptions", "apiVersion": "v1", **(options or {})}
        await self._send("DELETE", kind, namespace, _path(name, ""), body, "application/json")
        if known is not None:
            self._mirror.expect_gone(kind, name, known["metadata"]["uid"])
            await self._mirror.arrival(kind, name)

    async def _write(  # noqa: PLR0917
        self,
        method: str,
        kind: Kind,
        namespace: str,
        path: str,
        body: Any,
        content_type: str = "application/json",
    ) -> Object:
        made = await self._send(method, kind, namespace, path, body, content_type)
        self._mirror.expect(kind, made)
        await self._mirror.arrival(kind, made["metadata"]["name"])
        return made

    async def _send(  # noqa: PLR0917
        self, method: str, kind: Kind, namespace: str, path: str, body: Any, content_type: str
    ) -> Object:
        where = f"/namespaces/{namespace}" if kind.namespaced else ""
        url = f"{self._url}{kind.prefix}{where}/{kind.plural}{path}"
        headers = {"Content-Type": content_type}
        async with self._session.request(
            method, url, data=json.dumps(body), headers=headers
        ) as answer:
            found: Object = await answer.json()
            if answer.status >= 300:
                raise ApiError(answer.status, found.get("reason", ""), found.get("message", ""))
        return found


def _path(name: str, subresource: str) -> str:
    return f"/{name}/{subresource}" if subresource else f"/{name}"
