"""A report as a list of blocks: plain texts only, so that escaping is the renderers' business.

Nothing in here is markup. What a block holds may come from anybody who can write an attempt;
:func:`clean` takes out what could hide or reorder text, the renderers escape the rest.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from modelhandoff.report.plots import Plot


class Tone(StrEnum):
    """How something is meant: the only colours there are."""

    GOOD = "good"
    BAD = "bad"
    WAIT = "wait"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Code:
    """A text to be read letter by letter: a name, a digest, a command."""

    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A word with a colour; it must say the same without."""

    text: str
    tone: Tone


Inline = str | Code | Mark
Line = tuple[Inline, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    """Begins a section."""

    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Sentences; ``quiet`` ones explain and may be skipped."""

    line: Line
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Bullets:
    """Short lines of equal rank."""

    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and what they are, at a glance."""

    rows: tuple[tuple[str, Line], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table."""

    cells: tuple[Line, ...]
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first cell of a row names it. ``numbers``: columns to align at the right."""

    head: tuple[str, ...]
    rows: tuple[Row, ...]
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """Lines to copy as they are; ``language`` is one of our own words, never somebody's text."""

    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Checks:
    """Things to tick off: whether each is done, and what it is."""

    items: tuple[tuple[bool, Line], ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot, and the table that says the same where there are no pictures."""

    title: str
    note: str
    plot: Plot
    instead: Table


Block = Heading | Paragraph | Bullets | Facts | Table | Listing | Checks | Figure


@dataclass(frozen=True, slots=True)
class Report:
    """A whole report.

    Attributes:
        title: of the page.
        about: which attempt of which handoff.
        headline: the one sentence.
        tone: of the headline.
        why: the verdict in its own words, "" without one.
        blocks: everything else, in order.
    """

    title: str
    about: str
    headline: str
    tone: Tone
    why: str
    blocks: tuple[Block, ...]


_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean(text: str) -> str:
    """One line of visible text: no control characters, nothing that reorders what is read."""
    kept = (
        "\ufffd" if c in _REORDERING or unicodedata.category(c) in ("Cc", "Cs") else c
        for c in " ".join(text.split())
    )
    return "".join(kept)
