"""Baseline history: collected by one rollout, found by the next, and what it changes."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from modelhandoff.analysis.intervals import Bins, Histogram, Interval, Rate
from modelhandoff.analysis.plan import LatencyPlan, RatePlan
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.resolve import resolve
from modelhandoff.api.vocabulary import Phase
from modelhandoff.rollout.actions import Collected
from modelhandoff.rollout.attempt import AttemptState
from modelhandoff.rollout.context import Context
from modelhandoff.rollout.history import History, fitting, told
from modelhandoff.rollout.inheriting import handed_on, inherited
from modelhandoff.rollout.judging import judge_again, judge_intervals, plan_of
from modelhandoff.rollout.measure import Stage
from modelhandoff.rollout.snapshot import AttemptView, HandoffView, Snapshot, WorkloadView
from tests.builders import spec as written
from tests.unit.rollout.model import Model

BEGIN = datetime(2026, 1, 1, 3, 0, tzinfo=UTC)
EDGES = (0.01, 0.02, 0.03, 0.05, float("inf"))
SHARES = (0.6, 0.2, 0.155, 0.03, 0.015)


def rules(metrics: list[dict[str, Any]] | None = None, **monitoring: Any) -> ModelHandoffSpec:
    wanted = metrics or [
        {"name": "errors", "type": "ErrorRate", "max": 0.05},
        {"name": "latency", "type": "Latency", "quantile": 0.95, "budget": "30ms"},
    ]
    return resolve(written(monitoring={"interval": "30s", "metrics": wanted, **monitoring}))


SPEC = rules()


def workload(name: str = "fraud-old", *, managed: bool = True, uid: str = "u1") -> WorkloadView:
    return WorkloadView(
        name, uid, "1", name[-3:], "", "1.0", stable=managed, owned=False, managed=managed,
        deleting=False, desired=1, ready=1, observed=True, promoted_at=BEGIN,
    )  # fmt: skip


def view(ordinal: int, state: AttemptState, spec: ModelHandoffSpec = SPEC, **more: Any) -> Any:
    base = AttemptView(
        name=f"a{ordinal}", uid=f"uid-{ordinal}", resource_version="1", handoff_uid="h",
        ordinal=ordinal, kind="Rollout", bundle="v1-b", revision=f"v1-{ordinal:064x}", spec=spec,
        status=json.loads(json.dumps(state.to_status())),
    )  # fmt: skip
    return dataclasses.replace(base, **more)


def context(
    *attempts: Any, baseline: WorkloadView | None = None, now: datetime = BEGIN, adopt: str = ""
) -> Context:
    serving = baseline or workload()
    if adopt:
        reference = written(baseline={"workloadRef": {"kind": "Deployment", "name": adopt}})
        adopted = resolve({**reference, "monitoring": written()["monitoring"]})
        last = dataclasses.replace(attempts[-1], spec=adopted)
        attempts = (*attempts[:-1], last)
    handoff = HandoffView("fraud", "payments", "h", 1, "1", {}, SPEC)
    return Context(Snapshot(now, handoff, tuple(attempts), {serving.name: serving}))


class World:
    """Two versions under the same traffic; seeded per rollout."""

    def __init__(self, seed: int, errors: float = 0.005, requests: float = 60_000.0) -> None:
        self._rng = np.random.default_rng(seed)
        self._errors, self._sizes = errors, (requests * 0.1, requests * 0.9)

    def interval(self, index: int, edges: tuple[float, ...] = EDGES) -> Interval:
        arms = []
        for size, rate in zip(self._sizes, (self._errors, 0.005), strict=True):
            slow = np.cumsum(self._rng.multinomial(int(size), SHARES))[-len(edges) :]
            arms.append(((float(self._rng.binomial(int(size), rate)), size), slow.tolist()))
        start = BEGIN.timestamp() + 30.0 * index
        return Interval(
            index, start, start + 30.0, 0, 10, self._sizes,
            {
                "errors": Rate(arms[0][0], arms[1][0]),
                "latency": Histogram(edges, tuple(arms[0][1]), tuple(arms[1][1])),
            },
        )  # fmt: skip


def fresh() -> AttemptState:
    stage = (Stage(BEGIN.timestamp(), 0, 10),)
    return AttemptState(step=0, step_since=BEGIN, first_weight_at=BEGIN, stages=stage)


def rollout(
    world: World, history: str, looks: int = 250, spec: ModelHandoffSpec = SPEC
) -> tuple[AttemptState, int | None]:
    """Play looks until harm is found: the state that is stored, and the look of the rollback."""
    state = fresh()
    for index in range(looks):
        got = judge_intervals(
            spec, state, (world.interval(index),), f"c{index}",
            BEGIN + timedelta(seconds=30 * index + 42), history=history,
        )  # fmt: skip
        state = state.but(
            evidence=got.evidence, history=got.history, cursor=got.cursor, looks=got.looks,
            step_looks=got.step_looks, step_requests=got.step_requests, last_data=got.last_data,
        )  # fmt: skip
        if got.verdict is not None and got.verdict.decision == "Rollback":
            return state, index + 1
    return state, None


@pytest.fixture(scope="module")
def first() -> AttemptState:
    """The first rollout, healthy, of two hours: promoted."""
    empty = inherited(context(view(1, fresh())))
    assert told(SPEC, empty) == (
        "Judged without baseline history: none is known from earlier rollouts."
    )
    state, harm = rollout(World(1), empty)
    assert harm is None
    return state.but(phase=Phase.PROMOTED)


def test_three_rollouts_the_second_is_decided_earlier(first: AttemptState) -> None:
    history = inherited(context(view(1, first), view(2, fresh())))
    assert told(SPEC, history) == (
        "Judged with 240 intervals of baseline history: errors, latency."
    ), told(SPEC, history)
    bad, sooner = rollout(World(2, errors=0.009), history)
    _, later = rollout(World(2, errors=0.009), "")
    assert sooner is not None
    assert later is not None
    assert sooner * 1.3 < later, (sooner, later)
    # The third knows both, also when the first attempt is gone and the second was rolled back.
    third = context(view(2, bad.but(phase=Phase.ROLLED_BACK)), view(3, fresh()))
    known = History.read(inherited(third))
    assert known is not None
    assert known.metrics["errors"].past.intervals == 250 + sooner
    healthy, harm = rollout(World(3), inherited(third))
    assert harm is None
    assert healthy.history == inherited(third)


def test_the_caution_of_first_use_stays(first: AttemptState) -> None:
    """History adds what it has seen and takes back the wide margin, nothing else."""
    history = inherited(context(view(1, first), view(2, fresh())))
    errors, latency = plan_of(SPEC, {}, history).metrics
    assert isinstance(errors, RatePlan)
    assert errors.history is not None
    assert errors.history.relative.aged
    assert errors.history.absolute.aged
    assert isinstance(latency, LatencyPlan)
    assert latency.edges
    assert all(h.relative is None or h.relative.aged for h in latency.history)


def test_an_attempt_that_ends_unjudged_hands_history_on(first: AttemptState) -> None:
    """No GPU, an abort, an edit: ten of them in a row, and the first attempt is long deleted."""
    newest = view(1, first)
    for ordinal in range(2, 12):
        ctx = context(newest, view(ordinal, AttemptState()))
        newest = view(ordinal, AttemptState(phase=Phase.ABORTED, history=handed_on(ctx)))
    direct = inherited(context(view(1, first), view(12, fresh())))
    assert inherited(context(newest, view(12, fresh()))) == direct


def test_asking_twice_and_judging_twice_change_nothing(first: AttemptState) -> None:
    ctx = context(view(1, first), view(2, fresh()))
    assert inherited(ctx) == inherited(ctx)
    world = World(4)
    interval = world.interval(0)
    once = judge_intervals(SPEC, fresh(), (interval,), "c", BEGIN, history=inherited(ctx))
    stored = fresh().but(evidence=once.evidence, history=once.history)
    again = judge_intervals(SPEC, stored, (interval,), "c", BEGIN, history="something else")
    assert (again.evidence, again.history) == (once.evidence, once.history)


def test_a_checkpoint_without_history_is_continued_without() -> None:
    """An attempt that an earlier version of the operator began."""
    world = World(5)
    before = judge_intervals(SPEC, fresh(), (world.interval(0),), "c0", BEGIN)
    assert before.history == ""
    stored = AttemptState.from_status({**fresh().to_status(), "evidence": before.evidence})
    after = judge_intervals(SPEC, stored, (world.interval(1),), "c1", BEGIN, history="{}")
    assert (after.looks, after.history) == (1, "")
    assert plan_of(SPEC, {}, "").hash == plan_of(SPEC, {}).hash


@pytest.mark.parametrize(
    "changed",
    [
        rules(interval="60s"),
        rules(source="other"),
        rules([{"name": "errors", "type": "ErrorRate", "max": 0.05, "server": "Triton"}]),
    ],
    ids=["interval", "source", "server"],
)
def test_counts_measured_otherwise_start_anew(
    first: AttemptState, changed: ModelHandoffSpec
) -> None:
    history = inherited(context(view(1, first), view(2, fresh(), changed)))
    assert plan_of(changed, {}, history).metrics == plan_of(changed, {}).metrics
    assert told(changed, history).endswith("it was measured in another way before.")


def test_another_limit_or_role_keeps_the_history(first: AttemptState) -> None:
    looser = rules([{"name": "errors", "type": "ErrorRate", "max": 0.1, "critical": True}])
    history = inherited(context(view(1, first), view(2, fresh(), looser)))
    made = plan_of(looser, {}, history).metrics[0]
    assert isinstance(made, RatePlan)
    assert made.history is not None


def test_a_replaced_baseline_starts_anew(first: AttemptState) -> None:
    adopted = workload("legacy", managed=False, uid="one")
    began = inherited(context(view(1, fresh()), baseline=adopted, adopt="legacy"))
    tried = first.but(phase=Phase.ROLLED_BACK, history=began)

    def told_with(baseline: WorkloadView) -> str:
        ctx = context(view(1, tried), view(2, fresh()), baseline=baseline, adopt="legacy")
        return told(SPEC, inherited(ctx))

    assert told_with(adopted).startswith("Judged with 240 intervals")
    other = workload("legacy", managed=False, uid="two")
    assert told_with(other).endswith("the baseline was replaced by another Deployment.")


def test_old_history_is_not_believed(first: AttemptState) -> None:
    late = BEGIN + timedelta(days=31)
    history = inherited(context(view(1, first), view(2, fresh()), now=late))
    assert "more than 30 days old" in told(SPEC, history)


def test_a_first_version_breaks_the_line(first: AttemptState) -> None:
    initial = view(2, AttemptState(phase=Phase.PROMOTED), kind="Initial")
    ctx = context(view(1, first), initial, view(3, fresh()))
    assert "none is known" in told(SPEC, inherited(ctx))


def test_edges_that_no_bucket_has_any_more_are_learned_anew(first: AttemptState) -> None:
    """Otherwise the metric would stay unknown for ever."""
    history = inherited(context(view(1, first), view(2, fresh())))
    coarse = (0.02, 0.03, float("inf"))
    world = World(6)
    kept = fitting(history, (world.interval(0, coarse),))
    errors, latency = plan_of(SPEC, {}, kept).metrics
    assert isinstance(latency, LatencyPlan)
    assert isinstance(errors, RatePlan)
    assert not latency.edges
    assert errors.history is not None
    assert fitting(history, (world.interval(0),)) == history
    assert "Without history (latency)" in told(SPEC, kept)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"v":2}', '{"v":1,"metrics":{"errors":{}}}'])
def test_what_cannot_be_read_is_no_history(text: str) -> None:
    assert History.read(text) is None
    assert plan_of(SPEC, {}, text).hash == plan_of(SPEC, {}).hash


def test_the_text_is_bounded() -> None:
    """Fifty latency metrics; whatever does not fit is judged without."""
    many = rules(
        [{"name": "errors", "type": "ErrorRate", "max": 0.05}]
        + [
            {"name": f"l{i}", "type": "Latency", "quantile": 0.95, "budget": "30ms"}
            for i in range(49)
        ]
    )
    world, looks = World(7), []
    for index in range(12):
        one = world.interval(index)
        copies = {f"l{i}": one.metrics["latency"] for i in range(49)}
        looks.append(dataclasses.replace(one, metrics={**one.metrics, **copies}))
    got = judge_intervals(many, fresh(), looks, "c", BEGIN)
    done = fresh().but(evidence=got.evidence, phase=Phase.PROMOTED)
    text = inherited(context(view(1, done, many), view(2, fresh(), many)))
    known = History.read(text)
    assert len(text) < 65_000
    assert known is not None
    assert len(known.metrics) > 10


class Judged(Model):
    """A world whose metrics are judged by the engine, under made-up healthy traffic."""

    def collected(self, *, fresh: bool = False) -> Collected | None:
        ctx = Context(self.snapshot())
        state = ctx.state
        if ctx.attempt is None or not state.stages or state.verdict is not None:
            return None
        if not fresh:
            return judge_again(ctx.spec, state, self.now)
        index = int(self.now.timestamp() // 30)
        one = World(index).interval(index)
        scores = Bins((60.0, 30.0, 10.0), (600.0, 300.0, 100.0))
        one = dataclasses.replace(
            one, step=state.step, weight=state.weight, metrics={**one.metrics, "scores": scores}
        )
        return judge_intervals(
            ctx.spec, state, (one,), f"c{index}", self.now,
            history="" if state.evidence else inherited(ctx),
        )  # fmt: skip


def test_status_says_what_a_rollout_is_judged_with_and_the_next_one_finds_it() -> None:
    world = Judged()
    world.promoted()

    def started(version: str) -> None:
        world.edit(version)
        for _ in range(2):  # What is under way goes back first, and drains.
            world.run()
            world.pass_time(seconds=30)

    def rollout(version: str) -> str:
        started(version)
        for _ in range(3):
            world.look()
        told = next(c for c in world.status["conditions"] if c["type"] == "MetricsAvailable")
        assert [e.what for e in world.state.timeline].count(told["message"]) == 1
        message: str = told["message"]
        return message

    assert rollout("2.0.0").startswith("Judged without baseline history: none is known")
    for _ in range(260):
        world.look()
    assert world.state.evidence
    assert rollout("3.0.0").startswith("Judged with 2"), "it superseded the first one"
    # The next two never come to be judged; then the only one that was judged is deleted.
    judged = world.attempt
    for version in ("4.0.0", "5.0.0"):
        started(version)
        world.annotations["modelhandoff.dev/abort"] = world.attempt.name
        world.run()
        assert (world.state.evidence, bool(world.state.history)) == ("", True)
    for name in [name for name, one in world.attempts.items() if one.ordinal <= judged.ordinal]:
        del world.attempts[name]
    assert rollout("6.0.0").startswith("Judged with 2")
