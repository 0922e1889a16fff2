"""What the fetcher may touch, how long it waits, and how it says that something cannot be had."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from modelhandoff.api.addresses import CLAIM, CONFIG_MAP, FOLDERS, PULL_SECRETS

CONFIGMAPS: Final = Path(FOLDERS[CONFIG_MAP])
CLAIMS: Final = Path(FOLDERS[CLAIM])
SECRETS: Final = Path(PULL_SECRETS)
Resolver = Callable[[str, int], list[str]]
Dial = Callable[[tuple[str, int], float], socket.socket]


class Unavailable(Exception):
    """The artifact cannot be had; the message is one line.

    Args:
        message: what is wrong.
        transient: whether trying again may help.
    """

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self.transient = transient


class OtherBytes(Exception):
    """What is there is not what was promised, and was not even downloaded."""


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""
        ...


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
        dial: opens the connection to an address that was checked.
        tls: makes the context that a server has to prove its name to.
        clock: monotonic seconds.
        secrets: directory where pull secrets are mounted, one directory each.
        proofs: ``Authorization`` that a registry took, by repository; filled on the way.
        manifests: of registries, by address: one is asked for once, since registries count pulls.
    """

    configmaps: Path = CONFIGMAPS
    claims: Path = CLAIMS
    timeout: float = 30.0
    allow_http: bool = True
    resolver: Resolver = resolve
    dial: Dial = socket.create_connection
    tls: Callable[[], ssl.SSLContext] = ssl.create_default_context
    clock: Callable[[], float] = time.monotonic
    secrets: Path = SECRETS
    proofs: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)


def said(error: BaseException | None) -> str:
    """An error of the network as a short line."""
    text = " ".join(str(error).split())
    return (text or type(error).__name__)[:200]
