"""``modelhandoff judge FILE``: recorded intervals through the code that the operator runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from modelhandoff.analysis import Interval, Plan, Verdict
    from modelhandoff.api.handoff import ModelHandoffSpec

MAX_RECORDING: Final = 512 * 1024 * 1024
LAST_SECOND: Final = 253_402_300_799.0
"""31 December 9999, the last day that can be written as a date."""


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("judge")(judge)


def judge(
    file: Annotated[Path, typer.Argument(help="Recorded intervals, one JSON object per line.")],
    handoff: Annotated[
        Path | None,
        typer.Option(help="ModelHandoff whose rules judge; else the plan in the first line."),
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="YAML file with the HandoffPolicy.")] = None,
) -> None:
    """Judge recorded intervals and print one verdict per look as JSON lines.

    The format is docs/schema/interval.schema.json. With a malformed line nothing is judged. The
    operator latches its first Promote or Rollback; lines after it carry it as "decided".
    """
    from modelhandoff.cli import inputs

    spec = inputs.load_handoff(handoff, policy) if handoff is not None else None
    if spec is not None:
        inputs.made_plan(spec, bins=20)  # refuses by name what the engine cannot judge
    plan, intervals = _read(file, needs_plan=spec is None)
    looks = _by_handoff(spec, intervals) if spec is not None else _by_plan(plan, intervals)
    decided: dict[str, Any] | None = None
    for interval, verdict in looks:
        line: dict[str, Any] = {
            "index": interval.index,
            "at": datetime.fromtimestamp(interval.end, UTC).isoformat(),
        }
        if verdict is None:
            line |= {"decision": None, "message": "The drift bins are not fixed yet."}
        else:
            line |= verdict.to_json()
        if decided is not None:
            line["decided"] = decided
        elif verdict is not None and verdict.decision in ("Promote", "Rollback"):
            decided = {"decision": str(verdict.decision), "index": interval.index}
        typer.echo(json.dumps(line, allow_nan=False))


def _read(file: Path, *, needs_plan: bool) -> tuple[Plan | None, list[Interval]]:
    """Plan and intervals of a recording; the first thing that is wrong ends the command."""
    from modelhandoff.analysis import Interval, WireError
    from modelhandoff.analysis.wire import keys, number
    from modelhandoff.cli import inputs

    plan: Plan | None = None
    out: list[Interval] = []
    what = "recorded intervals, one JSON object per line"
    text = inputs.read_text(file, what, max_bytes=MAX_RECORDING)
    for at, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = _json(line)
            if isinstance(value, dict) and "plan" in value:
                if out or plan is not None:
                    raise WireError("plan", "a plan in the first line only", "a second one")
                plan = _plan(keys(value, "", ("plan",))["plan"])
                continue
            interval = Interval.from_json(value)
            number(interval.start, "start", 0.0, LAST_SECOND)
            number(interval.end, "end", 0.0, LAST_SECOND)
            if out and interval.index <= out[-1].index:
                raise WireError("index", f"an index above {out[-1].index}", interval.index)
            if out and interval.start < out[-1].end:
                raise WireError("start", f"a start at or after {out[-1].end:g}", interval.start)
            out.append(interval)
        except WireError as wrong:
            inputs.refuse([f"{file}:{at}: {wrong}"])
    if needs_plan and plan is None:
        first = 'a first line {"plan": {...}}, or --handoff'
        inputs.refuse([f"{file}:1: plan: expected {first}; got nothing"])
    if not out:
        inputs.refuse([f"{file}:1: value: expected at least one interval; got nothing"])
    return plan, out


def _json(line: str) -> object:
    from modelhandoff.analysis import WireError

    try:
        return json.loads(line, object_pairs_hook=_each_key_once)
    except WireError:
        raise
    except ValueError as failure:
        place = f" at column {failure.colno}" if isinstance(failure, json.JSONDecodeError) else ""
        raise WireError("value", f"one JSON object per line{place}", line) from None
    except RecursionError:
        raise WireError("value", "a JSON object without deep nesting", line) from None


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    from modelhandoff.analysis import WireError

    out: dict[str, Any] = {}
    for key, value in pairs:
        if key in out:
            raise WireError(key, "each key once", "a second one")
        out[key] = value
    return out


def _plan(value: object) -> Plan:
    from modelhandoff.analysis import Plan, WireError

    try:
        return Plan.from_json(value)
    except WireError as wrong:
        from modelhandoff.analysis.wire import Raw

        raise WireError(f"plan.{wrong.path}", wrong.expected, Raw(wrong.got)) from None


def _by_plan(
    plan: Plan | None, intervals: list[Interval]
) -> Iterator[tuple[Interval, Verdict | None]]:
    from modelhandoff.analysis.replay import Replay

    assert plan is not None
    replay = Replay(plan)
    for interval in intervals:
        yield interval, replay.look(interval)


def _by_handoff(
    spec: ModelHandoffSpec, intervals: list[Interval]
) -> Iterator[tuple[Interval, Verdict | None]]:
    """Through :func:`rollout.judging.judge_intervals`, one closed interval per pass."""
    from modelhandoff.rollout.attempt import AttemptState
    from modelhandoff.rollout.judging import judge_intervals
    from modelhandoff.rollout.measure import Stage

    begin = intervals[0].start
    state = AttemptState(first_weight_at=_moment(begin), last_data=begin)
    for interval in intervals:
        if interval.step != state.step or interval.weight != state.weight:
            stage = Stage(interval.start, interval.step, interval.weight)
            state = state.but(stages=(*state.stages, stage))
        if interval.step != state.step:
            state = state.but(
                step=interval.step,
                step_since=_moment(interval.start),
                step_looks=0,
                step_requests=0.0,
            )
        found = judge_intervals(spec, state, (interval,), "", _moment(interval.end))
        yield interval, found.verdict
        state = state.but(
            evidence=found.evidence,
            bins=found.bins,
            looks=found.looks,
            step_looks=found.step_looks,
            step_requests=found.step_requests,
            last_data=found.last_data,
        )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
