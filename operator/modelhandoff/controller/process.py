"""One operator process: from the first request to the last, in order.

Serve health, wait for the lease, list everything, move the epoch, look at every handoff; then
run until told to stop or until leadership is lost. Nothing global: a test runs several at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import aiohttp
import kopf
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration

from modelhandoff.cluster import observe
from modelhandoff.cluster.apply import apply
from modelhandoff.cluster.client import Client
from modelhandoff.cluster.events import Poster
from modelhandoff.cluster.kinds import (
    ATTEMPT,
    HANDOFF,
    OPTIONAL,
    POLICY,
    WATCHED,
    Kind,
)
from modelhandoff.cluster.lanes import Lanes
from modelhandoff.cluster.settings import ClusterSettings
from modelhandoff.cluster.store import HandoffKey, Store
from modelhandoff.cluster.writing import Writer
from modelhandoff.controller import health as healths
from modelhandoff.controller.clock import Clock, SystemClock, boottime
from modelhandoff.controller.epoch import fence_off
from modelhandoff.controller.handlers import registry
from modelhandoff.controller.lease import Fence, Leadership, LeaseTimes
from modelhandoff.controller.looks import Looks
from modelhandoff.controller.reconcile import Decide, Reconciler
from modelhandoff.controller.reports import documents
from modelhandoff.controller.settings import Settings
from modelhandoff.controller.sources import sources
from modelhandoff.controller.tasks import error_of, failure, together
from modelhandoff.controller.telemetry import Telemetry
from modelhandoff.controller.watching import (
    EveryTask,
    Listings,
    Raw,
    operator_settings,
    session,
    wait_until_served,
)
from modelhandoff.controller.workqueue import WorkQueue
from modelhandoff.metrics.collector import Collector
from modelhandoff.metrics.prometheus import OnQuery, Source
from modelhandoff.rollout.actions import Action, Collected, Decision
from modelhandoff.rollout.decide import decide
from modelhandoff.rollout.snapshot import HandoffView, Snapshot
from modelhandoff.traffic.httproute import HTTPRouteRouter

log = logging.getLogger(__name__)

LEASE_SIGN = "the lease"
LAG_EVERY = 1.0
DRAIN = 5.0
"""Seconds that passes in hand get to end when the process is told to stop."""


MakeCollector = Callable[[Clock], Collector]


@runtime_checkable
class Configurable(Protocol):
    """A collector whose sources are named in policies."""

    def configure(self, sources: Iterable[Source]) -> None:
        """Replace the sources."""


@runtime_checkable
class Countable(Protocol):
    """A collector that tells of every query."""

    on_query: OnQuery


@dataclass(frozen=True, slots=True)
class Chances:
    """What is given from outside: clocks, randomness, and for tests the decision itself.

    Attributes:
        machine_clock: for the lease and for signs of life, whose seconds others count too.
        on_watching: called when kopf has started, which puts in signal handlers of its own.
    """

    clock: Clock
    machine_clock: Clock = field(default_factory=SystemClock)
    boottime: Callable[[], float] = boottime
    rng: random.Random | None = None
    decide: Decide | None = None
    on_watching: Callable[[], None] = lambda: None


class Process:
    """One operator.

    Attributes:
        store, queue, fence, telemetry, health: for whoever watches it.
    """

    def __init__(
        self,
        settings: Settings,
        configuration: Configuration,
        make_collector: MakeCollector,
        chances: Chances | None = None,
    ) -> None:
        chances = chances or Chances(SystemClock())
        self._chances = chances
        self._settings = settings
        self._configuration = configuration
        self._clock = chances.clock
        rng = chances.rng or random.Random()  # noqa: S311 - jitter
        self._kinds: tuple[Kind, ...] = WATCHED + (OPTIONAL if settings.watch_nodes else ())
        self._ended: asyncio.Future[str] | None = None
        self.store = Store()
        self.telemetry = Telemetry()
        self.health = healths.Health(chances.machine_clock)
        self.fence = Fence(chances.boottime)
        self.queue: WorkQueue[HandoffKey] = WorkQueue(clock=self._clock, rng=rng)
        self.client = Client(
            configuration,
            gate=self.fence.check,
            lanes=Lanes(total=settings.requests_in_flight),
            timeout=settings.request_timeout,
            on_request=self.telemetry.request,
        )
        self.leadership = Leadership(
            self.client,
            namespace=settings.lease_namespace,
            name=settings.lease_name,
            identity=settings.identity,
            fence=self.fence,
            clock=chances.machine_clock,
            rng=rng,
            times=LeaseTimes(
                settings.lease_duration, settings.renew_deadline, settings.retry_period
            ),
            boottime=chances.boottime,
            on_sign=lambda: self.health.beat(LEASE_SIGN),
        )
        self._listings = Listings(self._kinds, settings.namespaces, self._listed, self._sign)
        self._collector = make_collector(self._clock)
        if isinstance(self._collector, Countable):
            self._collector.on_query = self.telemetry.query
        self._sources: frozenset[str] | None = None
        self._configure_sources()
        self._router = HTTPRouteRouter()
        self._cluster = ClusterSettings(
            fetch_image=settings.fetch_image,
            verify_image=settings.verify_image,
            image_pull_policy=settings.image_pull_policy,
            identity=settings.identity,
        )
        self._poster = Poster(self.client, self._cluster, self._clock.now)
        looks = Looks(self._collector, settings.lag, self.telemetry)
        self._reconciler = Reconciler(
            queue=self.queue,
            observe=self._observe,
            look=looks.of_pass,
            decide=chances.decide or _decide,
            apply=self._apply,
            post=self._poster.post,
            write_status=self._write_status,
            clock=self._clock,
            rng=rng,
            telemetry=self.telemetry,
            resync=settings.resync,
            report_interval=settings.report_interval,
            on_fenced=lambda error: self._end(str(error)),
        )
        self.health.also("the work queue", lambda: self.queue.age)
        self._expose()

    async def run(self, stop: asyncio.Event) -> int:
        """Run until ``stop`` is set (0), or until leadership or a watch is lost (1)."""
        self._ended = asyncio.get_running_loop().create_future()
        runner: web.AppRunner | None = None
        try:
            app = healths.application(self.health, self.telemetry)
            runner, self.port = await healths.serve(
                app, self._settings.listen_host, self._settings.listen_port
            )
            async with together() as start:
                start(self._measure_lag(), "loop lag")
                lead = start(self._lead(), "operator")
                stopped = start(stop.wait(), "stop")
                await asyncio.wait(
                    {lead, stopped, self._ended}, return_when=asyncio.FIRST_COMPLETED
                )
                if stopped.done():
                    log.info("stopping")
                    await self._drain()
                    return 0
                why = self._ended.result() if self._ended.done() else failure(lead)
                log.error("ending: %s", why, exc_info=error_of(lead))
                return 1
        finally:
            await self._close(runner)

    # The order of things

    async def _lead(self) -> None:
        settings = self._settings
        await wait_until_served(
            self.client, self._kinds, settings.namespaces, self._clock, self.health.ready
        )
        # A standby is ready too: it can take over, and a rolling update must not wait for it.
        self.health.ready()
        self.health.expect(LEASE_SIGN)
        epoch = await self.leadership.acquire()
        self.telemetry.leader.set(1)
        self.telemetry.epoch.set(epoch)
        async with together() as start:
            tasks = {
                start(self._hold(), "lease"),
                start(self._watch(), "watches"),
                start(self._work(epoch), "work"),
            }
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    async def _hold(self) -> None:
        lost = await self.leadership.hold()
        self._end(str(lost))

    async def _watch(self) -> None:
        settings = self._settings
        handlers = registry(self._kinds, self._seen, self._configuration.host, self._new_session)
        stop = asyncio.Event()
        tasks = await kopf.spawn_tasks(
            registry=handlers,
            settings=operator_settings(self._kinds, settings.request_timeout),
            standalone=True,
            clusterwide=settings.cluster_wide,
            namespaces=settings.namespaces,
            stop_flag=stop,
            # kopf would ask for the user's name, which a container's user id need not have. Its
            # Identity is a str by another name that it does not export.
            identity=settings.identity,  # type: ignore[arg-type]
        )
        self._chances.on_watching()
        running = asyncio.ensure_future(kopf.run_tasks(tasks, ignored=EveryTask()))
        try:
            await asyncio.shield(running)
            self._end("the watches ended")
        finally:
            stop.set()
            await asyncio.wait({running})
            if not running.cancelled() and (error := running.exception()):
                log.error("the watches failed: %s", error)

    async def _work(self, epoch: int) -> None:
        self.health.ready("the first listings are not complete")
        await self._listings.synced.wait()
        await fence_off(self.store, self.client, self._clock, epoch)
        self.health.ready()
        for key in self.store.handoffs():
            self.queue.add(key)
        log.info("watching %d handoffs", self.store.count(HANDOFF))
        await self.queue.run(self._settings.workers, self._reconciler.work)

    # What happens meanwhile

    def _seen(self, kind: Kind, event_type: str | None, obj: Raw) -> None:
        self._sign(kind)
        touched = self.store.apply(kind, event_type, obj)
        if kind is POLICY:
            self._configure_sources()
        for key in touched:
            # The world moved, which a timer did not: it goes ahead of routine looks.
            self._touch(key, urgent=True)

    def _listed(
        self, kind: Kind, namespace: str | None, items: list[Raw], resource_version: str
    ) -> None:
        touched = self.store.replace(kind, items, resource_version, namespace)
        if kind is POLICY:
            self._configure_sources()
        for key in touched:
            self._touch(key)

    def _touch(self, key: HandoffKey, *, urgent: bool = False) -> None:
        if self._listings.synced.is_set():
            self.queue.add(key, urgent=urgent)

    def _sign(self, kind: Kind) -> None:
        self.health.beat(kind.plural)

    def _observe(self, key: HandoffKey) -> Snapshot | None:
        now = self._clock.now()
        return observe.snapshot(self.store, key, now, self._router, self._sources)

    def _configure_sources(self) -> None:
        if isinstance(self._collector, Configurable):
            known = sources(self.store, self._settings)
            self._collector.configure(known)
            self._sources = frozenset(source.name for source in known)

    async def _write_status(self, handoff: HandoffView, status: Mapping[str, Any]) -> None:
        writer = Writer(self.client, self.store, handoff.namespace)
        await writer.replace_status(
            HANDOFF, handoff.name, status, resource_version=handoff.resource_version
        )

    async def _apply(self, action: Action, snapshot: Snapshot, urgent: bool) -> None:
        await apply(
            action,
            snapshot,
            self.client,
            self.store,
            self._cluster,
            self._router,
            reporter=documents,
            urgent=urgent,
        )

    def _new_session(self) -> aiohttp.ClientSession:
        return session(self._configuration, self._listings.trace())

    def _end(self, why: str) -> None:
        self.fence.close(why)
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(why)

    async def _measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(LAG_EVERY)
            self.telemetry.loop_lag.set(max(0.0, loop.time() - before - LAG_EVERY))

    # The end

    async def _drain(self) -> None:
        """Let passes in hand end; whatever is cut off is taken up by the next leader."""
        self.queue.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN):
                await self.queue.wait_empty_handed()

    async def _close(self, runner: web.AppRunner | None) -> None:
        self.telemetry.leader.set(0)
        await self._poster.close()
        await self.leadership.release()
        await self.client.close()
        close = getattr(self._collector, "close", None)
        if close is not None:
            await close()
        if runner is not None:
            await runner.cleanup()

    def _expose(self) -> None:
        gauge = self.telemetry.gauge
        gauge(
            "modelhandoff_queue_depth",
            "Handoffs that wait for a worker.",
            lambda: self.queue.depth,
        )
        gauge(
            "modelhandoff_queue_age_seconds",
            "How long the longest-waiting handoff has waited for a worker.",
            lambda: self.queue.age,
        )
        gauge(
            "modelhandoff_watch_age_seconds",
            "Seconds since the API server last answered the watch that has been silent longest.",
            lambda: self.health.age,
        )
        gauge(
            "modelhandoff_lease_seconds_left",
            "Seconds until this process stops writing unless it renews its lease.",
            lambda: self.fence.seconds_left,
        )
        self.telemetry.watch_handoffs(
            lambda: self.store.all(HANDOFF), lambda: self.store.all(ATTEMPT), self._clock.now
        )


def _decide(snapshot: Snapshot, collected: Collected | None) -> Decision:
    return decide(snapshot, collected)
