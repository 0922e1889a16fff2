"""Judging with a memory of the last look: less work, never another answer."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from modelhandoff.analysis.intervals import Bins, Histogram, Interval, Rate
from modelhandoff.api.resolve import resolve
from modelhandoff.errors import InvalidSpecError
from modelhandoff.rollout import judging
from modelhandoff.rollout.actions import Collected
from modelhandoff.rollout.attempt import AttemptState
from modelhandoff.rollout.judging import Memory, judge_again, judge_intervals
from modelhandoff.rollout.measure import Stage
from tests.builders import spec as written

BEGIN = datetime(2026, 1, 1, 3, 0, tzinfo=UTC)
SPEC = resolve(written(monitoring={"interval": "30s"}))
EDGES = (0.01, 0.03, 0.1, float("inf"))


def state() -> AttemptState:
    stages = (Stage(BEGIN.timestamp(), 0, 10),)
    return AttemptState(step=0, step_since=BEGIN, first_weight_at=BEGIN, stages=stages)


def interval(index: int, errors: float = 0.002) -> Interval:
    rng = np.random.default_rng(index)

    def arm(requests: int, errors: float) -> tuple[Any, Any, Any]:
        slow = np.cumsum(rng.multinomial(requests, (0.6, 0.37, 0.02, 0.01)))
        scores = rng.multinomial(requests, (0.4, 0.3, 0.2, 0.1))
        bad = float(rng.binomial(requests, errors))
        return (bad, float(requests)), tuple(map(float, slow)), tuple(map(float, scores))

    mine, theirs = arm(300, errors), arm(2700, 0.002)
    start = BEGIN.timestamp() + 30 * index
    return Interval(
        index=index,
        start=start,
        end=start + 30,
        step=0,
        weight=10,
        requests=(300.0, 2700.0),
        metrics={
            "errors": Rate(mine[0], theirs[0]),
            "latency": Histogram(EDGES, mine[1], theirs[1]),
            "scores": Bins(mine[2], theirs[2]),
        },
    )


def at(index: int, seconds: float = 0.0) -> datetime:
    return BEGIN + timedelta(seconds=30 * index + 42 + seconds)


def stored(before: AttemptState, got: Collected) -> AttemptState:
    # Through JSON, as it comes back from the API server: equal texts, other objects.
    again: dict[str, Any] = json.loads(
        json.dumps({"evidence": got.evidence, "cursor": got.cursor, "bins": got.bins})
    )
    return before.but(
        **again,
        looks=got.looks,
        step_looks=got.step_looks,
        step_requests=got.step_requests,
        last_data=got.last_data,
    )


def look(
    before: AttemptState, index: int, memory: Memory | None, errors: float = 0.002
) -> tuple[AttemptState, Collected]:
    got = judge_intervals(
        SPEC, before, (interval(index, errors),), f"c{index}", at(index), memory=memory
    )
    return stored(before, got), got


def test_a_run_is_judged_the_same_with_and_without_memory() -> None:
    memory, with_it, without = Memory(), state(), state()
    for index in range(12):
        errors = 0.002 if index < 6 else 0.05
        with_it, kept = look(with_it, index, memory, errors)
        without, anew = look(without, index, None, errors)
        assert kept == anew
        assert judge_again(SPEC, with_it, at(index, 5), None, memory) == judge_again(
            SPEC, without, at(index, 5)
        )
    assert kept.verdict is not None
    assert kept.verdict.decision == "Rollback"


def test_a_checkpoint_that_somebody_else_wrote_is_read_anew() -> None:
    memory, mine = Memory(), state()
    for index in range(4):
        mine, _ = look(mine, index, memory)
    other = state()
    for index in range(4):
        other, _ = look(other, index, None, errors=0.3)
    judged = judge_again(SPEC, other, at(4), None, memory)
    assert judged == judge_again(SPEC, other, at(4))
    assert judged != judge_again(SPEC, mine, at(4))


def test_the_same_question_a_moment_later_is_not_judged_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []
    real = judging.judge

    def counting(*arguments: Any) -> Any:
        asked.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(judging, "judge", counting)
    memory = Memory()
    after, got = look(state(), 0, memory)
    again = judge_again(SPEC, after, at(0, 0.2), None, memory)
    assert again is not None
    assert (len(asked), again.verdict) == (1, got.verdict)
    judge_again(SPEC, after, at(0, 20), None, memory)
    assert len(asked) == 2, "the clock alone makes another question"
    judge_again(SPEC, after.but(step=1, step_looks=0), at(0, 20.1), None, memory)
    assert len(asked) == 3, "another step is another question"


def _limits() -> st.SearchStrategy[dict[str, Any]]:
    """Metrics with limits at, beyond and between the borders of what the API takes."""

    def near(*borders: float) -> st.SearchStrategy[float]:
        return st.sampled_from([x for b in borders for x in (b, b * 0.99, b * 1.01)] + [0.0, 1.0])

    role = st.sampled_from(["Guardrail", "Success", "Watch", "Quality", "Info"])
    rate = st.fixed_dictionaries(
        {"type": st.sampled_from(["ErrorRate", "AbstainRate"]), "max": near(1e-6, 0.01, 0.5)}
    )
    latency = st.fixed_dictionaries(
        {"type": st.just("Latency"), "quantile": near(0.5, 0.95, 0.9999), "budget": st.just("1ms")},
        optional={"maxRelativeIncrease": near(0.01, 10)},
    )
    drift = st.fixed_dictionaries(
        {"type": st.just("Drift"), "of": st.just("Output"), "maxKL": near(1e-4, 0.2, 10)}
    )
    selector = {"metric": "score"}
    mean = st.fixed_dictionaries(
        {"type": st.just("Mean"), "sum": st.just(selector), "count": st.just(selector)},
        optional={"maxRegression": near(1e-4, 0.99), "minLift": near(0.02, 10)},
    )
    count = st.fixed_dictionaries(
        {"type": st.just("Count"), "counter": st.just(selector), "maxDrop": near(0.01, 0.49)}
    )
    metric = st.one_of(rate, latency, drift, mean, count)
    return st.tuples(metric, role).map(lambda pair: {**pair[0], "role": pair[1], "name": "drawn"})


@settings(max_examples=300, suppress_health_check=[HealthCheck.filter_too_much])
@given(
    drawn=_limits(),
    levels=st.tuples(*[st.sampled_from([0.0, 1e-7, 1e-6, 0.01, 0.5, 0.51, 1.0])] * 2),
)
def test_what_the_api_takes_the_engine_takes(
    drawn: dict[str, Any], levels: tuple[float, float]
) -> None:
    """A handoff that was let in must never fail at its first look."""
    guard = {"name": "errors", "type": "ErrorRate", "max": 0.01}
    try:
        spec = resolve(
            written(
                monitoring={"metrics": [guard, drawn]},
                rollout={"decision": {"harmLevel": levels[0], "safeLevel": levels[1]}},
            )
        )
    except InvalidSpecError:
        reject()
    bins: judging.Binning = {"drawn": {"edges": [0.5], "groups": [0, 1]}}
    plan = judging.plan_of(spec, bins)
    assert [metric.name for metric in plan.metrics] == ["errors", "drawn"]
