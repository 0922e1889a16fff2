"""``lint``: the operator's rules offline, with file, line, field and fix."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from modelhandoff.api.resolve import check
from modelhandoff.cli.kubectl import lint
from tests.bad_handoffs import load
from tests.builders import handoff

POLICY = """\
apiVersion: modelhandoff.dev/v1alpha1
kind: HandoffPolicy
metadata: {name: default}
spec:
  metricSources: [{name: default, url: "http://prometheus:9090"}]
  limits: {maxFirstWeight: 5}
"""


@pytest.fixture
def written(tmp_path):
    """A manifest in a file."""

    def write(thing, name="fraud.yaml"):
        path = tmp_path / name
        text = thing if isinstance(thing, str) else yaml.safe_dump(thing, sort_keys=False)
        path.write_text(text)
        return str(path)

    return write


def test_a_sound_handoff_has_no_findings(call, written):
    answer = call("lint", written(handoff()))

    assert (answer.code, answer.out) == (0, "")
    assert "ModelHandoff/fraud: nothing to object to." in answer.err


def test_a_finding_names_file_line_field_and_fix(call, written):
    path = written(handoff(monitoring={"interval": "often"}))
    lines = Path(path).read_text().splitlines()
    line = 1 + next(at for at, text in enumerate(lines) if "often" in text)

    answer = call("lint", path)

    assert answer.code == 1
    found = answer.out.strip()
    assert found.startswith(f"{path}:{line}: ModelHandoff/fraud: spec.monitoring.interval: ")
    assert "got often; allowed " in found


def test_it_says_what_admission_says(call, written):
    bad = load()
    assert len(bad) > 50
    for case in bad[:25]:
        path = written(case.manifest if hasattr(case, "manifest") else case.build())
        told = [line.split(": ", 2)[2] for line in call("lint", path).out.splitlines()]
        expected = [str(error) for error in check(yaml.safe_load(Path(path).read_text()))]
        assert told == expected


def test_a_policy_is_applied(call, written):
    policy = written(POLICY, "policy.yaml")

    answer = call("lint", written(handoff()), "--policy", policy)

    assert answer.code == 1
    assert "spec.rollout.steps[0].weight: the first step is above the policy's limit" in answer.out
    assert "Without --policy" not in answer.err


def test_an_unpinned_image_is_found_without_a_policy_too(call, written):
    path = written(handoff(candidate={"serving": {"image": "registry.example/serve:latest"}}))

    answer = call("lint", path)

    assert "spec.candidate.serving.image: the image is not pinned" in answer.out


def test_policies_are_checked_too(call, written):
    path = written(POLICY.replace("maxFirstWeight: 5", "maxFirstWeight: 500"))

    answer = call("lint", path)

    assert answer.code == 1
    assert (
        f"{path}:6: HandoffPolicy/default: spec.limits.maxFirstWeight: out of range" in answer.out
    )


def test_several_documents_and_folders_and_other_kinds(call, written, tmp_path):
    written("kind: ConfigMap\nmetadata: {name: x}\n---\n" + yaml.safe_dump(handoff()))
    written(handoff(suspend="yes"), "second.yml")

    answer = call("lint", str(tmp_path))

    assert answer.code == 1
    assert answer.out.count("\n") == 1
    assert "second.yml" in answer.out
    assert "Passed over: ConfigMap." in answer.err


def test_a_key_that_stands_twice_is_found(call, written):
    text = yaml.safe_dump(handoff()) + "kind: ModelHandoff\n"

    answer = call("lint", written(text))

    assert answer.code == 1
    assert "kind: the key stands twice" in answer.out


def test_findings_as_json(call, written):
    answer = call("lint", written(handoff(suspend="yes")), "-o", "json")

    [finding] = json.loads(answer.out)
    assert finding["path"] == "spec.suspend"
    assert finding["object"] == "ModelHandoff/fraud"


def test_standard_input(call, monkeypatch):
    data = io.BytesIO(yaml.safe_dump(handoff(suspend="yes")).encode())
    monkeypatch.setattr(lint.sys, "stdin", SimpleNamespace(buffer=data))

    assert call("lint", "-").out.startswith("<stdin>:")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "not YAML"),
        ("&a [*a]", "nothing to check"),
        ("just text", "nothing to check; got no object"),
        ("", "nothing to check; got nothing"),
        ("kind: Pod", "nothing to check; got Pod"),
        ("{? [1]: 2}", "not YAML"),
    ],
)
def test_what_is_no_handoff_is_one_line_and_1(call, written, text, told):
    answer = call("lint", written(text))

    assert answer.code == 1
    assert told in answer.out + answer.err
    assert "Traceback" not in answer.err


def test_deep_nesting_ends_in_a_line(call, written):
    answer = call("lint", written("[" * 5000))

    assert answer.code == 1
    assert "YAML" in answer.out


def test_files_that_cannot_be_read(call, written, tmp_path):
    assert "cannot be read" in call("lint", str(tmp_path / "none.yaml")).line
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in call("lint", str(tmp_path / "binary.yaml")).line


def test_a_policy_file_without_a_policy_is_refused(call, written):
    path = written(handoff())

    assert "needs exactly one HandoffPolicy" in call("lint", path, "--policy", path).line
