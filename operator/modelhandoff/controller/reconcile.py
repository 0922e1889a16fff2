"""One look at one handoff: observe, decide, at most one write, again; then tell, then sleep."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from modelhandoff.cluster.refusals import BusyError
from modelhandoff.cluster.store import HandoffKey
from modelhandoff.controller.clock import Clock
from modelhandoff.controller.logs import about
from modelhandoff.controller.looks import Look
from modelhandoff.controller.reporting import news, refused
from modelhandoff.controller.telemetry import Telemetry
from modelhandoff.controller.workqueue import WorkQueue
from modelhandoff.errors import (
    ConflictError,
    FencedError,
    ForbiddenError,
    GoneError,
    HandoffError,
    RefusedError,
)
from modelhandoff.rollout.actions import Action, Collected, Decision, Event, WriteAttempt
from modelhandoff.rollout.snapshot import HandoffView, Snapshot

log = logging.getLogger(__name__)

MAX_WRITES = 24
"""Writes in one pass; a promotion needs about ten. More is a loop: others get their turn."""
BUSY = 1.0
"""Seconds until a handoff goes on that used up its writes."""

MAX_CONFLICTS = 3
"""Conflicts in one pass; each was followed by a fresh read. More is a fight: it can wait."""

ERRAND_AGAIN = 60.0
ERRAND_REFUSED = 3600.0
"""Seconds until an errand that failed is tried again: an outage ends, a refusal rarely does."""

Decide = Callable[[Snapshot, Collected | None], Decision]
Observe = Callable[[HandoffKey], Snapshot | None]
Apply = Callable[[Action, Snapshot, bool], Awaitable[None]]
Post = Callable[[Event, HandoffView], Awaitable[None]]
WriteStatus = Callable[[HandoffView, Mapping[str, Any]], Awaitable[None]]


class Reconciler:
    """Makes handoffs true, one pass at a time. Everything it knows is read anew at each pass."""

    def __init__(
        self,
        *,
        queue: WorkQueue[HandoffKey],
        observe: Observe,
        look: Look,
        decide: Decide,
        apply: Apply,
        post: Post,
        write_status: WriteStatus,
        clock: Clock,
        rng: random.Random,
        telemetry: Telemetry,
        resync: float,
        report_interval: float,
        on_fenced: Callable[[FencedError], None] = lambda _: None,
    ) -> None:
        self._queue = queue
        self._observe = observe
        self._look = look
        self._decide = decide
        self._apply = apply
        self._post = post
        self._write = write_status
        self._clock = clock
        self._rng = rng
        self._telemetry = telemetry
        self._resync = resync
        self._report_interval = report_interval
        self._on_fenced = on_fenced
        # Only spares writes: forgetting it in a restart costs one early report.
        self._reported: dict[HandoffKey, float] = {}
        # Only spares requests, as well: until when a failed errand is left alone.
        self._put_off: dict[HandoffKey, float] = {}
        self._done: dict[HandoffKey, Action] = {}

    async def work(self, key: HandoffKey) -> None:
        """One pass for the queue: never raises, always says when the next one is."""
        started = self._clock.monotonic()
        result = "done"
        with about(key):
            try:
                after = await self.reconcile(key)
            except FencedError as error:
                result = "fenced"
                self._on_fenced(error)
            except Exception as error:
                result = self._failed(key, error)
            else:
                self._queue.forget(key)
                if after is not None:
                    self._queue.add_after(key, after)
        elapsed = self._clock.monotonic() - started
        self._telemetry.reconcile_seconds.labels(result).observe(elapsed)

    async def reconcile(self, key: HandoffKey) -> float | None:
        """Do everything there is to do now; returns seconds until the next look.

        ``None`` means that the handoff is gone.
        """
        look = self._look()
        conflicts = 0
        for _ in range(MAX_WRITES):
            snapshot = self._observe(key)
            if snapshot is None:
                self._reported.pop(key, None)
                self._put_off.pop(key, None)
                self._done.pop(key, None)
                return None
            collected = await look.collect(snapshot)
            decision = self._decide(snapshot, collected)
            if decision.action is None:
                break
            try:
                await self._carry_out(key, snapshot, decision, decision.action)
            except ConflictError as error:
                conflicts += 1
                if conflicts > MAX_CONFLICTS:
                    raise
                log.info("changed meanwhile, deciding again: %s", error)
                continue
            await self._tell(decision, snapshot)
        else:
            return BUSY
        wait = await self._report(key, snapshot, decision)
        errand = await self._run_errand(key, snapshot, decision)
        # Nothing is lost if a watch event is: every handoff is looked at now and then.
        resync = self._resync * (0.9 + 0.2 * self._rng.random())
        waits = (resync, wait, errand, decision.requeue_after)
        return min(w for w in waits if w is not None)

    async def _run_errand(
        self, key: HandoffKey, snapshot: Snapshot, decision: Decision
    ) -> float | None:
        """What nothing waits for; returns when to look again because of it.

        Whatever goes wrong here stays here: it must not keep the handoff from its next look.
        """
        errand = decision.errand
        if errand is None:
            self._put_off.pop(key, None)
            self._done.pop(key, None)
            return None
        name, now = type(errand).__name__, self._clock.monotonic()
        left = self._put_off.get(key, now) - now
        if left > 0:
            return left
        if errand == self._done.get(key):
            # Written, and not there: a field that the API server does not know is dropped.
            log.warning("%s left no trace: the CRDs are older than the operator", name)
            self._put_off[key] = now + ERRAND_REFUSED
            return ERRAND_REFUSED
        try:
            await self._apply(errand, snapshot, False)
        except FencedError:
            raise
        except Exception as error:
            again = isinstance(error, HandoffError) and error.retryable
            later = ERRAND_AGAIN if again else ERRAND_REFUSED
            self._put_off[key] = now + later
            bug = not isinstance(error, HandoffError)
            self._telemetry.failures.labels("Bug" if bug else type(error).__name__).inc()
            log.warning("%s tried again in %.0f s: %s", name, later, error, exc_info=bug)
            return later
        self._done[key] = errand
        log.info("%s: done", name)
        self._telemetry.actions.labels(name).inc()
        return 0.0

    async def _carry_out(
        self, key: HandoffKey, snapshot: Snapshot, decision: Decision, action: Action
    ) -> None:
        name = type(action).__name__
        try:
            await self._apply(action, snapshot, decision.urgent)
        except (ForbiddenError, RefusedError) as error:
            await self._tell_refusal(key, snapshot, decision, error)
            raise
        log.info("%s: %s", name, decision.sentence)
        self._telemetry.actions.labels(name).inc()
        self._count_verdict(action, snapshot)

    async def _report(
        self, key: HandoffKey, snapshot: Snapshot, decision: Decision
    ) -> float | None:
        """Write the status if it says something new; returns when its numbers may be written."""
        before, after = snapshot.handoff.status, decision.status
        if after == before:
            return None
        is_news = news(after) != news(before)
        if not is_news:
            last = self._reported.get(key)
            left = 0.0
            if last is not None:
                left = last + self._report_interval - self._clock.monotonic()
            if left > 0:
                return left
        await self._write_status(key, snapshot, after)
        if is_news:
            # Nothing was done, but something became known: told once, when the status says it.
            await self._tell(decision, snapshot)
        return None

    async def _write_status(
        self, key: HandoffKey, snapshot: Snapshot, status: Mapping[str, Any]
    ) -> None:
        await self._write(snapshot.handoff, status)
        self._reported[key] = self._clock.monotonic()

    async def _tell(self, decision: Decision, snapshot: Snapshot) -> None:
        for event in decision.events:
            await self._post(event, snapshot.handoff)

    async def _tell_refusal(
        self, key: HandoffKey, snapshot: Snapshot, decision: Decision, error: HandoffError
    ) -> None:
        handoff = snapshot.handoff
        told = refused(decision.status, error, snapshot.now, handoff.status)
        if news(told) == news(handoff.status):
            return
        try:
            await self._write_status(key, snapshot, told)
        except HandoffError as failed:
            log.warning("the refusal could not be told in the status: %s", failed)

    def _failed(self, key: HandoffKey, error: Exception) -> str:
        kind = type(error).__name__ if isinstance(error, HandoffError) else "Bug"
        self._telemetry.failures.labels(kind).inc()
        asked = error.retry_after if isinstance(error, BusyError) else 0.0
        wait = self._queue.retry(key, at_least=asked)
        if isinstance(error, ConflictError | GoneError):
            # The cache lags behind: the event that brings it up to date queues the key at once.
            log.info("changed meanwhile, looking again: %s", error)
            return "conflict"
        if isinstance(error, HandoffError):
            log.warning("tried again in %.1f s: %s", wait, error)
            return "error"
        log.exception("a bug, tried again in %.1f s", wait)
        return "bug"

    def _count_verdict(self, action: Action, snapshot: Snapshot) -> None:
        if not isinstance(action, WriteAttempt):
            return
        latched = action.status.get("verdict")
        known = {a.name: a.status.get("verdict") for a in snapshot.attempts}
        if latched and known.get(action.name) != latched:
            self._telemetry.decisions.labels(latched["decision"], latched["reason"]).inc()
