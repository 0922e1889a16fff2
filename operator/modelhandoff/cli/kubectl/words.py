"""Every reason with its meaning and remedy; the tables of ``docs/operations.md`` are made of it.

A reason that is new in ``api.vocabulary`` gets a row here; then ``modelhandoff generate``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """What a reason means, and what to do about it."""

    meaning: str
    remedy: str


Row = tuple[tuple[str, ...], str, str]
"""Reasons, what happened, what to do."""

_NOTHING = "nothing"

GROUPS: tuple[tuple[str, tuple[Row, ...]], ...] = (
    (
        "Verdicts",
        (
            (
                ("HarmDetected", "Catastrophe"),
                "the named metrics are worse, beyond doubt",
                "look at the attempt's evidence; fix the model; apply",
            ),
            (
                ("DriftSustained",),
                "the distribution stayed beyond its limit for `sustainedFor`",
                "compare training and live data",
            ),
            (("ProofsComplete",), "every guardrail is proven safe now", _NOTHING),
            (
                ("Collecting",),
                "not enough evidence either way",
                "wait; the message says how much is missing",
            ),
            (("MaxDuration",), "the time is over with nothing wrong", "promote or abort by hand"),
            (
                ("SharedIncident",),
                "the baseline breaches the absolute limit too",
                "mend the incident; no verdict meanwhile",
            ),
            (
                ("QualityCheckFailed",),
                "a metric with the role Quality speaks against the candidate; the weight is held",
                "look at that metric; abort, or wait until it does not",
            ),
            (
                ("CountRarerOutcome",),
                "more than half of the requests count as events: no rate can be judged so",
                "let the metric count the rarer outcome",
            ),
            (
                ("Initial",),
                "the first version of all: there was nothing to compare it with",
                _NOTHING,
            ),
        ),
    ),
    (
        "Before traffic",
        (
            (("Verifying",), "a Job checks the bundle; no pod of it exists", "wait"),
            (
                ("ChecksPassed", "DigestsMatch"),
                "what is declared was checked, and holds",
                _NOTHING,
            ),
            (
                ("ChecksSkipped",),
                "a check could not be made of this kind of model; the message says why",
                "nothing, or hand over what the check needs",
            ),
            (
                ("NotDeclared",),
                "the handoff declares nothing of this kind to be checked",
                "declare it, where you want it checked",
            ),
            (
                ("ArtifactMismatch",),
                "the bytes are not the declared ones",
                "correct the digest or the file",
            ),
            (
                ("ArtifactRefused",),
                "a file is not what its role and format say, or does not load",
                "correct the file; the message names it",
            ),
            (
                ("ContractBroken",),
                "model, data contract and API contract do not agree",
                "correct the one that is wrong; the message names path and fix",
            ),
            (
                ("AcceptanceFailed",),
                "golden cases or acceptance criteria are not met",
                "look at the numbers in the message; fix the model or the criterion",
            ),
            (
                ("GovernanceIncomplete",),
                "model card, environment or bill of materials lacks something, or is not declared",
                "add what the message names",
            ),
            (
                ("MonitoringPlanned", "RunbookComplete"),
                "the plan is complete",
                _NOTHING,
            ),
            (
                ("MonitoringIncomplete",),
                "the monitoring plan would not notice an outage or drift within minutes",
                "add the metric that the message names, or shorten `monitoring.interval`",
            ),
            (
                ("RunbookIncomplete",),
                "the way back is not written down",
                "write `rollout.rollbackPlan`",
            ),
            (
                ("CheckInconclusive",),
                "a check could not be brought to an end; nothing speaks against the model",
                "read the message and the Job's log, then `retry`",
            ),
            (
                ("VerificationNotRun",),
                "the verification Job did not run to its end",
                "read the Job's events and log, then `retry`",
            ),
            (
                ("ReportUnreadable",),
                "the verification or warm-up Job left no usable report",
                "read the Job's log, then `retry`",
            ),
            (
                ("TamperedSpec",),
                "the Job was told something else than the operator wrote",
                "find who changed its ConfigMap, then `retry`",
            ),
            (
                ("TestFailed",),
                "a test of yours failed, by its exit code or by its JUnit report",
                "read the message and the Job's log; fix the model or the test, and apply",
            ),
            (
                ("TestRanNothing",),
                "a test of yours ended well without running a test case, or without a report",
                "let it write `/results/junit.xml` with at least one case that runs",
            ),
            (
                ("TestTooSlow", "ReproductionTooSlow"),
                "a Job of yours ran for longer than `timeout` or `within`",
                "make it faster, or give it more time or CPU",
            ),
            (
                ("Reproduced",),
                "the model was made again in time, with the declared metrics",
                _NOTHING,
            ),
            (
                ("ReproductionFailed",),
                "the training in your image ended with an error",
                "read the message and the Job's log; fix the training, and apply",
            ),
            (
                ("ReproductionDiffers",),
                "a metric of the model that was made again is off by more than its tolerance",
                "compare data, seed and libraries; correct the declared value only if it was wrong",
            ),
            (
                ("JobReportBroken",),
                "a Job of yours ended well and left a report that cannot be read",
                "correct what it writes to `/results`; the message names file and fault",
            ),
            (
                ("JobNotRun",),
                "a Job of yours did not run to its end, for no fault of the model",
                "read the message and the Job's events, then `retry`",
            ),
            (
                ("AwaitingApproval",),
                "people have to sign before a pod exists; the message names the roles",
                "they run `kubectl handoff approve`",
            ),
            (
                ("Frozen",),
                "the policy lets nothing new come to production until the time in the message",
                "wait; harm is still acted on",
            ),
            (("Approved",), "nobody's signature is missing", _NOTHING),
            (
                ("ApprovalNotRequired",),
                "no role has to approve: it goes on, and the checklist lacks the point",
                "name roles in `approvals.roles`, where people shall sign",
            ),
            (
                ("ApprovalRejected",),
                "a role rejected it, which is final for what it says",
                "apply a corrected candidate",
            ),
        ),
    ),
    (
        "The candidate's pods",
        (
            (("Provisioning", "WarmingUp"), "its pods start, or answer examples", "wait"),
            (("CanaryReady", "CapacityAvailable"), "its pods have room and are ready", _NOTHING),
            (
                ("CapacityShortage", "QuotaExceeded"),
                "no room; the message is the scheduler's own sentence",
                "free a GPU, then `retry`",
            ),
            (
                ("GpuMismatch",),
                "the pods got a GPU product that the baseline does not run on; latencies cannot be "
                "compared",
                "name the product in `serving.gpu.product`, or `sameAsBaseline: false`; then "
                "`retry`",
            ),
            (
                ("ImagePullFailed", "ArtifactUnavailable"),
                "image or file cannot be had: host, registry, claim or ConfigMap; the message "
                "says which",
                "mend, then `retry`",
            ),
            (
                ("CanaryCrashed", "CanaryNotReady", "WarmupFailed"),
                "it did not start, or did not answer the examples",
                "read the pod's log; fix; apply",
            ),
            (("CanaryUnstable",), "it crashed under traffic", "read the previous log; fix; apply"),
            (
                ("CanaryLost",),
                "no pod of the candidate is ready; weight 0 until one is",
                "look at the node and the pod",
            ),
        ),
    ),
    (
        "Traffic and what serves",
        (
            (("TrafficAligned",), "the gateway has taken the weights that are set", _NOTHING),
            (
                ("TrafficPending",),
                "the gateway has not taken the weights yet",
                "wait; if it lasts, read the HTTPRoute's status and the gateway's log",
            ),
            (
                ("TrafficSplitMismatch",),
                "the share seen differs from the weight set",
                "look for sticky sessions, other routes, a stuck gateway",
            ),
            (("RouteConflict",), "another HTTPRoute has the same gateway, host and path",
             "remove one"),
            (
                ("RouteRejected",),
                "the gateway refuses the route",
                "read the HTTPRoute's status; correct the gateway or `rollout.route`",
            ),
            (
                ("TrafficContested",),
                "somebody raised the weight twice",
                "find the other writer, then `retry`",
            ),
            (
                ("BaselineMissing", "BaselineNotReady"),
                "the version that serves is gone or not ready; nothing moves",
                "bring it back; `abort` insists",
            ),
            (
                ("BaselineChanged",),
                "something else is stable than `expectedRevision` says",
                "compare, then edit",
            ),
            (
                ("NothingServes",),
                "the stable Deployment was deleted; the operator makes it again",
                "wait; find who deleted it",
            ),
        ),
    ),
    (
        "Metrics",
        (
            (("MetricsAvailable",), "there are usable numbers of both versions", _NOTHING),
            (
                ("NoData",),
                "nothing usable for `onMetricsUnknown.holdFor`; the weight is 0 until data are "
                "back",
                "check Prometheus and the pods' scrape annotations",
            ),
            (
                ("MetricMissing",),
                "a metric has data in too few looks",
                "check that the server exposes it and Prometheus scrapes it",
            ),
            (
                ("MetricsError", "MetricsInvalid", "MetricsAmbiguous", "MetricsStale",
                 "MetricsMissing"),
                "the source did not answer usefully; the message has the query",
                "mend the source; it resumes by itself",
            ),
            (
                ("DataQuality",),
                "the last interval is flagged: nothing rises on it",
                "wait; if it lasts, the message says what is wrong with the counters",
            ),
            (
                ("BudgetInsideBucket",),
                "the latency budget is no bucket edge",
                "add the edge; `modelhandoff-serve` does it by itself",
            ),
        ),
    ),
    (
        "People",
        (
            (
                ("Paused",),
                "somebody holds it; harm is still acted on",
                "`kubectl handoff resume`, or `suspend: false`",
            ),
            (("Resumed",), "a pause has ended", _NOTHING),
            (
                ("ManualGate",),
                "all proofs are there; a person has the last word",
                "`kubectl handoff promote`, or abort",
            ),
            (("ManuallyPromoted",), "a person promoted it", _NOTHING),
            (("Aborted",), "a person took the candidate's traffic away", "nothing, or `retry`"),
            (
                ("ExternalBrake",),
                "somebody lowered the weight or deleted the route; taken as an abort",
                "nothing, or `retry`",
            ),
            (("RetryRequested",), "a person asked for the same again", _NOTHING),
            (("Superseded",), "the handoff was edited; a new attempt runs", _NOTHING),
            (("Deleted",), "the handoff is being deleted; what serves stays", _NOTHING),
        ),
    ),
    (
        "Input and rights",
        (
            (
                ("SpecInvalid", "PermissionDenied", "ApiRefused"),
                "the message names path, value and remedy",
                "correct it",
            ),
            (
                ("PolicyViolation",),
                "the platform's HandoffPolicy does not allow it; the message names the rule",
                "correct the handoff, or ask the platform team",
            ),
        ),
    ),
    (
        "Where it stands",
        (
            (
                ("Pending", "NotStarted", "AttemptStarted", "StepStarted", "Promoting",
                 "RollingBack"),
                "the operator is at it",
                "wait",
            ),
            (
                ("Probation",),
                "all proofs are there; the candidate has all traffic, the old version is warm "
                "beside it, and limits and budgets are still judged",
                "wait; kubectl handoff promote ends it, abort goes back",
            ),
            (("Promoted", "Steady"), "the candidate is the stable version", _NOTHING),
        ),
    ),
)  # fmt: skip

_WORDS = {
    reason: Words(meaning, remedy)
    for _, rows in GROUPS
    for reasons, meaning, remedy in rows
    for reason in reasons
}


def words(reason: str) -> Words | None:
    """What a reason means; ``None`` for one of another version."""
    return _WORDS.get(reason)


def known() -> frozenset[str]:
    """Every reason with words."""
    return frozenset(_WORDS)
