"""The malformed handoffs of ``tests/bad`` as objects, for unit and component tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.builders import handoff

FOLDER = Path(__file__).parent / "bad"
LAYERS = ("schema", "cel", "strict", "status")


@dataclass(frozen=True)
class BadHandoff:
    """One case; see ``tests/bad/README.md``."""

    name: str
    layer: str
    manifest: dict[str, Any]
    path: str
    says: str
    policy: dict[str, Any] | None = None

    def __str__(self) -> str:
        return self.name


def load() -> list[BadHandoff]:
    """Every case of every file, in the order of file names."""
    return [
        _case(case)
        for file in sorted(FOLDER.glob("*.yaml"))
        for case in yaml.safe_load(file.read_text(encoding="utf-8"))
    ]


def _case(case: dict[str, Any]) -> BadHandoff:
    manifest = handoff()
    for path, value in case.pop("set", {}).items():
        parent, key = _walk(manifest, path)
        parent[key] = value
    for path in case.pop("remove", ()):
        parent, key = _walk(manifest, path)
        del parent[key]
    return BadHandoff(manifest=manifest, **case)


def _walk(value: Any, path: str) -> tuple[Any, str | int]:
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        value = value.setdefault(part, {}) if isinstance(value, dict) else value[part]
    return value, last
