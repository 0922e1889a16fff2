"""The API contract: JSON Schemas of requests and responses, and examples that prove them.

The file is ``{"requestSchema": {...}, "responseSchema": {...}, "examples": [{"name", "valid",
"request", "response"}]}``; an example that is not ``valid`` must be refused by a schema.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator, SchemaError, ValidationError
from jsonschema.validators import validator_for
from jsonschema_specifications import REGISTRY
from referencing.exceptions import Unresolvable

from modelhandoff.errors import cut
from modelhandoff.verify.bundle import parse_json, read_text
from modelhandoff.verify.findings import Failed, Found

MAX_CONTRACT: Final = 1024 * 1024
MAX_EXAMPLES: Final = 1000
_KEYS: Final = frozenset({"requestSchema", "responseSchema", "examples"})
_EXAMPLE_KEYS: Final = frozenset({"name", "valid", "request", "response"})


def api_contract(path: Path, golden: Iterable[tuple[str, Any]]) -> Found:
    """Schemas are valid, every example is what it is said to be, golden cases are valid.

    Args:
        path: the contract.
        golden: where and what, of the golden cases; each ``{"request": ..., "response": ...}``.

    Raises:
        Failed: something is not so, or there is no good or no bad example.
    """
    schemas, examples = _read(path)
    counts = {True: 0, False: 0}
    for index, example in enumerate(examples):
        counts[_example(f"{path.name}: examples[{index}]", example, schemas)] += 1
    for good, word in ((True, "good"), (False, "bad")):
        if not counts[good]:
            raise Failed(
                f"{path.name}: examples: no {word} example; "
                f"got {len(examples)}; allowed at least one with valid: {str(good).lower()}"
            )
    cases = 0
    for where, case in golden:
        cases += 1
        if not isinstance(case, dict):
            raise Failed(f"{where}: no case; got {cut(case)}; allowed a request and a response")
        for side in ("request", "response"):
            problem = _problem(where, schemas[side], case.get(side))
            if problem:
                raise Failed(f"{where}: {side} breaks the API contract: {problem}")
    return Found(
        f"{counts[True]} good and {counts[False]} bad examples are what they are said to be; "
        f"{cases} golden cases keep the contract.",
        {"good": counts[True], "bad": counts[False], "cases": cases},
    )


def _read(path: Path) -> tuple[dict[str, Any], list[Any]]:
    """Validators of requests and responses, and the examples as they are."""
    document = parse_json(read_text(path, MAX_CONTRACT), path.name)
    if not isinstance(document, dict) or not document.keys() <= _KEYS:
        raise Failed(f"{path.name}: no API contract; got {cut(document)}; allowed {sorted(_KEYS)}")
    schemas = {
        side: _validator(path.name, f"{side}Schema", document.get(f"{side}Schema"))
        for side in ("request", "response")
    }
    examples = document.get("examples")
    if not isinstance(examples, list) or len(examples) > MAX_EXAMPLES:
        raise Failed(f"{path.name}: examples: must be a list of at most {MAX_EXAMPLES} objects")
    return schemas, examples


@dataclass(frozen=True, slots=True)
class Spoken:
    """What of an API contract can be tried on a server.

    Attributes:
        good, bad: requests of the examples that the request schema allows, or does not; each with
            where it stands.
        breaks: how an answer breaks the response schema; "" when it does not.
    """

    good: tuple[tuple[str, Any], ...]
    bad: tuple[tuple[str, Any], ...]
    breaks: Callable[[Any], str]


def spoken(path: Path) -> Spoken:
    """The requests of a contract's examples, and its response schema.

    Raises:
        Failed: the file is no API contract.
    """
    schemas, examples = _read(path)
    good: list[tuple[str, Any]] = []
    bad: list[tuple[str, Any]] = []
    for index, example in enumerate(examples):
        where = f"{path.name}: examples[{index}]"
        if isinstance(example, dict) and "request" in example:
            request = example["request"]
            refused = _problem(where, schemas["request"], request)
            (bad if refused else good).append((where, request))
    response = schemas["response"]
    return Spoken(tuple(good), tuple(bad), lambda value: _problem(path.name, response, value))


def _validator(name: str, key: str, schema: Any) -> Any:
    where = f"{name}: {key}"
    if not isinstance(schema, dict) or not schema:
        # An empty schema allows everything: it would be no contract.
        raise Failed(f"{where}: no schema; got {cut(schema)}; allowed a JSON Schema")
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise Failed(f"{where}: no valid schema; got {_said(error)}") from None
    # The registry knows the meta-schemas and retrieves nothing from anywhere.
    return kind(schema, registry=REGISTRY)


def _example(where: str, example: Any, schemas: Mapping[str, Any]) -> bool:
    """Check one example; whether it is a good one."""
    if not isinstance(example, dict) or not example.keys() <= _EXAMPLE_KEYS:
        raise Failed(f"{where}: no example; got {cut(example)}; allowed {sorted(_EXAMPLE_KEYS)}")
    valid = example.get("valid", True)
    sides = [side for side in ("request", "response") if side in example]
    if not isinstance(valid, bool) or not sides:
        raise Failed(f"{where}: needs a request or a response, and valid: true or false")
    name = example.get("name")
    place = f"{where} ({cut(name, 60)})" if isinstance(name, str) and name else where
    problems = [
        f"{side}{problem}"
        for side in sides
        if (problem := _problem(place, schemas[side], example[side]))
    ]
    if valid and problems:
        raise Failed(f"{place}: is said to be good, and its {problems[0]}")
    if not valid and not problems:
        raise Failed(f"{place}: is said to be bad, and the schemas allow it")
    return valid


def _problem(where: str, validator: Any, value: Any) -> str:
    try:
        error = next(validator.iter_errors(value), None)
    except Unresolvable as unresolvable:
        raise Failed(
            f"{where}: the schema refers to something else; got {cut(unresolvable.ref)}; "
            "allowed references inside the file"
        ) from None
    return "" if error is None else _said(error)


def _said(error: ValidationError | SchemaError) -> str:
    path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path)
    return f"{cut(path, 100)}: {cut(error.message, 200)}"
