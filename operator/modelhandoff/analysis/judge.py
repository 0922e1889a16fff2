"""The verdict of one look: rollback, hold, promote, inconclusive, or go on (2.10).

Order: harm beats everything; then what makes the data unusable; then the proofs; then the clock.
"""

import math
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis import wording
from modelhandoff.analysis.checks import Check, check_all, data_share, undetermined
from modelhandoff.analysis.compiled import RING, compiled
from modelhandoff.analysis.drift import sustained_alarm
from modelhandoff.analysis.evidence import BEST, CLOCK, SINCE, Evidence, readout, views
from modelhandoff.analysis.metric_verdicts import Picture, describe
from modelhandoff.analysis.plan import (
    CATASTROPHE_SHARE,
    DriftPlan,
    LatencyPlan,
    OnAlarm,
    OnInconclusive,
    Plan,
    Role,
)
from modelhandoff.analysis.split import MISMATCH
from modelhandoff.analysis.verdict import (
    Decision,
    MetricState,
    MetricVerdict,
    Progress,
    Reason,
    Verdict,
)

__all__ = ["RISE_BELOW", "judge"]

RISE_BELOW: Final = 3.0
"""No step rises and nothing is promoted while the combined evidence for harm is at or above."""

VOTING: Final = (Role.Guardrail, Role.Success, Role.Watch)
PROVING: Final = (Role.Guardrail, Role.Success)


def judge(plan: Plan, evidence: Evidence, progress: Progress, *, intervals: bool = True) -> Verdict:
    """Judge the evidence so far.

    Args:
        plan: what is judged.
        evidence: of this plan.
        progress: where the rollout stands, by the caller's clock.
        intervals: also compute the displayed ratio intervals (costs more than all the rest).
    """
    c = compiled(plan)
    v = views(plan, evidence)
    r = readout(plan, evidence)
    share = data_share(c, v)
    checks = check_all(c, v, r, share)
    picture = Picture(c, v, r, intervals=intervals)
    shown = [describe(picture, at, check) for at, check in enumerate(checks)]
    ranked = tuple(sorted(shown, key=lambda m: (-m.weighted_e, -m.log_e_harm)))
    case = _Case(
        plan, evidence, progress, picture=picture, checks=checks, shown=shown, ranked=ranked,
        share=share,
    )  # fmt: skip
    decision, reason, message, blame = _decide(case)
    if decision is Decision.Rollback:
        ranked = tuple(replace(m, state=MetricState.Fail) if m.name in blame else m for m in ranked)
    return Verdict(
        decision=decision,
        reason=reason,
        message=message,
        step_complete=decision in (Decision.Continue, Decision.Promote) and _step_complete(case),
        metrics=ranked,
        total_e=min(r.total_e, 1e300),
        look=evidence.looks,
        blame=blame,
        anytime_p=min(1.0, math.exp(-max(float(v["clock"][BEST]), 0.0))),
        alarms=case.alarms,
    )


class _Case:
    """Everything the rules of one look read."""

    def __init__(
        self, plan: Plan, evidence: Evidence, progress: Progress, *, picture: Picture,
        checks: list[Check], shown: list[MetricVerdict], ranked: tuple[MetricVerdict, ...],
        share: tuple[NDArray[np.float64], bool],
    ) -> None:  # fmt: skip
        c, v, r = picture.c, picture.v, picture.r
        self.plan, self.evidence, self.progress = plan, evidence, progress
        self.c, self.v, self.r, self.checks = c, v, r, checks
        self.shown, self.ranked = shown, ranked
        self.looks = evidence.looks
        self.share = share
        self.alarms = tuple(
            feature.key
            for i, (_, feature, p) in enumerate(c.drift)
            if sustained_alarm(v, i, feature, p)
        )


Outcome = tuple[Decision, Reason, str, tuple[str, ...]]


def _decide(case: _Case) -> Outcome:
    harm = _harm(case)
    if harm is not None:
        return harm
    hold = _hold(case)
    if hold is None and _may_promote(case):
        return Decision.Promote, Reason.ProofsComplete, _proven(case), ()
    end = case.progress.max_duration_seconds
    over = end is not None and case.progress.elapsed_seconds >= end
    if over and case.plan.on_inconclusive is not OnInconclusive.Extend:
        return _out_of_time(case, hold)
    if hold is not None:
        return hold
    return Decision.Continue, Reason.Collecting, _collecting(case), ()


def _harm(case: _Case) -> Outcome | None:
    plan, r = case.plan, case.r
    bound = 1.0 / plan.harm_level
    if r.total_e >= bound:
        fast = CATASTROPHE_SHARE * math.exp(min(r.catastrophe, 700.0))
        parts = [m for m in case.ranked if m.weight > 0.0]
        if len(case.c.catastrophes) and fast >= max(m.weighted_e for m in parts):
            names = tuple(
                plan.metrics[case.c.two[i].metric].name for i in case.c.catastrophes.tolist()
            )
            blamed = [m for m in parts if m.name in names]
            return Decision.Rollback, Reason.Catastrophe, _guilty(case, blamed[:1]), names
        top = parts[0].weighted_e
        guilty = [m for m in parts if m.weighted_e >= 0.1 * top]
        return (
            Decision.Rollback,
            Reason.HarmDetected,
            _guilty(case, guilty),
            tuple(m.name for m in guilty),
        )
    for metric in plan.metrics:
        if isinstance(metric, DriftPlan) and metric.sustained is not None:
            keys = tuple(f.key for f in metric.features if f.key in case.alarms)
            if keys and metric.sustained.action is OnAlarm.Rollback:
                text = (
                    f"{metric.name}: KL above {metric.sustained.max_kl:g} over the last "
                    f"{metric.sustained.windows} windows in {', '.join(keys)}."
                )
                return Decision.Rollback, Reason.DriftSustained, text, (metric.name,)
    return None


def _hold(case: _Case) -> Outcome | None:
    """The first reason that makes the data unusable for a promotion."""
    for rule in (_no_data, _missing, _flags, _split, _quality, _incident, _bucket, _complement):
        found = rule(case)
        if found is not None:
            reason, text, names = found
            return Decision.Hold, reason, text, names
    return None


Held = tuple[Reason, str, tuple[str, ...]]


def _no_data(case: _Case) -> Held | None:
    budget = case.plan.no_data_seconds
    silent = case.progress.seconds_without_data
    share, passed = case.share
    if silent >= budget:
        told = f"for {wording.duration(silent)}"
    elif passed and share[0] < 0.8:
        told = f"in {wording.percent(1.0 - float(share[0]))} of the last looks"
    else:
        return None
    text = (
        f"No candidate data {told} (budget {wording.duration(budget)}): judging resumes with the "
        "data; missing data is never a pass."
    )
    return Reason.NoData, text, ()


def _missing(case: _Case) -> Held | None:
    names = tuple(
        m.name
        for m, check in zip(case.plan.metrics, case.checks, strict=True)
        if check.missing and m.role in VOTING
    )
    if not names:
        return None
    verb = "has" if len(names) == 1 else "have"
    text = (
        f"{', '.join(names)} {verb} data in less than 80 % of the looks of the last "
        f"{wording.duration(case.plan.no_data_seconds)}: unknown is never a pass."
    )
    return Reason.MetricMissing, text, names


def _flags(case: _Case) -> Held | None:
    if not case.evidence.flags:
        return None
    text = f"The last interval is flagged {', '.join(case.evidence.flags)}: nothing rises on it."
    return Reason.DataQuality, text, ()


def _split(case: _Case) -> Held | None:
    if case.r.split < MISMATCH:
        return None
    text = (
        "The observed traffic share does not match the planned weight within 10 % "
        f"(evidence {wording.evidence(math.exp(min(case.r.split, 700.0)))}, limit 1,000): "
        "check routing, stickiness and retries."
    )
    return Reason.TrafficSplitMismatch, text, ()


def _quality(case: _Case) -> Held | None:
    bound = math.log(1.0 / case.plan.harm_level)
    names = tuple(m.name for m in case.shown if m.role is Role.Quality and m.log_e_harm >= bound)
    if not names:
        return None
    return Reason.QualityCheckFailed, f"Quality check failed: {', '.join(names)}.", names


def _incident(case: _Case) -> Held | None:
    names = tuple(
        m.name for m, check in zip(case.shown, case.checks, strict=True)
        if check.excused and m.role in VOTING
    )  # fmt: skip
    if not names:
        return None
    text = (
        f"Shared incident: the baseline breaks the limit of {', '.join(names)} too; no rollback "
        "for it and no promotion until it is over."
    )
    return Reason.SharedIncident, text, names


def _bucket(case: _Case) -> Held | None:
    for at, metric in enumerate(case.plan.metrics):
        inside = undetermined(case.c, case.v, case.r, at)
        if inside is None or not isinstance(metric, LatencyPlan) or metric.role not in PROVING:
            continue
        told = wording.hidden_budget(metric.budget or 0.0, inside, metric.unit)
        text = f"{metric.name} is undetermined: {told}."
        return Reason.BudgetInsideBucket, text, (metric.name,)
    return None


def _complement(case: _Case) -> Held | None:
    names = tuple(
        m.name for m, check in zip(case.shown, case.checks, strict=True)
        if check.too_frequent and m.role in VOTING
    )  # fmt: skip
    if not names:
        return None
    text = (
        f"{', '.join(names)}: more than half of the baseline's requests count as events; declare "
        "the complement (count the rarer outcome)."
    )
    return Reason.CountRarerOutcome, text, names


def _step_complete(case: _Case) -> bool:
    """Whether traffic may rise: minimums met, no sign of harm, nothing unknown."""
    p = case.progress
    if case.r.total_e >= RISE_BELOW or case.looks < 1 or case.evidence.flags:
        return False
    known = _present_now(case) and all(
        (check.share >= 0.8 and not check.alarming)
        or not case.c.components[at]
        or m.role not in VOTING
        for at, (m, check) in enumerate(zip(case.plan.metrics, case.checks, strict=True))
    )
    return (
        known
        and p.step_looks >= case.plan.min_looks
        and p.step_elapsed_seconds >= p.step_min_seconds
        and p.step_requests >= p.step_min_samples
    )


def _present_now(case: _Case) -> bool:
    """Whether the newest judged interval had candidate requests."""
    now = int(case.v["clock"][CLOCK])
    return now > int(case.v["clock"][SINCE]) and bool(case.v["present"][now % RING, 0] > 0.0)


def _may_promote(case: _Case) -> bool:
    p = case.progress
    judged = [
        check
        for at, (m, check) in enumerate(zip(case.plan.metrics, case.checks, strict=True))
        if m.role in PROVING and case.c.components[at]
    ]
    able = bool(judged) or any(
        case.c.components[at] and m.role in VOTING for at, m in enumerate(case.plan.metrics)
    )
    return (
        able
        and p.last_step
        and case.looks >= case.plan.min_looks
        and p.elapsed_seconds >= p.min_duration_seconds
        and _step_complete(case)
        and all(check.proven for check in judged)
    )


def _out_of_time(case: _Case, hold: Outcome | None) -> Outcome:
    missing = [m for m in case.ranked if m.role in PROVING and m.state is not MetricState.Pass]
    names = tuple(m.name for m in missing)
    took = wording.duration(case.progress.elapsed_seconds)
    if hold is not None:
        text = f"No verdict after {took}. {hold[2]}"
        names = hold[3] or names
    elif missing:
        told = "; ".join(f"{m.name} needs {m.needs or 'a proof'}" for m in missing)
        text = f"No verdict after {took}, nothing wrong found: {told}."
    else:
        text = f"No verdict after {took}: the last step is not complete."
    if case.plan.on_inconclusive is OnInconclusive.Rollback:
        return Decision.Rollback, Reason.MaxDuration, text, ()
    return Decision.Inconclusive, hold[1] if hold else Reason.MaxDuration, text, names


# --- sentences ----------------------------------------------------------------------------------


def _guilty(case: _Case, guilty: list[MetricVerdict]) -> str:
    bound = 1.0 / case.plan.harm_level
    told = "; ".join(_fact(case, m) for m in guilty)
    return (
        f"Harm detected at look {case.looks}: {told} "
        f"(evidence {wording.evidence(case.r.total_e)}, rollback at {wording.evidence(bound)})."
    )


def _fact(case: _Case, m: MetricVerdict) -> str:
    """One metric in one clause with its numbers."""
    if m.candidate is None:
        return m.name
    plan = next(one for one in case.plan.metrics if one.name == m.name)
    spread = ""
    if m.interval is not None and np.isfinite(m.interval).all():
        low, high = m.interval
        shares = m.type in ("latency", "rate") and m.ratio is None
        spread = (
            f", 95 % interval {wording.percent(low)} to {wording.percent(high)}"
            if shares
            else f", 95 % interval {low:.3g} to {high:.3g}"
        )
    size = f", {wording.count(m.samples)} requests"
    if m.type == "drift":
        who = f" in {', '.join(m.culprits)}" if m.culprits else ""
        return f"{m.name} KL {m.candidate:.3g}{who} (limit {m.limit:g}{spread}{size})"
    if isinstance(plan, LatencyPlan) and plan.budget is not None and m.ratio is None:
        over = wording.latency(plan.budget, plan.unit)
        share, limit = wording.percent(m.candidate), wording.percent(plan.tail)
        return f"{m.name} over {over} on {share} of requests (limit {limit}{spread}{size})"
    if m.type == "mean":
        pair = f"{m.candidate:.4g} against {m.baseline:.4g}"
        return f"{m.name} {pair} (ratio {m.ratio or 0.0:.3g}{spread}{size})"
    if m.type == "fairness":
        who = ", ".join(m.culprits)
        return f"{m.name} gap {m.candidate:.3g} in {who} (limit {m.limit:g}{size})"
    if m.type == "count":
        ratio = f"{m.ratio:.3g}" if m.ratio is not None else "unknown"
        return f"{m.name} at {ratio} of the baseline{spread}"
    against = ""
    if m.baseline is not None:
        against = f" against {wording.percent(m.baseline)} on the baseline"
    ratio = f", ratio {m.ratio:.3g}" if m.ratio is not None else ""
    absolute = getattr(plan, "limit", None)
    limit = f", limit {wording.percent(absolute)}" if absolute is not None else ""
    inside = (ratio + limit + spread + size)[2:]
    return f"{m.name} at {wording.percent(m.candidate)}{against} ({inside})"


def _proven(case: _Case) -> str:
    names = [m.name for m in case.shown if m.role in PROVING]
    return (
        f"All proofs are current at look {case.looks}: {', '.join(names) or 'nothing to prove'} "
        f"(evidence for harm {wording.evidence(case.r.total_e)}, rollback at "
        f"{wording.evidence(1.0 / case.plan.harm_level)})."
    )


def _collecting(case: _Case) -> str:
    plan, p = case.plan, case.progress
    e = wording.evidence(case.r.total_e)
    head = f"Look {case.looks}: no harm found (evidence {e}, rollback at {1 / plan.harm_level:.0f})"
    if case.r.total_e >= RISE_BELOW:
        top = case.ranked[0].name
        head = (
            f"Look {case.looks}: signs of harm in {top} (evidence {e}, rollback at "
            f"{1 / plan.harm_level:.0f}); traffic does not rise"
        )
    short = plan.min_looks - p.step_looks
    if short > 0:
        return f"{head}; at least {short} more looks in this step."
    waiting = [m for m in case.ranked if m.role in PROVING and m.state is MetricState.Pending]
    if waiting and p.last_step:
        slowest = max(waiting, key=lambda m: m.needs_seconds or math.inf)
        return f"{head}; {slowest.name} needs {slowest.needs or 'a proof'}."
    if p.step_elapsed_seconds < p.step_min_seconds:
        left = wording.duration(p.step_min_seconds - p.step_elapsed_seconds)
        return f"{head}; this step lasts {left} more."
    if p.step_requests < p.step_min_samples:
        left = wording.count(p.step_min_samples - p.step_requests)
        return f"{head}; this step needs {left} more candidate requests."
    return f"{head}."
