"""Candidate and baseline answer the rows of the test set, the same ones, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelhandoff.api.acceptance import Acceptance, Quality
from modelhandoff.errors import cut
from modelhandoff.serve.model import ModelFailed, Runnable
from modelhandoff.serve.reference import Reference
from modelhandoff.serve.refusals import Refused
from modelhandoff.serve.tensors import Feeds, TensorSpec, decode_data
from modelhandoff.verify.findings import CheckEnded, Failed
from modelhandoff.verify.testset import Row, read_rows

BATCH: Final = 1024
Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Layout:
    """Which column of the test set fills which place of a model's inputs.

    Attributes:
        inputs: tensors of the model, each with the columns of one row in their order.
        rows: how many rows go into one call.
    """

    inputs: tuple[tuple[TensorSpec, tuple[str, ...]], ...]
    rows: int

    def feeds(self, batch: Sequence[Row]) -> Feeds:
        """Tensors of some rows.

        Raises:
            Failed: a row lacks a column, or holds a value that its input cannot carry.
        """
        feeds: Feeds = {}
        for spec, columns in self.inputs:
            data = [row.typed(column, spec.datatype) for row in batch for column in columns]
            first = (len(batch),) if spec.shape else ()
            shape = (*first, *(dim or 1 for dim in spec.shape[1:]))
            width = len(columns)

            def where(index: int, width: int = width, named: Sequence[str] = columns) -> str:
                return f"{batch[index // width].where}: {named[index % width]}"

            try:
                feeds[spec.name] = decode_data(spec, shape, data, where)
            except Refused as refused:
                raise Failed(str(refused)) from None
        return feeds


def layout(
    inputs: Sequence[TensorSpec], reference: Reference | None, features: Sequence[str], whose: str
) -> Layout:
    """Where a model's features lie: by its reference file, by name, or in order.

    Args:
        inputs: of the model.
        reference: its reference file, where there is one.
        features: of its data contract, in their order; none without one.
        whose: the model, for messages.

    Raises:
        Failed: a value of an input has no column, or nobody knows which.
    """
    widths = {spec.name: _width(spec) for spec in inputs}
    if reference is not None and reference.features:
        known = {(f.input, f.column or 0): f.name for f in reference.features}
    elif all(name in widths for name in features) and features:
        known = {(name, 0): name for name in features}
    elif len(inputs) == 1 and widths[inputs[0].name] == len(features):
        known = {(inputs[0].name, column): name for column, name in enumerate(features)}
    else:
        known = {} if features else {(name, 0): name for name in widths}
    for name, width in widths.items():
        for column in range(width):
            if (name, column) not in known:
                raise Failed(
                    f"acceptance.testSet: which column is {name}[{column}] of {whose}? allowed an "
                    "artifact with role Reference that names every feature, or contracts.data "
                    f"with all {sum(widths.values())} features in their order"
                )
    first = inputs[0].shape[0] if inputs and inputs[0].shape else 1
    if first is not None and first > 1:
        raise Failed(f"acceptance.testSet: {whose} takes {first} rows at once; allowed any number")
    return Layout(
        tuple(
            (spec, tuple(known[spec.name, column] for column in range(widths[spec.name])))
            for spec in inputs
        ),
        BATCH if all(spec.has_rows for spec in inputs) else 1,
    )


def _width(spec: TensorSpec) -> int:
    found = 1
    for dim in spec.shape[1:]:
        found *= dim or 1
    return found


@dataclass(slots=True)
class Player:
    """A model that answers rows.

    Attributes:
        name: what messages call it.
        blame: what is raised when it fails: only the candidate is to blame for itself.
        classes: whether its answers are positions of the largest number, and no scores.
    """

    name: str
    model: Runnable
    layout: Layout
    acceptance: Acceptance
    blame: type[CheckEnded]
    classes: bool = False

    def scores(self, batch: Sequence[Row]) -> Floats:
        """The judged number of each row, (n,), or the class that it comes to.

        Raises:
            CheckEnded: the model fails on a row, or answers no number.
        """
        answers = np.concatenate(
            [
                self._answers(batch[at : at + self.layout.rows])
                for at in range(0, len(batch), self.layout.rows)
            ]
        )
        bad = ~np.isfinite(answers).all(axis=1)
        if bad.any():
            row = int(bad.argmax())
            got = answers[row][~np.isfinite(answers[row])][0]
            raise self.blame(f"{batch[row].where}: {self.name} answers no number; got {got}")
        column = self.acceptance.judged.column
        if answers.shape[1] == 1 or column is not None:
            return answers[:, column or 0]
        metrics = self.acceptance.offline or ()
        if any(m.metric is not Quality.ACCURACY for m in metrics):
            raise Failed(
                f"acceptance.testSet.column: {self.name} answers with several numbers per row; "
                f"got nothing; allowed 0..{answers.shape[1] - 1}"
            )
        self.classes = True
        found: Floats = answers.argmax(axis=1).astype(np.float64)
        return found

    def _answers(self, batch: Sequence[Row]) -> Floats:
        feeds = self.layout.feeds(batch)
        try:
            outputs = self.model.run(feeds)
        except ModelFailed as failed:
            if len(batch) == 1:
                raise self.blame(
                    f"{batch[0].where}: {self.name} fails on this row; got {failed}"
                ) from None
            # One of them is the culprit: find and name it.
            return np.concatenate([self._answers([row]) for row in batch])
        answer = np.asarray(outputs[self.output])
        if answer.dtype.kind not in "fiub":
            raise self.blame(f"{self.name}: output {self.output} holds no numbers")
        if answer.size == 0 or answer.size % len(batch):
            raise self.blame(
                f"{self.name}: output {self.output} does not have one row per row; "
                f"got shape {list(answer.shape)} for {len(batch)} rows"
            )
        flat: Floats = answer.reshape(len(batch), -1).astype(np.float64)
        column = self.acceptance.judged.column
        if column is not None and column >= flat.shape[1]:
            raise Failed(
                f"acceptance.testSet.column: {self.name} has no such number; "
                f"got {column}; allowed 0..{flat.shape[1] - 1}"
            )
        return flat

    @property
    def output(self) -> str:
        """Name of the judged output.

        Raises:
            Failed: there is no such output, or several and none is named.
        """
        there = [spec.name for spec in self.model.outputs]
        named = self.acceptance.judged.output
        if named is None and len(there) == 1:
            return there[0]
        if named not in there:
            got = "nothing" if named is None else named
            raise Failed(
                f"acceptance.testSet.output: {self.name} has no such output; got {got}; "
                f"allowed {cut(', '.join(there), 160)}"
            )
        return str(named)


@dataclass(frozen=True, slots=True)
class Column:
    """Values of one column as codes of the words."""

    codes: Codes
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model said to each row, (n,): scores, or classes."""

    values: Floats
    classes: bool = False


@dataclass(frozen=True, slots=True)
class Scored:
    """A test set with what the models answered.

    Attributes:
        file: name of its file.
        label, weight: of each row, (n,).
        candidate: its answers.
        baseline: likewise; ``None`` where there is none to compare with.
        columns: those that queries and clusters are read from.
    """

    file: str
    label: Floats
    weight: Floats
    candidate: Answers
    baseline: Answers | None
    columns: Mapping[str, Column]


def named_columns(acceptance: Acceptance) -> frozenset[str]:
    """Columns whose values are kept as they are: queries and clusters."""
    found: set[str | None] = set()
    for metric in acceptance.offline or ():
        found.add(metric.cluster_by)
        if metric.k is not None:
            found.add(acceptance.judged.query)
    return frozenset(name for name in found if name is not None)


def scored(
    path: Path, acceptance: Acceptance, candidate: Player, baseline: Player | None
) -> Scored:
    """Read the test set once, and let both models answer it.

    Raises:
        CheckEnded: a row that cannot be read, or that a model does not answer.
    """
    judged = acceptance.judged
    label: list[float] = []
    weight: list[float] = []
    ours: list[Floats] = []
    theirs: list[Floats] = []
    words: dict[str, dict[str, int]] = {name: {} for name in sorted(named_columns(acceptance))}
    codes: dict[str, list[int]] = {name: [] for name in words}
    for batch in _batches(read_rows(path), BATCH):
        for row in batch:
            label.append(row.number(judged.label))
            weight.append(1.0 if judged.weight is None else _weight(row, judged.weight))
            for name, known in words.items():
                codes[name].append(known.setdefault(row.word(name), len(known)))
        ours.append(candidate.scores(batch))
        if baseline is not None:
            theirs.append(baseline.scores(batch))
    return Scored(
        path.name,
        np.array(label),
        np.array(weight),
        Answers(np.concatenate(ours), candidate.classes),
        None if baseline is None else Answers(np.concatenate(theirs), baseline.classes),
        {
            name: Column(np.array(codes[name], dtype=np.intp), tuple(known))
            for name, known in words.items()
        },
    )


def _weight(row: Row, column: str) -> float:
    found = row.number(column)
    if found < 0.0:
        raise Failed(f"{row.where}: {column}: a weight below 0; got {found:g}")
    return found


def _batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    waiting = iter(rows)
    while batch := list(islice(waiting, size)):
        yield batch
