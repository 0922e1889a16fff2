"""``get`` and ``history``: what there is, and how earlier attempts ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelhandoff.cli.kubectl import lookup
from modelhandoff.cli.kubectl.api import Api, Raw
from modelhandoff.cli.kubectl.printing import (
    RESOURCE,
    Format,
    age,
    clock,
    echo,
    moment,
    since,
    table,
    warn,
    write,
)
from modelhandoff.cluster.kinds import HANDOFF
from modelhandoff.errors import cut

_HEADER = ("NAME", "PHASE", "STEP", "WEIGHT", "VERDICT", "CHECKLIST", "MODEL", "AGE")
_WIDE = ("BASELINE", "GPU", "P95", "ERR", "KL", "MESSAGE")


def get(
    api: Api, wanted: Sequence[str], *, everywhere: bool, labels: str, output: Format | None
) -> None:
    """Print the handoffs, as ``kubectl get mho`` does."""
    if wanted:
        items = [lookup.find(api, name, everywhere=everywhere) for name in wanted]
    else:
        items = api.list(HANDOFF, None if everywhere else api.namespace, labels=labels)
        items.sort(key=lambda one: (one["metadata"]["namespace"], one["metadata"]["name"]))
    if output in (Format.JSON, Format.YAML, Format.NAME):
        write(items, output, single=len(wanted) == 1)
        return
    if not items:
        warn("No handoffs found." if everywhere else f"No handoffs found in {api.namespace}.")
        return
    wide = output is Format.WIDE
    header = [*(("NAMESPACE",) if everywhere else ()), *_HEADER, *(_WIDE if wide else ())]
    rows = [_row(item, everywhere=everywhere, wide=wide) for item in items]
    echo(table(header, rows, tint=header.index("PHASE")))


def _row(item: Raw, *, everywhere: bool, wide: bool) -> list[str]:
    meta, status = item["metadata"], lookup.status_of(item)
    step, verdict = status.get("step") or {}, status.get("verdict") or {}
    model = ((item.get("spec") or {}).get("candidate") or {}).get("model") or {}
    row = [
        *((meta["namespace"],) if everywhere else ()),
        meta["name"],
        str(status.get("phase") or ""),
        str(step.get("label") or ""),
        "" if step.get("weight") is None else str(step["weight"]),
        str(verdict.get("decision") or ""),
        str((status.get("checklist") or {}).get("label") or ""),
        str(model.get("version") or ""),
        since(meta.get("creationTimestamp")),
    ]
    if wide:
        row += [
            str((status.get("stable") or {}).get("version") or ""),
            str(status.get("gpu") or ""),
            *(_value(status, kind) for kind in ("Latency", "ErrorRate", "Drift")),
            cut(status.get("message") or "", 100),
        ]
    return row


def _value(status: Mapping[str, Any], kind: str) -> str:
    for metric in status.get("metrics") or ():
        if metric.get("type") == kind and metric.get("candidate") is not None:
            return f"{metric['candidate']:.4g}"
    return ""


def history(api: Api, name: str, *, everywhere: bool, output: Format | None) -> None:
    """Print the attempts, newest first; those already pruned come from the handoff's status."""
    handoff = lookup.find(api, name, everywhere=everywhere)
    attempts = lookup.attempts_of(api, handoff)
    if output in (Format.JSON, Format.YAML, Format.NAME):
        write(attempts, output, single=False)
        return
    known = {one["metadata"]["name"] for one in attempts}
    rows = [_attempt_row(one) for one in attempts]
    rows += [
        _pruned_row(one)
        for one in lookup.status_of(handoff).get("history") or ()
        if one["attempt"] not in known
    ]
    meta = handoff["metadata"]
    if not rows:
        warn(f"{meta['namespace']}/{meta['name']}: no attempt yet.")
        return
    header = (
        "NO",
        "ATTEMPT",
        "MODEL",
        "KIND",
        "OUTCOME",
        "REASON",
        "PEAK",
        "STARTED (UTC)",
        "TOOK",
    )
    echo(table(header, rows, tint=4))
    last = attempts[0] if attempts else None
    said = (lookup.status_of(last).get("verdict") or {}).get("message") if last else ""
    if said and last:
        echo(f"\n{last['metadata']['name']}: {said}")


def _attempt_row(attempt: Raw) -> list[str]:
    spec, status = attempt["spec"], lookup.status_of(attempt)
    verdict = status.get("verdict") or {}
    started, ended = moment(status.get("startedAt")), moment(status.get("phaseSince"))
    active = not verdict
    return [
        str(spec["ordinal"]),
        attempt["metadata"]["name"],
        version_of(attempt),
        str(spec["kind"]),
        str(status.get("phase") or "Pending"),
        str(verdict.get("reason") or ""),
        f"{status.get('maxWeight', 0)} %",
        clock(status.get("startedAt")),
        since(status.get("startedAt"))
        if active or started is None or ended is None
        else age((ended - started).total_seconds()),
    ]


def _pruned_row(entry: Mapping[str, Any]) -> list[str]:
    return [
        "-",
        entry["attempt"],
        entry["version"],
        "-",
        entry["outcome"],
        entry["reason"],
        "-",
        "-",
        "-",
    ]


def version_of(attempt: Raw) -> str:
    """The model's version as the attempt froze it; empty when its snapshot cannot be read."""
    import json

    try:
        spec = json.loads(attempt["spec"]["snapshot"])["spec"]
        return str(spec["candidate"]["model"]["version"])
    except (ValueError, KeyError, TypeError):
        return ""


def resource_name(handoff: Raw) -> str:
    """``modelhandoff.modelhandoff.dev/fraud``, as ``-o name`` writes it."""
    return f"{RESOURCE}/{handoff['metadata']['name']}"
