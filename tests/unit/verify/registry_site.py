"""A small registry on loopback: tokens, redirects, and everything a bad one may answer."""

from __future__ import annotations

import hashlib
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

TITLE = "org.opencontainers.image.title"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Registry:
    """What it holds and how it behaves.

    Attributes:
        answers: path -> body; a path may also have another status in ``statuses``.
        redirects: path -> where to.
        realm: of its token server; "" when anybody may pull.
        tokens: that count; the token server hands out the last one.
        requests: path and bearer token of every request.
    """

    answers: dict[str, bytes] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    realm: str = ""
    challenge: str = ""
    tokens: list[str] = field(default_factory=lambda: ["first"])
    requests: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0

    @property
    def host(self) -> str:
        return f"registry.example:{self.port}"

    def push(self, files: dict[str, bytes], tag: str = "1.4.0", **more: Any) -> str:
        """Put files under ``team/fraud``; the manifest's digest."""
        layers = [
            {
                "mediaType": "application/octet-stream",
                "digest": digest_of(content),
                "size": len(content),
                "annotations": {TITLE: title},
            }
            for title, content in files.items()
        ]
        for content in files.values():
            self.answers[f"/v2/team/fraud/blobs/{digest_of(content)}"] = content
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "layers": layers, **more}
        return self.push_manifest(json.dumps(document).encode(), tag)

    def push_manifest(self, body: bytes, tag: str = "1.4.0") -> str:
        digest = digest_of(body)
        for version in (tag, digest):
            self.answers[f"/v2/team/fraud/manifests/{version}"] = body
        return digest

    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]


def _handler(site: Registry) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_args: object) -> None:
            pass

        def do_GET(self) -> None:
            bearer = (self.headers["Authorization"] or "").removeprefix("Bearer ")
            site.requests.append((self.path, bearer))
            if self.path.startswith("/token"):
                self._send(200, site.answers.get("/token") or self._token())
            elif self.path in site.statuses:
                self._send(site.statuses[self.path], b"{}")
            elif self.path.startswith("/v2/") and site.challenge and bearer not in site.tokens:
                self._send(401, b"{}", {"WWW-Authenticate": site.challenge})
            elif self.path in site.redirects:
                self._send(307, b"", {"Location": site.redirects[self.path]})
            elif self.path in site.answers:
                self._send(200, site.answers[self.path])
            else:
                self._send(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')

        def _token(self) -> bytes:
            return json.dumps({"token": site.tokens[-1]}).encode()

        def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    return Handler


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_args: object) -> None:
        """A client that hangs up in the middle is what some tests are about."""


@contextmanager
def running(site: Registry, tls: ssl.SSLContext | None = None) -> Iterator[Registry]:
    """The registry on a port of loopback, with TLS where a context is given."""
    server = _Server(("127.0.0.1", 0), _handler(site))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    site.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
