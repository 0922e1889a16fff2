"""The tenant's Jobs of a handoff: which there are, what one reports, and what is kept of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from modelhandoff.api.acceptance_jobs import MAX_TESTS, AcceptanceTest, Reproduction
from modelhandoff.api.base import StatusModel
from modelhandoff.api.checks import MAX_LINE, Numbers, Unreadable
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.meta import Message
from modelhandoff.api.quantities import Timestamp, Word63

REPORT_FORMAT = "modelhandoff.dev/job-report/v1"
MAX_JOBS = MAX_TESTS + 1
REPRODUCTION = "Reproduction"
"""Name of the reproduction's result."""


@dataclass(frozen=True, slots=True)
class TenantJob:
    """One Job of the tenant's.

    Attributes:
        name: of its result in the attempt's status.
        suffix: of its Job's name, and its role among the rendered objects.
        budget: how long its container may run.
    """

    name: str
    suffix: str
    budget: timedelta
    asked: AcceptanceTest | Reproduction


def tenant_jobs(spec: ModelHandoffSpec) -> tuple[TenantJob, ...]:
    """The Jobs of a resolved spec in the order in which they run; the longest, training, last."""
    if spec.acceptance is None:
        return ()
    found = [
        TenantJob(f"Test/{test.name}", f"test-{at}", test.timeout, test)
        for at, test in enumerate(spec.acceptance.tests)
    ]
    again = spec.acceptance.reproduce
    if again is not None:
        found.append(TenantJob(REPRODUCTION, "reproduce", again.within, again))
    return tuple(found)


def tenant_job_budget(spec: ModelHandoffSpec, one: TenantJob) -> timedelta:
    """How long a Job may take in all: to find room, to start and fetch, to run, to report."""
    return (
        spec.rollout.capacity.pending_deadline
        + spec.candidate.serving.startup.timeout
        + one.budget
        + timedelta(minutes=2)
    )


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
    """What was found; of a container that failed with the end of its log."""
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
