"""The data contract against the model's inputs, and against the values of the golden cases."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from modelhandoff.api.contracts import Feature, FeatureType, Leakage
from modelhandoff.errors import cut
from modelhandoff.serve.contract import rows_of
from modelhandoff.serve.reference import Reference
from modelhandoff.serve.tensors import Feeds, TensorSpec
from modelhandoff.verify.findings import Failed, Found

_FLOATS: Final = frozenset({"FP16", "FP32", "FP64"})
_INTEGERS: Final = frozenset(
    {"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"}
)
_NUMBERS: Final = _FLOATS | _INTEGERS
_CARRIES: Final = {
    FeatureType.FLOAT: _FLOATS,
    FeatureType.INTEGER: _NUMBERS,
    FeatureType.CATEGORY: _NUMBERS | {"BYTES"},
    FeatureType.STRING: frozenset({"BYTES"}),
    FeatureType.BOOLEAN: _NUMBERS | {"BOOL"},
    FeatureType.TIMESTAMP: _NUMBERS | {"BYTES"},
}
"""Datatypes that can carry the values of a feature."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a feature's values lie: an input, and a position among the values of one row."""

    feature: Feature
    input: str
    column: int


def places(
    features: Sequence[Feature], inputs: Sequence[TensorSpec], reference: Reference | None
) -> tuple[Place, ...]:
    """Where each feature of the contract lies in the model's inputs.

    By the reference file where there is one; else by name, when every feature has an input of its
    own; else by order, when the model has one input with as many columns as there are features.

    Raises:
        Failed: a feature has no place, a column has no feature, or the datatype cannot carry it.
    """
    widths = {spec.name: _width(spec) for spec in inputs}
    if reference is not None and reference.features:
        known = {f.name: (f.input, f.column or 0) for f in reference.features}
        for name in (f.name for f in features if f.name not in known):
            raise Failed(
                f"contracts.data.features: the reference file does not have it; got {name}; "
                f"allowed {_listed(known)}"
            )
        found = tuple(Place(f, *known[f.name]) for f in features)
    elif all(f.name in widths for f in features):
        found = tuple(Place(f, f.name, 0) for f in features)
    elif len(inputs) == 1 and widths[inputs[0].name] == len(features):
        found = tuple(Place(f, inputs[0].name, column) for column, f in enumerate(features))
    else:
        shapes = ", ".join(f"{s.name} {s.as_json()['shape']}" for s in inputs)
        raise Failed(
            f"contracts.data.features: do not fit the model's inputs; got {len(features)}; "
            f"allowed those of {cut(shapes, 200)}, by name or by order"
        )
    datatypes = {spec.name: spec.datatype for spec in inputs}
    for place in found:
        carried = _CARRIES[place.feature.type]
        datatype = datatypes.get(place.input)
        if datatype is None or place.column >= (widths[place.input] or 1):
            raise Failed(
                f"contracts.data.features: {place.feature.name} lies where the model has nothing; "
                f"got {place.input}[{place.column}]; allowed {_listed(widths)}"
            )
        if datatype not in carried:
            raise Failed(
                f"contracts.data.features: {place.feature.name} has a type that the model's input "
                f"{place.input} cannot carry; got {place.feature.type}, input {datatype}; "
                f"allowed inputs {_listed(carried)}"
            )
    _covered(found, widths)
    return found


def _covered(found: Iterable[Place], widths: dict[str, int | None]) -> None:
    taken = {(place.input, place.column) for place in found}
    for name, width in widths.items():
        # Of an input whose rows have no fixed length only the first value can be spoken of.
        for column in range(width or 1):
            if (name, column) not in taken:
                raise Failed(
                    f"contracts.data.features: the model takes a value that no feature describes; "
                    f"got {name}[{column}]; allowed a feature for each"
                )


def _width(spec: TensorSpec) -> int | None:
    """Values per row; ``None`` when a dimension behind the first is free."""
    behind = spec.shape[1:]
    return None if None in behind else math.prod(dim or 1 for dim in behind)


@dataclass(slots=True)
class Column:
    """What was seen of one feature."""

    seen: int = 0
    missing: int = 0
    where: dict[str, str] = field(default_factory=dict)


class Values:
    """Counts a contract's violations over many requests, row by row."""

    def __init__(self, found: Sequence[Place]) -> None:
        self._places = found
        self._columns = {place.feature.name: Column() for place in found}
        self._wrong: list[str] = []
        self.rows = 0

    def add(self, where: str, feeds: Feeds) -> None:
        """Look at every row of one decoded request."""
        tables = {name: rows_of(array) for name, array in feeds.items()}
        self.rows += max((len(rows) for rows in tables.values()), default=0)
        for place in self._places:
            column = self._columns[place.feature.name]
            for row in tables[place.input]:
                value = row[place.column] if place.column < len(row) else None
                column.seen += 1
                if value is None or (isinstance(value, float) and math.isnan(value)):
                    column.missing += 1
                    continue
                problem = problem_of(place.feature, value)
                if problem:
                    self._wrong.append(f"{where}: {place.feature.name} {problem}")

    def verdict(self) -> Found:
        """What all rows came to.

        Raises:
            Failed: a value outside its contract, or too many missing ones.
        """
        for place in self._places:
            feature, column = place.feature, self._columns[place.feature.name]
            share = column.missing / column.seen if column.seen else 0.0
            if share > feature.max_null_fraction:
                raise Failed(
                    f"contracts.data.features: {feature.name} is missing too often; "
                    f"got {column.missing} of {column.seen} values; "
                    f"allowed a share of {feature.max_null_fraction:g}",
                    rows=self.rows,
                )
        if self._wrong:
            more = f" ({len(self._wrong)} values are wrong)" if len(self._wrong) > 1 else ""
            raise Failed(self._wrong[0] + more, rows=self.rows, wrong=len(self._wrong))
        suspected = sum(p.feature.leakage is Leakage.SUSPECTED for p in self._places)
        warning = f" {suspected} features are suspected of leakage." if suspected else ""
        return Found(
            f"{self.rows} rows of test data keep the contract of {len(self._places)} features."
            + warning,
            {"rows": self.rows, "features": len(self._places), "suspectedLeakage": suspected},
        )


def problem_of(feature: Feature, value: Any) -> str:
    """What is wrong with a present value, as the rest of a sentence; "" when nothing is."""
    match feature.type:
        case FeatureType.CATEGORY:
            allowed = feature.categories or ()
            if not any(_same(value, word) for word in allowed):
                return f"is no known category; got {cut(value, 40)}; allowed {_listed(allowed)}"
        case FeatureType.BOOLEAN:
            if value not in (0, 1):
                return f"is no truth value; got {cut(value, 40)}; allowed 0 or 1"
        case FeatureType.INTEGER:
            if float(value) != math.floor(float(value)):
                return f"is no whole number; got {value}; allowed whole numbers"
        case FeatureType.TIMESTAMP:
            if isinstance(value, str) and not _is_time(value):
                return f"is no time; got {cut(value, 40)}; allowed RFC 3339"
        case _:
            pass
    low, high = feature.min, feature.max
    if (low is not None and value < low) or (high is not None and value > high):
        ends = f"{'' if low is None else f'{low:g}'}..{'' if high is None else f'{high:g}'}"
        return f"is out of range; got {value:g}; allowed {ends}"
    return ""


def _same(value: Any, word: str) -> bool:
    if isinstance(value, str):
        return value == word
    try:
        return float(word) == float(value)
    except ValueError:
        return False


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _listed(words: Iterable[str]) -> str:
    return cut(", ".join(sorted(words)), 160)
