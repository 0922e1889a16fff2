"""Alerts on the operator itself and on any handoff it serves.

A clean automatic rollback is a message, never a page: what pages is production that is not safe
or that nobody guards.
"""

from __future__ import annotations

from modelhandoff.api.vocabulary import Phase
from modelhandoff.observability.alert import Alert, Group, Severity

ENDED = tuple(str(phase) for phase in Phase if phase.terminal and phase is not Phase.PROMOTED)
"""Reasons of a stalled handoff whose attempt has ended in order."""
UNSAFE = ("NothingServes", "BaselineMissing", "BaselineNotReady")
"""Reasons of a stalled handoff whose traffic may go unanswered."""

_WHO = "{{ $labels.namespace }}/{{ $labels.handoff }}"
_STATUS = (
    "`kubectl handoff status {{ $labels.handoff }} -n {{ $labels.namespace }}` says what is going "
    "on and what to do next."
)
_REFUSED = 'modelhandoff_api_requests_total{code=~"401|403"}'
_LOGS = "Read `kubectl logs deployment/modelhandoff -n {{ $labels.namespace }}`."

OPERATOR = Group(
    "modelhandoff-operator",
    (
        Alert(
            "ModelHandoffOperatorDown",
            "absent(modelhandoff_leader == 1)",
            Severity.CRITICAL,
            "No ModelHandoff operator is at work",
            "No operator holds the lease. Traffic stays as the routes say it, but a bad candidate "
            "with weight is not rolled back.",
            "`kubectl handoff doctor` says what is missing; `kubectl handoff abort NAME` takes a "
            "candidate off without the operator.",
            hold="5m",
        ),
        Alert(
            "ModelHandoffLeaderChanges",
            "max by (namespace) (modelhandoff_epoch)"
            " - max by (namespace) (modelhandoff_epoch offset 30m) > 3",
            Severity.WARNING,
            "The operator in {{ $labels.namespace }} keeps losing its lease",
            "The lease changed hands {{ $value }} times in half an hour: the operator crashes, or "
            "the API server answers too late. Nothing is lost by it, everything takes longer.",
            _LOGS,
        ),
        Alert(
            "ModelHandoffQueueStuck",
            "max by (namespace, pod) (modelhandoff_queue_age_seconds) > 120",
            Severity.WARNING,
            "Handoffs wait {{ $value | humanizeDuration }} for a look",
            "Workers do not keep up or hang: verdicts, rollbacks included, come late.",
            "Look at `modelhandoff_reconcile_seconds` and the log; raise MODELHANDOFF_WORKERS or "
            "the CPU.",
            hold="5m",
        ),
        Alert(
            "ModelHandoffEventLoopLag",
            "max by (namespace, pod) (modelhandoff_loop_lag_seconds) > 2",
            Severity.WARNING,
            "The operator's event loop is {{ $value | humanizeDuration }} late",
            "The process gets too little CPU. Beyond a few seconds it loses its lease.",
            "Raise `resources.requests.cpu`, or set no CPU limit.",
            hold="5m",
        ),
        Alert(
            "ModelHandoffBug",
            'sum by (namespace) (increase(modelhandoff_reconcile_failures_total{error="Bug"}[15m]))'
            " > 0",
            Severity.WARNING,
            "The operator in {{ $labels.namespace }} meets a defect of its own",
            "A look at a handoff ended in an unforeseen error. It is tried again, later each time; "
            "the handoff's weight stays meanwhile.",
            _LOGS,
        ),
        Alert(
            "ModelHandoffNoRights",
            # The first refusal makes the series, which is no increase.
            f"sum by (namespace, verb, kind) (increase({_REFUSED}[15m])) > 0"
            f" or sum by (namespace, verb, kind) ({_REFUSED} unless {_REFUSED} offset 15m) > 0",
            Severity.WARNING,
            "The operator may not {{ $labels.verb }} {{ $labels.kind }}",
            "The API server refuses a request for lack of rights: a role was changed, or an "
            "admission policy stands in the way.",
            "Compare the roles with `helm get manifest`; `helm upgrade` brings them back.",
        ),
        Alert(
            "ModelHandoffMetricSourceFailing",
            "sum by (namespace, source) (rate("
            'modelhandoff_queries_total{result!~"Answered|Cancelled"}[5m]))'
            " / sum by (namespace, source) (rate(modelhandoff_queries_total[5m])) > 0.5",
            Severity.WARNING,
            "More than half of the queries to metric source {{ $labels.source }} fail",
            "Rollouts that read it hold their weight, and go to weight 0 when "
            "`onMetricsUnknown.holdFor` is over. Nothing is promoted on ignorance.",
            "Mend the source; `kubectl handoff doctor` asks it. Rollouts resume by themselves.",
            hold="5m",
        ),
    ),
)

HANDOFFS = Group(
    "modelhandoff-handoffs",
    (
        Alert(
            "ModelHandoffUnsafe",
            f'modelhandoff_stalled{{reason=~"{"|".join(UNSAFE)}"}} == 1',
            Severity.CRITICAL,
            f"{_WHO}: {{{{ $labels.reason }}}}",
            "The version that should serve is gone or not ready, and the operator moves nothing: "
            "requests may go unanswered.",
            _STATUS,
            hold="2m",
        ),
        Alert(
            "ModelHandoffRollbackStuck",
            'modelhandoff_phase_seconds{phase="RollingBack"} > 300',
            Severity.CRITICAL,
            f"{_WHO}: the rollback is not done after {{{{ $value | humanizeDuration }}}}",
            "A verdict against the candidate is latched, but cleaning up does not end. The weight "
            "is taken away first, so it is 0 unless the gateway does not follow.",
            _STATUS,
        ),
        Alert(
            "ModelHandoffPromotionStuck",
            'modelhandoff_phase_seconds{phase="Promoting"} > 3600',
            Severity.WARNING,
            f"{_WHO}: the promotion is not done after {{{{ $value | humanizeDuration }}}}",
            "The candidate has won, but its full capacity does not come, or the gateway does not "
            "take the route.",
            _STATUS,
        ),
        Alert(
            "ModelHandoffBlocked",
            f'modelhandoff_stalled{{reason!~"{"|".join((*ENDED, *UNSAFE))}"}} == 1',
            Severity.WARNING,
            f"{_WHO}: blocked, {{{{ $labels.reason }}}}",
            "The handoff cannot go on by itself. What serves keeps serving.",
            _STATUS,
            hold="5m",
        ),
        Alert(
            "ModelHandoffInconclusive",
            'modelhandoff_stalled{reason="Inconclusive"} == 1',
            Severity.WARNING,
            f"{_WHO}: ended without a verdict",
            "Nothing was proven against the model: no GPU, no image, no data in time. What served "
            "before serves.",
            "Mend the cause, then `kubectl handoff retry {{ $labels.handoff }} -n "
            "{{ $labels.namespace }}`.",
        ),
        Alert(
            "ModelHandoffMetricsUnknown",
            "modelhandoff_metrics_unknown_seconds > 300",
            Severity.WARNING,
            f"{_WHO}: no usable metrics for {{{{ $value | humanizeDuration }}}}",
            "The rollout holds its weight, and goes to weight 0 when `onMetricsUnknown.holdFor` is "
            "over.",
            _STATUS,
        ),
        Alert(
            "ModelHandoffWaitsForCapacity",
            "modelhandoff_capacity_wait_seconds > 1800"
            " and on (namespace, handoff) modelhandoff_attempt_seconds",
            Severity.WARNING,
            f"{_WHO}: no room for {{{{ $value | humanizeDuration }}}}",
            "The candidate's pods find no GPU, quota or node. It is not the model's fault; what "
            "serves keeps serving.",
            _STATUS,
        ),
        Alert(
            "ModelHandoffShareOff",
            "abs(100 * modelhandoff_candidate_share_ratio - modelhandoff_candidate_weight_percent)"
            " > 10",
            Severity.WARNING,
            f"{_WHO}: the candidate's share is {{{{ $value }}}} points off its weight",
            "Requests do not follow the route: sticky sessions, another route, a stuck gateway. A "
            "proven mismatch holds the promotion.",
            _STATUS,
            hold="15m",
        ),
        Alert(
            "ModelHandoffWaitsForPeople",
            'modelhandoff_condition{condition="Paused"} == 1'
            ' or on (namespace, handoff) modelhandoff_phase{phase="AwaitingApproval"} == 1',
            Severity.INFO,
            f"{_WHO}: has waited for a person for a day",
            "The rollout is paused, at a manual gate or waits for approvals.",
            _STATUS,
            hold="24h",
        ),
        Alert(
            "ModelHandoffRolledBack",
            'modelhandoff_stalled{reason="RolledBack"} == 1',
            Severity.INFO,
            f"{_WHO}: rolled back",
            "Harm was proven on traffic and the candidate has none any more. No action is needed "
            "for production.",
            "`kubectl handoff explain {{ $labels.handoff }} -n {{ $labels.namespace }}` has the "
            "evidence.",
        ),
        Alert(
            "ModelHandoffRejected",
            'modelhandoff_stalled{reason="Rejected"} == 1',
            Severity.INFO,
            f"{_WHO}: rejected before traffic",
            "The candidate failed a check, its warm-up or its start. It never had traffic.",
            _STATUS,
        ),
    ),
)

GROUPS = (OPERATOR, HANDOFFS)
