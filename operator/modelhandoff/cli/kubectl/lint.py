"""``lint``: the operator's own checks, offline, with file and line."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from modelhandoff.cli.kubectl.printing import Format, echo, warn
from modelhandoff.cli.kubectl.problem import Code, Trouble
from modelhandoff.errors import InvalidInputError, InvalidSpecError, cut

MAX_BYTES = 4 * 1024 * 1024
_KINDS = ("ModelHandoff", "HandoffPolicy")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        path: of the field inside its object.
        told: path, what is wrong, what was got, what is allowed: one line.
    """

    file: str
    line: int
    object: str
    path: str
    told: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.object}: {self.told}"


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document with its nodes, which know their lines."""

    file: str
    value: Any
    node: yaml.Node

    @property
    def kind(self) -> str:
        """Its kind; empty for what is no object."""
        return str(self.value.get("kind") or "") if isinstance(self.value, dict) else ""

    @property
    def name(self) -> str:
        """``Kind/name`` for messages."""
        meta = self.value.get("metadata") if isinstance(self.value, dict) else None
        name = meta.get("name") if isinstance(meta, dict) else None
        return f"{self.kind}/{name or '?'}"


def lint(files: Sequence[Path], policy: Path | None, output: Format | None) -> int:
    """Check files; 1 when anything was found.

    Raises:
        Trouble: a file cannot be read, or none holds anything to check.
    """
    if output not in (None, Format.JSON):
        raise Trouble(f"--output: not for findings; got {output}; allowed json")
    documents, findings = [], []
    for file in _flat(files):
        found, broken = read(file)
        documents += found
        findings += broken
    rules = _policy(policy) if policy is not None else None
    checked = [one for one in documents if one.kind in _KINDS]
    for document in checked:
        findings += check(document, rules)
    if not checked and not findings:
        kinds = ", ".join(sorted({one.kind or "no object" for one in documents})) or "nothing"
        raise Trouble(
            f"{', '.join(map(str, files))}: nothing to check; got {cut(kinds)}; "
            f"allowed {' or '.join(_KINDS)}"
        )
    if output is Format.JSON:
        echo(json.dumps([asdict(one) for one in findings], indent=2, ensure_ascii=False))
    else:
        for one in findings:
            echo(str(one))
        _sum_up(documents, checked, findings, rules)
    return Code.TROUBLE if findings else Code.OK


def _flat(files: Sequence[Path]) -> Iterable[Path]:
    """Files as they are, folders as the YAML files below them."""
    for file in files:
        if file.is_dir():
            yield from sorted(p for p in file.rglob("*.y*ml") if p.suffix in (".yaml", ".yml"))
        else:
            yield file


def _sum_up(
    documents: Sequence[Document],
    checked: Sequence[Document],
    findings: Sequence[Finding],
    rules: object | None,
) -> None:
    if findings:
        warn(f"{len(findings)} finding{'s' if len(findings) > 1 else ''}.")
    else:
        warn(f"{', '.join(one.name for one in checked)}: nothing to object to.")
    passed_over = sorted({one.kind or "no object" for one in documents if one.kind not in _KINDS})
    if passed_over:
        warn(f"Passed over: {', '.join(passed_over)}.")
    if rules is None and any(one.kind == "ModelHandoff" for one in checked):
        warn(
            "Without --policy: the metric source, registries and limits of a policy are not "
            "checked."
        )


def read(file: Path) -> tuple[list[Document], list[Finding]]:
    """The documents of a file, and what is wrong with its YAML itself."""
    shown = "<stdin>" if str(file) == "-" else str(file)
    text = _text(file, shown)
    loader = yaml.SafeLoader(text)
    documents, findings = [], []
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is None:
                continue
            findings += [
                Finding(
                    shown,
                    line,
                    "YAML",
                    path,
                    f"{path}: the key stands twice; got {key}; allowed once",
                )
                for path, key, line in _twice(node, "")
            ]
            value = loader.construct_document(node)
            if value is not None:
                documents.append(Document(shown, value, node))
    except yaml.YAMLError as failure:
        mark = getattr(failure, "problem_mark", None) or getattr(failure, "context_mark", None)
        told = getattr(failure, "problem", None) or "broken"
        line = mark.line + 1 if mark else 1
        findings.append(Finding(shown, line, "YAML", "", f"not YAML: {cut(told, 160)}"))
    except (RecursionError, ValueError) as failure:
        findings.append(Finding(shown, 1, "YAML", "", f"not usable YAML: {cut(failure, 160)}"))
    finally:
        loader.dispose()
    return documents, findings


def _text(file: Path, shown: str) -> str:
    try:
        data = sys.stdin.buffer.read(MAX_BYTES + 1) if str(file) == "-" else _bytes(file)
    except OSError as failure:
        raise Trouble(
            f"{shown}: cannot be read; got {failure.strerror or failure}; allowed a YAML file"
        ) from None
    if len(data) > MAX_BYTES:
        raise Trouble(f"{shown}: too large; allowed at most {MAX_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        raise Trouble(f"{shown}: not UTF-8 text; got {failure.reason}; allowed YAML") from None


def _bytes(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(MAX_BYTES + 1)


def _twice(node: yaml.Node, path: str, depth: int = 0) -> Iterable[tuple[str, str, int]]:
    """Keys that stand twice in one mapping: YAML readers keep the last and say nothing."""
    if depth > 40:
        return
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            below = f"{path}.{name}" if path else name
            if name in seen and name != "<<":
                yield below, name, key.start_mark.line + 1
            seen.add(name)
            yield from _twice(value, below, depth + 1)
    elif isinstance(node, yaml.SequenceNode):
        for at, item in enumerate(node.value):
            yield from _twice(item, f"{path}[{at}]", depth + 1)


def check(document: Document, policy: Any) -> list[Finding]:
    """What is wrong with one handoff or policy."""
    if document.kind == "HandoffPolicy":
        return [_finding(document, error) for error in _policy_errors(document.value)]
    return [_finding(document, error) for error in handoff_errors(document.value, policy)]


def handoff_errors(manifest: Mapping[str, Any], policy: Any) -> list[InvalidInputError]:
    """Shape and rules first; what the policy forbids once the spec is sound."""
    from modelhandoff.api import resolve
    from modelhandoff.api.policy import PolicySpec
    from modelhandoff.api.policy_check import policy_violations

    errors = resolve.check(manifest, policy)
    if errors:
        return errors
    try:
        spec = resolve.resolve(manifest["spec"], policy)
    except InvalidSpecError as failure:
        return failure.errors
    if policy is None:
        return policy_violations(spec, PolicySpec(), other_sources={spec.monitoring.source})
    space = manifest.get("metadata", {}).get("namespace")
    return policy_violations(spec, policy, namespace=space if isinstance(space, str) else "")


def _policy_errors(manifest: Mapping[str, Any]) -> list[InvalidInputError]:
    from pydantic import ValidationError

    from modelhandoff.api.names import API_VERSION
    from modelhandoff.api.policy import PolicySpec
    from modelhandoff.api.resolve import lines
    from modelhandoff.api.schema import structural

    errors = []
    if manifest.get("apiVersion") != API_VERSION:
        got = manifest.get("apiVersion") or "nothing"
        errors.append(InvalidInputError("apiVersion", "another kind", got, API_VERSION))
    spec = manifest.get("spec")
    if spec is None:
        return errors
    if not isinstance(spec, dict):
        return [*errors, InvalidInputError("spec", "not an object", spec, "an object")]
    try:
        PolicySpec.model_validate(spec)
    except ValidationError as failure:
        errors += lines(failure, spec, "spec", structural(PolicySpec))
    return errors


def _policy(file: Path) -> Any:
    """The one HandoffPolicy of a file.

    Raises:
        Trouble: there is none, more than one, or it is wrong itself.
    """
    from modelhandoff.api.policy import PolicySpec

    documents, broken = read(file)
    found = [one for one in documents if one.kind == "HandoffPolicy"]
    if broken:
        raise Trouble("\n".join(map(str, broken)))
    if len(found) != 1:
        kinds = ", ".join(one.kind or "no object" for one in documents) or "nothing"
        raise Trouble(f"--policy: {file}: needs exactly one HandoffPolicy; got {cut(kinds)}")
    wrong = check(found[0], None)
    if wrong:
        raise Trouble("\n".join(f"--policy: {one}" for one in wrong))
    return PolicySpec.model_validate(found[0].value.get("spec") or {})


def _finding(document: Document, error: InvalidInputError) -> Finding:
    line = _line_of(document.node, error.path)
    return Finding(document.file, line, document.name, error.path, str(error))


def _line_of(node: yaml.Node, path: str) -> int:
    """Line of a field; of the nearest block around it when the field is not there."""
    line = node.start_mark.line + 1
    for name, index in _STEP.findall(path):
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if str(k.value) == name), None)
            if pair is None:
                return line
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and index and int(index) < len(node.value):
            node = node.value[int(index)]
            line = node.start_mark.line + 1
        else:
            return line
    return line
