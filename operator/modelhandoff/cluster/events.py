"""Kubernetes events on a handoff: what people see in ``kubectl describe``. Best effort.

An event is told, never waited for: a pass goes on at once, and one that cannot be posted is
lost with a line in the log. What counts is in the status and in the attempt.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from modelhandoff.api import names
from modelhandoff.api.quantities import format_time
from modelhandoff.cluster.client import Client
from modelhandoff.cluster.kinds import EVENT, HANDOFF
from modelhandoff.cluster.refusals import AlreadyExistsError
from modelhandoff.cluster.settings import ClusterSettings
from modelhandoff.errors import HandoffError, cut
from modelhandoff.rollout.actions import Event
from modelhandoff.rollout.snapshot import HandoffView

log = logging.getLogger(__name__)

MAX_MESSAGE = 1024
REPEAT_AFTER = timedelta(minutes=10)
MAX_REMEMBERED = 4096
MAX_PENDING = 64


class Poster:
    """Posts events in the background; the same one again only after ten minutes."""

    def __init__(
        self, client: Client, settings: ClusterSettings, now: Callable[[], datetime]
    ) -> None:
        self._client = client
        self._settings = settings
        self._now = now
        self._posted: OrderedDict[tuple[str, str, str], datetime] = OrderedDict()
        self._pending: set[asyncio.Task[None]] = set()

    async def post(self, event: Event, handoff: HandoffView) -> None:
        """Send one event on its way; returns at once and raises nothing."""
        now = self._now()
        said = (handoff.uid, event.reason, event.message)
        last = self._posted.get(said)
        if last is not None and now - last < REPEAT_AFTER:
            return
        self._posted[said] = now
        self._posted.move_to_end(said)
        if len(self._posted) > MAX_REMEMBERED:
            self._posted.popitem(last=False)
        if len(self._pending) >= MAX_PENDING:
            log.info("event dropped, %d are waiting: %s", len(self._pending), event.message)
            return
        task = asyncio.create_task(self._send(event, handoff, now))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def close(self, patience: float = 2.0) -> None:
        """Wait ``patience`` seconds for what is on its way, then give it up."""
        if not self._pending:
            return
        _, late = await asyncio.wait(self._pending, timeout=patience)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _send(self, event: Event, handoff: HandoffView, now: datetime) -> None:
        try:
            body = manifest(event, handoff, now, self._settings.identity)
            await self._client.create(EVENT, handoff.namespace, body)
        except AlreadyExistsError:
            return
        except HandoffError as error:
            log.info("event not posted: %s", error)


def manifest(event: Event, handoff: HandoffView, now: datetime, identity: str) -> dict[str, Any]:
    """The event as an object. Its name is computed, so that one transition is told once."""
    at = format_time(now.replace(microsecond=0))
    window = str(int(now.timestamp() // REPEAT_AFTER.total_seconds()))
    told = names.short_hash(handoff.uid, event.reason, event.message, window)
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.name,
        "metadata": {"name": f"{handoff.name}.{told}", "namespace": handoff.namespace},
        "involvedObject": {
            "apiVersion": HANDOFF.api_version,
            "kind": HANDOFF.name,
            "name": handoff.name,
            "namespace": handoff.namespace,
            "uid": handoff.uid,
            "resourceVersion": handoff.resource_version,
        },
        "type": "Warning" if event.warning else "Normal",
        "reason": event.reason,
        "message": cut(event.message, MAX_MESSAGE),
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
        "source": {"component": names.FIELD_MANAGER},
        "reportingComponent": names.FIELD_MANAGER,
        "reportingInstance": cut(identity, 128),
    }
