"""``modelhandoff generate``: files of this repository that are made of its code, or their check.

For contributors: rules and dashboards in the chart, the list of alerts and the table of the
chart's values in the documentation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

CHART: Final = Path("charts/modelhandoff")
VALUES: Final = ("<!-- values: written by `modelhandoff generate` -->", "<!-- end of values -->")


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("generate", hidden=True)(generate)


def generate(
    root: Annotated[Path, typer.Option(help="Root of the repository.")] = Path(),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 when a file is out of date.")
    ] = False,
) -> None:
    """Write what the chart and the documentation hold of the code."""
    stale = []
    for path, text in render(root).items():
        file = root / path
        if file.is_file() and file.read_text(encoding="utf-8") == text:
            continue
        if check:
            stale.append(path)
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        typer.echo(f"wrote {file}")
    for path in stale:
        typer.echo(
            f"{path}: differs from the code; run `modelhandoff generate` and commit", err=True
        )
    if stale:
        raise typer.Exit(1)


def render(root: Path) -> dict[Path, str]:
    """Every generated file by its path below ``root``, with its text."""
    import yaml

    from modelhandoff.cli.observe import as_json
    from modelhandoff.observability import alert, boards, operator_alerts, page

    rules = yaml.safe_dump(
        alert.document(operator_alerts.GROUPS), sort_keys=False, width=100, allow_unicode=True
    )
    alerts, install = Path("docs/alerts.md"), Path("docs/install.md")
    return {
        CHART / "files/rules.yaml": rules,
        CHART / "files/dashboard-operator.json": as_json(boards.operator_board()),
        CHART / "files/dashboard-handoffs.json": as_json(boards.handoffs_board()),
        alerts: _between(
            root / alerts, page.BEGIN, page.END, page.alerts_page(operator_alerts.GROUPS)
        ),
        install: _between(root / install, *VALUES, values_table(root / CHART)),
    }


def values_table(chart: Path) -> str:
    """The chart's values with defaults and meanings, as a Markdown table.

    Raises:
        ValueError: a value has no description, or one of schema and values has what the other
            has not.
    """
    import yaml

    schema = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    rows = ["| Value | Default | Meaning |", "|---|---|---|"]
    rows += _rows(schema, values, "")
    return "\n".join(rows)


def _rows(schema: Mapping[str, Any], values: Mapping[str, Any], prefix: str) -> list[str]:
    found = []
    known = {name: one for name, one in schema["properties"].items() if name != "global"}
    if set(known) != set(values):
        raise ValueError(f"{prefix or 'values'}: not in both: {set(known) ^ set(values)}")
    for name, one in known.items():
        path = f"{prefix}{name}"
        if "properties" in one and name != "resources":
            found += _rows(one, values[name], f"{path}.")
            continue
        if not one.get("description"):
            raise ValueError(f"{path}: has no description in values.schema.json")
        default = json.dumps(values[name], separators=(", ", ": "))
        found.append(f"| `{path}` | `{default}` | {one['description']} |")
    return found


def _between(path: Path, begin: str, end: str, text: str) -> str:
    """The file's text with what lies between two marks replaced."""
    whole = path.read_text(encoding="utf-8") if path.is_file() else f"{begin}\n{end}\n"
    before, found, rest = whole.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{path}: lacks the marks {begin} and {end}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"
