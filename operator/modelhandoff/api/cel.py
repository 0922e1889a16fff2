"""Rules across fields: written once, checked by the API server in CEL and by us in Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic_core import PydanticCustomError

RULE_ERROR = "rule"
"""Type of the pydantic errors that carry :class:`Violation` objects in their context."""


@dataclass(frozen=True)
class Rule:
    """One rule about an object.

    Attributes:
        cel: the expression the API server evaluates; ``self`` is the object as the user wrote
            it, so every optional field is guarded by ``has()``. Inside nested loops compare
            plain fields only: the server's cost estimate refuses a concatenation there.
        holds: the same in Python, on the resolved model. ``None`` for transition rules, which
            need the old object and so can only be checked by the API server.
        wrong: what is wrong, as a sentence without its end.
        allowed: what to write instead.
        at: where, as the camelCase path below the object; empty for the object itself.
    """

    cel: str
    holds: Callable[[Any], bool] | None
    wrong: str
    allowed: str
    at: str = ""

    def as_validation(self) -> dict[str, Any]:
        """The rule as one entry of ``x-kubernetes-validations``."""
        entry: dict[str, Any] = {
            "rule": self.cel,
            "message": f"{self.wrong}; allowed {self.allowed}",
        }
        if self.at:
            entry["fieldPath"] = f".{self.at}"
        return entry


@dataclass(frozen=True)
class Violation:
    """A broken rule: location below the object, what is wrong, what is allowed, what was got."""

    at: tuple[str | int, ...]
    wrong: str
    allowed: str
    got: Any = None


def violated(violations: Sequence[Violation]) -> PydanticCustomError:
    """The pydantic error that carries violations to the place where lines are written."""
    return PydanticCustomError(
        RULE_ERROR,
        "{summary}",
        {"summary": "; ".join(v.wrong for v in violations), "violations": tuple(violations)},
    )


def broken(rules: Iterable[Rule], subject: object) -> list[Violation]:
    """Every rule that does not hold for a validated model."""
    return [
        Violation(tuple(rule.at.split(".")) if rule.at else (), rule.wrong, rule.allowed)
        for rule in rules
        if rule.holds is not None and not rule.holds(subject)
    ]


def positive(field: str, attribute: str) -> Rule:
    """The rule that a duration, where it is set, is longer than nothing."""

    def holds(subject: Any) -> bool:
        value: timedelta | None = getattr(subject, attribute)
        return value is None or value > timedelta()

    return Rule(
        # Looked at as text: duration() would add an error of its own to one about the form.
        cel=f"!has(self.{field}) || self.{field}.matches('[1-9]')",
        holds=holds,
        at=field,
        wrong="no time at all",
        allowed="a duration above 0s",
    )


def exactly_one(*fields: str) -> tuple[str, str]:
    """CEL expression and allowed text for "exactly one of these fields is set"."""
    total = " + ".join(f"(has(self.{field}) ? 1 : 0)" for field in fields)
    return f"{total} == 1", "exactly one of " + ", ".join(fields)
