"""The judgement engine: closed intervals of counts in, evidence and a verdict out. Pure.

Use::

    evidence = Evidence.start(plan)
    for interval in intervals:                       # closed, in order, each exactly once
        evidence = observe(plan, evidence, interval) # same index again: nothing changes
        verdict = judge(plan, evidence, progress)    # Continue | Promote | Rollback | Hold | ...
    checkpoint = evidence.to_json()                  # a few KB; Evidence.from_json(plan, value)

Rooms: :mod:`intervals` (what is read), :mod:`plan` (what is judged), :mod:`evidence` (what
survives), :mod:`judge` and :mod:`verdict` (what is said), :mod:`planner` (how long it takes),
:mod:`history` and :mod:`drift` (what admission prepares), :mod:`offline` (paired metrics before
any traffic). Everything else is how it is computed: ``kernel``, ``dispersion``, ``rates``,
``absolute``, ``latency``, ``means``, ``mixture``, ``split``, ``windows``, ``readout``, ``checks``.
"""

from modelhandoff.analysis.evidence import Evidence, observe, observe_all
from modelhandoff.analysis.intervals import (
    Bins,
    Count,
    Histogram,
    Interval,
    Measurement,
    Moments,
    Rate,
)  # fmt: skip
from modelhandoff.analysis.judge import judge
from modelhandoff.analysis.plan import (
    CountPlan,
    Direction,
    Dispersion,
    DriftPlan,
    EdgeHistory,
    FairnessPlan,
    Feature,
    LatencyPlan,
    MeanPlan,
    MetricPlan,
    OnAlarm,
    OnInconclusive,
    Plan,
    RateHistory,
    RatePlan,
    Role,
    Sustained,
)  # fmt: skip
from modelhandoff.analysis.verdict import (
    Decision,
    MetricState,
    MetricVerdict,
    Progress,
    Reason,
    Verdict,
)  # fmt: skip
from modelhandoff.analysis.wire import WireError

__all__ = [
    "Bins", "Count", "CountPlan", "Decision", "Direction", "Dispersion", "DriftPlan",
    "EdgeHistory", "Evidence", "FairnessPlan", "Feature", "Histogram", "Interval", "LatencyPlan",
    "MeanPlan", "Measurement", "MetricPlan", "MetricState", "MetricVerdict", "Moments", "OnAlarm",
    "OnInconclusive", "Plan", "Progress", "Rate", "RateHistory", "RatePlan", "Reason", "Role",
    "Sustained", "Verdict", "WireError", "judge", "observe", "observe_all",
]  # fmt: skip
