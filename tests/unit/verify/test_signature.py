"""Signatures of the bundle, made by the library's own signer; what is wrong is told apart."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from model_signing import signing

from tests.unit.verify.bundles import Folder, folder

CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


class Person:
    """Somebody with a key."""

    def __init__(self, home: Path, name: str, curve: str = "P-256") -> None:
        key = ec.generate_private_key(CURVES[curve])
        self.name = name
        self.private = home / f"{name}.pem"
        self.private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self.public = (
            key.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode()
        )

    def trusted(self) -> dict[str, str]:
        return {"name": self.name, "publicKey": self.public}

    def sign(self, where: Path) -> bytes:
        """Sign a folder as a data scientist does."""
        out = where.parent / "model.sig"
        signing.Config().use_elliptic_key_signer(private_key=self.private).sign(where, out)
        return out.read_bytes()


@pytest.fixture
def alice(tmp_path: Path) -> Person:
    return Person(tmp_path, "alice")


def signed(
    tmp_path: Path, signer: Person, *trusted: Person, change: Callable[[Path], None] | None = None
) -> Folder:
    """The doubling model, signed; ``change`` happens before the files are declared."""
    home = tmp_path / "bundle"
    home.mkdir()
    bundle = folder(home)
    bundle.document()
    data = signer.sign(home)
    if change is not None:
        change(home)
        for role, name in bundle.names.items():
            bundle.files[role] = (home / name).read_bytes()
    bundle.files["Signature"], bundle.names["Signature"] = data, "model.sig"
    keys = [one.trusted() for one in trusted or (signer,)]
    bundle.overrides["candidate"] = {"signature": {"keys": keys}}
    return bundle


def check(bundle: Folder) -> Any:
    return bundle.checks()["Signature"]


@pytest.mark.parametrize("curve", CURVES)
def test_what_a_trusted_key_signed_passes(tmp_path, curve):
    found = check(signed(tmp_path, Person(tmp_path, "alice", curve)))
    assert (found.state, found.message) == ("Passed", "2 files are signed with the key alice.")


def test_one_of_several_trusted_keys_is_enough(tmp_path, alice):
    found = check(signed(tmp_path, alice, Person(tmp_path, "bob"), alice))
    assert found.state == "Passed"


def test_the_upstream_command_line_makes_such_a_signature(tmp_path, alice):
    bundle = signed(tmp_path, alice)
    out = tmp_path / "by-hand.sig"
    (bundle.path / "model.sig").unlink(missing_ok=True)
    tool = ["sign", "key", str(bundle.path), "--private_key", alice.private, "--signature", out]
    subprocess.run([sys.executable, "-m", "model_signing", *map(str, tool)], check=True)
    bundle.files["Signature"] = out.read_bytes()
    assert check(bundle).state == "Passed"


def test_another_key_is_named_with_those_that_are_trusted(tmp_path, alice):
    found = check(signed(tmp_path, Person(tmp_path, "mallory"), alice))
    assert found.state == "Failed"
    assert found.message.startswith("model.sig: signed with another key; got ")
    assert "allowed alice (" in found.message


def _flip(home: Path) -> None:
    data = bytearray((home / "model.onnx").read_bytes())
    data[-1] ^= 1
    (home / "model.onnx").write_bytes(data)


def test_one_flipped_byte_names_the_file(tmp_path, alice):
    # The digest in the handoff is that of the changed file: only the signature can tell.
    found = check(signed(tmp_path, alice, change=_flip))
    assert found.state == "Failed"
    assert found.message.startswith("model.onnx: is not what was signed; got sha256:")


def test_a_file_that_nobody_signed_is_named(tmp_path, alice):
    bundle = signed(tmp_path, alice)
    bundle.files["ModelCard"], bundle.names["ModelCard"] = b"# Card\n", "card.md"
    found = check(bundle)
    assert found.state == "Failed"
    assert found.message.startswith("card.md: is in the bundle and not signed")


def test_a_signed_file_that_is_missing_is_named(tmp_path, alice):
    home = tmp_path / "bundle"
    home.mkdir()
    bundle = folder(home)
    bundle.document()
    (home / "notes.txt").write_text("left out of the handoff")
    bundle.files["Signature"], bundle.names["Signature"] = alice.sign(home), "model.sig"
    (home / "notes.txt").unlink()
    bundle.overrides["candidate"] = {"signature": {"keys": [alice.trusted()]}}
    found = check(bundle)
    assert (found.state, found.message) == (
        "Failed",
        "model.sig: a file is signed and not in the bundle; got notes.txt",
    )


def _edited(data: bytes, edit: Callable[[dict[str, Any]], None]) -> bytes:
    document = json.loads(data)
    edit(document)
    return json.dumps(document).encode()


def _statement(document: dict[str, Any], edit: Callable[[dict[str, Any]], None]) -> None:
    envelope = document["dsseEnvelope"]
    statement = json.loads(base64.b64decode(envelope["payload"]))
    edit(statement)
    envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()


def _naming(file: str, digest: str) -> Callable[[dict[str, Any]], None]:
    """An edit that writes another digest of a file into the signed statement."""

    def rewrite(statement: dict[str, Any]) -> None:
        for one in statement["predicate"]["resources"]:
            if one["name"] == file:
                one["digest"] = digest

    return lambda document: _statement(document, rewrite)


def test_a_statement_that_was_rewritten_is_not_believed(tmp_path, alice):
    # An attacker changes the model and writes its digest into the signed statement.
    bundle = signed(tmp_path, alice, change=_flip)
    new = hashlib.sha256(bundle.files["Model"]).hexdigest()
    bundle.files["Signature"] = _edited(bundle.files["Signature"], _naming("model.onnx", new))
    found = check(bundle)
    assert found.state == "Failed"
    assert "the signature is not valid" in found.message


def test_the_name_of_a_trusted_key_on_somebody_elses_signature_is_not_believed(tmp_path, alice):
    bundle = signed(tmp_path, alice)
    mine = json.loads(bundle.files["Signature"])["verificationMaterial"]
    (bundle.path / "model.sig").unlink(missing_ok=True)
    theirs = Person(tmp_path, "mallory").sign(bundle.path)
    bundle.files["Signature"] = _edited(
        theirs, lambda document: document.update(verificationMaterial=mine)
    )
    found = check(bundle)
    assert found.state == "Failed"
    assert "the signature is not valid" in found.message


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "model.sig: is empty"),
        (b"not a signature", "model.sig: not JSON"),
        (b"[" * 100_000, "model.sig: nested too deeply"),
        (b"{}", "model.sig: no model signature; got 'dsseEnvelope'"),
        (b'{"dsseEnvelope": {"payload": "?"}}', "model.sig: no model signature"),
        (b"7", "model.sig: no model signature"),
        (b" " * 1_100_000, "model.sig: too large"),
    ],
    ids=["empty", "text", "deep", "nothing", "base64", "number", "large"],
)
def test_what_is_no_signature_is_told_in_one_line(tmp_path, alice, data, says):
    bundle = signed(tmp_path, alice)
    bundle.files["Signature"] = data
    found = check(bundle)
    assert found.state == "Failed"
    assert found.message.startswith(says)
    assert "\n" not in found.message


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (
            lambda d: _statement(d, lambda s: s.update(predicateType="https://else.example")),
            "predicateType; got https://else.example",
        ),
        (
            lambda d: _statement(
                d, lambda s: s["predicate"]["serialization"].update(method="shards")
            ),
            "serialization; got shards/sha256; allowed files/sha256",
        ),
        (lambda d: d["verificationMaterial"].clear(), "names no key"),
        (lambda d: d["dsseEnvelope"].update(signatures=[]), "model.sig: no model signature"),
    ],
    ids=["other statement", "shards", "no key named", "nobody signed"],
)
def test_signatures_of_another_kind_are_refused_by_name(tmp_path, alice, edit, says):
    bundle = signed(tmp_path, alice)
    bundle.files["Signature"] = _edited(bundle.files["Signature"], edit)
    found = check(bundle)
    assert found.state != "Passed"
    assert says in found.message


HALF_A_PAIR = "\ud800"


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: _statement(d, lambda s: s.update(predicateType=HALF_A_PAIR)),
        lambda d: d["verificationMaterial"]["publicKey"].update(hint=HALF_A_PAIR + "\n\x1b[31m"),
    ],
    ids=["statement", "key"],
)
def test_text_that_no_report_can_carry_is_one_clean_line(tmp_path, alice, edit):
    bundle = signed(tmp_path, alice)
    bundle.files["Signature"] = _edited(bundle.files["Signature"], edit)
    results = bundle.checks()
    found = results["Signature"]
    assert found.state == "Failed"
    assert found.message.isprintable()
    assert "\N{REPLACEMENT CHARACTER}" in found.message
    # The checks after it are made all the same.
    assert results["ModelFormat"].state == "Passed"


@pytest.mark.parametrize("attackers_first", [True, False])
@pytest.mark.parametrize("name", ["dsseEnvelope", "dsse_envelope"])
def test_two_envelopes_in_one_file_are_not_taken_for_each_other(
    tmp_path, alice, name, attackers_first
):
    # One envelope is alice's, the other lists the changed file: whoever checks the one and
    # compares files with the other would be fooled.
    bundle = signed(tmp_path, alice, change=_flip)
    document = json.loads(bundle.files["Signature"])
    digest = hashlib.sha256(bundle.files["Model"]).hexdigest()
    forged = json.loads(_edited(bundle.files["Signature"], _naming("model.onnx", digest)))
    envelopes = [document.pop("dsseEnvelope"), forged["dsseEnvelope"]]
    first, second = reversed(envelopes) if attackers_first else envelopes
    head = json.dumps(document)[:-1]
    bundle.files["Signature"] = (
        f'{head}, "dsseEnvelope": {json.dumps(first)}, "{name}": {json.dumps(second)}}}'
    ).encode()
    assert check(bundle).state == "Failed"


def test_a_part_that_a_signature_does_not_have_is_named(tmp_path, alice):
    bundle = signed(tmp_path, alice)
    bundle.files["Signature"] = _edited(bundle.files["Signature"], lambda d: d.update(extra=1))
    found = check(bundle)
    assert (found.state, found.message) == (
        "Failed",
        "model.sig: no model signature; extra: Extra inputs are not permitted",
    )


def test_a_trusted_key_that_is_none_is_not_the_models_fault(tmp_path, alice):
    bundle = signed(tmp_path, alice)
    key = "-----BEGIN PUBLIC KEY-----\n" + "A" * 60 + "\n-----END PUBLIC KEY-----\n"
    bundle.overrides["candidate"] = {"signature": {"keys": [{"name": "odd", "publicKey": key}]}}
    found = check(bundle)
    assert found.state == "Inconclusive"
    assert "the trusted key odd is no key" in found.message


def test_a_key_of_another_kind_is_not_the_models_fault_either(tmp_path, alice):
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()
    bundle = signed(tmp_path, alice)
    bundle.overrides["candidate"] = {"signature": {"keys": [{"name": "odd", "publicKey": pem}]}}
    assert "signed with another key" in check(bundle).message


def test_an_unsigned_bundle_is_not_asked(tmp_path):
    assert "Signature" not in folder(tmp_path).checks()
