"""What the request log of the API server says about the operator."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from e2e.bench.place import USER
from e2e.cluster import ControlPlane

WRITES = frozenset({"create", "update", "patch", "delete"})

Raw = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One completed request of the operator; ``at`` is when it came in, Unix seconds."""

    at: float
    verb: str
    resource: str
    name: str
    code: int
    body: Raw

    @property
    def write(self) -> bool:
        return self.verb in WRITES

    @property
    def kind(self) -> str:
        return f"{self.verb} {self.resource}"


def requests(plane: ControlPlane, since: int) -> list[Request]:
    """All requests of the operator after an offset of the log, the lease aside."""
    found = []
    with open(plane.audit_log, "rb") as log:
        log.seek(since)
        whole = log.read().rpartition(b"\n")[0]
    for line in whole.splitlines():
        if USER.encode() not in line:
            continue
        event = json.loads(line)
        target = event.get("objectRef") or {}
        if event["user"]["username"] != USER or target.get("resource") == "leases":
            continue
        if event["stage"] == "ResponseStarted":
            continue  # A watch, which counts when it ends.
        resource = target.get("resource", event["requestURI"])
        if target.get("subresource"):
            resource += "/" + target["subresource"]
        found.append(
            Request(
                at=_seconds(event["requestReceivedTimestamp"]),
                verb=event["verb"],
                resource=resource,
                name=target.get("name") or _name(event),
                code=event["responseStatus"]["code"],
                body=event.get("requestObject") or {},
            )
        )
    return found


def pods_created(plane: ControlPlane, since: int) -> list[tuple[float, str]]:
    """When the ReplicaSet controller created each pod: (Unix seconds, generated name)."""
    return [
        (
            _seconds(event["requestReceivedTimestamp"]),
            str(((event.get("responseObject") or {}).get("metadata") or {}).get("name", "")),
        )
        for event in plane.audit_events(since)
        if event["verb"] == "create"
        and (event.get("objectRef") or {}).get("resource") == "pods"
        and not (event.get("objectRef") or {}).get("subresource")
        and "replicaset-controller" in event["user"]["username"]
    ]


def by_kind(found: list[Request]) -> Counter[str]:
    """Number of requests by verb and resource."""
    return Counter(one.kind for one in found)


def _name(event: Raw) -> str:
    return str((((event.get("requestObject") or {}).get("metadata")) or {}).get("name", ""))


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
