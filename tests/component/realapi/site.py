"""A namespace of the real API server as a world's site."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from typing import Any

import aiohttp
from kubernetes.aio.client.configuration import Configuration

from tests.component.fakeapi.faults import Request
from tests.component.fakeapi.kinds import BY_PLURAL, Kind
from tests.component.fakeapi.objects import Object, Write
from tests.component.hands import Hand
from tests.component.realapi import connections
from tests.component.realapi.hand import HttpHand
from tests.component.realapi.mirror import Mirror
from tests.component.realapi.plane import LEASES, Plane, namespace
from tests.component.realapi.proxy import Proxy
from tests.component.sites import OnWrite

OURS, GATEWAY = "modelhandoff.dev", "gateway.networking.k8s.io"
MIRRORED = tuple(
    BY_PLURAL[key]
    for key in (
        (OURS, "modelhandoffs"),
        (OURS, "handoffattempts"),
        (OURS, "handoffapprovals"),
        (GATEWAY, "httproutes"),
        ("apps", "deployments"),
        ("", "services"),
        ("", "pods"),
        ("batch", "jobs"),
        ("", "events"),
        ("", "configmaps"),
    )
)


class RealSite(Proxy):
    """One namespace of one control plane, seen by the operator through a fault proxy."""

    def __init__(self, plane: Plane, user: str = "") -> None:
        self.namespace = plane.new_namespace()
        self.begin = datetime.now(UTC).replace(microsecond=0)
        self.on_write: list[OnWrite] = []
        self._plane = plane
        self._own: aiohttp.ClientSession | None = None
        self._user = user
        super().__init__(plane.url, _tls(plane, plane.user(user)), self._committed)

    async def start(self) -> None:
        tls = _tls(self._plane, self._plane.admin())
        self._own = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, ssl=tls))
        url = f"{self._plane.url}/api/v1/namespaces"
        async with self._own.post(url, json=namespace(self.namespace)) as answer:
            answer.raise_for_status()
        self.objects = Mirror(self._own, self._plane.url, self.namespace, MIRRORED)
        await self.objects.start()
        await super().start()

    async def stop(self) -> None:
        await super().stop()
        await self.objects.stop()
        if self._own is not None:
            await connections.close(self._own)

    def configuration(self) -> Configuration:
        configuration = Configuration()
        configuration.host = self.url
        # Not needed for plain HTTP; one certificate loads faster than the machine's collection.
        configuration.ssl_ca_cert = str(self._plane.ca)
        return configuration

    def settings(self) -> dict[str, Any]:
        return {
            "namespaces": (self.namespace,),
            "lease_namespace": LEASES,
            "lease_name": self.namespace,
        }

    def hand(self, actor: str) -> Hand:
        assert self._own is not None
        return HttpHand(self._own, self._plane.url, self.objects)

    def restless(self) -> str:
        if self.in_flight:
            return f"{self.in_flight} requests are not answered"
        return self.objects.lag

    def _committed(self, asked: Request, kind: Kind, answer: Object) -> None:
        name = asked.name or answer["metadata"]["name"]
        is_object = "uid" in (answer.get("metadata") or {})
        known = self.objects.find(kind, asked.namespace, name)
        after = answer if is_object else known or {"metadata": {"name": name}}
        if is_object and kind.kind != "Lease":
            self.objects.expect(kind, after)
        if asked.verb == "delete" and known is not None:
            self.objects.expect_gone(kind, name, known["metadata"]["uid"])
        version = int(answer["metadata"]["resourceVersion"]) if is_object else self.newest + 1
        self.newest = max(self.newest, version)
        write = Write(
            version,
            asked.verb,
            kind.kind,
            asked.namespace,
            name,
            asked.subresource,
            asked.actor,
            after,
        )
        self.objects.writes.append(write)
        for listener in list(self.on_write):
            listener(write)

    newest = 0


def _tls(plane: Plane, files: tuple[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(plane.ca))
    context.load_cert_chain(*files)
    return context


async def until(site: RealSite, *, allowed: bool, seconds: float = 10.0) -> None:
    """Wait until the operator's rights are as they were set: the API server takes a moment."""
    kinds = MIRRORED[:7]
    async with asyncio.timeout(seconds), aiohttp.ClientSession() as session:
        while True:
            codes = set()
            for kind in kinds:
                path = f"{kind.prefix}/namespaces/{site.namespace}/{kind.plural}"
                async with session.get(f"{site.url}{path}?limit=1") as answer:
                    codes.add(answer.status)
            if codes == {200 if allowed else 403}:
                return
            await asyncio.sleep(0.02)
