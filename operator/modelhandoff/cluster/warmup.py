"""The warm-up Job: example requests to the candidate from a pod beside it. Pure.

It also checks what the handoff promises of the pods' answers (:mod:`modelhandoff.api.promises`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelhandoff.api import names
from modelhandoff.api.candidate import ArtifactRole
from modelhandoff.api.checks import sha256
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.promises import promises_of
from modelhandoff.cluster.identity import Identity
from modelhandoff.cluster.jobs import job, worker
from modelhandoff.cluster.mounts import volumes
from modelhandoff.cluster.pods import (
    MODEL_DIR,
    fetch_container,
    file_names,
    served_name,
)
from modelhandoff.cluster.settings import ClusterSettings

Raw = dict[str, Any]

WARMUP = "warmup"
"""Name of the Job's container."""
_READS = (ArtifactRole.TEST_DATA, ArtifactRole.API_CONTRACT)
_ALLOWANCE_SECONDS = 60
"""On top of the warm-up's own budget, for the pod to be scheduled, started and to fetch."""
_RESOURCES: Raw = {
    "requests": {"cpu": "50m", "memory": "64Mi"},
    "limits": {"memory": "256Mi"},
}


def warmup_job(spec: ModelHandoffSpec, who: Identity, settings: ClusterSettings) -> Raw:
    """The Job of one attempt, without its owner. It needs no token and no rights."""
    budget = int(spec.rollout.warmup.max_duration.total_seconds())
    read = tuple(a for a in spec.candidate.artifacts if a.role in _READS)
    files: dict[ArtifactRole, str] = {}
    for artifact, file in zip(read, file_names(read), strict=True):
        files.setdefault(artifact.role, file)
    found = promises_of(spec, files)
    promised = "" if found is None else found.model_dump_json(by_alias=True)
    made = job(
        names.warmup_job_name(who.attempt),
        who,
        seconds=budget + _ALLOWANCE_SECONDS,
        # An answer that is wrong says something about the model.
        fails_on=[{"containerName": WARMUP, "operator": "NotIn", "values": [0]}],
        init=[fetch_container(read, spec.candidate.serving, settings)] if read else [],
        container=worker(
            WARMUP,
            "modelhandoff.verify.warmup",
            _environment(spec, who.workload, files, promised),
            settings,
            resources=_RESOURCES,
            image=settings.verify_image if promised else "",
        ),
        volumes=[{"name": "tmp", "emptyDir": {}}, *volumes(read, spec.candidate.serving)],
    )
    if promised:
        made["metadata"]["annotations"] = {
            names.ANNOTATION_SPEC_DIGEST: sha256(promised.encode()),
        }
    return made


def addressed(rendered: Raw, pods: Mapping[str, str], port: int) -> Raw:
    """A rendered Job that asks every pod by itself: no Service says which one has answered.

    Args:
        rendered: the Job as the attempt's snapshot holds it.
        pods: addresses by name.
        port: that their server listens on.
    """
    if not pods:
        return rendered
    hosts = {name: f"[{host}]" if ":" in host else host for name, host in pods.items()}
    told = ",".join(f"{name}=http://{host}:{port}" for name, host in sorted(hosts.items()))
    template = rendered["spec"]["template"]
    (container,) = template["spec"]["containers"]
    env = [*container["env"], {"name": "MODELHANDOFF_PODS", "value": told}]
    pod = {**template["spec"], "containers": [{**container, "env": env}]}
    return {**rendered, "spec": {**rendered["spec"], "template": {**template, "spec": pod}}}


def _environment(
    spec: ModelHandoffSpec, service: str, files: Mapping[ArtifactRole, str], promised: str
) -> dict[str, str]:
    env = {
        "MODEL_DIR": MODEL_DIR,
        "MODELHANDOFF_TARGET": f"http://{service}",
        "MODELHANDOFF_METHOD": str(spec.contracts.api.method),
        "MODELHANDOFF_PATH": spec.contracts.api.path,
        "MODELHANDOFF_MODEL_NAME": served_name(spec),
        "MODELHANDOFF_REQUESTS": str(spec.rollout.warmup.requests),
        "MODELHANDOFF_DEADLINE": f"{int(spec.rollout.warmup.max_duration.total_seconds())}s",
    }
    if ArtifactRole.TEST_DATA in files:
        env["MODELHANDOFF_EXAMPLES"] = files[ArtifactRole.TEST_DATA]
    if promised:
        env["MODELHANDOFF_PROMISES"] = promised
    return env
