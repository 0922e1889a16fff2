"""The contracts: what the data look like and what the API promises."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from modelhandoff.api.base import SpecModel, Word
from modelhandoff.api.cel import Rule, positive
from modelhandoff.api.quantities import (
    HINT,
    Duration,
    ListOf,
    Ratio,
    Text,
    UrlPath,
    Word63,
)


class FeatureType(Word):
    """Type of a feature's values."""

    FLOAT = "Float"
    INTEGER = "Integer"
    CATEGORY = "Category"
    STRING = "String"
    BOOLEAN = "Boolean"
    TIMESTAMP = "Timestamp"


class Leakage(Word):
    """Whether a feature may know what it shall predict."""

    NONE = "None"
    SUSPECTED = "Suspected"
    KNOWN = "Known"


class HttpMethod(Word):
    """Method of the inference call."""

    POST = "POST"
    PUT = "PUT"
    GET = "GET"


_NUMERIC = (FeatureType.FLOAT, FeatureType.INTEGER)


class Feature(SpecModel):
    """One input of the model."""

    name: Word63
    """Name of the feature, as the request carries it."""
    type: FeatureType
    """Type of its values."""
    min: float | None = None
    """Smallest legal value of a number."""
    max: float | None = None
    """Largest legal value of a number."""
    unit: Word63 | None = None
    """Unit of a number, for example EUR or ms."""
    categories: Annotated[tuple[Word63, ...], ListOf(64, minimum=1, unique=True)] | None = None
    """Legal values of a category."""
    timezone: Word63 | None = None
    """Time zone of a timestamp, for example UTC."""
    max_null_fraction: Ratio = 0.0
    """Largest share of missing values, 0 to 1. None may be missing when not set."""
    source: Text | None = None
    """Where the value comes from."""
    refresh: Duration | None = None
    """How often the value is renewed at its source."""
    leakage: Leakage = Leakage.NONE
    """Whether the feature may know what it shall predict."""
    mitigation: Text | None = None
    """What is done about known leakage."""
    drift_sensitive: bool = False
    """The feature is watched: a Drift metric must name it."""

    rules = (
        Rule(
            cel="!has(self.min) || !has(self.max) || self.min <= self.max",
            holds=lambda self: self.min is None or self.max is None or self.min <= self.max,
            at="min",
            wrong="the smallest value is above the largest",
            allowed="min <= max",
        ),
        Rule(
            cel="self.type in ['Float', 'Integer'] || (!has(self.min) && !has(self.max))",
            holds=lambda self: self.type in _NUMERIC or (self.min is None and self.max is None),
            at="type",
            wrong="only numbers have min and max",
            allowed="type: Float or Integer, or neither min nor max",
        ),
        Rule(
            cel="has(self.categories) == (self.type == 'Category')",
            holds=lambda self: (self.categories is not None) == (self.type is FeatureType.CATEGORY),
            at="type",
            wrong="a Category lists its categories, and nothing else does",
            allowed="type: Category together with categories",
        ),
        Rule(
            cel="!has(self.leakage) || self.leakage != 'Known' || has(self.mitigation)",
            holds=lambda self: self.leakage is not Leakage.KNOWN or self.mitigation is not None,
            at="leakage",
            wrong="known leakage has no mitigation",
            allowed="a mitigation that says what is done about it",
        ),
    )


class DataContract(SpecModel):
    """What the model's inputs look like."""

    features: Annotated[tuple[Feature, ...], ListOf(200, minimum=1, key="name")]
    """The inputs of the model. Names and driftSensitive must agree with the metrics. A
    verification Job finds each in the model's inputs and checks the values of the golden cases;
    unit, timezone, source and refresh are recorded for people."""


class LatencyBudget(SpecModel):
    """How fast the API promises to answer."""

    p95: Duration
    """95 of 100 requests are answered within this time."""

    rules = (positive("p95", "p95"),)


class Datatype(Word):
    """Type of a tensor's elements, as the Open Inference Protocol calls it."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"


class Tensor(SpecModel):
    """One input or output of the model."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    """Name of the tensor."""
    datatype: Datatype
    """Type of its elements."""
    shape: Annotated[tuple[Annotated[int, Field(ge=-1, le=2**31 - 1)], ...], ListOf(8)]
    """Its dimensions; -1 is one of any size, such as the number of rows."""


Header = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9-]+$", max_length=64),
    Field(json_schema_extra={HINT: "the name of a header: letters, digits and -"}),
]


class ErrorAnswer(SpecModel):
    """One way in which the API refuses."""

    status: Annotated[int, Field(ge=400, le=599)]
    """HTTP status of the answer."""
    meaning: Text
    """What it says to a caller. For people."""


class Idempotency(SpecModel):
    """A request that is repeated under the same key gets the same answer."""

    header: Header
    """Header that carries the key, for example Idempotency-Key."""


class Trace(SpecModel):
    """What every answer tells about itself."""

    request_id_header: Header | None = None
    """Header with an id of the caller's choice that every answer carries back."""
    version_header: Header | None = None
    """Header in which every answer names candidate.model.version."""

    rules = (
        Rule(
            cel="has(self.requestIdHeader) || has(self.versionHeader)",
            holds=lambda self: (
                self.request_id_header is not None or self.version_header is not None
            ),
            wrong="nothing is promised",
            allowed="requestIdHeader, versionHeader, or both",
        ),
    )


class ApiContract(SpecModel):
    """What the API promises to its callers.

    An artifact with role ApiContract adds JSON Schemas of requests and responses, with examples.
    What is promised in errors, idempotency and trace, and by the response schema, is checked on
    every pod of the candidate before its first traffic.
    """

    method: HttpMethod = HttpMethod.POST
    """Method of the inference call. POST when not set."""
    path: UrlPath
    """Path of the inference call, for example /v2/models/fraud/infer."""
    latency: LatencyBudget
    """How fast the API promises to answer. A border of the server's histogram; only a Latency
    metric judges it."""
    inputs: Annotated[tuple[Tensor, ...], ListOf(32, minimum=1, key="name")] | None = None
    """All inputs of an ONNX model. A verification Job compares them with the model's graph."""
    outputs: Annotated[tuple[Tensor, ...], ListOf(32, minimum=1, key="name")] | None = None
    """All outputs of an ONNX model. A verification Job compares them with the model's graph."""
    errors: Annotated[tuple[ErrorAnswer, ...], ListOf(32, minimum=1, key="status")] | None = None
    """Statuses of refusals. A bad example of the ApiContract artifact must get one of them that is
    below 500."""
    idempotency: Idempotency | None = None
    """Whether a request may be repeated safely."""
    trace: Trace | None = None
    """Headers by which an answer can be followed. The reference server takes these names."""

    rules = (
        Rule(
            cel="!has(self.errors) || self.errors.exists(e, e.status < 500)",
            holds=lambda self: (
                self.errors is None or any(error.status < 500 for error in self.errors)
            ),
            at="errors",
            wrong="no status says that the request is at fault",
            allowed="at least one status from 400 to 499",
        ),
    )


class Contracts(SpecModel):
    """The contracts between the model and those who call it."""

    data: DataContract | None = None
    """What the model's inputs look like."""
    api: ApiContract
    """What the API promises to its callers."""
