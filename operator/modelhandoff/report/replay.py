"""The questions to Prometheus that anyone can ask again, with the time range in the text.

Two forms. The raw selector is the one the operator sends (:func:`metrics.queries.selector`): it
counts raw samples scrape by scrape. The sums per metric are what a person pastes into Prometheus;
``increase`` extrapolates to the ends of the window, so they come close to what was counted.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from modelhandoff.analysis import wording
from modelhandoff.api import names
from modelhandoff.api.monitoring import Metric
from modelhandoff.metrics.families import Bucketed, Pick, Where
from modelhandoff.metrics.queries import Scope, selector
from modelhandoff.metrics.reads import Additive, Binned, Moment, Recipe, Total, quoted, reads
from modelhandoff.metrics.samples import Labels
from modelhandoff.report.export import Export

_REGEX = frozenset("\\.+*?()[]{}|^$")


@dataclass(frozen=True, slots=True)
class Question:
    """Queries of one metric, one per line, with comments; ``about`` says what they return."""

    metric: str
    about: str
    text: str


@dataclass(frozen=True, slots=True)
class Replay:
    """Everything to ask again.

    Attributes:
        start, end: of the evidence, Unix seconds.
        arms: (name of the arm, Deployment).
        questions: per metric, in the order of the spec.
        raw: the operator's own selector as a ``curl`` command.
        refused: per metric that cannot be read, why.
    """

    start: float
    end: float
    arms: tuple[tuple[str, str], ...]
    questions: tuple[Question, ...]
    raw: str
    refused: tuple[tuple[str, str], ...]


def replay(export: Export, end: float | None) -> Replay | None:
    """The questions of an attempt; ``None`` when nothing was measured.

    ``end`` is where the evidence ends; without it the verdict's time is taken.
    """
    attempt = export.attempt
    state = attempt.state
    if not state.stages:
        return None
    start = state.stages[0].start
    if end is None:
        end = state.verdict.at.timestamp() if state.verdict else state.last_data
    end = max(math.ceil(end), math.floor(start) + 1)
    arms = [("candidate", attempt.workload)]
    if export.baseline is not None:
        arms.append(("baseline", export.baseline))
    found = reads(attempt.spec.monitoring.metrics)
    time = _Time(math.ceil(end - start), end)
    questions = []
    for metric in attempt.spec.monitoring.metrics:
        recipe = found.recipes.get(metric.name)
        if recipe is not None:
            about, lines = _asked(metric, recipe, _Arms(attempt.namespace, tuple(arms), time))
            questions.append(Question(metric.name, about, "\n".join(lines)))
    raw = selector(
        found.builtin, None, [Scope(attempt.namespace, tuple(sorted(name for _, name in arms)))],
        Labels(), 1000 * time.length,
    ) if found.builtin else ""  # fmt: skip
    return Replay(
        start=start,
        end=float(end),
        arms=tuple(arms),
        questions=tuple(questions),
        raw=_curl(raw, end) if raw else "",
        refused=tuple(found.refused.items()),
    )


def _curl(query: str, end: int) -> str:
    return (
        'curl -sG "$PROMETHEUS/api/v1/query" \\\n'
        f"  --data-urlencode {shlex.quote('query=' + query)} \\\n"
        f"  --data-urlencode time={end}"
    )


@dataclass(frozen=True, slots=True)
class _Time:
    length: int
    end: int

    def __str__(self) -> str:
        return f"[{self.length}s] @ {self.end}"


@dataclass(frozen=True, slots=True)
class _Arms:
    namespace: str
    arms: tuple[tuple[str, str], ...]
    time: _Time

    def each(self, query: str) -> list[str]:
        """One query per arm; ``<pods>`` stands for the matchers of its pods."""
        out = []
        for role, workload in self.arms:
            pods = quoted(f"{_literal(names.pod_prefix(workload))}.+")
            where = f"namespace={quoted(self.namespace)},pod=~{pods}"
            out.append(f"# {role}: {workload}\n{query.replace(_PODS, where)}")
        return out

    def sum(self, picks: Iterable[Pick], extra: str = "", by: str = "") -> str:
        terms = [f"sum{by}(increase({_series(pick, extra)}{self.time}))" for pick in picks]
        return " + ".join(terms)


_PODS = "\0"


def _asked(metric: Metric, recipe: Recipe, arms: _Arms) -> tuple[str, list[str]]:
    match recipe:
        case Additive(rated):
            bad, every = arms.sum(rated.events), arms.sum(rated.trials)
            return "Share of requests.", arms.each(f"(({bad}) or vector(0)) / ({every})")
        case Total(picks):
            return "Events.", arms.each(arms.sum(picks))
        case Moment(count, total, _):
            return (
                "Mean value; where values can be negative, only the raw samples tell.",
                arms.each(f"{arms.sum([total])} / {arms.sum([count])}"),
            )
        case Binned(drift=True):
            one = recipe.alternatives[0].buckets
            by = f" by (le{', ' + recipe.split if recipe.split else ''}) "
            only = f"{recipe.split}={quoted(recipe.only)}" if recipe.only and recipe.split else ""
            return (
                "Cumulative counts per bin.",
                arms.each(arms.sum([one], only, by)),
            )
        case Binned():
            return _latency(metric, recipe.alternatives, arms)


def _latency(
    metric: Metric, alternatives: tuple[Bucketed, ...], arms: _Arms
) -> tuple[str, list[str]]:
    lines = []
    budget = metric.budget.total_seconds() if metric.budget else 0.0
    for one in alternatives:
        within = arms.sum([one.buckets], f"le=~{quoted(_edge(budget / one.scale))}")
        every = arms.sum([one.buckets], 'le="+Inf"')
        lines += arms.each(f"1 - ({within}) / ({every})")
    shown = wording.latency(budget, "s")
    also = " A server publishes one of these histograms." if len(alternatives) > 1 else ""
    return f"Share of requests over {shown}; {shown} must be a bucket edge.{also}", lines


def _edge(value: float) -> str:
    """A bucket edge as Prometheus 2 and 3 write it: ``1`` and ``1.0`` are the same edge."""
    text = f"{value:.12g}"
    whole = text.removesuffix(".0")
    return f"{whole}|{whole}\\.0" if whole.isdigit() else _literal(text)


def _series(pick: Pick, extra: str) -> str:
    name, _, rest = pick.name.partition("{")
    parts = [rest.removesuffix("}"), *(_where(one) for one in pick.where), extra, _PODS]
    return f"{name}{{{','.join(part for part in parts if part)}}}"


def _where(one: Where) -> str:
    patterns = []
    if one.begins:
        patterns.append(f"{_any(one.begins)}.*")
    if one.ends:
        patterns.append(f".*{_any(one.ends)}")
    return f"{one.label}=~{quoted('|'.join(patterns))}"


def _any(texts: tuple[str, ...]) -> str:
    found = "|".join(_literal(text) for text in texts)
    return f"(?:{found})" if len(texts) > 1 else found


def _literal(text: str) -> str:
    return "".join(f"\\{c}" if c in _REGEX else c for c in text)
