"""Is the bundle signed by somebody who is trusted? OpenSSF model signing, version 1.

The signature is a Sigstore bundle: a DSSE envelope around an in-toto statement that lists every
file with its SHA-256. The library checks envelope and files; what is read here beside it says
which file, and which key, in one line.

Source: https://github.com/ossf/model-signing-spec
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from modelhandoff.api.candidate import ArtifactRole
from modelhandoff.api.signature import TrustedKey
from modelhandoff.errors import cut
from modelhandoff.verify.bundle import Bundle, parse_json, read_text
from modelhandoff.verify.findings import Failed, Found, Inconclusive
from modelhandoff.verify.manifest import hash_file

MAX_SIGNATURE: Final = 1024 * 1024
PREDICATE: Final = "https://model_signing/signature/v1.0"
_SHOWN: Final = 16
"""Digits of a fingerprint in a message."""


def signature(bundle: Bundle) -> Found:
    """One of the keys has signed exactly the files of the bundle.

    Raises:
        Failed: another key, another file, or no signature that can be read.
        Inconclusive: a key of the policy, or this image, is at fault.
    """
    path = bundle.first(ArtifactRole.SIGNATURE)
    declared = bundle.spec.candidate.signature
    assert path is not None, "a rule of the spec"
    assert declared is not None, "asked for only with a signature"
    document = parse_json(read_text(path, MAX_SIGNATURE), path.name)
    signed = _signed_files(document, path.name)
    key = _signer(document, path.name, declared.keys)
    files = {p.name: p for artifact, p in bundle.files if artifact.role != ArtifactRole.SIGNATURE}
    _verify(path, key, files)
    _same_files(files, signed, path.name)
    return Found(f"{len(files)} files are signed with the key {key.name}.", {"files": len(files)})


def sign(folder: Path, private_key: Path, target: Path) -> None:
    """Sign every file of a folder with a key, and write the signature.

    Raises:
        OSError, ValueError, TypeError: the key cannot be read, or is of another kind.
    """
    from model_signing import signing

    signer = signing.Config()  # type: ignore[no-untyped-call]
    signer.use_elliptic_key_signer(private_key=private_key).sign(folder, target)


def fingerprint(public_key: str) -> str:
    """SHA-256 of a PEM key in its normal form, as signatures name the key that made them.

    Raises:
        ValueError: not a key.
    """
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_public_key(public_key.encode())
    normal = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(normal).hexdigest()


def _signed_files(document: Any, where: str) -> dict[str, str]:
    """What the statement says, before it is known who says it: file name -> SHA-256."""
    try:
        payload = base64.b64decode(document["dsseEnvelope"]["payload"], validate=True)
        statement = parse_json(payload.decode("utf-8"), where)
        kind, predicate = statement["predicateType"], statement["predicate"]
        form, resources = predicate["serialization"], predicate["resources"]
        signed = {str(one["name"]): str(one["digest"]) for one in resources}
        how = (str(form["method"]), str(form["hash_type"]))
    except (KeyError, TypeError, ValueError, binascii.Error, AttributeError) as error:
        raise Failed(
            f"{where}: no model signature; got {cut(error, 80)}; "
            "allowed what `model_signing sign key` writes"
        ) from None
    if kind != PREDICATE:
        raise Failed(f"{where}: predicateType; got {cut(kind)}; allowed {PREDICATE}")
    if how != ("files", "sha256"):
        raise Failed(f"{where}: serialization; got {cut('/'.join(how))}; allowed files/sha256")
    return signed


def _signer(document: Mapping[str, Any], where: str, keys: Sequence[TrustedKey]) -> TrustedKey:
    """The trusted key that the signature names.

    Raises:
        Failed: it names another, or none.
        Inconclusive: a trusted key is no key.
    """
    material = document.get("verificationMaterial")
    named = material.get("publicKey") if isinstance(material, dict) else None
    hint = named.get("hint") if isinstance(named, dict) else None
    if not isinstance(hint, str) or not hint:
        raise Failed(
            f"{where}: verificationMaterial.publicKey.hint: names no key; "
            "allowed a signature made with a key"
        )
    known = {}
    for key in keys:
        try:
            known[fingerprint(key.public_key)] = key
        except ValueError as error:
            raise Inconclusive(f"the trusted key {key.name} is no key: {cut(error, 120)}") from None
    if hint not in known:
        trusted = ", ".join(f"{key.name} ({mark[:_SHOWN]})" for mark, key in known.items())
        raise Failed(
            f"{where}: signed with another key; got {cut(hint[:_SHOWN])}; allowed {cut(trusted)}"
        )
    return known[hint]


def _verify(path: Path, key: TrustedKey, files: Mapping[str, Path]) -> None:
    """Envelope and files, by the library.

    Raises:
        Failed: the signature is not of this key. That files differ is told by the caller.
    """
    try:
        from cryptography.exceptions import InvalidSignature
        from model_signing import hashing, verifying
    except ImportError as error:
        raise Inconclusive(f"this image cannot check signatures: {error}") from None
    beside = [other for other in path.parent.iterdir() if other.name not in files]
    settings = hashing.Config().use_file_serialization(  # type: ignore[no-untyped-call]
        hashing_algorithm="sha256", ignore_paths=beside
    )
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(key.public_key)
        file.flush()
        checker = verifying.Config()  # type: ignore[no-untyped-call]
        checker.use_elliptic_key_verifier(public_key=Path(file.name))
        try:
            checker.set_hashing_config(settings).verify(path.parent, path)
        except InvalidSignature:
            raise Failed(
                f"{path.name}: the signature is not valid; it was altered, or made with another "
                f"key than {key.name}"
            ) from None
        except ValidationError as error:
            raise Failed(f"{path.name}: no model signature; {_first(error)}") from None
        except ValueError as error:
            if not str(error).startswith("Signature mismatch"):
                raise Failed(f"{path.name}: {cut(error, 200)}") from None
        except (LookupError, TypeError, AttributeError) as error:
            # What the library says of a document that lacks a part.
            raise Failed(f"{path.name}: no model signature; got {cut(repr(error), 80)}") from None


def _first(error: ValidationError) -> str:
    """What is wrong with a document that the library refuses: its first place, in its words."""
    found = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(step) for step in found["loc"])
    return cut(f"{where}: {found['msg']}" if where else found["msg"], 160)


def _same_files(files: Mapping[str, Path], signed: Mapping[str, str], where: str) -> None:
    """The files of the bundle are those that were signed, by name and SHA-256."""
    for name in sorted(files.keys() - signed.keys()):
        raise Failed(f"{name}: is in the bundle and not signed; allowed {cut(', '.join(signed))}")
    for name in sorted(signed.keys() - files.keys()):
        raise Failed(f"{where}: a file is signed and not in the bundle; got {cut(name)}")
    for name, path in sorted(files.items()):
        found = hash_file(path)
        got = found[0] if found else "no file"
        if got.removeprefix("sha256:") != signed[name]:
            raise Failed(
                f"{name}: is not what was signed; got {got}; allowed sha256:{signed[name]}"
            )
