"""The API server as the verbs see it: dicts in, dicts out, one request per call, plain errors."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from modelhandoff.cli.kubectl.kubeconfig import Login, Target, login
from modelhandoff.cli.kubectl.problem import (
    DeniedError,
    MissingError,
    StaleError,
    Trouble,
    UnreachableError,
)
from modelhandoff.cluster.kinds import HANDOFF, SERVICE, Kind
from modelhandoff.errors import cut

Raw = dict[str, Any]
"""One object as the API server wrote it."""

MANAGER = "kubectl-handoff"
CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
PAGE = 500
INSTALL = "helm install modelhandoff (see the README), then kubectl handoff doctor"


class Api:
    """One API server. Raises only ``Trouble`` and its subclasses."""

    def __init__(self, way: Login) -> None:
        self._way = way
        self.where = way.where
        self.namespace = way.namespace
        self.server = way.server

    @classmethod
    def connect(cls, target: Target) -> Api:
        """Log in as the kubeconfig says; sends nothing yet."""
        return cls(login(target))

    def get(self, kind: Kind, namespace: str | None, name: str) -> Raw:
        """One object."""
        return self._send("GET", kind, kind.path(namespace, name), name=name)

    def list(
        self, kind: Kind, namespace: str | None, *, labels: str = "", limit: int = PAGE
    ) -> list[Raw]:
        """All objects of a kind, page by page; ``namespace=None`` means everywhere."""
        items: list[Raw] = []
        token = ""
        while True:
            query = {"limit": str(limit)}
            if labels:
                query["labelSelector"] = labels
            if token:
                query["continue"] = token
            answer = self._send("GET", kind, kind.path(namespace), query)
            for item in answer.get("items") or ():
                item.setdefault("apiVersion", kind.api_version)
                item.setdefault("kind", kind.name)
                items.append(item)
            token = (answer.get("metadata") or {}).get("continue") or ""
            if not token:
                return items

    def patch(self, kind: Kind, namespace: str, name: str, change: Raw) -> Raw:
        """Merge into an object; a resourceVersion in ``change`` makes it conflict-checked."""
        return self._send(
            "PATCH",
            kind,
            kind.path(namespace, name),
            {"fieldManager": MANAGER},
            change,
            content="application/merge-patch+json",
            name=name,
        )

    def create(self, kind: Kind, body: Raw, namespace: str | None = None) -> Raw:
        """Create an object, such as a review."""
        return self._send("POST", kind, kind.path(namespace), body=body)

    def watch(self, kind: Kind, namespace: str, name: str, seconds: float) -> Iterator[Raw]:
        """Events of one object, from its present state on, for at most ``seconds``.

        Ends quietly when the server ends it; raises ``UnreachableError`` when it breaks.
        """
        import urllib3

        query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={name}",
            "timeoutSeconds": str(max(1, round(seconds))),
        }
        answer = self._open("GET", kind, kind.path(namespace), query, read=seconds + 10.0)
        try:
            if answer.status != 200:
                raise self._refusal(answer.status, answer.read(), "watch", kind, name)
            buffer = b""
            for part in answer.stream(65_536):
                buffer += part
                *lines, buffer = buffer.split(b"\n")
                for line in lines:
                    if line.strip():
                        yield json.loads(line)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as failure:
            raise UnreachableError(self._broken(failure)) from None
        finally:
            answer.close()

    def version(self) -> str:
        """The API server's version."""
        answer = self._raw("GET", "/version")
        return str(answer.get("gitVersion") or "unknown")

    def proxied(self, namespace: str, service: str, port: int, target: str) -> Raw:
        """The JSON that a Service of the cluster answers, asked through the API server."""
        path = f"/api/v1/namespaces/{namespace}/services/{service}:{port}/proxy/"
        target, _, query = target.partition("?")
        pairs = dict(part.partition("=")[::2] for part in query.split("&") if part)
        return self._send("GET", SERVICE, path + target, pairs, name=service)

    def _raw(self, method: str, path: str) -> Raw:
        return self._send(method, HANDOFF, path)

    def _send(
        self,
        method: str,
        kind: Kind,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Raw | None = None,
        *,
        content: str = "application/json",
        name: str = "",
    ) -> Raw:
        answer = self._open(method, kind, path, query or {}, body, content=content, whole=True)
        data = answer.data
        if not 200 <= answer.status < 300:
            raise self._refusal(answer.status, data, _VERBS[method], kind, name)
        try:
            found = json.loads(data)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            told = cut(data[:200].decode(errors="replace"))
            raise Trouble(
                f"{self._way.server}: not an API server; got {told or 'nothing'} for {path}"
            )
        return found

    def _open(
        self,
        method: str,
        kind: Kind,
        path: str,
        query: Mapping[str, str],
        body: Raw | None = None,
        *,
        content: str = "application/json",
        read: float = READ_SECONDS,
        whole: bool = False,
    ) -> Any:
        import urllib3

        url = self._way.server + quote(path, safe="/:") + ("?" + urlencode(query) if query else "")
        headers = {"Accept": "application/json", "User-Agent": MANAGER}
        data = None
        if body is not None:
            headers["Content-Type"] = content
            data = json.dumps(body).encode()
        try:
            headers.update(self._way.headers())
            return self._way.pool.request(
                method,
                url,
                body=data,
                headers=headers,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=read),
                retries=False,
                redirect=False,
                preload_content=whole,
            )
        except (urllib3.exceptions.HTTPError, OSError) as failure:
            raise UnreachableError(self._broken(failure)) from None

    def _broken(self, failure: Exception) -> str:
        """Why no answer came, in a few words."""
        text = str(failure)
        if "CERTIFICATE_VERIFY_FAILED" in text or "certificate" in text.lower():
            why = "its certificate is not trusted: " + text.rsplit("]", 1)[-1].strip(" ()'")
        else:
            why = (
                text.rsplit("] ", 1)[-1].rsplit(": ", 1)[-1].strip(" ()'\"")
                or type(failure).__name__
            )
        return f"{self._way.server}: no answer ({self.where}): {cut(why, 160)}"

    def _refusal(self, status: int, data: bytes, verb: str, kind: Kind, name: str) -> Trouble:
        try:
            told = json.loads(data)
        except ValueError:
            told = {}
        told = told if isinstance(told, dict) else {}
        message = cut(told.get("message") or data[:200].decode(errors="replace"), 400)
        what = f"{kind.plural} {name}".strip()
        match status:
            case 404 if not (told.get("details") or {}).get("name"):
                return MissingError(self._uninstalled(kind), kind_missing=True)
            case 404:
                return MissingError(f"{what}: there is none ({self.where})")
            case 403:
                return DeniedError(f"no right to {verb} {what} ({self.where}): {message}")
            case 401:
                return Trouble(f"the API server does not know you ({self.where}); log in again")
            case 409:
                return StaleError(f"{what}: changed meanwhile; try again")
            case 429 | 500 | 502 | 503 | 504:
                return UnreachableError(
                    f"{self._way.server}: cannot {verb} {what} now ({status}): {message}"
                )
            case _:
                return Trouble(f"the API server refused to {verb} {what} ({status}): {message}")

    def _uninstalled(self, kind: Kind) -> str:
        told = f"this cluster has no kind {kind.plural}.{kind.group} ({self.where})"
        return f"{told}; {INSTALL}" if kind.group == HANDOFF.group else told


_VERBS = {"GET": "read", "PATCH": "change", "POST": "create"}


def patiently(seconds: float, deadline: float | None) -> float:
    """Sleep, but not past the deadline (monotonic); what was slept."""
    if deadline is not None:
        seconds = max(0.0, min(seconds, deadline - time.monotonic()))
    time.sleep(seconds)
    return seconds
