"""The watch cache: the newest known state of every object a decision may need.

Filled by watch events and by the answers to our own writes, so that a pass sees what the pass
before it wrote. Everything runs in one event loop: no locks, no awaits in between.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar, cast

from modelhandoff.api import names
from modelhandoff.cluster.kinds import (
    APPROVAL,
    ATTEMPT,
    DEPLOYMENT,
    HANDOFF,
    HTTPROUTE,
    OPTIONAL,
    POLICY,
    SERVICE,
    WATCHED,
    Kind,
)
from modelhandoff.cluster.slim import slim

Raw = dict[str, Any]

T = TypeVar("T")

DEFAULT_POLICY = "default"
EVERY_HOST = "*"
"""Stands for the host names of a route that names none."""
MAX_TOMBSTONES = 4096
HELD = frozenset((*WATCHED, *OPTIONAL))
"""Kinds that are remembered. Of any other nobody would hear that an object is gone."""


class HandoffKey(NamedTuple):
    """A handoff by namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class ObjectKey(NamedTuple):
    """An object of one kind; ``namespace`` is "" for cluster-scoped kinds."""

    namespace: str
    name: str


@dataclass(slots=True)
class _Shelf:
    """All objects of one kind, and which handoff each belongs to."""

    objects: dict[ObjectKey, Raw] = field(default_factory=dict)
    by_handoff: dict[HandoffKey, dict[ObjectKey, None]] = field(
        default_factory=lambda: defaultdict(dict)
    )


class Store:
    """The newest known state of the watched kinds, with the indexes that a pass needs."""

    def __init__(self) -> None:
        self._shelves: dict[str, _Shelf] = defaultdict(_Shelf)
        self._adopted: dict[ObjectKey, set[HandoffKey]] = defaultdict(set)
        self._policies: dict[str, set[HandoffKey]] = defaultdict(set)
        self._gateways: dict[ObjectKey, set[HandoffKey]] = defaultdict(set)
        self._hosts: dict[str, dict[ObjectKey, None]] = defaultdict(dict)
        self._memos: dict[HandoffKey, tuple[tuple[object, ...], Any]] = {}
        self._tombstones: dict[str, None] = {}

    # Writing

    def apply(self, kind: Kind, event_type: str | None, obj: Mapping[str, Any]) -> set[HandoffKey]:
        """Take in one watch event (``ADDED``, ``MODIFIED``, ``DELETED``, ``None`` = listed).

        Returns:
            The handoffs whose decision may change; empty when the event was older than what is
            known, or of no handoff's concern.
        """
        if event_type == "DELETED":
            return self._forget(kind, obj)
        return self.upsert(kind, obj)

    def upsert(self, kind: Kind, obj: Mapping[str, Any]) -> set[HandoffKey]:
        """Take in an object as an answer of the API server, unless something newer is known.

        Never brings back a deleted object (by uid), never replaces a newer resourceVersion by an
        older one, and remembers nothing that is not watched.
        """
        if kind not in HELD:
            return set()
        meta = obj["metadata"]
        key = _key(obj)
        if meta.get("uid") in self._tombstones:
            return set()
        shelf = self._shelves[kind.plural]
        known = shelf.objects.get(key)
        if known is not None and not _newer(meta, known["metadata"]):
            return set()
        touched = self._remove(kind, key) if known is not None else set()
        shelf.objects[key] = slim(kind, obj)
        touched |= self._index(kind, key)
        if kind is HTTPROUTE and (known is None or _claims(known) != _claims(obj)):
            touched |= self._competitors(known) | self._competitors(obj)
        return touched

    def forget(self, kind: Kind, namespace: str, name: str, uid: str = "") -> set[HandoffKey]:
        """Take out an object that the API server said is gone."""
        known = self.get(kind, namespace, name)
        if known is None or (uid and known["metadata"].get("uid") != uid):
            return set()
        return self._forget(kind, known)

    def replace(
        self,
        kind: Kind,
        listed: Iterable[Mapping[str, Any]],
        resource_version: str,
        namespace: str | None = None,
    ) -> set[HandoffKey]:
        """Take in a complete listing of a kind (of one namespace): what is not in it is gone.

        A watch that was interrupted loses deletions; this finds them. An object that is newer
        than the listing's ``resource_version`` was made after it, and stays.
        """
        touched: set[HandoffKey] = set()
        present: set[ObjectKey] = set()
        for obj in listed:
            present.add(_key(obj))
            touched |= self.upsert(kind, obj)
        at = {"resourceVersion": resource_version}
        for key, known in list(self._shelves[kind.plural].objects.items()):
            inside = namespace is None or key.namespace == namespace
            if inside and key not in present and not _newer(known["metadata"], at):
                touched |= self._forget(kind, known)
        return touched

    # Reading

    def get(self, kind: Kind, namespace: str, name: str) -> Raw | None:
        """One object, slimmed; not to be changed by the reader."""
        return self._shelves[kind.plural].objects.get(ObjectKey(namespace, name))

    def of(self, kind: Kind, key: HandoffKey) -> Iterator[Raw]:
        """Objects of one kind that belong to the handoff, by name."""
        shelf = self._shelves[kind.plural]
        for found in sorted(shelf.by_handoff.get(key, ())):
            yield shelf.objects[found]

    def all(self, kind: Kind) -> Iterable[Raw]:
        """Every object of one kind."""
        return self._shelves[kind.plural].objects.values()

    def handoffs(self) -> tuple[HandoffKey, ...]:
        """All handoffs, by name."""
        return tuple(sorted(HandoffKey(*key) for key in self._shelves[HANDOFF.plural].objects))

    def routes(self, hosts: Iterable[str]) -> Iterator[Raw]:
        """HTTPRoutes that name one of the hosts, or none at all where one of them is ``*``."""
        found = {key: None for host in hosts for key in self._hosts.get(host, ())}
        for key in found:
            yield self._shelves[HTTPROUTE.plural].objects[key]

    def memo(self, key: HandoffKey, stamp: tuple[object, ...], make: Callable[[], T]) -> T:
        """What ``make`` made for a handoff when it last had this stamp; forgotten with it."""
        known = self._memos.get(key)
        if known is not None and known[0] == stamp:
            return cast("T", known[1])
        made = make()
        self._memos[key] = (stamp, made)
        return made

    def count(self, kind: Kind) -> int:
        """How many objects of a kind are held."""
        return len(self._shelves[kind.plural].objects)

    # Indexes

    def _index(self, kind: Kind, key: ObjectKey) -> set[HandoffKey]:
        owner = self._owner(kind, key)
        if owner is not None:
            self._shelves[kind.plural].by_handoff[owner][key] = None
        if kind is HANDOFF:
            for index, what in self._references(key):
                index[what].add(HandoffKey(*key))
        elif kind is HTTPROUTE:
            for host in _hosts(self._shelves[kind.plural].objects[key]):
                self._hosts[host][key] = None
        return self._affected(kind, key, owner)

    def _remove(self, kind: Kind, key: ObjectKey) -> set[HandoffKey]:
        owner = self._owner(kind, key)
        touched = self._affected(kind, key, owner)
        shelf = self._shelves[kind.plural]
        if owner is not None and owner in shelf.by_handoff:
            shelf.by_handoff[owner].pop(key, None)
            if not shelf.by_handoff[owner]:
                del shelf.by_handoff[owner]
        if kind is HANDOFF:
            for index, what in self._references(key):
                index[what].discard(HandoffKey(*key))
                if not index[what]:
                    del index[what]
        elif kind is HTTPROUTE:
            for host in _hosts(shelf.objects[key]):
                self._hosts[host].pop(key, None)
                if not self._hosts[host]:
                    del self._hosts[host]
        del shelf.objects[key]
        return touched

    def _forget(self, kind: Kind, obj: Mapping[str, Any]) -> set[HandoffKey]:
        uid = obj["metadata"].get("uid")
        if uid:
            self._tombstones[uid] = None
            while len(self._tombstones) > MAX_TOMBSTONES:
                del self._tombstones[next(iter(self._tombstones))]
        key = _key(obj)
        known = self._shelves[kind.plural].objects.get(key)
        if known is None or known["metadata"].get("uid") != uid:
            return set()
        touched = self._remove(kind, key)
        if kind is HANDOFF:
            self._memos.pop(HandoffKey(*key), None)
        return touched | self._competitors(known) if kind is HTTPROUTE else touched

    def _competitors(self, route: Mapping[str, Any] | None) -> set[HandoffKey]:
        """The handoffs that share a gateway with a route: it may take their requests."""
        if route is None:
            return set()
        own = route["metadata"].get("namespace") or ""
        return {
            handoff
            for parent in (route.get("spec") or {}).get("parentRefs") or ()
            for handoff in self._gateways.get(
                ObjectKey(parent.get("namespace") or own, parent.get("name") or ""), ()
            )
        }

    def _references(self, key: ObjectKey) -> Iterator[tuple[dict[Any, set[HandoffKey]], Any]]:
        """What a handoff's spec names: the index, and the entry in it. The spec is unchecked."""
        spec = self._shelves[HANDOFF.plural].objects[key].get("spec")
        adopted = _text(spec, "baseline", "workloadRef", "name")
        if adopted:
            yield self._adopted, ObjectKey(key.namespace, adopted)
        yield self._policies, _text(spec, "policyRef", "name") or DEFAULT_POLICY
        gateway = _text(spec, "rollout", "route", "gateway", "name")
        if gateway:
            where = _text(spec, "rollout", "route", "gateway", "namespace") or key.namespace
            yield self._gateways, ObjectKey(where, gateway)

    def _owner(self, kind: Kind, key: ObjectKey) -> HandoffKey | None:
        """The handoff an object belongs to: by its label; our kinds by what they name."""
        if kind is HANDOFF:
            return HandoffKey(*key)
        raw = self._shelves[kind.plural].objects[key]
        if kind in (APPROVAL, ATTEMPT):
            # Specs are frozen; a label is anybody's who may edit the object.
            named = _text(raw.get("spec"), "handoffRef", "name")
            return HandoffKey(key.namespace, named) if named else None
        name = (raw["metadata"].get("labels") or {}).get(names.LABEL_HANDOFF)
        return HandoffKey(key.namespace, name) if name else None

    def _affected(self, kind: Kind, key: ObjectKey, owner: HandoffKey | None) -> set[HandoffKey]:
        touched = {owner} if owner is not None else set()
        if kind is DEPLOYMENT:
            touched |= self._adopted.get(key, set())
        elif kind is SERVICE:
            # A foreign Service under a name that a handoff would use.
            touched |= self._known(HandoffKey(*key))
        elif kind is POLICY:
            touched |= self._policies.get(key.name, set())
        return touched

    def _known(self, key: HandoffKey) -> set[HandoffKey]:
        here = ObjectKey(*key) in self._shelves[HANDOFF.plural].objects
        return {key} if here else set()


def _key(obj: Mapping[str, Any]) -> ObjectKey:
    meta = obj["metadata"]
    return ObjectKey(meta.get("namespace") or "", meta["name"])


def _newer(offered: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Whether ``offered`` may replace ``known``: a higher resourceVersion.

    Kubernetes documents the versions of one resource type as comparable decimal integers since
    1.35, and they always were. They compare across incarnations of one name, too: the older one
    has the lower version. Where one is no number, anything that differs counts as newer.
    """
    new, old = str(offered.get("resourceVersion", "")), str(known.get("resourceVersion", ""))
    if new.isascii() and new.isdigit() and old.isascii() and old.isdigit():
        return int(new) > int(old)
    return new != old


def _text(tree: Any, *path: str) -> str:
    """A string deep in unchecked input, or ""."""
    for step in path:
        if not isinstance(tree, Mapping):
            return ""
        tree = tree.get(step)
    return tree if isinstance(tree, str) else ""


def _hosts(route: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((route.get("spec") or {}).get("hostnames") or (EVERY_HOST,)))


def _claims(route: Mapping[str, Any]) -> tuple[Any, ...]:
    """Which requests a route takes: all that its competitors need to know of it."""
    spec = route.get("spec") or {}
    matches = [rule.get("matches") for rule in spec.get("rules") or ()]
    return spec.get("parentRefs"), spec.get("hostnames"), matches
