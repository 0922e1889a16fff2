"""What was measured: the green and red table, and the plots of the evidence behind it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelhandoff.analysis import MetricVerdict, Role, wording
from modelhandoff.api.monitoring import Metric, MetricType
from modelhandoff.report import words
from modelhandoff.report.document import (
    Block,
    Code,
    Figure,
    Line,
    Mark,
    Paragraph,
    Row,
    Table,
    Tone,
)
from modelhandoff.report.export import Attempt
from modelhandoff.report.plots import Bar, Shape, bars, shape_plot
from modelhandoff.report.recomputed import Drifted, Judged, Tail

_TONES = {"Pass": Tone.GOOD, "Fail": Tone.BAD, "Pending": Tone.WAIT, "Unknown": Tone.WAIT}
_SAID = {
    "Pass": "proven safe",
    "Fail": "harm",
    "Pending": "not proven",
    "Unknown": "unknown",
}
_RANK = {"Fail": 0, "Unknown": 1, "Pending": 2, "Pass": 3}
MOST_DRAWN: Final = 20
"""Metrics whose evidence is drawn, the worst first; the table has all."""
_VOTING = (Role.Guardrail, Role.Success, Role.Watch)


@dataclass(frozen=True, slots=True)
class Finding:
    """One metric: what the spec asks, what the status kept, what the checkpoint tells."""

    metric: Metric
    state: str
    kept: Mapping[str, Any]
    judged: MetricVerdict | None

    def number(self, name: str) -> float | None:
        """A value from the checkpoint, else as the status kept it."""
        found = getattr(self.judged, name) if self.judged is not None else self.kept.get(name)
        return None if found is None else float(found)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval."""
        if self.judged is not None:
            return self.judged.interval
        kept = [float(end) for end in self.kept.get("interval") or ()]
        return (kept[0], kept[1]) if len(kept) == 2 else None

    @property
    def of_ratio(self) -> bool:
        """Whether the interval is one of the ratio to the baseline."""
        if self.metric.type is MetricType.LATENCY:
            return self.metric.budget is None
        return self.metric.type is not MetricType.DRIFT


def findings(attempt: Attempt, judged: Judged | None) -> tuple[Finding, ...]:
    """Every metric of the spec, the worst first."""
    kept = {str(one.get("name")): one for one in attempt.state.metrics}
    out = []
    for metric in attempt.spec.monitoring.metrics:
        mine = kept.get(metric.name, {})
        found = judged.metrics.get(metric.name) if judged is not None else None
        state = str(mine.get("state") or (found.state if found is not None else "Unknown"))
        out.append(Finding(metric, state, mine, found))
    out.sort(key=lambda f: (_RANK.get(f.state, 1), -(f.judged.weighted_e if f.judged else 0.0)))
    return tuple(out)


def table(found: Iterable[Finding]) -> Table:
    """One row per metric."""
    return Table(
        head=("Metric", "Verdict", "Baseline", "Candidate", "Ratio or 95 % interval", "Limit",
              "Samples", "Needs"),
        rows=tuple(_row(one) for one in found),
        numbers=(2, 3, 6),
    )  # fmt: skip


def _row(one: Finding) -> Row:
    metric = one.metric
    tone = _TONES.get(one.state, Tone.WAIT)
    ratio, spread = one.number("ratio"), words.interval(metric, one.interval, ratio=one.of_ratio)
    compared = [f"{wording.number(ratio)}x"] if ratio is not None and math.isfinite(ratio) else []
    if spread:
        compared.append(f"({spread})" if compared else spread)
    samples = one.number("samples")
    needs = one.judged.needs if one.judged is not None else str(one.kept.get("needs") or "")
    judged = one.judged is not None or bool(one.kept)
    return Row(
        cells=(
            (Code(metric.name), f" {words.what(metric)}; {words.role(metric)}"),
            (Mark(_SAID.get(one.state, one.state) if judged else "not judged", tone),),
            (words.value(metric, one.number("baseline")),),
            (words.value(metric, one.number("candidate")),),
            (" ".join(compared) or "-",),
            (words.limit(metric),),
            (wording.count(samples) if samples is not None else "-",),
            (needs or "-",),
        ),
        tone=tone if judged else Tone.PLAIN,
    )


def notes(found: Iterable[Finding]) -> tuple[Line, ...]:
    """What a reader must know about single metrics."""
    out: list[Line] = []
    for one in found:
        if one.judged is None:
            continue
        told = [one.judged.note] if one.judged.note else []
        if one.judged.culprits not in ((), (one.metric.name,)):
            told.insert(0, f"Strongest in {', '.join(one.judged.culprits)}.")
        if one.judged.phi > 1.05:
            told.append(f"Spread {one.judged.phi:.2f} times that of independent requests.")
        if told:
            out.append((Code(one.metric.name), ": " + " ".join(told)))
    return tuple(out)


def evidence(attempt: Attempt, judged: Judged, found: Iterable[Finding]) -> Figure:
    """Combined evidence and every metric's own, each against its decision line."""
    decision = attempt.spec.rollout.decision
    harm, safe = math.log(1.0 / decision.harm_level), math.log(1.0 / decision.safe_level)
    latched = attempt.state.verdict.total_e if attempt.state.verdict else judged.total_e
    total = math.log(max(latched or judged.total_e, 1e-300))
    bound = wording.evidence(1.0 / decision.harm_level)
    groups = [
        (
            "All metrics together",
            [Bar("harm, combined", "harm", total, harm, f"{words.power(total)} of {bound}")],
        )
    ]
    rows = [_evidence_row("all together", "harm, combined", total, harm, harm_is_bad=True)]
    for one in found:
        if one.judged is None:
            continue
        group, more = _of_metric(one.judged, harm, safe)
        if group and len(groups) <= MOST_DRAWN:
            groups.append((one.metric.name, group))
        rows += more
    told = f"Evidence at look {judged.looks}; rollback at {bound}."
    return Figure(
        title="Evidence against its decision lines",
        note=(
            "Each bar is an e-value on a logarithmic scale; 1 says nothing either way. Red bars "
            "speak for harm and are added up, each with its weight; the rollback line is "
            f"{bound}. Green bars are proofs of safety; each needs its own line."
        ),
        plot=bars(groups, told),
        instead=Table(("Metric", "Claim", "Evidence", "Line", "Reached"), tuple(rows), (2, 3)),
    )


def _of_metric(one: MetricVerdict, harm: float, safe: float) -> tuple[list[Bar], list[Row]]:
    group: list[Bar] = []
    rows: list[Row] = []
    votes = one.role in _VOTING and one.weight > 0.0
    if votes or one.role is Role.Quality:
        log_e = one.log_e_harm + (math.log(one.weight) if one.weight > 0.0 else 0.0)
        claim = f"harm, weight {one.weight:.2g}" if votes else "harm, holds only"
        group.append(Bar(claim, "harm", log_e, harm, f"{words.power(log_e)} of "
                         f"{words.power(harm)}"))  # fmt: skip
        rows.append(_evidence_row(one.name, claim, log_e, harm, harm_is_bad=True))
    if one.log_e_safe is not None:
        log_e = one.log_e_safe
        group.append(Bar("safe", "safe", log_e, safe, f"{words.power(log_e)} of "
                         f"{words.power(safe)}"))  # fmt: skip
        rows.append(_evidence_row(one.name, "safe", log_e, safe, harm_is_bad=False))
    return group, rows


def _evidence_row(name: str, claim: str, log_e: float, line: float, *, harm_is_bad: bool) -> Row:
    reached = log_e >= line
    tone = (Tone.BAD if harm_is_bad else Tone.GOOD) if reached else Tone.PLAIN
    return Row(
        (
            (name,), (claim,), (words.power(log_e),), (words.power(line),),
            (Mark("yes" if reached else "no", tone),),
        ),
        tone,
    )  # fmt: skip


def shapes(judged: Judged) -> tuple[Figure, ...]:
    """The distributions behind the drift metrics, the most suspicious first."""
    return tuple(_shape(one) for one in judged.drifted)


def _shape(one: Drifted) -> Figure:
    labels = bin_labels(one.edges, one.groups)
    found = "too few values to judge" if one.divergence is None else f"KL {one.divergence:.3g}"
    rows = tuple(
        Row(((label,), (wording.percent(b),), (wording.percent(c),)))
        for label, b, c in zip(labels, one.baseline, one.candidate, strict=True)
    )
    return Figure(
        title=f"{one.key}: {found}",
        note="Share of values per judged bin, in percent; a label is the upper end of its bin.",
        plot=shape_plot(
            Shape(labels, one.baseline, one.candidate), f"Distribution of {one.key}, {found}"
        ),
        instead=Table(("Bin up to", "Baseline", "Candidate"), rows, (1, 2)),
    )


def bin_labels(edges: tuple[float, ...], groups: tuple[int, ...]) -> tuple[str, ...]:
    """Upper end of every judged bin. Past the last edge comes infinity, then what was missing."""
    ends = [f"{edge:.3g}" for edge in edges]
    ends = [*ends, "more", "missing"][: len(groups)] if edges else []
    out: dict[int, str] = {}
    for raw, judged in enumerate(groups):
        out[judged] = ends[raw] if raw < len(ends) else f"bin {judged + 1}"
    # A bin that was merged with the missing values still ends where its values end.
    if edges and "missing" in ends and groups.count(groups[-1]) > 1:
        out[groups[-1]] = "more"
    return tuple(out[i] for i in sorted(out))


def tails(judged: Judged) -> tuple[Block, ...]:
    """How many requests were slower than each judged bucket edge."""
    out: list[Block] = []
    for name, found in judged.tails.items():
        rows = tuple(
            Row(((f"over {wording.latency(one.edge, 's')}",), *_tail(one))) for one in found
        )
        out.append(Paragraph((Code(name), ": requests slower than each judged bucket edge.")))
        out.append(Table(("Slower", "Baseline", "Candidate"), rows, (1, 2)))
    return tuple(out)


def _tail(one: Tail) -> tuple[Line, Line]:
    def show(pair: tuple[float, float] | None) -> Line:
        if pair is None:
            return ("-",)
        slow, every = pair
        share = wording.percent(slow / every)
        return (f"{share} ({wording.count(slow)} of {wording.count(every)})",)

    return show(one.baseline), show(one.candidate)


def split(judged: Judged) -> Line:
    """Whether the traffic was split as planned."""
    if judged.split_e is None:
        return ("too few intervals to test",)
    told = words.power(math.log(max(judged.split_e, 1e-300)))
    if judged.split_e >= 1000.0:
        return (Mark("does not match the weights", Tone.BAD), f" (evidence {told} of 1,000)")
    return (f"as planned, within 10 % (evidence of a mismatch {told} of 1,000)",)
