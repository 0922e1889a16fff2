"""The evidence of one attempt: what survives a restart, and the one function that adds to it."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis import absolute, drift, latency, means, rates, sources, split, windows
from modelhandoff.analysis.banks import gathered, joined, scattered
from modelhandoff.analysis.compiled import RING, Compiled, compiled
from modelhandoff.analysis.intervals import Count, Histogram, Interval, Rate
from modelhandoff.analysis.layout import Views
from modelhandoff.analysis.plan import DriftPlan, FairnessPlan, MetricPlan, Plan
from modelhandoff.analysis.readout import Readout, read_out, read_out_all, settle_means
from modelhandoff.analysis.wire import WireError, keys, number, whole

__all__ = ["Evidence", "observe", "observe_all"]

Array = NDArray[np.float64]

VERSION: Final = 1
LOOKS, BEST, CLOCK, STEP, SINCE = range(5)


@dataclass(frozen=True, eq=False)
class Evidence:
    """Everything learnt so far; immutable.

    Attributes:
        plan_hash: of the plan it belongs to.
        last_index: index of the last interval taken in, -1 before the first.
        last_end: end of that interval (seconds since the epoch).
        flags: quality flags of that interval.
        state: the running numbers (see :mod:`~.layout`), read-only.
        plan: the plan itself (not part of the checkpoint).
    """

    plan_hash: str
    last_index: int
    last_end: float
    flags: tuple[str, ...]
    state: Array = field(repr=False)
    plan: Plan = field(repr=False)

    @classmethod
    def start(cls, plan: Plan) -> "Evidence":
        """Evidence before the first interval: every e-value is 1."""
        state = compiled(plan).start()
        state.flags.writeable = False
        return cls(plan.hash, -1, 0.0, (), state, plan)

    @property
    def looks(self) -> int:
        """Judged intervals so far (planned exclusions do not count)."""
        return int(self.state[LOOKS])

    def to_json(self) -> dict[str, Any]:
        """The checkpoint: a few KB, versioned, bound to its plan."""
        return {
            "v": VERSION,
            "plan": self.plan_hash,
            "last": self.last_index,
            "end": self.last_end,
            "looks": self.looks,
            "flags": list(self.flags),
            "state": compiled(self.plan).layout.pack(self.state),
            "sum": zlib.crc32(self.state.tobytes()),
        }

    @classmethod
    def from_json(cls, plan: Plan, value: object) -> "Evidence":
        """Read a checkpoint.

        Raises:
            WireError: another version, another plan, or damaged content; never misread.
        """
        names = ("v", "plan", "last", "end", "looks", "flags", "state", "sum")
        if isinstance(value, dict) and value.get("v") != VERSION:
            raise WireError("v", f"evidence of version {VERSION}", value.get("v"))
        got = keys(value, "", names)
        if got["plan"] != plan.hash:
            raise WireError("plan", f"evidence of plan {plan.hash}", got["plan"])
        state = compiled(plan).layout.unpack(got["state"], "state")
        if zlib.crc32(state.tobytes()) != got["sum"]:
            raise WireError("sum", "the checksum of the state", got["sum"])
        if int(state[LOOKS]) != whole(got["looks"], "looks"):
            raise WireError("looks", f"{int(state[LOOKS])}, as in the state", got["looks"])
        flags = got["flags"]
        if not isinstance(flags, list | tuple) or not all(isinstance(f, str) for f in flags):
            raise WireError("flags", "a list of texts", flags)
        state.flags.writeable = False
        last, end = whole(got["last"], "last", -1), number(got["end"], "end")
        return cls(plan.hash, last, end, tuple(flags), state, plan)


def views(plan: Plan, evidence: Evidence) -> Views:
    """The named blocks of the state (made once and kept)."""
    found: Views | None = evidence.__dict__.get("_views")
    if found is None:
        found = compiled(plan).layout.views(evidence.state)
        evidence.__dict__["_views"] = found
    return found


def readout(plan: Plan, evidence: Evidence) -> Readout:
    """All e-values of this evidence (computed once and kept)."""
    found = evidence.__dict__.get("_readout")
    if found is None:
        found = read_out(compiled(plan), views(plan, evidence))
        evidence.__dict__["_readout"] = found
    assert isinstance(found, Readout)
    return found


def observe(plan: Plan, evidence: Evidence, interval: Interval) -> Evidence:
    """Take in one closed interval; an index that was taken in before changes nothing.

    Raises:
        WireError: the evidence belongs to another plan.
    """
    return observe_all([(evidence_of(plan, evidence), interval)])[0]


def observe_all(looks: Sequence[tuple[Evidence, Interval]]) -> list[Evidence]:
    """Take in one interval of many handoffs, each as if it were alone.

    The tests on counts of all of them share their array calls (:mod:`~.banks`).
    """
    fresh = [_Open(evidence, one) for evidence, one in looks if one.index > evidence.last_index]
    _judge_intervals([one for one in fresh if one.judged])
    now = read_out_all([one.c for one in fresh], [one.v for one in fresh])
    made = iter([one.close(found) for one, found in zip(fresh, now, strict=True)])
    return [next(made) if one.index > before.last_index else before for before, one in looks]


def evidence_of(plan: Plan, evidence: Evidence) -> Evidence:
    """The evidence, if it belongs to the plan."""
    if evidence.plan_hash != plan.hash:
        raise WireError("plan", f"evidence of plan {plan.hash}", evidence.plan_hash)
    return evidence


class _Open:
    """One handoff's look while it is taken in: a copy of the state, its views, and the counts."""

    __slots__ = ("c", "interval", "judged", "look", "past", "plan", "state", "v")

    def __init__(self, evidence: Evidence, interval: Interval) -> None:
        self.plan, self.interval = evidence.plan, interval
        self.c = c = compiled(self.plan)
        # Dispersion comes from the intervals before this one.
        self.past = readout(self.plan, evidence)
        self.state = evidence.state.copy()
        self.v = v = c.layout.views(self.state)
        gap = interval.index - evidence.last_index if evidence.last_index >= 0 else 1
        latency.set_edges(c, interval, v)
        self.look = sources.read(c, interval, v)
        _missed(c, v, gap - 1)
        self.judged = not interval.excluded and interval.weight != 0
        if self.judged:
            clock = v["clock"]
            clock[LOOKS] += 1.0
            clock[CLOCK] += 1.0
            clock[STEP] = interval.step
            _mark_present(c, v, interval, float(clock[CLOCK]))
        elif interval.weight == 0:
            # No traffic is expected at weight 0: the no-data budget starts again with the traffic.
            v["clock"][SINCE] = v["clock"][CLOCK]
        elif len(c.catastrophes):
            rate = sources.past_rate(v)
            rates.advance(c.banks, v, self.look, self.past.phi_two, rate, only=c.catastrophes)

    def close(self, now: Readout) -> Evidence:
        """The evidence after this look."""
        v, interval = self.v, self.interval
        v["clock"][BEST] = max(v["clock"][BEST], now.log_total)
        self.state.flags.writeable = False
        out = Evidence(
            self.plan.hash, interval.index, interval.end, interval.quality, self.state, self.plan
        )
        out.__dict__.update(_readout=now, _views=v)
        return out


def _judge_intervals(opened: Sequence[_Open]) -> None:
    if not opened:
        return
    _count(opened)
    for one in opened:
        c, v, interval = one.c, one.v, one.interval
        now = float(v["clock"][CLOCK])
        if c.two:
            rates.settle_margins(c, v)
        if c.latency:
            latency.learn_edges(c, interval, v)
        if c.drift:
            drift.advance(c, v, interval, now)
        if c.series:
            means.advance(c, v, interval, now)
            settle_means(c, v, now)
        if c.plan.check_split and not c.plan.initial:
            split.advance(v, interval)


def _count(opened: Sequence[_Open]) -> None:
    """Advance the tests on counts of all handoffs at once."""
    b, v = joined([one.c.banks for one in opened]), gathered([one.v for one in opened])
    look = sources.together([one.look for one in opened])
    if len(b.two_source):
        phi = np.concatenate([one.past.phi_two for one in opened])
        rates.advance(b, v, look, phi, sources.past_rate(v))
    if len(b.one_source):
        absolute.advance(b, v, look, np.concatenate([one.past.phi_one for one in opened]))
    sizes = [one.c.size for one in opened]
    added = sources.remember(
        b, v, look, np.repeat([one.v["clock"][CLOCK] for one in opened], sizes)
    )
    scattered(v, [one.v for one in opened])
    at = 0
    for one, size in zip(opened, sizes, strict=True):
        one.v["steps"][min(one.interval.step, len(one.plan.steps))] += added[at : at + size]
        at += size


def _missed(c: Compiled, v: Views, looks: int) -> None:
    """Intervals nobody could close: time passes, every metric is missing."""
    for _ in range(min(looks, RING)):
        v["clock"][CLOCK] += 1.0
        now = float(v["clock"][CLOCK])
        v["present"][int(now) % RING] = 0.0
        for i in range(len(c.drift)):
            windows.advance(v[f"drift_window_{i}"], None, now)
        for row in range(len(c.series)):
            windows.advance(v["mean_window"][row], None, now)
    v["clock"][CLOCK] += max(looks - RING, 0)


def _mark_present(c: Compiled, v: Views, interval: Interval, now: float) -> None:
    found = [1.0 if interval.requests[0] > 0.0 else 0.0]
    found += [1.0 if _has(metric, interval) else 0.0 for metric in c.plan.metrics]
    v["present"][int(now) % RING] = found


def _has(metric: MetricPlan, interval: Interval) -> bool:
    """Whether this interval carries candidate data of the metric."""
    if isinstance(metric, DriftPlan):
        return any(f.key in interval.metrics for f in metric.features)
    if isinstance(metric, FairnessPlan):
        return f"{metric.name}/{metric.reference}" in interval.metrics
    one = interval.metrics.get(metric.name)
    if isinstance(one, Rate):
        return one.candidate[1] > 0.0
    if isinstance(one, Histogram):
        return one.candidate[-1] > 0.0
    return one is not None if isinstance(one, Count) else one is not None and bool(one.candidate[0])
