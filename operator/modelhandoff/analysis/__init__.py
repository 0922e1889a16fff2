"""The judgement engine: closed intervals of counts in, evidence and a verdict out. Pure."""

from modelhandoff.analysis.intervals import (
    Bins,
    Count,
    Histogram,
    Interval,
    Measurement,
    Moments,
    Rate,
)  # fmt: skip
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
    "EdgeHistory", "FairnessPlan", "Feature", "Histogram", "Interval", "LatencyPlan", "MeanPlan",
    "Measurement", "MetricPlan", "MetricState", "MetricVerdict", "Moments", "OnAlarm",
    "OnInconclusive", "Plan", "Progress", "Rate", "RateHistory", "RatePlan", "Reason", "Role",
    "Sustained", "Verdict", "WireError",
]  # fmt: skip
