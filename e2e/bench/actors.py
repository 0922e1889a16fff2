"""Played kubelet and gateway: pods become ready, Jobs end, routes are accepted.

The controllers in between (Deployments, Jobs) are the real ones. What they do is told to the
Prometheus stand-in: which pods there are, and which share of the traffic each Deployment gets.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import aiohttp

from e2e.bench.client import Client, Raw

HANDOFF = "modelhandoff.dev/handoff"
ROUTES = "/apis/gateway.networking.k8s.io/v1"


class Actors:
    """Plays until it is closed.

    Attributes:
        rate: requests per second of one handoff, both arms together.
        raised: by route, every weight of a candidate ever set: (Unix seconds, weights by Service).
    """

    def __init__(self, client: Client, standin: str, rate: float) -> None:
        self._client = client
        self._standin = standin
        self.rate = rate
        self.raised: dict[str, list[tuple[float, dict[str, int]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._http = aiohttp.ClientSession()

    def start(self) -> None:
        self._run(self._play("/api/v1/pods", self._pod))
        self._run(self._play(f"{ROUTES}/httproutes", self._route))

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.close()

    async def change(self, told: Raw) -> None:
        """Tell the stand-in."""
        async with self._http.post(f"{self._standin}/change", json=told) as response:
            response.raise_for_status()

    async def state(self) -> Raw:
        """What the stand-in has seen."""
        async with self._http.get(f"{self._standin}/state") as response:
            return dict(await response.json())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            print(f"bench: an actor failed: {error!r}", flush=True)

    async def _play(self, path: str, act: Callable[[str, Raw], Coroutine[Any, Any, None]]) -> None:
        async for kind, obj in self._client.watch(path):
            self._run(act(kind, obj))

    async def _pod(self, kind: str, pod: Raw) -> None:
        meta, status = pod["metadata"], pod.get("status") or {}
        if HANDOFF not in (meta.get("labels") or {}):
            return
        place = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        owner = (meta.get("ownerReferences") or [{}])[0]
        if kind == "DELETED":
            await self.change({"remove": [[meta["namespace"], meta["name"]]]})
            return
        if meta.get("deletionTimestamp") or status.get("phase") != "Pending":
            return
        containers = [c["name"] for c in pod["spec"]["containers"]]
        inits = [c["name"] for c in pod["spec"].get("initContainers") or ()]
        job = owner.get("kind") == "Job"
        await self._client.request(
            "PATCH", f"{place}/status", {"status": _status(containers, inits, job)}
        )
        if not job:
            workload = owner["name"].rsplit("-", 1)[0]
            await self.change({"add": [[meta["namespace"], meta["name"], workload]]})

    async def _route(self, kind: str, route: Raw) -> None:
        meta = route["metadata"]
        if kind == "DELETED":
            return
        weights = {
            backend["name"]: int(backend.get("weight", 1))
            for rule in route["spec"].get("rules") or ()
            for backend in rule.get("backendRefs") or ()
        }
        history = self.raised.setdefault(meta["name"], [])
        if not history or history[-1][1] != weights:
            before = history[-1][1] if history else {}
            history.append((time.time(), weights))
            gone = {name: 0 for name in before if name not in weights}
            await self.change(
                {
                    "behave": {
                        name: {"rate": self.rate * weight / 100}
                        for name, weight in {**gone, **weights}.items()
                    }
                }
            )
        generation = meta["generation"]
        parents = (route.get("status") or {}).get("parents") or []
        seen = [c.get("observedGeneration") for p in parents for c in p["conditions"]]
        if seen and all(one == generation for one in seen):
            return
        now = _now()
        answer = [
            {
                "parentRef": parent,
                "controllerName": "played.example/gateway",
                "conditions": [
                    {
                        "type": name,
                        "status": "True",
                        "reason": name,
                        "message": "",
                        "observedGeneration": generation,
                        "lastTransitionTime": now,
                    }
                    for name in ("Accepted", "ResolvedRefs")
                ],
            }
            for parent in route["spec"].get("parentRefs") or ()
        ]
        path = f"{ROUTES}/namespaces/{meta['namespace']}/httproutes/{meta['name']}/status"
        await self._client.request("PATCH", path, {"status": {"parents": answer}})


def _status(containers: list[str], inits: list[str], job: bool) -> Raw:
    now = _now()
    ended = {
        "terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}
    }
    state = ended if job else {"running": {"startedAt": now}}
    ready = "False" if job else "True"
    return {
        "phase": "Succeeded" if job else "Running",
        "startTime": now,
        "conditions": [
            {"type": name, "status": value, "lastTransitionTime": now}
            for name, value in (
                ("PodScheduled", "True"),
                ("Initialized", "True"),
                ("ContainersReady", ready),
                ("Ready", ready),
            )
        ],
        "initContainerStatuses": [_container(name, ended, True) for name in inits],
        "containerStatuses": [_container(name, state, not job) for name in containers],
    }


def _container(name: str, state: Raw, ready: bool) -> Raw:
    return {
        "name": name,
        "state": state,
        "ready": ready,
        "restartCount": 0,
        "image": "played",
        "imageID": "played",
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
