"""Pages of the documentation that are made of the code: reasons, the reference, the example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

REASONS: Final = ("<!-- reasons: written by `modelhandoff generate` -->", "<!-- end of reasons -->")
EXAMPLE: Final = Path("docs/examples/fraud")
EXAMPLE_TRAFFIC: Final = 60.0
"""Requests per second in the example's README."""


def reasons() -> str:
    """Every reason with meaning and remedy; each has an anchor: operations.md#nodata."""
    from modelhandoff.cli.kubectl.words import GROUPS

    parts = []
    for title, rows in GROUPS:
        parts.append(f"### {title}\n")
        parts.append("| Reason | What happened | What to do |\n|---|---|---|")
        for names, meaning, remedy in rows:
            shown = ", ".join(f'<a id="{name.lower()}"></a>`{name}`' for name in names)
            parts.append(f"| {shown} | {meaning} | {remedy} |")
        parts.append("")
    return "\n".join(parts).rstrip()


def reference() -> str:
    """Every field of every kind, from the schemas that the API server has."""
    from modelhandoff.api import crds, names

    lines = [
        "# Reference",
        "",
        "Written by `modelhandoff generate` from the models: edit those instead. `kubectl explain "
        "mho.spec` shows the same. A field without *required* may be left out; what then holds is "
        "said with it. Rules in italics are checked by the API server and by `kubectl handoff "
        "lint`.",
        "",
        f"All kinds are of `{names.API_VERSION}`.",
    ]
    for kind in crds.KINDS:
        lines += ["", f"## {kind.top.__name__}", ""]
        definition = crds.crd(kind)["spec"]
        schema = definition["versions"][0]["schema"]["openAPIV3Schema"]
        short = ", ".join(definition["names"]["shortNames"])
        lines += [
            f"{schema['description']} {definition['scope']}; short name `{short}`.",
        ]
        for block in ("spec", "status"):
            if block in schema["properties"]:
                path = f"{kind.top.__name__}.{block}"
                lines += ["", *_block(path, schema["properties"][block])]
    return "\n".join(lines) + "\n"


def _block(path: str, schema: Mapping[str, Any]) -> Iterator[str]:
    """One table for an object, then those of the objects in it."""
    yield f"### {path}"
    yield ""
    if schema.get("description"):
        yield _plain(schema["description"])
        yield ""
    for rule in schema.get("x-kubernetes-validations") or ():
        where = f"`{rule['fieldPath'].removeprefix('.')}`: " if rule.get("fieldPath") else ""
        yield f"- *{where}{_plain(rule['message'])}*"
    if schema.get("x-kubernetes-validations"):
        yield ""
    yield "| Field | Type | Meaning |"
    yield "|---|---|---|"
    required = schema.get("required") or ()
    inner: list[tuple[str, Mapping[str, Any]]] = []
    for name, field in (schema.get("properties") or {}).items():
        needed = ", required" if name in required else ""
        yield f"| `{name}` | {_type(field)}{needed} | {_plain(field.get('description') or '')} |"
        below = field.get("items", field)
        if below.get("properties"):
            inner.append((f"{path}.{name}" + ("[]" if "items" in field else ""), below))
    for below_path, below in inner:
        yield ""
        yield from _block(below_path, below)


def _type(schema: Mapping[str, Any]) -> str:
    """Type and bounds in a few words."""
    if "enum" in schema:
        return " \\| ".join(f"`{one}`" for one in schema["enum"])
    if "items" in schema:
        low, high = schema.get("minItems", 0), schema.get("maxItems")
        many = f", {low} to {high}" if high is not None and low else ""
        many = many or (f", at most {high}" if high is not None else "")
        return f"list{many}, of {_type(schema['items'])}"
    if "additionalProperties" in schema:
        return "map of texts"
    if schema.get("properties") or schema.get("type") == "object":
        return "object"
    if schema.get("x-kubernetes-int-or-string"):
        return "quantity"
    if str(schema.get("pattern", "")).endswith("ms)?$"):
        return "duration"
    kind = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or "
            "false"}.get(str(schema.get("type")), str(schema.get("type") or "any"))  # fmt: skip
    if schema.get("format") == "date-time":
        return "time"
    return kind + _bounds(schema)


def _bounds(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    over = "above" if schema.get("exclusiveMinimum") else "from"
    under = "below" if schema.get("exclusiveMaximum") else "to"
    parts = [f"{over} {low:g}"] if low is not None else []
    parts += [f"{under} {high:g}"] if high is not None else []
    if schema.get("maxLength") is not None:
        parts.append(f"at most {schema['maxLength']} characters")
    return f", {' '.join(parts)}" if parts else ""


def _plain(text: str) -> str:
    """A description inside a table: what would be markup is not."""
    for mark in ("\\", "|", "<", "*", "_"):
        text = text.replace(mark, f"\\{mark}")
    return text


def example(root: Path) -> str:
    """The handoff README of the example beside it."""
    from modelhandoff.cli import inputs
    from modelhandoff.cli.readme import text

    manifest, spec = inputs.read_handoff(root / EXAMPLE / "handoff.yaml")
    return text(manifest, spec, (EXAMPLE_TRAFFIC,))
