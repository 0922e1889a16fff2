"""The CRDs are what the models say, and what an API server can hold and check cheaply."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from modelhandoff.api.crds import KINDS, crd, drift, render, write
from modelhandoff.cli.main import app

CRDS = Path(__file__).parents[3] / "crds"
MAX_BYTES = 200_000
"""Client-side apply keeps an object once more in an annotation of at most 256 KiB."""
STRUCTURAL_ONLY = {"$ref", "anyOf", "oneOf", "allOf", "not", "const", "title", "x-hint", "nullable"}

kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)


def root(kind: Any) -> dict[str, Any]:
    (version,) = crd(kind)["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


def ours(kind: Any) -> list[tuple[str, dict[str, Any]]]:
    return [n for n in nodes(root(kind)) if n[0].startswith((".spec", ".status"))]


def test_the_files_in_the_repository_are_up_to_date():
    assert drift(CRDS) == []


@kinds
def test_no_default_stands_under_spec(kind):
    assert [p for p, node in ours(kind) if p.startswith(".spec") and "default" in node] == []


def test_a_handoff_that_was_never_visited_says_so():
    handoffs = root(KINDS[0])["properties"]["status"]

    assert handoffs["default"] == {"observedGeneration": -1}
    assert handoffs["properties"]["observedGeneration"]["default"] == -1


@kinds
def test_schemas_are_structural(kind):
    for path, node in ours(kind):
        assert not STRUCTURAL_ONLY & node.keys(), path
        assert "type" in node or node.get("x-kubernetes-int-or-string"), path


@kinds
def test_everything_is_bounded(kind):
    for path, node in ours(kind):
        match node.get("type"):
            case "string":
                bounded = "maxLength" in node or "enum" in node or node.get("format") == "date-time"
            case "array":
                bounded = "maxItems" in node
            case "object":
                bounded = "properties" in node or "maxProperties" in node
            case _:
                bounded = True
        assert bounded, path


@kinds
def test_every_field_explains_itself_in_whole_sentences(kind):
    for path, node in ours(kind):
        if path.endswith(("[]", "{}")):
            continue
        assert node.get("description", "").strip(), path
        assert node["description"].endswith("."), path


@kinds
def test_lists_say_how_they_merge_and_their_keys_are_required(kind):
    for path, node in ours(kind):
        if node.get("type") != "array":
            continue
        merge = node["x-kubernetes-list-type"]
        assert merge in ("atomic", "set", "map"), path
        for key in node.get("x-kubernetes-list-map-keys", ()):
            assert key in node["items"]["required"], path


@kinds
def test_rules_name_an_existing_field_and_a_remedy(kind):
    for path, node in nodes(root(kind)):
        for rule in node.get("x-kubernetes-validations", ()):
            target = node
            for step in rule.get("fieldPath", "").split(".")[1:]:
                target = target["properties"][step]
            assert "; allowed " in rule["message"], path
            assert "\n" not in rule["message"], path


@kinds
def test_crds_are_small(kind):
    assert len(render()[kind.file_name].encode()) < MAX_BYTES


@kinds
def test_every_column_reads_a_field_that_exists(kind):
    schema = root(kind)
    for column in crd(kind)["spec"]["versions"][0]["additionalPrinterColumns"]:
        node = schema
        for step in column["jsonPath"].replace('[?(@.type=="', "/").split(".")[1:]:
            if step.startswith("creationTimestamp"):
                break
            name, is_list, _ = step.partition("/")
            node = node["properties"][name]
            node = node["items"] if is_list else node


def test_the_narrow_columns_are_the_promised_ones():
    columns = crd(KINDS[0])["spec"]["versions"][0]["additionalPrinterColumns"]

    narrow = [c["name"].upper() for c in columns if "priority" not in c]
    assert narrow == ["PHASE", "STEP", "WEIGHT", "VERDICT", "CHECKLIST", "MODEL", "AGE"]


def test_writing_twice_changes_nothing(tmp_path):
    assert len(write(tmp_path)) == len(KINDS)
    assert write(tmp_path) == []
    assert drift(tmp_path) == []


def test_the_files_are_plain_yaml_without_anchors():
    for kind in KINDS:
        text = render()[kind.file_name]
        assert yaml.safe_load(text) == crd(kind)
        assert "&id" not in text


def test_check_names_every_file_that_differs_and_writes_nothing(tmp_path):
    write(tmp_path)
    first, second, third, *_ = sorted(tmp_path.iterdir())
    first.write_text("kind: Other\n")
    second.unlink()
    (tmp_path / "left-over.yaml").write_text("")

    result = CliRunner().invoke(app, ["crds", "--check", "--output", str(tmp_path)])

    assert result.exit_code == 1
    assert f"{first}: differs" in result.stderr
    assert f"{second}: missing" in result.stderr
    assert "left-over.yaml: no model writes it" in result.stderr
    assert str(third) not in result.stderr
    assert not second.exists()


def test_the_command_writes_the_files_and_says_which(tmp_path):
    result = CliRunner().invoke(app, ["crds", "--output", str(tmp_path / "new")])

    assert result.exit_code == 0
    assert result.stdout.count("wrote ") == len(KINDS)
    again = CliRunner().invoke(app, ["crds", "--check", "--output", str(tmp_path / "new")])
    assert (again.exit_code, again.output) == (0, "")
