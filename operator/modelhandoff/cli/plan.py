"""``modelhandoff plan``: how long each proof takes, what would be noticed, what can never pass."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from modelhandoff.analysis import Plan
    from modelhandoff.analysis.forecast import MetricForecast
    from modelhandoff.analysis.planner import Needs
    from modelhandoff.api.handoff import ModelHandoffSpec


@dataclass(frozen=True)
class _Outlook:
    """Everything the command found out, before it is printed."""

    made: Plan
    found: tuple[MetricForecast, ...]
    per_look: float
    rates: Mapping[str, float]
    never: tuple[str, ...]
    warnings: tuple[str, ...]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("plan")(plan)


def plan(  # noqa: PLR0917 - typer: one parameter per option
    handoff: Annotated[Path, typer.Argument(help="YAML file with the ModelHandoff.")],
    traffic: Annotated[str, typer.Option(help="Requests of both versions: 60/s, 3600/min.")],
    rate: Annotated[
        list[str] | None,
        typer.Option(help="NAME=RATE: the baseline's rate; half of the limit when not given."),
    ] = None,
    edges: Annotated[
        list[str] | None,
        typer.Option(help="NAME=10ms,30ms: bucket edges of a latency metric's histogram."),
    ] = None,
    bins: Annotated[int, typer.Option(min=2, max=64, help="Bins of the drift histograms.")] = 20,
    policy: Annotated[Path | None, typer.Option(help="YAML file with the HandoffPolicy.")] = None,
    output: Annotated[str, typer.Option("-o", "--output", help="text or json.")] = "text",
) -> None:
    """Say before anyone starts what each proof takes and which rules can never pass.

    Offline: no cluster, no metrics. Exit status 1 when a rule can never pass.
    """
    from modelhandoff.analysis.forecast import forecast, warnings
    from modelhandoff.cli import inputs

    if output not in ("text", "json"):
        inputs.refuse([f"--output: not a format; got {output}; allowed text, json"])
    spec = inputs.load_handoff(handoff, policy)
    names = [metric.name for metric in spec.monitoring.metrics]
    per_look = inputs.traffic(traffic) * spec.monitoring.interval.total_seconds()
    rates = inputs.baseline_rates(
        spec.monitoring.metrics, inputs.pairs(rate or [], "--rate", names), "--rate"
    )
    known = {
        name: inputs.numbers(text, f"--edges {name}")
        for name, text in inputs.pairs(edges or [], "--edges", names).items()
    }
    made = inputs.made_plan(spec, bins)
    found = forecast(made, per_look, rates)
    never = _never(spec, made, found, per_look, known)
    told = tuple(
        line
        for line in warnings(made, per_look, rates, known)
        if not any(line.startswith(one.split(": ")[0]) for one in never)
    ) + tuple(_unread(spec, known))
    outlook = _Outlook(made, found, per_look, rates, never=tuple(never), warnings=told)
    if output == "json":
        typer.echo(json.dumps(_json(outlook), indent=2))
    else:
        _print(outlook)
    if never:
        raise typer.Exit(1)


def _never(
    spec: ModelHandoffSpec,
    made: Plan,
    found: tuple[MetricForecast, ...],
    per_look: float,
    edges: Mapping[str, tuple[float, ...]],
) -> list[str]:
    """What can never pass, by name."""
    from modelhandoff.analysis import DriftPlan, LatencyPlan, Role, wording
    from modelhandoff.analysis.drift import PER_BIN, bias_floor

    out: list[str] = []
    decision, steps = spec.rollout.decision, spec.rollout.steps
    interval = made.interval_seconds
    longest = decision.max_duration.total_seconds()
    looks = longest / interval
    asked = made.min_looks * len(steps)
    if asked > looks:
        out.append(
            f"steps: {len(steps)} steps of at least minLooks {made.min_looks} take "
            f"{wording.duration(asked * interval)}, maxDuration is {wording.duration(longest)}"
        )
    for at, step in enumerate(steps):
        seen = per_look * looks * step.weight / 100.0
        if step.min_samples > seen:
            out.append(
                f"steps[{at}].minSamples: {wording.count(step.min_samples)} requests at "
                f"{step.weight} % take longer than maxDuration {wording.duration(longest)}, which "
                f"brings about {wording.count(seen)}"
            )
    most = per_look * max((s.weight for s in steps), default=0) / 100.0 * looks
    for at, metric in enumerate(made.metrics):
        where = f"metrics[{at}] ({metric.name})"
        proves = metric.role in (Role.Guardrail, Role.Success)
        if isinstance(metric, DriftPlan):
            judged = max(f.judged for f in metric.features)
            floor = bias_floor(judged, max(most, 1.0))
            if metric.max_kl < floor:
                out.append(
                    f"{where}: maxKL {metric.max_kl:g} lies below the bias floor {floor:.2g} of "
                    f"{judged} bins with all requests until maxDuration; use fewer bins"
                )
            elif most < PER_BIN * judged:
                out.append(
                    f"{where}: {judged} bins need {PER_BIN * judged:.0f} observations, maxDuration "
                    f"brings about {wording.count(most)}"
                )
        elif isinstance(metric, LatencyPlan) and metric.budget is not None:
            borders = edges.get(metric.name)
            told = wording.latency(metric.budget, metric.unit)
            if borders and metric.budget > borders[-1]:
                out.append(
                    f"{where}: the budget {told} lies above the last bucket edge "
                    f"{wording.latency(borders[-1], metric.unit)}; add a bucket edge at {told}"
                )
            elif borders and metric.budget < borders[0] and proves:
                out.append(
                    f"{where}: the budget {told} lies below the first bucket edge "
                    f"{wording.latency(borders[0], metric.unit)}; add a bucket edge at {told}"
                )
        need = found[at].safe_half
        if need is not None and not need.possible:
            out.append(f"{where}: safety can never be proven at the assumed rate of the baseline")
        elif need is not None and need.looks > looks:
            out.append(
                f"{where}: the proof takes about {wording.duration(need.seconds)} even with good "
                f"luck, maxDuration is {wording.duration(longest)}; raise maxDuration, the weight "
                "or the limit"
            )
    return out


def _unread(spec: ModelHandoffSpec, edges: Mapping[str, tuple[float, ...]]) -> list[str]:
    """Latency metrics whose histogram's edges this command cannot know."""
    from modelhandoff.api.monitoring import MetricType, ServerKind

    out = []
    for at, metric in enumerate(spec.monitoring.metrics):
        foreign = metric.histogram is not None or metric.server not in (
            None,
            ServerKind.MODEL_HANDOFF,
        )
        if metric.type is MetricType.LATENCY and foreign and metric.name not in edges:
            out.append(
                f"metrics[{at}] ({metric.name}): whether the budget is a bucket edge of that "
                f"histogram is not known here; pass --edges {metric.name}=..."
            )
    return out


def _need(need: Needs | None) -> dict[str, float] | None:
    if need is None or not math.isfinite(need.looks):
        return None
    return {"looks": need.looks, "requests": need.requests, "seconds": need.seconds}


def _json(out: _Outlook) -> dict[str, Any]:
    return {
        "requestsPerLook": out.per_look,
        "plannedLooks": out.made.planned_looks,
        "intervalSeconds": out.made.interval_seconds,
        "metrics": [
            {
                "name": one.name,
                "assumedRate": out.rates.get(one.name),
                "safeAt50": _need(one.safe_half),
                "safeAt80": _need(one.safe_most),
                "detectable": one.detectable
                if one.detectable is not None and math.isfinite(one.detectable)
                else None,
                "sentence": one.sentence,
            }
            for one in out.found
        ],
        "neverPasses": list(out.never),
        "warnings": list(out.warnings),
    }


def _print(out: _Outlook) -> None:
    from rich.console import Console
    from rich.table import Table

    from modelhandoff.analysis import wording
    from modelhandoff.analysis.plan import DriftPlan

    below = [w for w in out.made.steps if 0 < w < 100]
    mean = sum(below) / len(below)
    run = wording.duration(out.made.planned_looks * out.made.interval_seconds)
    console = Console(soft_wrap=False)
    console.print(
        f"{wording.count(out.per_look)} requests per look of {out.made.interval_seconds:g} s, "
        f"{mean:.0f} % to the candidate on average, planned run {out.made.planned_looks} looks "
        f"({run}); every step lasts at least {out.made.min_looks} looks.",
        highlight=False,
    )
    table = Table(
        "metric", "assumed rate", "proven safe, 50 %", "80 %", "noticed in the planned run"
    )
    for one, metric in zip(out.found, out.made.metrics, strict=True):
        rate = out.rates.get(one.name)
        seen = "-"
        if one.detectable is not None:
            size = f"KL {one.detectable:.2g}" if isinstance(metric, DriftPlan) else (
                f"x {one.detectable:.3g} of the baseline"
            )  # fmt: skip
            seen = size if math.isfinite(one.detectable) else "nothing"
        table.add_row(
            one.name, "-" if rate is None else wording.percent(rate),
            _cell(one.safe_half), _cell(one.safe_most), seen,
        )  # fmt: skip
    console.print(table)
    for one in out.found:
        console.print(one.sentence, highlight=False)
    console.print(
        "First use: without history of the baseline; with history proofs come somewhat earlier. "
        "Looking more often or longer costs nothing: the verdict stays valid.",
        highlight=False,
    )
    for line in out.warnings:
        console.print(f"warning: {line}", style="yellow", highlight=False, soft_wrap=True)
    for line in out.never:
        console.print(f"never passes: {line}", style="red", highlight=False, soft_wrap=True)


def _cell(need: Needs | None) -> str:
    from modelhandoff.analysis import wording

    if need is None:
        return "-"
    if not math.isfinite(need.looks):
        return "never"
    return (
        f"{need.looks:.0f} looks, {wording.duration(need.seconds)}, "
        f"{wording.count(need.requests)} requests"
    )
