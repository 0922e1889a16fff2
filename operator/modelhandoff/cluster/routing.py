"""What the cluster room asks of a router; the traffic room, one floor up, has the answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.cluster.client import Client
from modelhandoff.cluster.store import Store
from modelhandoff.rollout.actions import ApplyRoute, DeleteRoute
from modelhandoff.rollout.snapshot import RouteView, Snapshot


class RouteReader(Protocol):
    """Reads routes as the cluster stores them."""

    def view(self, raw: Mapping[str, Any], owner: str) -> RouteView:
        """A stored route as the rollout sees it; ``owner`` is the handoff's owner annotation."""

    def conflicts(
        self,
        spec: ModelHandoffSpec,
        namespace: str,
        own: str,
        routes: Iterable[Mapping[str, Any]],
    ) -> tuple[str, ...]:
        """``namespace/name`` of routes other than ``own`` that take the same requests."""


class RouteWriter(Protocol):
    """Writes routes."""

    async def apply(
        self,
        action: ApplyRoute | DeleteRoute,
        snapshot: Snapshot,
        client: Client,
        store: Store,
        *,
        urgent: bool = False,
    ) -> None:
        """Carry out one traffic action: exactly one write."""
