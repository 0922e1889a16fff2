"""One alerting rule, and what Prometheus makes of several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """Who has to hear of it. Only ``critical`` may wake anybody."""

    CRITICAL = "critical"
    """A person is needed now: production is not safe, or nobody guards it."""
    WARNING = "warning"
    """A person is needed in working hours."""
    INFO = "info"
    """A message: the operator has dealt with it."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alerting rule.

    Attributes:
        name: of the alert, CamelCase; also its anchor in docs/alerts.md.
        expr: PromQL.
        hold: how long it must be true, such as ``5m``; empty fires at once.
        summary: one line; may use ``{{ $labels.x }}``.
        meaning: what is going on, for the documentation and the alert.
        remedy: what to do, the command first.
        labels: more labels.
        annotations: more annotations.
    """

    name: str
    expr: str
    severity: Severity
    summary: str
    meaning: str
    remedy: str
    hold: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    def rule(self) -> dict[str, Any]:
        """The rule as Prometheus reads it."""
        found: dict[str, Any] = {"alert": self.name, "expr": self.expr}
        if self.hold:
            found["for"] = self.hold
        found["labels"] = {"severity": str(self.severity), **self.labels}
        found["annotations"] = {
            "summary": self.summary,
            "description": f"{self.meaning} {self.remedy}",
            "runbook": f"docs/alerts.md#{self.name.lower()}",
            **self.annotations,
        }
        return found


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated together."""

    name: str
    alerts: tuple[Alert, ...]


def literal(text: str) -> str:
    """A text of a tenant as it is: annotations are templates, and no tenant writes one."""
    return text.replace("{{", '{{ "{{" }}')


def document(groups: Iterable[Group]) -> dict[str, Any]:
    """A rule file: ``groups`` and nothing else. The spec of a PrometheusRule is the same."""
    return {
        "groups": [
            {"name": group.name, "rules": [alert.rule() for alert in group.alerts]}
            for group in groups
        ]
    }


def prometheus_rule(
    name: str, groups: Iterable[Group], namespace: str = "", labels: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The same as an object for the Prometheus operator."""
    meta: dict[str, Any] = {"name": name}
    if namespace:
        meta["namespace"] = namespace
    if labels:
        meta["labels"] = dict(labels)
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": meta,
        "spec": document(groups),
    }
