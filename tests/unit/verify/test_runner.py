"""The runner: a report whatever becomes of the checks, bound to what was read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelhandoff.api.checks import (
    MAX_BODY,
    MAX_RECEIPT,
    CheckName,
    CheckState,
    Unreadable,
    read_body,
    read_receipt,
    sha256,
    verdict_of,
)
from modelhandoff.verify import check
from modelhandoff.verify.findings import status
from tests.unit.verify.bundles import FLOAT, INT64, case, folder, info, lines, model

MIB = 1024 * 1024
BOOL = TensorProto.BOOL


def run(
    tmp_path: Path, document: bytes, capfdbinary: Any, **options: Any
) -> tuple[int, str, bytes]:
    """Exit status, termination message and log of the runner in a pod."""
    spec, log = tmp_path / "spec.json", tmp_path / "termination-log"
    spec.write_bytes(document)
    log.write_text("")
    arguments = ["--spec", spec, "--model-dir", tmp_path, "--termination-log", log]
    for name, value in options.items():
        arguments += [f"--{name}", value]
    code = check.main([str(a) for a in arguments], {})
    return code, log.read_text(), capfdbinary.readouterr().out


def checks_of(receipt: str, log: bytes) -> dict[str, Any]:
    return {c.name: c for c in read_body(log, read_receipt(receipt)).checks}


def test_a_good_bundle_gives_a_report_that_is_bound_to_the_spec(tmp_path, capfdbinary):
    document = folder(tmp_path).document()

    code, receipt, log = run(tmp_path, document, capfdbinary, memory=700 * MIB)

    assert code == 0
    told = read_receipt(receipt)
    assert (told.verdict, told.spec) == ("Passed", sha256(document))
    assert log.count(b"\n") == 1
    assert checks_of(receipt, log)["GoldenCases"].state == "Passed"


def test_a_bad_bundle_is_a_report_too_and_its_first_line_is_in_the_receipt(tmp_path, capfdbinary):
    document = folder(tmp_path, golden=lines(case([1, 2], [2, 5]))).document()

    code, receipt, _ = run(tmp_path, document, capfdbinary)

    assert code == 0
    assert read_receipt(receipt).verdict == "Failed"
    assert read_receipt(receipt).message.startswith("GoldenCases: golden.jsonl:1: output y[1]")


def endless() -> bytes:
    """y = x after a loop of 2^40 rounds."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["a_in", "a_in"], ["a_out"]),
            helper.make_node("Identity", ["go_in"], ["go_out"]),
        ],
        "body",
        [info("i", INT64, []), info("go_in", BOOL, []), info("a_in", FLOAT, [2, 2])],
        [info("go_out", BOOL, []), info("a_out", FLOAT, [2, 2])],
    )
    return model(
        [
            helper.make_node("Loop", ["rounds", "", "start"], ["end"], body=body),
            helper.make_node("Add", ["x", "end"], ["y"]),
        ],
        [info("x", FLOAT, [2, 2])],
        [info("y", FLOAT, [2, 2])],
        rounds=np.array(2**40, dtype=np.int64),
        start=np.zeros((2, 2), dtype=np.float32),
    )


def huge() -> bytes:
    """y = the sum of 2^36 zeros, made from a few bytes."""
    return model(
        [
            helper.make_node("ReduceSum", ["x"], ["small"], keepdims=0),
            helper.make_node("Cast", ["small"], ["one"], to=INT64),
            helper.make_node("Mul", ["one", "size"], ["many"]),
            helper.make_node("ConstantOfShape", ["many"], ["zeros"]),
            helper.make_node("ReduceSum", ["zeros"], ["y"], keepdims=1),
        ],
        [info("x", FLOAT, ["rows", 2])],
        [info("y", FLOAT, [1])],
        size=np.array([2**34], dtype=np.int64),
    )


def test_a_model_that_never_ends_is_stopped_and_told_by_name(tmp_path):
    bundle = folder(tmp_path, onnx_file=endless(), golden=lines(case([1, 2, 3, 4], [0] * 4)))

    # CPU time ends it, whatever else this machine is doing.
    limits = check.Limits(seconds=200, cpu=5, memory=0)
    found = {c.name: c for c in check.verify(bundle.document(), tmp_path, limits)}

    assert found["ModelLoads"].state == "Passed"
    assert found["GoldenCases"].state == "Failed"
    assert found["GoldenCases"].message == "used more than 5 s of CPU and did not end"


def test_a_model_that_wants_more_memory_than_there_is_fails_and_takes_nothing_along(
    tmp_path, capfdbinary
):
    bundle = folder(tmp_path, onnx_file=huge(), golden=lines(case([2, 2], [0])))

    code, receipt, log = run(tmp_path, bundle.document(), capfdbinary, memory=700 * MIB)

    found = checks_of(receipt, log)
    assert code == 0
    assert found["GoldenCases"].state == "Failed"
    assert "the model failed" in found["GoldenCases"].message


def tensor_of_256_gib() -> bytes:
    """y = x + w, where 2^36 numbers are promised for w and none are there."""
    promised = helper.make_tensor("w", FLOAT, [1], [0.0])
    promised.dims[:] = [2**36]
    promised.ClearField("float_data")
    return graph([helper.make_node("Add", ["x", "w"], ["y"])], promised)


def nested_ifs(depth: int = 16) -> bytes:
    """y = x behind 2^depth branches: a few megabytes that become gigabytes when they are parsed."""
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["o"])], "b", [], [info("o", FLOAT, ["r", 2])]
    )
    for _ in range(1, depth):
        node = helper.make_node("If", ["c"], ["o"], then_branch=branch, else_branch=branch)
        branch = helper.make_graph([node], "b", [], [info("o", FLOAT, ["r", 2])])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    return graph([node], numpy_helper.from_array(np.array(True), "c"))


def graph(nodes: list[Any], *constants: Any) -> bytes:
    """A graph that no checker has seen."""
    found = helper.make_graph(
        nodes, "g", [info("x", FLOAT, ["r", 2])], [info("y", FLOAT, ["r", 2])], list(constants)
    )
    made = helper.make_model(found, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    data: bytes = made.SerializeToString()
    return data


@pytest.mark.parametrize("bomb", [tensor_of_256_gib, nested_ifs])
def test_a_small_file_that_stands_for_a_huge_model_is_refused_when_it_is_loaded(tmp_path, bomb):
    limits = check.Limits(seconds=200, cpu=60, memory=700 * MIB)
    document = folder(tmp_path, onnx_file=bomb()).document()

    found = {c.name: c for c in check.verify(document, tmp_path, limits)}

    assert found["ModelLoads"].state == "Failed"
    assert found["GoldenCases"].state == "Skipped"


@pytest.mark.parametrize(
    ("ended", "state", "says"),
    [
        (check.Ended(-9, 1.0, ""), "Failed", "was killed"),
        (check.Ended(-11, 1.0, ""), "Failed", "ended by SIGSEGV"),
        (check.Ended(-24, 10.0, ""), "Failed", "used more than 10 s of CPU"),
        (check.Ended(None, 9.0, ""), "Failed", "did not end within 10 s; it used 9 s of CPU"),
        (check.Ended(None, 0.5, ""), "Inconclusive", "had only 0 s of CPU"),
        (check.Ended(1, 1.0, "ImportError: no"), "Inconclusive", "status 1: ImportError: no"),
    ],
)
def test_the_end_of_the_process_is_the_result_of_the_check_that_ran(ended, state, says):
    lost = check._lost(CheckName.MODEL_LOADS, ended, check.Limits(10, 10, 0))

    assert (lost.state, says in lost.message) == (state, True), lost.message


def test_what_follows_a_lost_check_is_skipped(tmp_path, monkeypatch):
    class Dies:
        ended = check.Ended(-11, 1.0, "")

        def __init__(self, *_: Any) -> None:
            pass

        def messages(self) -> Any:
            yield {"done": {"name": "Artifacts", "state": "Passed"}}
            yield {}

    monkeypatch.setattr(check, "_Child", Dies)

    found = check.verify(folder(tmp_path).document(), tmp_path, check.Limits(10, 10, 0))

    states = {c.name: c.state for c in found}
    assert states == {
        "Artifacts": "Passed",
        "ModelFormat": "Failed",
        "ModelLoads": "Skipped",
        "ModelMetadata": "Skipped",
        "GoldenCases": "Skipped",
    }
    assert verdict_of(states.values()) == "Failed"


@pytest.mark.parametrize(
    "document",
    [b"", b"{}", b"[]", b'"x"', b"\xff", b"[" * 100_000, b'{"format": "other/v1"}', b"x" * 2 * MIB],
)
def test_a_spec_that_cannot_be_read_is_one_line_and_no_report(tmp_path, capfdbinary, document):
    code, receipt, log = run(tmp_path, document, capfdbinary)

    assert code == 2
    assert receipt.startswith("check: ")
    assert "\n" not in receipt.strip()
    assert log == b""


def test_a_file_name_that_leads_elsewhere_is_refused(tmp_path, capfdbinary):
    document = json.loads(folder(tmp_path).document())
    for name in ("../model.onnx", "/etc/passwd", "..", ""):
        document["files"][0] = name
        code, receipt, _ = run(tmp_path, json.dumps(document).encode(), capfdbinary)
        assert (code, "no plain file name" in receipt) == (2, True)


def test_options_out_of_bounds_are_refused(tmp_path, capfdbinary):
    document = folder(tmp_path).document()

    for options in ({"deadline": "0"}, {"deadline": "nan"}, {"deadline": "x"}, {"memory": "1Gi"}):
        code, receipt, _ = run(tmp_path, document, capfdbinary, **options)
        assert code == 2, options
        assert receipt.startswith("check: ") or not receipt


def test_report_and_receipt_keep_their_size_whatever_is_told():
    checks = tuple(
        status(name, CheckState.FAILED, "\u20ac" * 5000, {f"n{i}": 1e300 for i in range(50)})
        for name in CheckName
    )

    body = check.report_body(checks, 1.0)
    receipt = check.receipt_text(checks, body, b"spec")

    assert len(body) <= MAX_BODY
    assert len(receipt.encode()) <= MAX_RECEIPT
    assert len(read_body(body + b"\n", read_receipt(receipt)).checks) == len(CheckName)


def test_numbers_that_json_cannot_carry_are_left_out():
    told = status(CheckName.SBOM, CheckState.PASSED, "", {"a": float("nan"), "b": float("inf")})

    assert told.numbers == {}


def test_the_receipt_is_bound_to_its_body():
    checks = (status(CheckName.SBOM, CheckState.PASSED, "fine"),)
    body = check.report_body(checks, 1.0)
    receipt = read_receipt(check.receipt_text(checks, body, b"spec"))

    for log in (body, b"noise\n" + body + b"\nmore", body + b"\r\n"):
        assert read_body(log, receipt).checks == checks
    for log in (b"", body[:-1], body.replace(b"fine", b"good"), b"\xff\xfe"):
        with pytest.raises(Unreadable):
            read_body(log, receipt)


@pytest.mark.parametrize("text", ["", "Killed", "{}", "[]", '{"verdict": "Passed"}', "x" * 4096])
def test_what_is_no_receipt_is_never_taken_for_one(text):
    with pytest.raises(Unreadable):
        read_receipt(text)
