"""The pod of a revision, always compliant with Pod Security *restricted*. Pure.

There is no pod template in the resource: every field here comes from a closed structure, so
that nobody who may edit a handoff gains more on the cluster than that structure says.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from modelhandoff.api import names
from modelhandoff.api.addresses import last_part, without_tls
from modelhandoff.api.candidate import Artifact, ArtifactRole, Gpu, Protocol, Serving
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.monitoring import MetricType
from modelhandoff.api.verification import BASELINE_ROLE
from modelhandoff.cluster.mounts import mounts, volumes
from modelhandoff.cluster.settings import ClusterSettings

Raw = dict[str, Any]

MODEL_DIR = "/mnt/models"
SERVER = "server"
"""Name of the serving container, the first one of the pod."""
FETCH = "fetch"
"""Name of the init container that fetches and checks the artifacts."""
ARTIFACTS = "MODELHANDOFF_ARTIFACTS"
"""Of that container: the manifest that says what to fetch, and as which file."""
BASELINE_FOLDER = "baseline/"
"""Below ``MODEL_DIR``: where the baseline's artifacts lie in a verification Job."""
HTTP_PORT = "http"
GPU_PRODUCT = "nvidia.com/gpu.product"
STARTUP_PERIOD = 1
_LIVE_PATH = "/v2/health/live"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_V2_PATH = re.compile(r"/v2/models/([^/]+)(?:/versions/[^/]+)?/infer")

_CONTAINER_SECURITY: Raw = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_FETCH_RESOURCES: Raw = {
    "requests": {"cpu": "50m", "memory": "64Mi"},
    "limits": {"memory": "256Mi"},
}


def pod_security() -> Raw:
    """The pod-level security context of every pod the operator makes."""
    return {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def container_security() -> Raw:
    """The container-level security context of every container the operator makes."""
    return {**_CONTAINER_SECURITY, "capabilities": {"drop": ["ALL"]}}


def pod_template(
    spec: ModelHandoffSpec, handoff: str, revision: str, settings: ClusterSettings
) -> Raw:
    """The pod template of one revision."""
    serving = spec.candidate.serving
    return {
        "metadata": {
            "labels": names.labels(handoff, revision),
            "annotations": {
                "prometheus.io/scrape": "true",
                "prometheus.io/port": str(serving.metrics_port),
                "prometheus.io/path": "/metrics",
                names.ANNOTATION_MODEL: spec.candidate.model.name,
                names.ANNOTATION_MODEL_VERSION: spec.candidate.model.version,
            },
        },
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": pod_security(),
            "terminationGracePeriodSeconds": settings.drain_seconds + settings.shutdown_seconds,
            "initContainers": [fetch_container(spec.candidate.artifacts, serving, settings)],
            "containers": [_server(spec, settings)],
            "volumes": [
                {"name": "model", "emptyDir": {}},
                {"name": "tmp", "emptyDir": {}},
                *volumes(spec.candidate.artifacts, serving),
            ],
            **_scheduling(serving),
            **_optional(serving),
        },
    }


def fetch_container(
    artifacts: tuple[Artifact, ...],
    serving: Serving,
    settings: ClusterSettings,
    beside: tuple[Artifact, ...] = (),
) -> Raw:
    """The init container: the bytes that it checked are the bytes that are served.

    Its pod needs the ``volumes`` of the same artifacts, those ``beside`` last.

    Args:
        artifacts: of the bundle.
        serving: names the secrets for private registries.
        settings: of the operator.
        beside: the baseline's, for a folder of their own.
    """
    manifest = [
        *_wanted(artifacts, "", ""),
        *_wanted(beside, BASELINE_ROLE, BASELINE_FOLDER),
    ]
    artifacts = (*artifacts, *beside)
    return {
        "name": FETCH,
        "image": settings.fetch_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python", "-m", "modelhandoff.verify.fetch"],
        "env": [
            {"name": "MODEL_DIR", "value": MODEL_DIR},
            {
                "name": ARTIFACTS,
                "value": json.dumps(manifest, separators=(",", ":")),
            },
            # The policy has allowed what is named here; a redirect must not go below it.
            {
                "name": "MODELHANDOFF_ALLOW_HTTP",
                "value": str(any(without_tls(a.uri) for a in artifacts)).lower(),
            },
        ],
        "resources": _FETCH_RESOURCES,
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "model", "mountPath": MODEL_DIR},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 (a mount point of the pod's own)
            *mounts(artifacts, serving),
        ],
    }


def _wanted(artifacts: tuple[Artifact, ...], role: str, folder: str) -> list[Raw]:
    return [
        {
            "role": f"{role}{artifact.role}",
            "uri": artifact.uri,
            "digest": artifact.digest,
            "file": f"{folder}{file}",
        }
        for artifact, file in zip(artifacts, file_names(artifacts), strict=True)
    ]


def file_names(artifacts: tuple[Artifact, ...]) -> tuple[str, ...]:
    """Under which name each artifact lies in ``MODEL_DIR``: the last part of its address.

    Of a registry's layer that is its title. Only letters, digits, ``.``, ``-`` and ``_``, never
    hidden; a name that is taken gets the artifact's position in front.
    """
    found: list[str] = []
    for position, artifact in enumerate(artifacts):
        name = (
            _UNSAFE.sub("_", last_part(artifact.uri))[-100:].lstrip(".-")
            or str(artifact.role).lower()
        )
        while name in found:
            name = f"{position}-{name}"
        found.append(name)
    return tuple(found)


def file_of(spec: ModelHandoffSpec, role: ArtifactRole) -> str:
    """The file name of the first artifact with a role, or ""."""
    artifacts = spec.candidate.artifacts
    named = zip(artifacts, file_names(artifacts), strict=True)
    return next((name for artifact, name in named if artifact.role is role), "")


def _server(spec: ModelHandoffSpec, settings: ClusterSettings) -> Raw:
    serving = spec.candidate.serving
    container: Raw = {
        "name": SERVER,
        "image": serving.image,
        "ports": _ports(serving),
        "env": _environment(spec),
        "resources": _resources(serving),
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "model", "mountPath": MODEL_DIR, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 (a mount point of the pod's own)
        ],
        "lifecycle": {"preStop": {"sleep": {"seconds": settings.drain_seconds}}},
        **_probes(serving),
    }
    if serving.command:
        container["command"] = list(serving.command)
    if serving.args:
        container["args"] = list(serving.args)
    return container


def _ports(serving: Serving) -> list[Raw]:
    ports: list[Raw] = [{"name": HTTP_PORT, "containerPort": serving.port}]
    if serving.metrics_port != serving.port:
        ports.append({"name": "metrics", "containerPort": serving.metrics_port})
    return ports


def _environment(spec: ModelHandoffSpec) -> list[Raw]:
    serving = spec.candidate.serving
    ours = {
        "MODEL_DIR": MODEL_DIR,
        "MODELHANDOFF_MODEL_NAME": served_name(spec),
        "MODELHANDOFF_MODEL_VERSION": spec.candidate.model.version,
        "MODELHANDOFF_MODEL_FILE": file_of(spec, ArtifactRole.MODEL),
        "MODELHANDOFF_PORT": str(serving.port),
        "MODELHANDOFF_LATENCY_BUDGET": ",".join(_budgets(spec)),
    }
    if serving.metrics_port != serving.port:
        ours["MODELHANDOFF_METRICS_PORT"] = str(serving.metrics_port)
    reference = file_of(spec, ArtifactRole.REFERENCE)
    if reference:
        ours["MODELHANDOFF_REFERENCE"] = reference
        if not spec.contracts.api.path.startswith("/v2/"):
            # The route of named features: it needs the reference, which names them.
            ours["MODELHANDOFF_ROUTE"] = spec.contracts.api.path
    examples = file_of(spec, ArtifactRole.TEST_DATA)
    if examples:
        ours["MODELHANDOFF_EXAMPLES"] = examples
    trace = spec.contracts.api.trace
    if trace is not None and trace.request_id_header:
        ours["MODELHANDOFF_REQUEST_ID_HEADER"] = trace.request_id_header
    if trace is not None and trace.version_header:
        ours["MODELHANDOFF_VERSION_HEADER"] = trace.version_header
    theirs: list[Raw] = [{"name": item.name, "value": item.value} for item in serving.env]
    return [*theirs, *({"name": name, "value": value} for name, value in ours.items())]


def served_name(spec: ModelHandoffSpec) -> str:
    """The model's name in the protocol: the one that callers use in the contract's path."""
    found = _V2_PATH.fullmatch(spec.contracts.api.path)
    return found.group(1) if found else spec.candidate.model.name


def _budgets(spec: ModelHandoffSpec) -> list[str]:
    """Every latency that is judged, in milliseconds: each becomes a border of the histogram."""
    judged = {spec.contracts.api.latency.p95}
    for metric in spec.monitoring.metrics:
        if metric.type is MetricType.LATENCY and metric.budget is not None:
            judged.add(metric.budget)
    return [f"{round(budget.total_seconds() * 1000)}ms" for budget in sorted(judged)]


def _resources(serving: Serving) -> Raw:
    # Memory is no compressible thing: what is promised is also the bound. CPU is.
    requests: Raw = {"cpu": serving.resources.cpu, "memory": serving.resources.memory}
    limits: Raw = {"memory": serving.resources.memory}
    if serving.gpu is not None:
        requests[serving.gpu.resource] = str(serving.gpu.count)
        limits[serving.gpu.resource] = str(serving.gpu.count)
    return {"requests": requests, "limits": limits}


def _probes(serving: Serving) -> Raw:
    ready: Raw = {"httpGet": {"path": serving.probe_path, "port": HTTP_PORT}}
    alive: Raw = (
        {"httpGet": {"path": _LIVE_PATH, "port": HTTP_PORT}}
        if serving.protocol is Protocol.OPEN_INFERENCE_V2
        # An unknown server's readiness path may fail under load; killing it then helps nobody.
        else {"tcpSocket": {"port": HTTP_PORT}}
    )
    return {
        "startupProbe": {
            **ready,
            "periodSeconds": STARTUP_PERIOD,
            "timeoutSeconds": 5,
            "failureThreshold": math.ceil(serving.startup.timeout.total_seconds() / STARTUP_PERIOD),
        },
        "readinessProbe": {
            **ready,
            "periodSeconds": 2,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
        "livenessProbe": {
            **alive,
            "periodSeconds": 10,
            "timeoutSeconds": 10,
            "failureThreshold": 3,
        },
    }


def _scheduling(serving: Serving) -> Raw:
    found: Raw = {}
    tolerations = [
        toleration.model_dump(mode="json", by_alias=True) for toleration in serving.tolerations
    ]
    gpu = serving.gpu
    if gpu is not None:
        tolerations.append({"key": _taint(gpu), "operator": "Exists", "effect": "NoSchedule"})
        if gpu.product:
            found["affinity"] = _only_on(gpu.product)
    if tolerations:
        found["tolerations"] = tolerations
    if serving.node_selector:
        found["nodeSelector"] = dict(serving.node_selector)
    return found


def _taint(gpu: Gpu) -> str:
    """The key that nodes with this resource are usually tainted with; MIG slices share one."""
    return "nvidia.com/gpu" if gpu.resource.startswith("nvidia.com/") else gpu.resource


def _only_on(products: tuple[str, ...]) -> Raw:
    term = {"key": GPU_PRODUCT, "operator": "In", "values": list(products)}
    return {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [term]}]
            }
        }
    }


def _optional(serving: Serving) -> Raw:
    found: Raw = {}
    if serving.priority_class_name:
        found["priorityClassName"] = serving.priority_class_name
    if serving.runtime_class_name:
        found["runtimeClassName"] = serving.runtime_class_name
    if serving.service_account_name:
        found["serviceAccountName"] = serving.service_account_name
    if serving.image_pull_secrets:
        found["imagePullSecrets"] = [{"name": s.name} for s in serving.image_pull_secrets]
    return found
