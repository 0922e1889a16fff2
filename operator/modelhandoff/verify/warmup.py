"""``python -m modelhandoff.verify.warmup``: example requests to a candidate before any traffic.

Runs as a Job beside the candidate. It sends requests one after the other, each over a new
connection so that every pod behind the Service gets its share, until a number of them in a row
was answered with 200 and JSON. Then, where the handoff promises something of the answers, every pod
is asked by itself whether it keeps that (``modelhandoff.verify.canary``).

Requests come from a JSON-lines file (``{"request": <body>}`` per line; with ``none`` or no file
they are made up from the server's Open Inference v2 metadata).

Environment (each also as an option): ``MODELHANDOFF_TARGET`` (``http://HOST[:PORT]``),
``MODELHANDOFF_PATH``, ``MODELHANDOFF_METHOD``, ``MODELHANDOFF_MODEL_NAME``,
``MODELHANDOFF_REQUESTS``, ``MODELHANDOFF_EXAMPLES`` (relative to ``MODEL_DIR``),
``MODELHANDOFF_DEADLINE`` (seconds, or with a unit: ``600s``, ``10m``), ``MODELHANDOFF_PROMISES``
(JSON, see ``api.promises``), ``MODELHANDOFF_PODS`` (``name=http://HOST:PORT,...``; without, the
target stands for all of them).

Exit status: 0 warm, and all promises are kept; 2 an option or the examples file is wrong; 3 the
deadline passed first; 4 a promise is not kept. The outcome is one JSON line on standard output,
also left as the termination message, with the report on the promises as ``canary``::

    {"verdict":"Warm","wanted":50,"sent":53,"succeeded":51,"consecutive":50,"seconds":4.1,
     "p50":0.004,"p95":0.009,"versions":{"1.1.0":51},"codes":{"200":51,"503":2},
     "examples":"golden.jsonl","lastFailure":"503 ..."}
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any, Final

from modelhandoff.api.checks import (
    CANARY_REPORT,
    CanaryReport,
    CheckStatus,
    sha256,
    verdict_of,
)
from modelhandoff.api.promises import BROKEN_EXIT, NoPromises, Promises, read_promises
from modelhandoff.errors import cut
from modelhandoff.verify.canary import Errand, Pod, Unreachable, check_pods
from modelhandoff.verify.outcome import (
    MAX_MESSAGE_BYTES,
    TERMINATION_LOG,
    OneLineParser,
    write_termination_message,
)
from modelhandoff.verify.sending import Answer, BadRequest, Send, sender
from modelhandoff.verify.synthetic import Unmakable, synthetic_requests

MAX_EXAMPLES: Final = 1000
FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 2.0


class Exit(IntEnum):
    """Exit statuses."""

    WARM = 0
    USAGE = 2
    DEADLINE = 3
    BROKEN = BROKEN_EXIT


class Verdict(StrEnum):
    """What the summary line says first."""

    WARM = "Warm"
    DEADLINE = "DeadlineExceeded"
    BROKEN = "PromiseBroken"


@dataclass(slots=True)
class Tally:
    """What has been seen so far."""

    sent: int = 0
    consecutive: int = 0
    times: list[float] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    last_failure: str | None = None

    def add(self, answer: Answer) -> None:
        """Count one answer."""
        self.sent += 1
        self.codes[str(answer.status) if answer.status else "none"] += 1
        if not answer.good:
            self.consecutive = 0
            self.last_failure = answer.failure
            return
        self.consecutive += 1
        self.times.append(answer.seconds)
        self.versions[answer.version or "unknown"] += 1

    def quantile(self, q: float) -> float | None:
        """A sample quantile of the successful requests' seconds."""
        if not self.times:
            return None
        ordered = sorted(self.times)
        return round(ordered[min(len(ordered) - 1, int(q * len(ordered)))], 6)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send.

    Attributes:
        method: HTTP method.
        path: the contract's path.
        requests: successes in a row that end the warm-up.
        examples: bodies to cycle through; empty: make them up from the model's metadata.
        metadata_path: where the model's Open Inference v2 metadata lies.
        source: what the summary calls the examples.
    """

    method: str
    path: str
    requests: int
    examples: tuple[bytes, ...]
    metadata_path: str
    source: str


def warm(
    plan: Plan,
    send: Send,
    *,
    deadline: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> tuple[Verdict, Tally]:
    """Send until enough requests in a row have succeeded or the deadline has passed.

    Args:
        plan: what to send.
        send: how to send.
        deadline: on ``clock``.
        clock: monotonic seconds.
        sleep: waits after a failure.
    """
    tally = Tally()
    bodies: Iterator[tuple[str, bytes]] | None = None
    if plan.examples:
        bodies = ((plan.path, body) for body in itertools.cycle(plan.examples))
    pause = FIRST_PAUSE
    while tally.consecutive < plan.requests:
        if clock() >= deadline:
            return Verdict.DEADLINE, tally
        if bodies is None:
            answer = send("GET", plan.metadata_path, None)
            if answer.good:
                bodies = _made_up(answer.body, plan)
                continue
            tally.last_failure = f"metadata: {answer.failure}"
        else:
            path, body = next(bodies)
            answer = send(plan.method, path, body)
            tally.add(answer)
        if answer.good:
            pause = FIRST_PAUSE
        else:
            sleep(min(pause, max(0.0, deadline - clock())))
            pause = min(LONGEST_PAUSE, pause * 2.0)
    return Verdict.WARM, tally


def _made_up(metadata: bytes, plan: Plan) -> Iterator[tuple[str, bytes]]:
    try:
        requests = synthetic_requests(json.loads(metadata))
    except Unmakable as error:
        raise BadRequest(f"{plan.metadata_path}: {error}; give example requests") from None
    # Named features cannot be made up: the protocol's own path always takes tensors.
    path = plan.path if plan.path.endswith("/infer") else f"{plan.metadata_path}/infer"
    return ((path, json.dumps(request).encode()) for request in requests)


def read_examples(path: Path) -> tuple[bytes, ...]:
    """Request bodies from a JSON-lines file of ``{"request": <body>}``.

    Raises:
        BadRequest: unreadable, not such a file, or empty.
    """
    bodies: list[bytes] = []
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(itertools.islice(file, MAX_EXAMPLES), start=1):
                if line.strip():
                    bodies.append(_body(line, f"{path}:{number}"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"{path}: cannot be read; got {error}") from None
    if not bodies:
        raise BadRequest(f"{path}: holds no example request")
    return tuple(bodies)


def _body(line: str, where: str) -> bytes:
    try:
        document = json.loads(line)
    except ValueError as error:
        raise BadRequest(f"{where}: not JSON; got {error}") from None
    if not isinstance(document, dict) or "request" not in document:
        raise BadRequest(f'{where}: must be an object with "request"')
    return json.dumps(document["request"]).encode()


def _duration(text: str) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(s|m|h)?", text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"got {text!r}; allowed 600, 600s, 10m, 1h")
    return float(match[1]) * {"s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}[match[2]]


def _parse(argv: Sequence[str], environ: Mapping[str, str]) -> argparse.Namespace:
    parser = OneLineParser(
        BadRequest, prog="modelhandoff.verify.warmup", description="Warm up a server."
    )

    def option(flag: str, default: str | None = None, **more: Any) -> None:
        name = "MODELHANDOFF_" + flag.removeprefix("--").replace("-", "_").upper()
        parser.add_argument(flag, default=environ.get(name) or default, **more)

    option("--target", help="http://HOST[:PORT]")
    parser.add_argument("--url", dest="target", help="the same as --target")
    option("--path", help="default: the model's v2 infer path")
    option("--method", "POST")
    option("--model-name")
    option("--requests", "50", type=int)
    option("--examples", "none", help="JSON-lines file, or none")
    option("--deadline", "600", type=_duration)
    option("--promises", "", help="what the answers must keep, as JSON")
    option("--pods", "", help="name=http://HOST:PORT,...")
    parser.add_argument("--model-dir", type=Path, default=environ.get("MODEL_DIR") or ".")
    parser.add_argument("--termination-log", type=Path, default=TERMINATION_LOG)
    return parser.parse_args(argv)


def _plan(args: argparse.Namespace) -> Plan:
    if not args.target:
        raise BadRequest("MODELHANDOFF_TARGET: must say where to send to")
    if not args.path and not args.model_name:
        raise BadRequest("MODELHANDOFF_PATH or MODELHANDOFF_MODEL_NAME: must be given")
    fewest = 0 if args.promises else 1
    if args.requests < fewest:
        raise BadRequest(f"requests: got {args.requests}; allowed {fewest} or more")
    metadata_path = f"/v2/models/{args.model_name}"
    path = args.path or f"{metadata_path}/infer"
    if not args.model_name:
        metadata_path = path.removesuffix("/infer")
    examples: tuple[bytes, ...] = ()
    if args.examples != "none":
        # Joining an absolute path to a directory yields the absolute path.
        examples = read_examples(args.model_dir / args.examples)
    source = args.examples if examples else "synthetic"
    return Plan(args.method, path, args.requests, examples, metadata_path, source)


def _errand(args: argparse.Namespace, plan: Plan, promises: Promises, deadline: float) -> Errand:
    return Errand(
        promises,
        args.model_dir,
        plan.method,
        plan.path,
        plan.metadata_path,
        run=uuid.uuid4().hex,
        deadline=deadline,
        clock=time.monotonic,
        sleep=time.sleep,
    )


def _pods(args: argparse.Namespace) -> tuple[Pod, ...]:
    """The pods to ask, each by itself; the target stands for all of them when none is named."""
    named = [part.partition("=") for part in args.pods.split(",") if part]
    return tuple(Pod(name, sender(target)) for name, _, target in named) or (
        Pod("behind the Service", sender(args.target)),
    )


def summary(
    plan: Plan, verdict: Verdict, tally: Tally, seconds: float, report: CanaryReport | None
) -> str:
    """The outcome as one line, no longer than a termination message may be."""
    told: dict[str, Any] = {
        "verdict": verdict.value,
        "wanted": plan.requests,
        "sent": tally.sent,
        "succeeded": len(tally.times),
        "consecutive": tally.consecutive,
        "seconds": seconds,
        "p50": tally.quantile(0.5),
        "p95": tally.quantile(0.95),
        "versions": dict(tally.versions),
        "codes": dict(tally.codes),
        "examples": plan.source,
        "lastFailure": tally.last_failure,
    }
    if report is not None:
        told[CANARY_REPORT] = report.model_dump(mode="json", by_alias=True)
    # What a server says is without bound, and the report must not be cut.
    for spare in ("", "versions", "codes", "lastFailure", "examples"):
        told.pop(spare, None)
        line = json.dumps(told, separators=(",", ":"), ensure_ascii=False)
        if len(line.encode()) <= MAX_MESSAGE_BYTES:
            break
    return line


def _report(promised: str, checks: Sequence[CheckStatus]) -> CanaryReport:
    return CanaryReport(promises=sha256(promised.encode()), checks=tuple(checks))


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run with arguments and environment; returns the exit status."""
    log = TERMINATION_LOG
    start = time.monotonic()
    report: CanaryReport | None = None
    try:
        args = _parse(argv, environ)
        log = args.termination_log
        plan = _plan(args)
        promises = read_promises(args.promises) if args.promises else None
        deadline = start + args.deadline
        verdict, tally = warm(
            plan,
            sender(args.target),
            deadline=deadline,
            clock=time.monotonic,
            sleep=time.sleep,
        )
        if promises is not None and verdict is Verdict.WARM:
            try:
                checks = check_pods(_errand(args, plan, promises, deadline), _pods(args))
            except Unreachable as away:
                verdict, tally.last_failure = Verdict.DEADLINE, cut(away, 300)
            else:
                report = _report(args.promises, checks)
                if verdict_of(check.state for check in checks) != "Passed":
                    verdict = Verdict.BROKEN
    except (BadRequest, NoPromises) as error:
        line = "warmup: " + " ".join(str(error).split())
        print(line, file=sys.stderr)
        write_termination_message(line, log)
        return Exit.USAGE
    line = summary(plan, verdict, tally, round(time.monotonic() - start, 3), report)
    print(line)
    write_termination_message(line, log)
    return _EXITS[verdict]


_EXITS: Final = {
    Verdict.WARM: Exit.WARM,
    Verdict.DEADLINE: Exit.DEADLINE,
    Verdict.BROKEN: Exit.BROKEN,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
