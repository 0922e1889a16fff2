"""One blob of an OCI registry: the two GETs of the distribution specification, read strictly.

An artifact is one layer, taken as it is and never unpacked. The chain: the manifest has the
digest it was pinned by, one of its layers has the artifact's digest (and the title, where one is
named), and the fetcher checks that of the bytes.

A registry may answer 401 and name a token server. It is asked as anybody, or with the password of
a pull secret for this registry, which only goes over TLS. That server, and where a blob is
redirected to, may be another host only over https and with a public address.
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
from modelhandoff.verify.credentials import login
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
    """A GET below the repository; with a proof of who asks, where the registry wants one.

    A token that has expired meanwhile is replaced by a new one, once.
    """
    base = _base(reference)
    uri = f"{base}{what}"
    proof = access.proofs.get(base, "")
    try:
        with got(uri, access, accept=accept, proof=proof, elsewhere=elsewhere) as body:
            yield body
            return
    except Refused as refused:
        if refused.status != 401:
            raise
        challenge = refused.challenge
    user = login(reference, access.secrets)
    if user and reference.plain:
        raise Unavailable(
            "a pull secret's password is not sent without TLS; allowed oci://", transient=False
        )
    with _refusal(user):
        proof = access.proofs[base] = _proof(reference, challenge, user, access)
        with got(uri, access, accept=accept, proof=proof, elsewhere=elsewhere) as body:
            yield body


def _proof(reference: Reference, challenge: str, user: str, access: Access) -> str:
    """What a registry wants to be told, by its challenge.

    Args:
        reference: what is pulled.
        challenge: ``WWW-Authenticate`` of its answer.
        user: user and password as the Basic scheme writes them, or "".
        access: bounds.
    """
    found = _CHALLENGE.fullmatch(challenge.strip())
    named = dict(_PARAMETER.findall(found[1])) if found else {}
    realm = named.get("realm", "")
    if found is None and user:
        return f"Basic {user}"
    if not realm:
        raise Unavailable(
            "the registry wants a user and password; allowed a Secret for it in "
            "serving.imagePullSecrets",
            transient=False,
        )
    if not reference.plain and not realm.startswith("https://"):
        raise Unavailable("the registry's token server has no TLS", transient=False)
    wanted = {"scope": f"repository:{reference.repository}:pull"}
    if "service" in named:
        wanted["service"] = named["service"]
    uri = f"{realm}{'&' if '?' in realm else '?'}{urlencode(wanted)}"
    home = reference.host.partition(":")[0]
    proof = f"Basic {user}" if user else ""
    with got(
        uri, access, accept="application/json", proof=proof, home=home, elsewhere=True
    ) as body:
        document = _parsed(whole(body, MAX_TOKEN, "the token", access), "the token")
    token = document.get("token") or document.get("access_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise Unavailable("the registry's token server gave no token", transient=False)
    return f"Bearer {token}"


@contextmanager
def _refusal(user: str) -> Iterator[None]:
    """Say of a refusal what it means for the person who has to mend it."""
    try:
        yield
    except Refused as refused:
        if refused.status not in {401, 403}:
            raise
        whom = "the user of its pull secret" if user else "an anonymous pull"
        raise Unavailable(
            f"the registry refuses {whom} ({refused.status}): the repository is private, or there "
            "is none of that name",
            transient=False,
        ) from None
