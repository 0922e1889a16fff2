"""What a container of the tenant's leaves behind, and what the collector makes of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from modelhandoff.api.job_results import read_report
from modelhandoff.verify.collect import MAX_JUNIT, main

SUITE = '<testsuite name="pytest" tests="99" failures="0">{}</testsuite>'
PASSED = '<testcase classname="tests.test_a" name="test_one" time="0.1"/>'
FAILED = (
    '<testcase classname="tests.test_a" name="test_two"><failure message="assert 3 == 4">'
    "a long trace</failure><error/></testcase>"
)
SKIPPED = '<testcase name="test_three"><skipped message="no GPU"/></testcase>'


def said(tmp_path: Path, kind: str = "tests", names: list[str] | None = None):
    """The report, as it stands in the termination message."""
    log = tmp_path / "termination-log"
    log.touch()
    environ = {
        "MODELHANDOFF_RESULTS": str(tmp_path),
        "MODELHANDOFF_KIND": kind,
        "MODELHANDOFF_METRICS": json.dumps(names or []),
    }
    assert main(environ, log) == 0
    assert log.stat().st_size <= 4096
    return read_report(log.read_text())


def junit(tmp_path: Path, text: str | bytes):
    (tmp_path / "junit.xml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return said(tmp_path)


def metrics(tmp_path: Path, text: str, *names: str):
    (tmp_path / "metrics.json").write_text(text)
    return said(tmp_path, "reproduction", list(names))


def test_test_cases_are_counted_one_by_one_whatever_their_suite_says_of_them(tmp_path):
    found = junit(tmp_path, f"<testsuites>{SUITE.format(PASSED + FAILED + SKIPPED)}</testsuites>")

    assert (found.found, found.problem) == (True, "")
    assert found.numbers == {"tests": 3, "failures": 1, "errors": 0, "skipped": 1}
    assert found.first == "tests.test_a.test_two: assert 3 == 4"


def test_a_case_that_broke_is_an_error(tmp_path):
    broken = '<testcase name="t"><error type="OSError"/></testcase>'

    found = junit(tmp_path, SUITE.format(broken + FAILED))

    assert (found.numbers["errors"], found.numbers["failures"]) == (1, 1)
    assert found.first == "t: OSError"


def test_a_report_with_namespaces_is_read_all_the_same(tmp_path):
    text = '<j:testsuite xmlns:j="x"><j:testcase name="a"><j:skipped/></j:testcase></j:testsuite>'

    assert junit(tmp_path, text).numbers == {"tests": 1, "failures": 0, "errors": 0, "skipped": 1}


def test_a_suite_without_a_case_has_run_nothing(tmp_path):
    assert junit(tmp_path, SUITE.format("")).numbers["tests"] == 0


def test_no_file_is_said_to_be_none(tmp_path):
    assert said(tmp_path).found is False
    assert said(tmp_path, "reproduction").found is False


_BOMB = (
    '<!DOCTYPE t [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    "<testsuite>&b;</testsuite>"
)
_THEFT = '<!DOCTYPE t [<!ENTITY x SYSTEM "file:///etc/passwd">]><testsuite>&x;</testsuite>'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is no XML"),
        (b"\xff\xfe\x00garbage", "is no XML"),
        ("Traceback (most recent call last):", "is no XML"),
        (SUITE.format(PASSED)[:-9], "is no XML"),
        ("<html><testcase/></html>", "is no JUnit report; got <html>"),
        ("<a>" * 200 + "</a>" * 200, "is no JUnit report"),
        ("<testsuite>" * 200 + "</testsuite>" * 200, "nested more than 64 deep"),
        (_BOMB, "has a document type"),
        (_THEFT, "has a document type"),
        (b"<testsuite>" + b" " * MAX_JUNIT, "too large"),
    ],
)
def test_what_is_no_junit_report_is_named(tmp_path, text, words):
    found = junit(tmp_path, text)

    assert words in found.problem
    assert found.numbers == {}


def test_a_message_of_any_length_is_one_short_line(tmp_path):
    long = f'<testcase name="{"n" * 5000}"><failure message="{"m" * 5000}&#10;x"/></testcase>'

    found = junit(tmp_path, SUITE.format(long))

    assert len(found.first) <= 300
    assert "\n" not in found.first


def test_a_link_a_pipe_and_a_folder_are_no_files(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(SUITE.format(PASSED))
    for make in (
        lambda path: path.symlink_to(secret),
        os.mkfifo,
        lambda path: path.mkdir(),
    ):
        path = tmp_path / "junit.xml"
        make(path)
        found = said(tmp_path)
        assert found.problem.startswith("junit.xml: "), found
        assert found.numbers == {}
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def test_only_the_metrics_that_are_asked_for_are_told(tmp_path):
    found = metrics(tmp_path, '{"auc": 0.91, "loss": 1, "secret": 7}', "auc", "loss", "missing")

    assert found.numbers == {"auc": 0.91, "loss": 1.0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no JSON"),
        ("[1, 2]", "is no object; got list"),
        ("[" * 100_000, "is no JSON"),
        ('{"auc": "0.9"}', "auc: is no finite number; got 0.9"),
        ('{"auc": true}', "is no finite number; got True"),
        ('{"auc": NaN}', "is no finite number; got nan"),
        ('{"auc": null}', "is no finite number; got None"),
        ('{"auc": 1' + "0" * 400 + "}", "is no finite number"),
        ('{"x": "' + "y" * 1_100_000 + '"}', "too large"),
    ],
)
def test_what_are_no_metrics_is_named(tmp_path, text, words):
    assert words in metrics(tmp_path, text, "auc").problem


def test_an_environment_that_says_nothing_is_refused(tmp_path):
    log = tmp_path / "termination-log"
    log.touch()

    assert main({}, log) == 2
    assert main({"MODELHANDOFF_KIND": "x", "MODELHANDOFF_RESULTS": "/"}, log) == 2
    assert log.read_text() == "collect: MODELHANDOFF_KIND: got x"
