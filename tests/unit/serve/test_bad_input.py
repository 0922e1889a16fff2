"""What the server refuses: one line, the path of the fault, and the right status."""

from __future__ import annotations

import json

import pytest

from tests.unit.serve.onnx_files import doubling, server, tensor, typed, write_reference

GOOD = tensor([1.0, 0.0], shape=[1, 2])["inputs"][0]


@pytest.fixture
async def running(tmp_path):
    write_reference(tmp_path / "reference.json")
    flags = ("--reference", "reference.json", "--route", "/score", "--max-rows", "3")
    async with server(doubling(tmp_path / "m.onnx"), *flags, "--max-body", "5000") as started:
        yield started


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "body: not JSON"),
        (b"{", "body: not JSON"),
        (b"\xff\xfe\xfd", "body: not JSON"),
        (b"[" * 2000, "body: "),
        (b"[1]", "body: must be a JSON object; got list of 1 items"),
        ({}, "inputs: must be a list of tensors; got None"),
        ({"inputs": []}, "inputs: x is missing; allowed ['x']"),
        ({"inputs": [7]}, "inputs[0]: must be a JSON object; got 7"),
        ({"inputs": [{**GOOD, "name": "z"}]}, "inputs[0].name: no such input; got 'z'"),
        ({"inputs": [GOOD, GOOD]}, "inputs[1].name: given twice; got 'x'"),
        ({"inputs": [{**GOOD, "datatype": "FP64"}]}, "inputs[0].datatype: wrong for x; got 'FP64'"),
        ({"inputs": [{**GOOD, "shape": [2]}]}, "inputs[0].shape: wrong for x; got [2]"),
        ({"inputs": [{**GOOD, "shape": [1, 3]}]}, "allowed [-1, 2] (-1 is free)"),
        ({"inputs": [{**GOOD, "shape": [0, 2]}]}, "inputs[0].shape: wrong for x"),
        ({"inputs": [{**GOOD, "shape": [1, True]}]}, "inputs[0].shape: wrong for x"),
        ({"inputs": [{**GOOD, "shape": [10**30, 2]}]}, "too many rows"),
        (tensor([1.0] * 8, shape=[4, 2]), "too many rows; got 4; allowed at most 3"),
        ({"inputs": [{**GOOD, "data": None}]}, "data must be a list; got None"),
        ({"inputs": [{**GOOD, "data": [1.0]}]}, "wrong number of elements for x; got 1; allowed 2"),
        ({"inputs": [{**GOOD, "data": [[1.0], [2.0]]}]}, "not nested as its shape says"),
        ({"inputs": [{**GOOD, "data": [[1.0, [2.0]]]}]}, "inputs[0].data[1]: not a FP32 of x"),
        (
            {"inputs": [{**GOOD, "data": ["1.0", 2]}]},
            "inputs[0].data[0]: not a FP32 of x; got '1.0'",
        ),
        (
            {"inputs": [{**GOOD, "data": [1.0, True]}]},
            "inputs[0].data[1]: not a FP32 of x; got True",
        ),
        (
            b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,Infinity]}]}',
            "got inf",
        ),
        (
            b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,NaN]}]}',
            "kind[0]: not",
        ),
        ({"inputs": [{**GOOD, "data": [1.0, None]}]}, "kind[0]: not a number; got NaN or null"),
        (
            {"inputs": [{**GOOD, "data": [1e39, 0.0]}]},
            "inputs[0].data[0]: not a FP32 of x; got 1e+39",
        ),
        ({"inputs": [{**GOOD, "data": [0.0, 10**400]}]}, "inputs[0].data[1]: not a FP32 of x"),
        (
            {"inputs": [GOOD], "outputs": [{"name": "q"}]},
            "outputs[0].name: no such output; got 'q'",
        ),
        ({"inputs": [GOOD], "outputs": "y"}, "outputs: must be a list; got 'y'"),
        ({"inputs": [GOOD], "id": 7}, "id: must be a string; got 7"),
    ],
)
async def test_a_malformed_tensor_request_is_400_with_its_path(running, body, said):
    status, answer, _ = await running.infer(body)
    assert status == 400
    assert said in answer["error"]
    assert len(answer["error"].splitlines()) == 1
    assert len(answer["error"]) < 400


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"age": 1, "kind": 0}, 'body: must be {"features"'),
        ({"features": {}, "instances": []}, 'body: must be {"features"'),
        ({"features": [1]}, "features: must be a JSON object; got list of 1 items"),
        ({"instances": []}, "instances: must be a list of 1 to 3 rows"),
        ({"instances": [{}] * 4}, "instances: must be a list of 1 to 3 rows"),
        ({"features": {"age": 1}}, "features.kind: is missing"),
        ({"features": {"age": 1, "kind": None}}, "features.kind: is missing"),
        ({"features": {"age": 1, "kind": 0, "q": 1}}, "features: no such feature; got 'q'"),
        ({"features": {"age": "1", "kind": 0}}, "features.age: not a FP32"),
        (
            {"instances": [{"age": 1, "kind": 0}, {"age": 1, "kind": []}]},
            "instances[1].kind: not a FP32",
        ),
    ],
)
async def test_a_malformed_row_is_400_with_its_path(running, body, said):
    status, answer, _ = await running.post("/score", body)
    assert status == 400
    assert said in answer["error"]


@pytest.mark.parametrize(
    ("name", "datatype", "value"),
    [
        ("i", "INT8", 128),
        ("i", "INT8", 1.0),
        ("i", "INT8", True),
        ("b", "BOOL", 1),
        ("b", "BOOL", "true"),
        ("s", "BYTES", 7),
        ("s", "BYTES", None),
    ],
)
async def test_a_value_is_never_converted(tmp_path, name, datatype, value):
    inputs = {
        "i": {"name": "i", "datatype": "INT8", "shape": [1], "data": [1]},
        "b": {"name": "b", "datatype": "BOOL", "shape": [1], "data": [True]},
        "s": {"name": "s", "datatype": "BYTES", "shape": [1], "data": ["a"]},
        "d": {"name": "d", "datatype": "FP64", "shape": [1], "data": [1]},
    }
    inputs[name]["data"] = [value]
    async with server(typed(tmp_path / "m.onnx")) as running:
        status, answer, _ = await running.infer({"inputs": list(inputs.values())})
    assert status == 400
    assert f"not a {datatype} of {name}" in answer["error"]


async def test_tensors_must_agree_on_the_number_of_rows(tmp_path):
    inputs = [
        {"name": "i", "datatype": "INT8", "shape": [2], "data": [1, 2]},
        {"name": "b", "datatype": "BOOL", "shape": [1], "data": [True]},
        {"name": "s", "datatype": "BYTES", "shape": [1], "data": ["a"]},
        {"name": "d", "datatype": "FP64", "shape": [1], "data": [1]},
    ]
    async with server(typed(tmp_path / "m.onnx")) as running:
        status, answer, _ = await running.infer({"inputs": inputs})
    assert status == 400
    assert "disagree on the number of rows; got [1, 2]" in answer["error"]


async def test_a_body_over_the_limit_is_413(running):
    status, answer, _ = await running.infer(json.dumps({"pad": "x" * 6000}).encode())
    assert status == 413
    assert answer["error"] == "body too large; allowed 5000 bytes"


async def test_the_binary_extension_is_refused_by_name(running):
    status, answer, _ = await running.infer({}, **{"Inference-Header-Content-Length": "2"})
    assert status == 400
    assert "binary tensors are not supported" in answer["error"]


async def test_a_wrong_method_is_405(running):
    status, answer, _ = await running.get("/v2/models/m/infer")
    assert status == 405
    assert "Method Not Allowed" in answer["error"]


async def test_values_out_of_contract_are_served_but_refused_on_demand(tmp_path):
    write_reference(tmp_path / "reference.json")
    model = doubling(tmp_path / "m.onnx")
    for mode, expected in (("observe", 200), ("refuse", 400)):
        async with server(model, "--reference", "reference.json", "--contract", mode) as running:
            status, answer, _ = await running.infer(tensor([101.0, 0.0], shape=[1, 2]))
            assert status == expected
            if expected == 400:
                assert answer["error"] == "age[0]: out of range; got 101.0; allowed -5.0..100.0"
            status, answer, _ = await running.infer(tensor([1.0, 2.0], shape=[1, 2]))
            assert status == expected
            if expected == 400:
                assert answer["error"] == "kind[0]: not a known category; got 2.0"
