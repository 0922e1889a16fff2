"""How the candidate is served: a closed structure, never a pod template."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from modelhandoff.api.base import SpecModel, Word
from modelhandoff.api.cel import Rule, positive
from modelhandoff.api.quantities import (
    AnyText,
    Duration,
    Image,
    Labels,
    ListOf,
    Name63,
    ObjectName,
    Port,
    Quantity,
    UrlPath,
)


class Protocol(Word):
    """What the server speaks."""

    OPEN_INFERENCE_V2 = "OpenInferenceV2"
    CUSTOM_HTTP = "CustomHTTP"


class ServingMode(Word):
    """How the model is used. Batch comes with the gates that judge it."""

    ONLINE = "Online"


class EnvVar(SpecModel):
    """One environment variable: a name and a plain value, no references."""

    name: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128),
    ]
    """Name of the variable."""
    value: Annotated[str, StringConstraints(max_length=4096)]
    """Its value, as text."""

    rules = (
        Rule(
            cel="self.name != 'MODEL_DIR' && !self.name.startsWith('MODELHANDOFF_')",
            holds=lambda self: (
                self.name != "MODEL_DIR" and not self.name.startswith("MODELHANDOFF_")
            ),
            at="name",
            wrong="the operator sets this variable itself",
            allowed="any name but MODEL_DIR and MODELHANDOFF_*",
        ),
    )


class Resources(SpecModel):
    """CPU and memory of one serving pod. The memory request is also its limit."""

    cpu: Quantity = "500m"
    """CPU request, for example 500m or 2."""
    memory: Quantity = "512Mi"
    """Memory request and limit, for example 2Gi."""


class Gpu(SpecModel):
    """The accelerator of one serving pod."""

    resource: Annotated[
        str,
        StringConstraints(
            pattern=r"^[a-z0-9][-.a-z0-9]*/[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?$",
            max_length=253,
        ),
    ] = "nvidia.com/gpu"
    """Extended resource that the node offers, for example nvidia.com/gpu."""
    count: Annotated[int, Field(ge=1, le=64)]
    """GPUs per pod."""
    product: Annotated[tuple[Name63, ...], ListOf(16, minimum=1, unique=True)] | None = None
    """Accepted products, as the node label nvidia.com/gpu.product has them."""
    same_as_baseline: bool = True
    """Whether the candidate must run on a product that the baseline runs on too, or the attempt
    ends Inconclusive before any traffic. True when not set. With false they may differ, and latency
    is judged by its budget alone: a faster GPU is not a faster model."""


class Startup(SpecModel):
    """How long a pod may take to load the model."""

    timeout: Duration = timedelta(minutes=30)
    """Time from container start to ready, for fetching and loading. 30m when not set."""

    rules = (positive("timeout", "timeout"),)


class TolerationOperator(Word):
    """How a toleration compares."""

    EQUAL = "Equal"
    EXISTS = "Exists"


class TaintEffect(Word):
    """Effect of a taint."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(SpecModel):
    """A node taint that the serving pods accept."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=316)] | None = None
    """Key of the taint; every key when not set."""
    operator: TolerationOperator = TolerationOperator.EQUAL
    """Equal compares the value, Exists does not."""
    value: Annotated[str, StringConstraints(max_length=63)] | None = None
    """Value of the taint, with Equal."""
    effect: TaintEffect | None = None
    """Effect of the taint; every effect when not set."""
    toleration_seconds: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """How long a pod stays after a NoExecute taint."""

    rules = (
        Rule(
            cel="has(self.key) || (has(self.operator) && self.operator == 'Exists')",
            holds=lambda self: self.key is not None or self.operator is TolerationOperator.EXISTS,
            wrong="a toleration without key matches every taint only with operator Exists",
            allowed="a key, or operator: Exists",
        ),
        Rule(
            cel="!has(self.value) || !has(self.operator) || self.operator == 'Equal'",
            holds=lambda self: self.value is None or self.operator is TolerationOperator.EQUAL,
            at="value",
            wrong="operator Exists compares no value",
            allowed="no value, or operator: Equal",
        ),
    )


class LocalObject(SpecModel):
    """An object of the handoff's namespace."""

    name: ObjectName
    """Its name."""


_LABEL_KEY = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$"


def _probe_path(fields: dict[str, Any]) -> str | None:
    ours = fields.get("protocol") is Protocol.OPEN_INFERENCE_V2
    return "/v2/health/ready" if ours else None


class Serving(SpecModel):
    """How the model is served. A closed structure: there is no pod template."""

    mode: ServingMode = ServingMode.ONLINE
    """Online: behind a route, judged on live traffic."""
    image: Image
    """Server image, pinned by digest unless the policy allows tags."""
    command: Annotated[tuple[AnyText, ...], ListOf(32)] = ()
    """Entry point, instead of the image's."""
    args: Annotated[tuple[AnyText, ...], ListOf(64)] = ()
    """Arguments of the entry point."""
    env: Annotated[tuple[EnvVar, ...], ListOf(64, key="name")] = ()
    """Environment variables, names and plain values only."""
    protocol: Protocol = Protocol.OPEN_INFERENCE_V2
    """What the server speaks. OpenInferenceV2 when not set."""
    port: Port = 8080
    """Port of the API. 8080 when not set."""
    metrics_port: Port = Field(default_factory=lambda fields: fields.get("port", 8080))
    """Port of /metrics. The API's port when not set."""
    replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    """Pods at full traffic. Not part of the revision. 1 when not set."""
    resources: Resources = Resources()
    """CPU and memory of one pod."""
    gpu: Gpu | None = None
    """The accelerator of one pod; none when not set."""
    startup: Startup = Startup()
    """How long a pod may take to load the model."""
    probe_path: UrlPath | None = Field(default_factory=_probe_path)
    """Path of the readiness probe. /v2/health/ready for OpenInferenceV2, required otherwise."""
    priority_class_name: ObjectName | None = None
    """Priority class of the pods."""
    runtime_class_name: ObjectName | None = None
    """Runtime class of the pods."""
    node_selector: Labels = Field(default_factory=dict)
    """Labels that a node must have."""
    tolerations: Annotated[tuple[Toleration, ...], ListOf(16)] = ()
    """Node taints that the pods accept."""
    image_pull_secrets: Annotated[tuple[LocalObject, ...], ListOf(8, key="name")] = ()
    """Secrets for pulling the image, and artifacts from registries, in the handoff's namespace."""
    service_account_name: ObjectName | None = None
    """Service account of the pods; its token is not mounted."""

    rules = (
        Rule(
            cel=("!has(self.protocol) || self.protocol != 'CustomHTTP' || has(self.probePath)"),
            holds=lambda self: self.probe_path is not None,
            at="probePath",
            wrong="a CustomHTTP server has no agreed readiness path",
            allowed="the path that answers 200 once the model is loaded",
        ),
        Rule(
            cel=f"!has(self.nodeSelector) || self.nodeSelector.all(k, k.matches('{_LABEL_KEY}'))",
            holds=lambda self: all(re.fullmatch(_LABEL_KEY, key) for key in self.node_selector),
            at="nodeSelector",
            wrong="a key is not the name of a label",
            allowed="name or prefix/name, such as kubernetes.io/arch",
        ),
    )
