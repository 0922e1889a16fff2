"""One blob of an OCI registry: the two GETs of the distribution specification, read strictly.

An artifact is one layer, taken as it is and never unpacked. The chain: the manifest has the
digest it was pinned by, one of its layers has the artifact's digest (and the title, where one is
named), and the fetcher checks that of the bytes.

Anonymous pulls only. A registry may answer 401 and name a token server; that server, and where a
blob is redirected to, may be another host only over https and with a public address.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlencode

from modelhandoff.api.addresses import Reference
from modelhandoff.verify.access import Access, OtherBytes, Readable, Unavailable
from modelhandoff.verify.web import Body, Refused, got, whole

MAX_MANIFEST: Final = 4 * 1024 * 1024
"""What registries take; larger ones need not be read, says the specification."""
MAX_TOKEN: Final = 64 * 1024
TITLE: Final = "org.opencontainers.image.title"
_MANIFESTS: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,65536}")
_CHALLENGE: Final = re.compile(r"bearer\s+(.*)", re.IGNORECASE | re.DOTALL)
_PARAMETER: Final = re.compile(r'([a-z_]+)="([^"]*)"', re.IGNORECASE)
_SHOWN: Final = 5


@contextmanager
def blob(
    reference: Reference, digest: str, access: Access
) -> Iterator[tuple[Readable, int | None]]:
    """The layer with this digest as a stream, and its size in bytes.

    Raises:
        Unavailable: the registry does not give it.
        OtherBytes: the manifest has no such layer, or is not the one that was pinned.
    """
    size = _size(_manifest(reference, access), reference, digest)
    with _asked(reference, f"blobs/{digest}", access, "*/*", elsewhere=True) as body:
        yield body, size if body.length is None else body.length


def _manifest(reference: Reference, access: Access) -> bytes:
    version = reference.version
    key = f"{_base(reference)}manifests/{version}"
    if key not in access.manifests:
        accept = ", ".join((*_MANIFESTS, *_INDEXES))
        try:
            with _asked(reference, f"manifests/{version}", access, accept) as body:
                found = whole(body, MAX_MANIFEST, "the manifest", access)
        except Refused as refused:
            if refused.status != 404:
                raise
            raise Unavailable(
                f"the registry has no {version} in repository {reference.repository} (404)",
                transient=False,
            ) from None
        got_digest = f"sha256:{sha256(found).hexdigest()}"
        if version.startswith("sha256:") and got_digest != version:
            raise OtherBytes(f"the manifest's digest is wrong; got {got_digest}; allowed {version}")
        access.manifests[key] = found
    return access.manifests[key]


def _size(manifest: bytes, reference: Reference, digest: str) -> int | None:
    """Size of the layer with a digest, as the manifest says it."""
    layers = _layers(manifest)
    if reference.title:
        titled = [layer for layer in layers if _title(layer) == reference.title]
        if not titled:
            raise Unavailable(
                f"no layer has the title {reference.title!r}; got {_listed(layers)}",
                transient=False,
            )
        layers = titled
    chosen = next((layer for layer in layers if layer.get("digest") == digest), None)
    if chosen is None:
        raise OtherBytes(f"digest is wrong; got {_listed(layers)}; allowed {digest}")
    size = chosen.get("size")
    return size if isinstance(size, int) and size >= 0 else None


def _layers(manifest: bytes) -> list[Mapping[str, Any]]:
    document = _parsed(manifest, "the manifest")
    if document.get("mediaType") in _INDEXES or "manifests" in document:
        raise Unavailable(
            "this is an index of several manifests; allowed the digest of the one that is meant: "
            "HOST/REPOSITORY@sha256:<64 hex>",
            transient=False,
        )
    layers = document.get("layers")
    if not isinstance(layers, list) or not all(isinstance(layer, Mapping) for layer in layers):
        raise Unavailable("the manifest has no list of layers", transient=False)
    return layers


def _title(layer: Mapping[str, Any]) -> str:
    notes = layer.get("annotations")
    found = notes.get(TITLE) if isinstance(notes, Mapping) else None
    return found if isinstance(found, str) else ""


def _listed(layers: list[Mapping[str, Any]]) -> str:
    """Titles and digests of layers for a message; both come from a stranger."""
    named = [
        " ".join(part for part in (_title(layer)[:60], str(layer.get("digest"))[:71]) if part)
        for layer in layers[:_SHOWN]
    ]
    more = f" and {len(layers) - _SHOWN} more" if len(layers) > _SHOWN else ""
    return ascii(", ".join(named))[1:-1] + more if named else "no layer at all"


def _parsed(text: bytes, what: str) -> Mapping[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise Unavailable(f"{what} is not JSON", transient=False) from None
    if not isinstance(document, Mapping):
        raise Unavailable(f"{what} is no JSON object", transient=False)
    return document


def _base(reference: Reference) -> str:
    scheme = "http" if reference.plain else "https"
    return f"{scheme}://{reference.host}/v2/{reference.repository}/"


@contextmanager
def _asked(
    reference: Reference, what: str, access: Access, accept: str, *, elsewhere: bool = False
) -> Iterator[Body]:
    """A GET below the repository; with an anonymous token where the registry wants one.

    A token that has expired meanwhile is replaced by a new one, once.
    """
    base = _base(reference)
    uri = f"{base}{what}"
    try:
        with got(
            uri, access, accept=accept, token=access.tokens.get(base, ""), elsewhere=elsewhere
        ) as body:
            yield body
            return
    except Refused as refused:
        if refused.status != 401:
            raise
        challenge = refused.challenge
    token = access.tokens[base] = _token(reference, challenge, access)
    try:
        with got(uri, access, accept=accept, token=token, elsewhere=elsewhere) as body:
            yield body
    except Refused as refused:
        if refused.status not in {401, 403}:
            raise
        raise _no_pull(refused.status) from None


def _token(reference: Reference, challenge: str, access: Access) -> str:
    """An anonymous token for pulling, from the server that the registry names."""
    found = _CHALLENGE.fullmatch(challenge.strip())
    named = dict(_PARAMETER.findall(found[1])) if found else {}
    realm = named.get("realm", "")
    if not realm:
        raise Unavailable(
            "the registry wants a user and password; only anonymous pulls are supported",
            transient=False,
        )
    if not reference.plain and not realm.startswith("https://"):
        raise Unavailable("the registry's token server has no TLS", transient=False)
    wanted = {"scope": f"repository:{reference.repository}:pull"}
    if "service" in named:
        wanted["service"] = named["service"]
    uri = f"{realm}{'&' if '?' in realm else '?'}{urlencode(wanted)}"
    home = reference.host.partition(":")[0]
    try:
        with got(uri, access, accept="application/json", home=home, elsewhere=True) as body:
            document = _parsed(whole(body, MAX_TOKEN, "the token", access), "the token")
    except Refused as refused:
        if refused.status not in {401, 403}:
            raise
        raise _no_pull(refused.status) from None
    token = document.get("token") or document.get("access_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise Unavailable("the registry's token server gave no token", transient=False)
    return token


def _no_pull(status: int) -> Unavailable:
    return Unavailable(
        f"the registry refuses an anonymous pull ({status}): the repository is private, or there "
        "is none of that name",
        transient=False,
    )
