"""An attempt's status as a value: what is stored in HandoffAttempt.status, and nothing else.

One immutable object, read from and written to plain JSON. Everything that decides anything
after a restart is in here; what is not in here can be seen on the cluster.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from modelhandoff.api.vocabulary import Outcome, Phase
from modelhandoff.errors import cut
from modelhandoff.rollout.measure import Exclusion, Stage

MAX_TIMELINE = 40
MAX_EXCLUSIONS = 60
MAX_MESSAGE = 1000


@dataclass(frozen=True, slots=True)
class Verdict:
    """The latched verdict of an attempt.

    Attributes:
        look: how many closed intervals it rests on.
        total_e: combined evidence of harm at that look (weighted mean of e-values).
    """

    outcome: Outcome
    reason: str
    message: str
    at: datetime
    look: int = 0
    total_e: float = 0.0


@dataclass(frozen=True, slots=True)
class Withheld:
    """Why the candidate has weight 0 although its step would give it more."""

    reason: str
    message: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Watched:
    """What is known of a candidate on probation, judged alone; the comparison's evidence stays.

    Attributes:
        evidence, cursor: checkpoints, as those of the comparison.
    """

    evidence: str = ""
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class Approved:
    """An approval that let the attempt through its gate."""

    role: str
    approver: str
    name: str
    at: datetime
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the attempt's timeline."""

    at: datetime
    what: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who wrote a route's weights, for which step, and how much: an annotation on the route.

    A route whose weights differ from its own stamp was changed by somebody else.
    """

    attempt: str
    step: str
    weight: int

    def __str__(self) -> str:
        return f"{self.attempt}/{self.step}/{self.weight}"

    @classmethod
    def parse(cls, text: str) -> Stamp | None:
        """Read a stamp; ``None`` for anything this code did not write."""
        parts = text.split("/")
        if len(parts) != 3 or not parts[2].isdigit():
            return None
        return cls(parts[0], parts[1], int(parts[2]))


@dataclass(frozen=True, slots=True)
class Intent:
    """A take-down latched on the route, in the same PATCH that took the weight away."""

    attempt: str
    outcome: Outcome
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.attempt}:{self.outcome}:{self.reason}:{cut(self.message, MAX_MESSAGE)}"

    @classmethod
    def parse(cls, text: str) -> Intent | None:
        """Read an intent; ``None`` for anything this code did not write."""
        parts = text.split(":", 3)
        if len(parts) != 4 or parts[1] not in set(Outcome):
            return None
        return cls(parts[0], Outcome(parts[1]), parts[2], parts[3])


@dataclass(frozen=True, slots=True)
class AttemptState:
    """The status of one attempt.

    Attributes:
        phase_since: when ``phase`` was entered.
        step: index of the current step; -1 before the first weight.
        step_since: when the current step's weight landed; ``None`` while it has not.
        stages: every weight that landed, oldest first.
        evidence, cursor: the engine's and the metrics room's checkpoints, opaque JSON texts.
        bins: judged bins of the drift metrics as JSON text, fixed with the first evidence.
        history: what earlier attempts say of the counts' noise (``rollout.history``), likewise.
        probation: what is known of the candidate since it has all of the traffic.
        looks, step_looks: judged intervals of the attempt and of the present step.
        step_requests: the candidate's requests in the present step.
        last_data: end of the last interval with candidate data, unix seconds; 0 before.
        unknown_since: since when no usable answer has come from the metric source.
        withheld: set while the weight is kept at 0 for now; cleared when the cause is gone.
        paused_at, paused_seconds: the present pause, and the sum of those before.
        verdict: latched once; only an abort may still replace a promotion not yet carried out.
        first_weight_at, off_at, max_weight: for the sentence a person reads afterwards.
        crashes_before: crashes of the candidate's pods counted before its first weight.
        contested: how often a foreign increase of the weight was taken back.
        promoted_at: when the candidate became the stable revision.
        approvals: what let the attempt through its gate; once there, they count for good.
        metrics: last summary per metric, kept for people.
        checks: what the verification Job found, as stored; empty before.
        checks_problem: why its report cannot be used, or "".
        jobs: what came of the tenant's own Jobs so far, as stored.
        baseline_version: version that the candidate was compared with, at the verdict.
        report_ref: where the decision report is kept, as stored.
    """

    phase: Phase = Phase.PENDING
    phase_since: datetime | None = None
    started_at: datetime | None = None
    step: int = -1
    step_since: datetime | None = None
    stages: tuple[Stage, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    evidence: str = ""
    cursor: str = ""
    bins: str = ""
    history: str = ""
    probation: Watched | None = None
    looks: int = 0
    step_looks: int = 0
    step_requests: float = 0.0
    last_data: float = 0.0
    unknown_since: datetime | None = None
    unknown_reason: str = ""
    unknown_message: str = ""
    withheld: Withheld | None = None
    paused_at: datetime | None = None
    paused_seconds: float = 0.0
    verdict: Verdict | None = None
    first_weight_at: datetime | None = None
    off_at: datetime | None = None
    max_weight: int = 0
    crashes_before: int = 0
    contested: int = 0
    promoted_at: datetime | None = None
    approvals: tuple[Approved, ...] = ()
    warmed_up: bool = False
    metrics: tuple[Mapping[str, Any], ...] = ()
    checks: tuple[Mapping[str, Any], ...] = ()
    checks_problem: str = ""
    jobs: tuple[Mapping[str, Any], ...] = ()
    timeline: tuple[Entry, ...] = ()
    baseline_version: str = ""
    report_ref: Mapping[str, Any] | None = None

    def but(self, **changes: Any) -> AttemptState:
        """A copy with some fields replaced."""
        return dataclasses.replace(self, **changes)

    def enter(self, phase: Phase, now: datetime, what: str, **changes: Any) -> AttemptState:
        """A copy in another phase, with a line in the timeline."""
        return self.note(now, what).but(phase=phase, phase_since=now, **changes)

    def note(self, now: datetime, what: str) -> AttemptState:
        """A copy with one more line in the timeline; the oldest but the first falls out."""
        lines = (*self.timeline, Entry(now, cut(what, 300)))
        if len(lines) > MAX_TIMELINE:
            lines = (lines[0], *lines[-(MAX_TIMELINE - 1) :])
        return self.but(timeline=lines)

    @property
    def weight(self) -> int:
        """The weight that last landed on the candidate."""
        return self.stages[-1].weight if self.stages else 0

    def paused_for(self, now: datetime) -> timedelta:
        """All time this attempt has been paused, the present pause included."""
        running = (now - self.paused_at).total_seconds() if self.paused_at else 0.0
        return timedelta(seconds=self.paused_seconds + running)

    def to_status(self, weight: int | None = None) -> dict[str, Any]:
        """JSON for HandoffAttempt.status; fields at their default are left out."""
        found: dict[str, Any] = {
            "phase": str(self.phase),
            "step": self.step,
            "weight": self.weight if weight is None else weight,
        }
        for name, value in (
            ("phaseSince", self.phase_since),
            ("startedAt", self.started_at),
            ("stepStartedAt", self.step_since),
            ("unknownSince", self.unknown_since),
            ("pausedAt", self.paused_at),
            ("firstWeightAt", self.first_weight_at),
            ("offAt", self.off_at),
            ("promotedAt", self.promoted_at),
        ):
            if value is not None:
                found[name] = stamp(value)
        for name, plain in (
            ("evidence", self.evidence),
            ("cursor", self.cursor),
            ("bins", self.bins),
            ("history", self.history),
            ("looks", self.looks),
            ("stepLooks", self.step_looks),
            ("stepRequests", self.step_requests),
            ("lastData", self.last_data),
            ("unknownReason", self.unknown_reason),
            ("unknownMessage", self.unknown_message),
            ("pausedSeconds", self.paused_seconds),
            ("maxWeight", self.max_weight),
            ("crashesBefore", self.crashes_before),
            ("contested", self.contested),
            ("warmedUp", self.warmed_up),
            ("checksProblem", self.checks_problem),
            ("baselineVersion", self.baseline_version),
        ):
            if plain:
                found[name] = plain  # noqa: PERF403 - one loop of the same shape as the one above
        if self.stages:
            found["stages"] = [
                {"start": s.start, "step": s.step, "weight": s.weight} for s in self.stages
            ]
        if self.exclusions:
            found["exclusions"] = [
                {"start": e.start, "end": e.end, "why": e.why} for e in self.exclusions
            ]
        if self.approvals:
            found["approvals"] = [
                {"role": a.role, "approver": a.approver, "name": a.name, "at": stamp(a.at)}
                | ({"comment": a.comment} if a.comment else {})
                for a in self.approvals
            ]
        if self.probation:
            found["probation"] = {
                "evidence": self.probation.evidence,
                "cursor": self.probation.cursor,
            }
        if self.withheld:
            found["withheld"] = {
                "reason": self.withheld.reason,
                "message": self.withheld.message,
                "since": stamp(self.withheld.since),
            }
        if self.verdict:
            found["verdict"] = {
                "decision": str(self.verdict.outcome),
                "reason": self.verdict.reason,
                "message": cut(self.verdict.message, MAX_MESSAGE),
                "at": stamp(self.verdict.at),
                "look": self.verdict.look,
                "totalE": self.verdict.total_e,
            }
        if self.checks:
            found["checks"] = [dict(check) for check in self.checks]
        if self.jobs:
            found["jobs"] = [dict(job) for job in self.jobs]
        if self.metrics:
            found["metrics"] = [dict(m) for m in self.metrics]
        if self.report_ref:
            found["reportRef"] = dict(self.report_ref)
        if self.timeline:
            found["timeline"] = [{"at": stamp(e.at), "what": e.what} for e in self.timeline]
        return found

    @classmethod
    def from_status(cls, raw: Mapping[str, Any]) -> AttemptState:
        """Read what :meth:`to_status` wrote; an empty status is a fresh attempt."""
        verdict = raw.get("verdict")
        withheld = raw.get("withheld")
        probation = raw.get("probation")
        return cls(
            phase=Phase(raw.get("phase") or Phase.PENDING),
            phase_since=moment(raw.get("phaseSince")),
            started_at=moment(raw.get("startedAt")),
            step=int(raw.get("step", -1)),
            step_since=moment(raw.get("stepStartedAt")),
            stages=tuple(
                Stage(float(s["start"]), int(s["step"]), int(s["weight"]))
                for s in raw.get("stages") or ()
            ),
            exclusions=tuple(
                Exclusion(float(e["start"]), float(e["end"]), str(e["why"]))
                for e in raw.get("exclusions") or ()
            ),
            evidence=raw.get("evidence") or "",
            cursor=raw.get("cursor") or "",
            bins=raw.get("bins") or "",
            history=raw.get("history") or "",
            probation=Watched(probation["evidence"], probation["cursor"]) if probation else None,
            looks=int(raw.get("looks", 0)),
            step_looks=int(raw.get("stepLooks", 0)),
            step_requests=float(raw.get("stepRequests", 0.0)),
            last_data=float(raw.get("lastData", 0.0)),
            unknown_since=moment(raw.get("unknownSince")),
            unknown_reason=raw.get("unknownReason") or "",
            unknown_message=raw.get("unknownMessage") or "",
            withheld=Withheld(withheld["reason"], withheld["message"], _required(withheld["since"]))
            if withheld
            else None,
            paused_at=moment(raw.get("pausedAt")),
            paused_seconds=float(raw.get("pausedSeconds", 0.0)),
            verdict=Verdict(
                Outcome(verdict["decision"]),
                verdict["reason"],
                verdict["message"],
                _required(verdict["at"]),
                int(verdict.get("look", 0)),
                float(verdict.get("totalE", 0.0)),
            )
            if verdict
            else None,
            first_weight_at=moment(raw.get("firstWeightAt")),
            off_at=moment(raw.get("offAt")),
            max_weight=int(raw.get("maxWeight", 0)),
            crashes_before=int(raw.get("crashesBefore", 0)),
            contested=int(raw.get("contested", 0)),
            promoted_at=moment(raw.get("promotedAt")),
            approvals=tuple(
                Approved(
                    a["role"], a["approver"], a["name"], _required(a["at"]), a.get("comment", "")
                )
                for a in raw.get("approvals") or ()
            ),
            warmed_up=bool(raw.get("warmedUp", False)),
            metrics=tuple(raw.get("metrics") or ()),
            checks=tuple(raw.get("checks") or ()),
            checks_problem=raw.get("checksProblem") or "",
            jobs=tuple(raw.get("jobs") or ()),
            baseline_version=raw.get("baselineVersion") or "",
            report_ref=raw.get("reportRef"),
            timeline=tuple(
                Entry(_required(e["at"]), str(e["what"])) for e in raw.get("timeline") or ()
            ),
        )


def stamp(value: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, as stored."""
    text = value.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def minute(value: datetime) -> str:
    """Day and minute in UTC, for people."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def span(length: timedelta) -> str:
    """A span of time in words: 90 s, 12 min, 3 h 5 min."""
    seconds = max(0, round(length.total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def moment(text: str | None) -> datetime | None:
    """Read what :func:`stamp` wrote, or any RFC 3339 time."""
    return None if not text else datetime.fromisoformat(text)


def _required(text: str) -> datetime:
    return datetime.fromisoformat(text)
