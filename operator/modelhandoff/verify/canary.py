"""Whether the pods of a candidate keep what their handoff promises, before any traffic.

Every pod is asked by itself, over HTTP, as a caller would ask it: golden cases, headers, refusals,
repeated requests. A pod that does not answer at all breaks no promise: that is for the warm-up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from modelhandoff.api.acceptance import Smoke
from modelhandoff.api.checks import CheckName, CheckState, CheckStatus
from modelhandoff.api.promises import Promises
from modelhandoff.errors import cut
from modelhandoff.verify.api_contract import Spoken, spoken
from modelhandoff.verify.bundle import read_lines
from modelhandoff.verify.cases import named_case, right_outputs
from modelhandoff.verify.findings import CheckEnded, Failed, Found, made, status
from modelhandoff.verify.sending import Answer, Exchange
from modelhandoff.verify.synthetic import Unmakable, synthetic_requests
from modelhandoff.verify.tolerance import Judge, flat

MAX_AT_ONCE: Final = 8
MAX_UNJUDGED: Final = 100
"""Most requests that are sent to a pod only for their headers and the schema of their answers."""
MAX_BAD: Final = 100
REPEATED: Final = 3
MADE_UP: Final = 3
PAUSE: Final = 1.0
_BUSY: Final = frozenset({0, 429, 503})


class Unreachable(Exception):
    """A pod has not answered in time; the message is one line."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod: its name, and a way to it."""

    name: str
    send: Exchange


@dataclass(frozen=True, slots=True)
class Errand:
    """What to ask every pod, and how long.

    Attributes:
        directory: where the files lie.
        method, path: of the contract.
        metadata_path: where the model's Open Inference v2 metadata lies.
        run: no other run has this text; keys are made of it.
        deadline: on ``clock``.
    """

    promises: Promises
    directory: Path
    method: str
    path: str
    metadata_path: str
    run: str
    deadline: float
    clock: Callable[[], float]
    sleep: Callable[[float], None]


@dataclass(slots=True)
class Seen:
    """What came of one pod."""

    pod: str
    judge: Judge
    cases: int = 0
    wrong: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def check_pods(errand: Errand, pods: Sequence[Pod]) -> tuple[CheckStatus, ...]:
    """The checks that were asked for, made on every pod.

    Raises:
        Unreachable: a pod did not answer until the deadline.
    """
    promises = errand.promises
    has_contract = bool(
        promises.contract
        or promises.errors
        or promises.idempotency_header
        or promises.request_id_header
        or promises.version_header
    )
    names = [CheckName.CANARY_GOLDEN_CASES] if promises.smoke else []
    names += [CheckName.CANARY_CONTRACT] if has_contract else []
    try:
        said = spoken(errand.directory / promises.contract) if promises.contract else None
        with ThreadPoolExecutor(min(MAX_AT_ONCE, len(pods))) as threads:
            seen = list(threads.map(lambda pod: _Visit(errand, pod, said).all(), pods))
    except CheckEnded as ended:
        # A file that cannot be used: no pod could be asked.
        first, *rest = names
        skipped = (status(n, CheckState.SKIPPED, "Not made: see the check before.") for n in rest)
        return (status(first, ended.state, str(ended), ended.numbers), *skipped)
    results: dict[CheckName, Callable[[], Found]] = {
        CheckName.CANARY_GOLDEN_CASES: lambda: _golden(seen),
        CheckName.CANARY_CONTRACT: lambda: _contract(promises, seen),
    }
    return tuple(made(name, results[name]) for name in names)


def _golden(seen: Iterable[Seen]) -> Found:
    found = list(seen)
    cases, values = sum(s.cases for s in found), sum(s.judge.values for s in found)
    for one in found:
        if one.wrong:
            count = f" ({len(one.wrong)} of {one.cases} cases are wrong on pod {one.pod})"
            wrong = sum(len(s.wrong) for s in found)
            raise Failed(one.wrong[0] + count, cases=cases, wrong=wrong, pods=len(found))
    worst = max(found, key=lambda s: s.judge.worst)
    message = f"{_pods(found)} answered {found[0].cases} golden cases right; {worst.judge.said}."
    numbers = {"cases": cases, "values": values, "pods": len(found)}
    return Found(message, {**numbers, "worstShareOfTolerance": worst.judge.worst})


def _contract(promises: Promises, seen: Iterable[Seen]) -> Found:
    found = list(seen)
    for one in found:
        if one.broken:
            broken = sum(len(s.broken) for s in found)
            raise Failed(f"{one.broken[0]} (pod {one.pod})", broken=broken, pods=len(found))
    kept = [
        what
        for what, asked in (
            ("request id", promises.request_id_header),
            ("version header", promises.version_header),
            ("repeated requests", promises.idempotency_header),
            ("refusals of bad requests", promises.errors),
            ("response schema", promises.contract),
        )
        if asked
    ]
    message = f"{_pods(found)} kept what is promised: {', '.join(kept)}."
    return Found(message, {"requests": sum(s.cases for s in found), "pods": len(found)})


def _pods(seen: Sequence[Seen]) -> str:
    return f"{len(seen)} pod{'s' if len(seen) != 1 else ''}"


class _Visit:
    """All questions to one pod."""

    def __init__(self, errand: Errand, pod: Pod, said: Spoken | None) -> None:
        self._errand = errand
        self._promises = errand.promises
        self._pod = pod
        self._said = said
        self._seen = Seen(pod.name, Judge(errand.promises.smoke or Smoke()))
        self._asked = 0

    def all(self) -> Seen:
        """Ask everything once."""
        for number, (where, path, body, response) in enumerate(self._requests()):
            self._seen.cases += 1
            answer = self._ask(path, body, _BUSY)
            self._traced(where, answer)
            if not answer.good:
                problem = f"{where}: is not answered; got {cut(answer.failure, 200)}"
                self._seen.wrong.append(problem)
                if self._promises.smoke is None:
                    self._seen.broken.append(problem)
                continue
            self._judged(where, json.loads(answer.body), response)
            if number < REPEATED and self._promises.idempotency_header:
                self._repeat(where, path, body)
        if not self._seen.cases:
            raise Failed("contracts.api: there is no good request to send; allowed one in the file")
        if self._promises.errors:
            self._refusals(self._promises.errors)
        return self._seen

    def _requests(self) -> Iterator[tuple[str, str, Any, Any]]:
        """Where each stands, its path, its body, and the case's answer."""
        path = self._errand.path
        if self._promises.golden:
            limit = None if self._promises.smoke else MAX_UNJUDGED
            lines = read_lines(self._errand.directory / self._promises.golden)
            for where, document in islice(lines, limit):
                place, body = named_case(where, document)
                yield place, path, body, document.get("response")
        elif self._said and self._said.good:
            for where, body in self._said.good[:MAX_UNJUDGED]:
                yield where, path, body, None
        else:
            metadata = self._send("GET", self._errand.metadata_path, None, _BUSY)
            try:
                found = json.loads(metadata.body) if metadata.good else None
                made_up = synthetic_requests(found)
            except Unmakable as error:
                raise Failed(f"{self._errand.metadata_path}: {error}") from None
            infer = f"{self._errand.metadata_path}/infer"
            for number, body in enumerate(islice(made_up, MADE_UP)):
                yield f"made-up request {number + 1}", infer, body, None

    def _judged(self, where: str, answer: Any, response: Any) -> None:
        if self._said is not None:
            problem = self._said.breaks(answer)
            if problem:
                self._seen.broken.append(f"{where}: the answer breaks responseSchema: {problem}")
        if self._promises.smoke is None:
            return
        judge = self._seen.judge
        if self._promises.tensors:
            problem = _tensors(judge, answer, right_outputs(where, response))
        elif response is None:
            raise Failed(f'{where}: no right answer; allowed {{"response": ...}}')
        else:
            problem = judge.other("", answer, response)
        if problem:
            self._seen.wrong.append(f"{where}: {problem}")

    def _traced(self, where: str, answer: Answer) -> None:
        """The two headers that every answer carries."""
        promised = (
            (self._promises.request_id_header, self._id),
            (self._promises.version_header, self._promises.version),
        )
        for header, value in promised:
            got = answer.headers.get(header.lower()) if header else value
            if got != value:
                self._seen.broken.append(
                    f"{where}: header {header} of the answer is wrong; got "
                    f"{'nothing' if got is None else cut(got, 100)}; allowed {value}"
                )

    def _repeat(self, where: str, path: str, body: Any) -> None:
        key = f"{self._errand.run}-{self._asked}"
        first, second = (self._ask(path, body, _BUSY, key) for _ in range(2))
        if (first.status, _content(first)) != (second.status, _content(second)):
            self._seen.broken.append(
                f"{where}: repeated under the same {self._promises.idempotency_header} it is "
                f"answered otherwise; got {second.status} {_shown(second)}; "
                f"allowed {first.status} {_shown(first)}"
            )

    def _refusals(self, allowed: tuple[int, ...]) -> None:
        bad = self._said.bad if self._said else ()
        if not bad:
            self._seen.broken.append(
                f"{self._promises.contract}: examples: no bad request to send; allowed at least "
                "one whose request the requestSchema does not allow"
            )
        for where, body in bad[:MAX_BAD]:
            answer = self._ask(self._errand.path, body, frozenset({0}))
            self._traced(where, answer)
            if answer.status not in allowed:
                self._seen.broken.append(
                    f"{where}: a bad request is answered with another status than declared; "
                    f"got {answer.status} {_shown(answer)}; "
                    f"allowed {', '.join(map(str, sorted(allowed)))}"
                )

    @property
    def _id(self) -> str:
        """The id of the last request."""
        return f"{self._errand.run}-id-{self._asked}"

    def _ask(self, path: str, body: Any, again: frozenset[int], key: str = "") -> Answer:
        self._asked += 1
        headers = {}
        if self._promises.request_id_header:
            headers[self._promises.request_id_header] = self._id
        if self._promises.idempotency_header:
            headers[self._promises.idempotency_header] = key or self._id
        data = json.dumps(body).encode()
        return self._send(self._errand.method, path, data, again, headers)

    def _send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        again: frozenset[int],
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """An answer; asked again while the pod is only busy or away."""
        errand = self._errand
        while True:
            answer = self._pod.send(method, path, body, headers)
            if answer.status not in again:
                return answer
            if errand.clock() >= errand.deadline:
                raise Unreachable(f"pod {self._pod.name}: {answer.failure}")
            errand.sleep(PAUSE)


def _tensors(judge: Judge, answer: Any, expected: Sequence[Any]) -> str:
    """What is wrong with an Open Inference answer; "" when nothing is."""
    outputs = answer.get("outputs") if isinstance(answer, dict) else None
    named = {
        output["name"]: output
        for output in (outputs if isinstance(outputs, list) else ())
        if isinstance(output, dict) and isinstance(output.get("name"), str)
    }
    for right in expected:
        name = right.get("name") if isinstance(right, dict) else None
        got = named.get(name) if isinstance(name, str) else None
        if got is None:
            return f"has no output {cut(name)}; got {cut(', '.join(named), 100) or 'no outputs'}"
        data = flat(got.get("data"))
        if data is None:
            return f"output {name} has no data; got {cut(got.get('data'))}; allowed a list"
        shape = got.get("shape")
        sizes = shape if isinstance(shape, list) else []
        whole = all(isinstance(size, int) and size > 0 for size in sizes)
        problem = judge.wrong(str(name), sizes if whole and sizes else [len(data)], data, right)
        if problem:
            return problem
    return ""


def _content(answer: Answer) -> Any:
    """The answer's body as JSON, where it is some: the spelling does not matter."""
    return json.loads(answer.body) if answer.good else answer.body


def _shown(answer: Answer) -> str:
    return cut(" ".join(answer.body[:200].decode(errors="replace").split()), 100)
