"""From a handoff's metrics to what must be read and how it is added up.

Built-in servers are read by names alone; all tenants share those queries. A tenant's own series
are read by metric name and label matchers, one query per distinct pair, shared by all tenants
that wrote the same pair. Nobody writes PromQL.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from modelhandoff.api.monitoring import (
    DriftOf,
    HistogramSelector,
    LabelMatcher,
    Metric,
    MetricType,
    Selector,
    ServerKind,
    TimeUnit,
)
from modelhandoff.metrics.families import FAMILIES, Bucketed, Family, Pick, Rated

__all__ = [
    "Additive",
    "Binned",
    "Moment",
    "Reads",
    "Recipe",
    "Template",
    "Total",
    "matcher",
    "quoted",
    "reads",
]


@dataclass(frozen=True, slots=True)
class Template:
    """A tenant's own selection: a metric name, and conditions that Prometheus evaluates.

    ``conditions`` are ready PromQL matchers with quoted values.
    """

    name: str
    conditions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The selection as a person would write it, always with braces.

        Its counters are kept under this text instead of the metric's name, so that two
        selections of one metric, or one of a built-in metric, stay apart.
        """
        return f"{self.name}{{{','.join(self.conditions)}}}"


@dataclass(frozen=True, slots=True)
class Total:
    """A count: the sum of the picked counters."""

    picks: tuple[Pick, ...]


@dataclass(frozen=True, slots=True)
class Additive:
    """Events out of trials."""

    rated: Rated
    clipped: bool = False


@dataclass(frozen=True, slots=True)
class Binned:
    """A histogram; ``split`` names the label that tells several of them apart.

    ``drift`` = give counts per bin, else cumulative counts per edge. ``only`` restricts to one
    value of the split label. ``missing`` counts values that entered no bin.
    """

    alternatives: tuple[Bucketed, ...]
    drift: bool = False
    split: str = ""
    only: str = ""
    missing: Pick | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """Count, sum and sum of squares of a value."""

    count: Pick
    sum: Pick
    squares: Pick | None


Recipe: TypeAlias = Total | Additive | Binned | Moment


@dataclass(frozen=True, slots=True)
class Reads:
    """Everything one handoff needs.

    Attributes:
        builtin: names of built-in metrics, read in the shared query.
        templates: the tenant's own selections.
        recipes: by metric name, how its measurement is made.
        requests: counters of whole requests, for traffic shares and bounds.
        labels: by built-in metric name, the server's own labels.
        signed: names of sums that may fall without having been reset.
        refused: by metric name, why it cannot be read at all.
    """

    builtin: frozenset[str]
    templates: tuple[Template, ...]
    recipes: Mapping[str, Recipe]
    requests: tuple[Pick, ...]
    labels: Mapping[str, tuple[str, ...]]
    signed: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> frozenset[str]:
        """All first parts that keys of counters can have."""
        return self.builtin | {template.text for template in self.templates}


def reads(metrics: Iterable[Metric]) -> Reads:
    """Work out what to read for the given metrics."""
    builder = _Builder()
    for metric in metrics:
        try:
            builder.recipes[metric.name] = builder.recipe(metric)
        except _Lacking as lacking:
            builder.refused[metric.name] = str(lacking)
    return builder.build()


class _Lacking(Exception):
    """A server publishes nothing of this kind."""


class _Builder:
    def __init__(self) -> None:
        self.recipes: dict[str, Recipe] = {}
        self.refused: dict[str, str] = {}
        self._templates: dict[str, Template] = {}
        self._families: dict[ServerKind, Family] = {}

    def recipe(self, metric: Metric) -> Recipe:
        match metric.type:
            case MetricType.ERROR_RATE | MetricType.ABSTAIN_RATE | MetricType.CONTRACT_VIOLATIONS:
                return self._rate(metric)
            case MetricType.LATENCY:
                return self._latency(metric)
            case MetricType.DRIFT:
                return self._drift(metric)
            case MetricType.MEAN:
                squares = self._pick(metric.sum_of_squares) if metric.sum_of_squares else None
                return Moment(self._needed(metric.count), self._needed(metric.sum), squares)
            case MetricType.COUNT:
                return Total((self._needed(metric.counter),))

    def build(self) -> Reads:
        used = [pick for recipe in self.recipes.values() for pick in _picks(recipe)]
        requests = self._requests()
        names = {pick.name for pick in (*used, *requests)} - self._templates.keys()
        labels = {
            name: own
            for family in self._families.values()
            for name, own in family.labels.items()
            if name in names
        }
        return Reads(
            builtin=frozenset(names),
            templates=tuple(self._templates[text] for text in sorted(self._templates)),
            recipes=self.recipes,
            requests=requests,
            labels=labels,
            signed=frozenset(
                one.sum.name for one in self.recipes.values() if isinstance(one, Moment)
            ),
            refused=self.refused,
        )

    def _requests(self) -> tuple[Pick, ...]:
        for family in self._families.values():
            return family.requests
        rates = [one for one in self.recipes.values() if isinstance(one, Additive)]
        if rates:
            return rates[0].rated.trials
        for recipe in self.recipes.values():
            if isinstance(recipe, Moment):
                return (recipe.count,)
        return ()

    def _family(self, metric: Metric) -> Family:
        kind = metric.server or ServerKind.MODEL_HANDOFF
        family = FAMILIES[kind]
        self._families[kind] = family
        return family

    def _rate(self, metric: Metric) -> Additive:
        if metric.counters is not None:
            bad, total = self._pick(metric.counters.bad), self._pick(metric.counters.total)
            return Additive(Rated((bad,), (total,)))
        family = self._family(metric)
        rated = {
            MetricType.ERROR_RATE: family.errors,
            MetricType.ABSTAIN_RATE: family.abstentions,
            MetricType.CONTRACT_VIOLATIONS: family.violations,
        }[metric.type]
        if rated is None:
            raise _Lacking(_lacks(family, metric))
        return Additive(rated, clipped=metric.type is MetricType.CONTRACT_VIOLATIONS)

    def _latency(self, metric: Metric) -> Binned:
        if metric.histogram is not None:
            return Binned((self._histogram(metric.histogram),))
        family = self._family(metric)
        if not family.latency:
            raise _Lacking(_lacks(family, metric))
        return Binned(family.latency)

    def _drift(self, metric: Metric) -> Binned:
        if metric.histogram is not None:
            found = self._histogram(metric.histogram)
            return Binned((Bucketed(found.buckets),), drift=True)
        family = self._family(metric)
        if metric.of is DriftOf.FEATURE:
            source, missing = family.features, family.missing_features
        else:
            source, missing = family.outputs, family.missing_outputs
        if source is None:
            raise _Lacking(_lacks(family, metric))
        bucketed, label = source
        return Binned(
            (bucketed,), drift=True, split=label, only=metric.feature or "", missing=missing
        )

    def _histogram(self, one: HistogramSelector) -> Bucketed:
        scale = 0.001 if one.unit is TimeUnit.MILLISECONDS else 1.0
        return Bucketed(self._named(one.metric + "_bucket", one.matchers), scale)

    def _needed(self, one: Selector | None) -> Pick:
        if one is None:
            raise _Lacking("its series are not named")
        return self._pick(one)

    def _pick(self, one: Selector) -> Pick:
        return self._named(one.metric, one.matchers)

    def _named(self, name: str, matchers: tuple[LabelMatcher, ...]) -> Pick:
        conditions = sorted(map(matcher, matchers))
        template = Template(name, tuple(conditions))
        self._templates.setdefault(template.text, template)
        return Pick(template.text)


def matcher(one: LabelMatcher) -> str:
    """A PromQL matcher."""
    return f"{one.label}{one.operator.sign}{quoted(one.value)}"


def quoted(text: str) -> str:
    """A PromQL string literal; JSON's escapes are a subset of PromQL's."""
    return json.dumps(text, ensure_ascii=False)


def _lacks(family: Family, metric: Metric) -> str:
    return f"a {family.kind} server publishes nothing for {metric.type}; name series of your own"


def _picks(recipe: Recipe) -> Iterator[Pick]:
    match recipe:
        case Total(picks):
            yield from picks
        case Additive(rated):
            yield from (*rated.events, *rated.trials)
        case Binned():
            for one in recipe.alternatives:
                yield one.buckets
                if one.count is not None:
                    yield one.count
            if recipe.missing is not None:
                yield recipe.missing
        case Moment():
            yield recipe.count
            yield recipe.sum
            if recipe.squares is not None:
                yield recipe.squares
