"""The shares of the traffic that a rollout goes through: its steps, and all of it on probation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.rollout.attempt import AttemptState


@dataclass(frozen=True, slots=True)
class Share:
    """One share of the traffic for the candidate.

    Attributes:
        weight: percent.
        min_duration: shortest stay.
        min_samples: fewest requests that the candidate must have answered.
    """

    weight: int
    min_duration: timedelta
    min_samples: int = 0


def shares_of(spec: ModelHandoffSpec) -> tuple[Share, ...]:
    """All shares in order: the steps and, where one is declared, the probation."""
    steps = [Share(s.weight, s.min_duration, s.min_samples) for s in spec.rollout.steps]
    if spec.rollout.probation is not None:
        steps.append(Share(100, spec.rollout.probation))
    return tuple(steps)


def share_of(spec: ModelHandoffSpec, state: AttemptState) -> Share:
    """The share of the present step."""
    shares = shares_of(spec)
    return shares[min(max(state.step, 0), len(shares) - 1)]


def on_probation(spec: ModelHandoffSpec, state: AttemptState) -> bool:
    """Whether the candidate has shown its proofs and is watched alone, with all of the traffic."""
    return state.step >= len(spec.rollout.steps)
