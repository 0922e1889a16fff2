"""``python -m modelhandoff.verify.collect``: what did a container of the tenant's leave behind?

The tenant's container was an init container of the same pod and has ended well. This one reads one
file of ``/results``, into which anything may have been written, and says in the termination message
what is in it (``api.tenant_jobs.JobReport``). It judges nothing.

Environment: ``MODELHANDOFF_RESULTS`` (the directory), ``MODELHANDOFF_KIND`` (``tests`` or
``reproduction``), ``MODELHANDOFF_METRICS`` (a JSON list of the names that are asked for).

Exit status: 0 when there is a report, whatever it says; 2 when the environment cannot be read.
"""

from __future__ import annotations

import json
import math
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from xml.parsers import expat

from modelhandoff.api.acceptance_jobs import JUNIT_FILE, METRICS_FILE
from modelhandoff.api.job_results import JobReport
from modelhandoff.errors import cut
from modelhandoff.verify.outcome import TERMINATION_LOG, write_termination_message

MAX_JUNIT: Final = 16 * 1024 * 1024
MAX_METRICS: Final = 1024 * 1024
MAX_DEPTH: Final = 64
MAX_FIRST: Final = 300
TESTS: Final = "tests"
REPRODUCTION: Final = "reproduction"


class Unusable(Exception):
    """A file that is no report; the message is one line."""


class _Missing(Exception):
    """There is no file."""


def read_bounded(path: Path, limit: int) -> bytes:
    """A regular file, never through a link and never a pipe that nobody writes to.

    Raises:
        Unusable: it is none, or too large.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _Missing from None
    except OSError as error:
        raise Unusable(f"{path.name}: cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise Unusable(f"{path.name}: is no regular file")
    with os.fdopen(number, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Unusable(f"{path.name}: too large; allowed at most {limit} bytes")
    return data


class _Counter:
    """Counts the test cases of a JUnit report, and keeps the first that did not pass.

    The cases are counted, not the attributes of their suites: those say what a tool meant to run.
    """

    def __init__(self) -> None:
        self.counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
        self.first = ""
        self._depth = 0
        self._case: Mapping[str, str] | None = None
        self._case_depth = 0
        self._verdict = ""

    def begin(self, tag: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unusable(f"{JUNIT_FILE}: is nested more than {MAX_DEPTH} deep")
        name = tag.rpartition(":")[2]
        if self._depth == 1 and name not in ("testsuites", "testsuite"):
            raise Unusable(f"{JUNIT_FILE}: is no JUnit report; got <{cut(tag, 40)}>")
        if name == "testcase" and self._case is None:
            self._case, self._case_depth, self._verdict = attributes, self._depth, ""
            self.counts["tests"] += 1
        elif self._case is not None and name in ("failure", "error", "skipped"):
            self._count(name, attributes)

    def _count(self, name: str, attributes: Mapping[str, str]) -> None:
        """One verdict per case: a case with two failures is one case that failed."""
        if self._verdict:
            return
        self._verdict = name
        self.counts[{"failure": "failures", "error": "errors"}.get(name, name)] += 1
        if name == "skipped" or self.first or self._case is None:
            return
        where = ".".join(
            part for part in (self._case.get("classname"), self._case.get("name")) if part
        )
        said = attributes.get("message") or attributes.get("type") or name
        self.first = cut(f"{cut(where or 'a test', 120)}: {said}", MAX_FIRST)

    def end(self, _: str) -> None:
        """An element ends."""
        if self._case is not None and self._depth == self._case_depth:
            self._case = None
        self._depth -= 1


def _no_document_type(*_: Any) -> None:
    # No report needs one, and entities are declared in there.
    raise Unusable(f"{JUNIT_FILE}: has a document type, which no report needs")


def junit(data: bytes) -> JobReport:
    """The counts of a JUnit report.

    Raises:
        Unusable: it is none.
    """
    counter = _Counter()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _no_document_type
    parser.StartElementHandler = counter.begin
    parser.EndElementHandler = counter.end
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise Unusable(f"{JUNIT_FILE}: is no XML: {error}") from None
    numbers = {key: float(value) for key, value in counter.counts.items()}
    return JobReport(found=True, numbers=numbers, first=counter.first)


def metrics(data: bytes, names: Sequence[str]) -> JobReport:
    """The metrics that are asked for; one that is missing is left out.

    Raises:
        Unusable: the file is no JSON object, or a metric is no finite number.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"{METRICS_FILE}: is no JSON: {cut(error, 120)}") from None
    if not isinstance(found, dict):
        raise Unusable(f"{METRICS_FILE}: is no object; got {cut(type(found).__name__)}")
    numbers: dict[str, float] = {}
    for name in names:
        if name not in found:
            continue
        numbers[name] = _number(name, found[name])
    return JobReport(found=True, numbers=numbers)


def _number(name: str, value: Any) -> float:
    wrong = f"{METRICS_FILE}: {cut(name)}: is no finite number; got {cut(value)}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unusable(wrong)
    try:
        number = float(value)
    except OverflowError:
        raise Unusable(wrong) from None
    if not math.isfinite(number):
        raise Unusable(wrong)
    return number


def collect(kind: str, directory: Path, names: Sequence[str]) -> JobReport:
    """The report of what lies in a directory; whatever lies there."""
    try:
        if kind == TESTS:
            return junit(read_bounded(directory / JUNIT_FILE, MAX_JUNIT))
        return metrics(read_bounded(directory / METRICS_FILE, MAX_METRICS), names)
    except _Missing:
        return JobReport(found=False)
    except Unusable as error:
        return JobReport(found=True, problem=cut(error, 400))


def main(environ: Mapping[str, str], log: Path = TERMINATION_LOG) -> int:
    """Run with an environment; returns the exit status."""
    try:
        kind, directory = environ["MODELHANDOFF_KIND"], Path(environ["MODELHANDOFF_RESULTS"])
        names = json.loads(environ.get("MODELHANDOFF_METRICS", "[]"))
        if kind not in (TESTS, REPRODUCTION):
            raise ValueError(f"MODELHANDOFF_KIND: got {cut(kind)}")
    except (KeyError, ValueError) as error:
        line = "collect: " + cut(error, 400)
        print(line, file=sys.stderr)
        write_termination_message(line, log)
        return 2
    text = collect(kind, directory, names).model_dump_json(by_alias=True)
    print(text)
    write_termination_message(text, log)
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
