"""The warm-up Job: example requests to the candidate from a pod beside it. Pure."""

from __future__ import annotations

from typing import Any

from modelhandoff.api import names
from modelhandoff.api.candidate import ArtifactRole
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.cluster.identity import Identity
from modelhandoff.cluster.jobs import job, worker
from modelhandoff.cluster.mounts import volumes
from modelhandoff.cluster.pods import (
    MODEL_DIR,
    fetch_container,
    file_of,
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
    return job(
        names.warmup_job_name(who.attempt),
        who,
        seconds=budget + _ALLOWANCE_SECONDS,
        # An answer that is wrong says something about the model.
        fails_on=[{"containerName": WARMUP, "operator": "NotIn", "values": [0]}],
        init=[fetch_container(examples, spec.candidate.serving, settings)] if examples else [],
        container=_sender(spec, who, settings, budget),
        volumes=[{"name": "tmp", "emptyDir": {}}, *volumes(examples, spec.candidate.serving)],
    )


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
    return worker(WARMUP, "modelhandoff.verify.warmup", env, settings, resources=_RESOURCES)
