"""Which report is due, if any."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from modelhandoff.api.vocabulary import Phase
from modelhandoff.rollout.actions import KeepReport
from modelhandoff.rollout.attempt import AttemptState, stamp
from modelhandoff.rollout.context import Context
from modelhandoff.rollout.decide import decide
from modelhandoff.rollout.reporting import KEEP_WITHIN, keep_report
from tests.unit.rollout.model import GOOD, HARM, Model


def rolled_back() -> Model:
    model = Model().started()
    model.look(HARM)
    model.pass_time(seconds=11)
    model.run()
    assert model.state.phase == "RolledBack"
    return model


def due(model: Model, **changes: object) -> KeepReport | None:
    """What is due when the newest attempt's status has these changes."""
    snapshot = model.snapshot()
    *others, last = snapshot.attempts
    last = dataclasses.replace(last, status={**last.status, **changes})
    ended = [
        dataclasses.replace(one, status={**one.status, "reportRef": {"name": "kept"}})
        for one in others
    ]
    return keep_report(Context(dataclasses.replace(snapshot, attempts=(*ended, last))))


def test_an_ended_attempt_gets_its_report_once() -> None:
    model = rolled_back()
    found = due(model)
    assert found is not None
    assert found.attempt == model.snapshot().attempts[-1].name
    assert due(model, reportRef={"name": "kept"}) is None


def test_it_is_an_errand_of_a_pass_that_has_nothing_else_to_do() -> None:
    model = rolled_back()
    decision = decide(model.snapshot())
    assert decision.action is None
    assert isinstance(decision.errand, KeepReport)


def test_a_running_attempt_has_no_report_of_its_decision() -> None:
    model = Model().started()
    model.look(GOOD)
    running = model.snapshot().attempts[-1]
    found = keep_report(Context(model.snapshot()))
    assert found is None or found.attempt != running.name


@pytest.mark.parametrize(("age", "kept"), [(timedelta(0), True), (timedelta(seconds=1), False)])
def test_what_ended_long_ago_is_left_as_it_is(age: timedelta, kept: bool) -> None:
    model = rolled_back()
    since = model.snapshot().now - KEEP_WITHIN - age
    assert (due(model, phaseSince=stamp(since)) is not None) is kept


def test_a_handoff_that_is_being_deleted_gets_none() -> None:
    snapshot = rolled_back().snapshot()
    gone = dataclasses.replace(snapshot.handoff, deleting=True)
    assert keep_report(Context(dataclasses.replace(snapshot, handoff=gone))) is None


def test_where_the_report_is_survives_a_write_of_the_status() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    kept = {"name": "fraud-1-report", "documents": []}
    state = AttemptState(phase=Phase.PROMOTED, phase_since=at, report_ref=kept)
    again = AttemptState.from_status(state.but(baseline_version="1.0.0").to_status())
    assert (again.report_ref, again.baseline_version) == (kept, "1.0.0")
