"""From models to OpenAPI: one inlined, structural schema per model, with its descriptions."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from modelhandoff.api.base import SpecModel, StatusModel
from modelhandoff.api.quantities import HINT

_DROPPED = ("title", "default", "additionalProperties")
_NULL = {"type": "null"}


def structural(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a model as the API server wants it, plus hints (key ``x-hint``).

    No references, no null, no defaults; rules become ``x-kubernetes-validations``, docstrings
    become descriptions. Hints are the allowed values in words; ``without_hints`` takes them out.
    """
    full = model.model_json_schema(by_alias=True, mode="validation")
    # Two models of one name would take each other's descriptions and rules.
    models = {cls.__name__: cls for cls in _reachable(model)}
    assert len(models) == len(_reachable(model))
    definitions: dict[str, Any] = full.pop("$defs", {})
    root = _Inliner(definitions, models).inline({"$ref": f"#/$defs/{model.__name__}"}, full)
    assert isinstance(root, dict)
    return root


def without_hints(schema: Any) -> Any:
    """The same schema without our own keys."""
    if isinstance(schema, dict):
        return {key: without_hints(value) for key, value in schema.items() if key != HINT}
    if isinstance(schema, list):
        return [without_hints(item) for item in schema]
    return schema


class _Inliner:
    def __init__(
        self, definitions: Mapping[str, Any], models: Mapping[str, type[BaseModel]]
    ) -> None:
        self._definitions = definitions
        self._models = models

    def inline(self, schema: dict[str, Any], root: dict[str, Any] | None = None) -> dict[str, Any]:
        reference = schema.get("$ref", "").removeprefix("#/$defs/")
        if reference:
            target = root if root is not None else self._definitions[reference]
            inlined = self._node(target)
            model = self._models.get(reference)
            if model is not None:
                self._describe(inlined, model)
            return inlined
        return self._node(schema)

    def _node(self, schema: dict[str, Any]) -> dict[str, Any]:
        choices = [choice for choice in schema.get("anyOf", ()) if choice != _NULL]
        if len(choices) == 1:
            extra = {key: value for key, value in schema.items() if key != "anyOf"}
            return self.inline(choices[0]) | self._node(extra)
        node = {key: value for key, value in schema.items() if key not in _DROPPED}
        if isinstance(schema.get("additionalProperties"), dict):
            node["additionalProperties"] = self.inline(schema["additionalProperties"])
            node.pop("propertyNames", None)
        if "properties" in node:
            node["properties"] = {k: self.inline(v) for k, v in node["properties"].items()}
        if "items" in node:
            node["items"] = self.inline(node["items"])
        for low, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if low in node:
                # OpenAPI v3.0, which Kubernetes speaks, has the bound and a flag.
                node[bound] = node[low]
                node[low] = True
        least = node.get("minimum")
        if node.get("type") == "number" and least is not None and least % 1:
            # The API server cuts the bound to an integer where the value is one: 0 passes 0.0001.
            node["x-kubernetes-validations"] = [
                {"rule": f"self >= {least}", "message": f"out of range; allowed >= {least}"}
            ]
        if "const" in node:
            node["enum"] = [node.pop("const")]
        return node

    def _describe(self, node: dict[str, Any], model: type[BaseModel]) -> None:
        if "enum" in node:
            return
        _describe(node, summary(model))
        described = field_docs(model)
        for name, field in model.model_fields.items():
            target = node["properties"][field.alias or name]
            if name in described:
                _describe(target, described[name])
        rules = model.rules if issubclass(model, SpecModel | StatusModel) else ()
        if rules:
            node["x-kubernetes-validations"] = [rule.as_validation() for rule in rules]


def _describe(node: dict[str, Any], text: str) -> None:
    """Put the description first, where a reader of the YAML looks for it."""
    rest = {key: value for key, value in node.items() if key != "description"}
    node.clear()
    node.update(description=text, **rest)


def summary(model: type[BaseModel]) -> str:
    """First paragraph of the model's docstring, on one line."""
    return " ".join(inspect.cleandoc(model.__doc__ or "").split("\n\n")[0].split())


def _reachable(model: type[BaseModel]) -> set[type[BaseModel]]:
    found: set[type[BaseModel]] = set()
    waiting: list[Any] = [model]
    while waiting:
        item = waiting.pop()
        if isinstance(item, type) and issubclass(item, BaseModel):
            if item not in found:
                found.add(item)
                waiting.extend(field.annotation for field in item.model_fields.values())
        else:
            waiting.extend(getattr(item, "__args__", ()))
    return found


def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """Field name -> the docstring under the field, of the class and the ones it inherits from."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        module = inspect.getmodule(cls)
        if module is not None and module.__name__.startswith(__package__ or ""):
            found |= _module_docs(module).get(cls.__name__, {})
    return found


@cache
def _module_docs(module: ModuleType) -> dict[str, dict[str, str]]:
    # Read from the source when a CRD is written, not at import: every start would pay for it.
    found: dict[str, dict[str, str]] = {}
    for cls in ast.parse(inspect.getsource(module)).body:
        if not isinstance(cls, ast.ClassDef):
            continue
        fields = found.setdefault(cls.name, {})
        for statement, follower in zip(cls.body, cls.body[1:], strict=False):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(follower, ast.Expr)
                and isinstance(follower.value, ast.Constant)
                and isinstance(follower.value.value, str)
            ):
                fields[statement.target.id] = " ".join(follower.value.value.split())
    return found
