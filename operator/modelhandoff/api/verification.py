"""What a verification Job reads, and whether a handoff asks for one at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from modelhandoff.api.base import StatusModel
from modelhandoff.api.candidate import Artifact, ArtifactRole, ModelFormat
from modelhandoff.api.checks import FORMAT
from modelhandoff.api.handoff import ModelHandoffSpec

CHECK_BUDGET = timedelta(minutes=10)
"""How long all checks together may take; what is not done by then has failed."""


BASELINE_ROLE = "Baseline "
"""Before the role of an artifact that is fetched to compare with: its failure is no fault of the
candidate's."""
_COMPARED = (ArtifactRole.MODEL, ArtifactRole.REFERENCE)


class FrozenBaseline(StatusModel):
    """The model that a candidate is compared with, as it was when the attempt was made."""

    absent: str = ""
    """Why there is nothing to compare with, as part of a sentence; "" when there is."""
    version: str = ""
    """Version of the model."""
    revision: str = ""
    """Its revision, ten characters."""
    artifacts: tuple[Artifact, ...] = ()
    """The model, and the reference file that says where its features lie."""
    files: tuple[str, ...] = ()
    """Under which names they lie in the folder ``baseline``, in their order."""
    features: tuple[str, ...] = ()
    """Features of its data contract, in their order."""
    memory: str = "0"
    """What a pod that serves it may have, as a Kubernetes quantity."""


def frozen_baseline(spec: ModelHandoffSpec, revision: str) -> FrozenBaseline:
    """What a verification Job needs of the revision that serves.

    Args:
        spec: the resolved spec of the attempt that brought it.
        revision: ten characters, as in labels.
    """
    candidate, data = spec.candidate, spec.contracts.data
    if candidate.model.format is not ModelFormat.ONNX:
        return FrozenBaseline(
            absent=f"{candidate.model.version} serves, which is {candidate.model.format}, and only "
            "ONNX models can be run"
        )
    return FrozenBaseline(
        version=candidate.model.version,
        revision=revision,
        artifacts=tuple(a for a in candidate.artifacts if a.role in _COMPARED),
        features=tuple(feature.name for feature in data.features) if data else (),
        memory=candidate.serving.resources.memory,
    )


def compares(spec: ModelHandoffSpec) -> bool:
    """Whether a spec asks for anything that takes the baseline's model to answer."""
    return spec.acceptance is not None and spec.acceptance.compares


def spec_document(
    spec: Mapping[str, Any], files: Sequence[str], baseline: Mapping[str, Any] | None = None
) -> str:
    """The file that the Job reads: the resolved spec, and under which name each artifact lies.

    Args:
        spec: the resolved spec as JSON, as an attempt's snapshot holds it: the same text comes
            of it whatever later versions of the models make of that spec.
        files: of the artifacts, in their order.
        baseline: a FrozenBaseline as JSON, likewise; nothing when none is asked for.
    """
    document: dict[str, Any] = {"format": FORMAT, "spec": spec, "files": list(files)}
    if baseline is not None:
        document["baseline"] = baseline
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def needed(spec: ModelHandoffSpec) -> bool:
    """Whether a spec asks for anything that only a verification Job can answer.

    Without, the artifacts' digests are all that is checked, by every pod's init container.
    """
    api = spec.contracts.api
    return bool(
        spec.candidate.signature
        or spec.acceptance
        or spec.governance
        or spec.contracts.data
        or api.inputs
        or api.outputs
        or any(a.role is ArtifactRole.API_CONTRACT for a in spec.candidate.artifacts)
    )


def job_budget(spec: ModelHandoffSpec) -> timedelta:
    """How long a verification Job may take: to find room, to start and fetch, and to check."""
    return (
        spec.rollout.capacity.pending_deadline
        + spec.candidate.serving.startup.timeout
        + CHECK_BUDGET
        + timedelta(minutes=1)
    )
