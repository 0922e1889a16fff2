"""How people and played controllers write: the same calls for both kinds of API."""

from __future__ import annotations

from typing import Any, Protocol

from tests.component.fakeapi.kinds import Kind
from tests.component.fakeapi.objects import MERGE, Object, Objects

JSON = "application/json-patch+json"


class Hand(Protocol):
    """Writes under one name; raises ``ApiError`` for what the API server refuses."""

    async def create(self, kind: Kind, namespace: str, obj: Object) -> Object: ...

    async def replace(
        self, kind: Kind, namespace: str, name: str, obj: Object, subresource: str = ""
    ) -> Object: ...

    async def patch(  # noqa: PLR0917
        self,
        kind: Kind,
        namespace: str,
        name: str,
        body: Any,
        content_type: str = MERGE,
        subresource: str = "",
    ) -> Object: ...

    async def delete(
        self, kind: Kind, namespace: str, name: str, options: Object | None = None
    ) -> None: ...


class DirectHand:
    """Writes straight into the objects in this process."""

    def __init__(self, objects: Objects, actor: str) -> None:
        self._objects = objects
        self._actor = actor

    async def create(self, kind: Kind, namespace: str, obj: Object) -> Object:
        return self._objects.create(kind, namespace, obj, self._actor)

    async def replace(
        self, kind: Kind, namespace: str, name: str, obj: Object, subresource: str = ""
    ) -> Object:
        return self._objects.replace(kind, namespace, name, obj, subresource, self._actor)

    async def patch(  # noqa: PLR0917
        self,
        kind: Kind,
        namespace: str,
        name: str,
        body: Any,
        content_type: str = MERGE,
        subresource: str = "",
    ) -> Object:
        return self._objects.patch(
            kind, namespace, name, body, content_type, subresource, self._actor
        )

    async def delete(
        self, kind: Kind, namespace: str, name: str, options: Object | None = None
    ) -> None:
        self._objects.delete(kind, namespace, name, options, self._actor)
