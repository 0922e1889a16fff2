"""The pages for people: every link leads somewhere, every command that they name exists."""

import re
from pathlib import Path

import pytest
import typer

from modelhandoff.cli import main
from modelhandoff.cli.kubectl import app as kubectl

ROOT = Path(__file__).parents[3]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "examples/README.md"])
VERBS = {
    "modelhandoff": set(typer.main.get_command(main.app).commands),
    "kubectl handoff": set(kubectl.command().commands),
}


def anchors(page):
    """Anchors of the headings, as GitHub makes them."""
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return set(re.findall(r'<a id="([^"]+)">', text)) | {
        re.sub(r"[^\w\- ]", "", one.lower()).strip().replace(" ", "-") for one in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", text)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
@pytest.mark.parametrize("program", sorted(VERBS))
def test_every_command_exists(page, program):
    text = page.read_text(encoding="utf-8").replace("kubectl-handoff ", "kubectl handoff ")
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, flags=re.DOTALL))
    named = re.findall(rf"(?<![\w/-]){program} ([a-z][a-z-]+)", code)
    # `helm install modelhandoff charts/...` names a release.
    unknown = {one for one in named if one not in VERBS[program]} - {"charts"}
    assert not unknown, f"{page.name} names {sorted(unknown)} of {program}"
