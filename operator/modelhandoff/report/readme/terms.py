"""Every term of a handoff as a leaf: where it stands, what it says, what it means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel

from modelhandoff.api.quantities import format_duration, format_time
from modelhandoff.api.schema import field_docs
from modelhandoff.report.document import Code, Line


@dataclass(frozen=True, slots=True)
class Term:
    """One value that is set.

    Attributes:
        path: as a person writes it, ``candidate.artifacts[0].uri``.
        pattern: the same for every item of a list, ``candidate.artifacts[].uri``.
        about: what the field means, in the words of its model.
    """

    path: str
    pattern: str
    value: Any
    about: str


def terms(model: BaseModel, path: str = "", pattern: str = "") -> Iterator[Term]:
    """All values that are set below a model, in the order of its fields; defaults are set."""
    about = field_docs(type(model))
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        key = field.alias or name
        here, like = _join(path, key), _join(pattern, key)
        if isinstance(value, BaseModel):
            yield from terms(value, here, like)
        elif isinstance(value, tuple) and any(isinstance(one, BaseModel) for one in value):
            for at, one in enumerate(value):
                yield from terms(one, f"{here}[{at}]", f"{like}[]")
        elif value is not None and value not in ((), {}):
            yield Term(here, like, value, about.get(name, ""))


def patterns(model: type[BaseModel], pattern: str = "") -> Iterator[str]:
    """The pattern of every term that a model can have, set or not."""
    for name, field in model.model_fields.items():
        like = _join(pattern, field.alias or name)
        inner = list(_models(field.annotation))
        if not inner:
            yield like
        for one, many in inner:
            yield from patterns(one, f"{like}[]" if many else like)


def _models(annotation: Any, many: bool = False) -> Iterator[tuple[type[BaseModel], bool]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, many
        return
    listed = many or getattr(annotation, "__origin__", None) is tuple
    for one in getattr(annotation, "__args__", ()):
        yield from _models(one, listed)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def told(value: Any) -> Line:
    """A value for people; texts that are read letter by letter as code."""
    if isinstance(value, tuple):
        parts: list[Any] = []
        for one in value:
            parts += [*([", "] if parts else []), *told(one)]
        return tuple(parts)
    if isinstance(value, Mapping):
        return told(tuple(f"{key}={value[key]}" for key in sorted(value)))
    if isinstance(value, bool):
        return ("yes" if value else "no",)
    if isinstance(value, timedelta):
        return (format_duration(value),)
    if isinstance(value, datetime):
        return (format_time(value),)
    if isinstance(value, float):
        return (f"{value:g}",)
    text = str(value)
    plain = any(c.isspace() for c in text) or not isinstance(value, str) or text.isalpha()
    return (text,) if plain else (Code(text),)
