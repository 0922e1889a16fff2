"""A report as Markdown (GitHub's): plots become the tables that say the same."""

from __future__ import annotations

import re
from typing import Final

from modelhandoff.report.document import (
    Block,
    Bullets,
    Checks,
    Code,
    Facts,
    Figure,
    Heading,
    Inline,
    Line,
    Listing,
    Mark,
    Paragraph,
    Report,
    Table,
    Tone,
    clean,
)  # fmt: skip

_SPECIAL: Final = re.compile(r"([\\`*_\[\]|~#$])")
_STARTS: Final = re.compile(r"^([-+=]|\d+[.)](?=\s|$))")
_SIGNS: Final = {Tone.GOOD: "🟢 ", Tone.BAD: "🔴 ", Tone.WAIT: "🟡 ", Tone.PLAIN: ""}


def to_markdown(report: Report) -> str:
    """The report as one Markdown text that ends with a line feed."""
    parts = [
        f"# {_escaped(report.title)}",
        f"{_escaped(report.about)}",
        f"{_SIGNS[report.tone]}**{_escaped(report.headline)}**" if report.headline else "",
    ]
    if report.why:
        parts.append(f"> {_start(_escaped(report.why))}")
    parts += [_block(one) for one in report.blocks]
    return "\n\n".join(part for part in parts if part) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading(text):
            return f"## {_escaped(text)}"
        case Paragraph(line):
            return _start(_line(line))
        case Bullets(lines):
            return "\n".join(f"- {_start(_line(line))}" for line in lines)
        case Facts(rows):
            return "\n".join(f"- **{_escaped(name)}**: {_line(line)}" for name, line in rows)
        case Table():
            return _table(block)
        case Listing(text, language):
            return _listing(text, language)
        case Checks(items):
            return "\n".join(f"- [{'x' if done else ' '}] {_line(line)}" for done, line in items)
        case Figure(title, note, _, instead):
            parts = [f"**{_escaped(title)}**", _start(_escaped(note)), _table(instead)]
            return "\n\n".join(part for part in parts if part)


def _table(table: Table) -> str:
    if not table.rows:
        return ""
    rule = ["---:" if at in table.numbers else "---" for at in range(len(table.head))]
    lines = [[_escaped(name) or " " for name in table.head], rule]
    lines += [[_line(cell, in_table=True) or " " for cell in row.cells] for row in table.rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _line(line: Line, *, in_table: bool = False) -> str:
    return "".join(_inline(one, in_table=in_table) for one in line)


def _inline(one: Inline, *, in_table: bool) -> str:
    match one:
        case Code(text):
            return _code(text, in_table=in_table)
        case Mark(text, tone):
            return f"{_SIGNS[tone]}{_escaped(text)}"
        case _:
            space = " " if one[:1] == " " else ""
            return space + _escaped(one) + (" " if len(one) > 1 and one[-1:] == " " else "")


def _code(text: str, *, in_table: bool) -> str:
    shown = clean(text)
    if not shown:
        return ""
    fence = "`" * (max((len(run) for run in re.findall(r"`+", shown)), default=0) + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    # A cell ends at a bar even inside code, unless it is escaped.
    body = shown.replace("|", "\\|") if in_table else shown
    return f"{fence}{pad}{body}{pad}{fence}"


def _listing(text: str, language: str) -> str:
    lines = "\n".join(_visible(line) for line in text.split("\n"))
    longest = max((len(run) for run in re.findall(r"`+", lines)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{lines}\n{fence}"


def _visible(line: str) -> str:
    indent = len(line) - len(line.lstrip(" "))
    return " " * indent + clean(line)


def _escaped(text: str) -> str:
    plain = clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", plain)


def _start(text: str) -> str:
    """Text that begins a block must not begin a list or a heading by accident."""
    return _STARTS.sub(lambda found: f"\\{found[0]}" if not found[0][0].isdigit()
                       else f"{found[0][:-1]}\\{found[0][-1]}", text)  # fmt: skip
