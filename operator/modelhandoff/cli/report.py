"""``modelhandoff report FILE``: the decision report of an exported attempt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

MAX_EXPORT: Final = 64 * 1024 * 1024
"""A list of all attempts of a namespace fits."""


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("report")(report)


def report(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="What `kubectl get handoffattempt NAME -o yaml` printed; with the ModelHandoff "
            "and earlier attempts in it, or in further files, the report says more.",
        ),
    ],
    output: Annotated[str, typer.Option("-o", "--output", help="html or md.")] = "md",
    attempt: Annotated[
        str | None, typer.Option(help="Name of the attempt, where there are several.")
    ] = None,
) -> None:
    """Write the decision report of one attempt: Markdown, or one HTML file without any requests.

    Offline and repeatable: the same files give the same bytes.
    """
    from modelhandoff.cli import inputs
    from modelhandoff.errors import InvalidInputError, InvalidSpecError
    from modelhandoff.report import compose, read, to_html, to_markdown

    if output not in ("html", "md"):
        inputs.refuse([f"--output: not a format; got {output}; allowed html, md"])
    objects = [one for path in files for one in _objects(path)]
    shown = ", ".join(str(path) for path in files)
    try:
        found = compose(read(objects, attempt))
    except InvalidSpecError as failure:
        inputs.refuse(f"{shown}: {line}" for line in failure.errors)
    except InvalidInputError as failure:
        inputs.refuse([f"{shown}: {failure}"])
    text = to_html(found) if output == "html" else to_markdown(found)
    typer.echo(text, nl=False)


def _objects(path: Path) -> list[Any]:
    import yaml

    from modelhandoff.cli import inputs
    from modelhandoff.errors import InvalidInputError

    what = "YAML or JSON of a HandoffAttempt"
    text = inputs.read_text(path, what, max_bytes=MAX_EXPORT)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return [one for one in yaml.load_all(text, loader) if one is not None]
    except (yaml.YAMLError, RecursionError, ValueError) as failure:
        mark = getattr(failure, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        told = getattr(failure, "problem", None) or "broken"
        inputs.refuse([InvalidInputError(where, "not YAML", told, what)])
