"""What is to be measured for an attempt, in the rollout's own words.

The controller turns a :class:`Measurement` into a request to the metrics room; this room must
not know it. All times are unix seconds, because interval arithmetic is done on a grid.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """From ``start`` on, ``weight`` percent had landed on the candidate in step ``step``."""

    start: float
    step: int
    weight: int


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A planned disturbance: no evidence from either arm between ``start`` and ``end``."""

    start: float
    end: float
    why: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """One attempt's measurement.

    Attributes:
        candidate, baseline: Deployment names; ``baseline`` is ``None`` without one.
        begin: when the evidence clock started.
        stages: the weights as they landed, oldest first.
    """

    source: str
    candidate: str
    baseline: str | None
    interval: float
    begin: float
    stages: tuple[Stage, ...]
    exclusions: tuple[Exclusion, ...]
