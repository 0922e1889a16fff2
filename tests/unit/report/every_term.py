"""A spec in which every field is set, made from the models: new fields need no change here.

Not a legal handoff (patterns and rules are not kept), but every value is of its field's type.
"""

from __future__ import annotations

import types
import typing
from datetime import timedelta
from enum import Enum
from typing import Any

from pydantic import BaseModel

from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.monitoring import FIELDS, Metric, MetricType

SERIES = ("counters", "histogram")


def full_spec() -> ModelHandoffSpec:
    """Every field set, and a metric of each kind with each of its limits."""
    spec = made(ModelHandoffSpec)
    assert isinstance(spec, ModelHandoffSpec)
    return spec.model_copy(
        update={"monitoring": spec.monitoring.model_copy(update={"metrics": tuple(_metrics())})}
    )


def _metrics() -> typing.Iterator[Metric]:
    alias = {field.alias or name: name for name, field in Metric.model_fields.items()}
    every = made(Metric)
    typed = {alias[f] for pair in FIELDS.values() for group in pair for f in group}
    for kind, (required, optional) in FIELDS.items():
        fields = {alias[f] for f in (*required, *optional)}
        for without in ({"server"}, set(SERIES)):
            for limit in ({"min_lift"}, {"max_regression"}):
                if kind is not MetricType.MEAN and limit == {"max_regression"}:
                    continue
                dropped = (typed - fields) | without
                dropped |= limit if kind is MetricType.MEAN else set()
                yield every.model_copy(
                    update={
                        "name": f"{kind}-{len(without)}-{min(limit)}",
                        "type": kind,
                        **dict.fromkeys(dropped),
                    }
                )


def made(annotation: Any, where: str = "x") -> Any:
    """A value of a type, whatever its constraints are."""
    origin = typing.get_origin(annotation)
    args = typing.get_args(annotation)
    if origin is typing.Annotated:
        return made(args[0], where)
    if origin in (typing.Union, types.UnionType):
        return made(next(one for one in args if one is not type(None)), where)
    if origin is typing.Literal:
        return args[0]
    if origin is tuple:
        return (made(args[0], where),)
    if origin is dict:
        return {f"{where}-key": f"{where}-value"}
    if isinstance(annotation, type):
        if issubclass(annotation, BaseModel):
            fields = {
                name: made(field.annotation, f"{where}-{name}")
                for name, field in annotation.model_fields.items()
            }
            return annotation.model_construct(**fields)
        if issubclass(annotation, Enum):
            return list(annotation)[-1]
        if annotation in _SAMPLES:
            return where if annotation is str else _SAMPLES[annotation]
    raise AssertionError(f"{where}: this test cannot make a {annotation}; teach it in made()")


_SAMPLES: dict[Any, Any] = {
    str: "", int: 7, float: 0.25, bool: True, timedelta: timedelta(minutes=5),
}  # fmt: skip


def other(value: Any) -> Any:
    """Another value of the same type."""
    match value:
        case bool():
            return not value
        case Enum():
            return next((one for one in type(value) if one is not value), "Another")
        case int():
            return value + 11
        case float():
            return value + 0.125
        case timedelta():
            return value + timedelta(hours=3)
        case str():
            return f"{value}-other"
        case tuple():
            return (*value[:-1], other(value[-1]))
        case dict():
            return {key: other(one) for key, one in value.items()}
    raise AssertionError(f"no other value known for {value!r}")


def replaced(model: BaseModel, path: str, value: Any) -> Any:
    """A copy of a model with one term replaced; ``path`` as in ``Term.path``."""
    head, _, rest = path.partition(".")
    key, _, index = head.partition("[")
    name = next(n for n, f in type(model).model_fields.items() if (f.alias or n) == key)
    current = getattr(model, name)
    if not rest:
        changed = value
    elif index:
        at = int(index.rstrip("]"))
        changed = (*current[:at], replaced(current[at], rest, value), *current[at + 1 :])
    else:
        changed = replaced(current, rest, value)
    return model.model_copy(update={name: changed})
