"""The objects, their versions and their history, without any network."""

from __future__ import annotations

import asyncio
import marshal
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .kinds import Kind, kind_of
from .patching import PatchError, json_patch, merge

Object = dict[str, Any]
Ref = tuple[str, str, str, str]  # group, plural, namespace, name

FOREGROUND = "foregroundDeletion"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON = "application/json-patch+json"


class ApiError(Exception):
    """What the API server answers instead of the object."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason

    def status(self) -> Object:
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "code": self.code,
        }


@dataclass(frozen=True)
class Change:
    """One committed change, as a watcher may see it."""

    version: int
    type: str  # ADDED | MODIFIED | DELETED
    kind: Kind
    before: Object | None
    after: Object


@dataclass(frozen=True)
class Write:
    """One committed write, with who asked for it."""

    version: int
    verb: str
    kind: str
    namespace: str
    name: str
    subresource: str
    actor: str
    after: Object


class Reads:
    """What can be asked of a set of objects, whoever holds them.

    Attributes:
        version: newest version known.
        now: the clock that timestamps are taken from.
        listeners: told of every change, in order.
        writes: what was committed, with who asked for it.
    """

    version: int
    now: Callable[[], datetime]
    listeners: list[Callable[[Change], None]]
    writes: list[Write]
    _objects: dict[Ref, Object]

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        found = self._objects.get(_ref(kind, namespace, name))
        if found is None:
            raise ApiError(404, "NotFound", f'{kind.plural} "{name}" not found')
        return _copy(found)

    def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        found = self._objects.get(_ref(kind, namespace, name))
        return _copy(found)

    def list(
        self, kind: Kind, namespace: str = "", which: Callable[[Object], bool] = lambda _: True
    ) -> list[Object]:
        """Objects of a kind by name, ``which`` are asked for."""
        found = [
            (ref, obj) for ref, obj in self._of(kind) if namespace in ("", ref[2]) and which(obj)
        ]
        return [_copy(obj) for _, obj in sorted(found, key=lambda pair: pair[0])]

    def versions(self, kind: Kind, label: str = "") -> dict[tuple[str, str], str]:
        """Version by namespace and name of every object (that has the label)."""
        return {
            (where, name): obj["metadata"]["resourceVersion"]
            for (_, _, where, name), obj in self._of(kind)
            if not label or label in (obj["metadata"].get("labels") or {})
        }

    def _of(self, kind: Kind) -> Iterable[tuple[Ref, Object]]:
        wanted = (kind.group, kind.plural)
        return [(ref, obj) for ref, obj in self._objects.items() if ref[:2] == wanted]


@dataclass
class Objects(Reads):
    """All objects of the cluster.

    Attributes:
        collect_garbage: whether deleting an owner deletes what it owns.
        now: the server's clock, for creation and deletion timestamps.
    """

    collect_garbage: bool = True
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    version: int = 100
    compacted: int = 100
    history: list[Change] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    listeners: list[Callable[[Change], None]] = field(default_factory=list)
    _objects: dict[Ref, Object] = field(default_factory=dict)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _waiters: set[asyncio.Event] = field(default_factory=set)

    # -- history -----------------------------------------------------------------------------

    def since(self, version: int) -> Iterator[Change]:
        """Committed changes after a version; 410 when they are no longer kept."""
        if version < self.compacted:
            raise ApiError(410, "Expired", f"too old resource version: {version}")
        # Versions are dense, so the index is known.
        return iter(self.history[max(0, version - self.compacted) :])

    def compact(self) -> None:
        """Forget the history: a watch that asks for an older version gets 410."""
        self.history.clear()
        self.compacted = self.version

    def subscribe(self) -> asyncio.Event:
        """An event that is set at every change."""
        event = asyncio.Event()
        self._waiters.add(event)
        return event

    def unsubscribe(self, event: asyncio.Event) -> None:
        self._waiters.discard(event)

    # -- writing -----------------------------------------------------------------------------

    def create(self, kind: Kind, namespace: str, obj: Object, actor: str = "test") -> Object:
        obj = _copy(obj)
        meta = obj.setdefault("metadata", {})
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + uuid.uuid4().hex[:5]
        if not meta.get("name"):
            raise ApiError(422, "Invalid", "metadata.name: Required value")
        if kind.namespaced:
            if meta.setdefault("namespace", namespace) != namespace:
                raise ApiError(400, "BadRequest", "the namespace of the object does not match")
        else:
            meta.pop("namespace", None)
        ref = _ref(kind, namespace, meta["name"])
        if ref in self._objects:
            raise ApiError(409, "AlreadyExists", f'{kind.plural} "{meta["name"]}" already exists')
        if meta.get("resourceVersion"):
            raise ApiError(400, "BadRequest", "resourceVersion should not be set on create")
        if kind.status:
            obj.pop("status", None)
        if kind.kind == "ModelHandoff":
            obj["status"] = {"observedGeneration": -1}
        meta["uid"] = str(uuid.uuid4())
        meta["creationTimestamp"] = _stamp(self.now())
        meta["generation"] = 1
        meta.pop("deletionTimestamp", None)
        obj = {"apiVersion": kind.api_version, "kind": kind.kind, **obj}
        return self._commit(kind, "ADDED", None, obj, "create", "", actor)

    def replace(  # noqa: PLR0917
        self,
        kind: Kind,
        namespace: str,
        name: str,
        obj: Object,
        subresource: str = "",
        actor: str = "test",
    ) -> Object:
        current = self.get(kind, namespace, name)
        return self._update(kind, current, _copy(obj), "update", subresource, actor)

    def patch(  # noqa: PLR0917
        self,
        kind: Kind,
        namespace: str,
        name: str,
        body: Any,
        content_type: str = MERGE,
        subresource: str = "",
        actor: str = "test",
    ) -> Object:
        current = self.get(kind, namespace, name)
        wanted_version = None
        if content_type == JSON:
            try:
                changed = json_patch(current, body)
            except PatchError as error:
                raise ApiError(422, "Invalid", f"the patch cannot be applied: {error}") from error
        elif content_type == MERGE or (content_type == STRATEGIC and kind.group != OURS_GROUP):
            wanted_version = (body.get("metadata") or {}).get("resourceVersion")
            changed = _copy(merge(current, body))
        else:
            raise ApiError(415, "UnsupportedMediaType", f"cannot patch with {content_type}")
        if wanted_version is None:
            changed["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"]
        return self._update(kind, current, changed, "patch", subresource, actor)

    def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        options: Object | None = None,
        actor: str = "test",
    ) -> Object:
        options = options or {}
        current = self.get(kind, namespace, name)
        meta = current["metadata"]
        wanted = options.get("preconditions") or {}
        for key in ("uid", "resourceVersion"):
            if wanted.get(key) and wanted[key] != meta[key]:
                raise ApiError(409, "Conflict", f"precondition failed: {key} is {meta[key]}")
        policy = options.get("propagationPolicy") or "Background"
        finalizers = list(meta.get("finalizers") or [])
        if policy == "Foreground" and self._owned(meta["uid"]):
            finalizers = [*finalizers, FOREGROUND]
        if not finalizers:
            return self._remove(kind, current, actor, orphan=policy == "Orphan")
        if "deletionTimestamp" not in meta:
            meta["finalizers"] = finalizers
            meta["deletionTimestamp"] = _stamp(self.now())
            meta["generation"] += 1
            current = self._commit(
                kind, "MODIFIED", self.get(kind, namespace, name), current, "delete", "", actor
            )
        if FOREGROUND in finalizers:
            self._delete_owned(meta["uid"])
            self._finish_foreground(kind, namespace, name)
        return current

    # -- inside ------------------------------------------------------------------------------

    def _update(  # noqa: PLR0917
        self, kind: Kind, current: Object, changed: Object, verb: str, subresource: str, actor: str
    ) -> Object:
        meta, wanted = current["metadata"], changed.setdefault("metadata", {})
        version = wanted.get("resourceVersion")
        if version and version != meta["resourceVersion"]:
            raise ApiError(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on {kind.plural} "{meta["name"]}": '
                "the object has been modified",
            )
        if wanted.get("uid", meta["uid"]) != meta["uid"]:
            raise ApiError(409, "Conflict", "metadata.uid: the object is another one")
        if subresource == "status":
            updated = _copy(current)
            if "status" in changed:
                updated["status"] = changed["status"]
        elif subresource == "scale":
            updated = _copy(current)
            updated["spec"]["replicas"] = changed["spec"]["replicas"]
        else:
            updated = changed
            if kind.status:
                updated.pop("status", None)
                if "status" in current:
                    updated["status"] = current["status"]
            for key in ("uid", "name", "namespace", "creationTimestamp", "generation",
                        "deletionTimestamp"):  # fmt: skip
                wanted.pop(key, None)
                if key in meta:
                    wanted[key] = meta[key]
        updated["metadata"]["resourceVersion"] = meta["resourceVersion"]
        for key in ("labels", "annotations", "finalizers", "ownerReferences"):
            if not updated["metadata"].get(key):
                updated["metadata"].pop(key, None)
        if updated == current:
            return current  # a write that changes nothing moves no version
        if _content(updated) != _content(current):
            updated["metadata"]["generation"] = meta["generation"] + 1
        going = "deletionTimestamp" in meta and not updated["metadata"].get("finalizers")
        if going:
            return self._remove(kind, updated, actor)
        return self._commit(kind, "MODIFIED", current, updated, verb, subresource, actor)

    def _remove(self, kind: Kind, obj: Object, actor: str, *, orphan: bool = False) -> Object:
        before = self._objects.pop(_ref_of(kind, obj))
        removed = self._commit(kind, "DELETED", before, obj, "delete", "", actor)
        if not orphan:
            self._delete_owned(obj["metadata"]["uid"])
        for owner in obj["metadata"].get("ownerReferences") or []:
            for other in list(self._objects.values()):
                if other["metadata"]["uid"] == owner["uid"]:
                    self._finish_foreground(
                        kind_of(other),
                        other["metadata"].get("namespace", ""),
                        other["metadata"]["name"],
                    )
        return removed

    def _owned(self, uid: str) -> list[Object]:
        return [
            obj
            for obj in self._objects.values()
            if any(ref["uid"] == uid for ref in obj["metadata"].get("ownerReferences") or [])
        ]

    def _delete_owned(self, uid: str) -> None:
        if not self.collect_garbage:
            return
        for obj in self._owned(uid):
            meta = obj["metadata"]
            self.delete(kind_of(obj), meta.get("namespace", ""), meta["name"], actor="gc")

    def _finish_foreground(self, kind: Kind, namespace: str, name: str) -> None:
        found = self.find(kind, namespace, name)
        if found is None or FOREGROUND not in (found["metadata"].get("finalizers") or []):
            return
        if self.collect_garbage and self._owned(found["metadata"]["uid"]):
            return
        left = [text for text in found["metadata"]["finalizers"] if text != FOREGROUND]
        found["metadata"]["finalizers"] = left
        self.replace(kind, namespace, name, found, actor="gc")

    def _commit(  # noqa: PLR0917
        self,
        kind: Kind,
        change: str,
        before: Object | None,
        after: Object,
        verb: str,
        subresource: str,
        actor: str,
    ) -> Object:
        self.version += 1
        after["metadata"]["resourceVersion"] = str(self.version)
        stored = _copy(after)
        if change != "DELETED":
            self._objects[_ref_of(kind, after)] = stored
        committed = Change(self.version, change, kind, before, stored)
        self.history.append(committed)
        meta = stored["metadata"]
        self.writes.append(
            Write(
                self.version,
                verb,
                kind.kind,
                meta.get("namespace", ""),
                meta["name"],
                subresource,
                actor,
                stored,
            )
        )
        for event in self._waiters:
            event.set()
        for listener in list(self.listeners):
            listener(committed)
        return _copy(after)


OURS_GROUP = "modelhandoff.dev"


def _copy(obj: Any) -> Any:
    # Plain data only, and a third of all time would go into copy.deepcopy.
    return marshal.loads(marshal.dumps(obj))


def _content(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


def _ref(kind: Kind, namespace: str, name: str) -> Ref:
    return kind.group, kind.plural, namespace if kind.namespaced else "", name


def _ref_of(kind: Kind, obj: Object) -> Ref:
    meta = obj["metadata"]
    return _ref(kind, meta.get("namespace", ""), meta["name"])


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
