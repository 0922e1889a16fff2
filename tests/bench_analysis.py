"""What the judgement engine costs: ``python -m tests.bench_analysis``.

Times are processor time of one core, the best of several passes (the least disturbed one), with the
median beside it where named; a pass does for each handoff what the operator does when an interval
has closed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from modelhandoff.analysis import (
    CountPlan,
    DriftPlan,
    Evidence,
    Feature,
    Interval,
    LatencyPlan,
    MeanPlan,
    MetricPlan,
    Plan,
    Progress,
    RatePlan,
    judge,
    observe,
    observe_all,
)
from modelhandoff.analysis.synthetic import (
    CountTruth,
    DriftTruth,
    LatencyTruth,
    MeanTruth,
    RateTruth,
    Scenario,
    Traffic,
    Truth,
)

EDGES = (0.005, 0.01, 0.02, 0.025, 0.03, 0.04, 0.05, 0.1, math.inf)
WARM = 60
PROGRESS = Progress(step_looks=WARM, step_requests=36_000.0)

KINDS: dict[str, tuple[MetricPlan, Truth]] = {
    "rate, against the baseline": (RatePlan("m"), RateTruth(0.005, 0.005)),
    "rate, with a limit too": (RatePlan("m", limit=0.01), RateTruth(0.005, 0.005)),
    "latency": (LatencyPlan("m", 0.95, budget=0.03), LatencyTruth(0.95, 0.027, 0.027, EDGES)),
    "drift, 20 bins": (DriftPlan("m", (Feature("m", 20),)), DriftTruth(20, 0.0)),
    "mean": (MeanPlan("m"), MeanTruth(0.0)),
    "count": (CountPlan("m"), CountTruth(0.0)),
}
TYPICAL = (
    "rate, with a limit too", "rate, against the baseline", "latency", "latency", "drift, 20 bins",
    "mean",
)  # fmt: skip
RATES = ("rate, with a limit too",) * 6


@dataclass(frozen=True)
class Case:
    """A plan, warm evidence and the intervals to come."""

    plan: Plan
    evidence: Evidence
    coming: list[Interval]


def named(kinds: tuple[str, ...]) -> tuple[tuple[MetricPlan, ...], dict[str, Truth]]:
    """Metrics m0, m1, ... of these kinds, and what is true of them."""
    metrics, truths = [], {}
    for at, kind in enumerate(kinds):
        metric, truth = KINDS[kind]
        features = {"features": (Feature(f"m{at}", 20),)} if isinstance(metric, DriftPlan) else {}
        metrics.append(replace(metric, name=f"m{at}", **features))
        truths[f"m{at}"] = truth
    return tuple(metrics), truths


def case(kinds: tuple[str, ...], seed: int, coming: int = 12) -> Case:
    """Evidence after 60 looks of 6,000 requests."""
    metrics, truths = named(kinds)
    plan = Plan(metrics=metrics)
    looks = WARM + coming
    traffic = Traffic(Scenario(6000.0, truths), np.random.default_rng(seed), looks)
    intervals = [traffic.interval(look, 0, 10) for look in range(1, looks + 1)]
    evidence = Evidence.start(plan)
    for one in intervals[:WARM]:
        evidence = observe(plan, evidence, one)
    return Case(plan, evidence, intervals[WARM:])


def best(work: Callable[[], object], passes: int) -> tuple[float, float]:
    """(least, median) processor seconds of one pass."""
    took = []
    for _ in range(passes):
        begin = time.process_time()
        work()
        took.append(time.process_time() - begin)
    return min(took), statistics.median(took)


def looks(one: Case, *, judged: bool, stored: bool = False) -> float:
    """Seconds per look over the coming intervals."""

    def work() -> None:
        evidence = one.evidence
        for interval in one.coming:
            if stored:
                text = json.dumps(evidence.to_json(), separators=(",", ":"))
                evidence = Evidence.from_json(one.plan, json.loads(text))
            evidence = observe(one.plan, evidence, interval)
            if judged:
                judge(one.plan, evidence, PROGRESS)

    return best(work, 15)[0] / len(one.coming)


def checkpoint(one: Case) -> tuple[float, float]:
    """Seconds to write and to read one checkpoint, JSON included."""
    text = json.dumps(one.evidence.to_json(), separators=(",", ":"))

    def write() -> None:
        json.dumps(one.evidence.to_json(), separators=(",", ":"))

    def read() -> None:
        Evidence.from_json(one.plan, json.loads(text))

    return best(write, 60)[0], best(read, 60)[0]


def fleet(kinds: tuple[str, ...], handoffs: int, *, judged: bool) -> tuple[float, float]:
    """(least, median) seconds of one pass over many handoffs."""
    made = [case(kinds, seed, coming=1) for seed in range(min(handoffs, 20))]
    cases = [made[i % len(made)] for i in range(handoffs)]

    def work() -> None:
        for one in cases:
            evidence = observe(one.plan, one.evidence, one.coming[0])
            if judged:
                judge(one.plan, evidence, PROGRESS)

    return best(work, 5)


def abreast(kinds: tuple[str, ...], handoffs: int) -> tuple[float, float]:
    """(least, median) seconds to take in one look of many handoffs, 64 at once."""
    made = [case(kinds, seed, coming=1) for seed in range(min(handoffs, 20))]
    looks = [(one.evidence, one.coming[0]) for one in made]
    all_looks = [looks[i % len(looks)] for i in range(handoffs)]

    def work() -> None:
        for at in range(0, handoffs, 64):
            observe_all(all_looks[at : at + 64])

    return best(work, 5)


def main() -> None:
    """Print the figures as Markdown tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench_analysis", description=__doc__)
    parser.add_argument("--handoffs", type=int, default=1000)
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"Python {platform.python_version()}, numpy {np.__version__}, load average {load:.1f}.\n")
    print("| one metric | observe | and judge | and checkpoint read and written | checkpoint |")
    print("|---|---|---|---|---|")
    for kind in KINDS:
        one = case((kind,), 1)
        size = len(json.dumps(one.evidence.to_json(), separators=(",", ":")))
        figures = [
            looks(one, judged=False), looks(one, judged=True), looks(one, judged=True, stored=True)
        ]  # fmt: skip
        cells = " | ".join(f"{1e6 * f:.0f} us" for f in figures)
        print(f"| {kind} | {cells} | {size / 1000:.1f} kB |")
    print("\n| six metrics | observe | and judge | per look and metric | checkpoint |")
    print("|---|---|---|---|---|")
    for name, kinds in (("six rates", RATES), ("two rates, two latencies, drift, mean", TYPICAL)):
        one = case(kinds, 1)
        size = len(json.dumps(one.evidence.to_json(), separators=(",", ":")))
        seen, told = looks(one, judged=False), looks(one, judged=True)
        print(f"| {name} | {1e6 * seen:.0f} us | {1e6 * told:.0f} us | "
              f"{1e6 * seen / 6:.0f} us ({1e6 * told / 6:.0f} us judged) | "
              f"{size / 1000:.1f} kB |")  # fmt: skip
    print("\n| checkpoint of six metrics | written | read |")
    print("|---|---|---|")
    for name, kinds in (("six rates", RATES), ("two rates, two latencies, drift, mean", TYPICAL)):
        written, read = checkpoint(case(kinds, 1))
        print(f"| {name} | {1e6 * written:.0f} us | {1e6 * read:.0f} us |")
    print(f"\n| {asked.handoffs:,} handoffs x 6 metrics | observe together | alone | and judge |")
    print("|---|---|---|---|")
    for name, kinds in (("six rates", RATES), ("two rates, two latencies, drift, mean", TYPICAL)):
        cells = " | ".join(
            f"{1e3 * low:,.0f} ms (median {1e3 * middle:,.0f})"
            for low, middle in (
                abreast(kinds, asked.handoffs),
                fleet(kinds, asked.handoffs, judged=False),
                fleet(kinds, asked.handoffs, judged=True),
            )
        )
        print(f"| {name} | {cells} |")


if __name__ == "__main__":
    main()
