"""Files pushed to an OCI registry over plain http, as `oras push` does it: one layer per file."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Mapping
from urllib.parse import urljoin

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"


def push(host: str, repository: str, tag: str, files: Mapping[str, bytes]) -> str:
    """Push files under a tag; the manifest's digest.

    Args:
        host: host and port of the registry.
        repository: name in it.
        tag: of the manifest.
        files: content by title.
    """
    base = f"http://{host}/v2/{repository}/"
    layers = [
        {
            **_blob(base, content, "application/octet-stream"),
            "annotations": {"org.opencontainers.image.title": title},
        }
        for title, content in files.items()
    ]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _blob(base, b"{}", EMPTY),
        "layers": layers,
    }
    body = json.dumps(manifest).encode()
    _send("PUT", f"{base}manifests/{tag}", body, MANIFEST)
    return _digest(body)


def _blob(base: str, content: bytes, media_type: str) -> dict[str, object]:
    """Upload in one piece; its descriptor."""
    where = _send("POST", f"{base}blobs/uploads/", b"", "application/octet-stream")
    separator = "&" if "?" in where else "?"
    digest = _digest(content)
    _send(
        "PUT",
        urljoin(base, f"{where}{separator}digest={digest}"),
        content,
        "application/octet-stream",
    )
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _send(method: str, url: str, body: bytes, media_type: str) -> str:
    """Send one request; where its answer points to, or ""."""
    request = urllib.request.Request(
        url, data=body, method=method, headers={"Content-Type": media_type}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(answer.headers.get("Location") or "")


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
