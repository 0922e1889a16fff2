"""Pages that are made of the code: complete, legal Markdown, and up to date."""

from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from modelhandoff.api import crds
from modelhandoff.cli import pages
from modelhandoff.cli.main import app

ROOT = Path(__file__).parents[3]


def fields(schema, path):
    for name, field in (schema.get("properties") or {}).items():
        below = field.get("items", field)
        yield path, name
        yield from fields(below, f"{path}.{name}" + ("[]" if "items" in field else ""))


@pytest.mark.parametrize("kind", crds.KINDS, ids=lambda kind: kind.top.__name__)
def test_the_reference_has_every_field_of_every_kind(kind):
    text = pages.reference()
    schema = crds.crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    for block in ("spec", "status"):
        for path, name in fields(schema.get(block) or {}, f"{kind.top.__name__}.{block}"):
            section = text.partition(f"\n### {path}\n")[2].partition("\n### ")[0]
            assert f"| `{name}` | " in section, f"{path}.{name}"


def test_every_table_of_the_reference_is_one():
    """A bar or a line end in a description would cut its row."""
    tokens = MarkdownIt("commonmark").enable("table").parse(pages.reference())
    rows = sum(token.type == "tr_open" for token in tokens)
    assert rows == sum(line.startswith("| ") for line in pages.reference().split("\n"))
    assert not any(token.type == "html_block" for token in tokens)


def test_no_field_is_without_a_meaning():
    bare = [line for line in pages.reference().split("\n") if line.endswith("|  |")]
    assert bare == []


def test_what_is_made_of_the_code_is_up_to_date():
    """Write it again: modelhandoff generate."""
    found = CliRunner().invoke(app, ["generate", "--check", "--root", str(ROOT)])
    assert found.output == ""
    assert found.exit_code == 0
