"""The warm-up Job: example requests to the candidate from a pod beside it. Pure."""

from __future__ import annotations

from typing import Any

from modelhandoff.api import names
from modelhandoff.api.candidate import ArtifactRole
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.cluster import kinds
from modelhandoff.cluster.identity import Identity
from modelhandoff.cluster.pods import (
    MODEL_DIR,
    container_security,
    fetch_container,
    file_of,
    pod_security,
    served_name,
)
from modelhandoff.cluster.settings import ClusterSettings

Raw = dict[str, Any]

WARMUP = "warmup"
"""Name of the Job's container."""
_ALLOWANCE_SECONDS = 60
"""On top of the warm-up's own budget, for the pod to be scheduled, started and to fetch."""
_RESOURCES: Raw = {
    "requests": {"cpu": "50m", "memory": "64Mi"},
    "limits": {"memory": "256Mi"},
}


def warmup_job(spec: ModelHandoffSpec, who: Identity, settings: ClusterSettings) -> Raw:
    """The Job of one attempt, without its owner. It needs no token and no rights."""
    budget = int(spec.rollout.warmup.max_duration.total_seconds())
    examples = tuple(a for a in spec.candidate.artifacts if a.role is ArtifactRole.TEST_DATA)
    labels = {**names.labels(who.handoff), names.LABEL_ATTEMPT: who.attempt}
    return {
        "apiVersion": kinds.JOB.api_version,
        "kind": kinds.JOB.name,
        "metadata": {
            "name": names.warmup_job_name(who.attempt),
            "namespace": who.namespace,
            "labels": labels,
        },
        "spec": {
            "backoffLimit": 2,
            "activeDeadlineSeconds": budget + _ALLOWANCE_SECONDS,
            # A node that goes away says nothing about the model; an answer that is wrong does.
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": WARMUP,
                            "operator": "NotIn",
                            "values": [0],
                        },
                    },
                ]
            },
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": pod_security(),
                    "initContainers": [fetch_container(examples, settings)] if examples else [],
                    "containers": [_sender(spec, who, settings, budget)],
                    "volumes": [
                        {"name": "model", "emptyDir": {}},
                        {"name": "tmp", "emptyDir": {}},
                    ],
                },
            },
        },
    }


def _sender(spec: ModelHandoffSpec, who: Identity, settings: ClusterSettings, budget: int) -> Raw:
    env = {
        "MODEL_DIR": MODEL_DIR,
        "MODELHANDOFF_TARGET": f"http://{who.workload}",
        "MODELHANDOFF_METHOD": str(spec.contracts.api.method),
        "MODELHANDOFF_PATH": spec.contracts.api.path,
        "MODELHANDOFF_MODEL_NAME": served_name(spec),
        "MODELHANDOFF_REQUESTS": str(spec.rollout.warmup.requests),
        "MODELHANDOFF_DEADLINE": f"{budget}s",
    }
    examples = file_of(spec, ArtifactRole.TEST_DATA)
    if examples:
        env["MODELHANDOFF_EXAMPLES"] = examples
    return {
        "name": WARMUP,
        "image": settings.fetch_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python", "-m", "modelhandoff.verify.warmup"],
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "resources": _RESOURCES,
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "model", "mountPath": MODEL_DIR, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 (a mount point of the pod's own)
        ],
    }
