"""What the engine says: decision, reason, one sentence, and every metric by weight of evidence."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from modelhandoff.analysis.plan import Role
from modelhandoff.analysis.wire import encode

__all__ = ["Decision", "MetricState", "MetricVerdict", "Progress", "Reason", "Verdict"]


class Decision(StrEnum):
    """The five outcomes of a look."""

    Continue = "Continue"
    Promote = "Promote"
    Rollback = "Rollback"
    Hold = "Hold"
    Inconclusive = "Inconclusive"


class Reason(StrEnum):
    """Why; a closed set, never renamed."""

    Collecting = "Collecting"
    ProofsComplete = "ProofsComplete"
    HarmDetected = "HarmDetected"
    Catastrophe = "Catastrophe"
    DriftSustained = "DriftSustained"
    NoData = "NoData"
    MetricMissing = "MetricMissing"
    SharedIncident = "SharedIncident"
    TrafficSplitMismatch = "TrafficSplitMismatch"
    QualityCheckFailed = "QualityCheckFailed"
    DataQuality = "DataQuality"
    BudgetInsideBucket = "BudgetInsideBucket"
    CountRarerOutcome = "CountRarerOutcome"
    MaxDuration = "MaxDuration"


class MetricState(StrEnum):
    """State of one metric as people read it."""

    Pass = "Pass"  # noqa: S105
    Fail = "Fail"
    Unknown = "Unknown"
    Pending = "Pending"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the rollout stands; the caller's clock and counters.

    Attributes:
        elapsed_seconds: since judging began (pauses not counted).
        step: index of the current step.
        last_step: whether it is the last step before full promotion.
        step_looks: judged intervals of this step.
        step_requests: candidate requests of this step.
        step_elapsed_seconds: time in this step.
        step_min_seconds: the step's minimum duration.
        step_min_samples: the step's minimum of candidate requests.
        max_duration_seconds: end of the run, or None.
        seconds_without_data: time since the last interval with candidate data.
        min_duration_seconds: shortest time before full promotion.
    """

    elapsed_seconds: float = 0.0
    step: int = 0
    last_step: bool = True
    step_looks: int = 0
    step_requests: float = 0.0
    step_elapsed_seconds: float = 0.0
    step_min_seconds: float = 0.0
    step_min_samples: float = 0.0
    max_duration_seconds: float | None = None
    seconds_without_data: float = 0.0
    min_duration_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class MetricVerdict:
    """One metric at this look.

    Attributes:
        name: of the metric.
        type: rate, latency, drift, mean, count or fairness.
        role: what it may decide.
        state: Pass (proven, now), Fail, Unknown (no data, cannot be judged), Pending.
        candidate: value of the candidate (rate, tail share, mean; KL for drift) or None.
        baseline: value of the baseline or None.
        ratio: candidate / baseline, or None.
        interval: anytime-valid interval of the ratio (of the value where there is no ratio).
        limit: absolute limit, KL margin or ratio margin that is judged.
        samples: candidate observations behind it.
        log_e_harm: natural log of the evidence for harm.
        log_e_safe: natural log of the weakest safety proof that is needed (None: none is).
        weight: share in the combined evidence.
        weighted_e: weight x e-value, what the rollback rule adds up.
        phi: dispersion factor in force.
        needs: what is missing, in words ("" when nothing is).
        needs_requests: about how many more candidate requests, or None.
        needs_seconds: about how long, or None.
        note: what a reader must know (tolerated rate, wider margin, advice).
        culprits: features or groups by name, strongest first.
    """

    name: str
    type: str
    role: Role
    state: MetricState
    candidate: float | None = None
    baseline: float | None = None
    ratio: float | None = None
    interval: tuple[float, float] | None = None
    limit: float | None = None
    samples: float = 0.0
    log_e_harm: float = 0.0
    log_e_safe: float | None = None
    weight: float = 0.0
    weighted_e: float = 0.0
    phi: float = 1.0
    needs: str = ""
    needs_requests: float | None = None
    needs_seconds: float | None = None
    note: str = ""
    culprits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict of one look.

    ``step_complete``: the traffic may rise to the next step. ``blame``: metrics behind a rollback
    or hold, strongest first. ``total_e``: combined evidence for harm; rollback at
    ``1 / harm_level``, no step rises at 3 or more. ``anytime_p``: min(1, 1/max total_e so far).
    """

    decision: Decision
    reason: Reason
    message: str
    step_complete: bool
    metrics: tuple[MetricVerdict, ...]
    total_e: float
    look: int
    blame: tuple[str, ...] = ()
    anytime_p: float = 1.0
    alarms: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The verdict as one JSON object (one line of ``judge``)."""
        out: dict[str, Any] = encode(self)
        return out
