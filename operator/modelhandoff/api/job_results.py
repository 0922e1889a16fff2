"""What one of the tenant's Jobs reports, and what is kept of it in the attempt's status."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from modelhandoff.api.acceptance_jobs import MAX_TESTS
from modelhandoff.api.base import StatusModel
from modelhandoff.api.checks import MAX_LINE, Numbers, Unreadable
from modelhandoff.api.meta import Message
from modelhandoff.api.quantities import Timestamp, Word63

REPORT_FORMAT: Literal["modelhandoff.dev/job-report/v1"] = "modelhandoff.dev/job-report/v1"
MAX_JOBS = MAX_TESTS + 1
MAX_LOG_TAIL = 2048
"""Most characters of a log's end that are kept."""


class JobReport(StatusModel):
    """What the collector found in the results of a container that ended well.

    It reads; what follows is decided by the operator, from the frozen spec.
    """

    format: Literal["modelhandoff.dev/job-report/v1"] = REPORT_FORMAT
    """Which document this is."""
    found: bool
    """Whether there was a file at all."""
    problem: Annotated[str, StringConstraints(max_length=MAX_LINE)] = ""
    """Why it cannot be read, in one line."""
    numbers: Numbers = Field(default_factory=dict)
    """Tests, failures, errors and skipped; or the metrics that were asked for."""
    first: Annotated[str, StringConstraints(max_length=MAX_LINE)] = ""
    """The first test case that did not pass, in one line."""


class JobResult(StatusModel):
    """What came of one of the tenant's Jobs; stored before anything is decided on it."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=80)]
    """Test/<name>, or Reproduction."""
    job: Word63
    """Name of the Job."""
    state: Literal["Running", "Passed", "Failed", "Inconclusive"]
    """Running, Passed, Failed or Inconclusive (not the model's fault)."""
    since: Timestamp
    """When it was begun."""
    reason: Annotated[str, StringConstraints(max_length=63)] = ""
    """Why, as one word."""
    message: Message = ""
    """What was found; of a container that failed with its last words."""
    log: Annotated[str, StringConstraints(max_length=MAX_LOG_TAIL)] | None = None
    """The end of the container's log; absent when it wrote none or it could not be read."""
    numbers: Numbers = Field(default_factory=dict)
    """Numbers to it, by name."""


def read_report(text: str) -> JobReport:
    """The report in a termination message.

    Raises:
        Unreadable: it is none.
    """
    try:
        return JobReport.model_validate_json(text)
    except ValidationError:
        raise Unreadable("the termination message is no report") from None
