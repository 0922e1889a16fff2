"""What every Job of ours has in common: no token, no rights, restricted, our own image. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from modelhandoff.api import names
from modelhandoff.cluster import kinds
from modelhandoff.cluster.identity import Identity
from modelhandoff.cluster.pods import MODEL_DIR, container_security, pod_security
from modelhandoff.cluster.settings import ClusterSettings

Raw = dict[str, Any]

CHECK = "check"
"""Container of a Job that reports: its termination message is the receipt."""
WORK = "work"
"""Init container of a Job of the tenant's: their own image."""


def job(
    name: str,
    who: Identity,
    *,
    seconds: int,
    fails_on: Iterable[Raw],
    init: list[Raw],
    container: Raw,
    volumes: Iterable[Raw],
) -> Raw:
    """A Job of one attempt, without its owner.

    Args:
        name: of the Job.
        who: the attempt.
        seconds: until Kubernetes ends it.
        fails_on: ``onExitCodes``, each of which ends it at once: more pods would say the same.
        init: init containers.
        container: the one that does the work.
        volumes: beside ``model``, which is an empty folder.
    """
    labels = {**names.labels(who.handoff), names.LABEL_ATTEMPT: who.attempt}
    return {
        "apiVersion": kinds.JOB.api_version,
        "kind": kinds.JOB.name,
        "metadata": {"name": name, "namespace": who.namespace, "labels": labels},
        "spec": {
            "backoffLimit": 2,
            "activeDeadlineSeconds": seconds,
            "podFailurePolicy": {
                "rules": [
                    # A node that goes away says nothing about the model.
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                    *({"action": "FailJob", "onExitCodes": codes} for codes in fails_on),
                ]
            },
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": pod_security(),
                    "initContainers": init,
                    "containers": [container],
                    "volumes": [{"name": "model", "emptyDir": {}}, *volumes],
                },
            },
        },
    }


def worker(
    name: str,
    module: str,
    env: Mapping[str, str],
    settings: ClusterSettings,
    *,
    resources: Raw,
    image: str = "",
    mounts: Iterable[Raw] = (),
) -> Raw:
    """The container of a Job: one module of ours, with the artifacts to read.

    ``image`` is the fetcher's where none is given; ``mounts`` come beside the artifacts and
    ``/tmp``.
    """
    return {
        "name": name,
        "image": image or settings.fetch_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python", "-m", module],
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "resources": resources,
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "model", "mountPath": MODEL_DIR, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 (a mount point of the pod's own)
            *mounts,
        ],
    }
