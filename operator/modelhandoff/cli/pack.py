"""``modelhandoff pack``: digests and signature of a handoff from the files beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from modelhandoff.cli.local import Local


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("pack")(pack)


def pack(
    path: Annotated[Path, typer.Argument(help="A handoff's YAML file, or a folder with it.")],
    artifacts: Annotated[
        Path | None, typer.Option(help="Folder with the artifacts; the handoff's own by default.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Private key (PEM) to sign with: writes the signature file.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; 1 if a digest is not that of its file.")
    ] = False,
) -> None:
    """Write the digest of every artifact into the handoff; nothing else in the file changes.

    With --key the bundle is signed first (OpenSSF model signing), if the handoff has an artifact
    with role Signature.
    """
    from modelhandoff.api.candidate import ArtifactRole
    from modelhandoff.cli import inputs, local
    from modelhandoff.errors import InvalidInputError

    file = local.handoff_file(path)
    text = inputs.read_text(file, "a YAML file with a ModelHandoff")
    _, spec = inputs.read_handoff(file)
    files = local.bundle(spec.candidate.artifacts, artifacts or file.parent)
    signature = next((f for f in files if f.artifact.role is ArtifactRole.SIGNATURE), None)
    signed = tuple(f for f in files if f is not signature)
    wrong = local.missing(signed)
    if key is not None and signature is None:
        wrong.append(
            InvalidInputError(
                "spec.candidate.signature",
                "nothing asks for it",
                "no block",
                "signature: {} and an artifact with role: Signature",
            )
        )
    if wrong:
        inputs.refuse(wrong)
    if key is not None and signature is not None and not check:
        _sign(signed, key, signature.path)
        typer.echo(f"signed {len(signed)} files: {signature.path}")
    unpacked = local.missing(files)
    if unpacked:
        inputs.refuse(unpacked)
    digests = _digests(files)
    packed = "".join(_with_digests(text, digests))
    if packed == text:
        typer.echo(f"{file}: {len(files)} digests are right")
    elif check:
        inputs.refuse(
            InvalidInputError(f"{file}: {one.name}", "the digest is not that of its file",
                              one.artifact.digest, digest)
            for one, digest in zip(files, digests, strict=True)
            if one.artifact.digest != digest
        )  # fmt: skip
    else:
        file.write_text(packed, encoding="utf-8")
        changed = sum(f.artifact.digest != d for f, d in zip(files, digests, strict=True))
        typer.echo(f"{file}: {changed} of {len(files)} digests changed")


def _digests(files: Sequence[Local]) -> list[str]:
    from modelhandoff.verify.manifest import hash_file

    found = []
    for one in files:
        hashed = hash_file(one.path)
        assert hashed is not None, "looked for before"
        found.append(hashed[0])
    return found


def _with_digests(text: str, digests: Sequence[str]) -> Iterator[str]:
    """The file with these digests, in the order of its artifacts; comments and layout stay."""
    at = 0
    for node, digest in zip(_digest_nodes(text), digests, strict=True):
        start, end = node.start_mark.index, node.end_mark.index
        if node.value == digest:
            continue
        yield text[at:start]
        yield f'"{digest}"'
        at = end
    yield text[at:]


def _digest_nodes(text: str) -> list[Any]:
    """Where the digests of the artifacts stand in the file."""
    import yaml

    for document in yaml.compose_all(text, Loader=yaml.SafeLoader):
        if document is None or _text_of(_child(document, "kind")) != "ModelHandoff":
            continue
        artifacts = _child(_child(_child(document, "spec"), "candidate"), "artifacts")
        return [_child(item, "digest") for item in artifacts.value]
    raise AssertionError("a handoff was read from this text")


def _child(node: Any, key: str) -> Any:
    return next((value for name, value in node.value if name.value == key), None)


def _text_of(node: Any) -> str:
    return "" if node is None else str(node.value)


def _sign(files: Sequence[Local], key: Path, target: Path) -> None:
    from modelhandoff.cli import inputs, local

    try:
        from modelhandoff.verify.signature import sign
    except ImportError:
        inputs.refuse(["pack: model-signing is not installed; pip install 'modelhandoff[verify]'"])
    with tempfile.TemporaryDirectory(prefix="modelhandoff-pack-") as made:
        local.gather(files, Path(made))
        try:
            sign(Path(made), key, target)
        except (OSError, ValueError, TypeError, ImportError) as error:
            inputs.refuse([f"{key}: cannot sign with this key: {' '.join(str(error).split())}"])
