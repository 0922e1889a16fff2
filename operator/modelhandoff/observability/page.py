"""The alerts as a page for people: docs/alerts.md is made of the same data as the rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from modelhandoff.observability.alert import Alert, Group

BEGIN: Final = "<!-- alerts: written by `modelhandoff generate` -->"
END: Final = "<!-- end of alerts -->"
_LABELS = (
    ("{{ $labels.namespace }}", "NAMESPACE"),
    ("{{ $labels.handoff }}", "NAME"),
    ("{{ $labels.", "<"),
    ("{{ $value | humanizeDuration }}", "so long"),
    ("{{ $value }}", "so many"),
    (" }}", ">"),
)


def alerts_page(groups: Iterable[Group]) -> str:
    """A section for each alert, under the anchor that the rule's ``runbook`` names."""
    parts = []
    for group in groups:
        parts += [_section(alert) for alert in group.alerts]
    return "\n\n".join(parts)


def _section(alert: Alert) -> str:
    hold = f", for {alert.hold}" if alert.hold else ""
    lines = (
        f"### {alert.name}",
        f"*{alert.severity}*. {_plain(alert.meaning)} {_plain(alert.remedy)}",
        f"```promql\n{alert.expr}\n```",
        f"Fires when this is true{hold}.",
    )
    return "\n\n".join(lines)


def _plain(text: str) -> str:
    for written, read in _LABELS:
        text = text.replace(written, read)
    return text
