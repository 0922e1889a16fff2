"""The bundle of a handoff as it lies on somebody's disk: which file is which artifact."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelhandoff.cli import inputs
from modelhandoff.errors import InvalidInputError

if TYPE_CHECKING:
    from modelhandoff.api.candidate import Artifact

HANDOFF = "handoff.yaml"


@dataclass(frozen=True, slots=True)
class Local:
    """One artifact.

    Attributes:
        name: under which it is fetched: the last part of its address.
        path: where it lies, whether or not it is there.
    """

    artifact: Artifact
    name: str
    path: Path


def handoff_file(path: Path) -> Path:
    """The handoff's file: the path itself, or ``handoff.yaml`` in that folder."""
    if not path.is_dir():
        return path
    found = path / HANDOFF
    if not found.is_file():
        line = InvalidInputError(str(path), f"has no {HANDOFF}", "no such file", "a ModelHandoff")
        inputs.refuse([line])
    return found


def bundle(artifacts: Sequence[Artifact], folder: Path) -> tuple[Local, ...]:
    """Every artifact and where it lies below ``folder``."""
    from modelhandoff.cluster.pods import file_names

    names = file_names(tuple(artifacts))
    return tuple(
        Local(artifact, name, folder / name)
        for artifact, name in zip(artifacts, names, strict=True)
    )


def missing(files: Sequence[Local]) -> list[InvalidInputError]:
    """A line for each artifact whose file is not there."""
    return [
        InvalidInputError(
            str(one.path),
            f"the artifact with role {one.artifact.role} is not here",
            "no such file",
            "its file, or --artifacts FOLDER, or --fetch",
        )
        for one in files
        if not one.path.is_file()
    ]


def gather(files: Sequence[Local], into: Path) -> None:
    """All files in one folder under the names by which they are fetched, as links where possible.

    Raises:
        OSError: a file cannot be read, or the folder not written.
    """
    for one in files:
        target, source = into / one.name, one.path.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:
            # Another file system, or one without links.
            shutil.copyfile(source, target)
