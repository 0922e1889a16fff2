"""Plain output: tables as kubectl prints them, ages, and json, yaml or names for scripts."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from modelhandoff.api import names
from modelhandoff.cli.kubectl.api import Raw

RESOURCE = f"modelhandoff.{names.GROUP}"
_NEAR = 18 * 3600.0
"""Seconds within which a time of day says which day is meant."""
_COLOURS = {"good": "32", "bad": "31", "busy": "36", "held": "33"}
_MOODS = {
    "Promoted": "good",
    "RolledBack": "bad",
    "Rejected": "bad",
    "Inconclusive": "held",
    "Aborted": "held",
    "Superseded": "held",
    "FallenBack": "bad",
    "RollingBack": "bad",
}


class Format(StrEnum):
    """What ``-o`` takes where a verb lists."""

    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


def mood(phase: str) -> str:
    """good, bad, held or busy: how a phase is coloured everywhere."""
    return _MOODS.get(phase, "busy" if phase else "held")


def coloured() -> bool:
    """Whether standard output shows colours."""
    return (
        sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )


def paint(text: str, kind: str) -> str:
    """The text in the colour of a mood, on a terminal."""
    return f"\x1b[{_COLOURS[kind]}m{text}\x1b[0m" if coloured() else text


def table(header: Sequence[str], rows: Sequence[Sequence[str]], tint: int | None = None) -> str:
    """Columns three blanks apart, as kubectl prints them; column ``tint`` is coloured by phase."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(len(line[at]) for line in lines) for at in range(len(header))]
    out = []
    for number, line in enumerate(lines):
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        if number and tint is not None and line[tint]:
            cells[tint] = paint(line[tint], mood(line[tint])) + " " * (
                widths[tint] - len(line[tint])
            )
        out.append("   ".join(cells).rstrip())
    return "\n".join(out)


def moment(text: str | None) -> datetime | None:
    """An RFC 3339 time; ``None`` for nothing and for what is none."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def since(text: str | None, now: datetime | None = None) -> str:
    """How long ago, as kubectl writes ages: 45s, 3m20s, 18m, 5h12m, 3d4h."""
    at = moment(text)
    if at is None:
        return "<unknown>"
    return age(((now or datetime.now(UTC)) - at).total_seconds())


def age(seconds: float) -> str:
    """A span as kubectl writes it."""
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 8:
        return f"{hours}h{minutes}m" if minutes else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours}h" if days < 8 and hours else f"{days}d"


def span(seconds: float) -> str:
    """A span in words, as the operator's own sentences write it: 45 s, 12 min, 3 h 5 min."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    if whole < 172_800:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def clock(text: str | None, now: datetime | None = None) -> str:
    """Time of day in UTC; with the date when that would not be plain."""
    at = moment(text)
    if at is None:
        return "?"
    at, now = at.astimezone(UTC), (now or datetime.now(UTC)).astimezone(UTC)
    near = abs((now - at).total_seconds()) < _NEAR
    return at.strftime("%H:%M:%S" if near else "%Y-%m-%d %H:%M:%S")


def write(items: Sequence[Raw], output: Format, *, single: bool) -> None:
    """Objects for scripts: one object when one was asked for, else a List."""
    if output is Format.NAME:
        for item in items:
            kind = str(item.get("kind") or "ModelHandoff").lower()
            echo(f"{kind}.{names.GROUP}/{item['metadata']['name']}")
        return
    plain = [_slim(item) for item in items]
    whole: Any = (
        plain[0]
        if single and len(plain) == 1
        else {
            "apiVersion": "v1",
            "kind": "List",
            "items": plain,
        }
    )
    dump(whole, output)


def dump(whole: Any, output: Format) -> None:
    """One value as json or yaml."""
    if output is Format.JSON:
        echo(json.dumps(whole, indent=4, ensure_ascii=False))
        return
    import yaml

    echo(yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=1000).rstrip())


def echo(text: str = "") -> None:
    """A line to standard output."""
    sys.stdout.write(text + "\n")


def warn(text: str) -> None:
    """A line to standard error."""
    sys.stderr.write(text + "\n")


def _slim(item: Raw) -> Raw:
    meta = {k: v for k, v in item["metadata"].items() if k != "managedFields"}
    return {**item, "metadata": meta}
