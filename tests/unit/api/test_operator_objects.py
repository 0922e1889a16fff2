"""What the operator writes: attempts and status, read back as they were written."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from modelhandoff.api.attempt import AttemptKind, AttemptSpec, HandoffAttempt, HandoffRef
from modelhandoff.api.handoff import ModelHandoffStatus, StepStatus, VersionStatus
from modelhandoff.api.hashing import bundle_hash, revision_hash
from modelhandoff.api.meta import Condition, ConditionStatus, MetricStatus
from modelhandoff.api.monitoring import MetricType
from modelhandoff.api.vocabulary import Phase
from tests.builders import spec

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_an_attempt_is_built_in_python_names_and_written_in_the_names_of_the_api():
    attempt = AttemptSpec(
        handoff_ref=HandoffRef(name="fraud", uid="1234"),
        bundle_hash=bundle_hash(spec()),
        revision=revision_hash(spec()),
        ordinal=1,
        kind=AttemptKind.ROLLOUT,
        snapshot="{}",
    )
    written = attempt.model_dump(mode="json", by_alias=True)

    assert written["handoffRef"] == {"name": "fraud", "uid": "1234"}
    read = HandoffAttempt.model_validate({"metadata": {"name": "fraud-1"}, "spec": written})
    assert read.spec == attempt
    assert read.status.phase is Phase.PENDING


@pytest.mark.parametrize("wrong", ["v1-abc", "abc", "v1-" + "A" * 64])
def test_a_hash_that_is_none_is_refused(wrong):
    with pytest.raises(ValidationError):
        AttemptSpec(
            handoff_ref=HandoffRef(name="fraud", uid="1234"),
            bundle_hash=wrong,
            revision=revision_hash(spec()),
            ordinal=1,
            kind=AttemptKind.ROLLOUT,
            snapshot="{}",
        )


def test_a_status_reads_back_as_it_was_written_and_has_no_null():
    status = ModelHandoffStatus(
        observed_generation=3,
        phase=Phase.PROGRESSING,
        stable=VersionStatus(version="1.3.2", revision=revision_hash(spec()), since=NOON),
        step=StepStatus(index=1, count=2, label="1/2", weight=10),
        metrics=(MetricStatus(name="errors", type=MetricType.ERROR_RATE, state="Pending"),),
        conditions=(
            Condition(
                type="Ready",
                status=ConditionStatus.FALSE,
                reason="Collecting",
                message="Waiting.",
                last_transition_time=NOON,
                observed_generation=3,
            ),
        ),
    )
    written = status.model_dump(mode="json", by_alias=True)

    assert ModelHandoffStatus.model_validate(written) == status
    assert "startedAt" not in written["step"]
    assert written["conditions"][0]["lastTransitionTime"] == "2026-03-02T12:00:00Z"


def test_a_status_never_holds_what_is_no_number():
    with pytest.raises(ValidationError):
        MetricStatus(name="errors", state="Pass", candidate=float("inf"))
