"""The model card: every section that is asked for is there and says something."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from modelhandoff.verify.bundle import read_text
from modelhandoff.verify.findings import Failed, Found

MAX_CARD: Final = 1024 * 1024
_ATX: Final = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*")
_FENCE: Final = re.compile(r" {0,3}(```+|~~~+)")
_PLACEHOLDER: Final = re.compile(
    r"(todo|tbd|tba|n/?a|xxx|fixme|lorem ipsum|-+|\.+|more information needed)\b[^\w]*", re.I
)


def model_card(path: Path, required: Sequence[str]) -> Found:
    """Each required section has a heading and text below it, subsections included.

    Raises:
        Failed: a section is missing, empty or holds a placeholder only.
    """
    bodies = sections(read_text(path, MAX_CARD))
    words = 0
    for name in required:
        key = _key(name)
        if key not in bodies:
            there = ", ".join(bodies) or "no heading"
            raise Failed(
                f"{path.name}: section {name} is missing; got {there[:200]}; "
                f"allowed a heading '{name}' with text below it"
            )
        text = bodies[key].strip()
        if not text or _PLACEHOLDER.fullmatch(text):
            raise Failed(
                f"{path.name}: section {name} says nothing; got {text[:40] or 'no text'!r}; "
                "allowed text"
            )
        words += len(text.split())
    message = f"{path.name}: all {len(required)} sections are there, {words} words."
    return Found(message, {"sections": len(required), "words": words})


def sections(text: str) -> dict[str, str]:
    """Text below each heading, by the heading in lower case with dashes.

    A section ends at the next heading of its own level or above; of two with one name the texts
    are joined. Front matter, comments and the headings themselves are no text.
    """
    text = re.sub(r"\A---\r?\n.*?\r?\n---[ \t]*\r?\n", "", text, count=1, flags=re.S)
    text = re.sub(r"<!--.*?(-->|\Z)", "", text, flags=re.S)
    found: dict[str, list[str]] = {}
    inside: list[tuple[int, list[str]]] = []
    fence = ""
    lines = text.splitlines()
    for index, line in enumerate(lines):
        opened = _FENCE.match(line)
        if fence:
            if opened and opened[1].startswith(fence):
                fence = ""
        elif opened:
            fence = opened[1][:3]
        heading = None if fence or opened else _heading(lines, index)
        if heading is not None:
            level, title = heading
            inside = [(outer, body) for outer, body in inside if outer < level]
            inside.append((level, found.setdefault(_key(title), [])))
        elif not _underline(lines, index):
            for _, body in inside:
                body.append(line)
    return {title: "\n".join(body) for title, body in found.items()}


def _heading(lines: Sequence[str], index: int) -> tuple[int, str] | None:
    atx = _ATX.fullmatch(lines[index])
    if atx:
        return len(atx[1]), atx[2] or ""
    following = lines[index + 1].strip() if index + 1 < len(lines) else ""
    line = lines[index].strip()
    if line and len(following) >= 2 and set(following) in ({"="}, {"-"}):
        return (1 if following[0] == "=" else 2), line
    return None


def _underline(lines: Sequence[str], index: int) -> bool:
    return (
        index > 0
        and _ATX.fullmatch(lines[index - 1]) is None
        and _heading(lines, index - 1) is not None
    )


def _key(title: str) -> str:
    return re.sub(r"[\W_]+", "-", title.casefold()).strip("-")
