"""kopf as the watch layer: its settings, its login, and what can be learned from its requests.

kopf tells its handlers about objects, but not that a listing is complete, and it does not notice
what was deleted while a watch was interrupted. Both are read off the HTTP session that the login
handler gives to kopf: a finished list request is the complete truth about one kind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import aiohttp
import kopf
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject

from modelhandoff.api import names
from modelhandoff.cluster.client import Client
from modelhandoff.cluster.kinds import Kind
from modelhandoff.controller.clock import Clock
from modelhandoff.errors import ForbiddenError, GoneError, HandoffError

log = logging.getLogger(__name__)

Raw = dict[str, Any]

OnListing = Callable[[Kind, str | None, list[Raw], str], None]
"""Told of every complete listing: kind, namespace (``None`` = all), objects, resourceVersion."""

OnSign = Callable[[Kind], None]
"""Told whenever the API server answered a watch or a listing of a kind."""

SERVER_TIMEOUT = 300
CLIENT_TIMEOUT = 330
UNSERVED_RETRY = 2.0


class Endless:
    """Seconds between retries of a watch, without an end.

    With kopf's own finite list a watch gives up after about a minute of refusals, and takes the
    whole process with it: rights taken away for a while would end in a crash loop.
    """

    def __iter__(self) -> Iterator[float]:
        seconds = 1.0
        while True:
            yield seconds
            seconds = min(seconds * 2, 15.0)


class NoDiff(kopf.DiffBaseStorage):
    """Keeps nothing: there is no handler that compares, and annotations are not ours to write."""

    def build(self, **_: Any) -> Any:
        """Nothing is worth comparing, so nothing is copied for each event."""
        return {}

    def fetch(self, **_: Any) -> Any:
        """Nothing is stored."""
        return None

    def store(self, **_: Any) -> None:
        """Nothing is stored."""


class NoProgress(kopf.ProgressStorage):
    """Keeps nothing: event handlers have no progress."""

    def fetch(self, **_: Any) -> Any:
        """Nothing is stored."""
        return None

    def store(self, **_: Any) -> None:
        """Nothing is stored."""

    def purge(self, **_: Any) -> None:
        """Nothing is stored."""

    def touch(self, **_: Any) -> None:
        """Nothing is stored."""

    def clear(self, *, essence: Any) -> Any:
        """Nothing was added."""
        return essence


def operator_settings(kinds: Collection[Kind], request_timeout: float) -> kopf.OperatorSettings:
    """Settings that make kopf watch, and do nothing else."""
    settings = kopf.OperatorSettings()
    # kopf takes its own finalizer off objects that need none; it must not be anybody's real one.
    settings.persistence.finalizer = f"{names.GROUP}/not-used"
    settings.persistence.diffbase_storage = NoDiff()
    settings.persistence.progress_storage = NoProgress()
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.peering.standalone = True
    # Neither CRDs nor namespaces are observed: that would need cluster-wide rights.
    settings.scanning.disabled = True
    settings.networking.request_timeout = request_timeout
    settings.networking.error_backoffs = Endless()
    settings.watching.server_timeout = SERVER_TIMEOUT
    settings.watching.client_timeout = CLIENT_TIMEOUT
    settings.queueing.idle_timeout = 1
    settings.queueing.exit_timeout = 0.5
    settings.process.ultimate_exiting_timeout = None
    for kind in kinds:
        if kind.selector:
            where = (kind.group, kind.version, kind.plural) if kind.group else (kind.plural,)
            settings.watching.label_selectors[where] = kind.selector  # type: ignore[index]
    return settings


class Listings:
    """Which kinds have been listed completely, and whom to tell."""

    def __init__(
        self,
        kinds: Collection[Kind],
        namespaces: Collection[str],
        on_listing: OnListing,
        on_sign: OnSign,
    ) -> None:
        self._places: dict[str, tuple[Kind, str | None]] = {}
        for kind in kinds:
            scopes: list[str | None] = [*namespaces] if kind.namespaced and namespaces else [None]
            self._places |= {kind.path(scope): (kind, scope) for scope in scopes}
        self._missing = set(self._places)
        self._on_listing = on_listing
        self._on_sign = on_sign
        self.synced = asyncio.Event()

    @property
    def missing(self) -> list[str]:
        """Kinds whose first listing has not been answered yet."""
        return sorted({self._places[path][0].plural for path in self._missing})

    def trace(self) -> aiohttp.TraceConfig:
        """What to hang into the session that kopf uses."""
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._answered)
        return trace

    async def _answered(
        self,
        _session: aiohttp.ClientSession,
        _context: SimpleNamespace,
        params: aiohttp.TraceRequestEndParams,
    ) -> None:
        place = self._places.get(params.url.path)
        if place is None or params.response.status != 200:
            return
        kind, namespace = place
        self._on_sign(kind)
        if "watch" in params.url.query:
            return
        # aiohttp keeps the body that is read here, so that kopf reads it again.
        found = await params.response.json()
        meta = found.get("metadata") or {}
        if meta.get("continue"):
            return
        items = found.get("items") or []
        for item in items:
            item.setdefault("kind", kind.name)
            item.setdefault("apiVersion", kind.api_version)
        self._on_listing(kind, namespace, items, str(meta.get("resourceVersion") or ""))
        self._missing.discard(params.url.path)
        if not self._missing:
            self.synced.set()


def session(configuration: Configuration, trace: aiohttp.TraceConfig) -> aiohttp.ClientSession:
    """A session for kopf from the official client's configuration.

    The token is asked for at every request, so that a rotated one is used without a new login.
    """

    async def authorize(
        request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        settings: Mapping[str, Any] = await configuration.auth_settings()
        for setting in settings.values():
            request.headers[str(setting["key"])] = str(setting["value"])
        return await send(request)

    tls = RESTClientObject(configuration).ssl_context
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=tls),
        proxy=configuration.proxy,
        trace_configs=[trace],
        middlewares=(authorize,),
    )


async def wait_until_served(
    client: Client,
    kinds: Collection[Kind],
    namespaces: Collection[str],
    clock: Clock,
    tell: Callable[[str], None],
) -> None:
    """Wait until the API server serves every kind to us, telling what is missing.

    kopf looks once, at its start, and would ignore a kind that is installed later.
    """
    never = asyncio.Event()
    while True:
        wrong = [line for kind in kinds if (line := await _unserved(client, kind, namespaces))]
        if not wrong:
            return
        tell("; ".join(wrong))
        log.warning("not started yet: %s", "; ".join(wrong))
        await clock.wait(never, clock.monotonic() + UNSERVED_RETRY)


async def _unserved(client: Client, kind: Kind, namespaces: Collection[str]) -> str:
    scope = next(iter(namespaces), None) if kind.namespaced else None
    name = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
    try:
        await client.list(kind, scope, label_selector=f"{names.GROUP}/nothing=at-all")
    except GoneError:
        return f"{name}: not served by this API server; install its CRD"
    except ForbiddenError:
        return f"{name}: no right to list it; check the operator's role"
    except HandoffError as error:
        return f"{name}: {error}"
    return ""


class EveryTask(Collection[Any]):
    """Holds every task there is.

    kopf ends by cancelling all tasks of the loop that it has been told not to ignore; this loop
    is not kopf's own.
    """

    def __contains__(self, _: object) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0
