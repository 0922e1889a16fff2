"""Acceptance: what a candidate must show before any traffic, in a Job of the tenant's namespace."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from modelhandoff.api.acceptance_jobs import MAX_TESTS, AcceptanceTest, Reproduction
from modelhandoff.api.base import SpecModel
from modelhandoff.api.cel import Rule
from modelhandoff.api.quantities import ListOf


class Smoke(SpecModel):
    """Golden cases: requests whose right answers were computed when the model was trained.

    They are the first artifact with role TestData, one JSON object with request and response in
    every line. An ONNX model answers them in a verification Job; every model answers them once
    more from its pods, before the first traffic.
    """

    abs_tolerance: Annotated[float, Field(ge=0, le=1_000_000)] = 1e-5
    """Largest difference of a number that is no error whatever its size. 0.00001 when not set."""
    rel_tolerance: Annotated[float, Field(ge=0, le=1)] = 1e-4
    """Largest difference as a share of the right number. 0.0001 when not set."""
    top_k: Annotated[int, Field(ge=1, le=1000)] | None = None
    """For outputs with several numbers per row: instead of the numbers, the positions of so many
    largest ones are compared, in their order. Numbers within the tolerance count as equal."""


class Acceptance(SpecModel):
    """What a candidate must show before it gets any traffic."""

    smoke: Smoke | None = None
    """Golden cases."""
    tests: Annotated[tuple[AcceptanceTest, ...], ListOf(MAX_TESTS, key="name")] = ()
    """Tests in images of your own, each in a Job, one after the other."""
    reproduce: Reproduction | None = None
    """The training in an image of your own: the model is made again, and its metrics compared."""

    rules = (
        Rule(
            cel="has(self.smoke) || has(self.reproduce) || has(self.tests) && size(self.tests) > 0",
            holds=lambda self: bool(self.smoke or self.reproduce or self.tests),
            wrong="nothing is asked for",
            allowed="smoke, tests or reproduce; or leave acceptance out",
        ),
    )

    @property
    def jobs(self) -> tuple[AcceptanceTest | Reproduction, ...]:
        """Everything that runs in an image of the tenant's."""
        return self.tests if self.reproduce is None else (*self.tests, self.reproduce)
