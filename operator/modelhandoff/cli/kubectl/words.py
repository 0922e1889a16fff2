"""Reasons and remedies in the words of ``docs/operations.md``; a test keeps the two alike."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """What a reason means, and what to do about it."""

    meaning: str
    remedy: str


_ROWS: tuple[tuple[tuple[str, ...], str, str], ...] = (
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
    (("ProofsComplete",), "every guardrail is proven safe now", "nothing"),
    (
        ("Collecting",),
        "not enough evidence either way",
        "wait; the message says how much is missing",
    ),
    (
        ("MetricMissing",),
        "a metric has data in too few looks",
        "check that the server exposes it and Prometheus scrapes it",
    ),
    (
        ("NoData",),
        "nothing usable for `onMetricsUnknown.holdFor`; the weight is 0 until data are back",
        "check Prometheus and the pods' scrape annotations",
    ),
    (
        ("MetricsError", "MetricsInvalid", "MetricsAmbiguous", "MetricsStale", "MetricsMissing"),
        "the source did not answer usefully; the message has the query",
        "mend the source; it resumes by itself",
    ),
    (
        ("SharedIncident",),
        "the baseline breaches the absolute limit too",
        "mend the incident; no verdict meanwhile",
    ),
    (
        ("TrafficSplitMismatch",),
        "the share seen differs from the weight set",
        "look for sticky sessions, other routes, a stuck gateway",
    ),
    (
        ("BudgetInsideBucket",),
        "the latency budget is no bucket edge",
        "add the edge; `modelhandoff-serve` does it by itself",
    ),
    (("MaxDuration",), "the time is over with nothing wrong", "promote or abort by hand"),
    (
        ("CapacityShortage", "QuotaExceeded"),
        "no room; the message is the scheduler's own sentence",
        "free a GPU, then `retry`",
    ),
    (
        ("ImagePullFailed", "ArtifactUnavailable"),
        "image or file cannot be had",
        "mend, then `retry`",
    ),
    (
        ("ArtifactMismatch",),
        "the bytes are not the declared ones",
        "correct the digest or the file",
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
    (("RouteConflict",), "another HTTPRoute has the same gateway, host and path", "remove one"),
    (
        ("TrafficContested",),
        "somebody raised the weight twice",
        "find the other writer, then `retry`",
    ),
    (
        ("ExternalBrake",),
        "somebody lowered the weight or deleted the route; taken as an abort",
        "nothing, or `retry`",
    ),
    (
        ("AwaitingApproval",),
        "people have to sign before a pod exists; the message names the roles",
        "they run `kubectl handoff approve`",
    ),
    (
        ("ApprovalRejected",),
        "a role rejected it, which is final for what it says",
        "apply a corrected candidate",
    ),
    (("Superseded",), "the handoff was edited; a new attempt runs", "nothing"),
    (
        ("SpecInvalid", "PermissionDenied", "ApiRefused"),
        "the message names path, value and remedy",
        "correct it",
    ),
)

_WORDS = {
    reason: Words(meaning, remedy) for reasons, meaning, remedy in _ROWS for reason in reasons
}


def words(reason: str) -> Words | None:
    """What a reason means; ``None`` for those that only name a state."""
    return _WORDS.get(reason)


def known() -> frozenset[str]:
    """Every reason with words."""
    return frozenset(_WORDS)
