"""What the checks say about models: format, loading, metadata, tensors, golden cases, values."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from modelhandoff.verify.formats import kind_of
from tests.unit.verify.bundles import (
    COMMIT,
    DOUBLE,
    FLOAT,
    INT64,
    case,
    doubling,
    folder,
    info,
    lines,
    model,
)


class Bomb:
    """Ends the test run if anybody ever unpickles it."""

    def __reduce__(self) -> Any:
        return exit, (99,)


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "."), data)
    return buffer.getvalue()


PICKLE = pickle.dumps(Bomb())
TORCH = zipped(data__pkl=PICKLE)


def test_a_good_bundle_passes_every_check_it_asks_for(tmp_path):
    checks = folder(tmp_path).checks()

    assert list(checks) == [
        "Artifacts",
        "ModelFormat",
        "ModelLoads",
        "ModelMetadata",
        "GoldenCases",
    ]
    assert {c.state for name, c in checks.items() if name != "ModelMetadata"} == {"Passed"}
    assert checks["ModelMetadata"].state == "Skipped"
    assert checks["GoldenCases"].numbers["cases"] == 2
    assert checks["GoldenCases"].numbers["values"] == 6


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (PICKLE, "is a pickle, which runs code when it is loaded"),
        (TORCH, "is a zip archive with a pickle, which runs code"),
        (zipped(weights=b"1"), "got zip archive; allowed ONNX model"),
        (b"PK\x03\x04 and no directory", "got broken zip archive"),
        (b"tree\nversion=v4\n", "got LightGBM text model; allowed ONNX model"),
        (b"just some text", "got unknown file that starts with"),
        (doubling()[:-7], "got unknown file"),
        (b"\x08\x08" * 3, "got unknown file"),
        (b"\xff" * 100, "got unknown file"),
    ],
)
def test_a_file_that_is_no_onnx_model_is_named_and_never_loaded(tmp_path, data, says):
    checks = folder(tmp_path, onnx_file=data).checks()

    assert checks["ModelFormat"].state == "Failed"
    assert says in checks["ModelFormat"].message
    assert checks["ModelLoads"].state == "Failed"
    assert "not given to onnxruntime" in checks["ModelLoads"].message
    assert checks["GoldenCases"].state == "Skipped"


def test_an_empty_model_file_is_named(tmp_path):
    bundle = folder(tmp_path)
    bundle.files["Model"] = b""

    assert bundle.checks()["ModelFormat"].message.startswith("model.onnx: is empty")


@pytest.mark.parametrize(
    ("declared", "data", "state"),
    [
        ("LightGBM", b"tree\nversion=v4\n", "Passed"),
        ("LightGBM", doubling(), "Failed"),
        ("XGBoost", b'{"learner": {}}', "Passed"),
        ("XGBoost", PICKLE, "Failed"),
        ("SKLearn", PICKLE, "Passed"),
        ("SKLearn", doubling(), "Failed"),
        ("Torch", TORCH, "Passed"),
        ("Torch", b"tree\n", "Failed"),
        ("Custom", b"anything", "Skipped"),
        ("Custom", PICKLE, "Failed"),
    ],
)
def test_other_formats_are_told_by_their_bytes(tmp_path, declared, data, state):
    bundle = folder(tmp_path)
    bundle.files["Model"] = data
    bundle.overrides = {
        "candidate": {"model": {"format": declared}},
        "governance": {"pinnedEnvironment": True},
    }
    bundle.files["Environment"] = b"numpy==2.2.0\n"

    checks = bundle.checks()

    assert checks["ModelFormat"].state == state
    assert "ModelLoads" not in checks


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=300))
def test_no_bytes_upset_the_look_at_the_format(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "model"
    path.write_bytes(data)

    assert isinstance(kind_of(path), str)


def test_a_graph_that_onnxruntime_refuses_is_failed_in_its_own_words(tmp_path):
    loose = helper.make_graph([], "g", [], [info("y", FLOAT, [1])])
    data = helper.make_model(loose, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()

    checks = folder(tmp_path, onnx_file=data).checks()

    assert checks["ModelFormat"].state == "Passed"
    assert checks["ModelLoads"].state == "Failed"
    assert checks["ModelLoads"].message.startswith("model.onnx: not a usable ONNX model; got ")


def test_external_data_outside_the_folder_is_refused(tmp_path):
    (tmp_path / "secret").write_bytes(b"\0" * 8)
    inside = tmp_path / "models"
    inside.mkdir()
    node = helper.make_node("Add", ["x", "w"], ["y"])
    weight = helper.make_tensor("w", FLOAT, [2], [0.0, 0.0])
    weight.ClearField("float_data")
    weight.data_location = 1
    for key, value in (("location", "../secret"), ("offset", "0"), ("length", "8")):
        entry = weight.external_data.add()
        entry.key, entry.value = key, value
    graph = helper.make_graph(
        [node], "g", [info("x", FLOAT, ["rows", 2])], [info("y", FLOAT, ["rows", 2])], [weight]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8

    checks = folder(inside, onnx_file=made.SerializeToString()).checks()

    assert checks["ModelLoads"].state == "Failed"
    assert "secret" in checks["ModelLoads"].message


@pytest.mark.parametrize(
    ("metadata", "state", "says"),
    [
        ({"version": "1.4.0", "seed": "42", "commit": COMMIT}, "Passed", "version, commit, seed"),
        ({"version": "1.4.0"}, "Passed", "agrees in version"),
        ({}, "Skipped", "neither version nor commit nor seed"),
        ({"version": "1.4.1"}, "Failed", "candidate.model.version: the model's own metadata"),
        ({"seed": "43"}, "Failed", "candidate.provenance.seed: the model's own metadata"),
        ({"commit": "0" * 40}, "Failed", "candidate.provenance.git.commit: the model's own"),
    ],
)
def test_the_models_own_metadata_must_agree(tmp_path, metadata, state, says):
    check = folder(tmp_path, onnx_file=doubling(metadata)).checks()["ModelMetadata"]

    assert (check.state, says in check.message) == (state, True), check.message


# Tensors and features


def tensors(name: str = "x", datatype: str = "FP32", shape: tuple[int, ...] = (-1, 2)) -> Any:
    return {"name": name, "datatype": datatype, "shape": list(shape)}


@pytest.mark.parametrize(
    ("inputs", "outputs", "says"),
    [
        ([tensors()], [tensors("y")], ""),
        ([tensors("z")], None, "contracts.api.inputs[0].name: the model has no such tensor; got z"),
        ([tensors(datatype="FP64")], None, "inputs[0].datatype: x has another; got FP64; allowed"),
        ([tensors(shape=(-1, 3))], None, "inputs[0].shape: x has another; got [-1, 3]; allowed"),
        (None, [tensors("y", shape=(-1,))], "outputs[0].shape: y has another; got [-1]; allowed"),
    ],
)
def test_declared_tensors_are_those_of_the_graph(tmp_path, inputs, outputs, says):
    api = {k: v for k, v in (("inputs", inputs), ("outputs", outputs)) if v}

    check = folder(tmp_path, contracts={"api": api}).checks()["GraphContract"]

    assert check.state == ("Failed" if says else "Passed")
    assert says in check.message


def test_an_input_that_nobody_declared_is_named(tmp_path):
    two = model(
        [helper.make_node("Add", ["x", "extra"], ["y"])],
        [info("x", FLOAT, ["rows", 2]), info("extra", FLOAT, ["rows", 2])],
        [info("y", FLOAT, ["rows", 2])],
    )

    check = folder(tmp_path, onnx_file=two, contracts={"api": {"inputs": [tensors()]}}).checks()

    assert "allowed also extra" in check["GraphContract"].message


def features(*listed: dict[str, Any]) -> dict[str, Any]:
    return {"data": {"features": list(listed)}}


A, B = {"name": "a", "type": "Float"}, {"name": "b", "type": "Float"}


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        ([A, B], ""),
        ([A], "do not fit the model's inputs; got 1; allowed those of x [-1, 2]"),
        (
            [A, {"name": "b", "type": "String"}],
            "b has a type that the model's input x cannot carry",
        ),
    ],
)
def test_features_have_a_place_in_the_graph(tmp_path, listed, says):
    check = folder(tmp_path, contracts=features(*listed)).checks()["GraphContract"]

    assert check.state == ("Failed" if says else "Passed")
    assert says in check.message


def test_an_integer_input_cannot_carry_a_float(tmp_path):
    whole = doubling(kind=INT64)

    checks = folder(tmp_path, onnx_file=whole, contracts=features(A, B)).checks()

    assert "got Float, input INT64" in checks["GraphContract"].message


def test_the_reference_file_names_the_places(tmp_path):
    bundle = folder(tmp_path, contracts=features(A, B))
    place = {"input": "x", "edges": [0.5], "counts": [1, 1]}
    document = {
        "format": "modelhandoff.dev/reference/v1",
        "model": {"name": "m", "version": "1"},
        "features": [{"name": "b", "column": 0, **place}, {"name": "a", "column": 1, **place}],
    }
    bundle.files["Reference"] = json.dumps(document).encode()
    assert bundle.checks()["GraphContract"].state == "Passed"

    document["features"] = [{"name": "other", "column": 0, **place}]
    bundle.files["Reference"] = json.dumps(document).encode()
    assert "does not have it; got a; allowed other" in bundle.checks()["GraphContract"].message

    bundle.files["Reference"] = b"\xff not json"
    assert bundle.checks()["GraphContract"].state == "Failed"


@pytest.mark.parametrize(
    ("change", "values", "says"),
    [
        ({"min": 0, "max": 10}, [1, 2], ""),
        (
            {"min": 0, "max": 10},
            [11, 2],
            "golden.jsonl:1: a is out of range; got 11; allowed 0..10",
        ),
        ({"max": 10}, [-5, 2], ""),
        ({}, [None, 2], "a is missing too often; got 1 of 1 values; allowed a share of 0"),
        ({"maxNullFraction": 1}, [None, 2], ""),
        ({"type": "Integer"}, [1.5, 2], "a is no whole number; got 1.5"),
        ({"type": "Boolean"}, [1, 2], ""),
        ({"type": "Boolean"}, [2, 2], "a is no truth value; got 2.0; allowed 0 or 1"),
        ({"type": "Category", "categories": ["1", "2"]}, [2, 2], ""),
        ({"type": "Category", "categories": ["1", "red"]}, [3, 2], "a is no known category; got 3"),
    ],
)
def test_values_of_the_golden_cases_keep_the_data_contract(tmp_path, change, values, says):
    bundle = folder(
        tmp_path,
        golden=lines(case(values, [0, 0])),
        contracts=features({**A, **change}, B),
    )

    check = bundle.checks()["DataContract"]

    assert check.state == ("Failed" if says else "Passed"), check.message
    assert says in check.message


def test_wrong_values_are_counted_and_suspicion_is_told(tmp_path):
    limited = {**A, "max": 0, "leakage": "Suspected"}
    bundle = folder(tmp_path, contracts=features(limited, B))
    assert bundle.checks()["DataContract"].numbers == {"rows": 3, "wrong": 3}

    bundle.overrides["contracts"] = features({**A, "leakage": "Suspected"}, B)
    assert "1 features are suspected of leakage" in bundle.checks()["DataContract"].message


# Golden cases


def judged(tmp_path: Any, golden: bytes, smoke: dict[str, Any] | None = None, **more: Any) -> Any:
    bundle = folder(tmp_path, golden=golden, acceptance={"smoke": smoke or {}}, **more)
    return bundle.checks()["GoldenCases"]


def test_the_first_wrong_case_is_named_and_the_wrong_ones_counted(tmp_path):
    check = judged(
        tmp_path,
        lines(
            case([1, 2], [2, 4]),
            case([1, 2], [2, 5], name="a rich night abroad"),
            case([1, 2], [9, 4]),
        ),
    )

    assert check.state == "Failed"
    assert check.message == (
        "golden.jsonl:2 (a rich night abroad): output y[1] is wrong; got 4.0; "
        "allowed 5 +- 0.00051 (2 of 3 cases are wrong)"
    )
    assert check.numbers == {"cases": 3, "wrong": 2, "values": 6}


@pytest.mark.parametrize(
    ("right", "smoke", "state"),
    [
        (2.001, {"absTolerance": 0.01}, "Passed"),
        (2.02, {"absTolerance": 0.01, "relTolerance": 0}, "Failed"),
        (2.1, {"relTolerance": 0.06}, "Passed"),
        (2.0, {"absTolerance": 0, "relTolerance": 0}, "Passed"),
        (2.0000001, {"absTolerance": 0, "relTolerance": 0}, "Failed"),
    ],
)
def test_numbers_are_compared_within_both_tolerances(tmp_path, right, smoke, state):
    assert judged(tmp_path, lines(case([1, 2], [right, 4])), smoke).state == state


def test_the_largest_difference_is_told_as_a_share_of_what_is_allowed(tmp_path):
    check = judged(
        tmp_path,
        lines(case([1, 2], [2.005, 4])),
        {"absTolerance": 0.01, "relTolerance": 0},
    )

    assert check.numbers["worstShareOfTolerance"] == pytest.approx(0.5, rel=1e-5)


def test_not_a_number_is_right_only_where_null_is_expected(tmp_path):
    assert judged(tmp_path, lines(case([None, 2], [None, 4]))).state == "Passed"
    assert judged(tmp_path, lines(case([None, 2], [2, 4]))).state == "Failed"
    assert judged(tmp_path, lines(case([1, 2], [None, 4]))).state == "Failed"


def test_the_largest_positions_count_with_top_k(tmp_path):
    def top(answer: list[float], k: int) -> Any:
        return judged(tmp_path, lines(case([1, 2, 5, 4], answer)), {"topK": k})

    assert top([0.1, 0.9, 0.8, 0.2], 1).state == "Passed"
    assert top([0.1, 0.9, 0.8, 0.2], 9).state == "Passed"
    wrong = top([0.1, 0.9, 0.2, 0.8], 1)
    assert (wrong.state, "row 1 ranks another position 1; got 0; allowed 1" in wrong.message) == (
        "Failed",
        True,
    )
    assert top([0.9, 0.9, 0.8, 0.8], 2).state == "Passed", "equal numbers may change places"


def test_a_model_that_fails_on_a_case_has_failed(tmp_path):
    picky = model(
        [
            helper.make_node("Cast", ["x"], ["index"], to=INT64),
            helper.make_node("Gather", ["table", "index"], ["y"]),
        ],
        [info("x", FLOAT, ["rows", 2])],
        [info("y", DOUBLE, ["rows", 2])],
        table=[10.0, 20.0, 30.0],
    )

    check = judged(tmp_path, lines(case([1, 2], [20, 30]), case([7, 2], [0, 0])), onnx_file=picky)

    assert check.state == "Failed"
    assert check.message.startswith("golden.jsonl:2: the model failed; got ")


GOOD = case([1, 2], [2, 4])


@pytest.mark.parametrize(
    ("golden", "says"),
    [
        (b"", "golden.jsonl: holds no case"),
        (b"\n  \n", "golden.jsonl: holds no case"),
        (b"{", "golden.jsonl:1: not JSON"),
        (b"[1, 2]\n", "golden.jsonl:1: no case"),
        (b"NaN\n", "NaN, which is no JSON number"),
        (b'{"request": 1e999}\n', "golden.jsonl:1: the server would refuse it"),
        (b"[" * 100_000 + b"\n", "nested too deeply"),
        ('{"request": "\xfc"}'.encode("latin-1"), "golden.jsonl:1: not UTF-8; got byte 13"),
        (b'{"request": "\0"}\n', "NUL"),
        (b'{"a": ' + b"9" * 5000 + b"}\n", "golden.jsonl:1: not JSON"),
        (lines({"request": {"inputs": []}}), "the server would refuse it: inputs: x is missing"),
        (lines({**GOOD, "response": None}), "golden.jsonl:1: no right answer"),
        (lines({**GOOD, "response": {"outputs": [{"name": "z", "data": [1]}]}}), "no such output"),
        (lines({**GOOD, "response": {"outputs": [{"name": "y"}]}}), "allowed no list"),
        (lines(case([1, 2], [2])), "got 2 values; allowed 1 values"),
        (
            lines({**GOOD, "response": {"outputs": [{"name": "y", "shape": [2], "data": [2, 4]}]}}),
            "another shape; got [1, 2]; allowed [2]",
        ),
        (lines(case([1, 2], ["2", True])), "output y[0] is wrong; got 2.0; allowed 2"),
    ],
)
def test_a_file_that_holds_no_usable_cases_fails_with_its_place(tmp_path, golden, says):
    check = judged(tmp_path, golden)

    assert check.state == "Failed", check
    assert says in check.message
    assert len(check.message) <= 500
    assert "\n" not in check.message


def test_a_link_instead_of_a_file_is_not_followed(tmp_path):
    bundle = folder(tmp_path)
    document = bundle.document()
    (tmp_path / "golden.jsonl").rename(tmp_path / "elsewhere")
    (tmp_path / "golden.jsonl").symlink_to(tmp_path / "elsewhere")

    from modelhandoff.verify.bundle import read_bundle
    from modelhandoff.verify.findings import made
    from modelhandoff.verify.worker import Bench

    bench = Bench(read_bundle(document, tmp_path))
    results = {str(n): made(n, c) for n, c in bench.checks.items() if str(n) == "Artifacts"}

    assert results["Artifacts"].state == "Failed"
