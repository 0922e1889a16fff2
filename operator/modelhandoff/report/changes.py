"""What changed: the frozen candidate, beside what served before where the export has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from modelhandoff.analysis import wording
from modelhandoff.api import names
from modelhandoff.errors import cut
from modelhandoff.report.document import Code, Line, Mark, Row, Table, Tone
from modelhandoff.report.export import Attempt, Export

_MOST: Final = 1000
"""Characters of a command or of an environment."""


def changes(export: Export) -> Table:
    """One row per property; with the baseline's attempt at hand, a column says what was."""
    attempt, before = export.attempt, export.baseline_attempt
    now = dict(_properties(attempt))
    if before is None:
        return Table(
            ("", attempt.version),
            tuple(Row(((name,), line)) for name, line in now.items()),
        )
    was = dict(_properties(before))
    rows = []
    for name in {**was, **now}:
        old, new = was.get(name, ("none",)), now.get(name, ("none",))
        if old == new:
            rows.append(Row(((name,), ("the same",), new)))
        else:
            changed: Line = (Mark("changed", Tone.WAIT), " ")
            rows.append(Row(((name,), old, (*changed, *new)), Tone.WAIT))
    return Table(("", f"Before: {before.version}", f"Now: {attempt.version}"), tuple(rows))


def _properties(attempt: Attempt) -> Iterator[tuple[str, Line]]:
    candidate = attempt.spec.candidate
    serving, model = candidate.serving, candidate.model
    yield "Model", (f"{model.name} {model.version}, {model.format}",)
    yield "Revision", (Code(names.revision_label(attempt.revision)),)
    seen: dict[str, int] = {}
    for one in candidate.artifacts:
        seen[one.role] = seen.get(one.role, 0) + 1
        number = f" {seen[one.role]}" if seen[one.role] > 1 else ""
        file = one.uri.split("?")[0].rstrip("/").rsplit("/", 1)[-1]
        yield f"File: {one.role}{number}", (Code(cut(file)), " ", Code(one.digest))
    yield "Image", (Code(serving.image),)
    yield "GPU", (_gpu(attempt),)
    yield "Pods at full traffic", (str(serving.replicas),)
    yield "CPU and memory", (f"{serving.resources.cpu}, {serving.resources.memory}",)
    if serving.command or serving.args:
        yield "Command", (Code(cut(" ".join((*serving.command, *serving.args)), _MOST)),)
    if serving.env:
        yield (
            "Environment",
            (Code(cut(" ".join(f"{one.name}={one.value}" for one in serving.env), _MOST)),),
        )
    source = candidate.provenance
    yield "Trained from", (Code(source.git.commit), f" of {source.git.repo}")
    if source.data is not None:
        yield "Trained on", (Code(source.data.digest), f" {source.data.uri}")
    if source.seed is not None:
        yield "Seed", (str(source.seed),)
    elif source.nondeterministic is not None:
        yield "Seed", (f"none: {source.nondeterministic.reason}",)
    made = source.environment
    yield "Training environment", (Code(made.image or made.lockfile or "-"),)


def _gpu(attempt: Attempt) -> str:
    gpu = attempt.spec.candidate.serving.gpu
    if gpu is None:
        return "none"
    return f"{wording.count(gpu.count)} x {', '.join(gpu.product or ()) or gpu.resource} per pod"
