"""Leader election with fencing: one writer at a time, also after a freeze.

The lease object says who leads; the *fence* says whether this process may still send. A renewal
moves the fence to ``renew_deadline`` seconds after the renewal was *sent*, which is earlier than
any other process may take the lease over (``duration`` after it last saw a change). The fence is
read on a clock that counts suspended time, right before every write. Once it has passed it never
opens again: the process ends, and a new one starts over.

A request that left before the fence closed may still arrive later. So a new leader first moves
an epoch on every object that decisions rest on: their resourceVersions change, and whatever the
old leader has in flight meets a conflict.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from modelhandoff.cluster.client import Client, Raw
from modelhandoff.cluster.kinds import LEASE
from modelhandoff.controller.clock import Clock, boottime
from modelhandoff.errors import (
    ConflictError,
    FencedError,
    ForbiddenError,
    GoneError,
    HandoffError,
    UnavailableError,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Seconds; ``retry < renew_deadline < duration``, and the gaps are what keeps leaders apart.

    Attributes:
        duration: how long others wait after the last change they saw.
        renew_deadline: how long after its last renewal a leader goes on writing.
        retry: between two renewals, and between two looks of one who waits.
    """

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.retry < self.renew_deadline < self.duration:
            raise ValueError(
                "lease times: must rise; got "
                f"retry {self.retry:g}, renewDeadline {self.renew_deadline:g}, "
                f"duration {self.duration:g}; allowed retry < renewDeadline < duration"
            )


class Fence:
    """Whether this process may still write; closed before the first lease and for ever after."""

    def __init__(self, boottime: Callable[[], float] = boottime) -> None:
        self._boottime = boottime
        self._deadline: float | None = None
        self._closed = ""

    def check(self) -> None:
        """Raise :class:`FencedError` unless the lease certainly holds now."""
        if self._deadline is None and not self._closed:
            raise FencedError("this process may write nothing yet: it has no lease")
        if self._deadline is not None and self._boottime() >= self._deadline:
            self.close("the lease was not renewed in time")
        if self._closed:
            raise FencedError(f"this process may write nothing more: {self._closed}")

    def open_until(self, deadline: float) -> None:
        """Move the deadline (seconds since boot); a closed fence stays closed."""
        self._deadline = max(self._deadline or 0.0, deadline)

    def close(self, why: str) -> None:
        """Refuse every write from now on."""
        self._closed = self._closed or why

    @property
    def closed(self) -> bool:
        """Whether it has been closed for ever (it may also just not have been opened yet)."""
        return bool(self._closed)

    @property
    def seconds_left(self) -> float:
        """Seconds until the fence closes unless renewed; 0 when closed."""
        if self._closed or self._deadline is None:
            return 0.0
        return max(0.0, self._deadline - self._boottime())


class Leadership:
    """One process's part in the election.

    Attributes:
        epoch: number of this reign, rising with every acquisition by anyone; 0 before.
    """

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        name: str,
        identity: str,
        fence: Fence,
        clock: Clock,
        rng: random.Random,
        times: LeaseTimes | None = None,
        boottime: Callable[[], float] = boottime,
        on_sign: Callable[[], None] = lambda: None,
    ) -> None:
        self._times = times or LeaseTimes()
        # So that a renewal that hangs can be tried once more before the deadline.
        self._client = client.unfenced(self._times.renew_deadline / 2)
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._fence = fence
        self._clock = clock
        self._rng = rng
        self._boottime = boottime
        self._on_sign = on_sign
        self._mine: Raw | None = None
        self._seen_version = ""
        self._seen_at = 0.0
        self._never = asyncio.Event()
        self.epoch = 0

    async def acquire(self) -> int:
        """Wait until this process leads; returns the epoch of its reign."""
        waiting_for = ""
        while True:
            try:
                holder = await self._try()
            except ForbiddenError as error:
                holder = f"nobody: {error}"
            except (UnavailableError, ConflictError, GoneError) as error:
                log.warning("the lease could not be taken yet: %s", error)
                holder = waiting_for
            else:
                self._on_sign()
            if self._mine is not None:
                log.info("leading with epoch %d as %s", self.epoch, self._identity)
                return self.epoch
            if holder != waiting_for:
                log.info("waiting for the lease held by %s", holder)
                waiting_for = holder
            await self._pause()

    async def hold(self) -> FencedError:
        """Renew until leadership is lost; returns why. The caller ends the process."""
        while True:
            await self._pause()
            try:
                self._fence.check()
                await self._renew()
                self._on_sign()
            except FencedError as lost:
                return lost
            except HandoffError as error:
                # Try again until the fence closes: the lease may well still be ours.
                log.warning("the lease was not renewed: %s", error)

    async def release(self) -> None:
        """Give the lease up, after the last write, so that another takes over at once."""
        if self._mine is None:
            return
        self._fence.close("the lease was given up")
        spec = {**self._mine["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            await self._replace(self._mine, spec)
        except HandoffError as error:
            log.info("the lease could not be given up, it will run out: %s", error)
        self._mine = None

    # Inside

    async def _try(self) -> str:
        """Take the lease if it is free; returns who holds it otherwise."""
        try:
            found = await self._client.get(LEASE, self._namespace, self._name)
        except GoneError:
            return await self._create()
        spec: Mapping[str, Any] = found.get("spec") or {}
        holder = str(spec.get("holderIdentity") or "")
        version = str(found["metadata"]["resourceVersion"])
        if version != self._seen_version:
            # Other machines' clocks are not ours: only how long *we* saw no change counts.
            self._seen_version, self._seen_at = version, self._boottime()
        expires = self._seen_at + float(spec.get("leaseDurationSeconds") or 0)
        free = holder in ("", self._identity) or self._boottime() >= expires
        if not free:
            return holder
        sent = self._boottime()
        epoch = int(spec.get("leaseTransitions") or 0) + 1
        self._reign(await self._replace(found, self._spec(epoch, acquired=True)), epoch, sent)
        return ""

    async def _create(self) -> str:
        sent = self._boottime()
        body = {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.name,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._spec(1, acquired=True),
        }
        self._reign(await self._client.create(LEASE, self._namespace, body), 1, sent)
        return ""

    async def _renew(self) -> None:
        assert self._mine is not None
        sent = self._boottime()
        spec = {**self._mine["spec"], **self._spec(self.epoch, acquired=False)}
        try:
            self._mine = await self._replace(self._mine, spec)
        except ConflictError:
            await self._look_again()
            return
        except GoneError:
            # Somebody deleted it, and a second leader may have made a new one since.
            self._fence.close("the lease was deleted")
            return
        self._fence.open_until(sent + self._times.renew_deadline)

    async def _look_again(self) -> None:
        """After a conflict: an earlier renewal whose answer was lost, or another leader?"""
        found = await self._client.get(LEASE, self._namespace, self._name)
        spec = found.get("spec") or {}
        if (spec.get("holderIdentity"), spec.get("leaseTransitions")) == (
            self._identity,
            self.epoch,
        ):
            self._mine = found  # renewed with the next beat
            return
        self._fence.close(f"{spec.get('holderIdentity') or 'nobody'} holds the lease")

    def _reign(self, lease: Raw, epoch: int, sent: float) -> None:
        self._mine = lease
        self.epoch = epoch
        self._fence.open_until(sent + self._times.renew_deadline)

    def _spec(self, epoch: int, *, acquired: bool) -> Raw:
        now = _micro_time(self._clock.now())
        spec: Raw = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(-(-self._times.duration // 1)),
            "renewTime": now,
            "leaseTransitions": epoch,
        }
        return {**spec, "acquireTime": now} if acquired else spec

    async def _replace(self, lease: Raw, spec: Mapping[str, Any]) -> Raw:
        body = {**lease, "spec": dict(spec)}
        return await self._client.replace(LEASE, self._namespace, self._name, body)

    async def _pause(self) -> None:
        # A little jitter, so that two who wait do not collide at every look.
        seconds = self._times.retry * (0.9 + 0.2 * self._rng.random())
        await self._clock.wait(self._never, self._clock.monotonic() + seconds)


def _micro_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
