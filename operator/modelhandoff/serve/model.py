"""An ONNX model in memory: what it wants, what it gives, and one call of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import onnxruntime as ort

from modelhandoff.serve.tensors import Feeds, TensorSpec

_DATATYPE_OF: Final[Mapping[str, str]] = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
_PROVIDERS: Final = ("CUDAExecutionProvider", "CPUExecutionProvider")
_FATAL = 4


class ModelUnusable(Exception):
    """The model file cannot be served at all; the message is one line."""


class ModelFailed(Exception):
    """The model was called and failed on these inputs; the message is one line."""


class Runnable(Protocol):
    """What the batcher and the warm-up need of a model."""

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        """Input tensors in the graph's order."""
        ...

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        """Output tensors in the graph's order."""
        ...

    def run(self, feeds: Feeds) -> Feeds:
        """Outputs by name; blocks; raises ModelFailed."""
        ...


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """A loaded model. Calls are thread-safe (onnxruntime's own guarantee)."""

    session: Any
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metadata: Mapping[str, str]

    def run(self, feeds: Feeds) -> Feeds:
        """Outputs by name. Blocks, with the interpreter lock released.

        Raises:
            ModelFailed: the graph failed on these inputs.
        """
        names = [spec.name for spec in self.outputs]
        try:
            values = self.session.run(names, feeds)
        # onnxruntime's exceptions share no base class but Exception.
        except Exception as error:
            raise ModelFailed(one_line(error)) from error
        return dict(zip(names, values, strict=True))


def find_model(directory: Path, name: str | None = None) -> Path:
    """The model file of a directory: the named one, else the only ``*.onnx`` in it.

    Raises:
        ModelUnusable: none, or more than one.
    """
    if name is not None:
        return directory / name
    found = sorted(directory.glob("*.onnx"))
    if len(found) != 1:
        raise ModelUnusable(
            f"{directory}: must hold exactly one .onnx file, or say --model-file; "
            f"got {[path.name for path in found]}"
        )
    return found[0]


def load_model(path: Path, *, intra_op_threads: int) -> OnnxModel:
    """Read and prepare an ONNX file.

    Args:
        path: the file.
        intra_op_threads: threads of one call; 1 keeps the latency of a shared machine steady.

    Raises:
        ModelUnusable: the file is absent, no ONNX model, or has inputs that JSON cannot carry.
    """
    if not path.is_file():
        raise ModelUnusable(f"{path}: no such model file")
    options = ort.SessionOptions()
    options.intra_op_num_threads = intra_op_threads
    options.inter_op_num_threads = 1
    # Spinning threads would burn the cores that the other pods of a node need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A failed call is reported by us, once; onnxruntime would print it to stderr each time.
    options.log_severity_level = _FATAL
    available = ort.get_available_providers()
    try:
        session = ort.InferenceSession(
            str(path), options, providers=[name for name in _PROVIDERS if name in available]
        )
    except Exception as error:
        raise ModelUnusable(f"{path}: not a usable ONNX model; got {one_line(error)}") from error
    inputs = tuple(_spec(node, path) for node in session.get_inputs())
    outputs = tuple(_spec(node, path) for node in session.get_outputs())
    metadata = dict(session.get_modelmeta().custom_metadata_map)
    return OnnxModel(session, inputs, outputs, metadata)


def _spec(node: Any, path: Path) -> TensorSpec:
    datatype = _DATATYPE_OF.get(node.type)
    if datatype is None:
        raise ModelUnusable(
            f"{path}: {node.name}: type cannot be served; got {node.type}; "
            f"allowed {sorted(_DATATYPE_OF)}"
        )
    shape = tuple(dim if isinstance(dim, int) and dim >= 0 else None for dim in node.shape)
    return TensorSpec(node.name, datatype, shape)


def one_line(error: Exception) -> str:
    """An exception's text on one line of at most 240 characters."""
    return " ".join(str(error).split())[:240]
