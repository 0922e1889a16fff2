"""``python -m modelhandoff.verify.check``: does the bundle keep what its spec promises?

Runs as the verification Job, after the artifacts were fetched by the init container and before
any pod of the candidate exists. It needs no network, no token and no writable directory. The
checks themselves run in a child process under limits (``modelhandoff.verify.worker``): this one
outlives a model that does not, and always says what happened.

Environment (each also as an option): ``MODELHANDOFF_SPEC`` (the spec file), ``MODEL_DIR``,
``MODELHANDOFF_DEADLINE`` (seconds), ``MODELHANDOFF_MEMORY`` (bytes for the checks; 0: unbounded).

Exit status: 0 when there is a report, whatever it says; 2 when the spec or an option cannot be
read. The report is one line of JSON on standard output (at most 64 KiB, see ``api.checks``); the
termination message holds its verdict and digest and the digest of the spec that was read.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from modelhandoff.api.checks import (
    FORMAT,
    MAX_BODY,
    MAX_RECEIPT,
    CheckName,
    CheckState,
    CheckStatus,
    Receipt,
    Report,
    sha256,
    verdict_of,
)
from modelhandoff.errors import cut
from modelhandoff.verify.bundle import BadSpec, read_bundle
from modelhandoff.verify.findings import status
from modelhandoff.verify.outcome import TERMINATION_LOG, OneLineParser, write_termination_message
from modelhandoff.verify.worker import asked

MAX_SPEC: Final = 1024 * 1024
MAX_RESULTS: Final = 1024 * 1024
MAX_SHORT_LINE: Final = 120
MIB: Final = 1024 * 1024


class Exit(IntEnum):
    """Exit statuses."""

    REPORTED = 0
    USAGE = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the checks: seconds of wall-clock and of CPU time, bytes of memory (0: none)."""

    seconds: float
    cpu: int
    memory: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How the child ended: its return code, ``None`` when it was stopped by us, and CPU seconds."""

    code: int | None
    cpu: float
    words: str


def verify(
    spec: bytes,
    directory: Path,
    limits: Limits,
    tell: Callable[[CheckStatus], None] = lambda _: None,
) -> tuple[CheckStatus, ...]:
    """Make all checks that the spec asks for; each has a result, whatever became of the child.

    Args:
        spec: the spec file, as it was read once: the file may change while we look.
        directory: where the artifacts lie.
        limits: bounds of all checks together.
        tell: called with each result as soon as it is there, and once only.

    Raises:
        BadSpec: the spec file cannot be read.
    """
    wanted = asked(read_bundle(spec, directory))
    done: dict[str, CheckStatus] = {}
    stream = _Child(spec, directory, limits)
    for message in stream.messages():
        if "done" in message:
            result = CheckStatus.model_validate(message["done"])
            done[result.name] = result
            tell(result)
    # Checks are made in this order: the first without a result is the one that the child died of,
    # and never a pass.
    missing = [name for name in wanted if name not in done]
    for name in missing[:1]:
        done[name] = _lost(name, stream.ended or Ended(0, 0.0, ""), limits)
    for name in missing[1:]:
        done[name] = status(name, CheckState.SKIPPED, "Not made: the checks before it ended.")
    for name in missing:
        tell(done[name])
    return tuple(done[name] for name in wanted)


def _lost(name: CheckName, ended: Ended, limits: Limits) -> CheckStatus:
    """The result of a check whose process did not live to tell it."""
    if ended.code is None:
        took = f"did not end within {limits.seconds:.0f} s"
        if ended.cpu >= limits.seconds / 2:
            return status(name, CheckState.FAILED, f"{took}; it used {ended.cpu:.0f} s of CPU")
        message = f"{took}, but had only {ended.cpu:.0f} s of CPU"
        return status(name, CheckState.INCONCLUSIVE, message)
    if ended.code == -signal.SIGXCPU:
        return status(
            name, CheckState.FAILED, f"used more than {limits.cpu} s of CPU and did not end"
        )
    if ended.code == -signal.SIGKILL:
        return status(name, CheckState.FAILED, "was killed: most likely it took too much memory")
    if ended.code < 0:
        word = signal.Signals(-ended.code).name
        return status(name, CheckState.FAILED, f"the process that made the check ended by {word}")
    message = f"the checks ended with status {ended.code}: {ended.words or 'no word why'}"
    return status(name, CheckState.INCONCLUSIVE, message)


class _Child:
    """The child process; iterate over its messages, then look at how it ended."""

    def __init__(self, spec: bytes, directory: Path, limits: Limits) -> None:
        self._limits = limits
        self._end = time.monotonic() + limits.seconds
        self._reader, writer = os.pipe()
        arguments = [directory, limits.memory, limits.cpu, writer]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "modelhandoff.verify.worker", *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(writer,),
                # One thread: what is bound is memory, and every thread's stack is part of it.
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        finally:
            os.close(writer)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(spec)
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self.ended: Ended | None = None

    def messages(self) -> Iterator[Mapping[str, Any]]:
        """What it says, line by line, until it ends or its time is over."""
        words = bytearray()
        lines = bytearray()
        errors = self._process.stderr
        assert errors is not None
        stopped = False
        with selectors.DefaultSelector() as selector:
            selector.register(self._reader, selectors.EVENT_READ, lines)
            selector.register(errors.fileno(), selectors.EVENT_READ, words)
            total = 0
            while selector.get_map():
                left = self._end - time.monotonic()
                ready = selector.select(left) if left > 0 and total <= MAX_RESULTS else ()
                if not ready:
                    stopped = True
                    self._process.kill()
                    break
                for key, _ in ready:
                    data = os.read(key.fd, 65536)
                    if not data:
                        selector.unregister(key.fd)
                    elif key.data is words:
                        # Only the end counts: what a library writes there is without bound.
                        words[:] = (words + data)[-4096:]
                    else:
                        lines += data
                        total += len(data)
                while (at := lines.find(b"\n")) >= 0:
                    line, lines[: at + 1] = bytes(lines[:at]), b""
                    yield _message(line)
        errors.close()
        os.close(self._reader)
        code = self._process.wait()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        said = words.decode("utf-8", "replace").strip().splitlines()
        self.ended = Ended(
            None if stopped else code,
            used.ru_utime + used.ru_stime,
            cut(said[-1] if said else "", 200),
        )


def _message(line: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def report_body(checks: Sequence[CheckStatus], seconds: float) -> bytes:
    """The report as one line; messages are cut shorter where it would be too long."""
    for longest in (None, MAX_SHORT_LINE, 20):
        told = [
            check
            if longest is None
            else check.model_copy(update={"message": cut(check.message, longest)})
            for check in checks
        ]
        report = Report(format=FORMAT, checks=tuple(told), seconds=round(seconds, 3))
        body = report.model_dump_json(by_alias=True).encode()
        if len(body) <= MAX_BODY:
            break
    return body


def receipt_text(checks: Sequence[CheckStatus], body: bytes, spec: bytes) -> str:
    """The termination message."""
    verdict = verdict_of(check.state for check in checks)
    first = next((c for c in checks if c.state == verdict and verdict != "Passed"), None)
    message = "" if first is None else cut(f"{first.name}: {first.message}", 500)
    receipt = Receipt(verdict=verdict, body=sha256(body), spec=sha256(spec), message=message)
    text = receipt.model_dump_json(by_alias=True)
    if len(text.encode()) > MAX_RECEIPT:
        text = receipt.model_copy(update={"message": ""}).model_dump_json(by_alias=True)
    return text


def _parse(argv: Sequence[str], environ: Mapping[str, str]) -> argparse.Namespace:
    parser = OneLineParser(BadSpec, prog="modelhandoff.verify.check", description="Check a bundle.")
    get = environ.get
    parser.add_argument("--spec", type=Path, default=get("MODELHANDOFF_SPEC"))
    parser.add_argument("--model-dir", type=Path, default=get("MODEL_DIR"))
    parser.add_argument("--deadline", type=float, default=get("MODELHANDOFF_DEADLINE", "600"))
    parser.add_argument("--memory", type=int, default=get("MODELHANDOFF_MEMORY", "0"))
    parser.add_argument("--termination-log", type=Path, default=TERMINATION_LOG)
    return parser.parse_args(argv)


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run with arguments and environment; returns the exit status."""
    log = TERMINATION_LOG
    start = time.monotonic()
    try:
        args = _parse(argv, environ)
        log = args.termination_log
        if args.spec is None or args.model_dir is None:
            raise BadSpec("MODELHANDOFF_SPEC and MODEL_DIR: must be given")
        with args.spec.open("rb") as file:
            spec = file.read(MAX_SPEC + 1)
        if len(spec) > MAX_SPEC:
            raise BadSpec(f"{args.spec}: too large; allowed at most {MAX_SPEC} bytes")
        if not 1 <= args.deadline <= 86_400:
            raise BadSpec(f"deadline: got {args.deadline:g}; allowed 1 to 86400 seconds")
        checks = verify(
            spec, args.model_dir, Limits(args.deadline, int(args.deadline), args.memory)
        )
    except (BadSpec, OSError) as error:
        line = "check: " + cut(error, 400)
        print(line, file=sys.stderr)
        write_termination_message(line, log)
        return Exit.USAGE
    body = report_body(checks, time.monotonic() - start)
    sys.stdout.buffer.write(body + b"\n")
    sys.stdout.buffer.flush()
    write_termination_message(receipt_text(checks, body, spec), log)
    return Exit.REPORTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
