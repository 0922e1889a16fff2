"""The server's own warm-up: ready means that the model has answered, not that it was loaded.

The first calls of a model allocate its arenas and pick its kernels; on a GPU they may take
seconds. The warm-up also finds out by trial whether rows are independent of each other, because
a graph that mixes rows (a softmax over the wrong axis, say) must never see joined requests.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from modelhandoff.serve.contract import Contract, named_rows
from modelhandoff.serve.model import ModelFailed, Runnable
from modelhandoff.serve.refusals import Refused
from modelhandoff.serve.tensors import FLOATS, NUMPY_OF, Array, Feeds, TensorSpec, decode_request

MAX_EXAMPLES = 200
ENOUGH = 3.0
_RTOL, _ATOL = 1e-3, 1e-4


class BadExamples(Exception):
    """The example requests do not fit the model; the message is one line."""


@dataclass(frozen=True, slots=True)
class WarmedUp:
    """What the warm-up saw.

    Attributes:
        calls: calls of the model made.
        failures: how many of them failed.
        joins_rows: rows proved independent, so requests may share a call.
        last_failure: the model's words at the last failure.
    """

    calls: int
    failures: int
    joins_rows: bool
    last_failure: str | None


def read_examples(path: Path, contract: Contract, *, max_rows: int) -> list[Feeds]:
    """Decoded requests from a JSON-lines file of ``{"request": <body>, ...}``.

    A body is what either route takes: Open Inference v2 or named features. Reads the first 200
    lines; blank lines are skipped.

    Raises:
        BadExamples: unreadable, no JSON, or a request this model would refuse.
    """
    try:
        with path.open(encoding="utf-8") as file:
            lines = list(islice(file, MAX_EXAMPLES))
    except (OSError, UnicodeDecodeError) as error:
        raise BadExamples(f"{path}: cannot be read; got {error}") from None
    examples = [
        _example(line, f"{path}:{number}", contract, max_rows)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not examples:
        raise BadExamples(f"{path}: holds no example request")
    return examples


def _example(line: str, where: str, contract: Contract, max_rows: int) -> Feeds:
    try:
        document = json.loads(line)
    except ValueError as error:
        raise BadExamples(f"{where}: not JSON; got {error}") from None
    body = document.get("request") if isinstance(document, dict) else None
    try:
        if isinstance(body, dict) and "inputs" not in body:
            named = named_rows(body, max_rows=max_rows)
            return contract.feeds_from_rows(named.rows, named.paths)
        return decode_request(body, contract.inputs, max_rows=max_rows)
    except Refused as error:
        raise BadExamples(f"{where}: request: {error}") from None


def synthetic_examples(contract: Contract, count: int = 4) -> list[Feeds]:
    """Requests made from the graph alone: the middle of each feature's bins, else small numbers.

    They exercise the graph; they say nothing about its answers.
    """
    noise = np.random.default_rng(0)
    examples: list[Feeds] = []
    for _ in range(count):
        feeds = {spec.name: _synthetic(spec, noise) for spec in contract.inputs}
        for feature in contract.features:
            array = feeds[feature.input]
            if array.dtype == np.object_:
                continue
            middle = feature.edges[len(feature.edges) // 2]
            array.reshape(array.shape[0] if array.ndim else 1, -1)[:, feature.column or 0] = middle
        examples.append(feeds)
    return examples


def _synthetic(spec: TensorSpec, noise: np.random.Generator) -> Array:
    shape = tuple(1 if dim is None else dim for dim in spec.shape)
    if spec.datatype == "BYTES":
        return np.full(shape, "", dtype=np.object_)
    if spec.datatype in FLOATS:
        return noise.normal(0.0, 0.1, shape).astype(NUMPY_OF[spec.datatype])
    return np.zeros(shape, dtype=NUMPY_OF[spec.datatype])


def warm_up(
    model: Runnable,
    examples: Sequence[Feeds],
    calls: int,
    *,
    enough: float = ENOUGH,
    clock: Callable[[], float] = time.monotonic,
) -> WarmedUp:
    """Call the model at least once per kind of call it will see. Blocks.

    Args:
        model: the model.
        examples: requests to cycle through, at least one.
        calls: single calls to make.
        enough: seconds after which no further single call is made: a slow model is as warm after
            a few calls as a fast one after many.
        clock: monotonic seconds.
    """
    failures = made = 0
    last_failure: str | None = None
    end = clock() + enough
    while made == 0 or (made < calls and clock() < end):
        try:
            model.run(examples[made % len(examples)])
        except ModelFailed as error:
            failures += 1
            last_failure = str(error)
        made += 1
    return WarmedUp(made, failures, _rows_are_independent(model, examples), last_failure)


def _rows_are_independent(model: Runnable, examples: Sequence[Feeds]) -> bool:
    if not all(spec.has_rows for spec in (*model.inputs, *model.outputs)):
        return False
    for first, second in zip(examples, (*examples[1:], examples[0]), strict=True):
        try:
            alone = [model.run(first), model.run(second)]
            joined = model.run(
                {name: np.concatenate([first[name], second[name]]) for name in first}
            )
        except (ModelFailed, ValueError):
            continue  # one of the two is an input the model fails on: try the next pair
        return all(
            _same(np.concatenate([alone[0][name], alone[1][name]]), joined[name]) for name in joined
        )
    return False


def _same(expected: Any, got: Any) -> bool:
    if expected.shape != got.shape:
        return False
    if expected.dtype.kind in "fc":
        return bool(np.allclose(got, expected, rtol=_RTOL, atol=_ATOL, equal_nan=True))
    return bool(np.array_equal(got, expected))
