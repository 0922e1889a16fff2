"""``modelhandoff``: the operator and the tools around it. One module per command."""

from __future__ import annotations

import typer

from modelhandoff.cli import (
    crds,
    generate,
    init,
    judge,
    observe,
    pack,
    plan,
    readme,
    report,
    simulate,
    verify,
)
from modelhandoff.cli import run as run_operator

app = typer.Typer(
    name="modelhandoff",
    help="Judge machine-learning model handoffs on real traffic.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

for command in (
    run_operator,
    crds,
    init,
    pack,
    verify,
    plan,
    simulate,
    judge,
    report,
    readme,
    observe,
    generate,
):
    command.register(app)


def run() -> None:
    """Entry point of the ``modelhandoff`` script."""
    app()
