"""``acceptance.offline``: what is proven of the candidate on the test set, and what is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from modelhandoff.analysis.offline import (
    Array,
    Bounds,
    Proof,
    Statistic,
    bounds,
    clusters_to_prove,
    proof,
    resamples_for,
)
from modelhandoff.analysis.wire import WireError
from modelhandoff.api.acceptance import Acceptance, OfflineMetric, OfflineRole, Quality
from modelhandoff.verify.findings import Failed, Found
from modelhandoff.verify.measuring import Measured, Question, question
from modelhandoff.verify.scoring import Scored

SEED: Final = 20_250_101
"""The same for every bundle: whoever edits a bundle draws no new luck."""
_MOST: Final = 1_000
"""Times as many clusters beyond which nobody is told to look for them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one metric: its proof, a sentence to it, and numbers."""

    metric: OfflineMetric
    state: Proof | None
    line: str
    numbers: Mapping[str, float]


def offline_metrics(scored: Scored, acceptance: Acceptance, version: str, absent: str) -> Found:
    """Every metric on the test set, and whether all Primary ones are proven.

    Args:
        scored: the test set with the models' answers.
        acceptance: what is asked for.
        version: of the baseline; "" where there is none.
        absent: why there is none, as part of a sentence.

    Raises:
        Failed: a Primary metric is not proven, or cannot be measured on this test set.
    """
    answers: list[Answer] = []
    for metric in acceptance.offline or ():
        if metric.compares and scored.baseline is None:
            continue
        try:
            answers.append(_answer(scored, metric, acceptance, version))
        except Failed as failed:
            if metric.role is OfflineRole.PRIMARY:
                raise
            # Reported, whatever it says: that it has no value is what it says.
            answers.append(Answer(metric, None, f"{metric.title}: {failed}", {}))
    numbers = _numbers(answers, len(scored.label))
    deciding = [one for one in answers if one.metric.role is OfflineRole.PRIMARY]
    bad = [one for one in deciding if one.state is not Proof.Proven]
    if bad:
        count = f" ({len(bad)} of {len(deciding)} metrics are not proven)" if len(bad) > 1 else ""
        raise Failed(bad[0].line + count, **numbers)
    told = [one.line for one in answers]
    left = [m.title for m in acceptance.offline or () if m.compares and scored.baseline is None]
    if left:
        told.append(f"Not compared, because {absent}: {', '.join(left)}.")
    return Found(" ".join(told), numbers)


def _numbers(answers: Iterable[Answer], rows: int) -> dict[str, float]:
    found: dict[str, float] = {"rows": float(rows)}
    for one in answers:
        title, again = one.metric.title, 1
        while f"{title}.candidate" in found:
            again += 1
            title = f"{one.metric.title}#{again}"
        found |= {f"{title}.{key}": value for key, value in one.numbers.items()}
    return found


def _answer(scored: Scored, metric: OfflineMetric, acceptance: Acceptance, version: str) -> Answer:
    judged = acceptance.judged
    asked = question(scored, metric, judged.query, judged.threshold)
    ours = asked.answered(scored.candidate, "the candidate")
    theirs = None
    if scored.baseline is not None:
        theirs = asked.answered(scored.baseline, f"the baseline {version}")
    target = _target(metric, ours, theirs)
    try:
        found = bounds(
            target.statistic,
            asked.clusters,
            np.random.default_rng(SEED),
            rows=len(asked.units.weight),
            resamples=resamples_for(len(asked.units.weight)),
        )
    except WireError as error:
        raise Failed(f"{scored.file}: {metric.title}: {error}") from None
    return _told(metric, asked, target, found, (ours, theirs), version=version)


@dataclass(frozen=True, slots=True)
class _Target:
    """The quantity that is looked at; of all of them more is better.

    Attributes:
        needed: what its lower bound must reach; ``None`` where nothing is asked.
        share: whether it is a share of the baseline's value.
        sign: -1 when it is the negative of what people read.
    """

    statistic: Statistic
    needed: float | None
    share: bool
    sign: float


def _target(metric: OfflineMetric, ours: Measured, theirs: Measured | None) -> _Target:
    sign = -1.0 if metric.metric.loss else 1.0
    mine = ours.statistic
    if theirs is not None and (metric.compares or not metric.bounds):
        base = theirs.statistic
        if metric.non_inferiority_margin is not None:
            return _Target(
                lambda counts: sign * (mine(counts) - base(counts)),
                -metric.non_inferiority_margin,
                share=False,
                sign=1.0,
            )
        if theirs.value <= 0.0:
            raise Failed(
                f"{metric.title}: the baseline has the value 0, and nothing is a share of it; "
                "allowed minValue, maxValue or nonInferiorityMargin"
            )
        return _Target(
            lambda counts: sign * _change(mine(counts), base(counts)),
            metric.min_relative_change,
            share=True,
            sign=1.0,
        )
    needed = metric.min_value
    if metric.max_value is not None:
        needed = -metric.max_value
    return _Target(lambda counts: sign * mine(counts), needed, share=False, sign=sign)


def _change(mine: Array, base: Array) -> Array:
    """Change as a share of the baseline; NaN, which proves nothing, where that is 0."""
    found: Array = np.divide(mine, base, out=np.full_like(mine, np.nan), where=base > 0.0) - 1.0
    return found


def _told(
    metric: OfflineMetric,
    asked: Question,
    target: _Target,
    found: Bounds,
    models: tuple[Measured, Measured | None],
    *,
    version: str,
) -> Answer:
    ours, theirs = models
    estimate, low, high = (float(one[0]) for one in (found.estimate, found.lower, found.upper))
    numbers = {"candidate": ours.value}
    if theirs is not None:
        numbers["baseline"] = theirs.value
    ends = sorted((target.sign * low, target.sign * high))
    compared = target.share or metric.non_inferiority_margin is not None
    if compared:
        numbers["change" if target.share else "difference"] = estimate
    numbers |= {"lower": ends[0], "upper": ends[1], "clusters": float(asked.clusters)}

    def shown(value: float) -> str:
        text = f"{100 * value:+.3g} %" if target.share else f"{value:+.4g}"
        return text if compared else text.lstrip("+")

    got = shown(target.sign * estimate)
    if compared and theirs is not None:
        better = "better than" if metric.metric.loss else "over"
        got += f" {better} {version} ({ours.value:.4g} against {theirs.value:.4g})"
    counted = _counted(metric, asked)
    got += f", 90 % interval {shown(ends[0])} to {shown(ends[1])}, {counted}"
    if target.needed is None:
        return Answer(metric, None, f"{metric.title}: {got}.", numbers)
    numbers["needed"] = target.sign * target.needed
    state = proof(low, high, target.needed)
    least = "at most" if target.sign < 0 else "at least"
    allowed = f"{least} {shown(target.sign * target.needed)}"
    if state is Proof.Proven:
        line = f"{metric.title}: {got}; {allowed} is proven."
    elif state is Proof.Excluded:
        line = f"{metric.title}: is not met; got {got}; allowed {allowed}"
    else:
        line = f"{metric.title}: is not proven; got {got}; allowed {allowed}, proven" + _more(
            clusters_to_prove(estimate, low, target.needed, asked.clusters), metric, asked.clusters
        )
    return Answer(metric, state, line, numbers)


def _counted(metric: OfflineMetric, asked: Question) -> str:
    return f"{asked.clusters} {_unit(metric)}"


def _unit(metric: OfflineMetric) -> str:
    if metric.cluster_by is not None:
        return f"clusters by {metric.cluster_by}"
    return "queries" if metric.metric is Quality.NDCG else "rows"


def _more(wanted: int | None, metric: OfflineMetric, clusters: int) -> str:
    """How many clusters would do, in words."""
    if wanted is None or wanted > _MOST * clusters:
        return "; a larger test set alone will hardly prove it"
    # A test set that is large enough by this rule was unlucky; fewer than there are prove nothing.
    about = float(f"{max(wanted, clusters + 1):.2g}")
    return f"; about {about:,.0f} {_unit(metric)} would prove a difference of this size"
