"""Lua as Argo CD runs it: 5.1, and of the libraries no more than it opens itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lupa import lua51

KEPT = frozenset(
    (
        *("assert", "error", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawset"),
        *("select", "setmetatable", "getmetatable", "tonumber", "tostring", "type", "unpack"),
        *("xpcall", "table", "_G", "_VERSION"),
    )
)
"""What is left: no string, math, io, os, debug, package, and nothing that loads code."""


def run(script: Path, found: Mapping[str, Any]) -> Any:
    """What a script returns for an object, as plain Python values."""
    return run_text(script.read_text(), found)


def run_text(script: str, found: Mapping[str, Any]) -> Any:
    """The same of a script's text."""
    lua = lua51.LuaRuntime(register_eval=False, register_builtins=False)
    lua.execute('getmetatable("").__index = nil')
    for name in [name for name in lua.globals() if name not in KEPT]:
        lua.globals()[name] = None
    lua.globals()["obj"] = _table(lua, found)
    return _plain(lua.execute(script))


def _table(lua: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        table = lua.table()
        for key, inner in value.items():
            table[key] = _table(lua, inner)
        return table
    if isinstance(value, list | tuple):
        table = lua.table()
        for at, inner in enumerate(value, start=1):
            table[at] = _table(lua, inner)
        return table
    return value


def _plain(value: Any) -> Any:
    if lua51.lua_type(value) != "table":
        return value
    keys = list(value)
    if keys and keys == list(range(1, len(keys) + 1)):
        return [_plain(value[key]) for key in keys]
    return {key: _plain(value[key]) for key in keys}
