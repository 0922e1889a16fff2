"""What a verification Job reports: named checks with numbers, bound to what was read.

The Job leaves two things behind: one line of JSON in its log (the body, :class:`Report`), and in
its termination message a :class:`Receipt` with the verdict and the digests of the body and of the
spec that was read. The operator stores the checks in the attempt's status.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from modelhandoff.api.base import StatusModel
from modelhandoff.api.quantities import ListOf

FORMAT = "modelhandoff.dev/verification/v1"
MAX_BODY = 64 * 1024
"""Most bytes of a report's body."""
MAX_RECEIPT = 4096
"""As long as a termination message can be."""
MAX_CHECKS = 32
MAX_LINE = 500
MAX_NUMBERS = 64


class CheckState(StrEnum):
    """What came of a check."""

    PASSED = "Passed"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"
    """The check could not be made, and that is not the model's fault."""
    SKIPPED = "Skipped"
    """There is nothing to check; the message says why."""


class CheckName(StrEnum):
    """The checks, in the order in which they are made. A name is never changed."""

    ARTIFACTS = "Artifacts"
    SIGNATURE = "Signature"
    MODEL_FORMAT = "ModelFormat"
    MODEL_LOADS = "ModelLoads"
    MODEL_METADATA = "ModelMetadata"
    GRAPH_CONTRACT = "GraphContract"
    DATA_CONTRACT = "DataContract"
    API_CONTRACT = "ApiContract"
    GOLDEN_CASES = "GoldenCases"
    OFFLINE_METRICS = "OfflineMetrics"
    MODEL_CARD = "ModelCard"
    LICENSE = "License"
    PRIVACY = "Privacy"
    PINNED_ENVIRONMENT = "PinnedEnvironment"
    SBOM = "SBOM"
    CANARY_GOLDEN_CASES = "CanaryGoldenCases"
    CANARY_CONTRACT = "CanaryContract"


ARTIFACT_CHECKS = (
    CheckName.ARTIFACTS,
    CheckName.SIGNATURE,
    CheckName.MODEL_FORMAT,
    CheckName.MODEL_LOADS,
    CheckName.MODEL_METADATA,
)
CONTRACT_CHECKS = (
    CheckName.GRAPH_CONTRACT,
    CheckName.DATA_CONTRACT,
    CheckName.API_CONTRACT,
    CheckName.CANARY_CONTRACT,
)
ACCEPTANCE_CHECKS = (
    CheckName.GOLDEN_CASES,
    CheckName.OFFLINE_METRICS,
    CheckName.CANARY_GOLDEN_CASES,
)
CANARY_CHECKS = (CheckName.CANARY_GOLDEN_CASES, CheckName.CANARY_CONTRACT)
"""Made by the warm-up Job on the pods of the candidate, all others by the verification Job."""
GOVERNANCE_CHECKS = (
    CheckName.MODEL_CARD,
    CheckName.LICENSE,
    CheckName.PRIVACY,
    CheckName.PINNED_ENVIRONMENT,
    CheckName.SBOM,
)


Numbers = Annotated[
    dict[Annotated[str, StringConstraints(min_length=1, max_length=63)], float],
    Field(max_length=MAX_NUMBERS),
]
"""Numbers by name."""


class CheckStatus(StatusModel):
    """What came of one check."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=63)]
    """Name of the check."""
    state: Literal["Passed", "Failed", "Inconclusive", "Skipped"]
    """Passed, Failed, Inconclusive (not the model's fault) or Skipped."""
    message: Annotated[str, StringConstraints(max_length=MAX_LINE)] = ""
    """What was found, in one line."""
    numbers: Numbers = Field(default_factory=dict)
    """Numbers to it, by name."""


class Report(StatusModel):
    """The body: all checks of one Job."""

    format: Literal["modelhandoff.dev/verification/v1"]
    """Which document this is."""
    checks: Annotated[tuple[CheckStatus, ...], ListOf(MAX_CHECKS, minimum=1, key="name")]
    """What came of each check, in the order in which they were made."""
    seconds: Annotated[float, Field(ge=0)]
    """How long all checks took."""


class Receipt(StatusModel):
    """The termination message: what the body comes to, and what it is bound to."""

    verdict: Literal["Passed", "Failed", "Inconclusive"]
    """Failed when any check failed; else Inconclusive when one could not be made; else Passed."""
    body: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
    """SHA-256 of the body, without the line's end."""
    spec: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
    """SHA-256 of the spec file as the Job read it."""
    message: Annotated[str, StringConstraints(max_length=MAX_LINE)] = ""
    """The line of the first check that did not pass."""


class CanaryReport(StatusModel):
    """What a warm-up Job found on the pods, part of its termination message."""

    promises: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
    """SHA-256 of what it was told to check."""
    checks: Annotated[tuple[CheckStatus, ...], ListOf(MAX_CHECKS, minimum=1, key="name")]
    """What came of each check."""


CANARY_REPORT = "canary"
"""Field of the termination message that holds the report."""


class Unreadable(Exception):
    """What a Job left behind is not its report; the message is one line."""


def sha256(data: bytes) -> str:
    """``sha256:<hex>`` of bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def verdict_of(states: Iterable[str]) -> Literal["Passed", "Failed", "Inconclusive"]:
    """What the states of all checks come to."""
    seen = set(states)
    if CheckState.FAILED in seen:
        return "Failed"
    return "Inconclusive" if CheckState.INCONCLUSIVE in seen else "Passed"


def read_receipt(text: str) -> Receipt:
    """The receipt in a termination message.

    Raises:
        Unreadable: it is none.
    """
    try:
        return Receipt.model_validate_json(text)
    except ValidationError:
        raise Unreadable("the termination message is no receipt") from None


def read_canary_report(text: str) -> CanaryReport:
    """The report in the termination message of a warm-up Job.

    Raises:
        Unreadable: there is none.
    """
    try:
        return CanaryReport.model_validate(json.loads(text)[CANARY_REPORT])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Unreadable("the termination message holds no report") from None


def read_body(log: bytes, receipt: Receipt) -> Report:
    """The report in a container's log: the one line that has the receipt's digest.

    Raises:
        Unreadable: no line has it, or the line is no report, or not one with that verdict.
    """
    line = next((part for part in log.splitlines() if sha256(part) == receipt.body), None)
    if line is None:
        raise Unreadable(f"no line of the log has the digest {receipt.body}")
    try:
        report = Report.model_validate_json(line)
    except ValidationError:
        raise Unreadable("the line with the right digest is no report") from None
    if verdict_of(check.state for check in report.checks) != receipt.verdict:
        raise Unreadable("the receipt has another verdict than the report")
    return report
