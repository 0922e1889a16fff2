"""A client that never stops: the oracle for "no request fails because of a routing change".

Open loop: requests leave at a constant rate whatever the answers do, because a client that
waits for slow answers would send less exactly when something is wrong. Most go over kept-alive
connections, a share over a new connection each, since a routing change breaks the two
differently. It is bounded in rate, time and requests in flight, and ends by itself.

    python -m e2e.traffic --url http://10.0.0.7 --host fraud.example --rate 100 --duration 60 \
        --requests build/fraud/traffic.jsonl --log traffic-log.jsonl

As a library (its own thread and event loop, so it serves plain and asyncio tests alike)::

    traffic = Traffic(Plan(url="http://10.0.0.7", host="fraud.example", bodies=bodies))
    traffic.start()
    mark = traffic.now()
    ...
    assert traffic.summary(since=mark).not_the_models_fault == 0
    traffic.stop()
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO

import aiohttp
from yarl import URL

DEFAULT_PATH = "/v2/models/fraud/infer"
MAX_RATE = 500.0
MAX_DURATION = 4 * 3600.0
MAX_LATE = 1.0
FLUSH_EVERY = 1.0


class Outcome(StrEnum):
    """Whose fault an answer is."""

    OK = "ok"
    CONNECTION = "connection"
    """No answer: refused, reset, timed out."""
    GATEWAY = "gateway"
    """An answer that no model server wrote: it carries no X-Model-Version."""
    MODEL = "model"
    """A model server answered with an error status."""
    MIXED_UP = "mixed-up"
    """Somebody else's answer, or no JSON: the id in the protocol's body differs.

    Not the X-Request-Id header: gateways put their own there (Envoy does unless told not to).
    """


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send, how fast, how long.

    Attributes:
        url: ``http://ADDRESS[:PORT]`` of the gateway.
        bodies: request bodies to cycle through.
        host: Host header; None sends the address.
        path: path of every request.
        rate: requests per second, at most 500.
        duration: seconds after which it stops by itself, at most four hours.
        new_connection_share: share of requests that open a connection of their own.
        timeout: seconds after which a request counts as unanswered.
        max_in_flight: above it requests are skipped, and counted as such.
        log: file for one JSON line per request.
    """

    url: str
    bodies: Sequence[bytes]
    host: str | None = None
    path: str = DEFAULT_PATH
    rate: float = 50.0
    duration: float = 600.0
    new_connection_share: float = 0.2
    timeout: float = 10.0
    max_in_flight: int = 256
    log: Path | None = None

    def __post_init__(self) -> None:
        if not 0 < self.rate <= MAX_RATE or not 0 < self.duration <= MAX_DURATION:
            raise ValueError(
                f"rate and duration: got {self.rate}, {self.duration}; "
                f"allowed up to {MAX_RATE}/s and {MAX_DURATION} s"
            )
        if not self.bodies:
            raise ValueError("bodies: must hold at least one request")


@dataclass(frozen=True, slots=True)
class Answer:
    """One request's end.

    Attributes:
        at: Unix time the request left.
        outcome: whose fault it is.
        status: HTTP status, 0 without an answer.
        version: X-Model-Version.
        seconds: from leaving to the end of the body.
        request_id: what was sent as X-Request-Id, and as the body's ``id`` to an infer path.
        reconnected: whether it had a connection of its own.
        detail: what went wrong.
    """

    at: float
    outcome: Outcome
    status: int
    version: str | None
    seconds: float
    request_id: str
    reconnected: bool
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class VersionSummary:
    """Answers that one model version wrote. Latencies in seconds."""

    answers: int
    errors: int
    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class Summary:
    """A stretch of traffic.

    Attributes:
        since: Unix time of the first request that may be in it.
        answered: requests that have ended, one way or another.
        skipped: requests never sent, because the client was late or too many were open.
        outcomes: requests by outcome.
        statuses: requests by HTTP status.
        versions: what each version answered.
        failures: the first ten that are not ok.
    """

    since: float
    answered: int
    skipped: int
    outcomes: dict[str, int]
    statuses: dict[int, int]
    versions: dict[str, VersionSummary]
    failures: list[Answer] = field(default_factory=list)

    @property
    def not_the_models_fault(self) -> int:
        """Requests that failed on the way: no answer, a gateway's answer, a mixed-up one."""
        wrong = (Outcome.CONNECTION, Outcome.GATEWAY, Outcome.MIXED_UP)
        return sum(self.outcomes.get(outcome, 0) for outcome in wrong)

    def share(self, version: str) -> float:
        """Share of the model servers' answers that one version wrote; 0 when there were none."""
        total = sum(entry.answers for entry in self.versions.values())
        return self.versions[version].answers / total if version in self.versions else 0.0


class Traffic:
    """One run of a plan. Start it once; ``stop`` is safe at any time and more than once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._url = URL(plan.url + plan.path, encoded=True)
        self._answers: list[Answer] = []
        self._skips: list[float] = []
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._begun = threading.Event()
        self._failure: BaseException | None = None

    def now(self) -> float:
        """A mark for ``summary(since=...)``."""
        return time.time()

    def start(self) -> None:
        """Send from now on, in a thread of its own."""
        if self._thread is not None:
            raise RuntimeError("this traffic was started before")
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self._thread.start()
        self._begun.wait()

    def stop(self) -> None:
        """Send nothing more, wait for the answers that are due, close the log.

        Raises:
            RuntimeError: the client itself broke (an answer's failure is not that).
        """
        if self._loop is not None and self._stopping is not None:
            with suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._stopping.set)
        self.join()

    def join(self) -> None:
        """Wait until the plan's time is up and every answer is in."""
        if self._thread is not None:
            self._thread.join()
        if self._failure is not None:
            raise RuntimeError("the traffic client broke") from self._failure

    @property
    def running(self) -> bool:
        """Whether requests are still being sent or awaited."""
        return self._thread is not None and self._thread.is_alive()

    def answers(self, since: float = 0.0) -> list[Answer]:
        """Finished requests that left at or after a mark, in the order they ended."""
        return [answer for answer in self._answers[:] if answer.at >= since]

    def summary(self, since: float = 0.0) -> Summary:
        """Counts and latencies of the requests that left at or after a mark."""
        chosen = self.answers(since)
        skipped = sum(at >= since for at in self._skips[:])
        return summarise(chosen, since=since, skipped=skipped)

    # --- in the thread ----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            asyncio.run(self._send_all())
        except BaseException as error:  # handed to whoever joins
            self._failure = error
        finally:
            self._begun.set()

    async def _send_all(self) -> None:
        plan = self.plan
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        timeout = aiohttp.ClientTimeout(total=plan.timeout)
        kept = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        fresh = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        log = plan.log.open("w", encoding="utf-8") if plan.log else None
        self._begun.set()
        try:
            async with kept, fresh:
                await self._pace(kept, fresh, log)
        finally:
            if log is not None:
                log.close()

    async def _pace(
        self, kept: aiohttp.ClientSession, fresh: aiohttp.ClientSession, log: TextIO | None
    ) -> None:
        plan = self.plan
        assert self._stopping is not None
        open_requests: set[asyncio.Task[None]] = set()
        start = time.monotonic()
        last_flush = start
        fresh_due = 0.0
        for index, body in zip(
            range(math.ceil(plan.rate * plan.duration)), itertools.cycle(plan.bodies)
        ):
            due = start + index / plan.rate
            wait = due - time.monotonic()
            if wait > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), wait)
            if self._stopping.is_set():
                break
            # A paused client must not fire what it missed in one burst.
            if -wait > MAX_LATE or len(open_requests) >= plan.max_in_flight:
                self._skips.append(time.time())
                continue
            fresh_due += plan.new_connection_share
            reconnect = fresh_due >= 1.0
            fresh_due -= reconnect
            task = asyncio.create_task(
                self._one(fresh if reconnect else kept, body, index, reconnect, log)
            )
            open_requests.add(task)
            task.add_done_callback(open_requests.discard)
            if log is not None and due - last_flush > FLUSH_EVERY:
                log.flush()
                last_flush = due
        await asyncio.gather(*open_requests)

    async def _one(
        self,
        session: aiohttp.ClientSession,
        body: bytes,
        index: int,
        reconnect: bool,
        log: TextIO | None,
    ) -> None:
        request_id = f"traffic-{index}"
        tagged = self.plan.path.endswith("/infer")
        if tagged:
            body = b'{"id":"%s",%s' % (request_id.encode(), body.lstrip()[1:])
        headers = {"X-Request-Id": request_id, "Content-Type": "application/json"}
        if self.plan.host:
            headers["Host"] = self.plan.host
        at, start = time.time(), time.monotonic()
        status, version, detail = 0, None, None
        try:
            async with session.post(
                self._url, data=body, headers=headers, allow_redirects=False
            ) as response:
                content = await response.read()
            status = response.status
            version = response.headers.get("X-Model-Version")
            if version is None:
                outcome = Outcome.GATEWAY
            elif status != 200:
                outcome = Outcome.MODEL
            else:
                mine = not tagged or json.loads(content).get("id") == request_id
                outcome = Outcome.OK if mine else Outcome.MIXED_UP
            if outcome is not Outcome.OK:
                detail = content[:200].decode(errors="replace")
        except (ValueError, AttributeError) as error:  # 200, but no JSON object
            outcome, detail = Outcome.MIXED_UP, f"{error}: {content[:160]!r}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            outcome = Outcome.CONNECTION
            detail = f"{type(error).__name__}: {error}"[:200]
        answer = Answer(
            at, outcome, status, version, time.monotonic() - start, request_id, reconnect, detail
        )
        self._answers.append(answer)
        if log is not None:
            log.write(json.dumps(asdict(answer), separators=(",", ":")) + "\n")


def summarise(answers: Iterable[Answer], *, since: float = 0.0, skipped: int = 0) -> Summary:
    """Counts and latencies of finished requests."""
    chosen = list(answers)
    by_version: dict[str, list[Answer]] = {}
    for answer in chosen:
        if answer.version is not None:
            by_version.setdefault(answer.version, []).append(answer)
    return Summary(
        since=since,
        answered=len(chosen),
        skipped=skipped,
        outcomes=dict(Counter(answer.outcome.value for answer in chosen)),
        statuses=dict(Counter(answer.status for answer in chosen)),
        versions={
            version: VersionSummary(
                answers=len(own),
                errors=sum(answer.outcome is not Outcome.OK for answer in own),
                p50=_quantile([answer.seconds for answer in own], 0.5),
                p95=_quantile([answer.seconds for answer in own], 0.95),
            )
            for version, own in sorted(by_version.items())
        },
        failures=[answer for answer in chosen if answer.outcome is not Outcome.OK][:10],
    )


def _quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def read_bodies(path: Path) -> list[bytes]:
    """Request bodies from a JSON-lines file of ``{"request": <body>}``."""
    with path.open(encoding="utf-8") as file:
        return [json.dumps(json.loads(line)["request"]).encode() for line in file if line.strip()]


def main(argv: Sequence[str]) -> int:
    """Command line; exit status 1 when a request failed on the way."""
    parser = argparse.ArgumentParser(description="Send constant traffic and say what came back.")
    parser.add_argument("--url", required=True, help="http://ADDRESS[:PORT]")
    parser.add_argument(
        "--requests", type=Path, required=True, help='JSON lines: {"request": body}'
    )
    parser.add_argument("--host", help="Host header")
    parser.add_argument("--path", default=DEFAULT_PATH)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--duration", type=float, default=60.0)
    parser.add_argument("--new-connection-share", type=float, default=0.2)
    parser.add_argument("--timeout", type=float, default=10.0)
    parser.add_argument("--log", type=Path)
    args: dict[str, Any] = vars(parser.parse_args(argv))
    traffic = Traffic(Plan(bodies=read_bodies(args.pop("requests")), **args))
    traffic.start()
    try:
        traffic.join()
    except KeyboardInterrupt:
        traffic.stop()
    summary = traffic.summary()
    print(json.dumps({**asdict(summary), "cpu_seconds": round(time.process_time(), 3)}, indent=2))
    return 1 if summary.not_the_models_fault else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
