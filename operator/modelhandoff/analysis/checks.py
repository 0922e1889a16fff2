"""Per metric: is it proven now, is it known, what did the last looks say (2.10).

A proof must be *current*: a latched proof would promote a candidate that broke later.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis import absolute, windows
from modelhandoff.analysis.compiled import RING, UNSET, Compiled
from modelhandoff.analysis.evidence import CLOCK, SINCE
from modelhandoff.analysis.kernel import GRID, log_mixture, two_arm
from modelhandoff.analysis.layout import Views
from modelhandoff.analysis.plan import FairnessPlan, MeanPlan, Role
from modelhandoff.analysis.readout import Readout, harm_sign
from modelhandoff.analysis.sources import recent

__all__ = ["Check", "check_all", "data_share", "proofs_hold", "undetermined"]

Array = NDArray[np.float64]

ENOUGH: Final = 0.8


@dataclass(frozen=True, slots=True)
class Check:
    """What one metric still lacks.

    ``log_safe``: weakest proof (None: none is asked); ``needed``: log it must reach; ``row``: the
    test behind it as (bank, row); ``recent``: the recent window agrees; ``share``: part of the
    looks of the no-data budget that have data; ``alarming``: the last looks
    taken alone speak for harm (e >= 1 / safe level), so no weight may rise now.
    """

    log_safe: float | None
    needed: float
    row: tuple[str, int] | None
    recent: bool
    share: float
    missing: bool
    excused: bool
    too_frequent: bool
    alarming: bool

    @property
    def proven(self) -> bool:
        """The proof holds now and the last looks agree."""
        return self.recent and (self.log_safe is None or self.log_safe >= self.needed)


def data_share(c: Compiled, v: Views) -> tuple[Array, bool]:
    """Share of the looks with data, all requests first, then per metric; over the no-data budget.

    The flag says whether the whole budget has passed since traffic began.
    """
    plan = c.plan
    budget = min(max(math.ceil(plan.no_data_seconds / plan.interval_seconds), 2), RING)
    now, since = int(v["clock"][CLOCK]), int(v["clock"][SINCE])
    span = min(budget, now - since)
    if span <= 0:
        return np.zeros(len(plan.metrics) + 1), False
    rows = (now - np.arange(span)) % RING
    return v["present"][rows].mean(axis=0), span >= budget


def check_all(
    c: Compiled, v: Views, r: Readout, data: tuple[Array, bool] | None = None
) -> list[Check]:
    """One check per metric; ``data`` from :func:`data_share`, if known."""
    share, passed = data if data is not None else data_share(c, v)
    clock = max(float(v["clock"][CLOCK]), 1.0)
    looks = min(windows.length(clock), float(RING))
    sums, plain, filled = recent(v, clock, looks)
    incident = absolute.shared_incident(v) if c.absolute else np.zeros(0, dtype=bool)
    alarms = _alarms(c, v, r, plain)
    out = []
    for at, metric in enumerate(c.plan.metrics):
        proofs = _proofs(c, r, at)
        good = _recent(c, v, r, at, (sums, plain, filled))
        weakest = min(proofs, key=lambda p: p[0] - p[1], default=None)
        excused = any(incident[i] for i in c.rows[at].absolute if c.absolute[i].harm)
        mine = float(share[at + 1])
        judged = bool(c.components[at])
        out.append(
            Check(
                log_safe=weakest[0] if weakest else None,
                needed=weakest[1] if weakest else 0.0,
                row=weakest[2] if weakest else None,
                recent=good,
                share=mine,
                missing=judged and passed and mine < ENOUGH,
                excused=excused and metric.role is not Role.Info,
                too_frequent=_too_frequent(c, v, at),
                alarming=at in alarms,
            )
        )
    return out


def _alarms(c: Compiled, v: Views, r: Readout, plain: Array) -> set[int]:
    """Metrics whose recent window alone, as one bet without any start prior, speaks for harm.

    A harm process that has run for long pays for its late start; traffic must not rise meanwhile.
    """
    bound = math.log(1.0 / c.plan.safe_level)
    out: set[int] = set()
    if c.two:
        src = c.two_source
        x, n, y, m = plain[src].T[..., None]
        ready = (n > 0.0) & (m > 0.0)
        one = np.ones(1)
        n, m = np.where(ready, n, one), np.where(ready, m, one)
        margin = v["two_margin"]
        bets = c.two_arrays["bets"][:, :GRID]
        raw = two_arm(bets, margin[:, :1], margin[:, 2:3], x, n, y, m)
        logs = log_mixture(raw / r.phi_two[src, None])
        found = (logs >= bound) & ready[:, 0]
        out |= {c.two[i].metric for i in np.flatnonzero(found)}
    if c.absolute:
        src = c.absolute_source
        const = c.absolute_arrays
        x, n = plain[src, :2].T[..., None]
        raw = x * const["per_event"][:, :GRID] + n * const["per_trial"][:, :GRID]
        logs = log_mixture(raw / r.phi_one[:, None])
        found = (logs >= bound) & const["decides"]
        out |= {c.absolute[i].metric for i in np.flatnonzero(found)}
    return out


Proof = tuple[float, float, tuple[str, int]]


def _proofs(c: Compiled, r: Readout, at: int) -> list[Proof]:
    """(log e, needed log, row) of every proof this metric owes."""
    metric, plan = c.plan.metrics[at], c.plan
    if metric.role not in (Role.Guardrail, Role.Success):
        return []
    need = math.log(1.0 / plan.safe_level)
    rows = c.rows[at]
    out: list[Proof] = []
    out += [(r.two_safe[i], need, ("two", i)) for i in rows.two if c.two[i].safe]
    out += [(r.one_safe[i], need, ("absolute", i)) for i in rows.absolute if c.absolute[i].safe]
    out += [(r.drift[i].log_safe, need, ("drift", i)) for i in rows.drift]
    for i in rows.series:
        s = c.series[i]
        if isinstance(metric, MeanPlan) and metric.role is Role.Success:
            wanted = math.log(1.0 / (c.share(at) * plan.success_level))
            out.append((r.series[i].log_lift, wanted, ("lift", i)))
        elif not (isinstance(s.plan, FairnessPlan) and s.key.endswith(f"/{s.plan.reference}")):
            out.append((r.series[i].log_safe, need, ("series", i)))
    return out


def proofs_hold(c: Compiled, r: Readout) -> bool:
    """Whether every proof that any metric owes holds now (the last looks are not asked)."""
    return all(
        log_e >= needed
        for at in range(len(c.plan.metrics))
        for log_e, needed, _ in _proofs(c, r, at)
    )


def _recent(c: Compiled, v: Views, r: Readout, at: int, window: tuple[Array, Array, Array]) -> bool:
    """Whether the last W = max(15 looks, 20 % of the run) agree with "harmless"."""
    metric = c.plan.metrics[at]
    if metric.role not in (Role.Guardrail, Role.Success) or not c.components[at]:
        return True
    sums, plain, filled = window
    rows = c.rows[at]
    for i in rows.two:
        t = c.two[i]
        unread = c.sources[t.source].kind == "edge" and v["edge"][t.source] == UNSET
        if not t.guard or unread:
            continue  # an unset edge: no edge of this baseline carries a comparable tail
        a, b, n = sums[t.source].tolist()
        ratio = float(v["two_margin"][i, 0])
        fits = a >= ratio * b if t.down else a <= ratio * b + t.delta_safe * n
        if not fits or filled[t.source] < ENOUGH:
            return False
    for i in rows.absolute:
        one = c.absolute[i]
        x, n = plain[one.source, :2].tolist()
        if one.safe and (x > one.limit * n or filled[one.source] < ENOUGH):
            return False
    for i in rows.drift:
        seen = r.drift[i].window
        if seen is None or seen > c.drift[i][2].max_kl:
            return False
    if isinstance(metric, MeanPlan):
        for i in rows.series:
            found = r.series[i].contrast
            if found is None or found.window is None:
                return False
            if harm_sign(metric) * found.window > 0.0:
                return False
    return True


def _too_frequent(c: Compiled, v: Views, at: int) -> bool:
    """A baseline rate above one half after 10 intervals: the complement must be counted."""
    for i in c.rows[at].two:
        source = c.two[i].source
        if c.sources[source].kind == "rate":
            x, n = v["total"][source, 2:].tolist()
            return bool(v["count"][source] >= 10.0 and x > 0.5 * n)
    return False


def undetermined(c: Compiled, v: Views, r: Readout, at: int) -> tuple[float, float] | None:
    """The bucket (e-, e+] that hides the budget: e- fails for certain, e+ passes for certain."""
    for lat in c.latency:
        if lat.metric != at or lat.high < 0:
            continue
        low, high = float(v["edge"][lat.low]), float(v["edge"][lat.high])
        if low == high:
            return None
        row = c.rows[at].absolute[0]  # the test above e+; the one below e- follows it
        fails = r.one_harm[row + 1] >= math.log(1.0 / c.plan.harm_level)
        passes = r.one_safe[row] >= math.log(1.0 / c.plan.safe_level)
        return (max(low, 0.0), high) if fails and passes else None
    return None
