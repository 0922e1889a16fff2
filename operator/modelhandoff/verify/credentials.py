"""What pull secrets say about a registry: the Secrets that the image is pulled with too."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from modelhandoff.api.addresses import LOGIN_FILE, Reference
from modelhandoff.verify.access import Unavailable

_WHOLE_HOST: Final = frozenset({"", "v1", "v2"})
"""What `docker login` writes behind a host."""


def login(reference: Reference, folder: Path) -> str:
    """User and password for a repository, as HTTP's Basic scheme writes them; "" without.

    Of several entries the one with the longest path counts; of equal ones the first Secret's.

    Args:
        reference: what is pulled.
        folder: one folder per Secret, with its Docker configuration.

    Raises:
        Unavailable: a Secret cannot be read. Its content is in no message.
    """
    best = (-1, "")
    for file in sorted(folder.glob(f"*/{LOGIN_FILE}")):
        try:
            for key, entry in _entries(file):
                depth = _depth(key, reference)
                if depth > best[0]:
                    best = (depth, _basic(entry))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise Unavailable(
                f"pull secret {file.parent.name} holds no Docker configuration that can be read",
                transient=False,
            ) from None
    return best[1]


def _entries(file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield from json.loads(file.read_bytes())["auths"].items()


def _depth(key: str, reference: Reference) -> int:
    """Length of the path by which an entry is meant for a repository; -1 when it is not."""
    host, _, path = key.rpartition("://")[2].strip("/").partition("/")
    if host.lower() != reference.host:
        return -1
    if path in _WHOLE_HOST:
        return 0
    return len(path) if f"{reference.repository}/".startswith(f"{path}/") else -1


def _basic(entry: Mapping[str, Any]) -> str:
    if "auth" in entry:
        plain = base64.b64decode(entry["auth"], validate=True)
    else:
        plain = f"{entry['username']}:{entry['password']}".encode()
    if b":" not in plain:
        raise ValueError("no user and password")
    return base64.b64encode(plain).decode()
