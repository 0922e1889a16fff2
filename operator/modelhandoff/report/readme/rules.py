"""Rollout rules in plain words, with the picture of the steps."""

from __future__ import annotations

from collections.abc import Iterator

from modelhandoff.analysis import wording
from modelhandoff.api.handoff import ScaleDown
from modelhandoff.api.quantities import format_duration
from modelhandoff.api.rollout_spec import (
    Initial,
    OnInconclusive,
    OnShortage,
    Promotion,
    Rollout,
    Route,
)
from modelhandoff.report.document import (
    Block,
    Bullets,
    Code,
    Inline,
    Line,
    Listing,
    Paragraph,
    Row,
    Table,
)
from modelhandoff.report.readme.measures import proofs
from modelhandoff.report.readme.subject import Subject
from modelhandoff.rollout.shares import shares_of

_ROLLOUT = (
    "route.gateway.name", "route.gateway.namespace", "route.gateway.sectionName",
    "route.hostnames", "route.matches[].path.type", "route.matches[].path.value", "capacity.mode",
    "capacity.pendingDeadline", "capacity.onShortage", "warmup.requests", "warmup.maxDuration",
    "warmup.discard", "steps[].weight", "steps[].minDuration", "steps[].minSamples",
    "decision.harmLevel", "decision.safeLevel", "decision.harmMargin", "decision.safeMargin",
    "decision.minLooks", "decision.maxDuration", "decision.onInconclusive", "decision.promotion",
    "onMetricsUnknown.holdFor", "initial", "scaleDownDelay", "revisionHistoryLimit",
    "rollbackPlan",
)  # fmt: skip
_BASELINE = ("workloadRef.kind", "workloadRef.name", "expectedRevision", "scaleDown")
ROLLOUT_TERMS = frozenset(
    {*(f"rollout.{one}" for one in _ROLLOUT), *(f"baseline.{one}" for one in _BASELINE)}
)

_THEN = {
    OnInconclusive.HOLD: "the weight stays, and a person promotes or aborts",
    OnInconclusive.EXTEND: "judging goes on",
    OnInconclusive.ROLLBACK: "the candidate is rolled back",
}


def rollout(subject: Subject) -> Iterator[Block]:
    """How the candidate comes to production, or does not."""
    found = subject.spec.rollout
    yield Listing("\n".join(_picture(found)), "mermaid")
    yield Table(
        ("Step", "Share of the traffic", "Stays at least", "Requests at least"),
        tuple(
            Row(
                (
                    (str(at) if one.weight < 100 else "probation",),
                    (f"{one.weight} %",),
                    (format_duration(one.min_duration),),
                    (wording.count(one.min_samples) if one.min_samples else "any",),
                )
            )
            for at, one in enumerate(shares_of(subject.spec), start=1)
        ),
        (1, 2, 3),
    )
    yield Bullets(tuple(_decides(found)))
    yield from proofs(subject)
    yield Paragraph(("Before traffic, and around it:",))
    yield Bullets((*_before(subject), *_route(found.route)))
    yield Paragraph(("After a verdict:",))
    yield Bullets(tuple(_after(found)))
    if found.rollback_plan is not None:
        yield Paragraph(("Rollback plan, where traffic alone is not enough:",))
        for line in found.rollback_plan.split("\n"):
            if line.strip():
                yield Paragraph((line,))


def _picture(found: Rollout) -> Iterator[str]:
    """Only numbers of ours: nothing that somebody wrote can leave the picture."""
    yield "flowchart LR"
    yield '  start(["verified, warm, 0 %"]) --> step1'
    last = len(found.steps)
    for at, one in enumerate(found.steps, start=1):
        then = f"step{at + 1}" if at < last else ("probation" if found.probation else "all")
        stays = wording.duration(one.min_duration.total_seconds())
        yield f'  step{at}["{one.weight} %, {stays}"] --> {then}'
    if found.probation is not None:
        stays = wording.duration(found.probation.total_seconds())
        yield f'  probation["100 % on probation, {stays}"] --> all'
        yield "  probation -. harm proven .-> back"
    yield '  all(["100 %, promoted"])'
    for at in range(1, last + 1):
        yield f"  step{at} -. harm proven .-> back"
    yield '  back(["0 %, baseline serves"])'


def _decides(found: Rollout) -> Iterator[Line]:
    decision = found.decision
    yield (
        f"Rolled back at once, at any step, when harm is proven: combined evidence at "
        f"{1 / decision.harm_level:g}, so at most {100 * decision.harm_level:g} % of good "
        "candidates are.",
    )
    who = (
        "a person then gives the last word"
        if decision.promotion is Promotion.MANUAL
        else "it then happens by itself"
    )
    yield (
        f"Promoted when every proof is there at {1 / decision.safe_level:g}, so that per metric at "
        f"most {100 * decision.safe_level:g} % of bad candidates pass; {who}.",
    )
    yield (f"Each step is looked at {decision.min_looks} times or more.",)
    yield (
        f"After {format_duration(decision.max_duration)} on live traffic without a verdict "
        f"{_THEN[decision.on_inconclusive]}.",
    )
    yield (
        f"Without data the weight is kept for "
        f"{format_duration(found.on_metrics_unknown.hold_for)}, then it is 0 until data are back. "
        "Silence never promotes.",
    )


def _before(subject: Subject) -> Iterator[Line]:
    found, baseline = subject.spec.rollout, subject.spec.baseline
    wait = (
        "gives up at the scheduler's first refusal"
        if found.capacity.on_shortage is OnShortage.ABORT
        else "waits"
    )
    yield (
        f"Room for the candidate: {found.capacity.mode}, beside the whole baseline; without room "
        f"it {wait}, for at most {format_duration(found.capacity.pending_deadline)}.",
    )
    if found.warmup.requests:
        yield (
            f"Warm-up: {wording.count(found.warmup.requests)} example requests to every new pod, "
            f"within {format_duration(found.warmup.max_duration)}.",
        )
    else:
        yield ("No warm-up requests (of at most "
               f"{format_duration(found.warmup.max_duration)}).",)  # fmt: skip
    yield (f"Measurements in the first {format_duration(found.warmup.discard)} after a planned "
           "start count for neither version.",)  # fmt: skip
    yield (
        "The first version of all serves at once."
        if found.initial is Initial.DIRECT
        else "The first version of all needs a baseline to be compared with.",
    )
    if baseline.workload_ref is not None:
        scaled = (
            "goes to zero pods after the promotion"
            if baseline.scale_down is ScaleDown.ON_PROMOTION
            else "is never scaled"
        )
        yield (
            f"First baseline: {baseline.workload_ref.kind} ",
            Code(baseline.workload_ref.name),
            f", which {scaled}.",
        )
    elif baseline.scale_down is ScaleDown.ON_PROMOTION:
        yield ("An adopted Deployment goes to zero pods after the promotion.",)
    if baseline.expected_revision is not None:
        yield ("Starts only while ", Code(baseline.expected_revision), " is stable.")


def _route(route: Route) -> Iterator[Line]:
    gateway = route.gateway
    where: list[Inline] = ["Traffic comes through the gateway ", Code(gateway.name)]
    if gateway.namespace is not None:
        where += [" of namespace ", Code(gateway.namespace)]
    if gateway.section_name is not None:
        where += [", listener ", Code(gateway.section_name)]
    hosts: list[Inline] = []
    for one in route.hostnames:
        hosts += [", " if hosts else ", host names ", Code(one)]
    where += hosts or [", every host name"]
    for at, match in enumerate(route.matches):
        where += [" or " if at else ", paths: ", f"{match.path.type} ", Code(match.path.value)]
    yield (*where, ".")


def _after(found: Rollout) -> Iterator[Line]:
    yield (
        f"The old version stays warm for {format_duration(found.scale_down_delay)} after a "
        f"promotion; {found.revision_history_limit} old revisions are kept at zero pods.",
    )
    yield (
        "What was rolled back is never tried again without ",
        Code("kubectl handoff retry"),
        " or an edit.",
    )
