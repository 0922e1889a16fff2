"""Listing: what people and scripts see, and that it starts at once."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from modelhandoff.cli.kubectl import quick
from modelhandoff.cli.kubectl.app import execute
from tests.unit.cli.kubectl.world import Story


def test_the_table_has_the_columns_of_kubectl(server, call):
    counted = {"passed": 6, "total": 8, "label": "6/8"}
    Story(server).judged().write("10 % on 1.4.0: no harm found.", weight=10, checklist=counted)
    Story(server, name="ads").plain()

    header, ads, fraud = call("get").out.splitlines()

    assert header.split() == [
        "NAME", "PHASE", "STEP", "WEIGHT", "VERDICT", "CHECKLIST", "MODEL", "AGE",
    ]  # fmt: skip
    assert fraud.split()[:6] == ["fraud", "Progressing", "1/2", "10", "6/8", "1.4.0"]
    assert ads.split()[:2] == ["ads", "1.4.0"]
    assert header.index("MODEL") == fraud.index("1.4.0") == ads.index("1.4.0")


def test_all_namespaces_are_listed_page_by_page(server, call):
    server.page = 2
    for namespace in ("a", "b", "c", "d", "e"):
        Story(server, namespace=namespace).plain()

    rows = call("get", "-A").out.splitlines()[1:]

    assert [row.split()[0] for row in rows] == ["a", "b", "c", "d", "e"]


def test_wide_adds_the_numbers(server, call):
    Story(server).judged(errors=0.01).write("10 % on 1.4.0.", weight=10, gpu="1 x Tesla-T4")

    header, row = call("get", "-o", "wide").out.splitlines()

    assert row[header.index("BASELINE") :].startswith("1.3.2")
    assert row[header.index("ERR") :].startswith("0.01 ")
    assert row[header.index("MESSAGE") :] == "10 % on 1.4.0."


def test_scripts_get_json_yaml_and_names_without_managed_fields(server, call):
    Story(server).plain()

    one = json.loads(call("get", "fraud", "-o", "json").out)
    many = yaml.safe_load(call("get", "-o", "yaml").out)
    names = call("get", "-o", "name").out

    assert one["kind"] == "ModelHandoff"
    assert one["apiVersion"] == "modelhandoff.dev/v1alpha1"
    assert "managedFields" not in one["metadata"]
    assert [item["metadata"]["name"] for item in many["items"]] == ["fraud"]
    assert many["kind"] == "List"
    assert names == "modelhandoff.modelhandoff.dev/fraud\n"


def test_a_name_as_get_prints_it_is_taken_by_every_verb(server, call):
    Story(server).judged().write("10 % on 1.4.0.", weight=10)

    assert call("status", "modelhandoff.modelhandoff.dev/fraud").code == 0
    assert call("status", "mho/fraud").code == 0


def test_an_empty_namespace_is_no_error(server, call):
    answer = call("get")

    assert (answer.code, answer.line) == (0, "No handoffs found in payments.")


@pytest.mark.parametrize(
    "words",
    [
        ["get"],
        ["get", "-A"],
        ["get", "fraud", "-n", "payments"],
        ["get", "--namespace=payments", "-o", "json"],
        ["get", "-o", "name", "--all-namespaces"],
        ["get", "-l", "team=risk", "-n", "payments"],
    ],
)
def test_the_short_way_says_what_the_usual_way_says(server, call, capsys, words):
    Story(server).judged().write("10 % on 1.4.0.", weight=10)
    assert quick.parse(words) is not None

    short = call(*words)
    code = execute(words)

    assert (short.code, short.out) == (code, capsys.readouterr().out)


@pytest.mark.parametrize(
    "words", [[], ["status"], ["get", "--help"], ["get", "-n"], ["get", "-o", "xml"], ["get", "-x"]]
)
def test_anything_else_goes_the_usual_way(words):
    assert quick.parse(words) is None


def test_get_loads_nothing_heavy(server):
    Story(server).plain()
    code = (
        "import sys; from modelhandoff.cli.kubectl.entry import main; main(['get', '-A']);"
        "heavy = {'pydantic', 'kubernetes', 'rich', 'typer', 'numpy', 'aiohttp', 'requests'};"
        "print(sorted(heavy & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.splitlines()[-1] == "[]"


def test_fifty_metrics_and_twenty_steps_stay_below_a_hundred_columns(server, call):
    story = Story(server).judged()
    metric = dict(story.state.metrics[0])
    story.write(
        "10 % on 1.4.0.",
        weight=10,
        step={"index": 20, "count": 20, "label": "20/20", "weight": 100},
        checklist={"passed": 8, "total": 8, "label": "8/8"},
        metrics=[{**metric, "name": f"m{at}"} for at in range(50)],
    )

    assert max(len(line) for line in call("get").out.splitlines()) <= 100
