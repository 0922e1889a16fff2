"""One request to a server under test, and what came back."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import urlsplit

MAX_ANSWER: Final = 16 * 1024 * 1024
REQUEST_TIMEOUT: Final = 60.0


class BadRequest(Exception):
    """The Job was asked something impossible; the message is one line."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the server; status 0 when there was none."""

    status: int
    version: str | None
    body: bytes
    seconds: float
    failure: str | None
    headers: Mapping[str, str] = field(default_factory=dict)
    """By lower-case name."""

    @property
    def good(self) -> bool:
        """Whether it counts: 200 and a JSON document."""
        return self.failure is None


Send = Callable[[str, str, bytes | None], Answer]
"""Method, path and body to an answer; never raises for what the network does."""


class Exchange(Protocol):
    """The same, with headers of one's own."""

    def __call__(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """As ``Send``, with headers beside those that are always sent."""


def sender(target: str, *, timeout: float = REQUEST_TIMEOUT) -> Exchange:
    """Sending over plain http, one connection per request, redirects not followed.

    Args:
        target: ``http://HOST[:PORT]``.
        timeout: seconds for connecting and for each read.

    Raises:
        BadRequest: the target is no such address.
    """
    parts = urlsplit(target)
    if parts.scheme != "http" or not parts.hostname or parts.path.strip("/"):
        raise BadRequest(f"target: got {target[:100]!r}; allowed http://HOST[:PORT]")
    host, port = parts.hostname, parts.port or 80

    def send(
        method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        start = time.monotonic()
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
        sent = {"Content-Type": "application/json", "Connection": "close", **(headers or {})}
        try:
            connection.request(method, path, body=body, headers=sent)
            with connection.getresponse() as response:
                content = response.read(MAX_ANSWER)
                status, version = response.status, response.getheader("X-Model-Version")
                told = {name.lower(): value for name, value in response.getheaders()}
        except (OSError, http.client.HTTPException) as error:
            said = " ".join(str(error).split()) or type(error).__name__
            return Answer(0, None, b"", time.monotonic() - start, said[:200])
        finally:
            connection.close()
        failure = _failure(status, content)
        return Answer(status, version, content, time.monotonic() - start, failure, told)

    return send


def _failure(status: int, content: bytes) -> str | None:
    shown = " ".join(content[:200].decode(errors="replace").split())
    if status != http.HTTPStatus.OK:
        return f"{status} {shown}"
    try:
        json.loads(content)
    except ValueError:
        return f"200 but not JSON: {shown}"
    return None
