"""Governance: what has to be written down about a candidate before a pod of it exists."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from modelhandoff.api.base import SpecModel, Word
from modelhandoff.api.cel import Rule
from modelhandoff.api.quantities import HINT, ListOf, Text, Word63

SECTIONS = ("intended-use", "limitations", "biases", "mitigations")


License = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9(][-A-Za-z0-9.+:() ]*$", max_length=128),
    Field(json_schema_extra={HINT: "an SPDX licence expression such as Apache-2.0"}),
]


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


class Privacy(SpecModel):
    """Personal data: which fields hold them, how long they are kept, who may see them."""

    pii_fields: Annotated[tuple[Word63, ...], ListOf(100, unique=True)]
    """Names of fields that hold personal data; an empty list says that there are none. No example,
    golden case or reference, and nothing of monitoring, may have a field of that name."""
    retention: Text | None = None
    """How long requests and answers are kept, in words. Recorded for people."""
    access_groups: Annotated[tuple[Text, ...], ListOf(20, minimum=1, unique=True)] | None = None
    """Who may see them. Recorded for people."""

    rules = (
        Rule(
            cel=(
                "!has(self.piiFields) || self.piiFields.size() == 0"
                " || (has(self.retention) && has(self.accessGroups))"
            ),
            holds=lambda self: (
                not self.pii_fields
                or (self.retention is not None and self.access_groups is not None)
            ),
            wrong="personal data without retention and access",
            allowed="retention and accessGroups, or piiFields: []",
        ),
    )


class Governance(SpecModel):
    """What has to be written down about a candidate before a pod of it exists."""

    license: License | None = None
    """The model's licence, as an SPDX expression such as Apache-2.0 or LicenseRef-Internal. The
    front matter of the model card, where it names one, must name the same."""
    privacy: Privacy | None = None
    """Personal data."""
    model_card: ModelCard | None = None
    """The model card and the sections that it must have."""
    pinned_environment: bool = False
    """Whether every library in the artifacts with role Environment must have one exact version."""
    sbom: Sbom | None = None
    """The bill of materials and the vulnerabilities that it may have."""

    rules = (
        Rule(
            cel=(
                "has(self.modelCard) || has(self.sbom) || has(self.privacy) || has(self.license)"
                " || (has(self.pinnedEnvironment) && self.pinnedEnvironment)"
            ),
            holds=lambda self: (
                self.model_card is not None
                or self.sbom is not None
                or self.privacy is not None
                or self.license is not None
                or self.pinned_environment
            ),
            wrong="nothing is asked for",
            allowed="modelCard, license, privacy, pinnedEnvironment: true or sbom; or leave "
            "governance out",
        ),
    )
