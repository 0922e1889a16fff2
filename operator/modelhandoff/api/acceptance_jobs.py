"""Acceptance by Jobs of the tenant's own: tests, and making the model again.

Each is one container in an image of the tenant's, in a Job of its own, before a pod of the
candidate exists. It finds the artifacts in ``MODEL_DIR`` and leaves its results in ``RESULTS_DIR``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from modelhandoff.api.base import SpecModel, Word
from modelhandoff.api.cel import positive
from modelhandoff.api.quantities import AnyText, Duration, Image, Label63, ListOf, Word63
from modelhandoff.api.serving import EnvVar, Resources

RESULTS_DIR = "/results"
"""Where a container leaves its results."""
JUNIT_FILE = "junit.xml"
"""In ``RESULTS_DIR``: what a test leaves."""
METRICS_FILE = "metrics.json"
"""In ``RESULTS_DIR``: what a reproduction leaves."""
MAX_TESTS = 8
MAX_REPRODUCED = 12

Argument = Annotated[tuple[AnyText, ...], ListOf(32)]
Environment = Annotated[tuple[EnvVar, ...], ListOf(16, key="name")]
Number = Annotated[float, Field(ge=-1e15, le=1e15)]
Tolerance = Annotated[float, Field(ge=0, le=1e15)]


class TestEvidence(Word):
    """What shows that a test was run."""

    __test__ = False

    JUNIT = "JUnit"
    EXIT_CODE = "ExitCode"


class AcceptanceTest(SpecModel):
    """One test in an image of the tenant's.

    It passes when it exits with 0, and its JUnit report has a test case that ran and none that
    failed.
    """

    name: Label63
    """Name of the test, for people."""
    image: Image
    """Container image. It runs as a user other than root, with a read-only root file system."""
    command: Annotated[tuple[AnyText, ...], ListOf(32, minimum=1)]
    """Command. It finds the artifacts in MODEL_DIR, and may write to /tmp and /results."""
    args: Argument = ()
    """Arguments of the command."""
    env: Environment = ()
    """Environment variables, names and plain values only."""
    resources: Resources = Resources()
    """CPU and memory of the test. 500m and 512Mi when not set."""
    timeout: Duration = timedelta(minutes=10)
    """How long it may run. 10m when not set."""
    evidence: TestEvidence = TestEvidence.JUNIT
    """What shows that a test was run: JUnit, the report /results/junit.xml, or ExitCode, the exit
    code alone; a report that is there counts all the same. JUnit when not set."""

    rules = (positive("timeout", "timeout"),)


class ReproducedMetric(SpecModel):
    """A metric of the training, as it must come out again."""

    name: Word63
    """Name of the metric in /results/metrics.json."""
    value: Number
    """Its value when the model was trained."""
    tolerance: Tolerance | None = None
    """Largest difference, in the metric's own unit. That of the reproduction when not set."""


class Reproduction(SpecModel):
    """Makes the model again, in an image of the tenant's, and compares its metrics."""

    image: Image
    """Container image. It runs as a user other than root, with a read-only root file system."""
    command: Annotated[tuple[AnyText, ...], ListOf(32, minimum=1)]
    """Command. It finds the artifacts in MODEL_DIR, may write to /tmp and /results, and leaves
    /results/metrics.json, one JSON object with a number for each metric."""
    args: Argument = ()
    """Arguments of the command."""
    env: Environment = ()
    """Environment variables, names and plain values only."""
    resources: Resources = Resources()
    """CPU and memory of the training. 500m and 512Mi when not set."""
    within: Duration = timedelta(hours=1)
    """How long it may run. 1h when not set."""
    tolerance: Tolerance
    """Largest difference of a metric from its declared value, in the metric's own unit."""
    metrics: Annotated[tuple[ReproducedMetric, ...], ListOf(MAX_REPRODUCED, minimum=1, key="name")]
    """Metrics that must come out again."""

    rules = (positive("within", "within"),)

    def allowed(self, metric: ReproducedMetric) -> float:
        """Largest difference of one metric."""
        return self.tolerance if metric.tolerance is None else metric.tolerance
