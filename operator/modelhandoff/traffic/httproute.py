"""The router for Gateway API: one operator-owned HTTPRoute per handoff."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from modelhandoff.api import names
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.cluster.client import Client
from modelhandoff.cluster.kinds import HTTPROUTE
from modelhandoff.cluster.observe import owner_text
from modelhandoff.cluster.store import HandoffKey, Store
from modelhandoff.cluster.writing import Writer
from modelhandoff.errors import ConflictError, RefusedError
from modelhandoff.rollout.actions import ApplyRoute, DeleteRoute
from modelhandoff.rollout.snapshot import RouteView, Snapshot
from modelhandoff.traffic import claims, manifest


class HTTPRouteRouter:
    """Reads and writes HTTPRoutes. Holds no state."""

    def view(self, raw: Mapping[str, Any], owner: str) -> RouteView:
        """A stored route as the rollout sees it."""
        return manifest.view(raw, owner)

    def conflicts(
        self,
        spec: ModelHandoffSpec,
        namespace: str,
        own: str,
        routes: Iterable[Mapping[str, Any]],
    ) -> tuple[str, ...]:
        """``namespace/name`` of routes other than ``own`` that take the same requests."""
        return claims.conflicts(spec, namespace, own, routes)

    async def apply(
        self,
        action: ApplyRoute | DeleteRoute,
        snapshot: Snapshot,
        client: Client,
        store: Store,
        *,
        urgent: bool = False,
    ) -> None:
        """Carry out one traffic action: exactly one write.

        Raises:
            ConflictError: the route is not what was read; the store knows the present one.
        """
        key = HandoffKey(snapshot.handoff.namespace, snapshot.handoff.name)
        writer = Writer(client, store, key.namespace, urgent=urgent)
        name = names.route_name(key.name)
        if isinstance(action, DeleteRoute):
            await writer.delete(HTTPROUTE, name, resource_version=action.resource_version)
            return
        owner = owner_text(key, snapshot.handoff.uid)
        if not action.resource_version:
            await self._create(action, key, owner, writer)
            return
        current = store.get(HTTPROUTE, key.namespace, name)
        if current is None:
            raise ConflictError(f"HTTPRoute {key.namespace}/{name} is gone")
        body = manifest.patch(
            current,
            action.spec,
            owner=owner,
            backends=action.backends,
            stamp=action.stamp,
            intent=action.intent,
        )
        await writer.patch(HTTPROUTE, name, body, resource_version=action.resource_version)

    async def _create(
        self, action: ApplyRoute, key: HandoffKey, owner: str, writer: Writer
    ) -> None:
        if action.spec is None:
            raise RefusedError("a route cannot be created without the spec that says where")
        body = manifest.build(
            action.spec,
            handoff=key.name,
            namespace=key.namespace,
            owner=owner,
            backends=action.backends,
            stamp=action.stamp,
            intent=action.intent,
        )
        await writer.create(HTTPROUTE, body)
