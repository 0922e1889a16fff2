"""Opening an artifact's address as a stream of bytes, and refusing addresses that lead astray.

``http(s)://`` is fetched as :mod:`modelhandoff.verify.web` says, ``oci://`` as
:mod:`modelhandoff.verify.registry` does. ``configmap://NAME/KEY`` and ``pvc://CLAIM/PATH`` are
files of volumes that the pod mounts; ``file://`` is for people who run the fetcher by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from modelhandoff.api import addresses
from modelhandoff.verify.access import Access, Readable, Unavailable
from modelhandoff.verify.mounted import opened_file, opened_in
from modelhandoff.verify.registry import blob
from modelhandoff.verify.web import got

CHUNK: Final = 256 * 1024
_HINTS: Final = {
    "oci": addresses.IMAGE_HINT,
    "oci+http": addresses.IMAGE_HINT,
    "pvc": addresses.CLAIM_HINT,
    "configmap": addresses.KEY_HINT,
}


@contextmanager
def opened(uri: str, digest: str, access: Access) -> Iterator[tuple[Readable, int | None]]:
    """The artifact as a stream, and its announced size in bytes where one is announced.

    Args:
        uri: where it lies.
        digest: what its bytes must have; only a registry is asked for it.
        access: bounds.

    Raises:
        Unavailable: the address is not allowed, or there is nothing to be had at it.
        OtherBytes: the registry has other bytes under this address.
    """
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise Unavailable(f"not an address: {error}", transient=False) from None
    reference = addresses.parse_reference(uri)
    mounted = addresses.parse_mounted(uri)
    if parts.scheme in {"http", "https"}:
        with got(uri, access) as body:
            yield body, body.length
    elif reference is not None:
        with blob(reference, digest, access) as (stream, size):
            yield stream, size
    elif mounted is not None:
        with opened_in(mounted, access) as file:
            yield file, None
    elif parts.scheme == "file":
        with opened_file(_local(parts)) as file:
            yield file, None
    elif parts.scheme in _HINTS:
        raise Unavailable(f"address must be {_HINTS[parts.scheme]}", transient=False)
    else:
        raise Unavailable(
            f"scheme is not supported; got {parts.scheme!r}; "
            f"allowed http, https, file, {', '.join(_HINTS)}",
            transient=False,
        )


def _local(parts: SplitResult) -> Path:
    if parts.netloc not in {"", "localhost"}:
        raise Unavailable(
            f"file address has a host; got {parts.netloc!r}; allowed file:///path",
            transient=False,
        )
    return Path(unquote(parts.path))
