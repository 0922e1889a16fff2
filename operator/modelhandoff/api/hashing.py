"""The two hashes of a handoff, over the canonical JSON (RFC 8785) of what the user wrote.

What counts is the JSON value: order of keys and the spelling of a number (``1``, ``1.0``,
``1e0``) do not matter; ``60s`` and ``1m``, a field written with its default and the same field
left out, and the order of a list do. Nothing that we or a library fill in takes part, so an
upgrade of either changes no hash.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import rfc8785

from modelhandoff.api.candidate import MAX_SAFE_INTEGER
from modelhandoff.errors import InvalidInputError

PREFIX = "v1-"

_NOT_IN_REVISION = ("serving", "replicas")
_NOT_IN_BUNDLE = (("suspend",), ("runbook", "entries"), ("runbook", "notify"))


def revision_hash(raw_spec: Mapping[str, Any]) -> str:
    """``v1-<64 hex>`` of the candidate without its replicas: which pods serve it.

    Raises:
        InvalidInputError: the spec holds a value that JSON cannot carry exactly.
    """
    return _digest(_without(raw_spec.get("candidate", {}), _NOT_IN_REVISION), "spec.candidate")


def bundle_hash(raw_spec: Mapping[str, Any]) -> str:
    """``v1-<64 hex>`` of all that was signed: the spec without suspend, entries, notifications.

    Raises:
        InvalidInputError: the spec holds a value that JSON cannot carry exactly.
    """
    signed: Any = raw_spec
    for path in _NOT_IN_BUNDLE:
        signed = _without(signed, path)
    return _digest(signed, "spec")


def canonical_json(value: Any, path: str = "") -> bytes:
    """RFC 8785 bytes of a JSON value.

    Raises:
        InvalidInputError: a number that is no exact JSON number, or no JSON value at all.
    """
    return rfc8785.dumps(_exact(value, path))


def _digest(value: Any, path: str) -> str:
    return PREFIX + hashlib.sha256(canonical_json(value, path)).hexdigest()


def _without(value: Any, path: tuple[str, ...]) -> Any:
    if not isinstance(value, Mapping) or path[0] not in value:
        return value
    rest = dict(value)
    if len(path) == 1:
        del rest[path[0]]
    else:
        rest[path[0]] = _without(rest[path[0]], path[1:])
    return rest


def _exact(value: Any, path: str) -> Any:
    """The value with every number as RFC 8785 sees it: a double, when it is a large integer."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= MAX_SAFE_INTEGER else _as_double(value, path)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidInputError(path, "not a number", value, "a finite number")
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise InvalidInputError(path, "the key is not text", key, "a string as key")
        return {key: _exact(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(item, f"{path}[{index}]") for index, item in enumerate(value)]
    raise InvalidInputError(path, "not a JSON value", value, "text, numbers, lists, objects")


def _as_double(value: int, path: str) -> float:
    # The API server writes a double such as 1e18 out as an integer, so an integer that names
    # one double unmistakably is that double, however it was spelled.
    try:
        double = float(value)
    except OverflowError:
        double = math.inf
    if double == value or (math.isfinite(double) and Decimal(repr(double)) == value):
        return double
    raise InvalidInputError(
        path,
        "the number is too large to be kept exact in JSON",
        value,
        f"-{MAX_SAFE_INTEGER} to {MAX_SAFE_INTEGER}, or a string",
    )
