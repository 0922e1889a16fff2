"""The contracts: what goes in, what the API promises, and what a call looks like."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

from modelhandoff.analysis import wording
from modelhandoff.api.candidate import ArtifactRole
from modelhandoff.api.contracts import ApiContract, Feature, FeatureType, HttpMethod, Leakage
from modelhandoff.api.quantities import format_duration
from modelhandoff.api.serving import Protocol
from modelhandoff.report import words
from modelhandoff.report.document import Block, Bullets, Code, Line, Listing, Paragraph, Row, Table
from modelhandoff.report.readme.subject import Subject

_FEATURE = (
    "name", "type", "min", "max", "unit", "categories", "timezone", "maxNullFraction", "source",
    "refresh", "leakage", "mitigation", "driftSensitive",
)  # fmt: skip
DATA_TERMS = frozenset(f"contracts.data.features[].{one}" for one in _FEATURE)


def data(subject: Subject) -> Iterator[Block]:
    """One row per feature."""
    contract = subject.spec.contracts.data
    features = contract.features if contract is not None else ()
    if not features:
        yield Paragraph(("No data contract: the handoff names no features.",))
        return
    yield Table(
        ("Feature", "Type", "Legal values", "May be missing", "Comes from", "Leakage", "Watched"),
        tuple(_feature(one) for one in features),
        (3,),
    )


def _feature(one: Feature) -> Row:
    return Row(
        (
            (Code(one.name),),
            (str(one.type),),
            _legal(one),
            (words.percent(one.max_null_fraction) if one.max_null_fraction else "never",),
            _origin(one),
            _leakage(one),
            ("drift",) if one.drift_sensitive else ("no",),
        )
    )


def _legal(one: Feature) -> Line:
    parts: list[Any] = []
    for category in one.categories or ():
        parts += [*([", "] if parts else []), Code(category)]
    low = f"{one.min:g}" if one.min is not None else ""
    high = f"{one.max:g}" if one.max is not None else ""
    span = f"{low} to {high}" if low and high else f"from {low}" if low else ""
    span = span or (f"up to {high}" if high else "" if parts else "any")
    unit = f" {one.unit}" if one.unit is not None else ""
    zone = f" in {one.timezone}" if one.timezone is not None else ""
    return (*parts, f"{span}{unit}{zone}")


def _origin(one: Feature) -> Line:
    renewed = f"every {format_duration(one.refresh)}" if one.refresh is not None else ""
    return (", ".join(part for part in (one.source or "", renewed) if part) or "not said",)


def _leakage(one: Feature) -> Line:
    told = "none" if one.leakage is Leakage.NONE else str(one.leakage).lower()
    return (f"{told}: {one.mitigation}" if one.mitigation is not None else told,)


_TENSOR = ("name", "datatype", "shape")
API_TERMS = frozenset(
    {
        "contracts.api.method",
        "contracts.api.path",
        "contracts.api.latency.p95",
        *(f"contracts.api.inputs[].{one}" for one in _TENSOR),
        *(f"contracts.api.outputs[].{one}" for one in _TENSOR),
        "contracts.api.errors[].status",
        "contracts.api.errors[].meaning",
        "contracts.api.idempotency.header",
        "contracts.api.trace.requestIdHeader",
        "contracts.api.trace.versionHeader",
    }
)


def api(subject: Subject) -> Iterator[Block]:
    """The promise and a call."""
    spec = subject.spec
    promise = spec.contracts.api
    p95 = wording.latency(promise.latency.p95.total_seconds(), "s")
    yield Bullets(
        (
            (Code(f"{promise.method} {promise.path}"),),
            (f"95 of 100 requests are answered within {p95}.",),
            *_examples(subject),
            *_promised(promise),
        )
    )
    tensors = [("in", one) for one in promise.inputs or ()]
    tensors += [("out", one) for one in promise.outputs or ()]
    if tensors:
        yield Table(
            ("Tensor", "Goes", "Type", "Shape"),
            tuple(
                Row(((Code(one.name),), (way,), (str(one.datatype),), (_shape(one.shape),)))
                for way, one in tensors
            ),
        )
    yield Listing("\n".join(_call(subject)), "sh")
    row = {one.name: _value(one) for one in (spec.contracts.data.features if spec.contracts.data
                                             else ())}  # fmt: skip
    if row:
        yield Paragraph(("A row of features within the contract:",))
        yield Listing(json.dumps(row, ensure_ascii=False, indent=2), "json")


def _shape(sizes: tuple[int, ...]) -> str:
    return " x ".join("any" if size < 0 else str(size) for size in sizes) or "one number"


def _examples(subject: Subject) -> Iterator[Line]:
    files = subject.spec.candidate.artifacts
    if any(one.role is ArtifactRole.TEST_DATA for one in files):
        yield (
            "Requests with their right answers, one per line as ",
            Code('{"request": ..., "response": ...}'),
            ": the artifact with the role TestData.",
        )
    if subject.spec.candidate.serving.protocol is Protocol.OPEN_INFERENCE_V2:
        yield (
            "Requests and responses are tensors of Open Inference Protocol 2; the model's inputs "
            "and outputs, with types and shapes: ",
            Code(f"GET /v2/models/{subject.spec.candidate.model.name}"),
        )


def _promised(promise: ApiContract) -> Iterator[Line]:
    if promise.trace is not None and promise.trace.request_id_header:
        yield "An answer carries the caller's id back: ", Code(promise.trace.request_id_header)
    if promise.trace is not None and promise.trace.version_header:
        yield "An answer names the model's version: ", Code(promise.trace.version_header)
    if promise.idempotency is not None:
        yield "A repeated key gets the same answer: ", Code(promise.idempotency.header)
    for error in promise.errors or ():
        yield Code(str(error.status)), f": {error.meaning}"


def _call(subject: Subject) -> Iterator[str]:
    promise, route = subject.spec.contracts.api, subject.spec.rollout.route
    host = next((one for one in route.hostnames if not one.startswith("*")), "GATEWAY")
    yield "# request.json: one request as in the example data"
    body = "" if promise.method is HttpMethod.GET else (
        " \\\n  --header 'Content-Type: application/json' --data @request.json"
    )  # fmt: skip
    yield f"curl --request {promise.method} {shlex.quote(f'http://{host}{promise.path}')}{body}"


def _value(one: Feature) -> Any:
    if one.categories:
        return one.categories[0]
    if one.type in (FeatureType.FLOAT, FeatureType.INTEGER):
        low = one.min if one.min is not None else (one.max if one.max is not None else 0.0)
        high = one.max if one.max is not None else low
        return (round if one.type is FeatureType.INTEGER else float)(low / 2.0 + high / 2.0)
    return {
        FeatureType.BOOLEAN: True,
        FeatureType.TIMESTAMP: "2026-01-31T12:00:00Z",
    }.get(one.type, "text")
