"""Golden cases and the API contract over HTTP, against a small server that can be made to break."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from modelhandoff.api.acceptance import Smoke
from modelhandoff.api.checks import CheckStatus, read_canary_report, sha256
from modelhandoff.api.promises import Promises
from modelhandoff.verify.canary import Errand, Pod, Unreachable, check_pods
from modelhandoff.verify.sending import sender
from modelhandoff.verify.warmup import Exit, main

ID, VERSION, KEY = "X-Request-Id", "X-Model-Version", "Idempotency-Key"
CONTRACT = {
    "requestSchema": {"type": "object", "required": ["x"], "properties": {"x": {"type": "number"}}},
    "responseSchema": {"type": "object", "required": ["y"]},
    "examples": [
        {"valid": True, "request": {"x": 1}},
        {"valid": False, "request": {"x": "one"}},
        {"valid": False, "response": {}},
    ],
}


@dataclass
class Server:
    """y = 2 x as any JSON on /score and as tensors on /v2/models/m/infer.

    Attributes:
        wrong: y for an x, where it is not 2 x.
        refuses: status for a request that it cannot read.
        random: whether a repeated request is answered otherwise.
    """

    address: str = ""
    wrong: dict[float, float] = field(default_factory=dict)
    refuses: int = 400
    version: str = "1.4.0"
    echoes: bool = True
    random: bool = False
    heard: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def answer(self, path: str, body: Any, turn: int) -> tuple[int, Any]:
        tensor = path.endswith("/infer")
        x = body["inputs"][0]["data"][0] if tensor else body.get("x")
        if not isinstance(x, int | float):
            return self.refuses, {"error": "x"}
        y = self.wrong.get(x, 2.0 * x)
        if tensor:
            return 200, {"outputs": [{"name": "y", "shape": [1], "data": [y]}]}
        return 200, {"y": y, "more": {"turn": turn} if self.random else {}}


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    turns = count()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.heard.append((self.path, dict(self.headers)))
            status, document = found.answer(self.path, body, next(turns))
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header(VERSION, found.version)
            if found.echoes and ID in self.headers:
                self.send_header(ID, self.headers[ID])
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    found.address = f"http://127.0.0.1:{http.server_port}"
    yield found
    http.shutdown()
    thread.join()
    http.server_close()


def errand(
    path: Path, golden: list[Any] | None = None, deadline: float = 60, **more: Any
) -> Errand:
    """What is asked of /score, with a clock that moves with every look at it."""
    (path / "api.json").write_text(json.dumps(CONTRACT))
    if golden is not None:
        (path / "golden.jsonl").write_text("".join(json.dumps(one) + "\n" for one in golden))
        more["golden"] = "golden.jsonl"
    promises = Promises(**{"version": "1.4.0", "tensors": False, **more})
    clock = count()
    where = "/v2/models/m/infer" if promises.tensors else "/score"
    return Errand(
        promises, path, "POST", where, "/v2/models/m", "run", deadline,
        clock=lambda: float(next(clock)), sleep=lambda _: None,
    )  # fmt: skip


def asked(server: Server, what: Errand, pods: int = 1) -> dict[str, CheckStatus]:
    named = [Pod(f"p-{number}", sender(server.address)) for number in range(pods)]
    return {check.name: check for check in check_pods(what, named)}


GOLDEN = [{"request": {"x": x}, "response": {"y": 2 * x}} for x in (1, 2, 3)]
EVERYTHING: dict[str, Any] = {
    "contract": "api.json", "errors": (400, 422), "idempotency_header": KEY,
    "request_id_header": ID, "version_header": VERSION,
}  # fmt: skip


def test_every_pod_is_asked_everything_and_keeps_it(server: Server, tmp_path: Path) -> None:
    checks = asked(server, errand(tmp_path, GOLDEN, smoke=Smoke(), **EVERYTHING), pods=2)

    assert {name: check.state for name, check in checks.items()} == {
        "CanaryGoldenCases": "Passed",
        "CanaryContract": "Passed",
    }
    assert checks["CanaryGoldenCases"].message.startswith("2 pods answered 3 golden cases right")
    assert checks["CanaryGoldenCases"].numbers["values"] == 6
    # Three cases, each repeated twice under one key, and one bad request: at either pod.
    assert len(server.heard) == 2 * (3 + 2 * 3 + 1)
    keys = [headers[KEY] for _, headers in server.heard]
    assert len(set(keys)) < len(keys)


def test_an_answer_that_is_wrong_names_case_place_and_numbers(
    server: Server, tmp_path: Path
) -> None:
    server.wrong = {2: 4.1}
    check = asked(server, errand(tmp_path, GOLDEN, smoke=Smoke()))["CanaryGoldenCases"]

    assert check.state == "Failed"
    assert check.message == (
        "golden.jsonl:2: y is wrong; got 4.1; allowed 4 +- 0.00041 "
        "(1 of 3 cases are wrong on pod p-0)"
    )
    assert check.numbers == {"cases": 3, "wrong": 1, "pods": 1}


def test_tensors_are_compared_as_the_verification_job_compares_them(
    server: Server, tmp_path: Path
) -> None:
    def case(x: float, y: float) -> dict[str, Any]:
        tensor = {"name": "x", "datatype": "FP32", "shape": [1], "data": [x]}
        outputs = [{"name": "y", "data": [y], "shape": [1]}]
        return {"request": {"inputs": [tensor]}, "response": {"outputs": outputs}, "name": "n"}

    good = errand(tmp_path, [case(1, 2), case(2, 4)], smoke=Smoke(), tensors=True)
    assert asked(server, good)["CanaryGoldenCases"].state == "Passed"
    bad = errand(tmp_path, [case(1, 2), case(2, 5)], smoke=Smoke(), tensors=True)
    message = asked(server, bad)["CanaryGoldenCases"].message
    assert message.startswith("golden.jsonl:2 (n): output y[0] is wrong; got 4.0; allowed 5 +- ")


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"version": "2.0.0"}, "header X-Model-Version of the answer is wrong; got 2.0.0"),
        ({"echoes": False}, "header X-Request-Id of the answer is wrong; got nothing"),
        ({"random": True}, "repeated under the same Idempotency-Key it is answered otherwise"),
        ({"refuses": 200}, "examples[1]: a bad request is answered with another status than"),
        ({"refuses": 500}, 'got 500 {"error": "x"}; allowed 400, 422'),
        ({"refuses": 404}, "got 404"),
    ],
)
def test_a_broken_promise_is_named_and_blames_no_golden_case(
    server: Server, tmp_path: Path, broken: dict[str, Any], says: str
) -> None:
    for name, value in broken.items():
        setattr(server, name, value)
    checks = asked(server, errand(tmp_path, GOLDEN, smoke=Smoke(), **EVERYTHING))

    assert checks["CanaryGoldenCases"].state == "Passed"
    assert checks["CanaryContract"].state == "Failed"
    assert says in checks["CanaryContract"].message
    assert checks["CanaryContract"].message.endswith("(pod p-0)")


def test_an_answer_that_breaks_the_response_schema_is_named(server: Server, tmp_path: Path) -> None:
    what = errand(tmp_path, contract="api.json")
    schema = {**CONTRACT, "responseSchema": {"type": "object", "required": ["score"]}}
    (tmp_path / "api.json").write_text(json.dumps(schema))
    check = asked(server, what)["CanaryContract"]

    assert check.state == "Failed"
    assert "api.json: examples[0]: the answer breaks responseSchema" in check.message


def test_declared_errors_without_a_bad_request_prove_nothing(
    server: Server, tmp_path: Path
) -> None:
    what = errand(tmp_path, GOLDEN, **EVERYTHING)
    (tmp_path / "api.json").write_text(json.dumps({**CONTRACT, "examples": []}))

    assert "no bad request to send" in asked(server, what)["CanaryContract"].message


@pytest.mark.parametrize(
    ("golden", "says"),
    [
        ([], "golden.jsonl: holds no case"),
        ([{"x": 1}], "golden.jsonl:1: no case"),
        ([{"request": {"x": 1}}], "golden.jsonl:1: no right answer"),
        ([{"request": {"x": None}, "response": {"y": 1}}], "golden.jsonl:1: is not answered"),
        ([{"request": {"x": 1}, "response": {"z": 1}}], "golden.jsonl:1: z is missing"),
        ([{"request": {"x": 1}, "response": {"y": [1]}}], "y has another length"),
        ([{"request": {"x": 1}, "response": {"y": {"a": 1}}}], "y is no object"),
    ],
)
def test_a_file_that_asks_for_something_else_fails_with_its_place(
    server: Server, tmp_path: Path, golden: list[Any], says: str
) -> None:
    check = asked(server, errand(tmp_path, golden, smoke=Smoke()))["CanaryGoldenCases"]

    assert check.state == "Failed"
    assert says in check.message


def test_a_pod_that_does_not_answer_has_broken_nothing(tmp_path: Path, server: Server) -> None:
    what = errand(tmp_path, GOLDEN, deadline=3, smoke=Smoke())
    nobody = Pod("p-1", sender("http://127.0.0.1:1"))
    with pytest.raises(Unreachable, match="pod p-1: "):
        check_pods(what, [Pod("p-0", sender(server.address)), nobody])


@pytest.mark.parametrize(("version", "status"), [("1.4.0", Exit.WARM), ("2.0.0", Exit.BROKEN)])
def test_the_job_reports_on_what_it_was_told_within_a_termination_message(
    server: Server, tmp_path: Path, version: str, status: Exit
) -> None:
    server.version = version
    what = errand(tmp_path, GOLDEN, smoke=Smoke(), version_header=VERSION)
    promised = what.promises.model_dump_json(by_alias=True)
    log = tmp_path / "log"
    log.touch()
    environment = {
        "MODELHANDOFF_TARGET": server.address, "MODELHANDOFF_PATH": "/score",
        "MODELHANDOFF_REQUESTS": "0", "MODELHANDOFF_PROMISES": promised,
        "MODELHANDOFF_PODS": f"fraud-a={server.address},fraud-b={server.address}",
        "MODEL_DIR": str(tmp_path),
    }  # fmt: skip

    assert main(["--termination-log", str(log)], environment) == status
    assert log.stat().st_size <= 4096
    report = read_canary_report(log.read_text())
    assert report.promises == sha256(promised.encode())
    states = {check.name: check.state for check in report.checks}
    assert states["CanaryGoldenCases"] == "Passed"
    assert states["CanaryContract"] == ("Passed" if status is Exit.WARM else "Failed")


def test_promises_that_cannot_be_read_are_one_line(capsys: Any) -> None:
    environment = {
        "MODELHANDOFF_TARGET": "http://127.0.0.1:1", "MODELHANDOFF_PATH": "/score",
        "MODELHANDOFF_PROMISES": "{}",
    }  # fmt: skip
    assert main([], environment) == Exit.USAGE
    assert capsys.readouterr().err.startswith("warmup: promises: version")
