"""Small bundles on disk: a model, its files, and the spec that the verification Job reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from modelhandoff.api.checks import CheckStatus
from modelhandoff.api.resolve import resolve
from modelhandoff.api.verification import FrozenBaseline, spec_document
from modelhandoff.cluster.pods import file_names
from modelhandoff.verify.bundle import Bundle, read_bundle
from modelhandoff.verify.findings import made
from modelhandoff.verify.worker import Bench, asked
from tests.builders import spec

FLOAT, DOUBLE, INT64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64
info = helper.make_tensor_value_info
COMMIT = spec()["candidate"]["provenance"]["git"]["commit"]


def model(
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    metadata: Mapping[str, str] | None = None,
    **constants: Any,
) -> bytes:
    """An ONNX model as bytes."""
    initializers = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    graph = helper.make_graph(list(nodes), "test", list(inputs), list(outputs), initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    helper.set_model_props(made, dict(metadata or {}))
    onnx.checker.check_model(made)
    data: bytes = made.SerializeToString()
    return data


def doubling(metadata: Mapping[str, str] | None = None, kind: int = FLOAT) -> bytes:
    """y = 2 x, [rows, 2] to [rows, 2]."""
    return model(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        [info("x", kind, ["rows", 2])],
        [info("y", kind, ["rows", 2])],
        metadata,
    )


def case(x: Sequence[Any], y: Sequence[Any], **more: Any) -> dict[str, Any]:
    """A golden case of the doubling model."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [len(x) // 2, 2], "data": list(x)}
    return {
        "request": {"inputs": [tensor]},
        "response": {"outputs": [{"name": "y", "data": list(y)}]},
        **more,
    }


def lines(*documents: Any) -> bytes:
    return "".join(json.dumps(document) + "\n" for document in documents).encode()


GOLDEN = lines(case([1, 2], [2, 4]), case([3, 4, 5, 6], [6, 8, 10, 12]))


@dataclass
class Folder:
    """A bundle that is put together file by file.

    Attributes:
        files: content by role; the file is called like the role unless ``names`` says otherwise.
    """

    path: Path
    files: dict[str, bytes] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)
    baseline: FrozenBaseline | None = None

    def document(self) -> bytes:
        """Write every file and return the spec file."""
        artifacts = []
        for role, data in self.files.items():
            name = self.names.get(role, role.lower())
            (self.path / name).write_bytes(data)
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            artifacts.append(
                {"role": role, "uri": f"https://models.example/{name}", "digest": digest}
            )
        candidate = {**self.overrides.get("candidate", {}), "artifacts": artifacts}
        resolved = resolve(spec(**{**self.overrides, "candidate": candidate}))
        return spec_document(
            resolved.model_dump(mode="json", by_alias=True),
            file_names(resolved.candidate.artifacts),
            None if self.baseline is None else self.baseline.model_dump(mode="json", by_alias=True),
        ).encode()

    def bundle(self) -> Bundle:
        return read_bundle(self.document(), self.path)

    def checks(self) -> dict[str, CheckStatus]:
        """Every check that is asked for, made in this process."""
        bench = Bench(self.bundle())
        return {str(n): made(n, bench.checks[n]) for n in asked(bench.bundle)}


def folder(path: Path, *, golden: bytes = GOLDEN, onnx_file: bytes = b"", **spec: Any) -> Folder:
    """The doubling model with golden cases."""
    return Folder(
        path,
        {"Model": onnx_file or doubling(), "TestData": golden},
        {"Model": "model.onnx", "TestData": "golden.jsonl"},
        {"acceptance": {"smoke": {}}, **spec},
    )
