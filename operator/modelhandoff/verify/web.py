"""GET over a connection whose address was checked, without proxy, cookies or credentials.

A redirect may change the path or climb from http to https. To another host it may lead only
where the caller says so (registries keep their blobs elsewhere), and then only over https and to
a public address: nobody gets through us to what only the cluster's network can reach.

Names are resolved here and the checked address is the one dialled, so that a name cannot point
elsewhere a moment later.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from modelhandoff.verify.access import Access, Unavailable, said

MAX_REDIRECTS: Final = 5
SMALL_SECONDS: Final = 60.0
"""How long a document may take that is read as a whole, however slowly it trickles."""
# Metadata services that live outside the link-local ranges.
_METADATA: Final = frozenset({"fd00:ec2::254", "100.100.100.200", "168.63.129.16"})
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CHUNK: Final = 64 * 1024


class Refused(Unavailable):
    """The server answered, and not with what was asked for.

    Args:
        status: of HTTP.
        why: its phrase.
        challenge: ``WWW-Authenticate``, or "".
    """

    def __init__(self, status: int, why: str, challenge: str) -> None:
        again = status >= 500 or status in {408, 425, 429}
        super().__init__(f"server answered {status} {why}", transient=again)
        self.status = status
        self.challenge = challenge


class Body:
    """A response's body whose failures are ours.

    Attributes:
        length: in bytes, where the server announces it.
    """

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self.length = response.length

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""
        try:
            # read1 comes back with what is there: a trickle must not outlast the deadline.
            return self._response.read1(size)
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"connection broke off: {said(error)}", transient=True) from None


@contextmanager
def got(
    uri: str,
    access: Access,
    *,
    accept: str = "*/*",
    proof: str = "",
    home: str = "",
    elsewhere: bool = False,
) -> Iterator[Body]:
    """The body of a GET.

    Args:
        uri: where to.
        access: bounds.
        accept: media types to ask for.
        proof: ``Authorization``; it goes where ``uri`` says and to no other place.
        home: the host that may be asked wherever it is; that of ``uri`` when not given.
        elsewhere: whether another, public, host may be asked over https.

    Raises:
        Refused: the answer is neither a body nor a redirect.
        Unavailable: the address is not allowed, or nobody answers there.
    """
    first = here = checked(uri, access)
    home = home or str(first.hostname)
    _allow(first, home, elsewhere)
    headers = {"User-Agent": "modelhandoff-fetch", "Accept": accept}
    for _ in range(MAX_REDIRECTS + 1):
        own = here.netloc == first.netloc and here.scheme == first.scheme
        told = {**headers, "Authorization": proof} if proof and own else headers
        response, connection = _ask(here, access, told, here.hostname != home)
        try:
            if response.status == http.HTTPStatus.OK:
                yield Body(response)
                return
            location = response.getheader("Location")
            if response.status not in _REDIRECTS or not location:
                challenge = response.getheader("WWW-Authenticate") or ""
                raise Refused(response.status, response.reason, challenge)
        finally:
            # Both: a connection that the server will close has already let go of its response.
            response.close()
            connection.close()
        here = checked(urljoin(here.geturl(), location), access)
        _allow(here, home, elsewhere)
        if first.scheme == "https" and here.scheme != "https":
            raise Unavailable("redirect from https to http", transient=False)
    raise Unavailable(f"more than {MAX_REDIRECTS} redirects", transient=False)


def whole(body: Body, limit: int, what: str, access: Access) -> bytes:
    """All of a small document.

    Raises:
        Unavailable: it is larger than ``limit`` bytes, or trickles.
    """
    found = bytearray()
    begun = access.clock()
    while chunk := body.read(_CHUNK):
        found += chunk
        if len(found) > limit:
            raise Unavailable(f"{what} is too large; allowed {limit} bytes", transient=False)
        if access.clock() - begun > SMALL_SECONDS:
            raise Unavailable(f"{what} took more than {SMALL_SECONDS:.0f} s", transient=True)
    return bytes(found)


def checked(uri: str, access: Access) -> SplitResult:
    """The parts of an address that may be asked.

    Raises:
        Unavailable: it may not.
    """
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError as error:
        raise Unavailable(f"not an address: {error}", transient=False) from None
    if not uri.isascii():
        raise Unavailable("address must be in ASCII, the rest as %XX", transient=False)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Unavailable("address must be http(s)://HOST/PATH", transient=False)
    if parts.username is not None or parts.password is not None:
        raise Unavailable("address must not carry a user or password", transient=False)
    if parts.scheme == "http" and not access.allow_http:
        raise Unavailable("plain http is not allowed here; allowed https", transient=False)
    return parts


def _allow(there: SplitResult, home: str, elsewhere: bool) -> None:
    """Stop at an address on another host, as far as its text can tell."""
    if there.hostname == home:
        return
    if not elsewhere:
        raise Unavailable(
            f"redirect to another host; got {there.hostname!r}; allowed {home!r}", transient=False
        )
    if there.scheme != "https":
        raise Unavailable(
            f"{home} leads to another host without TLS; got {there.netloc!r}; allowed https",
            transient=False,
        )


def _ask(
    here: SplitResult, access: Access, headers: dict[str, str], public: bool
) -> tuple[http.client.HTTPResponse, http.client.HTTPConnection]:
    connection = _connect(here, access, public)
    target = here.path or "/"
    try:
        connection.request(
            "GET", f"{target}?{here.query}" if here.query else target, headers=headers
        )
        return connection.getresponse(), connection
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise Unavailable(f"{here.netloc}: {said(error)}", transient=True) from None


def _connect(parts: SplitResult, access: Access, public: bool) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        addresses = access.resolver(host, port)
    except (OSError, UnicodeError) as error:
        raise Unavailable(f"{host}: cannot be resolved: {said(error)}", transient=True) from None
    for address in addresses:
        if _forbidden(address):
            raise Unavailable(
                f"{host}: address is link-local, multicast or a metadata service; got {address}",
                transient=False,
            )
        if public and not _plain(address).is_global:
            raise Unavailable(
                f"{host}: another host must have a public address; got {address}", transient=False
            )
    last: OSError | None = None
    for address in addresses:
        try:
            plain = access.dial((address, port), access.timeout)
        except OSError as error:
            last = error
            continue
        try:
            return _over(plain, parts, host, port, access)
        except OSError as error:
            plain.close()
            raise Unavailable(f"{host}: {said(error)}", transient=True) from None
    raise Unavailable(f"{host}:{port}: {said(last)}", transient=True)


def _over(
    plain: socket.socket, parts: SplitResult, host: str, port: int, access: Access
) -> http.client.HTTPConnection:
    """An HTTP connection over a socket whose address was checked."""
    if parts.scheme == "https":
        context = access.tls()
        secure = context.wrap_socket(plain, server_hostname=host)
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, port, timeout=access.timeout, context=context
        )
        connection.sock = secure
    else:
        connection = http.client.HTTPConnection(host, port, timeout=access.timeout)
        connection.sock = plain
    return connection


def _plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address of either family, without zone and without any wrapping of IPv4 in IPv6."""
    ip = ipaddress.ip_address(address.split("%", 1)[0])
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def _forbidden(address: str) -> bool:
    ip = _plain(address)
    return ip.is_link_local or ip.is_multicast or ip.is_unspecified or str(ip) in _METADATA
