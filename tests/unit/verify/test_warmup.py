"""The warm-up Job: so many good answers in a row, or the deadline."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice

import pytest

from modelhandoff.verify.sending import Answer, BadRequest, sender
from modelhandoff.verify.synthetic import Unmakable, synthetic_requests
from modelhandoff.verify.warmup import Plan, Verdict, main, read_examples, warm

METADATA = {
    "inputs": [
        {"name": "x", "datatype": "FP32", "shape": [-1, 3]},
        {"name": "k", "datatype": "INT64", "shape": [-1]},
    ]
}
GOOD = Answer(200, "1.4.0", b"{}", 0.01, None)
BAD = Answer(500, "1.4.0", b"", 0.01, "500 boom")
DOWN = Answer(0, None, b"", 0.01, "Connection refused")


class Script:
    """Answers from a list, then the last one for ever; the clock moves with requests and pauses."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.sent = []
        self.time = 0.0

    def send(self, method, path, body):
        self.sent.append((method, path, body))
        self.time += 0.01
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def sleep(self, seconds):
        self.time += seconds

    def run(self, plan, deadline=100.0):
        return warm(plan, self.send, deadline=deadline, clock=lambda: self.time, sleep=self.sleep)


def plan_of(*examples, requests=3, path="/score"):
    return Plan("POST", path, requests, examples, "/v2/models/m", "test")


def test_enough_good_answers_in_a_row_are_warm():
    script = Script(GOOD)
    verdict, tally = script.run(plan_of(b"1", b"2"))
    assert verdict is Verdict.WARM
    assert script.sent == [("POST", "/score", body) for body in (b"1", b"2", b"1")]
    assert (tally.sent, tally.consecutive, dict(tally.versions)) == (3, 3, {"1.4.0": 3})


def test_a_failure_starts_the_count_again():
    verdict, tally = Script(GOOD, GOOD, BAD, GOOD).run(plan_of(b"1"))
    assert verdict is Verdict.WARM
    assert (tally.sent, tally.consecutive, len(tally.times)) == (6, 3, 5)
    assert dict(tally.codes) == {"200": 5, "500": 1}
    assert tally.last_failure == "500 boom"


def test_a_server_that_never_answers_ends_at_the_deadline_with_growing_pauses():
    script = Script(DOWN)
    verdict, tally = script.run(plan_of(b"1"), deadline=30.0)
    assert verdict is Verdict.DEADLINE
    assert tally.last_failure == "Connection refused"
    assert tally.sent < 25
    assert 30.0 <= script.time < 30.1


def test_requests_are_made_up_from_the_metadata_once_the_server_tells_it():
    metadata = Answer(200, "1.4.0", json.dumps(METADATA).encode(), 0.01, None)
    script = Script(DOWN, BAD, metadata, GOOD)
    verdict, tally = script.run(plan_of(path="/v2/models/m/infer"))
    assert verdict is Verdict.WARM
    assert [sent[:2] for sent in script.sent[:3]] == [("GET", "/v2/models/m")] * 3
    assert tally.sent == 3  # metadata is no warm-up request
    body = json.loads(script.sent[3][2])
    assert [tensor["shape"] for tensor in body["inputs"]] == [[1, 3], [1]]
    assert [len(tensor["data"]) for tensor in body["inputs"]] == [3, 1]


def test_without_examples_a_custom_route_is_warmed_through_the_protocol():
    metadata = Answer(200, "1.4.0", json.dumps(METADATA).encode(), 0.01, None)
    script = Script(metadata, GOOD)
    script.run(plan_of(path="/score"))
    assert script.sent[1][1] == "/v2/models/m/infer"


def test_made_up_requests_are_the_same_every_time():
    first = list(islice(synthetic_requests(METADATA), 3))
    assert first == list(islice(synthetic_requests(METADATA), 3))
    assert first[0] != first[1]


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {"inputs": []},
        {"inputs": [{"name": "x"}]},
        {"inputs": [{"name": 1, "datatype": "FP32", "shape": [1]}]},
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [100_000, 100_000]}]},
    ],
)
def test_metadata_that_describes_no_inputs_is_refused(metadata):
    with pytest.raises(Unmakable):
        synthetic_requests(metadata)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no example request"),
        (b"{", ":1: not JSON"),
        (b'{"request": {}}\n\n{"inputs": []}\n', ':3: must be an object with "request"'),
        (b"\xff", "cannot be read"),
    ],
)
def test_a_malformed_examples_file_is_refused_with_its_line(tmp_path, content, said):
    (tmp_path / "golden.jsonl").write_bytes(content)
    with pytest.raises(BadRequest) as caught:
        read_examples(tmp_path / "golden.jsonl")
    assert said in str(caught.value)


@pytest.fixture
def endpoint():
    """A server that answers ``answers`` in turn, then ``{}``; remembers bodies and connections."""

    class Handler(BaseHTTPRequestHandler):
        answers: list[tuple[int, bytes]] = []  # noqa: RUF012 (one server per test)
        seen: list[tuple[str, bytes, int]] = []  # noqa: RUF012

        def log_message(self, *_args):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.seen.append((self.path, body, self.client_address[1]))
            status, content = self.answers.pop(0) if self.answers else (200, b"{}")
            self.send_response(status)
            self.send_header("X-Model-Version", "1.4.0")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    Handler.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield Handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_job_reads_its_environment_and_leaves_one_json_line(endpoint, tmp_path, capsys):
    (tmp_path / "golden.jsonl").write_text('{"request": {"a": 1}}\n{"request": {"a": 2}}\n')
    log = tmp_path / "termination-log"
    log.write_text("")
    endpoint.answers.append((200, b"<html>"))
    environ = {
        "MODEL_DIR": str(tmp_path),
        "MODELHANDOFF_TARGET": endpoint.url,
        "MODELHANDOFF_METHOD": "POST",
        "MODELHANDOFF_PATH": "/score",
        "MODELHANDOFF_MODEL_NAME": "m",
        "MODELHANDOFF_REQUESTS": "4",
        "MODELHANDOFF_DEADLINE": "60s",
        "MODELHANDOFF_EXAMPLES": "golden.jsonl",
    }
    assert main(["--termination-log", str(log)], environ) == 0
    summary = json.loads(log.read_text())
    assert summary == json.loads(capsys.readouterr().out)
    assert summary["verdict"] == "Warm"
    assert (summary["sent"], summary["succeeded"], summary["consecutive"]) == (5, 4, 4)
    assert summary["versions"] == {"1.4.0": 4}
    assert summary["lastFailure"] == "200 but not JSON: <html>"
    assert summary["p95"] >= summary["p50"] > 0
    assert [body for _, body, _ in endpoint.seen[:2]] == [b'{"a": 1}', b'{"a": 2}']
    # One connection each: every pod behind a Service gets its share.
    assert len({port for _, _, port in endpoint.seen}) == 5


def test_a_deadline_is_status_3(endpoint, tmp_path, capsys):
    endpoint.answers += [(503, b"busy")] * 99
    (tmp_path / "e").write_text('{"request": 1}')
    flags = ["--url", endpoint.url, "--path", "/score", "--deadline", "0.3"]
    assert main([*flags, "--examples", str(tmp_path / "e")], {}) == 3
    summary = json.loads(capsys.readouterr().out)
    assert summary["verdict"] == "DeadlineExceeded"
    assert summary["lastFailure"] == "503 busy"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "MODELHANDOFF_TARGET: must say where"),
        (["--target", "https://a"], "--model-name"),
        (["--target", "https://a", "--model-name", "m"], "target: got 'https://a'"),
        (["--target", "http://a", "--model-name", "m", "--requests", "0"], "requests: got 0"),
        (["--target", "http://a", "--model-name", "m", "--deadline", "soon"], "got 'soon'"),
        (["--target", "http://a", "--model-name", "m", "--examples", "/absent"], "cannot be read"),
    ],
)
def test_a_wrong_option_is_one_line_and_status_2(capsys, flags, said):
    expected = said.replace("--model-name", "MODELHANDOFF_PATH or MODELHANDOFF_MODEL_NAME")
    assert main(flags, {}) == 2
    line = capsys.readouterr().err
    assert expected in line
    assert line.startswith("warmup: ")
    assert len(line.splitlines()) == 1


def test_nobody_listening_is_an_answer_not_a_crash():
    answer = sender("http://127.0.0.1:1", timeout=1.0)("GET", "/", None)
    assert (answer.status, answer.good) == (0, False)
    assert "refused" in answer.failure
