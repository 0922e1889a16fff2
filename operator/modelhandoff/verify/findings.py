"""What a check says: a finding, or one of three exceptions that end it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from modelhandoff.api.checks import MAX_LINE, MAX_NUMBERS, CheckName, CheckState, CheckStatus
from modelhandoff.errors import cut


@dataclass(frozen=True, slots=True)
class Found:
    """A check that passed: one line, and numbers by name."""

    message: str
    numbers: Mapping[str, float] = field(default_factory=dict)


class CheckEnded(Exception):
    """A check that did not pass; the message is one line.

    Args:
        message: ``path: what is wrong; got <value>; allowed <...>``.
        numbers: numbers to it, by name.
    """

    state = CheckState.FAILED

    def __init__(self, message: str, **numbers: float) -> None:
        super().__init__(message)
        self.numbers = numbers


class Failed(CheckEnded):
    """The bundle is not what it must be."""


class Inconclusive(CheckEnded):
    """The check could not be made, and the model is not to blame."""

    state = CheckState.INCONCLUSIVE


class Skipped(CheckEnded):
    """There is nothing to check."""

    state = CheckState.SKIPPED


def status(
    name: CheckName, state: CheckState, message: str, numbers: Mapping[str, float] | None = None
) -> CheckStatus:
    """A check as the report shows it: one line, finite numbers only."""
    finite = {key: float(value) for key, value in (numbers or {}).items() if math.isfinite(value)}
    return CheckStatus(
        name=str(name),
        state=state.value,
        message=_printable(cut(message, MAX_LINE)),
        numbers=dict(list(finite.items())[:MAX_NUMBERS]),
    )


def _printable(line: str) -> str:
    """The line without what a file could put into it to break JSON or a terminal.

    JSON lets a string hold half a surrogate pair, which no UTF-8 and so no report can carry.
    """
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line
    )


def made(name: CheckName, check: Callable[[], Found]) -> CheckStatus:
    """Make one check. Whatever goes wrong in it is its result, never an exception."""
    try:
        found = check()
    except CheckEnded as ended:
        return status(name, ended.state, str(ended), ended.numbers)
    except MemoryError:
        return status(name, CheckState.FAILED, "needs more memory than the Job has")
    except RecursionError:
        return status(name, CheckState.FAILED, "is nested too deeply to be read")
    except Exception as error:
        # A bug of ours, or a file that found a hole: it must not pass, and it must be seen.
        message = f"the check itself failed: {type(error).__name__}: {error}"
        return status(name, CheckState.INCONCLUSIVE, message)
    return status(name, CheckState.PASSED, found.message, found.numbers)
