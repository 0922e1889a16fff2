"""Alerts of one handoff: its own limits on what serves, addressed to the team that owns it.

A rollout's canary is the operator's business; these rules watch what users get, before, during
and after. Drift and means have no rule: without a baseline beside it a number says nothing.
"""

from __future__ import annotations

from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.monitoring import RATE_TYPES, Metric, MetricRole, MetricType
from modelhandoff.metrics.reads import quoted
from modelhandoff.observability import series
from modelhandoff.observability.alert import Alert, Group, Severity, literal
from modelhandoff.observability.operator_alerts import ENDED


def handoff_groups(name: str, namespace: str, spec: ModelHandoffSpec) -> tuple[Group, ...]:
    """The rules of one handoff.

    Args:
        name: of the handoff.
        namespace: its namespace.
        spec: as written; nothing in it needs to be resolved.
    """
    return (Group(f"modelhandoff-{namespace}-{name}", tuple(_alerts(name, namespace, spec))),)


def _alerts(name: str, namespace: str, spec: ModelHandoffSpec) -> list[Alert]:
    adopted = ""
    if spec.baseline is not None and spec.baseline.workload_ref is not None:
        adopted = spec.baseline.workload_ref.name
    pods = series.pods_of(namespace, name, adopted)
    who = f"{namespace}/{name}"
    owners = spec.runbook.owners
    labels = {"namespace": namespace, "handoff": name, "team": owners.team}
    annotations = {
        "runbook_url": literal(str(spec.runbook.url)),
        "escalation": literal(", ".join(owners.escalation)),
    }
    found = []
    for metric in spec.monitoring.metrics:
        if metric.role is MetricRole.INFO:
            continue
        made = _metric(metric, pods, who)
        if made is not None:
            labelled = {**labels, "metric": metric.name}
            found.append(Alert(*made, labels=labelled, annotations=annotations, hold="5m"))
    found.append(_silent(spec, pods, who, labels, annotations))
    where = f"namespace={quoted(namespace)}, handoff={quoted(name)}"
    found.append(
        Alert(
            "HandoffNeedsYou",
            f'modelhandoff_stalled{{{where}, reason!~"{"|".join(ENDED)}"}} == 1',
            Severity.WARNING,
            f"{who}: {{{{ $labels.reason }}}}",
            "The handoff cannot go on by itself. What serves keeps serving.",
            f"`kubectl handoff status {name} -n {namespace}` says what to do next.",
            hold="5m",
            labels={"team": owners.team},
            annotations=annotations,
        )
    )
    return found


def _metric(
    metric: Metric, pods: tuple[str, ...], who: str
) -> tuple[str, str, Severity, str, str, str] | None:
    severity = Severity.WARNING
    if metric.role in (MetricRole.GUARDRAIL, MetricRole.SUCCESS):
        severity = Severity.CRITICAL
    remedy = f"`kubectl handoff status {who.partition('/')[2]} -n {who.partition('/')[0]}`, then "
    remedy += "the runbook."
    if metric.type in RATE_TYPES and metric.max is not None:
        both = series.events_and_trials(metric, pods)
        if both is None:
            return None
        limit = f"{metric.max:g}"
        expr = " and ".join(
            f"({both[0]}) / ({both[1]}) > {limit}".replace("{window}", window)
            for window in ("5m", "1h")
        )
        return (
            f"Handoff{metric.type}",
            expr,
            severity,
            f"{who}: {metric.name} is {{{{ $value | humanizePercentage }}}}, limit "
            f"{100 * metric.max:g} %",
            "What serves is beyond the handoff's own limit, in the last five minutes and in the "
            "last hour.",
            remedy,
        )
    if metric.type is MetricType.LATENCY and metric.budget is not None:
        found = series.buckets(metric, pods)
        if found is None:
            return None
        rates, scale = found
        expr = f"histogram_quantile({metric.quantile:g}, {rates})"
        budget = metric.budget.total_seconds()
        if scale != 1.0:
            expr = f"{expr} * {scale:g}"
        return (
            "HandoffLatency",
            f"{expr} > {budget:g}",
            severity,
            f"{who}: {metric.name} is {{{{ $value | humanizeDuration }}}}, budget {budget:g} s",
            f"{100 * (metric.quantile or 0):g} % of the requests should be answered within the "
            "budget.",
            remedy,
        )
    return None


def _silent(
    spec: ModelHandoffSpec,
    pods: tuple[str, ...],
    who: str,
    labels: dict[str, str],
    annotations: dict[str, str],
) -> Alert:
    """Traffic that was there and is not any more: the counters cannot tell of lost requests."""
    first = next((m for m in spec.monitoring.metrics if m.type in RATE_TYPES), None)
    server = next((m.server for m in spec.monitoring.metrics if m.server is not None), None)
    if first is not None and first.counters is not None:
        both = series.events_and_trials(first, pods)
        rate = both[1] if both is not None else ""
    else:
        rate = series.requests(first.server if first is not None else server, pods)
    now, before = rate.replace("{window}", "10m"), rate.replace("[{window}]", "[1h] offset 1h")
    return Alert(
        "HandoffNoTraffic",
        f"(({now}) == 0 or absent({now})) and on () (({before}) > 0.1)",
        Severity.CRITICAL,
        f"{who}: no requests for ten minutes, an hour ago there were some",
        "Either nobody asks, or requests do not arrive: counters of the servers cannot tell.",
        "Look at the gateway and the pods, then the runbook.",
        labels=labels,
        annotations=annotations,
        hold="5m",
    )
