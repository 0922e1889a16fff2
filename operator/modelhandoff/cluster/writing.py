"""One write, and what the cache learns from its answer.

A pass sees what the pass before it wrote, without waiting for the watch. After a conflict the
object is read once, so that the next pass decides on the present one; a creation that finds the
name taken is such a conflict, whoever took it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelhandoff.cluster.client import Client, Raw
from modelhandoff.cluster.kinds import Kind
from modelhandoff.cluster.store import Store
from modelhandoff.errors import ConflictError, GoneError, HandoffError


class Writer:
    """Writes in one namespace, in one lane of the client."""

    def __init__(
        self, client: Client, store: Store, namespace: str, *, urgent: bool = False
    ) -> None:
        self._client = client
        self._store = store
        self._namespace = namespace
        self._urgent = urgent

    async def create(self, kind: Kind, body: Mapping[str, Any]) -> Raw:
        """Create one object.

        Raises:
            AlreadyExistsError: the name is taken; the store holds the object that has it.
        """
        try:
            made = await self._client.create(kind, self._namespace, body, urgent=self._urgent)
        except ConflictError:
            await self.read_again(kind, body["metadata"]["name"])
            raise
        self._store.upsert(kind, made)
        return made

    async def patch(
        self, kind: Kind, name: str, body: Mapping[str, Any], *, resource_version: str
    ) -> Raw:
        """Merge-patch one object as it was read ("" for one that nobody else writes).

        Raises:
            ConflictError: it changed or is gone; the store knows what is there now.
        """
        try:
            made = await self._client.patch(
                kind,
                self._namespace,
                name,
                body,
                resource_version=resource_version,
                urgent=self._urgent,
            )
        except ConflictError:
            await self.read_again(kind, name)
            raise
        except GoneError as error:
            self._store.forget(kind, self._namespace, name)
            raise ConflictError(str(error)) from error
        self._store.upsert(kind, made)
        return made

    async def replace_status(
        self, kind: Kind, name: str, status: Mapping[str, Any], *, resource_version: str
    ) -> Raw:
        """Replace the status of one object as it was read.

        Raises:
            ConflictError: as for :meth:`patch`.
        """
        try:
            made = await self._client.replace_status(
                kind,
                self._namespace,
                name,
                status,
                resource_version=resource_version,
                urgent=self._urgent,
            )
        except ConflictError:
            await self.read_again(kind, name)
            raise
        except GoneError as error:
            self._store.forget(kind, self._namespace, name)
            raise ConflictError(str(error)) from error
        self._store.upsert(kind, made)
        return made

    async def delete(
        self, kind: Kind, name: str, *, resource_version: str = "", uid: str = ""
    ) -> None:
        """Delete one object; one that is not there is as good as deleted.

        Raises:
            ConflictError: as for :meth:`patch`.
        """
        try:
            answer = await self._client.delete(
                kind,
                self._namespace,
                name,
                resource_version=resource_version,
                uid=uid,
                urgent=self._urgent,
            )
        except GoneError:
            self._store.forget(kind, self._namespace, name, uid)
        except ConflictError:
            await self.read_again(kind, name)
            raise
        else:
            if _held(answer):
                self._store.upsert(kind, answer)
            else:
                self._store.forget(kind, self._namespace, name, uid)

    async def read_again(self, kind: Kind, name: str) -> Raw | None:
        """Put the present object into the store; a read that fails leaves that to the watch."""
        try:
            found = await self._client.get(kind, self._namespace, name)
        except GoneError:
            self._store.forget(kind, self._namespace, name)
            return None
        except HandoffError:
            return None
        self._store.upsert(kind, found)
        return found


def _held(answer: Mapping[str, Any]) -> bool:
    """Whether a deleted object is still there: the answer is it, and something holds it."""
    meta = answer.get("metadata") or {}
    grace = int(meta.get("deletionGracePeriodSeconds") or 0)
    return bool(answer.get("kind") != "Status" and (meta.get("finalizers") or grace))
