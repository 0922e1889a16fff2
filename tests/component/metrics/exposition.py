"""Small model servers for a real Prometheus to scrape: every number they show was put there."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate

EDGES = (0.01, 0.03, 0.1)


class Pod:
    """One model server pod on loopback. It answers scrapes while it lives, from a fixed port."""

    def __init__(self, name: str, namespace: str = "shop") -> None:
        self.name = name
        self.namespace = namespace
        self.sent = 0
        """Requests this pod has ever answered, over all its processes."""
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._refusing = False
        self.scraped = 0
        self._wipe()
        # Bound from the start and kept, so that no other test can take the port.
        self._listener = _bind(self, 0)
        self.port = self._listener.server_address[1]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return self._server is not None

    def start(self) -> Pod:
        """Begin to answer scrapes."""
        if self._server is None:
            self.restart()
            self._server = self._listener
            threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def answer(self, times: int = 1, code: int = 200, seconds: float = 0.02) -> None:
        """Answer requests."""
        with self._lock:
            self.sent += times
            self._codes[code] = self._codes.get(code, 0) + times
            self._bins[bisect_left(EDGES, seconds)] += times

    def restart(self, answered: int = 0) -> None:
        """Crash and start again: every counter begins at 0, the start time is new.

        Requests ``answered`` by the new process before anyone can scrape it are part of it.
        """
        with self._lock:
            self._wipe()
            self.sent += answered
            self._codes[200] = self._bins[1] = answered

    def refuse(self, refusing: bool = True) -> None:
        """Answer scrapes with 503 for a while, as an overloaded process does."""
        self._refusing = refusing

    def kill(self) -> None:
        """Gone for good."""
        if self._server is not None:
            self._server.shutdown()
        self._listener.server_close()

    def _wipe(self) -> None:
        self._codes: dict[int, int] = {200: 0, 500: 0}
        self._bins = [0] * (len(EDGES) + 1)
        self._started = time.time()

    def render(self) -> bytes | None:
        with self._lock:
            self.scraped += 1
            if self._refusing:
                return None
            lines = [f"process_start_time_seconds {self._started:.2f}"]
            name = "modelhandoff_server_requests_total"
            lines += [f'{name}{{code="{code}"}} {n}' for code, n in self._codes.items()]
            name = "modelhandoff_server_request_duration_seconds"
            counts = list(accumulate(self._bins))
            edges = [*(f"{edge:g}" for edge in EDGES), "+Inf"]
            for edge, count in zip(edges, counts, strict=True):
                lines.append(f'{name}_bucket{{le="{edge}"}} {count}')
            lines.append(f"{name}_count {counts[-1]}")
        return ("\n".join(lines) + "\n").encode()


def _bind(pod: Pod, port: int) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pod.render()
            self.send_response(200 if body is not None else 503)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    return Server(("127.0.0.1", port), Handler)
