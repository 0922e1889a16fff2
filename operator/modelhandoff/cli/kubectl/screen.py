"""``status``: one sentence first, once or again and again."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from modelhandoff.cli.kubectl import lookup
from modelhandoff.cli.kubectl.api import Api
from modelhandoff.cli.kubectl.printing import clock, echo
from modelhandoff.cli.kubectl.problem import MissingError, Trouble, UnreachableError
from modelhandoff.cli.kubectl.tree import render
from modelhandoff.cli.kubectl.view import View, look
from modelhandoff.cluster.kinds import HANDOFF

REFRESH = 2.0
WIDTH = 110
"""Columns where there is no terminal to ask."""
_PATIENCE = 300.0
"""Seconds that a lost connection is borne while watching."""


def show(api: Api, name: str, *, everywhere: bool, follow: bool) -> None:
    """Print the status, once or until Ctrl-C."""
    console = console_for()
    handoff = lookup.find(api, name, everywhere=everywhere)
    view = look(api, handoff)
    if not follow:
        put(console, render(view, plain=plain(console)))
    elif console.is_terminal:
        _live(api, view, console)
    else:
        _lines(api, view, console)


def console_for() -> Console:
    """Standard output: colours and its width on a terminal, neither elsewhere."""
    wide = None if sys.stdout.isatty() else WIDTH
    return Console(width=wide, highlight=False, soft_wrap=False, emoji=False)


def put(console: Console, shown: RenderableType) -> None:
    """Print; where no terminal reads it, without the blanks that fill lines up."""
    if console.is_terminal:
        console.print(shown)
        return
    with console.capture() as caught:
        console.print(shown)
    for line in caught.get().splitlines():
        echo(line.rstrip())


def plain(console: Console) -> bool:
    """Whether only ASCII can be shown."""
    return not console.encoding.lower().startswith("utf")


def _live(api: Api, view: View, console: Console) -> None:
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for current in _views(api, view):
            live.update(render(current, plain=plain(console)), refresh=True)


def _lines(api: Api, view: View, console: Console) -> None:
    """Off a terminal: one line whenever the sentence or the weight changes."""
    last = ""
    for current in _views(api, view):
        told = f"{current.phase or 'New'}: {current.sentence}"
        if told != last:
            console.print(
                Text(f"{clock(current.now.isoformat(), current.now)} {told}"), soft_wrap=True
            )
            last = told


def _views(api: Api, view: View) -> Iterable[View]:
    """The view again and again; a lost connection is borne for a while."""
    meta = view.handoff["metadata"]
    lost = 0.0
    while True:
        yield view
        time.sleep(REFRESH)
        try:
            handoff = api.get(HANDOFF, meta["namespace"], meta["name"])
            view, lost = look(api, handoff), 0.0
        except MissingError:
            raise Trouble(f"{view.place}: the handoff was deleted") from None
        except UnreachableError:
            lost += REFRESH
            if lost > _PATIENCE:
                raise
