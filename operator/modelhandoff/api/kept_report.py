"""Where the decision report is kept that was written when the attempt ended."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from modelhandoff.api.base import StatusModel
from modelhandoff.api.meta import Short
from modelhandoff.api.quantities import HINT, ListOf

Sha256 = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{64}$", max_length=64),
    Field(json_schema_extra={HINT: "64 lower-case hexadecimal digits"}),
]


class ReportDocument(StatusModel):
    """One form of the report."""

    key: Annotated[str, StringConstraints(max_length=63)]
    """Its key in the ConfigMap; one that ends in .gz is packed."""
    sha256: Sha256
    """SHA-256 of its text, unpacked: what `modelhandoff report` writes of the exported attempt."""
    size: Annotated[int, Field(ge=0)]
    """Bytes of its text, unpacked."""


class ReportRef(StatusModel):
    """The decision report as it was written when the attempt ended."""

    name: Short
    """ConfigMap beside the attempt; it goes with the attempt."""
    documents: Annotated[tuple[ReportDocument, ...], ListOf(4, key="key")] = ()
    """What it holds."""
