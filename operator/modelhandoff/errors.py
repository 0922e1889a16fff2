"""The errors that cross rooms: what is wrong, whether retrying can help, what to do."""

from __future__ import annotations

MAX_SHOWN = 80


def cut(value: object, limit: int = MAX_SHOWN) -> str:
    """A value as one bounded line, for messages."""
    text = " ".join(str(value).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


class HandoffError(Exception):
    """Base of all errors of this project.

    Attributes:
        retryable: whether the same call may succeed later without anyone's help.
        user_action: what a person can do about it; empty when nothing is needed.
    """

    retryable = False

    def __init__(self, message: str, *, user_action: str = "") -> None:
        super().__init__(message)
        self.user_action = user_action


class InvalidInputError(HandoffError):
    """Something a person wrote is wrong: path, what is wrong, what was got, what is allowed."""

    def __init__(self, path: str, wrong: str, got: object, allowed: str) -> None:
        super().__init__(f"{path}: {wrong}; got {cut(got)}; allowed {allowed}")
        self.path = path


class ConflictError(HandoffError):
    """The object changed since it was read (409): read again and decide again."""

    retryable = True


class GoneError(HandoffError):
    """The object does not exist (404), or no longer."""


class ForbiddenError(HandoffError):
    """The API server refused for lack of rights (403)."""


class RefusedError(HandoffError):
    """The API server refused the object itself (422, admission): retrying the same is useless."""


class UnavailableError(HandoffError):
    """The other side did not answer in time or said it cannot now (429, 5xx, network)."""

    retryable = True


class FencedError(HandoffError):
    """This process is no longer the leader: nothing may be sent any more."""


class InvalidSpecError(HandoffError):
    """Several things that a person wrote are wrong; ``errors`` has one line each."""

    def __init__(self, errors: list[InvalidInputError]) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = errors
