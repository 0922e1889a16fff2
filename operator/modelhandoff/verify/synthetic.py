"""Made-up Open Inference v2 requests, for a model that came without examples.

They wake a model up; what it answers to them means nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

SEED: Final = 0
MAX_ELEMENTS: Final = 10_000_000
_FLOATS: Final = frozenset({"FP16", "FP32", "FP64", "BF16"})


class Unmakable(Exception):
    """The metadata describes inputs that cannot be made up; the message is one line."""


def synthetic_requests(metadata: Any, seed: int = SEED) -> Iterator[dict[str, Any]]:
    """Endless single-row requests with small numbers, the same ones for the same seed.

    Args:
        metadata: the parsed answer of ``GET /v2/models/<name>``; free dimensions become 1.
        seed: of the numbers.

    Raises:
        Unmakable: no inputs, or a shape that is malformed or too large; at the call, not later.
    """
    inputs = metadata.get("inputs") if isinstance(metadata, dict) else None
    if not isinstance(inputs, list) or not inputs:
        raise Unmakable("metadata names no inputs")
    shapes = [_shape(tensor) for tensor in inputs]
    return _endless(inputs, shapes, random.Random(seed))  # noqa: S311 (no secret, a fixed seed)


def _endless(
    inputs: list[Any], shapes: list[list[int]], noise: random.Random
) -> Iterator[dict[str, Any]]:
    while True:
        yield {
            "inputs": [
                {
                    "name": tensor["name"],
                    "datatype": tensor["datatype"],
                    "shape": shape,
                    "data": [_element(tensor["datatype"], noise) for _ in range(_size(shape))],
                }
                for tensor, shape in zip(inputs, shapes, strict=True)
            ]
        }


def _shape(tensor: Any) -> list[int]:
    try:
        name, datatype, dims = tensor["name"], tensor["datatype"], tensor["shape"]
        shape = [1 if int(dim) < 0 else int(dim) for dim in dims]
    except (KeyError, TypeError, ValueError):
        raise Unmakable("metadata lists an input without name, datatype and shape") from None
    if not isinstance(name, str) or not isinstance(datatype, str):
        raise Unmakable("metadata lists an input whose name or datatype is no text")
    if _size(shape) > MAX_ELEMENTS:
        raise Unmakable(f"input {name[:60]!r} is too large; got shape {shape[:8]}")
    return shape


def _size(shape: list[int]) -> int:
    size = 1
    for dim in shape:
        size *= dim
    return size


def _element(datatype: str, noise: random.Random) -> float | int | bool | str:
    if datatype in _FLOATS:
        return round(noise.uniform(0.0, 1.0), 6)
    if datatype == "BOOL":
        return False
    return "" if datatype == "BYTES" else noise.randint(0, 1)
