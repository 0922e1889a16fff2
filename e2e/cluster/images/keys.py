"""Cache keys: a key changes exactly when what it stands for has to be built again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement


def key(*parts: str | bytes) -> str:
    """12 hexadecimal digits over the parts, with their borders (`a`, `bc` is not `ab`, `c`)."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:12]


def tree_key(root: Path, paths: Iterable[str]) -> str:
    """Key over names and contents of files and folders below `root`; byte code does not count."""
    parts: list[str | bytes] = []
    for path in paths:
        top = root / path
        files = sorted(top.rglob("*")) if top.is_dir() else [top]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                parts += [str(file.relative_to(root)), file.read_bytes()]
    return key(*parts)


def file_key(path: Path) -> str:
    """Key of a large file by size and time of change; reading it all would take seconds."""
    stat = path.stat()
    return key(str(stat.st_size), str(stat.st_mtime_ns))


def requirements_for(exported: str, *, python: str) -> str:
    r"""The lines of an exported lock file that count for Linux on `python` (`3.11`), markers gone.

    `pip download --python-version` judges markers by the Python it runs on, not by the one asked
    for; so they are judged here.

    Args:
        exported: output of `uv export`: `name==version ; marker \\` with `--hash=...` lines below.
        python: `major.minor` of the image's Python.
    """
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "os_name": "posix",
        "extra": "",
    }
    lines: list[str] = []
    keep = False
    for line in exported.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not line[0].isspace():
            requirement = Requirement(line.rstrip("\\ "))
            keep = requirement.marker is None or requirement.marker.evaluate(environment)
            requirement.marker = None
            if keep:
                lines.append(f"{requirement} \\" if line.endswith("\\") else str(requirement))
        elif keep:
            lines.append(line)
    return "\n".join(lines) + "\n"
