"""The model card: every section that is asked for says something, and the licence is stated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import yaml

from modelhandoff.errors import cut
from modelhandoff.verify.bundle import read_text
from modelhandoff.verify.findings import Failed, Found, Skipped

MAX_CARD: Final = 1024 * 1024
_FRONT: Final = re.compile(r"\A---\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.S)
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


def licence(path: Path | None, declared: str | None) -> Found:
    """The licence is stated: by the spec, by the card's front matter, or by both alike.

    Args:
        path: of the model card, where there is one.
        declared: what the spec says.

    Raises:
        Skipped: nobody states one.
        Failed: the two differ, or the front matter is no YAML.
    """
    stated = "" if path is None else _front_matter(path)
    if not stated and declared is None:
        raise Skipped(
            "No licence is stated; allowed governance.license, or license in the front matter of "
            "the model card."
        )
    if path is not None and stated and declared is not None:
        if stated.casefold() != declared.casefold():
            raise Failed(
                f"{path.name}: license is another than the handoff's; got {cut(stated)}; "
                f"allowed {declared}, as governance.license says"
            )
        return Found(f"Handoff and model card state the licence {declared}.")
    where = "The handoff" if declared is not None else "The model card"
    return Found(f"{where} states the licence {declared or cut(stated)}.")


def _front_matter(path: Path) -> str:
    """The licence in a card's front matter; "" when it names none.

    As model hubs have it, ``license: other`` refers to ``license_name``.
    """
    block = _FRONT.match(read_text(path, MAX_CARD))
    if block is None:
        return ""
    try:
        found = yaml.safe_load(block[1])
    except (yaml.YAMLError, ValueError, RecursionError):
        raise Failed(f"{path.name}: the front matter is no YAML; allowed license: <SPDX>") from None
    if not isinstance(found, dict):
        return ""
    said, name = found.get("license"), found.get("license_name")
    if isinstance(said, str) and said.casefold() == "other" and isinstance(name, str):
        said = name
    known = isinstance(said, str) and said.strip() and not _PLACEHOLDER.fullmatch(said.strip())
    return said.strip() if known and isinstance(said, str) else ""


def sections(text: str) -> dict[str, str]:
    """Text below each heading, by the heading in lower case with dashes.

    A section ends at the next heading of its own level or above; of two with one name the texts
    are joined. Front matter, comments and the headings themselves are no text.
    """
    text = _FRONT.sub("", text, count=1)
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
