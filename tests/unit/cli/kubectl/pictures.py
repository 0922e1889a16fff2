"""The screens in ``docs/images``: ``python -m tests.unit.cli.kubectl.pictures`` draws them again.

The command line itself, run against a small API server with made-up objects; the clock is set, so
that the same code draws the same pictures.
"""

from __future__ import annotations

import dataclasses
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from unittest import mock

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from modelhandoff.api.vocabulary import Outcome
from modelhandoff.cli.kubectl import entry, heartbeat, printing, view
from tests.unit.cli.kubectl import world
from tests.unit.cli.kubectl.conftest import kubeconfig
from tests.unit.cli.kubectl.loopback import Loopback, loopback
from tests.unit.cli.kubectl.world import Story, operator

IMAGES = Path(__file__).parents[4] / "docs" / "images"
WIDTH = 116
NOW = datetime(2026, 1, 9, 3, 7, 0, tzinfo=UTC)
# Rich's picture fetches a font from the internet; this one takes what the reader has.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
FORMAT = FORMAT.replace("<!-- Generated with Rich https://www.textualize.io -->", "")
assert "http" not in FORMAT.replace("http://www.w3.org/2000/svg", "")


class Clock(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return NOW.astimezone(tz)


class Screen(io.StringIO):
    """Standard output that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def progressing(server: Loopback) -> None:
    """Ten percent on a candidate that has done nothing wrong so far."""
    story = Story(server, now=NOW).judged(looks=14, errors=0.0)
    story.write(
        f"10 % on fraud-classifier 1.4.0: {story.verdict.message}",
        weight=10,
        verdict={"decision": str(story.verdict.decision), "reason": str(story.verdict.reason)},
    )


def rolled_back(server: Loopback) -> None:
    """A candidate that failed three requests in two hundred."""
    story = Story(server, now=NOW).judged(looks=4, errors=0.015)
    found = story.verdict
    story.ended(Outcome.ROLLBACK, "HarmDetected", found.message)
    assert story.state.verdict is not None
    story.state = story.state.but(
        verdict=dataclasses.replace(story.state.verdict, total_e=found.total_e)
    )
    story.write(
        f"Rolled back at 03:06 UTC: 100 % on 1.3.2. 1.4.0 had up to 10 % for 3 min; "
        f"{found.message}",
        reason="HarmDetected",
    )


def several(server: Loopback) -> None:
    """Three models of a team."""
    progressing(server)
    ranking = Story(server, name="ranking", now=NOW).judged(looks=40)
    ranking.ended(Outcome.PROMOTE, "ProofsComplete", "All proofs are current.").write(
        "Steady.", weight=100
    )
    vision = Story(server, name="vision", now=NOW).judged(looks=4, errors=0.015)
    vision.ended(Outcome.ROLLBACK, "HarmDetected", "Harm.").write("Rolled back.")


PICTURES: dict[str, tuple[Callable[[Loopback], None], tuple[str, ...], str]] = {
    "get": (several, ("get",), "kubectl handoff get"),
    "status-progressing": (progressing, ("status", "fraud"), "kubectl handoff status fraud"),
    "status-rolled-back": (rolled_back, ("status", "fraud"), "kubectl handoff status fraud"),
    "explain-rolled-back": (rolled_back, ("explain", "fraud"), "kubectl handoff explain fraud"),
}


def screen(arrange: Callable[[Loopback], None], words: tuple[str, ...]) -> str:
    """What the command line prints to a terminal, with its colours."""
    shown = Screen()
    environment = {"COLUMNS": str(WIDTH), "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    with tempfile.TemporaryDirectory() as folder, loopback() as server:
        with mock.patch.object(world, "datetime", Clock):
            operator(server)
            arrange(server)
        for thing in server.objects.values():
            for container in (thing.get("status") or {}).get("containerStatuses") or ():
                container["restartCount"] = 0
        environment["KUBECONFIG"] = str(kubeconfig(Path(folder), server.url))
        with (
            mock.patch.dict(os.environ, environment),
            mock.patch.object(sys, "stdout", shown),
            mock.patch.object(view, "datetime", Clock),
            mock.patch.object(printing, "datetime", Clock),
            mock.patch.object(heartbeat, "datetime", Clock),
        ):
            os.environ.pop("NO_COLOR", None)
            assert entry.main(list(words)) == 0
    return shown.getvalue()


def draw(name: str) -> str:
    """The picture as SVG."""
    arrange, words, title = PICTURES[name]
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    for line in screen(arrange, words).rstrip().split("\n"):
        console.print(Text.from_ansi(line), soft_wrap=True)
    return console.export_svg(title=title, theme=DIMMED_MONOKAI, code_format=FORMAT)


def main() -> None:
    """Draw all."""
    for name in PICTURES:
        path = IMAGES / f"{name}.svg"
        path.write_text(draw(name), encoding="utf-8")
        print(f"drew {path}")


if __name__ == "__main__":
    main()
