"""``modelhandoff alerts`` and ``modelhandoff dashboard``: what platform teams watch with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from modelhandoff.api.handoff import ModelHandoffSpec

Output = Annotated[
    Path | None, typer.Option("-o", "--output", help="File to write; standard output when not set.")
]
Namespace = Annotated[
    str, typer.Option("-n", "--namespace", help="Of a handoff whose file names none.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("alerts")(alerts)
    app.command("dashboard")(dashboard)


def alerts(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="YAML files with one ModelHandoff each."),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="kubernetes: PrometheusRule objects; prometheus: one rule file.",
        ),
    ] = "kubernetes",
    namespace: Namespace = "",
    output: Output = None,
) -> None:
    """Alerting rules: for the operator and every handoff, or with files for those handoffs alone.

    The rules of a handoff watch what users get by the handoff's own limits, and carry the team,
    the runbook and the escalation that it names.
    """
    import yaml

    from modelhandoff.cli import inputs
    from modelhandoff.errors import InvalidInputError
    from modelhandoff.observability import alert, handoff_alerts, operator_alerts

    if form not in ("kubernetes", "prometheus"):
        inputs.refuse(
            [InvalidInputError("--format", "not a format", form, "kubernetes, prometheus")]
        )
    named: list[tuple[str, str, tuple[alert.Group, ...]]] = []
    for path in files or ():
        name, where, spec = _read(path, namespace)
        groups = handoff_alerts.handoff_groups(name, where, spec)
        named.append((f"{name}-modelhandoff", where, groups))
    if not files:
        named.append(("modelhandoff", namespace, operator_alerts.GROUPS))
    if form == "prometheus":
        documents: list[Any] = [alert.document(group for *_, groups in named for group in groups)]
    else:
        documents = [alert.prometheus_rule(name, groups, where) for name, where, groups in named]
    _write(yaml.safe_dump_all(documents, sort_keys=False, width=100, allow_unicode=True), output)


def dashboard(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="YAML file with one ModelHandoff.")
    ] = None,
    operator: Annotated[
        bool, typer.Option("--operator", help="The operator's own dashboard.")
    ] = False,
    namespace: Namespace = "",
    output: Output = None,
) -> None:
    """A Grafana dashboard as JSON: all handoffs, one of them, or the operator."""
    from modelhandoff.cli import inputs
    from modelhandoff.observability import boards

    if file is not None and operator:
        inputs.refuse(["--operator: the operator has no file; leave one of the two out"])
    if file is not None:
        name, where, spec = _read(file, namespace)
        found = boards.handoff_board(name, where, spec)
    else:
        found = boards.operator_board() if operator else boards.handoffs_board()
    _write(as_json(found), output)


def as_json(found: dict[str, Any]) -> str:
    """A dashboard as text; the same each time."""
    import json

    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _read(path: Path, namespace: str) -> tuple[str, str, ModelHandoffSpec]:
    from modelhandoff.cli import inputs
    from modelhandoff.errors import InvalidInputError

    manifest, spec = inputs.read_handoff(path)
    meta = manifest["metadata"]
    where = str(meta.get("namespace") or namespace)
    if not where:
        inputs.refuse(
            [
                InvalidInputError(
                    f"{path}: metadata.namespace", "is not there", "nothing", "a name, or -n"
                )
            ]
        )
    return str(meta["name"]), where, spec


def _write(text: str, output: Path | None) -> None:
    from modelhandoff.cli import inputs
    from modelhandoff.errors import InvalidInputError

    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as failure:
        inputs.refuse(
            [
                InvalidInputError(
                    f"--output {output}", "cannot be written", failure.strerror, "a file"
                )
            ]
        )
    typer.echo(f"wrote {output}", err=True)
