"""The candidate: which model, which bytes, and where they came from."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, StringConstraints

from modelhandoff.api import addresses
from modelhandoff.api.base import SpecModel, Word
from modelhandoff.api.cel import Rule, exactly_one
from modelhandoff.api.quantities import (
    HINT,
    Digest,
    Image,
    ListOf,
    Name63,
    Text,
)
from modelhandoff.api.serving import Gpu, Protocol, Serving
from modelhandoff.api.signature import Signature

# Serving is part of the candidate; it lives in a module of its own only for its size.
__all__ = [
    "MAX_SAFE_INTEGER",
    "PICKLED",
    "Artifact",
    "ArtifactRole",
    "ArtifactSource",
    "Candidate",
    "DataSource",
    "GitSource",
    "Gpu",
    "ModelFormat",
    "ModelIdentity",
    "Nondeterministic",
    "Protocol",
    "Provenance",
    "Serving",
    "TrainingEnvironment",
]

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


PICKLED = frozenset({ModelFormat.SKLEARN, ModelFormat.TORCH})
"""Formats that are loaded by unpickling."""


class ArtifactRole(Word):
    """What an artifact is for."""

    MODEL = "Model"
    FEATURE_MAPPING = "FeatureMapping"
    PREPROCESSING = "Preprocessing"
    TRAINING_CODE = "TrainingCode"
    ENVIRONMENT = "Environment"
    TEST_DATA = "TestData"
    TEST_SET = "TestSet"
    API_CONTRACT = "ApiContract"
    REFERENCE = "Reference"
    DOCS = "Docs"
    MODEL_CARD = "ModelCard"
    SIGNATURE = "Signature"
    SBOM = "SBOM"


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
    """File format of the model. ONNX when not set. A verification Job looks at the bytes."""

    rules = (
        Rule(
            cel="self.version.lowerAscii() != 'latest'",
            holds=lambda self: self.version.lower() != "latest",
            at="version",
            wrong="latest names no version",
            allowed="the version these bytes have, such as 1.4.0",
        ),
    )


class ArtifactSource(Word):
    """What kind of place an artifact lies in."""

    HTTP = "HTTP"
    OCI = "OCI"
    PVC = "PVC"
    CONFIG_MAP = "ConfigMap"


_SOURCES = {
    "http": ArtifactSource.HTTP,
    "https": ArtifactSource.HTTP,
    "oci": ArtifactSource.OCI,
    "oci+http": ArtifactSource.OCI,
    addresses.CLAIM: ArtifactSource.PVC,
    addresses.CONFIG_MAP: ArtifactSource.CONFIG_MAP,
}

ArtifactUri = Annotated[
    str,
    StringConstraints(
        pattern=r"^(https?://[^\s/?#@]+([/?#]\S*)?|(oci([+]http)?|pvc|configmap)://\S+)$",
        max_length=1024,
    ),
    Field(
        json_schema_extra={
            HINT: "an https:// or http:// address without user name or password, or one that "
            "begins with oci://, pvc:// or configmap://"
        }
    ),
]


def _formed(scheme: str, form: str, what: str, hint: str) -> Rule:
    """The rule that an address of one scheme has all its parts."""
    return Rule(
        cel=f"!self.uri.startsWith('{scheme}') || self.uri.matches('^{form}$')",
        holds=lambda self: not self.uri.startswith(scheme) or bool(re.fullmatch(form, self.uri)),
        at="uri",
        wrong=f"not the address of {what}",
        allowed=hint,
    )


class Artifact(SpecModel):
    """One file of the bundle. Its bytes are checked against the digest before anything serves."""

    role: ArtifactRole
    """What the file is for. Exactly one artifact has the role Model."""
    uri: ArtifactUri
    """Where the file is fetched from: https://, a layer of a registry as
    oci://HOST/REPOSITORY:TAG#FILE or oci://HOST/REPOSITORY@sha256:DIGEST#FILE, a file of a volume
    of the handoff's namespace as pvc://CLAIM/PATH, or configmap://NAME/KEY. Without TLS: http://
    and oci+http://."""
    digest: Digest
    """SHA-256 of the file, as sha256: and 64 hexadecimal digits."""

    rules = (
        _formed("oci", addresses.IMAGE_FORM, "a registry's layer", addresses.IMAGE_HINT),
        _formed("pvc", addresses.CLAIM_FORM, "a file in a claim", addresses.CLAIM_HINT),
        _formed("configmap", addresses.KEY_FORM, "a ConfigMap's key", addresses.KEY_HINT),
    )

    @property
    def source(self) -> ArtifactSource:
        """What kind of place it lies in."""
        return _SOURCES[self.uri.partition("://")[0]]


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


def _models(artifacts: tuple[Artifact, ...]) -> int:
    return sum(artifact.role is ArtifactRole.MODEL for artifact in artifacts)


class Candidate(SpecModel):
    """What shall serve. The hash of this block, replicas aside, is the revision."""

    model: ModelIdentity
    """The model's name, version and format."""
    artifacts: Annotated[tuple[Artifact, ...], ListOf(32, minimum=1)]
    """The files of the bundle, each with its digest."""
    signature: Signature | None = None
    """How the bundle is signed. Not at all when not set, unless the policy requires it."""
    provenance: Provenance
    """Where the model came from. A verification Job compares seed and commit with the model's own
    metadata, where it has them; the rest is recorded and signed."""
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
        Rule(
            cel=(
                "self.artifacts.filter(a, a.role == 'Signature').size()"
                " == (has(self.signature) ? 1 : 0)"
            ),
            holds=lambda self: (
                sum(a.role is ArtifactRole.SIGNATURE for a in self.artifacts)
                == (self.signature is not None)
            ),
            at="artifacts",
            wrong="a signature and its file belong together",
            allowed="signature: {} and one artifact with role: Signature, or neither",
        ),
    )

    @property
    def model_artifact(self) -> Artifact:
        """The artifact that is the model itself."""
        return next(a for a in self.artifacts if a.role is ArtifactRole.MODEL)
