"""What Prometheus is told of every handoff: read from the watch cache at each scrape.

Nothing is written or asked for it, so a cluster at rest costs nothing between two scrapes. Labels
are the handoff's own name, the names of its metrics (at most 50) and words of closed sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from modelhandoff.api.vocabulary import ConditionType, Phase, Reason
from modelhandoff.cluster.views import moment

Raw = Mapping[str, Any]
Objects = Callable[[], Iterable[Raw]]

MEASURED = (
    ConditionType.READY,
    ConditionType.STALLED,
    ConditionType.PAUSED,
    ConditionType.CAPACITY_AVAILABLE,
    ConditionType.TRAFFIC_ALIGNED,
    ConditionType.METRICS_AVAILABLE,
)
"""The conditions that alerts and dashboards ask for."""
STATES = ("Pass", "Fail", "Pending", "Unknown")
VALUES = ("candidate", "baseline", "limit")
_CONDITION = {"True": 1.0, "False": 0.0}
_REASONS = frozenset(map(str, Reason)) | frozenset(map(str, Phase))


@dataclass(frozen=True, slots=True)
class LastLook:
    """What the newest look at a handoff's metrics found, beyond what its status keeps.

    Attributes:
        attempt: name of the attempt.
        share: the candidate's part of the requests, 0..1; ``None`` without requests.
        total_e: combined evidence of harm; ``None`` when nothing was judged.
        evidence: by metric, natural logarithm of the evidence of harm.
    """

    attempt: str
    share: float | None = None
    total_e: float | None = None
    evidence: Mapping[str, float] | None = None


class HandoffSeries(Collector):
    """One gauge family per question; a handoff that is gone leaves no series.

    Args:
        handoffs, attempts: the cache.
        looks: by namespace and name, the newest look; entries of handoffs that are gone are
            removed here.
        now: the time.
    """

    def __init__(
        self,
        handoffs: Objects,
        attempts: Objects,
        looks: dict[tuple[str, str], LastLook],
        now: Callable[[], datetime],
    ) -> None:
        self._handoffs = handoffs
        self._attempts = attempts
        self._looks = looks
        self._now = now

    def describe(self) -> Iterator[Metric]:
        """Nothing: at registration there is no cache to read yet."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """All families."""
        found = _Families()
        now = self._now()
        attempts = {
            (a["metadata"].get("namespace", ""), a["metadata"]["name"]): a.get("status") or {}
            for a in self._attempts()
        }
        totals = dict.fromkeys(Phase, 0)
        present = set()
        for handoff in self._handoffs():
            meta, status = handoff["metadata"], handoff.get("status") or {}
            who = (meta.get("namespace", ""), meta["name"])
            present.add(who)
            name = (status.get("attemptRef") or {}).get("name") or ""
            phase = _phase(status.get("phase"))
            if phase is not None:
                totals[phase] += 1
                found.phase.add_metric([*who, str(phase)], 1)
            found.of_status(who, status, now)
            found.of_attempt(who, phase, attempts.get((who[0], name)) or {}, now)
            look = self._looks.get(who)
            if look is not None and look.attempt == name and phase is Phase.PROGRESSING:
                found.of_look(who, look)
        for who in set(self._looks) - present:
            del self._looks[who]
        for each, number in totals.items():
            found.handoffs.add_metric([str(each)], number)
        yield from found.all()


class _Families:
    def __init__(self) -> None:
        self._made: list[GaugeMetricFamily] = []
        add = self._add
        self.phase = add("phase", "1 for the phase a handoff is in.", "phase")
        self.weight = add(
            "candidate_weight_percent", "Percent of the traffic that the candidate is meant to get."
        )
        self.share = add(
            "candidate_share_ratio", "The candidate's part of the requests in the newest look."
        )
        self.phase_seconds = add(
            "phase_seconds", "How long the attempt under way has been in its phase.", "phase"
        )
        self.attempt_seconds = add(
            "attempt_seconds", "Age of the attempt under way, waiting for people included."
        )
        self.people_seconds = add(
            "attempt_people_seconds",
            "Of it, time in which the attempt was paused or waited for approvals.",
        )
        self.capacity_wait = add(
            "capacity_wait_seconds", "How long a handoff has waited for a GPU, quota or node."
        )
        self.unknown_seconds = add(
            "metrics_unknown_seconds", "How long the metric source has given no usable answer."
        )
        self.condition = add("condition", "Conditions: 1 True, 0 False, -1 Unknown.", "condition")
        self.stalled = add("stalled", "1 while a handoff is stalled, by reason.", "reason")
        self.state = add("metric_state", "1 for what a metric says.", "metric", "state")
        self.value = add(
            "metric_value",
            "Candidate, baseline and limit of a metric, in its own unit (a share of requests; nats "
            "of a drift).",
            "metric",
            "of",
        )
        self.requests = add(
            "metric_requests", "Requests of the candidate that a metric rests on.", "metric"
        )
        self.total_e = add("evidence_total", "Combined evidence of harm, an e-value: 1 is none.")
        self.evidence = add(
            "metric_evidence_log", "Natural logarithm of a metric's evidence of harm.", "metric"
        )
        self.handoffs = GaugeMetricFamily(
            "modelhandoff_handoffs", "Handoffs by phase.", labels=["phase"]
        )
        self._made.append(self.handoffs)

    def _add(self, name: str, meaning: str, *labels: str) -> GaugeMetricFamily:
        family = GaugeMetricFamily(
            f"modelhandoff_{name}", meaning, labels=["namespace", "handoff", *labels]
        )
        self._made.append(family)
        return family

    def all(self) -> Iterator[Metric]:
        yield from self._made

    def of_status(self, who: tuple[str, str], status: Raw, now: datetime) -> None:
        _put(self.weight, who, (status.get("step") or {}).get("weight"))
        conditions = {c.get("type"): c for c in status.get("conditions") or ()}
        for kind in MEASURED:
            if kind in conditions:
                value = _CONDITION.get(str(conditions[kind].get("status")), -1.0)
                self.condition.add_metric([*who, str(kind)], value)
        stalled = conditions.get(ConditionType.STALLED) or {}
        if stalled.get("status") == "True" and stalled.get("reason") in _REASONS:
            self.stalled.add_metric([*who, stalled["reason"]], 1)
        capacity = conditions.get(ConditionType.CAPACITY_AVAILABLE) or {}
        if capacity.get("status") == "False":
            _put(self.capacity_wait, who, _age(capacity.get("lastTransitionTime"), now))
        for metric in status.get("metrics") or ():
            name = str(metric.get("name"))
            if metric.get("state") in STATES:
                self.state.add_metric([*who, name, metric["state"]], 1)
            for of in VALUES:
                _put(self.value, (*who, name, of), metric.get(of))
            _put(self.requests, (*who, name), metric.get("samples"))

    def of_attempt(
        self, who: tuple[str, str], phase: Phase | None, status: Raw, now: datetime
    ) -> None:
        """Only of an attempt under way: an ended one would age for ever."""
        if phase is None or phase.terminal:
            return
        in_phase = _age(status.get("phaseSince"), now)
        _put(self.phase_seconds, (*who, str(phase)), in_phase)
        _put(self.attempt_seconds, who, _age(status.get("startedAt"), now))
        paused = float(status.get("pausedSeconds") or 0.0) + (
            _age(status.get("pausedAt"), now) or 0
        )
        if phase is Phase.AWAITING_APPROVAL:
            paused += in_phase or 0.0
        if status.get("startedAt"):
            _put(self.people_seconds, who, paused)
        _put(self.unknown_seconds, who, _age(status.get("unknownSince"), now))

    def of_look(self, who: tuple[str, str], look: LastLook) -> None:
        _put(self.share, who, look.share)
        _put(self.total_e, who, look.total_e)
        for name, value in (look.evidence or {}).items():
            _put(self.evidence, (*who, name), value)


def _put(family: GaugeMetricFamily, labels: tuple[str, ...], value: Any) -> None:
    if isinstance(value, int | float):
        family.add_metric(list(labels), value)


def _phase(word: Any) -> Phase | None:
    try:
        return Phase(word)
    except ValueError:
        return None


def _age(text: Any, now: datetime) -> float | None:
    """Seconds since a stored time; ``None`` for what is no time."""
    at = moment(text)
    return None if at is None else max(0.0, (now - at).total_seconds())
