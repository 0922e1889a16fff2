"""The objects over HTTP, as a Kubernetes client expects them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Callable
from typing import Any

from aiohttp import web

from .faults import Effect, Fault, Faults, Request
from .kinds import BY_PLURAL, KINDS, Kind
from .objects import MERGE, ApiError, Change, Object, Objects

PATH = re.compile(
    r"^/(?:api|apis/(?P<group>[^/]+))/(?P<version>[^/]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/[^/]+))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<sub>[^/]+))?)?$"
)
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Server:
    """One API server on a loopback port of its own.

    Attributes:
        url: its base address once started.
        bookmark_seconds: how often an idle watch gets a bookmark.
        logs: of pods, by namespace and name.
    """

    def __init__(self, objects: Objects | None = None, *, bookmark_seconds: float = 60.0) -> None:
        self.objects = objects or Objects()
        self.faults = Faults()
        self.bookmark_seconds = bookmark_seconds
        self.url = ""
        self.logs: dict[tuple[str, str], bytes] = {}
        self.hold_watches = asyncio.Event()
        self.hold_watches.set()
        self._watchers: dict[int, _Watcher] = {}
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.05, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        self.drop_watches()
        if self._runner is not None:
            await self._runner.cleanup()

    def drop_watches(self) -> None:
        """Cut every watch connection."""
        for watcher in list(self._watchers.values()):
            watcher.closed.set()

    def expire_watches(self) -> None:
        """Tell every watcher that its version is too old (410) and forget the history."""
        self.objects.compact()
        for watcher in list(self._watchers.values()):
            watcher.expired = True
            watcher.wake.set()

    @property
    def delivered(self) -> bool:
        """Whether every watcher has been sent every change."""
        return all(w.version >= self.objects.version for w in self._watchers.values())

    def watching(self, plural: str) -> int:
        """How many watches are open on a kind."""
        return sum(w.kind.plural == plural for w in self._watchers.values())

    # -- one request -------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        found = _discovery(request.path)
        if found is not None:
            return web.json_response(found)
        try:
            return await self._resource(request)
        except ApiError as error:
            return failure(error)

    async def _resource(self, request: web.Request) -> web.StreamResponse:
        match = PATH.match(request.path)
        kind = match and BY_PLURAL.get((match["group"] or "", match["plural"]))
        if not match or kind is None or kind.version != match["version"]:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        namespace, name, sub = match["namespace"] or "", match["name"] or "", match["sub"] or ""
        watch = request.query.get("watch") in ("1", "true")
        verb = VERBS.get(request.method) or ("watch" if watch else "get" if name else "list")
        body = await _body(request)
        actor = request.headers.get("User-Agent", "")
        asked = Request(verb, kind.plural, namespace, name, sub, actor, body)
        fault = self.faults.hit(asked)
        if fault is not None:
            await self._before(fault, request)
        if verb == "watch":
            return await self._watch(request, kind, namespace)
        if verb == "get" and (kind.plural, sub) == ("pods", "log"):
            return self._log(namespace, name, int(request.query["limitBytes"]))
        answer = self._serve(verb, kind, namespace, name, sub, request, body, asked)
        if fault is not None and fault.effect is Effect.CUT:
            _cut(request)
        return web.json_response(answer, status=201 if verb == "create" else 200)

    def _log(self, namespace: str, name: str, limit: int) -> web.Response:
        self.objects.get(BY_PLURAL["", "pods"], namespace, name)
        found = self.logs.get((namespace, name))
        if found is None:
            raise ApiError(400, "BadRequest", "container is waiting to start")
        return web.Response(body=found[:limit], content_type="text/plain")

    async def _before(self, fault: Fault, request: web.Request) -> None:
        match fault.effect:
            case Effect.DELAY:
                await asyncio.sleep(fault.seconds)
            case Effect.DROP:
                _cut(request)
            case Effect.STATUS:
                raise injected(fault)
            case Effect.CUT:
                pass

    def _serve(  # noqa: PLR0917
        self,
        verb: str,
        kind: Kind,
        namespace: str,
        name: str,
        sub: str,
        request: web.Request,
        body: Any,
        asked: Request,
    ) -> Object:
        objects = self.objects
        match verb:
            case "list":
                matches = _selector(request)
                return {
                    "apiVersion": kind.api_version,
                    "kind": f"{kind.kind}List",
                    "metadata": {"resourceVersion": str(objects.version)},
                    "items": [obj for obj in objects.list(kind, namespace) if matches(obj)],
                }
            case "get":
                return objects.get(kind, namespace, name)
            case "create":
                return objects.create(kind, namespace, body, asked.actor)
            case "update":
                return objects.replace(kind, namespace, name, body, sub, asked.actor)
            case "patch":
                content = request.content_type or MERGE
                return objects.patch(kind, namespace, name, body, content, sub, asked.actor)
            case "delete":
                return objects.delete(kind, namespace, name, body, asked.actor)
        raise ApiError(405, "MethodNotAllowed", verb)

    # -- watching ----------------------------------------------------------------------------

    async def _watch(self, request: web.Request, kind: Kind, namespace: str) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_type = "application/json"
        response.enable_chunked_encoding()
        await response.prepare(request)
        watcher = _Watcher(kind, int(request.query.get("resourceVersion") or self.objects.version))
        watcher.wake = self.objects.subscribe()
        self._watchers[id(watcher)] = watcher
        seconds = float(request.query.get("timeoutSeconds") or 1800)
        try:
            async with asyncio.timeout(seconds):
                await self._stream(response, watcher, namespace, _selector(request))
        except TimeoutError:
            pass
        except (ConnectionResetError, asyncio.CancelledError):
            pass
        finally:
            self.objects.unsubscribe(watcher.wake)
            self._watchers.pop(id(watcher), None)
        with contextlib.suppress(ConnectionResetError):
            await response.write_eof()
        return response

    async def _stream(
        self,
        response: web.StreamResponse,
        watcher: _Watcher,
        namespace: str,
        matches: Callable[[Object], bool],
    ) -> None:
        while not watcher.closed.is_set():
            watcher.wake.clear()
            try:
                if watcher.expired:
                    raise ApiError(410, "Expired", "too old resource version")
                changes = list(self.objects.since(watcher.version))
            except ApiError as error:
                await response.write(_line("ERROR", error.status()))
                return
            await self.hold_watches.wait()
            if watcher.expired:
                continue  # What was held is lost.
            for change in changes:
                event = _seen(change, watcher.kind, namespace, matches)
                if event is not None:
                    await response.write(event)
                watcher.version = change.version
            if changes:
                continue
            if not await _either(watcher.wake, watcher.closed, self.bookmark_seconds):
                bookmark = {
                    "apiVersion": watcher.kind.api_version,
                    "kind": watcher.kind.kind,
                    "metadata": {"resourceVersion": str(watcher.version)},
                }
                await response.write(_line("BOOKMARK", bookmark))


class _Watcher:
    def __init__(self, kind: Kind, version: int) -> None:
        self.kind = kind
        self.version = version
        self.expired = False
        self.wake = asyncio.Event()
        self.closed = asyncio.Event()


class _Answer(ApiError):
    def __init__(self, error: ApiError, headers: dict[str, str]) -> None:
        super().__init__(error.code, error.reason, str(error))
        self.headers = headers


_REASONS = {403: "Forbidden", 409: "Conflict", 410: "Expired", 429: "TooManyRequests"}


async def _either(first: asyncio.Event, second: asyncio.Event, seconds: float) -> bool:
    """Wait for one of two events; False when neither came in time."""
    tasks = [asyncio.ensure_future(event.wait()) for event in (first, second)]
    try:
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for task in tasks:
            task.cancel()


def _seen(
    change: Change, kind: Kind, namespace: str, matches: Callable[[Object], bool]
) -> bytes | None:
    """The change as this watcher sees it: an object that stops matching is a deletion."""
    after = change.after
    if change.kind != kind or namespace not in ("", after["metadata"].get("namespace", "")):
        return None
    now = change.type != "DELETED" and matches(after)
    before = change.before is not None and matches(change.before)
    if not now and not before:
        return None
    return _line("DELETED" if not now else "MODIFIED" if before else "ADDED", after)


def _line(event: str, obj: Object) -> bytes:
    return json.dumps({"type": event, "object": obj}).encode() + b"\n"


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
    raise asyncio.CancelledError


def injected(fault: Fault) -> ApiError:
    """The answer of a fault that answers."""
    error = ApiError(fault.status, _REASONS.get(fault.status, ""), "injected fault")
    headers = {}
    if fault.retry_after is not None:
        headers["Retry-After"] = str(fault.retry_after)
    return _Answer(error, headers)


def failure(error: ApiError) -> web.Response:
    headers = error.headers if isinstance(error, _Answer) else {}
    return web.json_response(error.status(), status=error.code, headers=headers)


async def _body(request: web.Request) -> Any:
    text = await request.text()
    return json.loads(text) if text else None


def _selector(request: web.Request) -> Callable[[Object], bool]:
    labels = [_requirement(text) for text in _split(request.query.get("labelSelector", ""))]
    fields = [
        text.replace("==", "=").split("=", 1)
        for text in _split(request.query.get("fieldSelector", ""))
    ]

    def matches(obj: Object) -> bool:
        found = obj["metadata"].get("labels") or {}
        return all(holds(found) for holds in labels) and all(
            str(_field(obj, path)) == value for path, value in fields
        )

    return matches


def _split(text: str) -> list[str]:
    # Commas inside "in (a,b)" do not separate.
    return [part.strip() for part in re.split(r",(?![^()]*\))", text) if part.strip()]


def _requirement(text: str) -> Callable[[dict[str, str]], bool]:
    if match := re.match(r"^(\S+) (in|notin) \((.*)\)$", text):
        key, how, values = match[1], match[2], {v.strip() for v in match[3].split(",")}
        return lambda labels: (labels.get(key) in values) == (how == "in")
    if "!=" in text:
        key, value = text.split("!=", 1)
        return lambda labels: labels.get(key) != value
    if "=" in text:
        key, value = text.replace("==", "=").split("=", 1)
        return lambda labels: labels.get(key) == value
    if text.startswith("!"):
        return lambda labels: text[1:] not in labels
    return lambda labels: text in labels


def _field(obj: Object, path: str) -> Any:
    node: Any = obj
    for part in path.split("."):
        node = node.get(part, "") if isinstance(node, dict) else ""
    return node


def _discovery(path: str) -> Object | None:
    if path == "/version":
        return {"major": "1", "minor": "37", "gitVersion": "v1.37.0-fake"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        groups = sorted({(kind.group, kind.version) for kind in KINDS if kind.group})
        return {
            "kind": "APIGroupList",
            "groups": [
                {
                    "name": group,
                    "versions": [{"groupVersion": f"{group}/{version}", "version": version}],
                    "preferredVersion": {
                        "groupVersion": f"{group}/{version}",
                        "version": version,
                    },
                }
                for group, version in groups
            ],
        }
    served = [kind for kind in KINDS if kind.prefix == path]
    if not served:
        return None
    resources: list[Object] = []
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    for kind in served:
        entry = {
            "name": kind.plural,
            "singularName": kind.kind.lower(),
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": verbs,
            "shortNames": list(kind.short),
        }
        resources.append(entry)
        if kind.status:
            resources.append({**entry, "name": f"{kind.plural}/status", "verbs": ["get", "patch"]})
    return {
        "kind": "APIResourceList",
        "groupVersion": served[0].api_version,
        "resources": resources,
    }
