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


def column_of(array: Array, column: int | None) -> list[Any]:
    """One feature's or output's values, one per row."""
    if column is None:
        values: list[Any] = array.ravel().tolist()
    else:
        values = array.reshape(array.shape[0], -1)[:, column].tolist()
    return values


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
    """A reference document tied to a model's tensors.

    Use :func:`bind` to make one.
    """

    inputs: tuple[TensorSpec, ...]
    features: tuple[Feature, ...]
    outputs: tuple[Output, ...]
    named_route: bool

    def violations(self, feeds: Feeds) -> list[Violation]:
        """Everything in a decoded request that breaks the contract, row by row.

        NaN in a value that no feature allows to be missing is always among them.
        """
        found: list[Violation] = []
        bound: set[tuple[str, int]] = set()
        for feature in self.features:
            bound.add((feature.input, feature.column or 0))
            for row, value in enumerate(column_of(feeds[feature.input], feature.column)):
                violation = _check(feature, row, value)
                if violation is not None:
                    found.append(violation)
        for spec in self.inputs:
            if spec.datatype not in FLOATS:
                continue
            array = feeds[spec.name].reshape(feeds[spec.name].shape[0] if spec.shape else 1, -1)
            for column in range(array.shape[1]):
                if (spec.name, column) in bound:
                    continue
                for row, value in enumerate(array[:, column].tolist()):
                    if math.isnan(value):
                        message = f"{spec.name}[{row}][{column}]: not a number; got NaN or null"
                        found.append(Violation(spec.name, Rule.MISSING, message))
        return found

    def feature_values(self, feeds: Feeds) -> list[tuple[str, float]]:
        """Name and number of every feature of every row (NaN where missing)."""
        return [
            (feature.name, float(value))
            for feature in self.features
            if _is_numeric(self.inputs, feature.input)
            for value in column_of(feeds[feature.input], feature.column)
        ]

    def output_values(self, outputs: Feeds) -> list[tuple[str, float]]:
        """Name and number of every watched output of every row."""
        return [
            (output.name, float(value))
            for output in self.outputs
            for value in column_of(outputs[output.output], output.column)
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


def _is_numeric(specs: Sequence[TensorSpec], name: str) -> bool:
    return any(spec.name == name and spec.datatype != "BYTES" for spec in specs)


def bind(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], reference: Reference | None
) -> Contract:
    """Tie a reference document to a model's tensors.

    ``named_route`` of the result is True when the features cover every column of every input,
    so that a request can be written as named features.

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
    return Contract(tuple(inputs), features, watched, named_route)


def _width(spec: TensorSpec) -> int:
    """Values per row; a free dimension behind the first counts as one."""
    return math.prod(dim or 1 for dim in spec.shape[1:])
