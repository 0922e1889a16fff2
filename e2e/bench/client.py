"""One kept-alive connection to the API server for whoever plays the cluster."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any, Self

import aiohttp

from e2e.cluster import ControlPlane

Raw = dict[str, Any]

MERGE = "application/merge-patch+json"


class Client:
    """The administrator, with plain JSON."""

    def __init__(self, plane: ControlPlane) -> None:
        context = ssl.create_default_context(cafile=str(plane.ca))
        context.load_cert_chain(plane.client_cert, plane.client_key)
        self._url = plane.url
        self._ssl = context

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=32, ssl=self._ssl),
            timeout=aiohttp.ClientTimeout(total=60),
            headers={"User-Agent": "bench"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def request(self, verb: str, path: str, body: Raw | None = None) -> Raw:
        """One request; conflicts and absences give an empty answer, all else must succeed."""
        kind = MERGE if verb == "PATCH" else "application/json"
        async with self._session.request(
            verb,
            self._url + path,
            data=None if body is None else json.dumps(body),
            headers={"Content-Type": kind},
        ) as response:
            text = await response.text()
            if response.status in (404, 409):
                return {}
            if response.status >= 400:
                raise RuntimeError(f"{verb} {path}: HTTP {response.status}: {text[:500]}")
            return dict(json.loads(text))

    async def watch(self, path: str) -> AsyncIterator[tuple[str, Raw]]:
        """Everything there is and everything that changes, for ever."""
        while True:
            try:
                listed = await self.request("GET", path)
            except RuntimeError:  # a kind that was installed a moment ago answers 429
                await asyncio.sleep(0.5)
                continue
            for item in listed["items"]:
                yield "ADDED", item
            version = listed["metadata"]["resourceVersion"]
            query = f"{path}?watch=1&resourceVersion={version}&timeoutSeconds=3000"
            timeout = aiohttp.ClientTimeout(total=None)
            async with self._session.get(
                self._url + query, timeout=timeout, read_bufsize=1 << 24
            ) as response:
                async for line in response.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        break
                    yield event["type"], event["object"]
            await asyncio.sleep(0.1)
