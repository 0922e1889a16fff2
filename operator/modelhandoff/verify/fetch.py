"""``python -m modelhandoff.verify.fetch``: the bytes that were reviewed are the bytes that serve.

Runs as the init container of every serving pod. Each artifact of the manifest is streamed into
``$MODEL_DIR`` beside its final name, hashed on the way, and renamed into place only when its
sha256 is the promised one. What is already there with the right digest is left alone, so a
restarted pod fetches nothing. Standard library only.

Environment (each also as an option, see ``--help``): ``MODEL_DIR``, ``MODELHANDOFF_ARTIFACTS``
(the manifest), ``MODELHANDOFF_MAX_BYTES``, ``MODELHANDOFF_FETCH_TIMEOUT``,
``MODELHANDOFF_FETCH_DEADLINE``, ``MODELHANDOFF_ALLOW_HTTP``.

Exit status: 0 all there; 2 the manifest or an option is wrong; 3 a digest is wrong; 4 an
artifact cannot be had; 5 it cannot be written. The reason is one line, on standard error and in
the termination message; on success that line is a JSON summary on standard output.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

from modelhandoff.verify.access import CLAIMS, CONFIGMAPS, SECRETS, Access, OtherBytes, Unavailable
from modelhandoff.verify.manifest import BadManifest, Wanted, hash_file, parse_manifest
from modelhandoff.verify.outcome import TERMINATION_LOG, OneLineParser, write_termination_message
from modelhandoff.verify.sources import CHUNK, opened

ATTEMPTS: Final = 4
PART: Final = ".part-"


class Exit(IntEnum):
    """Exit statuses."""

    DONE = 0
    USAGE = 2
    WRONG_DIGEST = 3
    UNAVAILABLE = 4
    UNWRITABLE = 5


class FetchFailed(Exception):
    """An artifact did not arrive; the message is one line.

    Args:
        message: what is wrong.
        status: the exit status that says so.
    """

    def __init__(self, message: str, status: Exit) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Budget:
    """Bounds of one run.

    Attributes:
        max_bytes: size of one artifact.
        deadline: monotonic time at which trying ends.
        clock: monotonic seconds.
        sleep: waits between attempts.
    """

    max_bytes: int
    deadline: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Fetched:
    """One artifact that is in place. ``fetched`` is False when it already was."""

    role: str
    file: str
    digest: str
    size: int
    fetched: bool


def fetch_all(
    wanted: Sequence[Wanted], directory: Path, access: Access, budget: Budget
) -> list[Fetched]:
    """Put every artifact in place, read-only.

    Raises:
        FetchFailed: at the first artifact that does not arrive; nothing half-written stays.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for left_over in directory.rglob(f"{PART}*"):
            _make_writable(left_over.parent)
            left_over.unlink()
    except OSError as error:
        raise FetchFailed(f"{directory}: {error.strerror}", Exit.UNWRITABLE) from None
    done = [_fetch(artifact, directory, access, budget) for artifact in wanted]
    folders = {(directory / artifact.file).parent for artifact in wanted}
    for folder in sorted(folders | {directory}, reverse=True):
        # A volume's own root may belong to somebody else; the server mounts it read-only anyway.
        with contextlib.suppress(OSError):
            folder.chmod(0o555)
    return done


def _fetch(artifact: Wanted, directory: Path, access: Access, budget: Budget) -> Fetched:
    target = directory / artifact.file
    where = f"{artifact.role} {artifact.uri[:200]}"
    try:
        present = hash_file(target)
        if present is not None and present[0] == artifact.digest:
            target.chmod(0o444)
            return Fetched(artifact.role, artifact.file, artifact.digest, present[1], False)
        target.parent.mkdir(parents=True, exist_ok=True)
        _make_writable(target.parent)
    except OSError as error:
        raise FetchFailed(f"{target}: {error.strerror}", Exit.UNWRITABLE) from None
    part = target.parent / f"{PART}{target.name}"
    try:
        size = _download_patiently(artifact, part, where, access, budget)
        try:
            part.chmod(0o444)
            part.replace(target)
        except OSError as error:
            raise FetchFailed(f"{target}: {error.strerror}", Exit.UNWRITABLE) from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return Fetched(artifact.role, artifact.file, artifact.digest, size, True)


def _download_patiently(
    artifact: Wanted, part: Path, where: str, access: Access, budget: Budget
) -> int:
    """Download with a few attempts; only what may be different next time is tried again."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _download(artifact, part, where, access, budget)
        except OtherBytes as error:
            raise FetchFailed(f"{where}: {error}", Exit.WRONG_DIGEST) from None
        except Unavailable as error:
            pause = 2.0 ** (attempt - 1)
            late = budget.clock() + pause >= budget.deadline
            if not error.transient or attempt == ATTEMPTS or late:
                tries = f" ({attempt} attempts)" if attempt > 1 else ""
                raise FetchFailed(f"{where}: {error}{tries}", Exit.UNAVAILABLE) from None
            budget.sleep(pause)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _download(artifact: Wanted, part: Path, where: str, access: Access, budget: Budget) -> int:
    digest = hashlib.sha256()
    size = 0
    with opened(artifact.uri, artifact.digest, access) as (stream, announced):
        if announced is not None and announced > budget.max_bytes:
            raise _too_large(where, announced, budget)
        try:
            with part.open("wb") as file:
                while chunk := stream.read(CHUNK):
                    size += len(chunk)
                    if size > budget.max_bytes:
                        raise _too_large(where, size, budget)
                    if budget.clock() >= budget.deadline:
                        raise Unavailable("deadline passed during the download", transient=False)
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise FetchFailed(f"{part}: {error.strerror}", Exit.UNWRITABLE) from None
    if announced is not None and size != announced:
        raise Unavailable(f"download ended after {size} of {announced} bytes", transient=True)
    got = f"sha256:{digest.hexdigest()}"
    if got != artifact.digest:
        raise FetchFailed(
            f"{where}: digest is wrong; got {got} ({size} bytes); allowed {artifact.digest}",
            Exit.WRONG_DIGEST,
        )
    return size


def _too_large(where: str, size: int, budget: Budget) -> FetchFailed:
    return FetchFailed(
        f"{where}: too large; got at least {size} bytes; allowed {budget.max_bytes}",
        Exit.UNAVAILABLE,
    )


def _make_writable(folder: Path) -> None:
    """Undo the read-only mode an earlier run left; a root that is not ours has its own mode."""
    if not os.access(folder, os.W_OK):
        folder.chmod(0o755)


def _parse(argv: Sequence[str], environ: Mapping[str, str]) -> argparse.Namespace:
    parser = OneLineParser(
        BadManifest, prog="modelhandoff.verify.fetch", description="Fetch and check artifacts."
    )
    get = environ.get
    parser.add_argument("--model-dir", type=Path, default=get("MODEL_DIR"))
    parser.add_argument("--manifest", default=get("MODELHANDOFF_ARTIFACTS"), help="JSON, or @FILE")
    parser.add_argument("--max-bytes", type=int, default=get("MODELHANDOFF_MAX_BYTES", str(2**31)))
    parser.add_argument("--timeout", type=float, default=get("MODELHANDOFF_FETCH_TIMEOUT", "30"))
    parser.add_argument(
        "--deadline", type=float, default=get("MODELHANDOFF_FETCH_DEADLINE", "1800")
    )
    parser.add_argument(
        "--allow-http", choices=["true", "false"], default=get("MODELHANDOFF_ALLOW_HTTP", "true")
    )
    parser.add_argument("--configmaps", type=Path, default=CONFIGMAPS)
    parser.add_argument("--claims", type=Path, default=CLAIMS)
    parser.add_argument("--pull-secrets", type=Path, default=SECRETS)
    parser.add_argument("--termination-log", type=Path, default=TERMINATION_LOG)
    return parser.parse_args(argv)


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run with arguments and environment; returns the exit status."""
    log = TERMINATION_LOG
    try:
        args = _parse(argv, environ)
        log = args.termination_log
        if args.model_dir is None:
            raise BadManifest("MODEL_DIR: must name the directory to write to")
        if not args.manifest:
            raise BadManifest("MODELHANDOFF_ARTIFACTS: must hold the list of artifacts")
        text = args.manifest
        if text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
        access = Access(
            args.configmaps,
            args.claims,
            args.timeout,
            args.allow_http == "true",
            secrets=args.pull_secrets,
        )
        budget = Budget(args.max_bytes, time.monotonic() + args.deadline)
        done = fetch_all(parse_manifest(text), args.model_dir, access, budget)
    except (BadManifest, OSError) as error:
        return _fail(f"{error}", Exit.USAGE, log)
    except FetchFailed as error:
        return _fail(f"{error}", error.status, log)
    summary = json.dumps(
        {
            "verdict": "Fetched",
            "artifacts": [
                {
                    "role": a.role,
                    "file": a.file,
                    "digest": a.digest,
                    "bytes": a.size,
                    "fetched": a.fetched,
                }
                for a in done
            ],
        },
        separators=(",", ":"),
    )
    print(summary)
    write_termination_message(summary, log)
    return Exit.DONE


def _fail(reason: str, status: Exit, log: Path) -> int:
    line = "fetch: " + " ".join(reason.split())
    print(line, file=sys.stderr)
    write_termination_message(line, log)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
