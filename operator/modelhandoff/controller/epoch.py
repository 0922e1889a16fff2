"""The first writes of a reign: whatever an earlier leader still has in flight meets a conflict.

Every decision-bearing write carries the resourceVersion it rests on. Moving an annotation on
active attempts and their routes changes those versions, so that a request which left a process
before it froze can no longer take effect, however late it arrives.
"""

from __future__ import annotations

import asyncio
import logging

from modelhandoff.api import names
from modelhandoff.api.vocabulary import Phase
from modelhandoff.cluster.client import Client
from modelhandoff.cluster.kinds import ATTEMPT, HTTPROUTE, Kind
from modelhandoff.cluster.store import Store
from modelhandoff.controller.clock import Clock
from modelhandoff.errors import FencedError, GoneError, HandoffError, UnavailableError

log = logging.getLogger(__name__)

RETRY = 1.0
"""Seconds."""

Target = tuple[Kind, str, str]


async def fence_off(store: Store, client: Client, clock: Clock, epoch: int) -> None:
    """Write the epoch on every active attempt and its route; returns when all carry it."""
    targets = dict.fromkeys(_active(store))
    await asyncio.gather(*(_stamp(store, client, clock, target, epoch) for target in targets))


def _active(store: Store) -> list[Target]:
    found: list[Target] = []
    for attempt in store.all(ATTEMPT):
        phase = (attempt.get("status") or {}).get("phase")
        if phase in set(Phase) and Phase(phase).terminal:
            continue
        meta = attempt["metadata"]
        found.append((ATTEMPT, meta["namespace"], meta["name"]))
        handoff = (meta.get("labels") or {}).get(names.LABEL_HANDOFF, "")
        route = names.route_name(handoff)
        if handoff and store.get(HTTPROUTE, meta["namespace"], route) is not None:
            found.append((HTTPROUTE, meta["namespace"], route))
    return found


async def _stamp(store: Store, client: Client, clock: Clock, target: Target, epoch: int) -> None:
    kind, namespace, name = target
    body = {"metadata": {"annotations": {names.ANNOTATION_EPOCH: str(epoch)}}}
    never = asyncio.Event()
    while True:
        try:
            store.upsert(kind, await client.patch(kind, namespace, name, body, urgent=True))
        except GoneError:
            return
        except UnavailableError as error:
            log.warning("the epoch of %s %s/%s waits: %s", kind.name, namespace, name, error)
            await clock.wait(never, clock.monotonic() + RETRY)
        except FencedError:
            raise
        except HandoffError as error:
            # The old leader's writes then conflict only where something else has changed.
            log.warning("no epoch on %s %s/%s: %s", kind.name, namespace, name, error)
            return
        else:
            return
