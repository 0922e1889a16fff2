"""The API server's refusals in the project's own errors, its message cut to one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from modelhandoff.errors import (
    ConflictError,
    ForbiddenError,
    GoneError,
    HandoffError,
    RefusedError,
    UnavailableError,
    cut,
)

MAX_MESSAGE = 400


class AlreadyExistsError(ConflictError):
    """A creation found an object of that name."""


class BusyError(UnavailableError):
    """The API server said when to come back (429, or 5xx with Retry-After).

    Attributes:
        retry_after: seconds.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def translate(
    what: str, method: str, status: int, headers: Mapping[str, str], text: str
) -> HandoffError:
    """The error for one answer outside 2xx: ``what`` was asked, ``text`` is the body's text."""
    reason, words = _status(text)
    message = f"{what}: {status} {words}"
    if status == 409:
        created = method == "POST" and reason != "Conflict"
        return AlreadyExistsError(message) if created else ConflictError(message)
    if status == 404:
        return GoneError(message)
    if status == 403:
        return ForbiddenError(
            message, user_action="give the operator's service account this right, or the quota"
        )
    if status in (401, 408, 410, 429) or status >= 500:
        # 401: a token that rotates is read again; 410: an expired list is started again.
        wait = _seconds(headers)
        return UnavailableError(message) if wait is None else BusyError(message, wait)
    return RefusedError(message)


def _status(text: str) -> tuple[str, str]:
    try:
        body: Any = json.loads(text)
    except ValueError:
        body = None
    if isinstance(body, dict) and body.get("kind") == "Status":
        reason = str(body.get("reason") or "")
        return reason, cut(body.get("message") or reason, MAX_MESSAGE)
    return "", cut(text, MAX_MESSAGE)


def _seconds(headers: Mapping[str, str]) -> float | None:
    text = headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None
