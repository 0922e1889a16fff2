"""An operator that dies at every write there is, one after another, in a single run."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

from modelhandoff.api import names
from tests.component.fakeapi.faults import Effect, Fault, Request
from tests.component.world import USER_AGENT, World

WRITES = ("create", "update", "patch", "delete")


class When(Enum):
    """Where in a write the process dies."""

    BEFORE = "the request never arrives"
    INSIDE = "committed, but the reply is lost"
    AFTER = "the reply arrives, and nothing follows"


class Killer:
    """Kills the operator once at every write that is not like one it died at before.

    Attributes:
        struck: what it died at, in order.
    """

    def __init__(self, place: World, when: When) -> None:
        self._place = place
        self._done: set[str] = set()
        self.struck: list[Request] = []
        effect = {When.BEFORE: Effect.DROP, When.INSIDE: Effect.CUT, When.AFTER: Effect.DELAY}
        self._when = when
        self._armed = False
        place.keep_alive = True
        place.server.faults.add(Fault(effect[when], self._matches, times=100_000))
        place.server.on_write.append(lambda _: self._committed())

    def _matches(self, request: Request) -> bool:
        mine = request.actor == USER_AGENT and request.verb in WRITES
        # Fenced already: it dies at this very moment, and others of its requests may still fly.
        dying = self._place.process is None or self._place.process.fence.closed
        if not mine or request.plural == "leases" or dying:
            return False
        known = _likeness(request)
        if known in self._done:
            return False
        self._done.add(known)
        self.struck.append(request)
        if self._when is When.BEFORE:
            self._kill()
        else:
            self._armed = True
        return True

    def _committed(self) -> None:
        if self._armed:
            self._armed = False
            self._kill()

    def _kill(self) -> None:
        assert self._place.process is not None
        self._place.process.fence.close("killed by the test")


def _likeness(request: Request) -> str:
    """Two requests with one likeness are one write, tried again."""
    body = json.loads(json.dumps(request.body or {}))
    meta: dict[str, Any] = body.get("metadata") or {}
    meta.pop("resourceVersion", None)
    if names.ANNOTATION_EPOCH in (meta.get("annotations") or {}):
        meta["annotations"][names.ANNOTATION_EPOCH] = "any"
    name = request.name
    if request.plural == "events":
        meta.pop("name", None)
        meta.pop("generateName", None)
    return json.dumps([request.verb, request.plural, name, request.subresource, body])
