"""Personal data: no field that holds them is in what everybody may read.

Looked for are the *names* that the handoff declares, at any depth and without regard to case:
keys of JSON objects, names of tensors, columns of CSV files, features of the reference, labels
and features of metrics. Values are not looked at: a name in a free text, a number in a tensor
without names, or a field that nobody declared is not found. A finding names file, line and field,
never what stands there.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from modelhandoff.api.candidate import ArtifactRole
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.verify.bundle import (
    Bundle,
    parse_json,
    read_first_line,
    read_lines,
    read_text,
)  # fmt: skip
from modelhandoff.verify.findings import Failed, Found

MAX_HEADER: Final = 1024 * 1024
MAX_CASES: Final = 10_000_000
_SEPARATORS: Final = ",;\t|"
_NAMED: Final = frozenset({"datatype", "shape", "data"})
"""An object with a name and one of these is a tensor: its name is a field, the word is not."""
Place = tuple[str, str]
"""Where a field is, and its name as it is declared."""


def privacy(bundle: Bundle) -> Found:
    """No declared field is in examples, golden cases, test sets, references, labels of metrics.

    Raises:
        Failed: one is, or a file cannot be searched. The line names the first and their number.
    """
    governance = bundle.spec.governance
    assert governance is not None, "asked for only with privacy"
    assert governance.privacy is not None, "asked for only with privacy"
    fields = {name.casefold(): name for name in governance.privacy.pii_fields}
    if not fields:
        return Found("The handoff declares that no field holds personal data.", {"fields": 0})
    found = [*_metrics(bundle.spec, fields)]
    files = [
        *((path, _test_data) for path in bundle.all(ArtifactRole.TEST_DATA)),
        *((path, _examples) for path in bundle.all(ArtifactRole.API_CONTRACT)),
        *((path, _reference) for path in bundle.all(ArtifactRole.REFERENCE)),
    ]
    for path, search in files:
        found += _searched(path, search(path, fields))
    if found:
        where, name = found[0]
        more = f" ({len(found)} places)" if len(found) > 1 else ""
        raise Failed(
            f"{where}: holds personal data; got the field {name}; allowed none of "
            f"governance.privacy.piiFields{more}",
            places=len(found),
        )
    return Found(
        f"None of {len(fields)} fields with personal data is in {len(files)} files, or in metrics.",
        {"fields": len(fields), "files": len(files)},
    )


def _searched(path: Path, places: Iterator[Place]) -> list[Place]:
    try:
        return list(places)
    except Failed as error:
        raise Failed(f"{path.name}: cannot be searched for personal data: {error}") from None


def _metrics(spec: ModelHandoffSpec, fields: Mapping[str, str]) -> Iterator[Place]:
    """Features and labels that the monitoring names."""
    for index, metric in enumerate(spec.monitoring.metrics):
        where = f"spec.monitoring.metrics[{index}]"
        if metric.feature is not None and metric.feature.casefold() in fields:
            yield f"{where}.feature", fields[metric.feature.casefold()]
        for path, label in _labels(metric.model_dump(mode="json", by_alias=True), where):
            if label.casefold() in fields:
                yield path, fields[label.casefold()]


def _labels(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """Paths and names of labels in a dumped metric."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "label" and isinstance(item, str):
                yield f"{where}.label", item
            else:
                yield from _labels(item, f"{where}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _labels(item, f"{where}[{index}]")


def _test_data(path: Path, fields: Mapping[str, str]) -> Iterator[Place]:
    """Cases: JSON lines, one JSON document, or CSV with a header."""
    name = path.name.casefold()
    if name.endswith((".csv", ".tsv")):
        columns = _columns(read_first_line(path, MAX_HEADER))
        yield from ((f"{path.name}:1", fields[c]) for c in columns if c in fields)
    elif name.endswith(".json"):
        yield from _case(parse_json(read_text(path), path.name), path.name, fields)
    else:
        for where, document in read_lines(path, MAX_CASES):
            yield from _case(document, where, fields)


def _case(document: Any, where: str, fields: Mapping[str, str]) -> Iterator[Place]:
    """What a case asks and answers; what it is called is nobody's field."""
    if isinstance(document, dict) and document.keys() & {"request", "response"}:
        document = [document.get("request"), document.get("response")]
    return _named(document, where, fields)


def _columns(header: str) -> Sequence[str]:
    separator = max(_SEPARATORS, key=header.count)
    return [one.strip().casefold() for one in next(csv.reader([header], delimiter=separator), [])]


def _examples(path: Path, fields: Mapping[str, str]) -> Iterator[Place]:
    """The examples of an API contract; its schemas may name what callers have to send."""
    document = parse_json(read_text(path), path.name)
    examples = document.get("examples") if isinstance(document, dict) else None
    for index, example in enumerate(examples if isinstance(examples, list) else ()):
        for side in ("request", "response"):
            if isinstance(example, dict):
                where = f"{path.name}: examples[{index}].{side}"
                yield from _named(example.get(side), where, fields)


def _reference(path: Path, fields: Mapping[str, str]) -> Iterator[Place]:
    """Features whose distribution the server exposes under their name."""
    document = parse_json(read_text(path), path.name)
    features = document.get("features") if isinstance(document, dict) else None
    for index, feature in enumerate(features if isinstance(features, list) else ()):
        name = feature.get("name") if isinstance(feature, dict) else None
        if isinstance(name, str) and name.casefold() in fields:
            yield f"{path.name}: features[{index}].name", fields[name.casefold()]


def _named(document: Any, where: str, fields: Mapping[str, str]) -> Iterator[Place]:
    """Declared fields in a JSON document, once each: keys, and names of tensors."""
    seen: set[str] = set()
    rest = [document]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            tensor = isinstance(value.get("name"), str) and bool(value.keys() & _NAMED)
            seen.update(key.casefold() for key in value if not (tensor and key == "name"))
            if tensor:
                seen.add(value["name"].casefold())
            rest += value.values()
        elif isinstance(value, list):
            rest += value
    yield from ((where, fields[key]) for key in fields if key in seen)
