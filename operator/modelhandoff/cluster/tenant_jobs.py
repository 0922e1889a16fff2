"""The tenant's own Jobs as manifests, which is pure, and the end of their logs.

The tenant's container is an init container: it has ended before our collector, the pod's container,
reads what it left. So nothing of it can speak for the collector, and neither needs a token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from modelhandoff.api import names
from modelhandoff.api.acceptance_jobs import RESULTS_DIR, AcceptanceTest, Reproduction
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.job_results import MAX_LOG_TAIL
from modelhandoff.api.tenant_jobs import TenantJob, tenant_job_budget
from modelhandoff.cluster.client import Client
from modelhandoff.cluster.identity import Identity
from modelhandoff.cluster.jobs import CHECK, WORK, job, worker
from modelhandoff.cluster.mounts import volumes
from modelhandoff.cluster.pods import FETCH, MODEL_DIR, container_security, fetch_container
from modelhandoff.cluster.settings import ClusterSettings
from modelhandoff.errors import FencedError, HandoffError
from modelhandoff.rollout.diagnosis import FETCH_MISMATCH

Raw = dict[str, Any]

_COLLECTOR_RESOURCES: Raw = {
    "requests": {"cpu": "50m", "memory": "64Mi"},
    "limits": {"memory": "256Mi"},
}
_MAX_READ = 64 * 1024
"""Most bytes that are read of a log's last lines, which may be of any length."""
_LINES = 20
_RESULTS: Raw = {"name": "results", "mountPath": RESULTS_DIR}


def tenant_job(
    one: TenantJob, spec: ModelHandoffSpec, who: Identity, settings: ClusterSettings
) -> Raw:
    """One Job of an attempt, without its owner."""
    made = job(
        names.tenant_job_name(who.attempt, one.suffix),
        who,
        seconds=int(tenant_job_budget(spec, one).total_seconds()),
        fails_on=[
            {"containerName": FETCH, "operator": "In", "values": [FETCH_MISMATCH]},
            # A test that fails is not repeated until it passes.
            {"containerName": WORK, "operator": "NotIn", "values": [0]},
        ],
        init=[
            fetch_container(spec.candidate.artifacts, spec.candidate.serving, settings),
            _work(one.asked),
        ],
        container=_collector(one.asked, settings),
        volumes=[
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            # Its own: nothing that it leaves there lies in the way of ours.
            {"name": "scratch", "emptyDir": {}},
            {"name": "results", "emptyDir": {"sizeLimit": "256Mi"}},
            *volumes(spec.candidate.artifacts, spec.candidate.serving),
        ],
    )
    secrets = spec.candidate.serving.image_pull_secrets
    if secrets:
        pod = made["spec"]["template"]["spec"]
        pod["imagePullSecrets"] = [{"name": secret.name} for secret in secrets]
    return made


def _work(asked: AcceptanceTest | Reproduction) -> Raw:
    theirs = {item.name: item.value for item in asked.env}
    env = {"HOME": "/tmp", **theirs, "MODEL_DIR": MODEL_DIR}  # noqa: S108 (the pod's own)
    resources = asked.resources
    found: Raw = {
        "name": WORK,
        "image": asked.image,
        "command": list(asked.command),
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "resources": {
            "requests": {"cpu": resources.cpu, "memory": resources.memory},
            "limits": {"memory": resources.memory},
        },
        "securityContext": container_security(),
        # The end of its log, at most 2 KiB, when it fails: that is how a person learns why.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "model", "mountPath": MODEL_DIR, "readOnly": True},
            {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108 (the pod's own)
            _RESULTS,
        ],
    }
    if asked.args:
        found["args"] = list(asked.args)
    return found


def _collector(asked: AcceptanceTest | Reproduction, settings: ClusterSettings) -> Raw:
    env = {"MODELHANDOFF_RESULTS": RESULTS_DIR, "MODELHANDOFF_KIND": "tests"}
    if isinstance(asked, Reproduction):
        env["MODELHANDOFF_KIND"] = "reproduction"
        env["MODELHANDOFF_METRICS"] = json.dumps([metric.name for metric in asked.metrics])
    return worker(
        CHECK,
        "modelhandoff.verify.collect",
        env,
        settings,
        resources=_COLLECTOR_RESOURCES,
        mounts=[{**_RESULTS, "readOnly": True}],
    )


async def read_tail(client: Client, namespace: str, pod: str) -> str:
    """The end of what the tenant's container wrote; "" when nobody can say.

    Nothing is decided on it, so nothing waits for it either.
    """
    try:
        log = await client.log(namespace, pod, WORK, limit=_MAX_READ, lines=_LINES)
    except FencedError:
        raise
    except HandoffError:
        return ""
    text = log.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text.strip()[-MAX_LOG_TAIL:]


def with_log(status: Mapping[str, Any], result: str, log: str) -> Raw:
    """An attempt's status with the end of a log at one of its results."""
    if not log:
        return dict(status)
    jobs = [{**job, "log": log} if job["name"] == result else job for job in status["jobs"]]
    return {**status, "jobs": jobs}
