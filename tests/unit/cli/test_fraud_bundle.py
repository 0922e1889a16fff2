"""The example as a complete bundle: all that it declares passes, and what is broken fails alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from modelhandoff.api.checks import CheckStatus
from modelhandoff.api.verification import spec_document
from modelhandoff.cli.inputs import read_handoff
from modelhandoff.cli.local import bundle
from modelhandoff.cli.main import app
from modelhandoff.verify.bundle import read_bundle
from modelhandoff.verify.findings import made
from modelhandoff.verify.worker import Bench, asked

EXAMPLE = Path(__file__).parents[3] / "examples" / "fraud"
COMMIT = "9fceb02d0ae598e95dc970b74767f19372d61af8"
DECLARED = {
    *("Artifacts", "ModelFormat", "ModelLoads", "ModelMetadata"),
    *("GraphContract", "DataContract", "ApiContract", "GoldenCases"),
    *("ModelCard", "License", "Privacy", "PinnedEnvironment", "SBOM"),
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Version 2 with its handoff in one folder."""
    out = tmp_path_factory.mktemp("fraud")
    run("train.py", "--out", out, "--commit", COMMIT)
    text = run(
        *("render.py", "--models", out, "--version", "v2"),
        *("--uri", "https://models.example/fraud/v2"),
        *("--image", f"registry.example/serve@sha256:{'0' * 64}"),
    )
    (out / "v2" / "handoff.yaml").write_text(text)
    return out / "v2"


def run(script: str, *arguments: Any) -> str:
    command = [sys.executable, str(EXAMPLE / script), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def answer(home: Path, *options: Any) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(app, ["verify", str(home), "-o", "json", *map(str, options)])
    return done.exit_code, json.loads(done.stdout)


def verified(home: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    code, found = answer(home)
    return code, {one["name"]: one for one in found["checks"]}


def checked(home: Path) -> dict[str, CheckStatus]:
    """The same checks in this process: a tenth of the time, for what is told a dozen times."""
    _, spec = read_handoff(home)
    files = [one.name for one in bundle(spec.candidate.artifacts, home)]
    document = spec_document(spec.model_dump(mode="json", by_alias=True), files)
    bench = Bench(read_bundle(document.encode(), home))
    return {str(name): made(name, bench.checks[name]) for name in asked(bench.bundle)}


def test_every_declared_check_of_the_example_passes(rendered):
    code, checks = verified(rendered)

    assert (code, set(checks)) == (0, DECLARED)
    assert {one["state"] for one in checks.values()} == {"Passed"}, checks
    assert checks["GoldenCases"]["numbers"]["cases"] == 20


def test_the_checklist_says_what_is_up_to_the_cluster_and_to_people(rendered):
    done = CliRunner().invoke(app, ["verify", str(rendered)])

    assert done.exit_code == 0, done.output
    *_, head, first, second, last = done.stdout.splitlines()
    assert head == "Checklist: 6/8. Not yet:"
    assert first.startswith("  Reproduced: ")
    assert second == "  Approved: spec.approvals: no role has to approve; add approvals.roles."
    assert last == "Passed: 13 of 13 checks passed."


def test_what_the_policy_forbids_is_told_before_the_checks(rendered, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "apiVersion: modelhandoff.dev/v1alpha1\nkind: HandoffPolicy\nmetadata: {name: default}\n"
        'spec: {metricSources: [{name: default, url: "http://prometheus:9090"}], '
        "artifactHosts: [files.example]}\n"
    )

    code, found = answer(rendered, "--policy", policy)

    assert code == 3
    assert len(found["findings"]) == 7
    assert found["findings"][0].startswith(
        "spec.candidate.artifacts[0].uri: the host is not allowed; got https://models.example/"
    )
    assert found["verdict"] == "Failed"
    assert {one["state"] for one in found["checks"]} == {"Passed"}


def put(file: str, old: str, new: str) -> Callable[[Path], None]:
    """Replace a text that stands in a file."""

    def change(home: Path) -> None:
        text = (home / file).read_text(encoding="utf-8")
        assert old in text
        (home / file).write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


def wrong_answer(home: Path) -> None:
    lines = (home / "golden.jsonl").read_text().splitlines()
    case = json.loads(lines[6])
    case["response"]["outputs"][0]["data"][0] += 0.01
    lines[6] = json.dumps(case)
    (home / "golden.jsonl").write_text("\n".join(lines) + "\n")


def harmless_bad_example(home: Path) -> None:
    contract = json.loads((home / "api.json").read_text())
    contract["examples"][1]["request"] = contract["examples"][0]["request"]
    (home / "api.json").write_text(json.dumps(contract))


def vulnerable(home: Path) -> None:
    document = json.loads((home / "sbom.json").read_text())
    document["vulnerabilities"] = [{"id": "CVE-1", "ratings": [{"severity": "critical"}]}]
    (home / "sbom.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("breaks", "fails", "says"),
    [
        (put("handoff.yaml", "features, datatype: FP32", "features, datatype: FP64"),
         "GraphContract", "contracts.api.inputs[0].datatype: features has another; got FP64"),
        (put("handoff.yaml", "[-1, 8]", "[-1, 9]"),
         "GraphContract", "contracts.api.inputs[0].shape: features has another; got [-1, 9]"),
        (put("handoff.yaml", "{name: score, ", "{name: fraud, "),
         "GraphContract", "contracts.api.outputs[0].name: the model has no such tensor; got fraud"),
        (put("handoff.yaml", "seed: 42", "seed: 43"),
         "ModelMetadata", "candidate.provenance.seed: the model's own metadata says another"),
        (put("handoff.yaml", 'version: "1.1.0"', 'version: "1.1.1"'),
         "ModelMetadata", "candidate.model.version: the model's own metadata says another"),
        (put("handoff.yaml", "min: 0, max: 23,", "min: 0, max: 3,"),
         "DataContract", "hour is out of range"),
        (wrong_answer, "GoldenCases", "golden.jsonl:7: output score[0] is wrong; got 0."),
        (harmless_bad_example, "ApiContract",
         "api.json: examples[1] (seven features): is said to be bad, and the schemas allow it"),
        (put("card.md", "## Biases", "## Other matters"),
         "ModelCard", "card.md: section biases is missing"),
        (put("requirements.lock", "numpy==", "numpy>="),
         "PinnedEnvironment", "requirements.lock:2: has no exact version; got numpy>="),
        (vulnerable, "SBOM", "CVE-1 is too severe; got Critical; allowed at most High"),
    ],
    ids=["datatype", "shape", "name", "seed", "version", "range", "answer", "example", "section",
         "range of versions", "vulnerability"],
)  # fmt: skip
def test_what_is_broken_fails_and_nothing_else(rendered, tmp_path, breaks, fails, says):
    home = shutil.copytree(rendered, tmp_path / "bundle")
    breaks(home)
    packed = CliRunner().invoke(app, ["pack", str(home)])
    assert packed.exit_code == 0, packed.output

    checks = checked(home)

    assert {name for name, one in checks.items() if one.state != "Passed"} == {fails}
    assert says in checks[fails].message


def test_one_other_byte_is_told_by_its_digest_alone(rendered, tmp_path):
    home = shutil.copytree(rendered, tmp_path / "bundle")
    put("card.md", "an example", "no example")(home)

    code, checks = verified(home)

    assert code == 3
    assert {name for name, one in checks.items() if one["state"] != "Passed"} == {"Artifacts"}
    assert checks["Artifacts"]["message"].startswith("card.md: digest is wrong; got sha256:")
