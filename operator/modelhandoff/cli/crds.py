"""``modelhandoff crds``: write the CustomResourceDefinitions, or check that they are up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("crds")(crds)


def crds(
    output: Annotated[Path, typer.Option(help="Folder of the files.")] = Path("crds"),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 when a file is out of date.")
    ] = False,
) -> None:
    """Write the CustomResourceDefinitions from the models."""
    from modelhandoff.api import crds as definitions

    if not check:
        for path in definitions.write(output):
            typer.echo(f"wrote {path}")
        return
    stale = definitions.drift(output)
    for line in stale:
        typer.echo(line, err=True)
    if stale:
        typer.echo(f"run `modelhandoff crds --output {output}` and commit", err=True)
        raise typer.Exit(1)
