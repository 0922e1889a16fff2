"""What is on the dashboards: one for the operator, one for all handoffs, one for a single one."""

from __future__ import annotations

from typing import Any

from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.monitoring import RATE_TYPES, Metric, MetricType
from modelhandoff.api.names import short_hash
from modelhandoff.metrics.reads import quoted
from modelhandoff.observability import series
from modelhandoff.observability.dashboard import Curve, Panel, Row, Variable, dashboard

_CHOSEN = 'namespace=~"$namespace", handoff=~"$handoff"'
_NAMED = "{{namespace}}/{{handoff}}"


def operator_board() -> dict[str, Any]:
    """Is the operator well, and what keeps it busy."""
    quantiles = tuple(
        Curve(
            f"histogram_quantile({q}, sum by (le) (rate("
            "modelhandoff_reconcile_seconds_bucket[5m])))",
            f"q{q}",
        )
        for q in (0.5, 0.99)
    )
    queries = tuple(
        Curve(
            f"histogram_quantile({q}, sum by (le, source) (rate("
            "modelhandoff_query_seconds_bucket[5m])))",
            f"{{{{source}}}} q{q}",
        )
        for q in (0.5, 0.99)
    )
    return dashboard(
        "modelhandoff-operator",
        "ModelHandoff / Operator",
        (
            Row(
                "Is it at work",
                (
                    Panel("Leader", (Curve("sum(modelhandoff_leader)"),), "stat", width=4),
                    Panel("Reign", (Curve("max(modelhandoff_epoch)"),), "stat", width=4),
                    Panel(
                        "Handoffs by phase",
                        (Curve("max by (phase) (modelhandoff_handoffs) > 0", "{{phase}}"),),
                        width=16,
                    ),
                    Panel(
                        "Seconds left of the lease",
                        (Curve("max(modelhandoff_lease_seconds_left)"),),
                        unit="s",
                        width=8,
                    ),
                    Panel(
                        "Silence of the watches",
                        (Curve("max by (pod) (modelhandoff_watch_age_seconds)", "{{pod}}"),),
                        unit="s",
                        width=8,
                    ),
                    Panel(
                        "Event loop lag",
                        (Curve("max by (pod) (modelhandoff_loop_lag_seconds)", "{{pod}}"),),
                        unit="s",
                        width=8,
                        limit=2,
                    ),
                ),
            ),
            Row(
                "Work",
                (
                    Panel("Time of a look", quantiles, unit="s", width=8),
                    Panel(
                        "Looks",
                        (
                            Curve(
                                "sum by (result) (rate(modelhandoff_reconcile_seconds_count[5m]))",
                                "{{result}}",
                            ),
                        ),
                        unit="ops",
                        width=8,
                    ),
                    Panel(
                        "Waiting for a worker",
                        (
                            Curve("sum(modelhandoff_queue_depth)", "handoffs"),
                            Curve("max(modelhandoff_queue_age_seconds)", "longest, seconds"),
                        ),
                        width=8,
                    ),
                    Panel(
                        "Writes that carried out a decision",
                        (
                            Curve(
                                "sum by (action) (rate(modelhandoff_actions_total[5m]))",
                                "{{action}}",
                            ),
                        ),
                        unit="ops",
                    ),
                    Panel(
                        "Failed looks",
                        (
                            Curve(
                                "sum by (error) (rate(modelhandoff_reconcile_failures_total[5m]))",
                                "{{error}}",
                            ),
                        ),
                        unit="ops",
                    ),
                ),
            ),
            Row(
                "What it asks",
                (
                    Panel(
                        "Kubernetes API requests",
                        (
                            Curve(
                                "sum by (verb, code) (rate(modelhandoff_api_requests_total[5m]))",
                                "{{verb}} {{code}}",
                            ),
                        ),
                        unit="reqps",
                        width=8,
                    ),
                    Panel(
                        "Queries to metric sources",
                        (
                            Curve(
                                "sum by (source, result) (rate(modelhandoff_queries_total[5m]))",
                                "{{source}} {{result}}",
                            ),
                        ),
                        unit="reqps",
                        width=8,
                    ),
                    Panel("Time of a query", queries, unit="s", width=8),
                    Panel(
                        "Looks at metrics by answer",
                        (
                            Curve(
                                "sum by (answer) (rate(modelhandoff_looks_total[5m]))",
                                "{{answer}}",
                            ),
                        ),
                        unit="ops",
                    ),
                    Panel(
                        "Verdicts, last day",
                        (
                            Curve(
                                "sum by (outcome, reason) "
                                "(increase(modelhandoff_decisions_total[1d]))",
                                "{{outcome}} {{reason}}",
                            ),
                        ),
                    ),
                ),
            ),
        ),
        about="Is the operator well, and what keeps it busy.",
    )


def handoffs_board() -> dict[str, Any]:
    """Every handoff at a glance, and the ones chosen in detail."""
    variables = (
        Variable("namespace", "label_values(modelhandoff_phase, namespace)"),
        Variable("handoff", 'label_values(modelhandoff_phase{namespace=~"$namespace"}, handoff)'),
    )
    return dashboard(
        "modelhandoff-handoffs",
        "ModelHandoff / Handoffs",
        _rollout_rows(_CHOSEN, _NAMED),
        variables,
        about="Every handoff at a glance: phase, weight, evidence, and what is waited for.",
    )


def handoff_board(name: str, namespace: str, spec: ModelHandoffSpec) -> dict[str, Any]:
    """One handoff: its rollout, and what users get by its own limits."""
    adopted = ""
    if spec.baseline is not None and spec.baseline.workload_ref is not None:
        adopted = spec.baseline.workload_ref.name
    pods = series.pods_of(namespace, name, adopted)
    served = tuple(panel for metric in spec.monitoring.metrics for panel in _served(metric, pods))
    where = f"namespace={quoted(namespace)}, handoff={quoted(name)}"
    rows = (Row("What users get", served), *_rollout_rows(where, name))
    return dashboard(
        f"mho-{short_hash(namespace, name)}",
        f"ModelHandoff / {namespace} / {name}",
        rows if served else rows[1:],
        about=f"{spec.candidate.model.name}, owned by {spec.runbook.owners.team}. Runbook: "
        f"{spec.runbook.url}",
    )


def _served(metric: Metric, pods: tuple[str, ...]) -> tuple[Panel, ...]:
    if metric.type in RATE_TYPES and metric.max is not None:
        both = series.events_and_trials(metric, pods)
        if both is None:
            return ()
        expr = f"({both[0]}) / ({both[1]})".replace("{window}", "5m")
        limited = Panel(metric.name, (Curve(expr, metric.name),), unit="percentunit", width=8,
                        about="Share of requests, all pods of the handoff.",
                        limit=metric.max)  # fmt: skip
        return (limited,)
    if metric.type is MetricType.LATENCY and metric.budget is not None:
        found = series.buckets(metric, pods)
        if found is None:
            return ()
        rates, scale = found
        factor = "" if scale == 1.0 else f" * {scale:g}"
        expr = f"histogram_quantile({metric.quantile:g}, {rates}){factor}"
        budget = metric.budget.total_seconds()
        curve = Curve(expr, f"q{metric.quantile:g}")
        return (Panel(metric.name, (curve,), unit="s", width=8, limit=budget),)
    return ()


def _rollout_rows(where: str, who: str) -> tuple[Row, ...]:
    def of(name: str, more: str = "") -> str:
        return f"modelhandoff_{name}{{{where}{more}}}"

    return (
        Row(
            "Now",
            (
                Panel(
                    "Phases",
                    (Curve(f"{of('phase')} == 1"),),
                    "table",
                    about="One line per handoff.",
                ),
                Panel(
                    "Stalled, by reason",
                    (Curve(f"{of('stalled')} == 1"),),
                    "table",
                    about="`kubectl handoff status NAME` says what to do next.",
                ),
            ),
        ),
        Row(
            "Traffic",
            (
                Panel(
                    "Weight set for the candidate",
                    (Curve(of("candidate_weight_percent"), who),),
                    unit="percent",
                ),
                Panel(
                    "Share seen in requests",
                    (Curve(of("candidate_share_ratio"), who),),
                    unit="percentunit",
                ),
            ),
        ),
        Row(
            "Evidence",
            (
                Panel(
                    "Combined evidence of harm",
                    (Curve(of("evidence_total"), who),),
                    width=8,
                    about="1 is none; above 3 no step rises; at 1 / harmLevel (100 when not set) "
                    "the candidate is rolled back.",
                ),
                Panel(
                    "Evidence of harm by metric (logarithm)",
                    (Curve(of("metric_evidence_log"), f"{who} {{{{metric}}}}"),),
                    width=8,
                ),
                Panel(
                    "Requests behind each metric",
                    (Curve(of("metric_requests"), f"{who} {{{{metric}}}}"),),
                    width=8,
                ),
                Panel(
                    "Metrics: candidate, baseline, limit",
                    (Curve(of("metric_value"), f"{who} {{{{metric}}}} {{{{of}}}}"),),
                ),
                Panel(
                    "Metrics that fail or are unknown",
                    (
                        Curve(
                            of("metric_state", ', state=~"Fail|Unknown"'),
                            f"{who} {{{{metric}}}} {{{{state}}}}",
                        ),
                    ),
                ),
            ),
        ),
        Row(
            "Waiting",
            (
                Panel(
                    "Age of the attempt",
                    (
                        Curve(of("attempt_seconds"), f"{who} all"),
                        Curve(
                            f"{of('attempt_seconds')} - on (namespace, handoff) "
                            f"{of('attempt_people_seconds')}",
                            f"{who} without people's waiting",
                        ),
                    ),
                    unit="s",
                    width=8,
                ),
                Panel(
                    "Time in the phase",
                    (Curve(of("phase_seconds"), f"{who} {{{{phase}}}}"),),
                    unit="s",
                    width=8,
                ),
                Panel(
                    "Waiting for a GPU, or for metrics",
                    (
                        Curve(of("capacity_wait_seconds"), f"{who} capacity"),
                        Curve(of("metrics_unknown_seconds"), f"{who} metrics"),
                    ),
                    unit="s",
                    width=8,
                ),
            ),
        ),
    )
