"""RFC 7386 merge patch and RFC 6902 JSON patch."""

from __future__ import annotations

import copy
from typing import Any


class PatchError(Exception):
    """The patch cannot be applied to this object."""


def merge(target: Any, patch: Any) -> Any:
    """The target with a merge patch applied; neither is changed."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def json_patch(document: Any, operations: list[dict[str, Any]]) -> Any:
    """The document with all operations applied, or :class:`PatchError` and nothing applied."""
    document = copy.deepcopy(document)
    for operation in operations:
        document = _apply(document, operation)
    return document


def _apply(document: Any, operation: dict[str, Any]) -> Any:
    path = _tokens(operation["path"])
    match operation["op"]:
        case "test":
            if _get(document, path) != operation.get("value"):
                raise PatchError(f"testing value {operation['path']} failed")
        case "add":
            document = _put(document, path, operation.get("value"), insert=True)
        case "replace":
            _get(document, path)
            document = _put(document, path, operation.get("value"), insert=False)
        case "remove":
            _remove(document, path)
        case "move":
            source = _tokens(operation["from"])
            value = _get(document, source)
            _remove(document, source)
            document = _put(document, path, value, insert=True)
        case "copy":
            value = copy.deepcopy(_get(document, _tokens(operation["from"])))
            document = _put(document, path, value, insert=True)
        case unknown:
            raise PatchError(f"unknown operation {unknown!r}")
    return document


def _tokens(path: str) -> list[str]:
    if path == "":
        return []
    if not path.startswith("/"):
        raise PatchError(f"path {path!r} does not start with /")
    return [token.replace("~1", "/").replace("~0", "~") for token in path[1:].split("/")]


def _step(node: Any, token: str) -> Any:
    try:
        return node[int(token)] if isinstance(node, list) else node[token]
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise PatchError(f"no value at {token!r}") from error


def _get(node: Any, path: list[str]) -> Any:
    for token in path:
        node = _step(node, token)
    return node


def _put(document: Any, path: list[str], value: Any, *, insert: bool) -> Any:
    if not path:
        return value
    parent = _get(document, path[:-1])
    last = path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        if last == "-":
            parent.append(value)
        elif insert:
            if int(last) > len(parent):
                raise PatchError(f"index {last} is outside the list")
            parent.insert(int(last), value)
        else:
            parent[int(last)] = value
    else:
        raise PatchError(f"nothing to put {last!r} into")
    return document


def _remove(document: Any, path: list[str]) -> None:
    parent = _get(document, path[:-1])
    _step(parent, path[-1])
    del parent[int(path[-1]) if isinstance(parent, list) else path[-1]]
