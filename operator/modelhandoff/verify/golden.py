"""Golden cases: requests with the answers that were computed when the model was trained.

Every line of the file is ``{"request": <body>, "response": {"outputs": [{"name", "data"}]}}``,
optionally with a ``name``. A request is what the server takes, Open Inference v2 tensors or rows
of named features, and is read by the server's own code.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelhandoff.api.acceptance import Smoke
from modelhandoff.errors import cut
from modelhandoff.serve.contract import Contract, named_rows
from modelhandoff.serve.model import ModelFailed, Runnable
from modelhandoff.serve.refusals import Refused
from modelhandoff.serve.tensors import Array, Feeds, decode_request
from modelhandoff.verify.bundle import read_lines
from modelhandoff.verify.findings import Failed, Found

MAX_ROWS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Case:
    """One line: where it stands, its request as JSON and as tensors, its answer as JSON."""

    where: str
    body: Any
    feeds: Feeds
    response: Any


def read_cases(path: Path, contract: Contract) -> Iterator[Case]:
    """The cases of a file, decoded for a model.

    Raises:
        Failed: a line is no case, or its request is one that the server would refuse.
    """
    for where, document in read_lines(path):
        if not isinstance(document, dict) or "request" not in document:
            raise Failed(f'{where}: no case; got {cut(document)}; allowed {{"request": ...}}')
        name = document.get("name")
        place = f"{where} ({cut(name, 60)})" if isinstance(name, str) and name else where
        body = document["request"]
        try:
            yield Case(place, body, _feeds(body, contract), document.get("response"))
        except Refused as refused:
            raise Failed(f"{place}: the server would refuse it: {refused}") from None


def _feeds(body: Any, contract: Contract) -> Feeds:
    if isinstance(body, dict) and "inputs" in body:
        return decode_request(body, contract.inputs, max_rows=MAX_ROWS)
    named = named_rows(body, max_rows=MAX_ROWS)
    return contract.feeds_from_rows(named.rows, named.paths)


class _Judge:
    """Compares answers with a tolerance, and remembers the worst of them."""

    def __init__(self, smoke: Smoke) -> None:
        self._smoke = smoke
        self.values = 0
        self.worst = 0.0
        """Largest difference, as a share of what is allowed."""

    def wrong(self, name: str, got: Array, expected: dict[str, Any]) -> str:
        """What is wrong with one output, as the rest of a line; "" when nothing is."""
        shape = expected.get("shape")
        if shape is not None and list(got.shape) != shape:
            return f"output {name} has another shape; got {list(got.shape)}; allowed {cut(shape)}"
        wanted = _flat(expected.get("data"))
        if wanted is None or len(wanted) != got.size:
            count = "no list" if wanted is None else f"{len(wanted)} values"
            return f"output {name} does not fit its answer; got {got.size} values; allowed {count}"
        self.values += got.size
        width = int(got.shape[-1]) if got.ndim > 1 else 1
        if self._smoke.top_k is not None and width > 1:
            return self._ranked(name, got, wanted, width)
        for index, (value, right) in enumerate(zip(got.ravel().tolist(), wanted, strict=True)):
            problem = self._differs(value, right)
            if problem:
                return f"output {name}[{index}] is wrong; got {cut(value)}; allowed {problem}"
        return ""

    def _differs(self, value: Any, right: Any) -> str:
        """What would be allowed instead; "" when the value is right enough."""
        if _number(right) and _number(value):
            allowed = self._allowed(float(right))
            difference = abs(float(value) - float(right))
            if allowed > 0.0 and math.isfinite(difference):
                self.worst = max(self.worst, difference / allowed)
            # Not <=: a difference that is no number is none that is allowed.
            return "" if difference <= allowed else f"{right:g} +- {allowed:.3g}"
        absent = right is None and isinstance(value, float) and math.isnan(value)
        return "" if absent or (type(value) is type(right) and value == right) else cut(right)

    def _allowed(self, right: float) -> float:
        return self._smoke.abs_tolerance + self._smoke.rel_tolerance * abs(right)

    def _ranked(self, name: str, got: Array, wanted: list[Any], width: int) -> str:
        k = min(self._smoke.top_k or 1, width)
        if got.dtype.kind not in "fiu" or not all(_number(value) for value in wanted):
            return f"output {name} has no order; got {got.dtype}; allowed numbers"
        right = np.array(wanted, dtype=np.float64).reshape(-1, width)
        rows = got.astype(np.float64).reshape(-1, width)
        if not np.isfinite(rows).all():
            return f"output {name} has no order; got a value that is not finite"
        for row, (value, answer) in enumerate(zip(rows, right, strict=True)):
            ours = np.argsort(-value, kind="stable")[:k]
            theirs = np.argsort(-answer, kind="stable")[:k]
            for rank, (mine, best) in enumerate(zip(ours, theirs, strict=True)):
                # Positions whose right numbers are equal within the tolerance may change places.
                gap = abs(float(answer[mine]) - float(answer[best]))
                if mine != best and gap > self._allowed(float(answer[best])):
                    return (
                        f"output {name} row {row} ranks another position {rank + 1}; "
                        f"got {int(mine)}; allowed {int(best)}"
                    )
        return ""


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _flat(data: Any) -> list[Any] | None:
    """Values of flat or nested data, in order; ``None`` when it is no list."""
    if not isinstance(data, list):
        return None
    flat: list[Any] = data
    while flat and all(isinstance(item, list) for item in flat):
        flat = [value for item in flat for value in item]
    return flat


def golden_cases(path: Path, model: Runnable, contract: Contract, smoke: Smoke) -> Found:
    """The model gives the right answer to every case.

    Raises:
        Failed: it does not, or fails on a request, or the file is no file of cases. The line names
            the first wrong case and how many are wrong.
    """
    judge = _Judge(smoke)
    cases = 0
    wrong: list[str] = []
    for case in read_cases(path, contract):
        cases += 1
        problem = _answered(case, model, judge)
        if problem:
            wrong.append(f"{case.where}: {problem}")
    if wrong:
        count = f" ({len(wrong)} of {cases} cases are wrong)"
        raise Failed(wrong[0] + count, cases=cases, wrong=len(wrong), values=judge.values)
    message = (
        f"{cases} golden cases with {judge.values} values are right; "
        f"the largest difference is {100 * judge.worst:.3g} % of what is allowed."
    )
    numbers = {"cases": cases, "values": judge.values, "worstShareOfTolerance": judge.worst}
    return Found(message, numbers)


def _answered(case: Case, model: Runnable, judge: _Judge) -> str:
    """What is wrong with the model's answer to one case; "" when nothing is."""
    outputs = case.response.get("outputs") if isinstance(case.response, dict) else None
    if not isinstance(outputs, list) or not outputs:
        raise Failed(f'{case.where}: no right answer; allowed {{"response": {{"outputs": [...]}}}}')
    try:
        answer = model.run(case.feeds)
    except ModelFailed as failed:
        return f"the model failed; got {failed}"
    for index, expected in enumerate(outputs):
        name = expected.get("name") if isinstance(expected, dict) else None
        if not isinstance(name, str) or name not in answer:
            raise Failed(
                f"{case.where}: response.outputs[{index}].name: the model has no such output; "
                f"got {cut(name)}; allowed {cut(', '.join(answer), 200)}"
            )
        problem = judge.wrong(name, np.asarray(answer[name]), expected)
        if problem:
            return problem
    return ""
