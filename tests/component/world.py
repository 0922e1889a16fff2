"""A small world for one operator: an API, played controllers, scripted metrics, time on demand."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import random
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from modelhandoff.api import names
from modelhandoff.cluster.kinds import POLICY, WATCHED
from modelhandoff.controller.process import Chances, Process
from modelhandoff.controller.reconcile import Decide
from modelhandoff.controller.settings import Settings
from tests.clocks import ManualClock
from tests.component.actors import Actors
from tests.component.collecting import ScriptedCollector
from tests.component.fakeapi.kinds import BY_PLURAL, Kind
from tests.component.fakeapi.objects import Change, Object, Write
from tests.component.hands import JSON
from tests.component.sites import NAMESPACE, FakeSite, Site

__all__ = ["NAMESPACE", "USER_AGENT", "World", "world"]
USER_AGENT = "modelhandoff"
SETTLE_SECONDS = 20.0
"""Real seconds; reached only when something hangs."""

HANDOFF = BY_PLURAL[names.GROUP, names.HANDOFFS]
ATTEMPT = BY_PLURAL[names.GROUP, names.ATTEMPTS]
ROUTE = BY_PLURAL["gateway.networking.k8s.io", "httproutes"]
DEPLOYMENT = BY_PLURAL["apps", "deployments"]
SERVICE = BY_PLURAL["", "services"]
POD = BY_PLURAL["", "pods"]
EVENT = BY_PLURAL["", "events"]
LEASE = BY_PLURAL["coordination.k8s.io", "leases"]


@dataclass(frozen=True)
class Weights:
    """Weights of one committed version of a route."""

    version: int
    backends: dict[str, int]
    intent: str


class World:
    """Everything around one operator.

    Attributes:
        keep_alive: whether an operator that died is started again, as a kubelet would.
        stride: seconds that pass at least before anybody looks again, as on a busy machine.
        weights: every version of every route that was ever committed, by route name.
    """

    def __init__(self, server: Site, decide: Decide | None = None) -> None:
        self.clock = ManualClock(server.begin)
        self.server = server
        self.namespace = server.namespace
        self.objects = server.objects
        self.objects.now = self.clock.now
        self.hand = server.hand("person")
        self.actors = Actors(self.objects, server.hand("played"))
        self.collector = ScriptedCollector()
        self.decide = decide
        self.process: Process | None = None
        self.keep_alive = False
        self.stride = 0.0
        self.weights: dict[str, list[Weights]] = {}
        self._readiness: dict[str, list[tuple[int, bool]]] = {}
        self.exit_codes: list[int] = []
        self._running: asyncio.Task[int] | None = None
        self._stop = asyncio.Event()
        self.objects.listeners.append(self._record)

    # The operator

    async def start(self) -> Process:
        """Start an operator and wait until it has looked at everything once."""
        self._stop = asyncio.Event()
        settings = Settings(
            **self.server.settings(),
            identity="modelhandoff-0",
            listen_host="127.0.0.1",
            listen_port=0,
            workers=8,
            scrape_interval=5,
            request_timeout=5,
            lease_duration=6,
            renew_deadline=4,
            retry_period=0.5,
        )
        self.process = Process(
            settings,
            self.server.configuration(),
            lambda _: self.collector,
            Chances(
                clock=self.clock,
                rng=random.Random(11),
                decide=self.decide,
                on_watching=_own_signals,
            ),
        )
        self._running = asyncio.create_task(self.process.run(self._stop))
        await self.settle()
        return self.process

    async def stop(self) -> None:
        """SIGTERM."""
        self._stop.set()
        await self._gone()

    async def kill(self) -> None:
        """SIGKILL: from now on this process sends nothing more."""
        assert self.process is not None
        self.process.fence.close("killed")
        if self._running is not None:
            self._running.cancel()
        await self._gone()

    async def restart(self) -> Process:
        """SIGKILL and a new process in the same pod."""
        await self.kill()
        return await self.start()

    async def ended(self) -> int:
        """Wait until the operator has ended by itself; its exit code."""
        assert self._running is not None
        async with asyncio.timeout(SETTLE_SECONDS):
            code = await self._running
        self.process = self._running = None
        return code

    async def _gone(self) -> None:
        if self._running is not None:
            with contextlib.suppress(asyncio.CancelledError):
                self.exit_codes.append(await self._running)
        self.process = self._running = None

    # Time

    async def settle(self, or_when: Callable[[], bool] = lambda: False) -> None:
        """Wait until nobody has anything to do at this moment, or until ``or_when`` holds."""
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                calm = 0
                while calm < 3:
                    await asyncio.sleep(0.001)
                    if or_when():
                        return
                    if self.keep_alive and self._dead():
                        await self.restart()
                    self._alive()
                    calm = calm + 1 if self.calm() else 0
        except TimeoutError:
            raise AssertionError(f"no rest: {self._restless()}") from None

    async def run_until(self, condition: Callable[[], object], most: float = 6 * 3600) -> None:
        """Let time pass, deadline by deadline, until the condition holds."""
        end = self.clock.monotonic() + most
        await self.settle()
        while not condition():
            assert self.process is not None
            due = self.process.queue.next_due
            late = due is None or due > end
            assert not late, f"did not happen in {most:g} s: {self.story()}"
            self.clock.move(max(self.stride, (due or 0.0) - self.clock.monotonic()))
            await self.settle()

    async def run_until_killed(self, most: float = 6 * 3600) -> None:
        """Let time pass until this operator may write no more, then bury it."""
        process, end = self.process, self.clock.monotonic() + most
        assert process is not None
        await self.settle(lambda: process.fence.closed)
        while not process.fence.closed:
            due = process.queue.next_due
            late = due is None or due > end
            assert not late, f"not killed in {most:g} s: {self.story()}"
            self.clock.move((due or 0.0) - self.clock.monotonic())
            await self.settle(lambda: process.fence.closed)
        await self.kill()

    async def pass_time(self, seconds: float) -> None:
        """Let so much time pass, deadline by deadline."""
        end = self.clock.monotonic() + seconds
        await self.settle()
        while self.clock.monotonic() < end:
            due = self.process.queue.next_due if self.process is not None else None
            until = end if due is None else min(due, end)
            step = max(0.001, self.stride, until - self.clock.monotonic())
            self.clock.move(min(step, end - self.clock.monotonic()))
            await self.settle()

    async def eventually(self, condition: Callable[[], object]) -> None:
        """Wait for what others do in their own time, such as a real garbage collector."""
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                while not condition():  # noqa: ASYNC110 - any condition of the world
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise AssertionError(f"did not happen: {self.story()}") from None
        await self.settle()

    def _dead(self) -> bool:
        return self.process is not None and self.process.fence.closed

    def _alive(self) -> None:
        if self._running is not None and self._running.done() and not self._stop.is_set():
            self._running.result()
            raise AssertionError("the operator ended by itself")

    def calm(self) -> bool:
        """Whether nobody has anything to do at this moment."""
        return not self._restless()

    def _restless(self) -> str:
        if not self.actors.idle:
            return "the played controllers are at work"
        if on_its_way := self.server.restless():
            return on_its_way
        process = self.process
        if process is None:
            return ""
        if process.health.not_ready():
            return f"the operator is not ready: {process.health.not_ready()}"
        if not process.queue.idle:
            return f"{process.queue.depth} wait, {process.queue.working} are in hand"
        return self._behind(process)

    def _behind(self, process: Process) -> str:
        """What the operator's cache has not heard of yet."""
        for kind in WATCHED:
            if kind is POLICY:
                continue  # Of nobody's concern here, and shared with other tests.
            there = self.objects.versions(BY_PLURAL[kind.group, kind.plural], kind.selector)
            known = {
                (o["metadata"].get("namespace", ""), o["metadata"]["name"]): o["metadata"][
                    "resourceVersion"
                ]
                for o in process.store.all(kind)
            }
            if there != known:
                return f"the cache lags behind in {kind.plural}: {set(there) ^ set(known)}"
        return ""

    # What people do

    async def apply(self, manifest: Object) -> None:
        """``kubectl apply`` of a handoff, and everything that follows at once."""
        await self.submit(manifest)
        await self.settle()

    async def submit(self, manifest: Object) -> None:
        """``kubectl apply`` of a handoff."""
        name = manifest["metadata"]["name"]
        if self.objects.find(HANDOFF, self.namespace, name) is None:
            meta = {**manifest["metadata"], "namespace": self.namespace}
            await self.hand.create(HANDOFF, self.namespace, {**manifest, "metadata": meta})
        else:
            operations = [{"op": "replace", "path": "/spec", "value": manifest["spec"]}]
            await self.hand.patch(HANDOFF, self.namespace, name, operations, JSON)

    async def annotate(self, key: str, value: str | None, name: str = "fraud") -> None:
        body = {"metadata": {"annotations": {key: value}}}
        await self.hand.patch(HANDOFF, self.namespace, name, body)
        await self.settle()

    async def delete(self, name: str = "fraud", policy: str = "Background") -> None:
        await self.remove(HANDOFF, name, policy)

    async def remove(self, kind: Kind, name: str, policy: str = "Background") -> None:
        """``kubectl delete`` of anything."""
        options = {"propagationPolicy": policy}
        await self.hand.delete(kind, self.namespace, name, options)
        await self.settle()

    async def scale(self, deployment: str, replicas: int) -> None:
        """``kubectl scale`` of a Deployment."""
        body = {"spec": {"replicas": replicas}}
        await self.hand.patch(DEPLOYMENT, self.namespace, deployment, body)
        await self.settle()

    async def reweigh(self, weights: dict[str, int], name: str = "fraud") -> None:
        """Somebody edits the weights of a route by hand."""
        route = self.objects.get(ROUTE, self.namespace, name)
        (rule,) = route["spec"]["rules"]
        some = {**rule["backendRefs"][0]}
        rule["backendRefs"] = [
            {**some, "name": backend, "weight": weight} for backend, weight in weights.items()
        ]
        operations = [{"op": "replace", "path": "/spec", "value": route["spec"]}]
        await self.hand.patch(ROUTE, self.namespace, name, operations, JSON)
        await self.settle()

    # What is seen

    def handoff(self, name: str = "fraud") -> Object:
        return self.objects.get(HANDOFF, self.namespace, name)

    def status(self, name: str = "fraud") -> Object:
        found: Object = self.handoff(name).get("status") or {}
        return found

    def phase(self, name: str = "fraud") -> str:
        """Of what the handoff says now; "" while its status is about an older spec."""
        found = self.handoff(name)
        status = found.get("status") or {}
        current = status.get("observedGeneration") == found["metadata"]["generation"]
        return str(status.get("phase", "")) if current else ""

    def attempts(self, name: str = "fraud") -> list[Object]:
        """By ordinal."""

        def own(attempt: Object) -> bool:
            labels = attempt["metadata"].get("labels") or {}
            return bool(labels.get(names.LABEL_HANDOFF) == name)

        found = self.objects.list(ATTEMPT, self.namespace, own)
        return sorted(found, key=lambda a: a["spec"]["ordinal"])

    def attempt(self, name: str = "fraud") -> Object:
        """The newest."""
        return self.attempts(name)[-1]

    def route(self, name: str = "fraud") -> dict[str, int]:
        """Present weights by Service."""
        found = self.objects.find(ROUTE, self.namespace, name)
        return {} if found is None else _weights(found)

    def share(self, revision_of: Object, name: str = "fraud") -> int:
        """Weight of an attempt's revision on the route now."""
        return self.route(name).get(names.workload_name(name, revision_of["spec"]["revision"]), 0)

    def deployments(self) -> dict[str, Object]:
        return {d["metadata"]["name"]: d for d in self.objects.list(DEPLOYMENT, self.namespace)}

    def ready_at(self, workload: str, version: int) -> bool:
        """Whether any pod of a revision, or of an adopted Deployment, was ready at a version."""
        return any(
            history[max(0, bisect.bisect(history, (version, True)) - 1)][1]
            for name, history in self._readiness.items()
            if name.startswith(f"{workload}-") and history[0][0] <= version
        )

    def events(self) -> list[str]:
        return [e["reason"] for e in self.objects.list(EVENT, self.namespace)]

    def writes(self, since: int = 0) -> list[Write]:
        """What the operator wrote after a version, the lease aside."""
        return [
            w
            for w in self.objects.writes
            if w.version > since and w.kind != "Lease" and w.actor.startswith(USER_AGENT)
        ]

    def requests(self, since: int = 0) -> list[Any]:
        """What was asked of the API after the n-th request, the lease aside."""
        return [r for r in self.server.faults.seen[since:] if r.plural != "leases"]

    def condition(self, kind: str, name: str = "fraud") -> Object:
        found = {c["type"]: c for c in self.status(name).get("conditions") or ()}
        return found.get(kind, {})

    def story(self, name: str = "fraud") -> str:
        """What is going on, for a test that fails."""
        if self.objects.find(HANDOFF, self.namespace, name) is None:
            return "there is no handoff"
        attempts = [
            f"{a['metadata']['name']}: {(a.get('status') or {}).get('phase')}"
            for a in self.attempts(name)
        ]
        status = self.status(name)
        return (
            f"{status.get('phase')} {self.route(name)} {attempts} at {self.clock.now()}: "
            f"{status.get('message')}"
        )

    def _record(self, change: Change) -> None:
        if change.kind == POD:
            conditions = (change.after.get("status") or {}).get("conditions") or ()
            ready = change.type != "DELETED" and any(
                c["type"] == "Ready" and c["status"] == "True" for c in conditions
            )
            history = self._readiness.setdefault(change.after["metadata"]["name"], [])
            history.append((change.version, ready))
        if change.kind == ROUTE and change.type != "DELETED":
            annotations = change.after["metadata"].get("annotations") or {}
            seen = Weights(
                change.version,
                _weights(change.after),
                annotations.get(names.ANNOTATION_INTENT, ""),
            )
            known = self.weights.setdefault(change.after["metadata"]["name"], [])
            last = known[-1] if known else None
            if last is None or (last.backends, last.intent) != (seen.backends, seen.intent):
                known.append(seen)


def _weights(route: Object) -> dict[str, int]:
    return {
        backend["name"]: backend.get("weight", 1)
        for rule in route["spec"].get("rules") or ()
        for backend in rule.get("backendRefs") or ()
    }


def _own_signals() -> None:
    # kopf takes the signals of the main thread; here they belong to pytest.
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.remove_signal_handler(number)


@contextlib.asynccontextmanager
async def world(decide: Decide | None = None) -> AsyncIterator[World]:
    """A world that is cleaned up whatever happens in it."""
    async with world_at(FakeSite(), decide) as made:
        yield made


@contextlib.asynccontextmanager
async def world_at(site: Site, decide: Decide | None = None) -> AsyncIterator[World]:
    """A world on any API, cleaned up whatever happens in it."""
    await site.start()
    made = World(site, decide)
    made.actors.start()
    try:
        yield made
    finally:
        if made.process is not None:
            await made.kill()
        await made.actors.stop()
        await site.stop()
