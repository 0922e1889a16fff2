"""A report as one HTML file: inline style, inline SVG, nothing fetched from anywhere."""

from __future__ import annotations

import html
import re

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
    Row,
    Table,
    Tone,
    clean,
)  # fmt: skip
from modelhandoff.report.style import STYLE

_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC)")
_LONG = 60
"""Characters from which on a fact gets a line of its own."""

_TICKED, _OPEN = "\u2611", "\u2610"

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Even a hole in the escaping could load and run nothing."""


def to_html(report: Report) -> str:
    """The report as one HTML document that ends with a line feed."""
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{_escaped(report.title)}</title>",
        f"<style>{STYLE}</style>",
        "</head>",
        "<body>",
        "<main>",
        f'<header class="{report.tone}">',
        f'<p class="about">Decision report · {_escaped(report.about)}</p>',
        f"<h1>{_text(report.headline)}</h1>",
        f'<p class="why">{_escaped(report.why)}</p>' if report.why else "",
        "</header>",
        *(_block(one) for one in report.blocks),
        "</main>",
        "</body>",
        "</html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h2>{_escaped(text)}</h2>"
        case Paragraph(line, quiet):
            kind = ' class="quiet"' if quiet else ""
            return f"<p{kind}>{_line(line)}</p>"
        case Bullets(lines):
            return f"<ul>{''.join(f'<li>{_line(line)}</li>' for line in lines)}</ul>"
        case Facts(rows):
            return f"<dl>{''.join(_fact(name, line) for name, line in rows)}</dl>"
        case Table():
            return _table(block)
        case Listing(text):
            return f"<pre>{_listing(text)}</pre>"
        case Checks(items):
            ticked = "".join(
                f"<li>{_TICKED if done else _OPEN} {_line(line)}</li>" for done, line in items
            )
            return f"<ul>{ticked}</ul>"
        case Figure(title, note, plot, _):
            legend = f'<p class="quiet">{_escaped(note)}</p>' if note else ""
            return (
                f"<figure><figcaption>{_escaped(title)}</figcaption>{legend}"
                f'<div class="wide">{plot.wide}</div><div class="narrow">{plot.narrow}</div>'
                "</figure>"
            )


def _fact(name: str, line: Line) -> str:
    text = _line(line)
    kind = ' class="long"' if len(text) > _LONG else ""
    return f"<div{kind}><dt>{_escaped(name)}</dt><dd>{text}</dd></div>"


def _table(table: Table) -> str:
    if not table.rows:
        return ""
    head = "".join(
        f"<th{_number(table, at)}>{_escaped(name)}</th>" for at, name in enumerate(table.head)
    )
    wide = " many" if len(table.head) > 5 else ""
    rows = "".join(_row(table, row) for row in table.rows)
    return (
        f'<div class="scroll"><table class="stack{wide}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row(table: Table, row: Row) -> str:
    cells = "".join(
        f'<td data-name="{_escaped(table.head[at])}"{_number(table, at)}>'
        f"<div>{_line(cell)}</div></td>"
        for at, cell in enumerate(row.cells)
    )
    tone = f' class="{row.tone}"' if row.tone is not Tone.PLAIN else ""
    return f"<tr{tone}>{cells}</tr>"


def _number(table: Table, at: int) -> str:
    return ' class="number"' if at in table.numbers else ""


def _line(line: Line) -> str:
    return "".join(_inline(one) for one in line)


def _inline(one: Inline) -> str:
    match one:
        case Code(text):
            return f"<code>{_exact(text)}</code>"
        case Mark(text, tone):
            return f'<b class="mark {tone}">{_escaped(text)}</b>'
        case _:
            space = " " if one[:1] == " " else ""
            return space + _text(one) + (" " if len(one) > 1 and one[-1:] == " " else "")


def _listing(text: str) -> str:
    out = []
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip(" "))
        shown = " " * indent + _exact(line)
        out.append(f"<i>{shown}</i>" if line.startswith("#") else shown)
    return "\n".join(out)


def _text(text: str) -> str:
    return _TIME.sub(r"<time>\1</time>", _escaped(text))


def _exact(text: str) -> str:
    return html.escape(clean(text))


def _escaped(text: str) -> str:
    # A number and its unit stay on one line.
    return _exact(text).replace(" %", "\u00a0%")
