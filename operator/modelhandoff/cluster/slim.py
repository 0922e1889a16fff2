"""What of an object is worth keeping: the parts that a decision reads, and nothing else.

Deployments, Services and HTTPRoutes are watched whole, so the cache holds every one of the
cluster; slimmed they take a few kilobytes of memory each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modelhandoff.api import names
from modelhandoff.cluster.kinds import (
    DEPLOYMENT,
    HTTPROUTE,
    JOB,
    NODE,
    POD,
    SERVICE,
    Kind,
)

Raw = dict[str, Any]

GPU_PRODUCT = "nvidia.com/gpu.product"

_META = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "creationTimestamp",
    "deletionTimestamp",
)
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def slim(kind: Kind, obj: Mapping[str, Any]) -> Raw:
    """A copy that holds only what is read; the original is left alone."""
    meta = _metadata(obj["metadata"])
    shape = _SHAPES.get(kind.plural)
    if shape is not None:
        return {"metadata": meta, **shape(obj)}
    kept = {key: value for key, value in obj.items() if key not in ("metadata",)}
    return {"metadata": meta, **kept}


def _metadata(meta: Mapping[str, Any]) -> Raw:
    found = _pick(meta, *_META)
    annotations = found.get("annotations")
    if annotations and _LAST_APPLIED in annotations:
        found["annotations"] = {k: v for k, v in annotations.items() if k != _LAST_APPLIED}
    return found


def _pick(tree: Any, *keys: str) -> Raw:
    if not isinstance(tree, Mapping):
        return {}
    return {key: tree[key] for key in keys if tree.get(key) is not None}


def _deployment(obj: Mapping[str, Any]) -> Raw:
    spec = obj.get("spec") or {}
    template = spec.get("template") or {}
    containers = (template.get("spec") or {}).get("containers") or ()
    return {
        "spec": {
            **_pick(spec, "replicas", "selector"),
            "template": {
                "metadata": _pick(template.get("metadata"), "labels"),
                "spec": {"containers": [_pick(c, "name", "ports") for c in containers]},
            },
        },
        "status": _pick(
            obj.get("status"),
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "conditions",
        ),
    }


def _service(obj: Mapping[str, Any]) -> Raw:
    return {"spec": _pick(obj.get("spec"), "selector", "ports", "type")}


def _pod(obj: Mapping[str, Any]) -> Raw:
    return {
        "spec": _pod_spec(obj.get("spec")),
        "status": _pick(
            obj.get("status"),
            "phase",
            "reason",
            "message",
            "podIP",
            "conditions",
            "initContainerStatuses",
            "containerStatuses",
        ),
    }


def _pod_spec(spec: Any) -> Raw:
    """The node, and which claims its volumes are, if any."""
    found = _pick(spec, "nodeName", "volumes")
    claims = [
        {"persistentVolumeClaim": volume["persistentVolumeClaim"]}
        for volume in found.pop("volumes", ())
        if volume.get("persistentVolumeClaim")
    ]
    return {**found, "volumes": claims} if claims else found


def _job(obj: Mapping[str, Any]) -> Raw:
    return {
        "status": _pick(
            obj.get("status"), "conditions", "succeeded", "failed", "active", "startTime"
        )
    }


def _route(obj: Mapping[str, Any]) -> Raw:
    if names.LABEL_HANDOFF in (obj["metadata"].get("labels") or {}):
        return {"spec": obj.get("spec") or {}, "status": obj.get("status") or {}}
    spec = obj.get("spec") or {}
    rules = [_pick(rule, "matches") for rule in spec.get("rules") or ()]
    return {"spec": {**_pick(spec, "parentRefs", "hostnames"), "rules": rules}}


def _node(obj: Mapping[str, Any]) -> Raw:
    product = (obj["metadata"].get("labels") or {}).get(GPU_PRODUCT, "")
    return {"product": product}


_SHAPES: dict[str, Callable[[Mapping[str, Any]], Raw]] = {
    DEPLOYMENT.plural: _deployment,
    SERVICE.plural: _service,
    POD.plural: _pod,
    JOB.plural: _job,
    HTTPROUTE.plural: _route,
    NODE.plural: _node,
}
