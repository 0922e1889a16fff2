"""The options that the verbs share, once."""

from __future__ import annotations

from typing import Annotated

import typer

from modelhandoff.cli.kubectl.completion import contexts, handoffs, namespaces, roles

Namespace = Annotated[
    str,
    typer.Option(
        "-n",
        "--namespace",
        help="Namespace; the context's own when not set.",
        autocompletion=namespaces,
        show_default=False,
    ),
]
Everywhere = Annotated[bool, typer.Option("-A", "--all-namespaces", help="Look in all namespaces.")]
Context = Annotated[
    str,
    typer.Option(help="Context of the kubeconfig.", autocompletion=contexts, show_default=False),
]
Kubeconfig = Annotated[str, typer.Option(help="Kubeconfig file.", show_default=False)]
Name = Annotated[str, typer.Argument(help="Name of the handoff.", autocompletion=handoffs)]
Role = Annotated[
    str,
    typer.Option(
        "-r",
        "--role",
        help="The role you sign as; not needed when only one is missing.",
        autocompletion=roles,
        show_default=False,
    ),
]
Comment = Annotated[str, typer.Option("-m", "--comment", help="Why, for those who read it later.")]
MaybeName = Annotated[
    str,
    typer.Argument(
        help="Name of the handoff; not needed when there is only one.",
        autocompletion=handoffs,
        show_default=False,
    ),
]
