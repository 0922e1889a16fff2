"""``modelhandoff generate``: files of this repository that are made of its code, or their check.

For contributors: rules and dashboards in the chart, Argo CD's settings from their Lua files; in
the documentation the list of alerts, the table of the chart's values, the reasons, the reference
and the example of a handoff README.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

CHART: Final = Path("charts/modelhandoff")
ARGOCD: Final = Path("integrations/argocd")
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

    from modelhandoff.cli import pages
    from modelhandoff.cli.observe import as_json
    from modelhandoff.observability import alert, boards, operator_alerts, page

    rules = yaml.safe_dump(
        alert.document(operator_alerts.GROUPS), sort_keys=False, width=100, allow_unicode=True
    )
    alerts, install = Path("docs/alerts.md"), Path("docs/install.md")
    operations = Path("docs/operations.md")
    return {
        CHART / "files/rules.yaml": rules,
        CHART / "files/dashboard-operator.json": as_json(boards.operator_board()),
        CHART / "files/dashboard-handoffs.json": as_json(boards.handoffs_board()),
        ARGOCD / "argocd-cm.yaml": argocd_settings(root / ARGOCD),
        alerts: _between(
            root / alerts, page.BEGIN, page.END, page.alerts_page(operator_alerts.GROUPS)
        ),
        install: _between(root / install, *VALUES, values_table(root / CHART)),
        operations: _between(root / operations, *pages.REASONS, pages.reasons()),
        Path("docs/reference.md"): pages.reference(),
        pages.EXAMPLE / "README.md": pages.example(root),
    }


def argocd_settings(folder: Path) -> str:
    """The Lua files as data of Argo CD's ConfigMap, to be merged into it."""
    data: dict[str, str] = {}
    for kind in sorted(folder.glob("*/*/health.lua")):
        group, name = kind.parent.parent.name, kind.parent.name
        data[f"resource.customizations.health.{group}_{name}"] = kind.read_text(encoding="utf-8")
        discovery = kind.parent / "actions/discovery.lua"
        if discovery.is_file():
            actions = {
                "discovery.lua": discovery.read_text(encoding="utf-8"),
                "definitions": [
                    {"name": one.parent.name, "action.lua": one.read_text(encoding="utf-8")}
                    for one in sorted(kind.parent.glob("actions/*/action.lua"))
                ],
            }
            data[f"resource.customizations.actions.{group}_{name}"] = _dump(actions)
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "argocd-cm", "namespace": "argocd"},
        "data": data,
    }
    return "# Written by `modelhandoff generate` from the Lua files beside it.\n" + _dump(document)


def _dump(document: Any) -> str:
    """YAML in which a text of several lines stays readable."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return yaml.dump(document, Dumper=Dumper, sort_keys=False, width=100, allow_unicode=True)


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
