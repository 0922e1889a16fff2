"""Whether the operator is alive: its lease, and its Deployment."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from modelhandoff.cli.kubectl.api import Api, Raw
from modelhandoff.cli.kubectl.printing import moment, span
from modelhandoff.cli.kubectl.problem import DeniedError, MissingError
from modelhandoff.cluster.kinds import DEPLOYMENT, LEASE

USUAL_NAMESPACE = "modelhandoff-system"
USUAL_NAME = "modelhandoff"
_LABELS = "app.kubernetes.io/name=modelhandoff"
_LEASE_VARIABLE = "MODELHANDOFF_LEASE_NAME"
_MARGIN = 2.0
"""Seconds beyond the lease's own duration before it counts as stale at first sight."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What can be said about the operator.

    Attributes:
        alive: ``None`` when this user may not see enough to know.
        told: one clause for people.
        fix: what to do about it; empty when nothing is.
    """

    alive: bool | None
    told: str
    fix: str = ""


def listen(
    api: Api,
    namespace: str = "",
    *,
    patience: float = 0.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Heartbeat:
    """Whether the operator renews its lease.

    Args:
        api: the cluster.
        namespace: where the operator runs; looked for when empty.
        patience: how long to wait for a sign of life when the lease looks stale. The clock of
            this machine may be wrong; a lease that changes meanwhile is alive all the same.
        sleep: how to wait.
    """
    try:
        deployment = _deployment(api, namespace)
        space = deployment["metadata"]["namespace"] if deployment else namespace or USUAL_NAMESPACE
        name = _lease_name(deployment)
        lease = _lease(api, space, name)
        if lease is not None and _stale(lease) and patience:
            before = lease["metadata"].get("resourceVersion")
            waited = 0.0
            while waited < patience:
                sleep(1.0)
                waited += 1.0
                lease = _lease(api, space, name)
                if lease is None or lease["metadata"].get("resourceVersion") != before:
                    break
            if lease is not None and lease["metadata"].get("resourceVersion") != before:
                return _verdict(deployment, lease, space, changed=True)
    except DeniedError:
        return Heartbeat(None, "not known: you may not read its lease or its Deployment")
    return _verdict(deployment, lease, space, changed=False)


def _verdict(
    deployment: Raw | None, lease: Raw | None, namespace: str, *, changed: bool
) -> Heartbeat:
    if lease is None and deployment is None:
        return Heartbeat(
            False, "there is none: no Deployment and no lease", "install the Helm chart"
        )
    name = deployment["metadata"]["name"] if deployment else USUAL_NAME
    logs = f"kubectl logs deployment/{name} -n {namespace}"
    if deployment is not None:
        wanted = int((deployment.get("spec") or {}).get("replicas") or 0)
        ready = int((deployment.get("status") or {}).get("availableReplicas") or 0)
        if not wanted:
            scale = f"kubectl scale deployment/{name} -n {namespace} --replicas=1"
            return Heartbeat(False, f"{namespace}/{name} is scaled to 0", scale)
        if not ready:
            return Heartbeat(False, f"{namespace}/{name} has no available pod", logs)
    if lease is None:
        return Heartbeat(False, f"nobody holds the lease {namespace}/{name}", logs)
    spec = lease.get("spec") or {}
    holder, renewed = str(spec.get("holderIdentity") or ""), moment(spec.get("renewTime"))
    if not holder:
        return Heartbeat(False, f"nobody holds the lease {namespace}/{name}", logs)
    ago = (datetime.now(UTC) - renewed).total_seconds() if renewed else 0.0
    if not changed and _stale(lease):
        return Heartbeat(False, f"the lease of {holder} was last renewed {span(ago)} ago", logs)
    return Heartbeat(True, f"{holder} leads, renewed {span(ago)} ago")


def _stale(lease: Raw) -> bool:
    spec = lease.get("spec") or {}
    renewed = moment(spec.get("renewTime"))
    if renewed is None or not spec.get("holderIdentity"):
        return True
    ago = (datetime.now(UTC) - renewed).total_seconds()
    return ago > float(spec.get("leaseDurationSeconds") or 15) + _MARGIN


def _deployment(api: Api, namespace: str) -> Raw | None:
    """The operator's Deployment; the usual namespace first, then everywhere."""
    first = namespace or USUAL_NAMESPACE
    denied: DeniedError | None = None
    for space in (first,) if namespace else (first, None):
        try:
            found = api.list(DEPLOYMENT, space, labels=_LABELS)
        except DeniedError as failure:
            denied = failure
            continue
        except MissingError:
            continue
        if found:
            return found[0]
    if denied is not None and _lease(api, first, USUAL_NAME) is None:
        raise denied
    return None


def _lease_name(deployment: Raw | None) -> str:
    template = ((deployment or {}).get("spec") or {}).get("template") or {}
    for container in (template.get("spec") or {}).get("containers") or ():
        for variable in container.get("env") or ():
            if variable.get("name") == _LEASE_VARIABLE and variable.get("value"):
                return str(variable["value"])
    return USUAL_NAME


def _lease(api: Api, namespace: str, name: str) -> Raw | None:
    try:
        return api.get(LEASE, namespace, name)
    except MissingError:
        return None
