"""``modelhandoff simulate``: a handoff's rules against made-up traffic, many times over."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from modelhandoff.analysis.plan import Plan
    from modelhandoff.analysis.replay import Pace
    from modelhandoff.analysis.simulate import Ending
    from modelhandoff.analysis.synthetic import Scenario, Truth
    from modelhandoff.api.handoff import ModelHandoffSpec
    from modelhandoff.api.monitoring import Metric

OUTCOMES = ("Promote", "Rollback", "Inconclusive")
CHUNK = 5


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("simulate")(simulate)


@dataclass(frozen=True)
class Wishes:
    """What the options say about the candidate and the traffic, as texts."""

    errors: str | None
    baseline_errors: str | None
    p95: str | None
    baseline_p95: str | None
    drift: float
    mean: str
    drop: str
    bins: int


def simulate(  # noqa: PLR0917 - typer: one parameter per option
    handoff: Annotated[Path, typer.Argument(help="YAML file with the ModelHandoff.")],
    traffic: Annotated[str, typer.Option(help="Requests of both versions: 60/s, 3600/min.")],
    weight: Annotated[
        int | None, typer.Option(min=1, max=99, help="One weight instead of the steps' weights.")
    ] = None,
    errors: Annotated[
        str | None, typer.Option(help="The candidate's error rate (all rate metrics): 2%.")
    ] = None,
    baseline_errors: Annotated[
        str | None, typer.Option(help="The baseline's; half of the limit when not given.")
    ] = None,
    p95: Annotated[
        str | None, typer.Option(help="The candidate's latency at each metric's quantile: 36ms.")
    ] = None,
    baseline_p95: Annotated[
        str | None, typer.Option(help="The baseline's; 90 % of the budget when not given.")
    ] = None,
    drift: Annotated[
        float, typer.Option(min=0.0, max=3.0, help="KL divergence of the candidate's outputs.")
    ] = 0.0,
    mean: Annotated[str, typer.Option(help="Relative change of means: -10%.")] = "0%",
    drop: Annotated[str, typer.Option(help="Relative change of counts: -20%.")] = "0%",
    bursts: Annotated[float, typer.Option(min=1.0, max=1000.0, help="Mean size of a burst.")] = 1.0,
    noise: Annotated[
        float, typer.Option(min=0.0, max=2.0, help="sd of slow log-noise of each arm's rates.")
    ] = 0.0,
    rho: Annotated[
        float, typer.Option(min=0.0, max=0.99, help="Its correlation from look to look.")
    ] = 0.5,
    pods: Annotated[str, typer.Option(help="Pods of candidate and baseline: 3/27.")] = "1/1",
    pod_noise: Annotated[
        float, typer.Option(min=0.0, max=2.0, help="sd of fixed log effects of pods.")
    ] = 0.0,
    onset: Annotated[
        str | None, typer.Option(help="The candidate is like the baseline until then: 20m.")
    ] = None,
    max_duration: Annotated[
        str | None, typer.Option(help="End of each run; the handoff's maxDuration if not given.")
    ] = None,
    bins: Annotated[int, typer.Option(min=2, max=64, help="Bins of the drift histograms.")] = 20,
    runs: Annotated[int, typer.Option(min=1, max=100_000, help="Number of rollouts.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed; same seed, same answer.")] = 1,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes; all cores if not set.")
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="YAML file with the HandoffPolicy.")] = None,
    output: Annotated[str, typer.Option("-o", "--output", help="text or json.")] = "text",
) -> None:
    """Play the handoff's rollout against made-up traffic and count how it ends.

    Offline: no cluster, no metrics. Prints the chances to promote, to roll back and to stay
    inconclusive with their standard errors, and how long it takes.
    """
    from modelhandoff.analysis import WireError
    from modelhandoff.analysis.synthetic import Noise, Scenario
    from modelhandoff.cli import inputs

    if output not in ("text", "json"):
        inputs.refuse([f"--output: not a format; got {output}; allowed text, json"])
    spec = inputs.load_handoff(handoff, policy)
    plan = inputs.made_plan(spec, bins)
    interval = plan.interval_seconds
    if max_duration:
        longest = inputs.seconds(max_duration, "--max-duration")
    else:
        longest = spec.rollout.decision.max_duration.total_seconds()
    wishes = Wishes(
        errors, baseline_errors, p95, baseline_p95, drift=drift, mean=mean, drop=drop, bins=bins
    )
    try:
        scenario = Scenario(
            requests=inputs.traffic(traffic) * interval,
            truths=_truths(spec, wishes),
            noise=Noise(burst=bursts, arm_sd=noise, rho=rho, pods=_pods(pods), pod_sd=pod_noise),
            onset=round(inputs.seconds(onset, "--onset") / interval) if onset else 0,
            interval_seconds=interval,
        )
        job = _Job(plan=_weighted(plan, weight), scenario=scenario, paces=_paces(spec),
                   looks=max(1, round(longest / interval)))  # fmt: skip
    except WireError as wrong:
        inputs.refuse([wrong])
    found = _play(job, runs, seed, jobs or os.cpu_count() or 1)
    summary = _summary(job, found, seed)
    if output == "json":
        typer.echo(json.dumps(summary, indent=2))
    else:
        _print(summary)


@dataclass(frozen=True)
class _Job:
    """What every run has in common."""

    plan: Plan
    scenario: Scenario
    paces: tuple[Pace, ...]
    looks: int


def _weighted(plan: Plan, weight: int | None) -> Plan:
    from dataclasses import replace

    return plan if weight is None else replace(plan, steps=(weight,))


def _paces(spec: ModelHandoffSpec) -> tuple[Pace, ...]:
    from modelhandoff.analysis.replay import Pace

    return tuple(
        Pace(step.min_duration.total_seconds(), float(step.min_samples))
        for step in spec.rollout.steps
    )


def _pods(text: str) -> tuple[int, int]:
    from modelhandoff.cli import inputs

    left, _, right = text.partition("/")
    if not (left.isdecimal() and right.isdecimal() and 0 < int(left) < 10_000 > int(right) > 0):
        inputs.refuse([f"--pods: not two numbers of pods; got {text}; allowed 3/27"])
    return int(left), int(right)


def _truths(spec: ModelHandoffSpec, wishes: Wishes) -> dict[str, Truth]:
    return {metric.name: _truth(metric, wishes) for metric in spec.monitoring.metrics}


def _truth(metric: Metric, wishes: Wishes) -> Truth:
    from modelhandoff.analysis.synthetic import (
        CountTruth,
        DriftTruth,
        LatencyTruth,
        MeanTruth,
        RateTruth,
    )
    from modelhandoff.api.monitoring import RATE_TYPES, MetricType
    from modelhandoff.cli import inputs

    if metric.type in RATE_TYPES:
        base = (
            inputs.share(wishes.baseline_errors, "--baseline-errors")
            if wishes.baseline_errors
            else (metric.max or 0.0) / 2.0
        )
        own = inputs.share(wishes.errors, "--errors") if wishes.errors else base
        return RateTruth(base, own)
    if metric.type is MetricType.LATENCY and metric.quantile and metric.budget:
        budget = metric.budget.total_seconds()
        base = (
            inputs.seconds(wishes.baseline_p95, "--baseline-p95")
            if wishes.baseline_p95
            else 0.9 * budget
        )
        own = inputs.seconds(wishes.p95, "--p95") if wishes.p95 else base
        return LatencyTruth(metric.quantile, base, own, _edges(budget))
    if metric.type is MetricType.DRIFT:
        return DriftTruth(wishes.bins, wishes.drift)
    if metric.type is MetricType.MEAN:
        return MeanTruth(inputs.change(wishes.mean, "--mean"))
    return CountTruth(inputs.change(wishes.drop, "--drop"))


def _edges(budget: float) -> tuple[float, ...]:
    """Bucket edges around a budget, the budget among them."""
    factors = (0.1, 0.2, 0.3, 0.5, 0.65, 0.8, 1.0, 1.25, 1.6, 2.0, 3.0, 5.0, 10.0)
    return (*(round(budget * f, 12) for f in factors), math.inf)


def _play(job: _Job, number: int, seed: int, jobs: int) -> list[Ending]:
    """All runs, in the order of their seeds whatever the number of processes."""
    import numpy as np
    from rich.progress import Progress

    from modelhandoff.analysis.simulate import runs

    seeds = np.random.SeedSequence(seed).spawn(number)
    chunks = [seeds[i : i + CHUNK] for i in range(0, number, CHUNK)]
    with Progress(transient=True, console=_console()) as bar:
        task = bar.add_task("simulating", total=number)
        if jobs == 1 or len(chunks) == 1:
            out = []
            for chunk in chunks:
                out += runs(job.plan, job.scenario, chunk, paces=job.paces, looks=job.looks)
                bar.advance(task, len(chunk))
            return out
        found: dict[int, list[Ending]] = {}
        with ProcessPoolExecutor(min(jobs, len(chunks))) as pool:
            waiting = {
                pool.submit(
                    runs, job.plan, job.scenario, chunk, paces=job.paces, looks=job.looks
                ): at
                for at, chunk in enumerate(chunks)
            }
            for done in as_completed(waiting):
                found[waiting[done]] = done.result()
                bar.advance(task, len(found[waiting[done]]))
    return [one for at in range(len(chunks)) for one in found[at]]


def _console() -> Any:
    from rich.console import Console

    return Console(stderr=True)


def _summary(job: _Job, found: Sequence[Ending], seed: int) -> dict[str, Any]:
    number = len(found)
    outcomes = []
    for name in OUTCOMES:
        ended = sorted(one.look for one in found if one.decision == name)
        chance = len(ended) / number
        outcomes.append({
            "outcome": name,
            "runs": len(ended),
            "chance": chance,
            "standardError": math.sqrt(chance * (1.0 - chance) / number),
            "medianLooks": _quantile(ended, 0.5),
            "looks90": _quantile(ended, 0.9),
            "medianSeconds": _quantile(ended, 0.5) * job.plan.interval_seconds if ended else None,
        })  # fmt: skip
    late = sorted(
        one.look - job.scenario.onset
        for one in found
        if one.decision == "Rollback" and one.look > job.scenario.onset
    )
    reasons = Counter(f"{one.decision}: {one.reason}" for one in found)
    blame = Counter(name for one in found if one.decision == "Rollback" for name in one.blame)
    return {
        "runs": number,
        "seed": seed,
        "requestsPerLook": job.scenario.requests,
        "intervalSeconds": job.plan.interval_seconds,
        "maxLooks": job.looks,
        "onsetLook": job.scenario.onset,
        "outcomes": outcomes,
        "delayAfterOnset": {"medianLooks": _quantile(late, 0.5), "looks90": _quantile(late, 0.9)},
        "reasons": dict(reasons.most_common()),
        "blamed": dict(blame.most_common()),
    }


def _quantile(ordered: Sequence[int], q: float) -> Any:
    return ordered[min(len(ordered) - 1, math.ceil(q * len(ordered)) - 1)] if ordered else None


def _print(summary: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from modelhandoff.analysis import wording

    console = Console()
    console.print(
        f"{summary['runs']} rollouts, {wording.count(summary['requestsPerLook'])} requests per "
        f"look of {summary['intervalSeconds']:g} s, at most {summary['maxLooks']} looks, "
        f"seed {summary['seed']}.",
        highlight=False,
    )
    table = Table("outcome", "chance", "standard error", "median", "90 % end by")
    for one in summary["outcomes"]:
        certain = one["runs"] in (0, summary["runs"])
        error = (  # rule of three where every run ended alike
            f"< {min(300.0 / summary['runs'], 100.0):.2g} points at 95 %"
            if certain
            else f"{100.0 * one['standardError']:.1f} points"
        )
        median, most = (
            "-" if one[key] is None else
            f"{one[key]} looks, {wording.duration(one[key] * summary['intervalSeconds'])}"
            for key in ("medianLooks", "looks90")
        )  # fmt: skip
        table.add_row(one["outcome"], f"{100.0 * one['chance']:.1f} %", error, median, most)
    console.print(table)
    delay = summary["delayAfterOnset"]["medianLooks"]
    if summary["onsetLook"] and delay is not None:
        time = wording.duration(delay * summary["intervalSeconds"])
        console.print(f"Rolled back {delay} looks ({time}) after the onset, half of the time.",
                      highlight=False)  # fmt: skip
    if summary["blamed"]:
        told = ", ".join(f"{name} {number}x" for name, number in summary["blamed"].items())
        console.print(f"Blamed: {told}.", highlight=False)
    for reason, number in summary["reasons"].items():
        console.print(f"{number} x {reason}", highlight=False)
