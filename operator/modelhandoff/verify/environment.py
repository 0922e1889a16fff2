"""The environment files: every library has one exact version.

Read are pip requirements, conda environments (YAML), conda's explicit lists of files, and the lock
files of uv, poetry, pdm, pipenv, conda-lock and pylock, which pin everything by their nature.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from modelhandoff.errors import cut
from modelhandoff.verify.bundle import parse_json, read_text
from modelhandoff.verify.findings import Failed, Found

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_EXTRAS: Final = r"(?:\s*\[[A-Za-z0-9._, -]*\])?"
_PINNED: Final = re.compile(rf"{_NAME}{_EXTRAS}\s*(?:==|===)\s*[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_DIRECT: Final = re.compile(rf"{_NAME}{_EXTRAS}\s*@\s*(\S+)")
_EXACT_URL: Final = re.compile(r"sha(?:256|384|512)[=:][0-9a-f]{64,128}|@[0-9a-f]{40}(?:[#?]|$)")
_CONDA: Final = re.compile(
    # name==1.2 or name=1.2=build; name=1.2 alone stands for 1.2.*, so it needs three numbers.
    r"(?:[\w./-]+::)?[A-Za-z0-9_][\w.-]*\s*"
    r"(?:==\s*[0-9A-Za-z][\w.!+]*(?:=[\w.]+)?"
    r"|=\s*[0-9A-Za-z][\w.!+]*=[\w.]+"
    r"|=\s*(?:\d+!)?\d+\.\d+\.\d[\w.+]*)"
)
_EXPLICIT: Final = re.compile(
    # Channel, platform, name, version and build of one file.
    r"\S+/[\w.-]+-[0-9A-Za-z][\w.!+]*-[\w.]+\.(?:conda|tar\.bz2)(?:#(?:sha256:)?[0-9a-f]{32,64})?"
)
_HARMLESS: Final = (
    "--hash",
    "--index-url",
    "-i",
    "--extra-index-url",
    "--find-links",
    "-f",
    "--only-binary",
    "--no-binary",
    "--require-hashes",
    "--prefer-binary",
    "--trusted-host",
    "--no-index",
)


def pinned_environment(paths: Sequence[Path]) -> Found:
    """Every environment file pins every library.

    Raises:
        Failed: a library has a range or no version, or a file has no library, or is none of these.
    """
    libraries = 0
    for path in paths:
        count = 0
        for where, wrong in _read(path, read_text(path)):
            if wrong:
                raise Failed(
                    f"{where}: has no exact version; got {cut(wrong)}; allowed name==version"
                )
            count += 1
        if not count:
            raise Failed(f"{path.name}: names no library; allowed at least one with its version")
        libraries += count
    message = f"{libraries} libraries in {len(paths)} files have one exact version each."
    return Found(message, {"libraries": libraries, "files": len(paths)})


def _read(path: Path, text: str) -> Iterator[tuple[str, str]]:
    """Where each library stands, and the text of it when it is not pinned."""
    name = path.name.casefold()
    if name.endswith((".yml", ".yaml")):
        return _conda(path.name, text)
    if name.endswith(("uv.lock", "poetry.lock", "pdm.lock", ".toml")):
        return _toml_lock(path.name, text)
    if name.endswith(("pipfile.lock", ".json")):
        return _pipfile(path.name, text)
    if re.search(r"^@EXPLICIT\s*$", text, re.M):
        return _explicit(path.name, text)
    return _requirements(path.name, text)


def _explicit(name: str, text: str) -> Iterator[tuple[str, str]]:
    """The files that ``conda list --explicit`` and ``conda-lock --kind explicit`` list."""
    for number, line in enumerate(text.splitlines(), 1):
        wanted = line.strip()
        pip = re.match(r"#\s*pip\s+(\S.*)", wanted)
        if pip:  # conda-lock keeps libraries that come from elsewhere in such comments.
            for _, wrong in _requirements(name, pip[1]):
                yield f"{name}:{number}", wrong
        elif wanted and not wanted.startswith(("#", "@EXPLICIT")):
            yield f"{name}:{number}", "" if _EXPLICIT.fullmatch(wanted) else wanted


def _requirements(name: str, text: str) -> Iterator[tuple[str, str]]:
    joined = re.sub(r"\\\r?\n", lambda _: " \x01", text)
    number = 1
    for line in joined.splitlines():
        where = f"{name}:{number}"
        number += 1 + line.count("\x01")
        wanted = re.sub(r"(?:^|\s)#.*", "", line.replace("\x01", " ")).strip()
        if not wanted or wanted.startswith(_HARMLESS):
            continue
        if wanted.startswith("-"):
            raise Failed(
                f"{where}: points elsewhere; got {cut(wanted)}; allowed libraries with versions"
            )
        core = re.split(r"\s+--hash[=\s]", wanted, maxsplit=1)[0]
        direct = _DIRECT.fullmatch(re.split(r"\s+;", core, maxsplit=1)[0].strip())
        if direct:
            yield where, "" if _EXACT_URL.search(direct[1]) else wanted
            continue
        core = core.split(";", 1)[0].strip()
        yield where, "" if _PINNED.fullmatch(core) else wanted


def _conda(name: str, text: str) -> Iterator[tuple[str, str]]:
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Failed(f"{name}: no YAML; got {cut(error, 120)}") from None
    if isinstance(document, dict) and isinstance(document.get("package"), list):
        yield from _packages(name, document["package"])
        return
    listed = document.get("dependencies") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise Failed(f"{name}: no conda environment; allowed an object with dependencies")
    for index, item in enumerate(listed):
        where = f"{name}: dependencies[{index}]"
        if isinstance(item, dict):
            inner = item.get("pip")
            if set(item) != {"pip"} or not isinstance(inner, list):
                raise Failed(f"{where}: no dependency; got an object; allowed text, or pip: [...]")
            for position, wanted in enumerate(inner):
                for _, wrong in _requirements(name, _text(f"{where}.pip[{position}]", wanted)):
                    yield f"{where}.pip[{position}]", wrong
        else:
            wanted = _text(where, item).strip()
            yield where, "" if _CONDA.fullmatch(wanted) else wanted or "nothing"


def _text(where: str, item: Any) -> str:
    # Never str(): a few aliases of YAML can stand for gigabytes of text.
    if not isinstance(item, str):
        raise Failed(f"{where}: no dependency; got {type(item).__name__}; allowed text")
    return item


def _toml_lock(name: str, text: str) -> Iterator[tuple[str, str]]:
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise Failed(f"{name}: no TOML; got {cut(error, 120)}") from None
    packages = document.get("package", document.get("packages"))
    if not isinstance(packages, list):
        raise Failed(f"{name}: no lock file; allowed a list of packages")
    yield from _packages(name, packages)


def _packages(name: str, packages: list[Any]) -> Iterator[tuple[str, str]]:
    for index, item in enumerate(packages):
        where = f"{name}: package[{index}]"
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise Failed(f"{where}: no package; got {cut(item)}; allowed a name and a version")
        source = item.get("source")
        if isinstance(source, dict) and {"virtual", "editable"} & source.keys():
            continue  # The project itself.
        exact = isinstance(item.get("version"), str) and "*" not in item["version"]
        yield where, "" if exact else item["name"]


def _pipfile(name: str, text: str) -> Iterator[tuple[str, str]]:
    document = parse_json(text, name)
    groups = (
        [document.get(group) for group in ("default", "develop")]
        if isinstance(document, dict)
        else []
    )
    if not any(isinstance(group, dict) for group in groups):
        raise Failed(f"{name}: no Pipfile.lock; allowed an object with default and develop")
    for group in groups:
        for library, entry in (group or {}).items():
            version = entry.get("version") if isinstance(entry, dict) else None
            exact = isinstance(version, str) and _PINNED.fullmatch(f"{library}{version}")
            by_commit = isinstance(entry, dict) and re.fullmatch(
                r"[0-9a-f]{40}", str(entry.get("ref"))
            )
            yield f"{name}: {library}", "" if exact or by_commit else f"{library} {version}"
