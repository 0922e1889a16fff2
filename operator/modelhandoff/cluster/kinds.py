"""The kinds the operator reads or writes: where they live and what of them is watched."""

from __future__ import annotations

from dataclasses import dataclass

from modelhandoff.api import names


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of the API server.

    Attributes:
        selector: label selector of the server-side watch; "" watches every object. Deployments,
            Services and HTTPRoutes are watched whole: an adopted baseline, a foreign Service
            under a name we would use and a competing route carry no label of ours.
    """

    group: str
    version: str
    plural: str
    name: str
    namespaced: bool = True
    selector: str = ""

    @property
    def api_version(self) -> str:
        """``apiVersion`` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """The URL path; ``namespace=None`` means all namespaces (or a cluster-scoped kind)."""
        parts = ["", "apis", self.group] if self.group else ["", "api"]
        parts.append(self.version)
        if self.namespaced and namespace is not None:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/".join(parts)


HANDOFF = Kind(names.GROUP, names.VERSION, names.HANDOFFS, "ModelHandoff")
ATTEMPT = Kind(names.GROUP, names.VERSION, names.ATTEMPTS, "HandoffAttempt")
POLICY = Kind(names.GROUP, names.VERSION, names.POLICIES, "HandoffPolicy", namespaced=False)
APPROVAL = Kind(names.GROUP, names.VERSION, names.APPROVALS, "HandoffApproval")
DEPLOYMENT = Kind("apps", "v1", "deployments", "Deployment")
SERVICE = Kind("", "v1", "services", "Service")
POD = Kind("", "v1", "pods", "Pod", selector=names.LABEL_HANDOFF)
JOB = Kind("batch", "v1", "jobs", "Job", selector=names.LABEL_HANDOFF)
HTTPROUTE = Kind("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute")
DISRUPTION_BUDGET = Kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
NODE = Kind("", "v1", "nodes", "Node", namespaced=False)
CONFIG_MAP = Kind("", "v1", "configmaps", "ConfigMap")
EVENT = Kind("", "v1", "events", "Event")
LEASE = Kind("coordination.k8s.io", "v1", "leases", "Lease")

WATCHED = (POLICY, ATTEMPT, APPROVAL, DEPLOYMENT, SERVICE, POD, JOB, HTTPROUTE, HANDOFF)
"""What the store holds, in the order in which a first listing is best read."""

OPTIONAL = (NODE,)
"""Watched only where the operator has cluster-wide rights: product names of the GPUs."""

KINDS = {
    kind.plural: kind for kind in (*WATCHED, *OPTIONAL, DISRUPTION_BUDGET, CONFIG_MAP, EVENT, LEASE)
}
"""Every kind by its plural."""
