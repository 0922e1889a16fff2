"""The k9s files: known fields, columns that exist, and the verbs of kubectl handoff."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from modelhandoff.api import crds
from modelhandoff.cli.kubectl.app import app

FOLDER = Path(__file__).parents[2] / "integrations/k9s"
PLUGINS = yaml.safe_load((FOLDER / "plugins.yaml").read_text())["plugins"]
VIEWS = yaml.safe_load((FOLDER / "views.yaml").read_text())["views"]
FIELDS = {"shortCut", "description", "scopes", "command", "args", "background", "confirm"}
FIELDS |= {"dangerous"}
OURS = {"NAMESPACE", "NAME", "AGE"}
"""Columns that k9s has for every kind."""


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_runs_a_verb_that_exists_on_the_chosen_handoff(name):
    plugin = PLUGINS[name]
    assert set(plugin) <= FIELDS
    words = " ".join(plugin["args"])
    verb = re.search(r"handoff (\w+)", words)
    assert verb
    assert verb[1] == name.removeprefix("handoff-")
    assert verb[1] in get_command(app).commands
    for variable in ("$NAME", "$NAMESPACE", "$CONTEXT"):
        assert variable in plugin["args"], "an argument of its own, never part of a script"


def test_what_writes_asks_first():
    for name, plugin in PLUGINS.items():
        writes = name.removeprefix("handoff-") in ("pause", "resume", "abort", "retry", "promote")
        assert plugin.get("confirm", False) is writes


def test_shortcuts_are_used_once():
    keys = [plugin["shortCut"] for plugin in PLUGINS.values()]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("view", VIEWS)
def test_a_column_is_one_of_the_kind_or_a_path_in_its_schema(view):
    group, version, plural = view.split("/")
    crd = next(crds.crd(kind) for kind in crds.KINDS if kind.plural == plural)
    assert crd["spec"]["group"] == group
    served = next(v for v in crd["spec"]["versions"] if v["name"] == version)
    printed = {column["name"].upper() for column in served["additionalPrinterColumns"]}
    for column in VIEWS[view]["columns"]:
        name, colon, path = column.partition(":")
        if not colon:
            assert name in OURS | printed
            continue
        schema = served["schema"]["openAPIV3Schema"]
        for part in path.strip(".").split("."):
            assert part in schema["properties"], path
            schema = schema["properties"][part]
