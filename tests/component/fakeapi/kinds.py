"""Which kinds this API serves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    status: bool = False
    short: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def prefix(self) -> str:
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"


OURS = "modelhandoff.dev"
GATEWAY = "gateway.networking.k8s.io"

KINDS = (
    Kind("", "v1", "pods", "Pod", status=True),
    Kind("", "v1", "services", "Service", status=True),
    Kind("", "v1", "configmaps", "ConfigMap"),
    Kind("", "v1", "events", "Event"),
    Kind("", "v1", "nodes", "Node", namespaced=False, status=True),
    Kind("", "v1", "namespaces", "Namespace", namespaced=False, status=True),
    Kind("events.k8s.io", "v1", "events", "Event"),
    Kind("apps", "v1", "deployments", "Deployment", status=True),
    Kind("apps", "v1", "replicasets", "ReplicaSet", status=True),
    Kind("batch", "v1", "jobs", "Job", status=True),
    Kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", status=True),
    Kind("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", status=True),
    Kind("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
    Kind("coordination.k8s.io", "v1", "leases", "Lease"),
    Kind(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        namespaced=False,
        status=True,
    ),
    Kind(GATEWAY, "v1", "httproutes", "HTTPRoute", status=True),
    Kind(GATEWAY, "v1", "gateways", "Gateway", status=True),
    Kind(OURS, "v1alpha1", "modelhandoffs", "ModelHandoff", status=True, short=("mho",)),
    Kind(OURS, "v1alpha1", "handoffattempts", "HandoffAttempt", status=True),
    Kind(OURS, "v1alpha1", "handoffapprovals", "HandoffApproval", status=True, short=("mhap",)),
    Kind(OURS, "v1alpha1", "handoffpolicies", "HandoffPolicy", namespaced=False),
)

BY_PLURAL = {(kind.group, kind.plural): kind for kind in KINDS}
BY_KIND = {(kind.group, kind.kind): kind for kind in KINDS}


def kind_of(obj: dict[str, object]) -> Kind:
    """The kind of an object, from its apiVersion and kind."""
    group, _, _ = str(obj["apiVersion"]).rpartition("/")
    return BY_KIND[group, str(obj["kind"])]
