"""The one exception for a request the server will not serve."""

from __future__ import annotations

from enum import StrEnum

MAX_SHOWN = 60


class Rule(StrEnum):
    """What a request broke: the closed set behind the ``rule`` label of the violation counter."""

    SHAPE = "shape"
    TYPE = "type"
    MISSING = "missing"
    RANGE = "range"
    CATEGORY = "category"
    UNKNOWN = "unknown"


class Refused(Exception):
    """A request is answered with an error status and one line.

    Args:
        message: ``path: what is wrong; got <value>; allowed <...>``.
        status: HTTP status code of the answer.
        field: tensor or feature the contract violation is booked on; None books nothing.
        rule: the broken rule, given together with ``field``.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        field: str | None = None,
        rule: Rule | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.field = field
        self.rule = rule


def shown(value: object) -> str:
    """A value as it may appear in a message: one line, at most 60 characters."""
    # Cut before repr: a client's megabyte must not be formatted to be thrown away.
    if isinstance(value, str):
        value = value[: MAX_SHOWN * 2]
    elif isinstance(value, list | dict):
        return f"{type(value).__name__} of {len(value)} items"
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**40:
        return "an integer of more than 40 digits"
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
