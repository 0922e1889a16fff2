"""One thin asynchronous client for the API server: dicts in, dicts out, one request per call.

It stands on the official package for what that does well (configuration, TLS, tokens that
rotate) and leaves its typed models alone: decoding into them drops fields they do not know,
which a read-modify-write would then delete.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from types import SimpleNamespace
from typing import Any, Self
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject

from modelhandoff.api import names
from modelhandoff.cluster.kinds import POD, Kind
from modelhandoff.cluster.lanes import Lanes
from modelhandoff.cluster.refusals import translate
from modelhandoff.errors import UnavailableError, cut

Raw = dict[str, Any]
"""One Kubernetes object as the API server wrote it."""

Gate = Callable[[], None]
"""Called right before a write is sent; raises ``FencedError`` to stop it."""

OnRequest = Callable[[str, str, int], None]
"""Told of every request: verb, plural of the kind, HTTP status (0 when no answer came)."""

DEFAULT_TIMEOUT = 30.0
PAGE = 500
READ_ATTEMPTS = 2

_gate: ContextVar[Gate | None] = ContextVar("gate", default=None)


class PatchType(StrEnum):
    """How the body of a patch is meant."""

    MERGE = "application/merge-patch+json"
    JSON = "application/json-patch+json"
    APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects of a list, and the resourceVersion that a watch may start from."""

    items: tuple[Raw, ...]
    resource_version: str


@dataclass(frozen=True, slots=True)
class _Request:
    """One request; as text it is what messages call it."""

    verb: str
    method: str
    kind: Kind
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = "application/json"
    gate: Gate | None = None

    @property
    def target(self) -> str:
        """Path and query, quoted."""
        return quote(self.path) + ("?" + urlencode(self.query) if self.query else "")

    def __str__(self) -> str:
        return f"{self.verb} {self.path}"


class Client:
    """The API server, one request per call.

    Every call has a timeout that includes the wait for a free place. Errors are those of
    ``modelhandoff.errors``: ``ConflictError`` (``AlreadyExistsError`` from a creation),
    ``GoneError``, ``ForbiddenError``, ``RefusedError``, ``UnavailableError`` (with
    ``retry_after`` seconds where the server named them), and ``FencedError`` from the gate.
    Nothing is retried but a read whose connection could not be used.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        gate: Gate | None = None,
        lanes: Lanes | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        on_request: OnRequest | None = None,
    ) -> None:
        # A request that waits for a connection would pass the gate too early.
        configuration.connection_pool_maxsize = 0
        configuration.retries = None
        configuration.trace_configs = [_gate_at_the_connection()]
        # Neither proxy nor .netrc from the environment, as for the watches: aiohttp would read
        # the file anew, in a thread, for every request, and send what it finds there.
        configuration.client_session_kwargs = {"trust_env": False}
        self._configuration = configuration
        self._rest = _Rest(configuration)
        self._gate = gate
        self._lanes = lanes or Lanes()
        self._timeout = timeout
        self._on_request = on_request

    @classmethod
    def at(cls, url: str, **options: Any) -> Self:
        """A client of an API server that asks for no credentials, by its base address."""
        configuration = Configuration()
        configuration.host = url.rstrip("/")
        return cls(configuration, **options)

    def unfenced(self, longest: float = DEFAULT_TIMEOUT) -> Client:
        """The same connection without the gate, for the lease itself.

        With a lane of its own: a renewal that stands in line behind other writes ends a reign
        that nothing is wrong with. No request takes more than ``longest`` seconds.
        """
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._gate = None
        twin._lanes = Lanes(total=1, reserved=0)
        twin._timeout = min(self._timeout, longest)
        return twin

    async def close(self) -> None:
        """Close all connections."""
        await self._rest.close()

    # Reads

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Raw:
        """One object.

        Raises:
            GoneError: there is none.
        """
        return await self._send(_Request("get", "GET", kind, kind.path(namespace, name)))

    async def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Listing:
        """All objects of a kind, page by page; items carry ``apiVersion`` and ``kind``."""
        query = {"limit": str(PAGE)}
        if label_selector:
            query["labelSelector"] = label_selector
        if field_selector:
            query["fieldSelector"] = field_selector
        items: list[Raw] = []
        while True:
            page = await self._send(_Request("list", "GET", kind, kind.path(namespace), query))
            common = {"apiVersion": kind.api_version, "kind": kind.name}
            items.extend({**common, **item} for item in page.get("items") or ())
            meta = page.get("metadata") or {}
            if not meta.get("continue"):
                return Listing(tuple(items), str(meta.get("resourceVersion", "")))
            query = {**query, "continue": meta["continue"]}

    async def log(
        self, namespace: str, pod: str, container: str, *, limit: int, lines: int = 0
    ) -> bytes:
        """The first ``limit`` bytes of a container's log, or of its last ``lines``.

        Raises:
            GoneError: there is no such pod (any more).
            RefusedError: it has no log, such as a container that was never started.
        """
        path = POD.path(namespace, pod, "log")
        query = {"container": container, "limitBytes": str(limit)}
        if lines:
            query["tailLines"] = str(lines)
        return (await self._text(_Request("get", "GET", POD, path, query))).encode()

    # Writes

    async def create(
        self, kind: Kind, namespace: str | None, body: Mapping[str, Any], *, urgent: bool = False
    ) -> Raw:
        """Create one object.

        Raises:
            AlreadyExistsError: there is one of that name.
        """
        return await self._write("create", "POST", kind, kind.path(namespace), body, urgent=urgent)

    async def replace(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        body: Mapping[str, Any],
        *,
        resource_version: str = "",
        urgent: bool = False,
    ) -> Raw:
        """Replace one object; conflict-checked by ``resource_version`` or the body's own."""
        path = kind.path(namespace, name)
        checked = _with_version(body, resource_version)
        return await self._write("update", "PUT", kind, path, checked, urgent=urgent)

    async def replace_status(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        status: Mapping[str, Any],
        *,
        resource_version: str,
        urgent: bool = False,
    ) -> Raw:
        """Replace the status, all of it, if the object is still at ``resource_version``."""
        meta: Raw = {"name": name, "resourceVersion": resource_version}
        if namespace is not None:
            meta["namespace"] = namespace
        body = {
            "apiVersion": kind.api_version,
            "kind": kind.name,
            "metadata": meta,
            "status": status,
        }
        path = kind.path(namespace, name, "status")
        return await self._write("update", "PUT", kind, path, body, urgent=urgent)

    async def patch(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        body: Any,
        *,
        how: PatchType = PatchType.MERGE,
        subresource: str = "",
        resource_version: str = "",
        force: bool = False,
        urgent: bool = False,
    ) -> Raw:
        """Patch one object.

        ``resource_version`` is the precondition of a merge or apply patch. A JSON patch cannot
        have one: its ``test`` operation fails as a refusal and not as a conflict.
        """
        if resource_version:
            if how is PatchType.JSON:
                raise ValueError("resource_version: a JSON patch has no such precondition")
            body = _with_version(body, resource_version)
        path = kind.path(namespace, name, subresource)
        return await self._write(
            "patch", "PATCH", kind, path, body, content_type=how, force=force, urgent=urgent
        )

    async def patch_status(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        status: Mapping[str, Any],
        *,
        resource_version: str = "",
    ) -> Raw:
        """Merge into the status; a key set to ``None`` goes."""
        return await self.patch(
            kind,
            namespace,
            name,
            {"status": status},
            subresource="status",
            resource_version=resource_version,
        )

    async def delete(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: str = "Background",
        urgent: bool = False,
    ) -> Raw:
        """Delete one object, if it is still the one of that ``uid`` and ``resource_version``.

        Returns:
            A ``Status`` when it is gone; the object itself while finalizers or a grace period
            hold it.

        Raises:
            GoneError: there is none.
            ConflictError: it is another one, or changed.
        """
        preconditions = {
            key: value
            for key, value in (("uid", uid), ("resourceVersion", resource_version))
            if value
        }
        body: Raw = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if preconditions:
            body["preconditions"] = preconditions
        return await self._write(
            "delete", "DELETE", kind, kind.path(namespace, name), body, urgent=urgent
        )

    # One request

    async def _write(
        self,
        verb: str,
        method: str,
        kind: Kind,
        path: str,
        body: Any,
        *,
        content_type: str = "application/json",
        force: bool = False,
        urgent: bool = False,
    ) -> Raw:
        query = {} if method == "DELETE" else {"fieldManager": names.FIELD_MANAGER}
        if force:
            query["force"] = "true"
        request = _Request(verb, method, kind, path, query, body, content_type, self._gate)
        return await self._send(request, urgent=urgent)

    async def _send(self, request: _Request, *, urgent: bool = False) -> Raw:
        return _decoded(str(request), await self._text(request, urgent=urgent))

    async def _text(self, request: _Request, *, urgent: bool = False) -> str:
        try:
            async with asyncio.timeout(self._timeout), self._lanes.place(urgent=urgent):
                status, headers, text = await self._answer(request)
        except TimeoutError:
            raise UnavailableError(f"{request}: no answer in {self._timeout:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise UnavailableError(f"{request}: {cut(error or type(error).__name__)}") from error
        if not 200 <= status <= 299:
            raise translate(str(request), request.method, status, headers, text)
        return text

    async def _answer(self, request: _Request) -> tuple[int, Mapping[str, str], str]:
        attempts = READ_ATTEMPTS if request.method == "GET" else 1
        for left in range(attempts - 1, -1, -1):
            code = 0
            token = _gate.set(request.gate)
            try:
                headers = await self._headers(request.content_type)
                if request.gate is not None:
                    request.gate()
                answer = await self._rest.request(  # type: ignore[no-untyped-call]
                    request.method,
                    self._configuration.host + request.target,
                    headers=headers,
                    body=request.body,
                    _request_timeout=aiohttp.ClientTimeout(total=self._timeout),
                )
                raw = await answer.read()
                code = answer.status
                return code, answer.headers, raw.decode("utf-8", "replace")
            except (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError):
                if not left:
                    raise
            finally:
                _gate.reset(token)
                if self._on_request is not None:
                    self._on_request(request.verb, request.kind.plural, code)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _headers(self, content_type: str) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            "Content-Type": str(content_type),
            "User-Agent": names.FIELD_MANAGER,
        }
        # The official client's own way to a token: its hook reads a rotated one again.
        bearer = (await self._configuration.auth_settings()).get("BearerToken")
        if bearer is not None and bearer["value"]:
            headers[bearer["key"]] = bearer["value"]
        return headers


class _Rest(RESTClientObject):
    """The official transport, without aiohttp's own silent repeat of PUT and DELETE."""

    def _create_pool_manager(self) -> aiohttp.ClientSession:
        session: aiohttp.ClientSession = super()._create_pool_manager()
        session._retry_connection = False
        return session


def _gate_at_the_connection() -> aiohttp.TraceConfig:
    """Ask the gate once more when the connection is there: connecting may have taken long."""

    async def ask(_session: aiohttp.ClientSession, _context: SimpleNamespace, _params: Any) -> None:
        gate = _gate.get()
        if gate is not None:
            gate()

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(ask)
    trace.on_connection_reuseconn.append(ask)
    return trace


def _with_version(body: Mapping[str, Any], resource_version: str) -> Raw:
    if not resource_version:
        return dict(body)
    meta = {**(body.get("metadata") or {}), "resourceVersion": resource_version}
    return {**body, "metadata": meta}


def _decoded(what: str, text: str) -> Raw:
    try:
        found = json.loads(text)
    except ValueError:
        raise UnavailableError(f"{what}: the answer is not JSON: {cut(text)}") from None
    if not isinstance(found, dict):
        raise UnavailableError(f"{what}: the answer is not an object: {cut(text)}")
    return found
