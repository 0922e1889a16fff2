"""``modelhandoff init``: from a model file to a folder that says what is still missing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from onnx import helper
from typer.testing import CliRunner, Result

from modelhandoff.api.resolve import check
from modelhandoff.cli.main import app
from tests.unit.verify.bundles import FLOAT, doubling, info, model

META = {"version": "1.4.0", "seed": "42", "commit": "9fceb02d0ae598e95dc970b74767f19372d61af8"}


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def made(tmp_path: Path, data: bytes, name: str = "Fraud Model.onnx", *more: str) -> Path:
    (tmp_path / name).write_bytes(data)
    done = call("init", tmp_path / name, "--dir", tmp_path / "out", *more)
    assert done.exit_code == 0, done.output
    return tmp_path / "out"


def test_what_the_file_says_is_written_and_the_rest_is_named_by_lint(tmp_path):
    folder = made(tmp_path, doubling(META))
    document = yaml.safe_load((folder / "handoff.yaml").read_text())
    candidate = document["spec"]["candidate"]
    assert candidate["model"] == {"name": "fraud-model", "version": "1.4.0"}
    assert candidate["provenance"]["seed"] == 42
    assert candidate["provenance"]["git"]["commit"] == META["commit"]
    assert document["spec"]["contracts"]["api"]["inputs"] == [
        {"name": "x", "datatype": "FP32", "shape": [-1, 2]}
    ]
    assert {error.path for error in check(document)} == {
        "spec.candidate.artifacts[0].uri",
        "spec.candidate.artifacts[1].uri",
        "spec.candidate.artifacts[2].uri",
        "spec.candidate.provenance.git.repo",
        "spec.candidate.serving.image",
        "spec.contracts.api.latency.p95",
        "spec.monitoring.metrics[1].budget",
        "spec.rollout.route.gateway.name",
        "spec.runbook.url",
    }


def test_filled_in_it_passes_all_checks_but_the_empty_card(tmp_path):
    folder = made(tmp_path, doubling(META), "model.onnx")
    file = folder / "handoff.yaml"
    text = file.read_text()
    for todo, done in (
        ('"TODO/', '"https://models.example/'),
        ("TODO IMAGE@sha256:...", "registry.example/serve@sha256:" + "ab" * 32),
        ("TODO address", "https://git.example/fraud"),
        ("p95: TODO", "p95: 50ms"),
        ("budget: TODO", "budget: 50ms"),
        ("name: TODO", "name: public"),
        ('url: "TODO"', 'url: "https://runbooks.example"'),
    ):
        assert todo in text
        text = text.replace(todo, done)
    file.write_text(text)
    done = call("verify", folder, "-o", "json")
    assert done.exit_code == 3, done.output
    states = {one["name"]: one["state"] for one in json.loads(done.stdout)["checks"]}
    assert states.pop("ModelCard") == "Failed"
    assert states.pop("License") == "Skipped", "which one it is only its author knows"
    assert set(states.values()) == {"Passed"}
    assert states.keys() >= {"GoldenCases", "GraphContract", "ModelMetadata", "Artifacts"}


def test_git_around_the_file_and_mlflow_beside_it_are_read(tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "training"], check=True)
    address = "https://somebody:secret@git.example/fraud"
    subprocess.run([*git, "remote", "add", "origin", address], check=True)
    columns = [{"name": "amount", "type": "double"}, {"name": "foreign", "type": "boolean"}]
    (tmp_path / "MLmodel").write_text(
        yaml.safe_dump({"signature": {"inputs": json.dumps(columns)}})
    )
    spec = yaml.safe_load((made(tmp_path, doubling()) / "handoff.yaml").read_text())["spec"]
    origin = spec["candidate"]["provenance"]["git"]
    assert origin["repo"] == "https://git.example/fraud", "a password is nobody's business"
    assert len(origin["commit"]) == 40
    assert spec["contracts"]["data"]["features"] == [
        {"name": "amount", "type": "Float"},
        {"name": "foreign", "type": "Boolean"},
    ]


@pytest.mark.parametrize("junk", ["", "signature: 7", "{", "signature: {inputs: '[{}]'}"])
def test_an_mlmodel_file_that_says_nothing_is_passed_over(tmp_path, junk):
    (tmp_path / "MLmodel").write_text(junk)
    spec = yaml.safe_load((made(tmp_path, doubling()) / "handoff.yaml").read_text())["spec"]
    assert "data" not in spec["contracts"]


def test_nothing_is_written_over_unless_told(tmp_path):
    folder = made(tmp_path, doubling(META), "model.onnx")
    (folder / "card.md").write_text("written for hours")
    again = call("init", tmp_path / "model.onnx", "--dir", folder)
    assert again.exit_code == 1
    assert "card.md: is there already" in again.stderr
    assert (folder / "card.md").read_text() == "written for hours"
    assert call("init", tmp_path / "model.onnx", "--dir", folder, "--force").exit_code == 0


def test_a_model_in_its_own_folder_stays_where_it_is(tmp_path):
    (tmp_path / "model.onnx").write_bytes(doubling(META))
    done = call("init", tmp_path / "model.onnx", "--dir", tmp_path, "--force")
    assert done.exit_code == 0
    assert (tmp_path / "model.onnx").read_bytes() == doubling(META)


def test_an_answer_that_is_no_number_is_a_golden_answer_too(tmp_path):
    nan = model(
        [helper.make_node("Sqrt", ["minus"], ["y"]), helper.make_node("Neg", ["x"], ["minus"])][
            ::-1
        ],
        [info("x", FLOAT, ["rows", 2])],
        [info("y", FLOAT, ["rows", 2])],
    )
    lines = (made(tmp_path, nan) / "golden.jsonl").read_text().splitlines()
    answers: list[Any] = [json.loads(line)["response"]["outputs"][0]["data"] for line in lines]
    assert [None, None] in answers


@pytest.mark.parametrize("data", [b"", b"no model", b"\x80\x04."])
def test_what_is_no_model_is_one_line(tmp_path, data):
    (tmp_path / "model.onnx").write_bytes(data)
    done = call("init", tmp_path / "model.onnx", "--dir", tmp_path / "out")
    assert done.exit_code == 1
    assert "model.onnx: not a usable ONNX model" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
