"""Every way a look at the metrics can fail, each with its own name; none is ever evidence."""

from __future__ import annotations

from enum import StrEnum

from modelhandoff.api.vocabulary import Reason
from modelhandoff.errors import HandoffError

__all__ = ["MetricsError", "Trouble"]


class Trouble(StrEnum):
    """What went wrong with a look."""

    REFUSED = "ConnectionRefused"
    TIMEOUT = "Timeout"
    BAD_QUERY = "QueryRefused"
    TOO_HEAVY = "QueryTooHeavy"
    HTTP_STATUS = "HttpStatus"
    NOT_JSON = "NotJson"
    TRUNCATED = "TruncatedJson"
    WRONG_TYPE = "WrongResultType"
    WARNINGS = "Warnings"
    TOO_MANY_SERIES = "TooManySeries"
    TOO_LARGE = "BodyTooLarge"
    NOT_A_COUNT = "NotACount"
    AMBIGUOUS = "AmbiguousSeries"
    STALE = "Stale"
    MISSING = "Missing"
    MISCONFIGURED = "Misconfigured"

    @property
    def reason(self) -> Reason:
        """The reason that status and events carry."""
        return _REASONS[self]

    @property
    def tenants_own(self) -> bool:
        """Whether one tenant's series alone can cause it, so that a batch is worth splitting."""
        return self in _TENANTS_OWN


_REASONS = {
    Trouble.REFUSED: Reason.METRICS_ERROR,
    Trouble.TIMEOUT: Reason.METRICS_ERROR,
    Trouble.BAD_QUERY: Reason.METRICS_ERROR,
    Trouble.TOO_HEAVY: Reason.METRICS_ERROR,
    Trouble.HTTP_STATUS: Reason.METRICS_ERROR,
    Trouble.NOT_JSON: Reason.METRICS_ERROR,
    Trouble.TRUNCATED: Reason.METRICS_ERROR,
    Trouble.WRONG_TYPE: Reason.METRICS_INVALID,
    Trouble.WARNINGS: Reason.METRICS_ERROR,
    Trouble.TOO_MANY_SERIES: Reason.METRICS_INVALID,
    Trouble.TOO_LARGE: Reason.METRICS_INVALID,
    Trouble.NOT_A_COUNT: Reason.METRICS_INVALID,
    Trouble.AMBIGUOUS: Reason.METRICS_AMBIGUOUS,
    Trouble.STALE: Reason.METRICS_STALE,
    Trouble.MISSING: Reason.METRICS_MISSING,
    Trouble.MISCONFIGURED: Reason.METRICS_ERROR,
}

_TENANTS_OWN = frozenset(
    {Trouble.TOO_HEAVY, Trouble.TIMEOUT, Trouble.TOO_MANY_SERIES, Trouble.TOO_LARGE}
)


class MetricsError(HandoffError):
    """A look that failed: the kind of trouble and one line with numbers."""

    retryable = True

    def __init__(self, trouble: Trouble, message: str, *, user_action: str = "") -> None:
        super().__init__(message, user_action=user_action)
        self.trouble = trouble
