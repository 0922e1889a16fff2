"""Prometheus' query API on loopback: honest answers from memory, or any misbehaviour."""

from __future__ import annotations

import json
import math
import re
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from modelhandoff.metrics.samples import Series

from .history import Stored

Reply = tuple[int, dict[str, str], bytes]
Behaviour = Callable[[dict[str, str]], "Reply | None"]

JSON = {"Content-Type": "application/json"}
_MATCHER = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)(=~|!~|!=|=)("(?:[^"\\]|\\.)*")')


class LoopbackPrometheus:
    """Answers ``POST /api/v1/query`` with a range selector from :class:`Stored` samples.

    ``behave`` may answer in its place; returning ``None`` leaves the answer to the memory.
    """

    def __init__(self, stored: Stored | None = None) -> None:
        self.stored = stored or Stored()
        self.asked: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.behave: Behaviour = lambda form: None
        self.together = 0
        """Most questions that were being answered at the same time."""
        self._now = 0
        self._lock = threading.Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = {key: values[0] for key, values in parse_qs(body).items()}
                with fake._lock:
                    fake.asked.append({**form, "path": self.path})
                    fake.headers.append(dict(self.headers))
                    fake._now += 1
                    fake.together = max(fake.together, fake._now)
                try:
                    status, headers, answer = fake.behave(form) or fake._evaluate(form)
                finally:
                    with fake._lock:
                        fake._now -= 1
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    if "Content-Length" not in headers:
                        self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                except OSError:
                    pass  # The asker may have had enough.
                if int(headers.get("Content-Length", len(answer))) != len(answer):
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                if not isinstance(sys.exception(), OSError):  # The asker may have had enough.
                    super().handle_error(request, client_address)  # type: ignore[arg-type]

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _evaluate(self, form: dict[str, str]) -> Reply:
        found = select(self.stored, form["query"], round(float(form["time"]) * 1000))
        limit = int(form.get("limit", "0"))
        answer = matrix(found[:limit] if limit else found)
        if limit and len(found) > limit:
            answer["warnings"] = ["results truncated due to limit"]
        return 200, JSON, json.dumps(answer).encode()


def matrix(series: list[Series]) -> dict[str, object]:
    """A successful answer."""
    result = [
        {
            "metric": {"__name__": one.name, **one.labels},
            "values": [
                [at / 1000, "NaN" if math.isnan(value) else repr(value)]
                for at, value in zip(one.times, one.values, strict=True)
            ],
        }
        for one in series
    ]
    return {"status": "success", "data": {"resultType": "matrix", "result": result}}


def select(stored: Stored, query: str, at: int) -> list[Series]:
    """Evaluate ``{matchers}[Nms]``, the only shape of query there is."""
    shape = re.fullmatch(r"\{(.*)\}\[(\d+)ms\]", query, re.DOTALL)
    assert shape is not None, query
    inside, length = shape.group(1), int(shape.group(2))
    matchers = _MATCHER.findall(inside)
    rebuilt = ",".join(label + operator + value for label, operator, value in matchers)
    assert rebuilt == inside, f"not plain matchers: {inside}"
    wanted = [(label, operator, json.loads(value)) for label, operator, value in matchers]
    return [
        one
        for one in stored.window(at, length)
        if all(_holds({"__name__": one.name, **one.labels}, *matcher) for matcher in wanted)
    ]


def _holds(labels: dict[str, str], label: str, operator: str, value: str) -> bool:
    have = labels.get(label, "")
    same = re.fullmatch(value, have) is not None if operator in ("=~", "!~") else have == value
    return same == (operator in ("=", "=~"))
