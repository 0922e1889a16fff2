"""What the data contract says about one request, and how features lie in the tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelhandoff.serve.reference import BadReference, Feature, Output, Reference
from modelhandoff.serve.refusals import Refused, Rule, shown
from modelhandoff.serve.tensors import FLOATS, Array, Feeds, TensorSpec, decode_data


@dataclass(frozen=True, slots=True)
class Violation:
    """One value that is not what the contract promises."""

    field: str
    rule: Rule
    message: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """What one request brought.

    Attributes:
        violations: everything that breaks the contract, row by row.
        values: name and number of every feature of every row, NaN where missing.
    """

    violations: list[Violation]
    values: list[tuple[str, float]]


def rows_of(array: Array) -> list[list[Any]]:
    """A tensor's values as one flat list per row; a tensor without rows is one row."""
    if array.size == 0:
        return []
    flat = array.reshape(array.shape[0], -1) if array.ndim else array.reshape(1, 1)
    rows: list[list[Any]] = flat.tolist()
    return rows


@dataclass(frozen=True, slots=True)
class NamedRows:
    """The body of a request on the custom route: rows of named features.

    Attributes:
        rows: one mapping of feature name to JSON value per row, at least one.
        paths: where each row lies in the document.
        single: whether the document was ``{"features": ...}``.
    """

    rows: list[dict[str, Any]]
    paths: list[str]
    single: bool


def named_rows(document: Any, *, max_rows: int) -> NamedRows:
    """Rows from ``{"features": {name: value}}`` or ``{"instances": [{name: value}, ...]}``.

    Raises:
        Refused: 400, the document has another shape or too many rows.
    """
    keys = set(document) & {"features", "instances"} if isinstance(document, dict) else set()
    if len(keys) != 1:
        raise Refused(
            'body: must be {"features": {name: value}} or {"instances": [{name: value}]}; '
            f"got {shown(document)}"
        )
    single = "features" in keys
    rows = [document["features"]] if single else document["instances"]
    if not isinstance(rows, list) or not 1 <= len(rows) <= max_rows:
        raise Refused(f"instances: must be a list of 1 to {max_rows} rows; got {shown(rows)}")
    paths = ["features"] if single else [f"instances[{i}]" for i in range(len(rows))]
    for path, row in zip(paths, rows, strict=True):
        if not isinstance(row, dict):
            raise Refused(f"{path}: must be a JSON object; got {shown(row)}")
    return NamedRows(rows, paths, single)


@dataclass(frozen=True, slots=True)
class Contract:
    """A reference document tied to a model's tensors. Use :func:`bind` to make one.

    Attributes:
        inputs: the model's inputs.
        features: named values of the inputs.
        outputs: watched values of the outputs.
        numeric: inputs whose values are numbers.
        unnamed: floating-point inputs and columns that no feature names.
        named_route: whether the features cover every column of every input.
    """

    inputs: tuple[TensorSpec, ...]
    features: tuple[Feature, ...]
    outputs: tuple[Output, ...]
    numeric: frozenset[str]
    unnamed: tuple[tuple[str, int], ...]
    named_route: bool

    def inspect(self, feeds: Feeds) -> Inspection:
        """Violations and feature values of a decoded request.

        NaN in a value that no feature allows to be missing is always a violation.
        """
        rows = {name: rows_of(array) for name, array in feeds.items()}
        violations: list[Violation] = []
        values: list[tuple[str, float]] = []
        for feature in self.features:
            column = feature.column or 0
            numeric = feature.input in self.numeric
            for index, row in enumerate(rows[feature.input]):
                value = row[column]
                violation = _check(feature, index, value)
                if violation is not None:
                    violations.append(violation)
                if numeric:
                    values.append((feature.name, float(value)))
        for name, column in self.unnamed:
            for index, row in enumerate(rows[name]):
                if math.isnan(row[column]):
                    message = f"{name}[{index}][{column}]: not a number; got NaN or null"
                    violations.append(Violation(name, Rule.MISSING, message))
        return Inspection(violations, values)

    def output_values(self, outputs: Feeds) -> list[dict[str, float]]:
        """The watched outputs by name, one mapping per row."""
        watched = {output.output for output in self.outputs}
        tables = {name: rows_of(outputs[name]) for name in watched}
        count = max((len(table) for table in tables.values()), default=0)
        return [
            {
                output.name: float(tables[output.output][row][output.column or 0])
                for output in self.outputs
                if row < len(tables[output.output])
            }
            for row in range(count)
        ]

    def feeds_from_rows(self, rows: Sequence[Mapping[str, Any]], where: Sequence[str]) -> Feeds:
        """Tensors from rows of named features, as the custom route takes them.

        Args:
            rows: one mapping of feature name to JSON value per row, at least one.
            where: path of each row, for messages.

        Raises:
            Refused: an unknown feature, an absent one, or a value of the wrong kind.
        """
        known = {feature.name for feature in self.features}
        for path, row in zip(where, rows, strict=True):
            for name in row:
                if name not in known:
                    raise Refused(
                        f"{path}: no such feature; got {shown(name)}; allowed {sorted(known)}",
                        field="unknown",
                        rule=Rule.UNKNOWN,
                    )
        feeds: Feeds = {}
        for spec in self.inputs:
            order = sorted(
                (f for f in self.features if f.input == spec.name), key=lambda f: f.column or 0
            )
            paths = [f"{path}.{feature.name}" for path in where for feature in order]
            data: list[Any] = []
            for path, row in zip(where, rows, strict=True):
                for feature in order:
                    value = row.get(feature.name)
                    if value is None and not (feature.allowMissing and spec.datatype in FLOATS):
                        raise Refused(
                            f"{path}.{feature.name}: is missing; allowed a value",
                            field=feature.name,
                            rule=Rule.MISSING,
                        )
                    data.append(value)
            if not spec.has_rows and len(rows) != 1:
                raise Refused(f"{where[1]}: this model takes one row per request")
            first = (len(rows),) if spec.shape else ()
            shape = (*first, *(dim or 1 for dim in spec.shape[1:]))
            try:
                feeds[spec.name] = decode_data(spec, shape, data, paths.__getitem__)
            except Refused as error:
                # The tensor's name means nothing to a caller of named features.
                broken = str(error).split(":", 1)[0].rsplit(".", 1)[-1]
                raise Refused(str(error), field=broken, rule=error.rule) from None
        return feeds


def _check(feature: Feature, row: int, value: float | str) -> Violation | None:
    path = f"{feature.name}[{row}]"
    if isinstance(value, float) and math.isnan(value):
        if feature.allowMissing:
            return None
        return Violation(feature.name, Rule.MISSING, f"{path}: not a number; got NaN or null")
    if not feature.knows(value):
        message = f"{path}: not a known category; got {shown(value)}"
        return Violation(feature.name, Rule.CATEGORY, message)
    if not feature.admits(value):
        message = f"{path}: out of range; got {shown(value)}; allowed {feature.min}..{feature.max}"
        return Violation(feature.name, Rule.RANGE, message)
    return None


def bind(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], reference: Reference | None
) -> Contract:
    """Tie a reference document to a model's tensors.

    Raises:
        BadReference: the document names a tensor or a column that the model does not have.
    """
    features = tuple(reference.features) if reference else ()
    watched = tuple(reference.outputs) if reference else ()
    for kind, specs, items in (
        ("features", inputs, [(f.name, f.input, f.column) for f in features]),
        ("outputs", outputs, [(o.name, o.output, o.column) for o in watched]),
    ):
        by_name = {spec.name: spec for spec in specs}
        for name, tensor, column in items:
            spec = by_name.get(tensor)
            if spec is None:
                raise BadReference(
                    f"reference: {kind}.{name}: the model has no such tensor; got {tensor!r}; "
                    f"allowed {sorted(by_name)}"
                )
            width = _width(spec)
            if (column or 0) >= width or (column is None and width > 1):
                raise BadReference(
                    f"reference: {kind}.{name}: no such column in {tensor}; got {column}; "
                    f"allowed 0..{width - 1}"
                )
            if kind == "outputs" and spec.datatype == "BYTES":
                raise BadReference(f"reference: {kind}.{name}: text has no bins; got {tensor!r}")
    covered = {(feature.input, feature.column or 0) for feature in features}
    named_route = bool(features) and all(
        (spec.name, column) in covered for spec in inputs for column in range(_width(spec))
    )
    return Contract(
        inputs=tuple(inputs),
        features=features,
        outputs=watched,
        numeric=frozenset(spec.name for spec in inputs if spec.datatype != "BYTES"),
        unnamed=tuple(
            (spec.name, column)
            for spec in inputs
            if spec.datatype in FLOATS
            for column in range(_width(spec))
            if (spec.name, column) not in covered
        ),
        named_route=named_route,
    )


def _width(spec: TensorSpec) -> int:
    """Values per row; a free dimension behind the first counts as one."""
    return math.prod(dim or 1 for dim in spec.shape[1:])
