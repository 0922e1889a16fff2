"""The ONNX model itself: it loads, it says where it comes from, and its tensors are as promised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelhandoff.api.contracts import Tensor
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.errors import cut
from modelhandoff.serve.model import OnnxModel
from modelhandoff.serve.tensors import TensorSpec
from modelhandoff.verify.findings import Failed, Found, Skipped


def metadata(model: OnnxModel, spec: ModelHandoffSpec) -> Found:
    """Version, seed and commit in the model's ``metadata_props`` are those of the spec.

    Raises:
        Failed: one of them is another.
        Skipped: the model has none of them.
    """
    said = {key: value.strip() for key, value in model.metadata.items()}
    candidate = spec.candidate
    wanted = {
        "version": ("candidate.model.version", candidate.model.version),
        "commit": ("candidate.provenance.git.commit", candidate.provenance.git.commit),
    }
    if candidate.provenance.seed is not None:
        wanted["seed"] = ("candidate.provenance.seed", str(candidate.provenance.seed))
    found = []
    for key, (path, value) in wanted.items():
        if key not in said:
            continue
        if said[key] != value:
            raise Failed(
                f"{path}: the model's own metadata says another {key}; got {value}; "
                f"allowed {cut(said[key])}"
            )
        found.append(key)
    if not found:
        raise Skipped("The model's metadata names neither version nor commit nor seed.")
    return Found(f"The model's metadata agrees in {', '.join(found)}.", {"agreed": len(found)})


def tensors(model: OnnxModel, spec: ModelHandoffSpec) -> int:
    """The model's inputs and outputs are those of ``contracts.api``; how many were compared.

    Raises:
        Failed: a name, datatype or shape differs.
    """
    api = spec.contracts.api
    compared = 0
    for path, declared, actual in (
        ("contracts.api.inputs", api.inputs, model.inputs),
        ("contracts.api.outputs", api.outputs, model.outputs),
    ):
        if declared is not None:
            _compare(path, declared, actual)
            compared += len(declared)
    return compared


def _compare(path: str, declared: Sequence[Tensor], actual: Sequence[TensorSpec]) -> None:
    there: Mapping[str, TensorSpec] = {spec.name: spec for spec in actual}
    for index, tensor in enumerate(declared):
        spec = there.get(tensor.name)
        if spec is None:
            raise Failed(
                f"{path}[{index}].name: the model has no such tensor; got {cut(tensor.name)}; "
                f"allowed {cut(', '.join(there), 200)}"
            )
        if spec.datatype != tensor.datatype:
            raise Failed(
                f"{path}[{index}].datatype: {spec.name} has another; got {tensor.datatype}; "
                f"allowed {spec.datatype}"
            )
        shape = [-1 if dim is None else dim for dim in spec.shape]
        if shape != list(tensor.shape):
            raise Failed(
                f"{path}[{index}].shape: {spec.name} has another; got {list(tensor.shape)}; "
                f"allowed {shape}"
            )
    missing = there.keys() - {tensor.name for tensor in declared}
    if missing:
        raise Failed(
            f"{path}: the model has more; got {len(declared)} tensors; "
            f"allowed also {cut(', '.join(sorted(missing)), 200)}"
        )
