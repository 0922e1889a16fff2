"""Grafana dashboards as plain data: the operator, all handoffs, one handoff.

Grafana's schema is wide; what is here is the part that every version since 9 reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

SCHEMA_VERSION = 39
SOURCE = {"type": "prometheus", "uid": "${source}"}
ROW, TALL = 1, 8
WIDTH = 24


@dataclass(frozen=True, slots=True)
class Curve:
    """One query of a panel and the name of what it draws."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture.

    Attributes:
        kind: of Grafana's panels: timeseries, stat, table or state-timeline.
        unit: a unit of Grafana: short, percent, percentunit, s, reqps, bytes.
        width: columns of 24.
        limit: where a line is drawn.
    """

    title: str
    curves: tuple[Curve, ...]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 12
    about: str = ""
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top: values of a label, filled by a query."""

    name: str
    query: str
    everything: bool = True


def dashboard(
    uid: str, title: str, rows: Iterable[Row], variables: Iterable[Variable] = (), about: str = ""
) -> dict[str, Any]:
    """A dashboard as Grafana imports it."""
    return {
        "uid": uid,
        "title": title,
        "description": about,
        "tags": ["modelhandoff"],
        "timezone": "utc",
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "source",
                    "label": "Prometheus",
                    "type": "datasource",
                    "query": "prometheus",
                    "current": {},
                },
                *map(_variable, variables),
            ]
        },
        "annotations": {"list": []},
        "panels": list(_placed(rows)),
    }


def _variable(variable: Variable) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": variable.name,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": variable.query, "refId": variable.name},
        "refresh": 2,
        "sort": 1,
        "multi": variable.everything,
        "includeAll": variable.everything,
    }
    if variable.everything:
        found["allValue"] = ".*"
        found["current"] = {"text": "All", "value": "$__all"}
    return found


def _placed(rows: Iterable[Row]) -> Iterable[Mapping[str, Any]]:
    number, y = 0, 0
    for row in rows:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": ROW},
        }
        y, x = y + ROW, 0
        for panel in row.panels:
            number += 1
            if x + panel.width > WIDTH:
                x, y = 0, y + TALL
            place = {"x": x, "y": y, "w": panel.width, "h": TALL}
            yield _panel(panel, number, place)
            x += panel.width
        y += TALL


def _panel(panel: Panel, number: int, place: Mapping[str, int]) -> dict[str, Any]:
    table = panel.kind == "table"
    defaults: dict[str, Any] = {"unit": panel.unit, "custom": {}}
    if panel.limit is not None:
        steps = [{"color": "green", "value": None}, {"color": "red", "value": panel.limit}]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        if panel.kind == "timeseries":
            defaults["custom"] = {"thresholdsStyle": {"mode": "line"}}
    found: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": dict(place),
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {},
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": SOURCE,
                "expr": curve.expr,
                "legendFormat": curve.legend or "__auto",
                "instant": table,
                "range": not table,
                **({"format": "table"} if table else {}),
            }
            for at, curve in enumerate(panel.curves)
        ],
    }
    if table:
        hidden = {"Time": True, "Value": True, "__name__": True, "job": True, "instance": True}
        found["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    return found
