"""What to fetch: a JSON list of artifacts, as the operator writes it into the pod."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MAX_ARTIFACTS: Final = 40
"""32 of a bundle, and what is fetched of the baseline beside it."""
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_FILE: Final = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,199}){0,7}"
)
_KEYS: Final = {"role", "uri", "digest", "file"}


class BadManifest(Exception):
    """The manifest cannot be used; the message is one line."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One artifact.

    Attributes:
        role: what it is for, shown in messages.
        uri: where it lies.
        digest: ``sha256:`` and 64 hexadecimal digits.
        file: its path below the model directory.
    """

    role: str
    uri: str
    digest: str
    file: str


def parse_manifest(text: str) -> tuple[Wanted, ...]:
    """Artifacts from ``[{"role", "uri", "digest", "file"}, ...]``.

    Raises:
        BadManifest: not such a list, a digest of another kind, a path that leaves the model
            directory, or the same path twice.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise BadManifest(f"manifest: not JSON; got {error}") from None
    if not isinstance(document, list) or not 1 <= len(document) <= MAX_ARTIFACTS:
        raise BadManifest(f"manifest: must be a list of 1 to {MAX_ARTIFACTS} artifacts")
    wanted = tuple(_artifact(item, f"manifest[{index}]") for index, item in enumerate(document))
    taken: set[str] = set()
    for index, artifact in enumerate(wanted):
        if artifact.file in taken:
            raise BadManifest(f"manifest[{index}].file: given twice; got {artifact.file!r}")
        taken.add(artifact.file)
    return wanted


def _artifact(item: Any, path: str) -> Wanted:
    if not isinstance(item, Mapping) or set(item) != _KEYS:
        raise BadManifest(f"{path}: must be an object with exactly {sorted(_KEYS)}")
    for key in sorted(_KEYS):
        if not isinstance(item[key], str) or not item[key]:
            raise BadManifest(f"{path}.{key}: must be text")
    if not _DIGEST.fullmatch(item["digest"]):
        raise BadManifest(
            f"{path}.digest: got {item['digest'][:80]!r}; allowed sha256:<64 lower-case hex digits>"
        )
    if not _FILE.fullmatch(item["file"]):
        raise BadManifest(
            f"{path}.file: got {item['file'][:80]!r}; allowed a relative path of letters, digits, "
            "'.', '_' and '-', no part of which starts with '.' or '-'"
        )
    return Wanted(item["role"], item["uri"], item["digest"], item["file"])


def hash_file(path: Path) -> tuple[str, int] | None:
    """Digest and size of a regular file; None for anything else."""
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return f"sha256:{digest.hexdigest()}", file.tell()
