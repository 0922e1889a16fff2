"""One metric as people see it: state, values, interval, what is missing, what to know."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis import wording
from modelhandoff.analysis.checks import Check, undetermined
from modelhandoff.analysis.compiled import BELOW, UNSET, Compiled
from modelhandoff.analysis.display import mantel_haenszel, rate_interval, ratio_interval
from modelhandoff.analysis.drift import culprits
from modelhandoff.analysis.evidence import CLOCK, LOOKS
from modelhandoff.analysis.layout import Views
from modelhandoff.analysis.needs import remaining_looks
from modelhandoff.analysis.plan import (
    CountPlan,
    DriftPlan,
    FairnessPlan,
    LatencyPlan,
    MeanPlan,
    RatePlan,
    Role,
)
from modelhandoff.analysis.readout import DISPLAY_CAP, Readout
from modelhandoff.analysis.verdict import MetricState, MetricVerdict

__all__ = ["Picture", "describe"]

Array = NDArray[np.float64]

Z: Final = 1.959964
KINDS: Final = {
    RatePlan: "rate",
    LatencyPlan: "latency",
    DriftPlan: "drift",
    MeanPlan: "mean",
    CountPlan: "count",
    FairnessPlan: "fairness",
}


class Picture:
    """Shared inputs of all metrics at one look."""

    def __init__(self, c: Compiled, v: Views, r: Readout, *, intervals: bool) -> None:
        self.c, self.v, self.r, self.intervals = c, v, r, intervals
        self.phi: list[float] = r.phi_two.tolist()
        self.phi_one: list[float] = r.phi_one.tolist()
        self.looks = int(v["clock"][LOOKS])


def describe(p: Picture, at: int, check: Check) -> MetricVerdict:
    """The metric's verdict at this look."""
    c, r = p.c, p.r
    plan = c.plan.metrics[at]
    log_e = r.metric[at]
    weight = c.plan.weights[at]
    weighted = weight * math.exp(min(log_e, DISPLAY_CAP))
    values = _values(p, at)
    state = _state(p, at, check, weighted, log_e)
    needs, looks = _needs(p, check, state)
    per_look = values.samples / p.looks if p.looks else 0.0
    finite = looks is not None and math.isfinite(looks)
    return MetricVerdict(
        name=plan.name,
        type=KINDS[type(plan)],
        role=plan.role,
        state=state,
        candidate=values.candidate,
        baseline=values.baseline,
        ratio=values.ratio,
        interval=values.interval,
        limit=values.limit,
        samples=values.samples,
        log_e_harm=max(min(log_e, DISPLAY_CAP), -DISPLAY_CAP),
        log_e_safe=None if check.log_safe is None else max(min(check.log_safe, 700.0), -700.0),
        weight=weight,
        weighted_e=weighted,
        phi=values.phi,
        needs=needs,
        needs_requests=looks * per_look if finite and looks is not None else None,
        needs_seconds=looks * c.plan.interval_seconds if finite and looks is not None else None,
        note=_note(p, at, check),
        culprits=_culprits(p, at),
    )


def _state(p: Picture, at: int, check: Check, weighted: float, log_e: float) -> MetricState:
    plan = p.c.plan
    bound = math.log(1.0 / plan.harm_level)
    alone = plan.metrics[at].role in (Role.Quality, Role.Info)
    if weighted * plan.harm_level >= 1.0 or (alone and log_e >= bound):
        return MetricState.Fail
    if not p.c.components[at] or check.missing or check.too_frequent:
        return MetricState.Unknown
    if undetermined(p.c, p.v, p.r, at) is not None:
        return MetricState.Unknown
    if p.looks >= plan.min_looks and check.proven and log_e < math.log(3.0):
        return MetricState.Pass
    return MetricState.Pending


class _Values:
    """Values of one metric; a small mutable holder filled by kind."""

    __slots__ = ("baseline", "candidate", "interval", "limit", "phi", "ratio", "samples")

    def __init__(self) -> None:
        self.candidate: float | None = None
        self.baseline: float | None = None
        self.ratio: float | None = None
        self.interval: tuple[float, float] | None = None
        self.limit: float | None = None
        self.samples = 0.0
        self.phi = 1.0


def _values(p: Picture, at: int) -> _Values:
    plan = p.c.plan.metrics[at]
    out = _Values()
    if isinstance(plan, RatePlan | CountPlan):
        row = next(iter(p.c.rows[at].sources), None)
        if row is not None:
            _source(p, row, out, absolute=isinstance(plan, RatePlan) and not plan.relative)
        if isinstance(plan, RatePlan):
            out.limit = plan.limit if plan.limit is not None else plan.harm_margin
        else:
            out.limit = 1.0 - plan.max_drop
    elif isinstance(plan, LatencyPlan):
        _latency(p, at, plan, out)
    elif isinstance(plan, DriftPlan):
        _drift(p, at, plan, out)
    elif isinstance(plan, MeanPlan):
        _mean(p, at, plan, out)
    else:
        _gaps(p, at, plan, out)
    return out


def _source(p: Picture, row: int, out: _Values, *, absolute: bool = False) -> None:
    xc, nc, xb, nb = p.v["total"][row].tolist()
    out.samples = nc
    if nc <= 0.0:
        return
    out.candidate = xc / nc
    out.baseline = xb / nb if nb > 0.0 else None
    if absolute or p.c.plan.initial:
        out.phi = max((p.phi_one[i] for i, t in enumerate(p.c.absolute) if t.source == row),
                      default=1.0)  # fmt: skip
        if p.intervals:
            out.interval = rate_interval(xc, nc, out.phi)
        return
    out.phi = p.phi[row]
    steps = p.v["steps"][:, row, :]
    out.ratio = mantel_haenszel(steps)
    if p.intervals:
        out.interval = ratio_interval(steps, out.phi)


def _latency(p: Picture, at: int, plan: LatencyPlan, out: _Values) -> None:
    lat = next(one for one in p.c.latency if one.metric == at)
    if lat.high >= 0 and p.v["edge"][lat.high] != UNSET:
        _source(p, lat.high, out, absolute=True)
        out.limit = plan.tail
        return
    known = [row for row in lat.relative if p.v["count"][row] > 0.0]
    if known:
        _source(p, max(known, key=lambda row: p.v["total"][row, 0]), out)
    out.limit = plan.harm_margin


def _drift(p: Picture, at: int, plan: DriftPlan, out: _Values) -> None:
    rows = p.c.rows[at].drift
    out.limit = plan.max_kl
    if not rows:
        return
    worst = max(rows, key=lambda i: p.r.drift[i].value if p.r.drift[i].ready else -1.0)
    found = p.r.drift[worst]
    out.samples, out.phi = found.samples, found.phi
    if found.ready:
        # The corrected estimate can fall below zero; a divergence cannot.
        half = Z * math.sqrt(found.variance)
        out.candidate = max(found.value, 0.0)
        out.interval = (max(found.value - half, 0.0), max(found.value + half, 0.0))


def _mean(p: Picture, at: int, plan: MeanPlan, out: _Values) -> None:
    row = next(iter(p.c.rows[at].series), None)
    out.limit = plan.max_regression
    if row is None or (found := p.r.series[row].contrast) is None:
        return
    out.candidate, out.baseline = found.candidate, found.baseline
    out.samples = float(p.v["mean"][row, 9])
    if found.baseline != 0.0:
        out.ratio = found.candidate / found.baseline
        if found.variance > 0.0 and p.r.series[row].ready:
            half = Z * math.sqrt(found.variance) / abs(found.baseline)
            out.interval = (out.ratio - half, out.ratio + half)


def _gaps(p: Picture, at: int, plan: FairnessPlan, out: _Values) -> None:
    out.limit = plan.max_gap
    rows = [i for i in p.c.rows[at].series if p.r.series[i].ready]
    if rows:
        worst = max(rows, key=lambda i: abs(p.r.series[i].gap))
        out.candidate = p.r.series[worst].gap
        out.samples = float(p.v["mean"][rows, 9].sum())


def _needs(p: Picture, check: Check, state: MetricState) -> tuple[str, float | None]:
    """What is missing, in words, and about how many looks."""
    if state is not MetricState.Pending:
        return "", None
    plan = p.c.plan
    short = max(plan.min_looks - p.looks, 0)
    if check.row is None or check.log_safe is None or check.log_safe >= check.needed:
        if short:
            return f"{short} more looks (at least {plan.min_looks})", float(short)
        return ("the last looks to agree", None) if not check.recent else ("", None)
    if p.looks == 0:
        return "its first interval", None
    looks = remaining_looks(p.c, p.v, p.r, check.row, check.needed)
    if not math.isfinite(looks):
        return "a smaller difference: not provable at the present rates", None
    looks = max(math.ceil(looks), short)
    per_look = p.v["total"][:, 1].max() / p.looks if p.c.sources else 0.0
    more = f"about {wording.count(looks * per_look)} more candidate requests, " if per_look else ""
    return f"{more}{wording.duration(looks * plan.interval_seconds)} at the present rate", looks


def _note(p: Picture, at: int, check: Check) -> str:
    """Sentences a reader must know, most important first."""
    c, v = p.c, p.v
    plan = c.plan.metrics[at]
    out: list[str] = []
    if not c.components[at]:
        return "Not judged: there is no baseline to compare with."
    if check.too_frequent:
        out.append("More than half of the baseline's requests count: declare the complement.")
    inside = undetermined(c, v, p.r, at)
    if inside is not None and isinstance(plan, LatencyPlan) and plan.budget is not None:
        told = wording.hidden_budget(plan.budget, inside, plan.unit)
        out.append(f"Undetermined: {told}.")
    elif isinstance(plan, LatencyPlan):
        out += _edge_note(c, v, at, plan)
    if check.excused:
        out.append("The baseline is over the limit too: a shared incident, not this candidate.")
    for i in c.rows[at].two[:1]:
        t = c.two[i]
        ratio, safe, delta, _ = v["two_margin"][i].tolist()
        if t.safe and not t.down:
            out.append(
                f"Tolerated: at most {wording.times(safe)} the baseline "
                f"+ {100.0 * t.delta_safe:.3g} points."
            )
        if ratio > t.ratio:
            out.append(f"No history: wider margin {wording.times(ratio)}.")
        elif c.sources[t.source].relative is None and isinstance(plan, RatePlan):
            out.append("No history: cautious caps and dispersion.")
        if delta > t.delta:
            out.append(f"Nearly error-free baseline: {100.0 * delta:.3g} points of slack.")
    if p.v["clock"][CLOCK] > 0 and _phi(p, at) > 20.0:
        out.append("Very bursty: measure something else or aggregate by pod.")
    return " ".join(out)


def _phi(p: Picture, at: int) -> float:
    return max((p.phi[i] for i in p.c.rows[at].sources), default=1.0)


def _edge_note(c: Compiled, v: Views, at: int, plan: LatencyPlan) -> list[str]:
    lat = next(one for one in c.latency if one.metric == at)
    if lat.high < 0 or plan.budget is None or v["edge"][lat.high] == UNSET:
        return []
    low, high = float(v["edge"][lat.low]), float(v["edge"][lat.high])
    budget = wording.latency(plan.budget, plan.unit)
    if math.isinf(high):
        return [f"No bucket edge at or above the budget {budget}: harm cannot be seen; add one."]
    if low == BELOW:
        return [
            f"No bucket edge at or below the budget {budget}: safety cannot be proven; add one."
        ]
    if low != high:
        return [
            f"The budget {budget} lies between bucket edges: harm is counted above "
            f"{wording.latency(high, plan.unit)}, safety below {wording.latency(low, plan.unit)}."
        ]
    return []


def _culprits(p: Picture, at: int) -> tuple[str, ...]:
    plan = p.c.plan.metrics[at]
    if isinstance(plan, DriftPlan):
        rows = p.c.rows[at].drift
        names = [p.c.drift[i][1].key for i in rows]
        return culprits(names, [p.r.drift[i].log_harm for i in rows])
    if isinstance(plan, FairnessPlan):
        rows = p.c.rows[at].series
        names = [p.c.series[i].key.rsplit("/", 1)[-1] for i in rows]
        return culprits(names, [p.r.series[i].log_harm for i in rows])
    return ()
