"""An API server on loopback, as small as ``kubectl handoff`` needs: read, merge, review, watch."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from modelhandoff.cluster.kinds import KINDS, Kind

Raw = dict[str, Any]
_GATEWAY = Kind("gateway.networking.k8s.io", "v1", "gateways", "Gateway")
_CRD = Kind(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    namespaced=False,
)
_ADMISSION = Kind(
    "admissionregistration.k8s.io",
    "v1",
    "validatingadmissionpolicies",
    "ValidatingAdmissionPolicy",
    namespaced=False,
)
_ALL = {**KINDS, _ADMISSION.plural: _ADMISSION, _GATEWAY.plural: _GATEWAY, _CRD.plural: _CRD}
TOKEN = "a-token"


@dataclass
class Loopback:
    """Objects by path.

    Attributes:
        kinds: what is served; take one away and the cluster lacks that CRD.
        refused: ``(method, beginning of the path)`` -> status and message.
        allowed: what a SelfSubjectAccessReview answers for ``verb plural``.
        user: who the API server takes the caller for.
        raw: answers to paths outside the objects.
        writes: method, path and body of every write, oldest first.
        after_write: called after each write, to play the operator.
    """

    kinds: dict[str, Kind] = field(default_factory=lambda: dict(_ALL))
    objects: dict[str, Raw] = field(default_factory=dict)
    refused: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    allowed: Callable[[str, str], bool] = lambda verb, plural: True
    user: str = "ana"
    raw: dict[str, Raw] = field(default_factory=lambda: {"/version": {"gitVersion": "v1.37.0"}})
    writes: list[tuple[str, str, Raw]] = field(default_factory=list)
    after_write: Callable[[str], None] = lambda path: None
    page: int = 1000
    url: str = ""
    version: int = 100
    changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, plural: str, thing: Raw) -> Raw:
        """Put an object there, or replace it."""
        kind = self.kinds[plural]
        meta = thing["metadata"]
        meta.setdefault("uid", f"uid-{meta['name']}")
        with self.changed:
            self.version += 1
            meta["resourceVersion"] = str(self.version)
            thing = {"apiVersion": kind.api_version, "kind": kind.name, **thing}
            self.objects[kind.path(meta.get("namespace"), meta["name"])] = thing
            self.changed.notify_all()
        return thing

    def remove(self, plural: str, namespace: str, name: str) -> None:
        """Delete an object."""
        with self.changed:
            del self.objects[self.kinds[plural].path(namespace, name)]
            self.changed.notify_all()

    def find(self, plural: str, namespace: str, name: str) -> Raw:
        """An object as it is stored."""
        return self.objects[self.kinds[plural].path(namespace, name)]


@contextlib.contextmanager
def loopback() -> Iterator[Loopback]:
    """One server for the length of the block."""
    state = Loopback()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            self._answer("GET")

        def do_PATCH(self) -> None:
            self._answer("PATCH")

        def do_POST(self) -> None:
            self._answer("POST")

        def _answer(self, method: str) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            address = urlsplit(self.path)
            query = dict(parse_qsl(address.query))
            if query.get("watch") == "true":
                _watch(state, self, address.path, query)
                return
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                status, answer = _status(401, "Unauthorized")
            else:
                status, answer = _serve(state, method, address.path, query, body)
            data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            if method == "POST" and status == 201 and "name" in answer.get("metadata", {}):
                place = f"{address.path}/{answer['metadata']['name']}"
                state.writes.append(("POST", address.path, body))
                state.after_write(place)
            if method == "PATCH" and status == 200:
                state.after_write(address.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _serve(
    state: Loopback, method: str, path: str, query: dict[str, str], body: Raw
) -> tuple[int, Raw | str]:
    for (refused, start), (status, message) in state.refused.items():
        if refused == method and path.startswith(start):
            return _status(status, message)
    if path in state.raw:
        return 200, state.raw[path]
    if path.endswith("/selfsubjectaccessreviews"):
        asked = body["spec"]["resourceAttributes"]
        allowed = state.allowed(asked["verb"], asked["resource"])
        return 201, {**body, "status": {"allowed": allowed}}
    if path.endswith("/selfsubjectreviews"):
        return 201, {**body, "status": {"userInfo": {"username": state.user}}}
    if path in state.objects and _known(state, path):
        if method == "PATCH":
            return _patch(state, path, body)
        return 200, state.objects[path]
    plural = next((p for p in path.split("/") if p in state.kinds), None)
    if plural is None:
        return 404, "404 page not found\n"
    if method == "POST" and path.endswith(f"/{plural}"):
        meta = body["metadata"]
        name = meta.get("name") or f"{meta['generateName']}x{state.version}"
        made = {**body, "metadata": {**meta, "name": name, "generation": 1}}
        return 201, state.add(plural, made)
    if path.endswith(f"/{plural}"):
        return 200, _list(state, plural, path, query)
    name = path.rsplit("/", 1)[-1]
    status, answer = _status(404, f'{plural} "{name}" not found')
    answer["details"] = {"name": name, "kind": plural}
    return status, answer


def _known(state: Loopback, path: str) -> bool:
    return any(f"/{plural}/" in path for plural in state.kinds)


def _list(state: Loopback, plural: str, path: str, query: dict[str, str]) -> Raw:
    wanted = dict(part.split("=") for part in query.get("labelSelector", "").split(",") if part)
    everywhere = state.kinds[plural].path(None)
    found = []
    for place, thing in sorted(state.objects.items()):
        inside = place.startswith(f"{path}/") or (path == everywhere and f"/{plural}/" in place)
        labels = thing["metadata"].get("labels") or {}
        if inside and wanted.items() <= labels.items():
            found.append({k: v for k, v in thing.items() if k not in ("apiVersion", "kind")})
    start = int(query.get("continue", "0"))
    limit = min(int(query.get("limit", "500")), state.page)
    more = str(start + limit) if start + limit < len(found) else ""
    return {"items": found[start : start + limit], "metadata": {"continue": more}}


def _patch(state: Loopback, path: str, change: Raw) -> tuple[int, Raw]:
    thing = state.objects[path]
    for key in ("uid", "resourceVersion"):
        wanted = change.get("metadata", {}).get(key)
        if wanted and wanted != thing["metadata"][key]:
            return _status(409, "the object has been modified")
    state.writes.append(("PATCH", path, change))
    with state.changed:
        state.version += 1
        merged = _merged(thing, change)
        merged["metadata"]["resourceVersion"] = str(state.version)
        state.objects[path] = merged
        state.changed.notify_all()
    return 200, merged


def _merged(thing: Any, change: Any) -> Any:
    if not isinstance(change, dict) or not isinstance(thing, dict):
        return change
    merged = {**thing, **{k: _merged(thing.get(k), v) for k, v in change.items()}}
    return {k: v for k, v in merged.items() if v is not None}


def _watch(state: Loopback, handler: Any, path: str, query: dict[str, str]) -> None:
    name = query["fieldSelector"].partition("=")[2]
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    deadline = time.monotonic() + float(query["timeoutSeconds"])
    seen: Raw | None = None
    while time.monotonic() < deadline:
        with state.changed:
            now = state.objects.get(f"{path}/{name}")
            if now is seen:
                state.changed.wait(0.05)
                continue
        kind = "DELETED" if now is None else "ADDED" if seen is None else "MODIFIED"
        event = {"type": kind, "object": now or seen}
        seen = now
        try:
            _chunk(handler, json.dumps(event).encode() + b"\n")
        except OSError:
            return
    _chunk(handler, b"")


def _chunk(handler: Any, data: bytes) -> None:
    handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
    handler.wfile.flush()


def _status(code: int, message: str) -> tuple[int, Raw]:
    return code, {"kind": "Status", "apiVersion": "v1", "message": message, "code": code}
