"""Governance: what has to be written down about a candidate before a pod of it exists."""

from __future__ import annotations

from typing import Annotated

from modelhandoff.api.base import SpecModel, Word
from modelhandoff.api.cel import Rule
from modelhandoff.api.quantities import ListOf, Word63

SECTIONS = ("intended-use", "limitations", "biases", "mitigations")


class ModelCard(SpecModel):
    """The model card: a Markdown file, the artifact with role ModelCard."""

    required_sections: Annotated[tuple[Word63, ...], ListOf(32, minimum=1, unique=True)] = SECTIONS
    """Headings that must be there with text below them; case and punctuation do not matter.
    intended-use, limitations, biases and mitigations when not set."""


class Severity(Word):
    """How bad a known vulnerability is."""

    NONE = "None"
    LOW = "Low"
    MEDIUM = "Medium"
    HIGH = "High"
    CRITICAL = "Critical"

    @property
    def rank(self) -> int:
        """Position from None, 0, to Critical, 4."""
        return list(Severity).index(self)


class Sbom(SpecModel):
    """The bill of materials: a CycloneDX JSON file, the artifact with role SBOM."""

    max_severity: Severity
    """Worst severity of a known vulnerability that is accepted. What the file's own analysis
    calls resolved, a false positive or not affecting counts for nothing."""


class Governance(SpecModel):
    """What has to be written down about a candidate before a pod of it exists."""

    model_card: ModelCard | None = None
    """The model card and the sections that it must have."""
    pinned_environment: bool = False
    """Whether every library in the artifacts with role Environment must have one exact version."""
    sbom: Sbom | None = None
    """The bill of materials and the vulnerabilities that it may have."""

    rules = (
        Rule(
            cel=(
                "has(self.modelCard) || has(self.sbom)"
                " || (has(self.pinnedEnvironment) && self.pinnedEnvironment)"
            ),
            holds=lambda self: (
                self.model_card is not None or self.sbom is not None or self.pinned_environment
            ),
            wrong="nothing is asked for",
            allowed="modelCard, pinnedEnvironment: true or sbom; or leave governance out",
        ),
    )
