"""A short way for the listing that people type all day.

typer reads every option through pydantic: two thirds of the processor time of a whole ``get``.
The plain forms are read here; whatever else stands on the line goes the usual way, with its
help, its completion and its messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelhandoff.cli.kubectl.printing import Format

_VALUES = {
    "-n": "namespace",
    "--namespace": "namespace",
    "-l": "selector",
    "--selector": "selector",
    "-o": "output",
    "--output": "output",
    "--context": "context",
    "--kubeconfig": "kubeconfig",
}


@dataclass(frozen=True, slots=True)
class Get:
    """A ``get`` as it was typed."""

    names: tuple[str, ...] = ()
    namespace: str = ""
    selector: str = ""
    output: str = ""
    context: str = ""
    kubeconfig: str = ""
    everywhere: bool = False


def parse(arguments: Sequence[str]) -> Get | None:
    """The listing that is asked for; ``None`` for anything that is not plainly one."""
    if not arguments or arguments[0] != "get":
        return None
    names: list[str] = []
    given: dict[str, str] = {}
    everywhere = False
    rest = iter(arguments[1:])
    for word in rest:
        option, sign, value = word.partition("=")
        if word in ("-A", "--all-namespaces"):
            everywhere = True
        elif option in _VALUES and (not sign or option.startswith("--")):
            value = value if sign else next(rest, "")
            if not value or value.startswith("-"):
                return None
            given[_VALUES[option]] = value
        elif word.startswith("-"):
            return None
        else:
            names.append(word)
    if given.get("output", "json") not in set(Format):
        return None
    return Get(tuple(names), everywhere=everywhere, **given)


def run(wanted: Get) -> None:
    """List, as the verb of the same name does."""
    from modelhandoff.cli.kubectl.api import Api
    from modelhandoff.cli.kubectl.kubeconfig import Target
    from modelhandoff.cli.kubectl.listing import get

    api = Api.connect(Target(wanted.kubeconfig, wanted.context, wanted.namespace))
    output = Format(wanted.output) if wanted.output else None
    get(api, wanted.names, everywhere=wanted.everywhere, labels=wanted.selector, output=output)
