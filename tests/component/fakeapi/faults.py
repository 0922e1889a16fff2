"""Faults on demand: what a network and a busy API server do to a controller.

A fault waits for the requests it matches and hits ``times`` of them (after letting ``after``
pass): before the request is looked at, or after it has been committed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Effect(Enum):
    """What happens to a matching request."""

    STATUS = "answers with a status, nothing is committed"
    DROP = "connection cut before anything is committed"
    CUT = "committed, then the connection is cut before the reply"
    DELAY = "held back for some seconds, then served"


@dataclass(frozen=True)
class Request:
    """A request as a fault sees it. ``verb``: get, list, watch, create, update, patch, delete."""

    verb: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    actor: str = ""
    body: Any = None


@dataclass
class Fault:
    effect: Effect
    matches: Callable[[Request], bool]
    times: int = 1
    after: int = 0
    status: int = 500
    seconds: float = 0.0
    retry_after: int | None = None
    hits: list[Request] = field(default_factory=list)


class Faults:
    """All faults in force, oldest first."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self.seen: list[Request] = []
        """Every request that reached the server, in order."""

    def add(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        self._faults.clear()

    def hit(self, request: Request) -> Fault | None:
        """The fault that hits this request, if any; counts it."""
        self.seen.append(request)
        for fault in self._faults:
            if len(fault.hits) >= fault.times or not fault.matches(request):
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            fault.hits.append(request)
            return fault
        return None
