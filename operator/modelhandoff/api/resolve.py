"""From what the user wrote to what is meant: policy presets, defaults, every rule checked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from modelhandoff.api.approval import MAX_ROLES
from modelhandoff.api.cel import RULE_ERROR, Violation
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.names import API_VERSION, MAX_HANDOFF_NAME
from modelhandoff.api.policy import PolicySpec
from modelhandoff.api.quantities import HINT, format_duration
from modelhandoff.api.rollout_spec import Initial
from modelhandoff.api.schema import structural
from modelhandoff.errors import InvalidInputError, InvalidSpecError

_ABSENT = "nothing"
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def resolve(raw_spec: Mapping[str, Any], policy: PolicySpec | None = None) -> ModelHandoffSpec:
    """The spec with every default filled in: the handoff's own values, the policy's, ours.

    ``model_dump(mode="json", by_alias=True)`` of the result is the snapshot that an attempt
    keeps, and ``ModelHandoffSpec.model_validate`` reads the same object back.

    Raises:
        InvalidSpecError: with one line per thing that is wrong.
    """
    errors = list(_nulls(raw_spec, "spec"))
    merged: Any = raw_spec
    if policy is not None:
        merged = _trusting(_signed(_merge(_presets(policy), raw_spec), policy), policy)
        errors += _too_many_roles(merged)
    try:
        spec = ModelHandoffSpec.model_validate(merged)
    except ValidationError as failure:
        known = {error.path for error in errors}
        errors += [line for line in lines(failure, raw_spec, "spec") if line.path not in known]
        raise InvalidSpecError(errors) from None
    if errors:
        raise InvalidSpecError(errors)
    return spec


def check(manifest: Mapping[str, Any], policy: PolicySpec | None = None) -> list[InvalidInputError]:
    """Everything that is wrong with a whole ModelHandoff manifest; empty when nothing is."""
    errors = [*_envelope(manifest)]
    spec = manifest.get("spec")
    if not isinstance(spec, Mapping):
        errors.append(
            InvalidInputError("spec", "required block is missing", _ABSENT, "an object")
            if spec is None
            else InvalidInputError("spec", "not an object", spec, "an object")
        )
        return errors
    try:
        resolve(spec, policy)
    except InvalidSpecError as failure:
        errors += failure.errors
    return errors


def _envelope(manifest: Mapping[str, Any]) -> Iterable[InvalidInputError]:
    for field, expected in (("apiVersion", API_VERSION), ("kind", "ModelHandoff")):
        if manifest.get(field) != expected:
            yield InvalidInputError(field, "another kind", manifest.get(field, _ABSENT), expected)
    for field in manifest:
        if field not in ("apiVersion", "kind", "metadata", "spec", "status"):
            yield InvalidInputError(field, "unknown field", manifest[field], "metadata, spec")
    metadata = manifest.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str) or not name:
        got = _ABSENT if name is None else name
        yield InvalidInputError("metadata.name", "required field is missing", got, "a name")
    elif len(name) > MAX_HANDOFF_NAME:
        wrong = "too long to name pods and services after"
        yield InvalidInputError(
            "metadata.name", wrong, name, f"at most {MAX_HANDOFF_NAME} characters"
        )
    elif not _DNS_1035.fullmatch(name):
        allowed = "lower-case letters, digits and -, starting with a letter"
        yield InvalidInputError("metadata.name", "not the name of a Service", name, allowed)


def _nulls(value: Any, path: str) -> Iterable[InvalidInputError]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _nulls(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _nulls(item, f"{path}[{index}]")
    elif value is None:
        yield InvalidInputError(path, "null is no value", "null", "a value, or leave the field out")


def _presets(policy: PolicySpec) -> dict[str, Any]:
    """What the policy author wrote under defaults, in the places of a handoff's spec."""
    written = policy.defaults.model_dump(mode="json", by_alias=True, exclude_unset=True)
    presets: dict[str, Any] = {}
    if "startup" in written:
        presets["candidate"] = {"serving": {"startup": written.pop("startup")}}
    if "monitoring" in written:
        presets["monitoring"] = written.pop("monitoring")
    if not policy.allow_direct_initial:
        written["initial"] = Initial.REQUIRE_BASELINE.value
    if written:
        presets["rollout"] = written
    return presets


def _signed(merged: dict[str, Any], policy: PolicySpec) -> dict[str, Any]:
    """The spec with the roles and rules of approval that the policy adds to every handoff.

    Roles come on top of the handoff's own; everything else only where the handoff says nothing.
    A block that is malformed is left as it is, for validation to name it.
    """
    asked, written = policy.approvals, merged.get("approvals")
    if written is None and not asked.required_roles:
        return merged
    block = {"roles": []} if written is None else written
    if not isinstance(block, Mapping) or not isinstance(block.get("roles"), list):
        return merged
    own = block["roles"]
    rules: dict[str, Any] = {}
    if asked.separate_author:
        rules["separateAuthor"] = True
    if asked.expires_after is not None:
        rules["expiresAfter"] = format_duration(asked.expires_after)
    roles = [*own, *(role for role in asked.required_roles if role not in own)]
    return {**merged, "approvals": {**rules, **block, "roles": roles}}


def _trusting(merged: dict[str, Any], policy: PolicySpec) -> dict[str, Any]:
    """The spec with the policy's keys where the handoff is signed and names none."""
    candidate = merged.get("candidate")
    if not policy.trusted_keys or not isinstance(candidate, Mapping):
        return merged
    signature = candidate.get("signature")
    if not isinstance(signature, Mapping) or "keys" in signature:
        return merged
    keys = [key.model_dump(mode="json", by_alias=True) for key in policy.trusted_keys]
    return {**merged, "candidate": {**candidate, "signature": {**signature, "keys": keys}}}


def _too_many_roles(merged: Mapping[str, Any]) -> Iterable[InvalidInputError]:
    block = merged.get("approvals")
    roles = block.get("roles") if isinstance(block, Mapping) else None
    if isinstance(roles, list) and len(roles) > MAX_ROLES:
        yield InvalidInputError(
            "spec.approvals.roles",
            "too many, together with those that the policy requires",
            f"{len(roles)} roles",
            f"at most {MAX_ROLES}",
        )


def _merge(presets: Any, written: Any) -> Any:
    if not isinstance(presets, Mapping) or not isinstance(written, Mapping):
        return written
    merged = dict(presets)
    for key, value in written.items():
        merged[key] = _merge(merged[key], value) if key in merged else value
    return merged


def lines(
    failure: ValidationError,
    raw: Any,
    root: str,
    schema: Mapping[str, Any] | None = None,
) -> list[InvalidInputError]:
    """A pydantic failure as one line per thing that is wrong, in the words of the schema."""
    shape = _spec_schema() if schema is None else schema
    found: list[InvalidInputError] = []
    for error in failure.errors(include_url=False):
        if _only_follows(error, raw):
            continue
        if error["type"] == RULE_ERROR:
            found += [_rule_line(error, v, raw, root) for v in error["ctx"]["violations"]]
        else:
            found.append(_line(error, raw, root, shape))
    return found


def _only_follows(error: ErrorDetails, raw: Any) -> bool:
    """Whether pydantic reports the consequence of another error: items it refused itself."""
    if error["type"] == "too_short":
        return len(_at(raw, error["loc"])) >= int(error["ctx"]["min_length"])
    return error["type"] == "default_factory_not_called"


@cache
def _spec_schema() -> dict[str, Any]:
    return structural(ModelHandoffSpec)


def _rule_line(error: ErrorDetails, violation: Violation, raw: Any, root: str) -> InvalidInputError:
    place = (*error["loc"], *violation.at)
    got = _shown(_at(raw, place)) if violation.got is None else violation.got
    return InvalidInputError(_path(root, place), violation.wrong, got, violation.allowed)


def _line(error: ErrorDetails, raw: Any, root: str, schema: Mapping[str, Any]) -> InvalidInputError:
    place = error["loc"]
    if place and place[-1] == "[key]":
        return InvalidInputError(
            _path(root, place[:-2]), "the key is not allowed", str(place[-2]), "a shorter key"
        )
    path = _path(root, place)
    got = _shown(_at(raw, place))
    match error["type"]:
        case "missing":
            allowed = allowed_by(_schema_at(schema, place))
            return InvalidInputError(path, "required field is missing", _ABSENT, allowed)
        case "extra_forbidden":
            siblings = list(_schema_at(schema, place[:-1]).get("properties", ()))
            return InvalidInputError(path, "unknown field", got, _near(str(place[-1]), siblings))
        case _:
            wrong = _WRONG.get(error["type"], "not an allowed value")
            return InvalidInputError(path, wrong, got, allowed_by(_schema_at(schema, place)))


_WRONG = {
    "string_type": "not text",
    "int_type": "not a whole number",
    "int_from_float": "not a whole number",
    "float_type": "not a number",
    "finite_number": "not a finite number",
    "bool_type": "neither true nor false",
    "enum": "not one of the allowed words",
    "model_type": "not an object",
    "model_attributes_type": "not an object",
    "dict_type": "not an object",
    "tuple_type": "not a list",
    "too_short": "too few items",
    "too_long": "too many items",
    "string_too_long": "too long",
    "string_too_short": "too short",
    "greater_than": "out of range",
    "greater_than_equal": "out of range",
    "less_than": "out of range",
    "less_than_equal": "out of range",
    "string_pattern_mismatch": "not in the allowed form",
    "duration": "not a duration",
}


def allowed_by(schema: Mapping[str, Any]) -> str:
    """What a schema allows, in words."""
    if HINT in schema:
        longest = f", at most {schema['maxLength']} characters" if "maxLength" in schema else ""
        return f"{schema[HINT]}{longest}" if schema.get("type") == "string" else str(schema[HINT])
    if "enum" in schema:
        return "|".join(str(word) for word in schema["enum"])
    match schema.get("type"):
        case "string":
            if "pattern" in schema:
                return f"text that matches {schema['pattern']}"
            return f"text of {schema.get('minLength', 0)} to {schema.get('maxLength')} characters"
        case "integer" | "number" as kind:
            noun = "a whole number" if kind == "integer" else "a number"
            return " ".join([noun, *_bounds(schema)])
        case "boolean":
            return "true|false"
        case "array":
            return f"a list of {schema.get('minItems', 0)} to {schema.get('maxItems')} items"
        case "object":
            required = schema.get("required")
            return f"an object with {', '.join(required)}" if required else "an object"
        case _:
            return "a value that the reference names"


def _bounds(schema: Mapping[str, Any]) -> Iterable[str]:
    if "minimum" in schema:
        yield f"{'>' if schema.get('exclusiveMinimum') else '>='} {schema['minimum']}"
    if "maximum" in schema:
        if "minimum" in schema:
            yield "and"
        yield f"{'<' if schema.get('exclusiveMaximum') else '<='} {schema['maximum']}"


def _near(name: str, siblings: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, siblings, n=1, cutoff=0.7)
    return f"{close[0]} (did you mean it?)" if close else ", ".join(siblings) or "no field here"


def _schema_at(schema: Mapping[str, Any], place: Sequence[str | int]) -> Mapping[str, Any]:
    node = schema
    for step in place:
        if isinstance(step, int):
            node = node.get("items", {})
        else:
            node = node.get("properties", {}).get(step, node.get("additionalProperties", {}))
    return node


def _at(value: Any, place: Sequence[str | int]) -> Any:
    for step in place:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return _ABSENT
    return value


def _path(root: str, place: Sequence[str | int]) -> str:
    return root + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)


def _shown(value: Any) -> Any:
    if isinstance(value, Mapping):
        return "{" + ", ".join(str(key) for key in value) + "}"
    if isinstance(value, list):
        return f"{len(value)} items"
    if isinstance(value, bool):
        return str(value).lower()
    return '""' if value == "" else value
