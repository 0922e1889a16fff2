"""The tenant's own Jobs of a handoff: which there are, and how long each may take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from modelhandoff.api.acceptance_jobs import AcceptanceTest, Reproduction
from modelhandoff.api.handoff import ModelHandoffSpec

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
