"""Which requests a route takes, and which other routes take the same ones. Pure.

Two routes on one listener with the same host and the same plain match are merged by the gateway
in favour of the older one: the younger's weights are silently without effect. A more specific
host or match is no conflict; it is how people carve out paths.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.cluster.store import EVERY_HOST
from modelhandoff.traffic.manifest import GATEWAY_GROUP


@dataclass(frozen=True, slots=True)
class Listener:
    """Where a route attaches; no ``section`` and no ``port`` mean every one that allows it."""

    namespace: str
    gateway: str
    section: str | None = None
    port: int | None = None

    def meets(self, other: Listener) -> bool:
        """Whether one listener may be part of both."""
        return (
            (self.namespace, self.gateway) == (other.namespace, other.gateway)
            and _either_open(self.section, other.section)
            and _either_open(self.port, other.port)
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """Requests that a route takes: by host and by path, with no further condition."""

    host: str
    path_type: str
    path: str


def conflicts(
    spec: ModelHandoffSpec, namespace: str, own: str, routes: Iterable[Mapping[str, Any]]
) -> tuple[str, ...]:
    """``namespace/name`` of routes other than ``namespace/own`` that take the same requests."""
    listener, claims = wanted(spec, namespace)
    found = set()
    for raw in routes:
        meta = raw["metadata"]
        where, name = meta.get("namespace") or "", meta["name"]
        if (where, name) == (namespace, own) or meta.get("deletionTimestamp"):
            continue
        meets = any(listener.meets(theirs) for theirs in _listeners(raw))
        if meets and claims & set(_claims(raw)):
            found.add(f"{where}/{name}")
    return tuple(sorted(found))


def wanted(spec: ModelHandoffSpec, namespace: str) -> tuple[Listener, frozenset[Claim]]:
    """What a handoff's own route would take."""
    route = spec.rollout.route
    listener = Listener(
        route.gateway.namespace or namespace, route.gateway.name, route.gateway.section_name
    )
    paths = [(str(match.path.type), match.path.value) for match in route.matches]
    return listener, frozenset(
        Claim(host, kind, _plain(kind, value))
        for host in route.hostnames or (EVERY_HOST,)
        for kind, value in paths
    )


def _listeners(raw: Mapping[str, Any]) -> Iterator[Listener]:
    own = raw["metadata"].get("namespace") or ""
    for ref in (raw.get("spec") or {}).get("parentRefs") or ():
        if (ref.get("group", GATEWAY_GROUP), ref.get("kind", "Gateway")) == (
            GATEWAY_GROUP,
            "Gateway",
        ):
            yield Listener(
                ref.get("namespace") or own,
                ref.get("name", ""),
                ref.get("sectionName"),
                ref.get("port"),
            )


def _claims(raw: Mapping[str, Any]) -> Iterator[Claim]:
    spec = raw.get("spec") or {}
    rules: list[Mapping[str, Any]] = spec.get("rules") or [{}]
    for rule in rules:
        matches: list[Mapping[str, Any]] = rule.get("matches") or [{}]
        for match in matches:
            if match.get("headers") or match.get("queryParams") or match.get("method"):
                continue  # More specific than any match of a handoff.
            path = match.get("path") or {}
            kind = path.get("type", "PathPrefix")
            value = _plain(kind, path.get("value", "/"))
            for host in spec.get("hostnames") or (EVERY_HOST,):
                yield Claim(host, kind, value)


def _plain(kind: str, value: str) -> str:
    """A prefix compares whole path elements, so a slash at its end means nothing."""
    return value.rstrip("/") if kind == "PathPrefix" else value


def _either_open(one: object, other: object) -> bool:
    return one is None or other is None or one == other
