"""Opening an artifact's address as a stream of bytes, and refusing addresses that lead astray.

``http(s)://`` is fetched without proxy, cookies or credentials; a redirect may change the path
or climb from http to https, never the host. Names are resolved here and the checked address is
the one dialled, so that a name cannot point elsewhere a moment later. ``file://``,
``configmap://NAME/KEY`` and ``pvc://NAME/PATH`` are files that the pod mounts.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Protocol
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

CHUNK: Final = 256 * 1024
MAX_REDIRECTS: Final = 5
# Metadata services that live outside the link-local ranges.
_METADATA: Final = frozenset({"fd00:ec2::254", "100.100.100.200", "168.63.129.16"})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class Unavailable(Exception):
    """The artifact cannot be had; the message is one line.

    Args:
        message: what is wrong.
        transient: whether trying again may help.
    """

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self.transient = transient


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""
        ...


CONFIGMAPS: Final = Path("/var/run/modelhandoff/configmaps")
CLAIMS: Final = Path("/var/run/modelhandoff/claims")
Resolver = Callable[[str, int], list[str]]


def resolve(host: str, port: int) -> list[str]:
    """Addresses of a host, in the order to try them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True)
class Access:
    """What the fetcher may touch and how long it waits.

    Attributes:
        configmaps: directory where ConfigMaps are mounted, one directory each.
        claims: directory where volume claims are mounted, one directory each.
        timeout: seconds for connecting and for each read.
        allow_http: whether plain http is accepted. Bytes are checked against a digest either
            way; plain http shows them to the network.
        resolver: name resolution.
    """

    configmaps: Path = CONFIGMAPS
    claims: Path = CLAIMS
    timeout: float = 30.0
    allow_http: bool = True
    resolver: Resolver = resolve


@contextmanager
def opened(uri: str, access: Access) -> Iterator[tuple[Readable, int | None]]:
    """The artifact as a stream, and its announced size in bytes where one is announced.

    Raises:
        Unavailable: the address is not allowed, or there is nothing to be had at it.
    """
    parts = urlsplit(uri)
    if parts.scheme in {"http", "https"}:
        response, connection = _request(uri, access)
        try:
            yield _Body(response), response.length
        finally:
            # Both: a connection that the server will close has already let go of its response.
            response.close()
            connection.close()
        return
    path = _mounted(parts, access)
    try:
        file = path.open("rb")
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}", transient=False) from None
    with file:
        yield file, None


def _mounted(parts: SplitResult, access: Access) -> Path:
    if parts.scheme == "file":
        if parts.netloc not in {"", "localhost"}:
            raise Unavailable(
                f"file address has a host; got {parts.netloc!r}; allowed file:///path",
                transient=False,
            )
        return Path(unquote(parts.path))
    roots = {"configmap": access.configmaps, "pvc": access.claims}
    root = roots.get(parts.scheme)
    if root is None:
        raise Unavailable(
            f"scheme is not supported; got {parts.scheme!r}; "
            "allowed http, https, file, configmap, pvc",
            transient=False,
        )
    inside = PurePosixPath(unquote(parts.path).lstrip("/"))
    if not parts.netloc or not inside.parts or ".." in (parts.netloc, *inside.parts):
        raise Unavailable(
            f"address must be {parts.scheme}://NAME/KEY without '..'", transient=False
        )
    return root / parts.netloc / inside


class _Body:
    """A response's body whose failures are ours."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response

    def read(self, size: int, /) -> bytes:
        try:
            # read1 comes back with what is there: a trickle must not outlast the deadline.
            return self._response.read1(size)
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"connection broke off: {_said(error)}", transient=True) from None


def _request(
    uri: str, access: Access
) -> tuple[http.client.HTTPResponse, http.client.HTTPConnection]:
    first = _checked_url(uri, access)
    here = first
    for _ in range(MAX_REDIRECTS + 1):
        connection = _connect(here, access)
        try:
            target = here.path or "/"
            connection.request(
                "GET",
                f"{target}?{here.query}" if here.query else target,
                headers={"User-Agent": "modelhandoff-fetch", "Accept": "*/*"},
            )
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Unavailable(f"{here.netloc}: {_said(error)}", transient=True) from None
        if response.status == http.HTTPStatus.OK:
            return response, connection
        location = response.getheader("Location")
        response.close()
        connection.close()
        if response.status not in _REDIRECTS or not location:
            raise Unavailable(
                f"server answered {response.status} {response.reason}",
                transient=response.status >= 500 or response.status in {408, 425, 429},
            )
        here = _checked_url(urljoin(here.geturl(), location), access)
        if here.hostname != first.hostname:
            raise Unavailable(
                f"redirect to another host; got {here.hostname!r}; allowed {first.hostname!r}",
                transient=False,
            )
        if first.scheme == "https" and here.scheme != "https":
            raise Unavailable("redirect from https to http", transient=False)
    raise Unavailable(f"more than {MAX_REDIRECTS} redirects", transient=False)


def _checked_url(uri: str, access: Access) -> SplitResult:
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError as error:
        raise Unavailable(f"not an address: {error}", transient=False) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Unavailable("address must be http(s)://HOST/PATH", transient=False)
    if parts.username is not None or parts.password is not None:
        raise Unavailable("address must not carry a user or password", transient=False)
    if parts.scheme == "http" and not access.allow_http:
        raise Unavailable("plain http is not allowed here; allowed https", transient=False)
    return parts


def _connect(parts: SplitResult, access: Access) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        addresses = access.resolver(host, port)
    except OSError as error:
        raise Unavailable(f"{host}: cannot be resolved: {_said(error)}", transient=True) from None
    for address in addresses:
        if _forbidden(address):
            raise Unavailable(
                f"{host}: address is link-local, multicast or a metadata service; got {address}",
                transient=False,
            )
    last: OSError | None = None
    for address in addresses:
        try:
            plain = socket.create_connection((address, port), timeout=access.timeout)
        except OSError as error:
            last = error
            continue
        try:
            return _over(plain, parts, host, port, access.timeout)
        except OSError as error:
            plain.close()
            raise Unavailable(f"{host}: {_said(error)}", transient=True) from None
    raise Unavailable(f"{host}:{port}: {_said(last)}", transient=True)


def _over(
    plain: socket.socket, parts: SplitResult, host: str, port: int, timeout: float
) -> http.client.HTTPConnection:
    """An HTTP connection over a socket whose address was checked."""
    if parts.scheme == "https":
        secure = ssl.create_default_context().wrap_socket(plain, server_hostname=host)
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, port, timeout=timeout
        )
        connection.sock = secure
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
        connection.sock = plain
    return connection


def _forbidden(address: str) -> bool:
    ip = ipaddress.ip_address(address.split("%", 1)[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return ip.is_link_local or ip.is_multicast or ip.is_unspecified or str(ip) in _METADATA


def _said(error: BaseException | None) -> str:
    text = " ".join(str(error).split())
    return (text or type(error).__name__)[:200]
