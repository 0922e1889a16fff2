"""Golden cases: requests with the answers that were computed when the model was trained.

Every line of the file is ``{"request": <body>, "response": {"outputs": [{"name", "data"}]}}``,
optionally with a ``name``. A request is what the server takes, Open Inference v2 tensors or rows
of named features, and is read by the server's own code.
"""

from __future__ import annotations

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
from modelhandoff.serve.tensors import Feeds, decode_request
from modelhandoff.verify.bundle import read_lines
from modelhandoff.verify.cases import named_case, right_outputs
from modelhandoff.verify.findings import Failed, Found
from modelhandoff.verify.tolerance import Judge

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
        place, body = named_case(where, document)
        try:
            yield Case(place, body, _feeds(body, contract), document.get("response"))
        except Refused as refused:
            raise Failed(f"{place}: the server would refuse it: {refused}") from None


def _feeds(body: Any, contract: Contract) -> Feeds:
    if isinstance(body, dict) and "inputs" in body:
        return decode_request(body, contract.inputs, max_rows=MAX_ROWS)
    named = named_rows(body, max_rows=MAX_ROWS)
    return contract.feeds_from_rows(named.rows, named.paths)


def golden_cases(path: Path, model: Runnable, contract: Contract, smoke: Smoke) -> Found:
    """The model gives the right answer to every case.

    Raises:
        Failed: it does not, or fails on a request, or the file is no file of cases. The line names
            the first wrong case and how many are wrong.
    """
    judge = Judge(smoke)
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
    message = f"{cases} golden cases with {judge.values} values are right; {judge.said}."
    numbers = {"cases": cases, "values": judge.values, "worstShareOfTolerance": judge.worst}
    return Found(message, numbers)


def _answered(case: Case, model: Runnable, judge: Judge) -> str:
    """What is wrong with the model's answer to one case; "" when nothing is."""
    outputs = right_outputs(case.where, case.response)
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
        found = np.asarray(answer[name])
        problem = judge.wrong(name, list(found.shape), found.ravel().tolist(), expected)
        if problem:
            return problem
    return ""
