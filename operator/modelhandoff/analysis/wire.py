"""Strict JSON for frozen dataclasses: what is wrong, where, what came, what was expected.

One decoder serves plans, intervals and verdicts. Unknown keys, wrong kinds, NaN and out-of-range
numbers are refused; nothing is coerced, so that a typo can never be judged as a zero.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar

__all__ = ["WireError", "decode", "encode", "finite", "keys", "member", "number", "whole"]

_E = TypeVar("_E", bound=StrEnum)
_T = TypeVar("_T")


class WireError(ValueError):
    """A JSON value that cannot be read: carries the path, what was expected and what came."""

    def __init__(self, path: str, expected: str, got: object) -> None:
        self.path, self.expected, self.got = path or "value", expected, shown(got)
        super().__init__(f"{self.path}: expected {expected}; got {self.got}")


def shown(value: object) -> str:
    """The value as one short line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def number(value: object, path: str, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number in [low, high]; booleans and numeric strings are refused."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise WireError(path, "a finite number", value)
    if not low <= value <= high:
        wanted = f"a number >= {low:g}" if high == math.inf else f"a number in [{low:g}, {high:g}]"
        raise WireError(path, wanted, value)
    return float(value)


def whole(value: object, path: str, low: int = 0, high: int | None = None) -> int:
    """An integer in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise WireError(path, "an integer", value)
    if value < low or (high is not None and value > high):
        wanted = f"an integer >= {low}" if high is None else f"an integer in [{low}, {high}]"
        raise WireError(path, wanted, value)
    return value


def keys(
    value: object, path: str, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> Mapping[str, Any]:
    """An object with all required and no unknown keys."""
    if not isinstance(value, Mapping):
        raise WireError(path, "an object", value)
    for key in required:
        if key not in value:
            raise WireError(f"{path}.{key}" if path else key, "to be present", "nothing")
    for key in value:
        if key not in required and key not in optional:
            allowed = ", ".join(required + optional)
            raise WireError(f"{path}.{key}" if path else str(key), f"one of {allowed}", "this key")
    return value


def member(kind: type[_E], value: object, path: str) -> _E:
    """A member of a closed set, by its exact text."""
    for one in kind:
        if value == one.value:
            return one
    raise WireError(path, "one of " + ", ".join(kind), value)


def finite(value: float, path: str) -> float:
    """Refuse NaN and infinity in a value built by code."""
    if not math.isfinite(value):
        raise WireError(path, "a finite number", value)
    return value


@cache
def _fields(kind: Any) -> tuple[tuple[dataclasses.Field[Any], Any], ...]:
    hints = typing.get_type_hints(kind)
    return tuple((f, hints[f.name]) for f in dataclasses.fields(kind) if f.init)


def _is_default(field: dataclasses.Field[Any], value: object) -> bool:
    return field.default is not dataclasses.MISSING and bool(field.default == value)


def encode(value: Any) -> Any:
    """A dataclass as plain JSON values; fields at their default are left out.

    Leaving defaults out keeps the hash of an old plan when a later version adds an option.
    Infinity is written as the text ``+Inf`` (JSON has none).
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: encode(getattr(value, f.name))
            for f, _ in _fields(type(value))
            if not _is_default(f, getattr(value, f.name))
        }
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, tuple | list):
        return [encode(one) for one in value]
    if isinstance(value, float) and math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return value


def decode(kind: type[_T], value: object, path: str = "") -> _T:
    """The dataclass ``kind`` from JSON; raises :class:`WireError` naming the path."""
    spec = _fields(typing.cast("Any", kind))
    need = tuple(f.name for f, _ in spec if _required(f))
    rest = tuple(f.name for f, _ in spec if not _required(f))
    found = keys(value, path, need, rest)
    made = {
        f.name: _value(hint, found[f.name], f"{path}.{f.name}" if path else f.name)
        for f, hint in spec
        if f.name in found
    }
    try:
        return kind(**made)
    except WireError as wrong:
        if path:
            raise WireError(f"{path}.{wrong.path}", wrong.expected, Raw(wrong.got)) from None
        raise


class Raw(str):
    """Text that is already shown; printed as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _value(hint: Any, value: object, path: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        inner = [one for one in typing.get_args(hint) if one is not type(None)]
        if value is None:
            if len(inner) == len(typing.get_args(hint)):
                raise WireError(path, "a value", None)
            return None
        return _value(inner[0], value, path)
    if origin is tuple:
        return _sequence(typing.get_args(hint), value, path)
    if hint is float:
        if value in ("+Inf", "-Inf"):
            return math.inf if value == "+Inf" else -math.inf
        return number(value, path)
    if hint is int:
        return whole(value, path, low=-(2**53))
    if hint is bool:
        if not isinstance(value, bool):
            raise WireError(path, "true or false", value)
        return value
    if hint is str:
        if not isinstance(value, str):
            raise WireError(path, "a text", value)
        return value
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return member(hint, value, path)
    return decode(hint, value, path)


def _sequence(args: tuple[Any, ...], value: object, path: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise WireError(path, "a list", value)
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_value(args[0], one, f"{path}[{i}]") for i, one in enumerate(value))
    if len(value) != len(args):
        raise WireError(path, f"a list of {len(args)}", value)
    pairs = enumerate(zip(args, value, strict=True))
    return tuple(_value(arg, one, f"{path}[{i}]") for i, (arg, one) in pairs)
