"""Open Inference Protocol tensors: JSON in, numpy arrays out, nothing guessed.

A tensor's ``data`` is flat in row-major order or nested as its ``shape`` says. Every element
must already be of the declared kind: no strings read as numbers, no 1.0 read as an integer,
no true read as 1. ``null`` and NaN are let through for floating-point tensors only, as NaN;
whether a value may be missing is the contract's business (see ``contract``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelhandoff.serve.refusals import Refused, Rule, shown

Array = NDArray[Any]
Feeds = dict[str, Array]

NUMPY_OF: Final[Mapping[str, Any]] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
}
FLOATS: Final = frozenset({"FP16", "FP32", "FP64"})
_JSON_TYPES: Final[Mapping[str, frozenset[type]]] = {
    "BOOL": frozenset({bool}),
    "BYTES": frozenset({str}),
    **{name: frozenset({int}) for name in NUMPY_OF if "INT" in name},
    **{name: frozenset({int, float, type(None)}) for name in FLOATS},
}
_WANTED: Final[Mapping[str, str]] = {
    "BOOL": "true or false",
    "BYTES": "strings",
    **{name: "integers" for name in NUMPY_OF if "INT" in name},
    **dict.fromkeys(FLOATS, "finite numbers"),
}
MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, Open Inference datatype and shape of a model's input or output.

    A dimension of None is free; the first one, when free, counts rows.
    """

    name: str
    datatype: str
    shape: tuple[int | None, ...]

    @property
    def has_rows(self) -> bool:
        """Whether requests can be joined along the first axis."""
        return bool(self.shape) and self.shape[0] is None

    def as_json(self) -> dict[str, Any]:
        """The tensor as the protocol's metadata shows it (a free dimension is -1)."""
        return {
            "name": self.name,
            "datatype": self.datatype,
            "shape": [-1 if dim is None else dim for dim in self.shape],
        }


def decode_request(body: Any, specs: Sequence[TensorSpec], *, max_rows: int) -> Feeds:
    """Arrays by input name from the body of a v2 ``infer`` request.

    Args:
        body: the parsed JSON document.
        specs: the model's inputs.
        max_rows: largest first dimension accepted.

    Raises:
        Refused: 400, with the path of the first thing that is wrong.
    """
    if not isinstance(body, dict):
        raise Refused(f"body: must be a JSON object; got {shown(body)}")
    tensors = body.get("inputs")
    if not isinstance(tensors, list):
        raise Refused(f"inputs: must be a list of tensors; got {shown(tensors)}")
    wanted = {spec.name: spec for spec in specs}
    feeds: Feeds = {}
    for index, tensor in enumerate(tensors):
        path = f"inputs[{index}]"
        if not isinstance(tensor, dict):
            raise Refused(f"{path}: must be a JSON object; got {shown(tensor)}")
        name = tensor.get("name")
        if not isinstance(name, str) or name not in wanted:
            raise Refused(
                f"{path}.name: no such input; got {shown(name)}; allowed {sorted(wanted)}",
                field="unknown",
                rule=Rule.UNKNOWN,
            )
        if name in feeds:
            raise Refused(f"{path}.name: given twice; got {shown(name)}")
        spec = wanted[name]
        shape = _checked_shape(tensor, spec, path, max_rows)
        feeds[name] = decode_data(spec, shape, tensor.get("data"), f"{path}.data[{{}}]".format)
    absent = [name for name in wanted if name not in feeds]
    if absent:
        raise Refused(
            f"inputs: {absent[0]} is missing; allowed {sorted(wanted)}",
            field=absent[0],
            rule=Rule.MISSING,
        )
    rows = {feeds[spec.name].shape[0] for spec in specs if spec.has_rows}
    if len(rows) > 1:
        raise Refused(f"inputs: tensors disagree on the number of rows; got {sorted(rows)}")
    return {spec.name: feeds[spec.name] for spec in specs}


def _checked_shape(
    tensor: Mapping[str, Any], spec: TensorSpec, path: str, max_rows: int
) -> tuple[int, ...]:
    datatype = tensor.get("datatype")
    if datatype != spec.datatype:
        raise Refused(
            f"{path}.datatype: wrong for {spec.name}; got {shown(datatype)}; "
            f"allowed {spec.datatype}",
            field=spec.name,
            rule=Rule.TYPE,
        )
    shape = tensor.get("shape")
    allowed = [-1 if dim is None else dim for dim in spec.shape]
    fits = (
        isinstance(shape, list)
        and len(shape) == len(spec.shape)
        and all(type(dim) is int and dim >= 1 for dim in shape)
        and all(want is None or got == want for got, want in zip(shape, spec.shape, strict=True))
    )
    if not fits:
        got = shape if isinstance(shape, list) and len(str(shape)) < MAX_NAME else shown(shape)
        raise Refused(
            f"{path}.shape: wrong for {spec.name}; got {got}; allowed {allowed} (-1 is free)",
            field=spec.name,
            rule=Rule.SHAPE,
        )
    assert isinstance(shape, list)
    if spec.has_rows and shape[0] > max_rows:
        raise Refused(
            f"{path}.shape: too many rows; got {shape[0]}; allowed at most {max_rows}",
            field=spec.name,
            rule=Rule.SHAPE,
        )
    return tuple(shape)


def decode_data(
    spec: TensorSpec, shape: tuple[int, ...], data: Any, where: Callable[[int], str]
) -> Array:
    """An array of ``shape`` from flat or nested JSON data.

    Args:
        spec: the input the data is for.
        shape: the array's shape, already found to fit ``spec``.
        data: the JSON value.
        where: path of the element with a given flat index, for the message.

    Raises:
        Refused: an element has the wrong kind, is infinite or does not fit the datatype.
    """
    flat = _flat(spec, shape, data, where)
    allowed = _JSON_TYPES[spec.datatype]
    # One C-level pass finds out that all is well; the slow search runs only when it is not.
    if not set(map(type, flat)) <= allowed:
        index = next(i for i, item in enumerate(flat) if type(item) not in allowed)
        raise _bad_element(spec, where(index), flat[index], Rule.TYPE)
    if spec.datatype in FLOATS:
        return _floats(spec, flat, where).reshape(shape)
    if spec.datatype in {"BOOL", "BYTES"}:
        return np.array(flat, dtype=NUMPY_OF[spec.datatype]).reshape(shape)
    limits = np.iinfo(NUMPY_OF[spec.datatype])
    low, high = int(limits.min), int(limits.max)
    for index, item in enumerate(flat):
        if not low <= item <= high:
            raise _bad_element(spec, where(index), item, Rule.RANGE)
    return np.array(flat, dtype=NUMPY_OF[spec.datatype]).reshape(shape)


def _flat(
    spec: TensorSpec, shape: tuple[int, ...], data: Any, where: Callable[[int], str]
) -> list[Any]:
    if not isinstance(data, list):
        raise Refused(
            f"{where(0)}: data must be a list; got {shown(data)}", field=spec.name, rule=Rule.TYPE
        )
    size = math.prod(shape)
    if data and isinstance(data[0], list):
        level: list[Any] = [data]
        for dim in shape:
            for part in level:
                if not isinstance(part, list) or len(part) != dim:
                    raise Refused(
                        f"{where(0)}: data of {spec.name} is not nested as its shape says; "
                        f"got {shown(part)}; allowed a list of {dim}",
                        field=spec.name,
                        rule=Rule.SHAPE,
                    )
            level = [item for part in level for item in part]
        return level
    if len(data) != size:
        raise Refused(
            f"{where(0)}: wrong number of elements for {spec.name}; got {len(data)}; "
            f"allowed {size}",
            field=spec.name,
            rule=Rule.SHAPE,
        )
    return data


def _floats(spec: TensorSpec, flat: list[Any], where: Callable[[int], str]) -> Array:
    try:
        wide = np.array(flat, dtype=np.float64)  # None becomes NaN
    except OverflowError:
        index = next(i for i, item in enumerate(flat) if type(item) is int and abs(item) > 1e308)
        raise _bad_element(spec, where(index), flat[index], Rule.RANGE) from None
    with np.errstate(over="ignore"):
        narrow = wide.astype(NUMPY_OF[spec.datatype])
    infinite = np.isinf(narrow)
    if infinite.any():
        index = int(infinite.argmax())
        raise _bad_element(spec, where(index), flat[index], Rule.RANGE)
    return narrow


def _bad_element(spec: TensorSpec, path: str, value: object, rule: Rule) -> Refused:
    return Refused(
        f"{path}: not a {spec.datatype} of {spec.name}; got {shown(value)}; "
        f"allowed {_WANTED[spec.datatype]}",
        field=spec.name,
        rule=rule,
    )


def wanted_outputs(body: Mapping[str, Any], specs: Sequence[TensorSpec]) -> list[str]:
    """Names of the outputs a v2 request asks for; all of them when it names none.

    Raises:
        Refused: 400, an output is asked for that the model does not have.
    """
    names = [spec.name for spec in specs]
    asked = body.get("outputs")
    if asked is None:
        return names
    if not isinstance(asked, list):
        raise Refused(f"outputs: must be a list; got {shown(asked)}")
    chosen: list[str] = []
    for index, item in enumerate(asked):
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str) or name not in names:
            raise Refused(
                f"outputs[{index}].name: no such output; got {shown(name)}; allowed {names}"
            )
        chosen.append(name)
    return chosen or names


def encode_outputs(
    outputs: Feeds, specs: Sequence[TensorSpec], chosen: Sequence[str]
) -> list[dict[str, Any]]:
    """Output tensors as the protocol's JSON, data flat in row-major order."""
    datatypes = {spec.name: spec.datatype for spec in specs}
    return [
        {
            "name": name,
            "datatype": datatypes[name],
            "shape": list(outputs[name].shape),
            "data": outputs[name].ravel().tolist(),
        }
        for name in chosen
    ]
