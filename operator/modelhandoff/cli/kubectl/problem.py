"""What goes wrong for a person at the keyboard: one line on stderr and an exit code."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """Exit codes of every verb; scripts rely on them."""

    OK = 0
    TROUBLE = 1
    ROLLED_BACK = 2
    REJECTED = 3
    PAUSED = 4
    INCONCLUSIVE = 5
    ABORTED = 6
    TIMEOUT = 124
    INTERRUPTED = 130


class Trouble(Exception):
    """Ends the command: its text is the one line that is printed."""

    def __init__(self, message: str, code: Code = Code.TROUBLE) -> None:
        super().__init__(message)
        self.code = code


class MissingError(Trouble):
    """The API server knows no such object (404).

    Attributes:
        kind_missing: it does not even know the kind.
    """

    def __init__(self, message: str, *, kind_missing: bool = False) -> None:
        super().__init__(message)
        self.kind_missing = kind_missing


class DeniedError(Trouble):
    """The API server says that this user may not (403)."""


class StaleError(Trouble):
    """The object changed since it was read (409)."""


class UnreachableError(Trouble):
    """No usable answer: network, TLS, timeout, or the server says that it cannot now."""
