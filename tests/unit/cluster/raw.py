"""Raw objects as an API server and its controllers write them."""

from __future__ import annotations

import copy
import itertools
from typing import Any

from modelhandoff.api import names
from modelhandoff.api.resolve import resolve
from modelhandoff.cluster.identity import Identity
from modelhandoff.cluster.objects import owner, render
from modelhandoff.cluster.settings import ClusterSettings
from tests import builders

Raw = dict[str, Any]

NS = "payments"
UID = "uid-fraud"
REVISION = "v1-" + "ab12cd34ef" + "0" * 54
BUNDLE = "v1-" + "99" * 32
SETTINGS = ClusterSettings(fetch_image="registry.example/operator@sha256:" + "11" * 32)
WORKLOAD = "fraud-ab12cd34ef"
ATTEMPT_NAME = "fraud-0123456789"
WHO = Identity("fraud", NS, UID, ATTEMPT_NAME, REVISION)
OWNER = owner("fraud", UID)
AT = "2026-03-02T09:00:00Z"

_versions = itertools.count(1000)


def meta(name: str, *, namespace: str = NS, uid: str = "", version: int = 0, **rest: Any) -> Raw:
    return {
        "name": name,
        "namespace": namespace,
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(version or next(_versions)),
        "generation": 1,
        "creationTimestamp": AT,
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
        **rest,
    }


def handoff(
    name: str = "fraud", *, version: int = 0, metadata: Raw | None = None, **spec: Any
) -> Raw:
    found = builders.handoff(name, NS, **spec)
    found["metadata"] = meta(name, version=version) | (metadata or {})
    return found


def resolved(**spec: Any) -> Any:
    return resolve(builders.spec(**spec))


def attempt(ordinal: int = 1, *, uid: str = UID, name: str = ATTEMPT_NAME, **spec: Any) -> Raw:
    return {
        "apiVersion": names.API_VERSION,
        "kind": "HandoffAttempt",
        "metadata": meta(name, labels=names.labels("fraud", REVISION)),
        "spec": {
            "handoffRef": {"name": "fraud", "uid": uid},
            "bundleHash": BUNDLE,
            "revision": REVISION,
            "ordinal": ordinal,
            "kind": "Rollout",
            "snapshot": render(resolved(**spec), WHO, SETTINGS),
        },
        "status": {"phase": "Provisioning", "step": -1},
    }


def deployment(
    name: str = WORKLOAD,
    *,
    ours: bool = True,
    replicas: int | None = 1,
    status: Raw | None = None,
    version: int = 0,
    **metadata: Any,
) -> Raw:
    labels = names.labels("fraud", REVISION) if ours else {"app": "old-fraud"}
    found = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**meta(name, version=version), "labels": dict(labels), **metadata},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "old-fraud"} if not ours else labels},
            "template": {
                "metadata": {"labels": {**labels, "version": "7"}},
                "spec": {
                    "containers": [
                        {
                            "name": "main",
                            "image": "x",
                            "ports": [{"containerPort": 9000, "name": "http"}],
                        }
                    ]
                },
            },
        },
        "status": status
        if status is not None
        else {
            "observedGeneration": 1,
            "replicas": replicas,
            "updatedReplicas": replicas,
            "readyReplicas": replicas,
        },
    }
    return copy.deepcopy(found)


def service(name: str, *, ours: bool = True, selector: Raw | None = None, **metadata: Any) -> Raw:
    labels = names.labels("fraud") if ours else {"team": "other"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**meta(name), "labels": labels, **metadata},
        "spec": {"selector": selector or {"app": "x"}, "ports": [{"port": 80}]},
    }


def pod(name: str = f"{WORKLOAD}-x1", *, status: Raw | None = None, **metadata: Any) -> Raw:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **meta(name),
            "labels": {**names.labels("fraud", REVISION), "pod-template-hash": "5d"},
            **metadata,
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": "server"}]},
        "status": status if status is not None else ready_status(),
    }


def ready_status(*, restarts: int = 0) -> Raw:
    return {
        "phase": "Running",
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": AT},
            {"type": "Ready", "status": "True", "lastTransitionTime": AT},
        ],
        "initContainerStatuses": [
            {
                "name": "fetch",
                "restartCount": 0,
                "state": {"terminated": {"exitCode": 0, "reason": "Completed", "message": "{}"}},
            }
        ],
        "containerStatuses": [
            {"name": "server", "ready": True, "restartCount": restarts, "state": {"running": {}}}
        ],
    }


def route(name: str = "fraud", *, ours: bool = True, namespace: str = NS, **changes: Any) -> Raw:
    labels = names.labels("fraud") if ours else {}
    annotations = {names.ANNOTATION_OWNER: f"{NS}/fraud/{UID}"} if ours else {}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            **meta(name, namespace=namespace),
            "labels": labels,
            "annotations": annotations,
        },
        "spec": {
            "parentRefs": [
                {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public"}
            ],
            "hostnames": ["fraud.example"],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                    "backendRefs": [
                        {"group": "", "kind": "Service", "name": "base", "port": 80, "weight": 90},
                        {"group": "", "kind": "Service", "name": "cand", "port": 80, "weight": 10},
                    ],
                }
            ],
        }
        | changes,
        "status": {"parents": [parent()]},
    }


def parent(gateway: str = "public", *, generation: int = 1, **conditions: str) -> Raw:
    wanted = {"Accepted": "True", "ResolvedRefs": "True", **conditions}
    return {
        "controllerName": "gateway.envoyproxy.io/gatewayclass-controller",
        "parentRef": {
            "group": "gateway.networking.k8s.io",
            "kind": "Gateway",
            "name": gateway,
        },
        "conditions": [
            {
                "type": kind,
                "status": status,
                "reason": kind if status == "True" else "BackendNotFound",
                "message": "fine" if status == "True" else "Service base not found",
                "observedGeneration": generation,
            }
            for kind, status in wanted.items()
        ],
    }


def unborn(obj: Raw) -> Raw:
    """An object as a person would send it, before the API server gave it a life of its own."""
    metadata = {
        key: value
        for key, value in obj["metadata"].items()
        if key in ("name", "namespace", "labels", "annotations")
    }
    return {key: value for key, value in obj.items() if key != "status"} | {"metadata": metadata}
