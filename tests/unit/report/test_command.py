"""``modelhandoff report FILE``: what is read, what is chosen, what is refused in one line."""

import hashlib
import json

import pytest
import yaml
from typer.testing import CliRunner

from modelhandoff.api.vocabulary import Outcome
from modelhandoff.cli.main import app
from modelhandoff.cluster.reports import config_map
from modelhandoff.controller.reports import HTML, MARKDOWN, documents
from tests.unit.report.exports import (
    FAILING,
    GOOD,
    PROMOTED,
    ROLLED_BACK,
    attempt,
    changed,
    ended,
    handoff,
    untouched,
)

FIRST = attempt(
    untouched(Outcome.INITIAL, "Initial", "First."),
    kind="Initial",
    ordinal=1,
    name="fraud-first",
    candidate={"model": {"version": "1.3.2"}},
)


@pytest.fixture
def file(tmp_path):
    def write(*objects, name="export.yaml"):
        path = tmp_path / name
        path.write_text(yaml.safe_dump_all(objects))
        return str(path)

    return write


def call(*words):
    return CliRunner().invoke(app, ["report", *words])


def refused(result):
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def test_markdown_is_the_default_and_html_on_request(file):
    path = file(ROLLED_BACK)
    assert call(path).stdout.startswith("# fraud-classifier 1.4.0: Rolled back\n")
    html = call(path, "-o", "html").stdout
    assert html.startswith("<!doctype html>")
    assert html == call(path, "-o", "html").stdout


def test_json_and_a_list_are_read_too(tmp_path):
    path = tmp_path / "export.json"
    path.write_text(json.dumps({"kind": "List", "items": [ROLLED_BACK]}))
    assert "Rolled back" in call(str(path)).stdout


def test_the_handoff_may_be_in_a_second_file(file):
    other = handoff(ROLLED_BACK["metadata"]["name"], nextAction="Ring the bell.")
    result = call(file(ROLLED_BACK), file(other, name="handoff.yaml"))
    assert "Ring the bell." in result.stdout


def test_the_attempt_before_says_what_changed(file):
    raw = changed(ROLLED_BACK, ("status", "cursor"), "")
    first = changed(FIRST, ("status", "promotedAt"), "2026-11-24T20:00:00Z")
    text = call(file(first, raw)).stdout
    assert "# fraud-classifier 1.4.0: Rolled back" in text
    assert "## What changed" in text
    assert "| Model | fraud-classifier 1.3.2, ONNX | 🟡 changed fraud-classifier 1.4.0" in text
    assert "100 % on 1.3.2." in text
    assert "| GPU | the same | 1 x nvidia.com/gpu per pod |" in text


def test_of_several_attempts_the_one_asked_for_or_the_newest(file):
    path = file(ROLLED_BACK, FIRST)
    assert "1.4.0: Rolled back" in call(path).stdout.splitlines()[0]
    assert "1.3.2: Promoted" in call(path, "--attempt", "fraud-first").stdout.splitlines()[0]
    current = file(ROLLED_BACK, FIRST, handoff("fraud-first"), name="more.yaml")
    assert "1.3.2: Promoted" in call(current).stdout.splitlines()[0]


def test_attempts_of_two_handoffs_need_a_name(file):
    other = changed(FIRST, ("spec", "handoffRef", "name"), "churn")
    line = refused(call(file(ROLLED_BACK, other)))
    assert "--attempt: attempts of several handoffs" in line
    assert "fraud-first" in line


def test_an_unknown_attempt_names_those_that_are_there(file):
    line = refused(call(file(FIRST), "--attempt", "nobody"))
    assert line.endswith("--attempt: not in the file; got nobody; allowed fraud-first")


@pytest.mark.parametrize(
    ("objects", "says"),
    [
        ([], "kind: no HandoffAttempt; got nothing"),
        ([{"kind": "Pod"}], "kind: no HandoffAttempt; got Pod"),
        (["text"], "kind: no HandoffAttempt; got nothing"),
        ([changed(FIRST, ("spec", "snapshot"), "{}")], "fraud-first.spec.snapshot: not a snapshot"),
        ([changed(FIRST, ("spec", "snapshot"), "no json")], "not a snapshot; got no json"),
        ([changed(FIRST, ("spec", "snapshot"), '{"spec":3}')], "fraud-first.spec.snapshot.spec:"),
        ([changed(FIRST, ("spec", "kind"), "Odd")], "HandoffAttempt.spec.kind:"),
        ([changed(FIRST, ("status", "phase"), "Odd")], "HandoffAttempt.status.phase:"),
        ([changed(FIRST, ("status", "timeline", 0, "at"), "soon")], "timeline.0.at:"),
    ],
)
def test_what_is_no_attempt_is_refused_in_one_line(file, objects, says):
    assert says in refused(call(file(*objects)))


def test_a_time_beyond_the_calendar_is_refused(file):
    raw = attempt(ended(GOOD, Outcome.ABORT, "Aborted", looks=4))
    raw = changed(raw, ("status", "stages", 0, "start"), 1e300)
    assert "status.stages[0].start: not a time; got 1e+300" in refused(call(file(raw)))


def test_files_that_cannot_be_read(tmp_path):
    assert "cannot be read" in refused(call(str(tmp_path / "none.yaml")))
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1,\n b: }")
    assert "not YAML" in refused(call(str(broken)))
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8 text" in refused(call(str(binary)))


def test_an_unknown_format_is_refused(file):
    assert "allowed html, md" in refused(call(file(FIRST), "-o", "pdf"))


def test_fields_of_a_newer_operator_are_passed_over(file):
    raw = changed(PROMOTED, ("status",), lambda status: {**status, "future": {"a": 1}})
    assert call(file(raw)).stdout == call(file(PROMOTED)).stdout


def test_the_reports_of_two_outcomes_differ(file):
    failed = attempt(ended(FAILING, Outcome.ROLLBACK, "HarmDetected"))
    assert call(file(failed)).stdout != call(file(PROMOTED, name="b.yaml")).stdout


@pytest.mark.parametrize("which", [ROLLED_BACK, PROMOTED], ids=["rolled-back", "promoted"])
@pytest.mark.parametrize(("output", "key"), [("md", MARKDOWN), ("html", HTML)])
def test_an_export_gives_the_bytes_that_the_operator_keeps(file, which, output, key):
    """Also of an export that was made after the report was kept, and read back by a person."""
    which = changed(which, ("metadata", "uid"), "an-attempt")
    stored = config_map(which, documents(which))
    reference = {
        "name": stored["metadata"]["name"],
        "documents": json.loads(stored["metadata"]["annotations"]["modelhandoff.dev/documents"]),
    }
    later = changed(which, ("status", "reportRef"), reference)
    later = changed(later, ("metadata", "resourceVersion"), "4711")
    written = call(file(later), "-o", output).stdout
    assert written == documents(which)[key]
    (told,) = [d for d in reference["documents"] if d["key"].removesuffix(".gz") == key]
    assert told["sha256"] == hashlib.sha256(written.encode()).hexdigest()
    assert told["size"] == len(written.encode())
