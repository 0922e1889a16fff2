"""The candidate: which model, which bytes, where they came from, and how they are served."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from modelhandoff.api.base import SpecModel, Word
from modelhandoff.api.cel import Rule, exactly_one
from modelhandoff.api.quantities import (
    HINT,
    Digest,
    Duration,
    HttpUrl,
    Image,
    Labels,
    ListOf,
    LongText,
    Name63,
    ObjectName,
    Port,
    Quantity,
    Text,
    UrlPath,
)

MAX_SAFE_INTEGER = 2**53 - 1
"""Largest integer that every JSON reader, and so RFC 8785, keeps exact."""


class ModelFormat(Word):
    """File format of the model."""

    ONNX = "ONNX"
    LIGHTGBM = "LightGBM"
    XGBOOST = "XGBoost"
    SKLEARN = "SKLearn"
    TORCH = "Torch"
    CUSTOM = "Custom"


class ArtifactRole(Word):
    """What an artifact is for."""

    MODEL = "Model"
    FEATURE_MAPPING = "FeatureMapping"
    PREPROCESSING = "Preprocessing"
    TRAINING_CODE = "TrainingCode"
    ENVIRONMENT = "Environment"
    TEST_DATA = "TestData"
    REFERENCE = "Reference"
    DOCS = "Docs"


class Protocol(Word):
    """What the server speaks."""

    OPEN_INFERENCE_V2 = "OpenInferenceV2"
    CUSTOM_HTTP = "CustomHTTP"


class ServingMode(Word):
    """How the model is used. Batch comes with the gates that judge it."""

    ONLINE = "Online"


class GpuSharing(Word):
    """Whether other pods may compute on the same GPU."""

    EXCLUSIVE = "Exclusive"
    SHARED = "Shared"


class ModelIdentity(SpecModel):
    """The model's name and version, as people call it."""

    name: Name63
    """Name of the model, for example fraud-classifier."""
    version: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9][-+_.A-Za-z0-9]*$", max_length=64),
        Field(json_schema_extra={HINT: "letters, digits, -, +, _ and ., in quotes"}),
    ]
    """Version of the model, for example 1.4.0; never "latest"."""
    format: ModelFormat = ModelFormat.ONNX
    """File format of the model. ONNX when not set."""

    rules = (
        Rule(
            cel="self.version.lowerAscii() != 'latest'",
            holds=lambda self: self.version.lower() != "latest",
            at="version",
            wrong="latest names no version",
            allowed="the version these bytes have, such as 1.4.0",
        ),
    )


class Artifact(SpecModel):
    """One file of the bundle. Its bytes are checked against the digest before anything serves."""

    role: ArtifactRole
    """What the file is for. Exactly one artifact has the role Model."""
    uri: HttpUrl
    """Where the file is fetched from."""
    digest: Digest
    """SHA-256 of the file, as sha256: and 64 hexadecimal digits."""


class GitSource(SpecModel):
    """The commit that the model was trained from."""

    repo: Annotated[str, StringConstraints(pattern=r"^[^\s]+$", max_length=512)]
    """Address of the repository."""
    commit: Annotated[
        str,
        StringConstraints(pattern=r"^[0-9a-f]{40}$", max_length=40),
        Field(json_schema_extra={HINT: "a full commit id, 40 lower-case hexadecimal digits"}),
    ]
    """Full commit id, 40 hexadecimal digits."""


class DataSource(SpecModel):
    """The snapshot of the training data."""

    uri: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9+.-]*://\S+$", max_length=1024)]
    """Where the snapshot is kept; it is recorded, never fetched."""
    digest: Digest
    """SHA-256 of the snapshot or of its manifest."""


class Nondeterministic(SpecModel):
    """Why training cannot be repeated bit for bit."""

    reason: Text
    """The reason, as a sentence."""


class TrainingEnvironment(SpecModel):
    """Where the training ran, with exact versions."""

    image: Image | None = None
    """Container image of the training."""
    lockfile: Annotated[str, StringConstraints(pattern=r"^\S+$", max_length=512)] | None = None
    """Lock file with exact versions, as a path in the repository."""

    rules = (
        Rule(
            cel=exactly_one("image", "lockfile")[0],
            holds=lambda self: (self.image is None) != (self.lockfile is None),
            wrong="the training environment is not named exactly once",
            allowed=exactly_one("image", "lockfile")[1],
        ),
    )


class Provenance(SpecModel):
    """Where the model came from, so that somebody else can make it again."""

    git: GitSource
    """The commit that the model was trained from."""
    data: DataSource | None = None
    """The snapshot of the training data."""
    seed: Annotated[int, Field(ge=-MAX_SAFE_INTEGER, le=MAX_SAFE_INTEGER)] | None = None
    """Random seed of the training."""
    nondeterministic: Nondeterministic | None = None
    """Instead of a seed: why training cannot be repeated exactly."""
    environment: TrainingEnvironment
    """Where the training ran."""

    rules = (
        Rule(
            cel=exactly_one("seed", "nondeterministic")[0],
            holds=lambda self: (self.seed is None) != (self.nondeterministic is None),
            wrong="repeatability is not stated exactly once",
            allowed=exactly_one("seed", "nondeterministic")[1],
        ),
    )


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
    sharing: GpuSharing = GpuSharing.EXCLUSIVE
    """Whether other pods may compute on the same GPU."""
    same_as_baseline: bool = True
    """Refuse to compare latency when the baseline runs on another product or sharing mode."""


class Startup(SpecModel):
    """How long a pod may take to load the model."""

    timeout: Duration = timedelta(minutes=30)
    """Time from container start to ready, for fetching and loading. 30m when not set."""

    rules = (
        Rule(
            cel="!has(self.timeout) || duration(self.timeout) >= duration('1s')",
            holds=lambda self: self.timeout >= timedelta(seconds=1),
            at="timeout",
            wrong="no pod starts in no time",
            allowed="1s or more",
        ),
    )


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


def _probe_path(fields: dict[str, Any]) -> str | None:
    ours = fields.get("protocol") is Protocol.OPEN_INFERENCE_V2
    return "/v2/health/ready" if ours else None


class Serving(SpecModel):
    """How the model is served. A closed structure: there is no pod template."""

    mode: ServingMode = ServingMode.ONLINE
    """Online: behind a route, judged on live traffic."""
    image: Image
    """Server image, pinned by digest unless the policy allows tags."""
    command: Annotated[tuple[LongText, ...], ListOf(32)] = ()
    """Entry point, instead of the image's."""
    args: Annotated[tuple[LongText, ...], ListOf(64)] = ()
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
    """Secrets for pulling the image, in the handoff's namespace."""
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
    )


def _models(artifacts: tuple[Artifact, ...]) -> int:
    return sum(artifact.role is ArtifactRole.MODEL for artifact in artifacts)


class Candidate(SpecModel):
    """What shall serve. The hash of this block, replicas aside, is the revision."""

    model: ModelIdentity
    """The model's name, version and format."""
    artifacts: Annotated[tuple[Artifact, ...], ListOf(32, minimum=1)]
    """The files of the bundle, each with its digest."""
    provenance: Provenance
    """Where the model came from."""
    serving: Serving
    """How the model is served."""

    rules = (
        Rule(
            cel="self.artifacts.filter(a, a.role == 'Model').size() == 1",
            holds=lambda self: _models(self.artifacts) == 1,
            at="artifacts",
            wrong="there must be exactly one model file",
            allowed="one artifact with role: Model",
        ),
    )

    @property
    def model_artifact(self) -> Artifact:
        """The artifact that is the model itself."""
        return next(a for a in self.artifacts if a.role is ArtifactRole.MODEL)
