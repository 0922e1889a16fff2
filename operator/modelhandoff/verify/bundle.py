"""The bundle under test: the frozen spec, and where its files lie. Reading is always bounded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

from pydantic import ValidationError

from modelhandoff.api.candidate import Artifact, ArtifactRole
from modelhandoff.api.checks import FORMAT
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.verification import FrozenBaseline
from modelhandoff.errors import cut
from modelhandoff.verify.findings import Failed

MAX_DOCUMENT: Final = 8 * 1024 * 1024
"""Most bytes of a file that is read as a whole (the model aside)."""
MAX_LINES: Final = 10_000
MAX_LINE_BYTES: Final = 16 * 1024 * 1024


class BadSpec(Exception):
    """The spec file is not one that this program can read; the message is one line."""


BASELINE: Final = "baseline"
"""Folder below the model directory that the baseline's artifacts lie in."""


@dataclass(frozen=True, slots=True)
class Rival:
    """The baseline that a bundle is compared with, and where its files lie."""

    frozen: FrozenBaseline
    files: tuple[tuple[Artifact, Path], ...] = ()

    def first(self, role: ArtifactRole) -> Path | None:
        """Path of the first artifact with a role."""
        return next((path for artifact, path in self.files if artifact.role is role), None)


_NOBODY: Final = FrozenBaseline(absent="no baseline is named in the spec file")


@dataclass(frozen=True, slots=True)
class Bundle:
    """The resolved spec, every artifact with its path, and the baseline."""

    spec: ModelHandoffSpec
    files: tuple[tuple[Artifact, Path], ...]
    baseline: Rival = Rival(_NOBODY)

    def all(self, role: ArtifactRole) -> tuple[Path, ...]:
        """Paths of the artifacts with a role, in the order of the spec."""
        return tuple(path for artifact, path in self.files if artifact.role is role)

    def first(self, role: ArtifactRole) -> Path | None:
        """Path of the first artifact with a role."""
        return next(iter(self.all(role)), None)


def read_bundle(document: bytes, directory: Path) -> Bundle:
    """The bundle that a spec file describes, with its artifacts below ``directory``.

    Raises:
        BadSpec: another format, an invalid spec, or file names that do not fit the artifacts.
    """
    try:
        raw = json.loads(document)
        if raw["format"] != FORMAT:
            raise BadSpec(f"format: got {cut(raw['format'])}; allowed {FORMAT}")
        spec = ModelHandoffSpec.model_validate(raw["spec"])
        named = list(zip(spec.candidate.artifacts, raw["files"], strict=True))
        frozen = FrozenBaseline.model_validate(raw["baseline"]) if "baseline" in raw else _NOBODY
        theirs = list(zip(frozen.artifacts, frozen.files, strict=True))
    except (ValueError, KeyError, TypeError, RecursionError, ValidationError) as error:
        raise BadSpec(f"the spec file cannot be read; got {cut(error, 200)}") from None
    if any(
        not isinstance(file, str) or "/" in file or file in ("", ".", "..")
        for _, file in (*named, *theirs)
    ):
        raise BadSpec("files: a name is no plain file name")
    below = directory / BASELINE
    return Bundle(
        spec,
        tuple((artifact, directory / file) for artifact, file in named),
        Rival(frozen, tuple((artifact, below / file) for artifact, file in theirs)),
    )


def read_bytes(path: Path, limit: int = MAX_DOCUMENT) -> bytes:
    """All bytes of a regular file.

    Raises:
        Failed: no regular file, empty, or longer than ``limit``.
    """
    with opened(path) as file:
        data = file.read(limit + 1)
    if not data:
        raise Failed(f"{path.name}: is empty")
    if len(data) > limit:
        raise Failed(f"{path.name}: too large to be read; allowed at most {limit} bytes")
    return data


def opened(path: Path) -> BinaryIO:
    """A regular file, open for reading.

    Raises:
        Failed: it is none.
    """
    if path.is_symlink() or not path.is_file():
        raise Failed(f"{path.name}: is no regular file")
    return path.open("rb")


def read_text(path: Path, limit: int = MAX_DOCUMENT) -> str:
    """All text of a UTF-8 file; a byte order mark is dropped.

    Raises:
        Failed: as :func:`read_bytes`, or another encoding.
    """
    return decoded(read_bytes(path, limit), path.name)


def decoded(data: bytes, where: str) -> str:
    """Text of UTF-8 bytes.

    Raises:
        Failed: another encoding, or NUL in the text.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Failed(f"{where}: not UTF-8; got byte {error.start}; allowed UTF-8 text") from None
    if "\0" in text:
        raise Failed(f"{where}: no text; got a NUL character; allowed UTF-8 text")
    return text


def parse_json(text: str, where: str) -> Any:
    """A JSON value without NaN and infinity.

    Raises:
        Failed: no JSON, numbers that JSON does not have, or nested too deeply.
    """
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise Failed(f"{where}: nested too deeply; allowed a few hundred levels") from None
    except ValueError as error:
        raise Failed(f"{where}: not JSON; got {cut(error, 120)}") from None


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word}, which is no JSON number")


def read_first_line(path: Path, limit: int) -> str:
    """The first line of a UTF-8 file, without its end.

    Raises:
        Failed: as :func:`read_text`, of the line.
    """
    with opened(path) as file:
        data = file.readline(limit + 1)
    if not data:
        raise Failed(f"{path.name}: is empty")
    if len(data) > limit:
        raise Failed(f"{path.name}:1: line too long; allowed at most {limit} bytes")
    return decoded(data, f"{path.name}:1").rstrip("\r\n")


def read_lines(path: Path, most: int = MAX_LINES) -> Iterator[tuple[str, Any]]:
    """Where and what: the values of a JSON-lines file, blank lines aside.

    Args:
        path: the file.
        most: lines that it may have.

    Raises:
        Failed: unreadable, a line that is no JSON or too long, too many lines, or none at all.
    """
    found = 0
    with opened(path) as file:
        number = 0
        while data := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            where = f"{path.name}:{number}"
            if len(data) > MAX_LINE_BYTES:
                raise Failed(f"{where}: line too long; allowed at most {MAX_LINE_BYTES} bytes")
            text = decoded(data, where).strip()
            if not text:
                continue
            found += 1
            if found > most:
                raise Failed(f"{path.name}: too many lines; allowed at most {most}")
            yield where, parse_json(text, where)
    if not found:
        raise Failed(f"{path.name}: holds no case; allowed at least one line")
