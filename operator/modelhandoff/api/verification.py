"""What a verification Job reads, and whether a handoff asks for one at all."""

from __future__ import annotations

import json
from datetime import timedelta

from modelhandoff.api.candidate import ArtifactRole
from modelhandoff.api.checks import FORMAT
from modelhandoff.api.handoff import ModelHandoffSpec

CHECK_BUDGET = timedelta(minutes=10)
"""How long all checks together may take; what is not done by then has failed."""


def spec_document(spec: ModelHandoffSpec, files: tuple[str, ...]) -> str:
    """The file that the Job reads: the resolved spec, and under which name each artifact lies."""
    document = {
        "format": FORMAT,
        "spec": spec.model_dump(mode="json", by_alias=True),
        "files": list(files),
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def needed(spec: ModelHandoffSpec) -> bool:
    """Whether a spec asks for anything that only a verification Job can answer.

    Without, the artifacts' digests are all that is checked, by every pod's init container.
    """
    api = spec.contracts.api
    return bool(
        spec.acceptance
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
