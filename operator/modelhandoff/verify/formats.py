"""Is the model file what it is said to be? By its bytes alone: nothing is unpickled or loaded."""

from __future__ import annotations

import mmap
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from modelhandoff.api.candidate import PICKLED, ArtifactRole, ModelFormat
from modelhandoff.verify.bundle import Bundle
from modelhandoff.verify.findings import Failed, Found, Skipped
from modelhandoff.verify.manifest import hash_file

HEAD: Final = 64 * 1024
_GRAPH: Final = 7
_ONNX_FIELDS: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})
"""Fields of onnx.ModelProto; the graph is field 7."""


def artifacts(bundle: Bundle) -> Found:
    """Every artifact is there, once more with its digest: what was fetched is what is checked."""
    total = 0
    for artifact, path in bundle.files:
        found = hash_file(path)
        if found is None:
            raise Failed(f"{path.name}: was not fetched")
        got, size = found
        total += size
        if got != artifact.digest:
            raise Failed(f"{path.name}: digest is wrong; got {got}; allowed {artifact.digest}")
    count = len(bundle.files)
    message = f"{count} files of {total} bytes have their declared SHA-256."
    return Found(message, {"files": count, "bytes": total})


def model_format(bundle: Bundle) -> Found:
    """The model file has the declared format, by magic and structure.

    Raises:
        Failed: it has another; a pickle under a format that is none is named as such.
        Skipped: a Custom format has no known form.
    """
    path = bundle.first(ArtifactRole.MODEL)
    assert path is not None, "a spec has exactly one model"
    declared = bundle.spec.candidate.model.format
    size = path.stat().st_size
    if not size:
        raise Failed(f"{path.name}: is empty; allowed a model of format {declared}")
    kind = kind_of(path)
    if "pickle" in kind and declared not in PICKLED:
        raise Failed(
            f"{path.name}: is a {kind}, which runs code when it is loaded; "
            f"allowed a model of format {declared}"
        )
    if declared is ModelFormat.CUSTOM:
        raise Skipped(f"{path.name}: format Custom has no form that could be checked.")
    allowed = {
        ModelFormat.ONNX: ("ONNX model",),
        ModelFormat.LIGHTGBM: ("LightGBM text model",),
        ModelFormat.XGBOOST: ("XGBoost model",),
        ModelFormat.SKLEARN: ("pickle", "compressed file", "zip archive"),
        ModelFormat.TORCH: ("pickle", "zip archive with a pickle"),
    }[declared]
    if kind not in allowed:
        raise Failed(f"{path.name}: is no {declared} model; got {kind}; allowed {allowed[0]}")
    return Found(f"{path.name}: {kind} of {size} bytes.", {"bytes": size})


def kind_of(path: Path) -> str:
    """What a file is, in words. Reads its head, a zip's directory, or an ONNX file's fields."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head[:1] == b"\x80" and head[1:2] and head[1] <= 5:
        return "pickle"
    if head.startswith(b"PK\x03\x04"):
        return _zip(path)
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x04\x22\x4d\x18", b"\x78\x9c")):
        return "compressed file"
    if head.startswith((b"tree\n", b"tree\r\n")):
        return "LightGBM text model"
    if head.startswith(b"binf") or (head.startswith(b"{") and b"learner" in head):
        return "XGBoost model"
    if _is_onnx(path):
        return "ONNX model"
    return f"unknown file that starts with {head[:8].hex(' ')}"


def _zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            pickled = any(name.endswith(".pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "broken zip archive"
    return "zip archive with a pickle" if pickled else "zip archive"


def _is_onnx(path: Path) -> bool:
    """Whether the file is one protobuf message with the fields of an ONNX model, and a graph."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        seen = set()
        try:
            for number, wire in _fields(data):
                if number not in _ONNX_FIELDS or wire not in (0, 2):
                    return False
                seen.add(number)
        except ValueError:
            return False
    return _GRAPH in seen


def _fields(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    """Number and wire type of every field at the top of a protobuf message.

    Raises:
        ValueError: the bytes are no such message.
    """
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            _, at = _varint(data, at)
        elif wire == 2:
            length, at = _varint(data, at)
            at += length
        elif wire == 5:
            at += 4
        elif wire == 1:
            at += 8
        else:
            raise ValueError(wire)
        if at > len(data) or number < 1:
            raise ValueError(at)
        yield number, wire


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(at)
