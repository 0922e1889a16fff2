"""The reference file: what training saw, and what a feature or an output may be.

``reference.json`` is written once, at training time, and travels with every later version of
the same model, because drift can only be judged on identical bins::

    {
      "format": "modelhandoff.dev/reference/v1",
      "model": {"name": "fraud", "version": "1.0.0"},
      "features": [
        {"name": "amount", "input": "features", "column": 0,
         "edges": [5.0, 20.0, 80.0], "counts": [250, 250, 250, 250], "missing": 0,
         "min": 0.0, "max": 100000.0, "allowMissing": false, "unit": "EUR"}
      ],
      "outputs": [
        {"name": "score", "output": "score", "column": 0,
         "edges": [0.1, 0.5], "counts": [300, 400, 300], "missing": 0}
      ]
    }

``edges`` are strictly increasing inner bin borders, upper border inclusive as in a Prometheus
histogram: bin 0 is ``x <= edges[0]``, bin k ``edges[k-1] < x <= edges[k]``, the last one is
open. ``counts`` has one entry more than ``edges``. ``column`` is the position along the last
axis of the tensor; leave it out for a tensor that holds a single value per row.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

FORMAT = "modelhandoff.dev/reference/v1"
MAX_REFERENCE_BYTES = 4 * 1024 * 1024
MAX_BINS = 50

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class BadReference(Exception):
    """The reference file cannot be used; the message is one line."""


class _Document(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Bins(_Document):
    """Bin borders fixed in advance and the training counts in them."""

    name: Name
    edges: Annotated[list[Finite], Field(min_length=1, max_length=MAX_BINS - 1)]
    counts: list[Annotated[int, Field(ge=0)]]
    missing: Annotated[int, Field(ge=0)] = 0
    column: Annotated[int, Field(ge=0)] | None = None

    @field_validator("edges")
    @classmethod
    def _increasing(cls, edges: list[float]) -> list[float]:
        if any(low >= high for low, high in pairwise(edges)):
            raise ValueError("edges must be strictly increasing")
        return edges

    @model_validator(mode="after")
    def _one_more_count(self) -> Bins:
        if len(self.counts) != len(self.edges) + 1:
            raise ValueError(
                f"counts must have one entry more than edges; "
                f"got {len(self.counts)} for {len(self.edges)} edges"
            )
        return self


class Feature(Bins):
    """One model input value: where it lies, how it was distributed, what it may be."""

    input: Name
    min: Finite | None = None
    max: Finite | None = None
    categories: Annotated[list[Finite | str], Field(max_length=1000)] | None = None
    allowMissing: bool = False
    unit: str | None = None

    def admits(self, value: float | str) -> bool:
        """Whether a present value lies within the declared range."""
        if isinstance(value, str):
            return True
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)

    def knows(self, value: float | str) -> bool:
        """Whether a present value is one of the declared categories."""
        return self.categories is None or value in self.categories


class Output(Bins):
    """One model output value and how it was distributed."""

    output: Name


class ModelIdentity(_Document):
    """The model version whose training data is described."""

    name: str
    version: str


class Reference(_Document):
    """The whole document."""

    format: Literal["modelhandoff.dev/reference/v1"]
    model: ModelIdentity
    features: Annotated[list[Feature], Field(max_length=500)] = []
    outputs: Annotated[list[Output], Field(max_length=50)] = []

    @model_validator(mode="after")
    def _unique(self) -> Reference:
        for kind, names in (
            ("features", [f.name for f in self.features]),
            ("outputs", [o.name for o in self.outputs]),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"{kind} must have different names")
        return self


def parse_reference(text: bytes, *, path: str = "reference.json") -> Reference:
    """A checked reference document.

    Raises:
        BadReference: one line naming file, field and fault.
    """
    try:
        return Reference.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "document"
        raise BadReference(f"{path}: {field}: {first['msg']}") from None


def load_reference(path: Path) -> Reference:
    """Read and check a reference file.

    Raises:
        BadReference: unreadable, too large or malformed.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_REFERENCE_BYTES + 1)
    except OSError as error:
        raise BadReference(f"{path}: cannot be read; got {error.strerror}") from None
    if len(text) > MAX_REFERENCE_BYTES:
        raise BadReference(f"{path}: too large; allowed at most {MAX_REFERENCE_BYTES} bytes")
    return parse_reference(text, path=str(path))


def bin_of(edges: list[float], value: float) -> int | None:
    """Index of the bin a value falls in; None for NaN. Same rule as a Prometheus histogram."""
    if math.isnan(value):
        return None
    return next((index for index, edge in enumerate(edges) if value <= edge), len(edges))
