"""``modelhandoff verify`` and ``pack``: a bundle on this machine, before anybody else sees it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner, Result

from modelhandoff.cli.main import app
from tests.builders import handoff
from tests.unit.verify.bundles import GOLDEN, doubling

CARD = "# Card\n\n" + "".join(
    f"## {name}\n\nSaid here.\n\n"
    for name in ("Intended use", "Limitations", "Biases", "Mitigations")
)
LOCK = "numpy==2.2.1\nscipy==1.15.0\n"
API = {
    "requestSchema": {"type": "object", "required": ["inputs"]},
    "responseSchema": {"type": "object", "required": ["outputs"]},
    "examples": [
        {"name": "good", "valid": True, "request": {"inputs": []}, "response": {"outputs": []}},
        {"name": "bad", "valid": False, "request": {"imputs": []}},
    ],
}
FILES: dict[str, tuple[str, bytes]] = {
    "Model": ("model.onnx", doubling({"version": "1.4.0", "seed": "42"})),
    "TestData": ("golden.jsonl", GOLDEN),
    "ApiContract": ("api.json", json.dumps(API).encode()),
    "ModelCard": ("card.md", CARD.encode()),
    "Environment": ("requirements.lock", LOCK.encode()),
}
TERMS: dict[str, Any] = {
    "acceptance": {"smoke": {}},
    "contracts": {
        "api": {
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
        }
    },
    "governance": {"license": "Apache-2.0", "modelCard": {}, "pinnedEnvironment": True},
}


def write(home: Path, change: Callable[[dict[str, Any]], None] | None = None) -> Path:
    """A complete bundle with its handoff."""
    artifacts = []
    for role, (name, data) in FILES.items():
        (home / name).write_bytes(data)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        artifacts.append({"role": role, "uri": f"https://models.example/{name}", "digest": digest})
    document = handoff(candidate={"artifacts": artifacts}, **TERMS)
    if change is not None:
        change(document["spec"])
    (home / "handoff.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return home


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def states(result: Result) -> dict[str, str]:
    return {one["name"]: one["state"] for one in json.loads(result.stdout)["checks"]}


def test_tests_in_images_of_ones_own_are_named_as_not_run(tmp_path):
    def with_test(spec: dict[str, Any]) -> None:
        image = spec["candidate"]["serving"]["image"]
        spec["acceptance"]["tests"] = [{"name": "unit", "image": image, "command": ["pytest"]}]

    write(tmp_path, with_test)
    done = call("verify", tmp_path)
    assert done.exit_code == 0, done.output
    assert "Not run here, but as Jobs of the cluster: Test/unit." in done.stdout.splitlines()
    assert json.loads(call("verify", tmp_path, "-o", "json").stdout)["notRun"] == ["Test/unit"]


def test_a_complete_bundle_passes_every_check_that_it_asks_for(tmp_path):
    done = call("verify", write(tmp_path))
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[-1] == "Passed: 10 of 10 checks passed."
    assert all(line.startswith("ok ") for line in lines[:10])
    assert lines[10] == "Checklist: 4/8. Not yet:"


def test_one_flipped_byte_is_told_by_its_digest(tmp_path):
    home = write(tmp_path)
    (home / "card.md").write_text(CARD.replace("Said", "Seid", 1))
    done = call("verify", home)
    assert done.exit_code == 3
    assert "FAILED   Artifacts          card.md: digest is wrong; got sha256:" in done.stdout
    assert done.stdout.count("FAILED") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["verify", "nowhere"], "nowhere: cannot be read"),
        (["verify", "."], "has no handoff.yaml"),
        (["verify", ".", "--timeout", "0"], "--timeout: out of range; got 0.0"),
        (["pack", "."], "has no handoff.yaml"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    done = call(*arguments)
    assert done.exit_code == 1
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_that_is_not_there_is_named_before_anything_runs(tmp_path):
    home = write(tmp_path)
    (home / "card.md").unlink()
    for command in ("verify", "pack"):
        done = call(command, home)
        assert done.exit_code == 1
        assert "card.md: the artifact with role ModelCard is not here" in done.stderr


def test_pack_changes_digests_and_nothing_else(tmp_path):
    home = write(tmp_path)
    file = home / "handoff.yaml"
    commented = "# who reads this\n" + file.read_text().replace(
        "    - role: Model\n", "    - role: Model  # the model itself\n"
    )
    file.write_text(commented)
    assert "digests are right" in call("pack", home).stdout
    assert file.read_text() == commented

    (home / "card.md").write_text(CARD + "More.\n")
    old = f"sha256:{hashlib.sha256(CARD.encode()).hexdigest()}"
    new = f"sha256:{hashlib.sha256((home / 'card.md').read_bytes()).hexdigest()}"
    stale = call("pack", home, "--check")
    assert stale.exit_code == 1
    assert f"card.md: the digest is not that of its file; got {old}; allowed {new}" in stale.stderr
    assert file.read_text() == commented, "--check writes nothing"

    assert "1 of 5 digests changed" in call("pack", home).stdout
    assert file.read_text() == commented.replace(old, f'"{new}"')
    assert call("verify", home).exit_code == 0


def _key(path: Path) -> str:
    made = ec.generate_private_key(ec.SECP256R1())
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path.write_bytes(made.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    return made.public_key().public_bytes(pem, public).decode()


def test_pack_signs_and_verify_believes_the_policys_key_only(tmp_path):
    ours, other = _key(tmp_path / "ours.pem"), _key(tmp_path / "other.pem")
    home = tmp_path / "bundle"
    home.mkdir()

    def ask(spec: dict[str, Any]) -> None:
        spec["candidate"]["signature"] = {}
        spec["candidate"]["artifacts"].append(
            {
                "role": "Signature",
                "uri": "https://models.example/model.sig",
                "digest": "sha256:" + "0" * 64,
            }
        )

    write(home, ask)
    for name, public in (("ours", ours), ("other", other)):
        policy = {
            "apiVersion": "modelhandoff.dev/v1alpha1",
            "kind": "HandoffPolicy",
            "metadata": {"name": "default"},
            "spec": {
                "metricSources": [{"name": "default", "url": "http://prometheus:9090"}],
                "trustedKeys": [{"name": name, "publicKey": public}],
            },
        }
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(policy))
    done = call("pack", home, "--key", tmp_path / "ours.pem")
    assert done.exit_code == 0, done.output
    assert "signed 5 files" in done.stdout

    right = call("verify", home, "--policy", tmp_path / "ours.yaml", "-o", "json")
    assert right.exit_code == 0, right.output
    assert states(right)["Signature"] == "Passed"
    wrong = call("verify", home, "--policy", tmp_path / "other.yaml", "-o", "json")
    assert wrong.exit_code == 3
    assert {n for n, s in states(wrong).items() if s == "Failed"} == {"Signature"}


def test_pack_refuses_what_is_no_key_and_a_handoff_that_asks_for_no_signature(tmp_path):
    home = write(tmp_path)
    done = call("pack", home, "--key", home / "card.md")
    assert done.exit_code == 1
    assert "spec.candidate.signature: nothing asks for it" in done.stderr
