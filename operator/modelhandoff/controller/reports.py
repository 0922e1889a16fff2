"""The documents of a decision, as they are kept: what ``modelhandoff report`` writes of it."""

from __future__ import annotations

from typing import Any

from modelhandoff.report import compose, read, to_html, to_markdown

MARKDOWN = "report.md"
HTML = "report.html"


def documents(attempt: dict[str, Any]) -> dict[str, str]:
    """File name -> text. Of the attempt alone, so that its export gives the same bytes."""
    report = compose(read([attempt]))
    return {MARKDOWN: to_markdown(report), HTML: to_html(report)}
