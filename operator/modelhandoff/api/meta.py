"""Metadata, references and conditions: what every kind has in common."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from modelhandoff.api.base import StatusModel
from modelhandoff.api.monitoring import MetricType
from modelhandoff.api.quantities import ListOf, Timestamp

Short = Annotated[str, StringConstraints(max_length=253)]
Message = Annotated[str, StringConstraints(max_length=1024)]


class ObjectMeta(StatusModel):
    """The part of an object's metadata that we read; the API server owns the rest."""

    name: str
    """Name of the object."""
    namespace: str | None = None
    """Its namespace; none for cluster-scoped kinds."""
    uid: str | None = None
    """Its identity: a deleted and re-created object has another."""
    generation: int = 0
    """Counts edits of the spec."""
    resource_version: str | None = None
    """What a conflict-checked write must carry."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations."""
    finalizers: tuple[str, ...] = ()
    """Finalizers that hold the object."""
    creation_timestamp: Timestamp | None = None
    """When it was made."""
    deletion_timestamp: Timestamp | None = None
    """When its deletion was asked for."""


class ConditionStatus(StrEnum):
    """Value of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(StatusModel):
    """One aspect of the state, as Kubernetes tools read it."""

    type: Annotated[str, StringConstraints(max_length=63)]
    """Which aspect."""
    status: ConditionStatus
    """True, False or Unknown."""
    reason: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]\w*$", max_length=63)]
    """Why, as one CamelCase word of a closed set."""
    message: Annotated[str, StringConstraints(max_length=2048)] = ""
    """Why, as whole sentences with numbers and the next step."""
    last_transition_time: Timestamp
    """When the value last changed."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The generation that the condition speaks of."""


class MetricStatus(StatusModel):
    """What one metric says."""

    name: Annotated[str, StringConstraints(max_length=63)]
    """Name of the metric."""
    type: MetricType | None = None
    """What it measures; the wide listing finds its columns by it."""
    state: Literal["Pass", "Fail", "Unknown", "Pending"]
    """Pass: proven safe. Fail: harm. Unknown: no usable data. Pending: not proven yet."""
    candidate: float | None = None
    """The candidate's value."""
    baseline: float | None = None
    """The baseline's value."""
    ratio: float | None = None
    """Candidate over baseline."""
    interval: Annotated[tuple[float, ...], ListOf(2)] = ()
    """Interval of the ratio, lower and upper end."""
    limit: float | None = None
    """Limit or margin that is judged."""
    samples: Annotated[float, Field(ge=0)] | None = None
    """Requests of the candidate that it rests on."""
    needs: Annotated[str, StringConstraints(max_length=256)] | None = None
    """What is missing for a proof."""
