"""What a verification Job reads, and whether a handoff asks for one at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from modelhandoff.api.candidate import ArtifactRole
from modelhandoff.api.checks import FORMAT
from modelhandoff.api.handoff import ModelHandoffSpec

CHECK_BUDGET = timedelta(minutes=10)
"""How long all checks together may take; what is not done by then has failed."""


def spec_document(spec: Mapping[str, Any], files: Sequence[str]) -> str:
    """The file that the Job reads: the resolved spec, and under which name each artifact lies.

    Args:
        spec: the resolved spec as JSON, as an attempt's snapshot holds it: the same text comes
            of it whatever later versions of the models make of that spec.
        files: of the artifacts, in their order.
    """
    document = {"format": FORMAT, "spec": spec, "files": list(files)}
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
