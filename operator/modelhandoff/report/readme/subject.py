"""What a handoff README is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelhandoff.analysis.forecast import MetricForecast
from modelhandoff.api.handoff import ModelHandoffSpec, ModelHandoffStatus

PURPOSE = "kubernetes.io/description"
"""Kubernetes' own annotation for what an object is for; the README's purpose comes from it."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the planner expects at one level of traffic.

    Attributes:
        per_second: requests of both versions.
    """

    per_second: float
    metrics: tuple[MetricForecast, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """One handoff.

    Attributes:
        spec: resolved; a default is a term like any other.
        annotations: of the object.
        status: the operator's, ``None`` for a file that was never applied.
        current: whether that status speaks of this spec.
        outlooks: what the planner expects, one per level of traffic; empty when it cannot say.
    """

    name: str
    namespace: str
    spec: ModelHandoffSpec
    annotations: Mapping[str, str]
    status: ModelHandoffStatus | None = None
    current: bool = False
    outlooks: tuple[Outlook, ...] = ()
