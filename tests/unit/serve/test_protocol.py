"""The Open Inference Protocol v2, the route of named features, and the headers on everything."""

from __future__ import annotations

import pytest

from tests.unit.serve.onnx_files import doubling, server, summing, tensor, typed, write_reference


@pytest.fixture
async def running(tmp_path):
    write_reference(tmp_path / "reference.json")
    flags = ("--reference", "reference.json", "--route", "/score")
    async with server(doubling(tmp_path / "m.onnx"), *flags) as started:
        yield started


async def test_metadata_names_server_model_versions_and_tensors(running):
    status, body, _ = await running.get("/v2")
    assert (status, body["name"], body["extensions"]) == (200, "modelhandoff-serve", [])
    for path in ("/v2/models/m", "/v2/models/m/versions/1.4.0"):
        status, body, _ = await running.get(path)
        assert status == 200
        assert body == {
            "name": "m",
            "versions": ["1.4.0"],
            "platform": "onnx_onnxv1",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
        }


@pytest.mark.parametrize(
    "path",
    [
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/m/ready",
        "/v2/models/m/versions/1.4.0/ready",
    ],
)
async def test_probes_pass_when_the_model_serves(running, path):
    status, _, _ = await running.get(path)
    assert status == 200


@pytest.mark.parametrize(
    ("data", "kind"), [([1.0, 2, 3.5, -4], "flat"), ([[1.0, 2], [3.5, -4]], "nested")]
)
async def test_infer_takes_flat_and_nested_data(running, data, kind):
    request = tensor(data, shape=[2, 2])
    for path in ("/v2/models/m/infer", "/v2/models/m/versions/1.4.0/infer"):
        status, body, _ = await running.post(path, {"id": kind, **request})
        assert status == 200
        assert body == {
            "model_name": "m",
            "model_version": "1.4.0",
            "id": kind,
            "outputs": [
                {"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [2.0, 4.0, 7.0, -8.0]}
            ],
        }


async def test_an_answer_has_no_id_when_the_request_had_none(running):
    _, body, _ = await running.infer(tensor([0.0, 1.0], shape=[1, 2]))
    assert "id" not in body


async def test_only_the_outputs_asked_for_come_back(tmp_path):
    inputs = [
        {"name": "i", "datatype": "INT8", "shape": [2], "data": [-128, 127]},
        {"name": "b", "datatype": "BOOL", "shape": [2], "data": [True, False]},
        {"name": "s", "datatype": "BYTES", "shape": [2], "data": ["", "grün"]},
        {"name": "d", "datatype": "FP64", "shape": [2], "data": [0.1, -1e300]},
    ]
    async with server(typed(tmp_path / "m.onnx")) as running:
        status, body, _ = await running.infer({"inputs": inputs})
        assert status == 200
        assert [output["data"] for output in body["outputs"]] == [t["data"] for t in inputs]
        assert [output["datatype"] for output in body["outputs"]] == [t["datatype"] for t in inputs]
        asked = {"inputs": inputs, "outputs": [{"name": "s_out"}]}
        _, body, _ = await running.infer(asked)
        assert [output["name"] for output in body["outputs"]] == ["s_out"]


async def test_the_custom_route_takes_one_row_of_named_features(running):
    status, body, _ = await running.post("/score", {"features": {"kind": 1, "age": 30}})
    assert status == 200
    assert body == {
        "model_name": "m",
        "model_version": "1.4.0",
        "outputs": {"double_age": 60.0, "double_kind": 2.0},
    }


async def test_the_custom_route_takes_many_rows(running):
    rows = [{"kind": 1, "age": 30}, {"age": -2.5, "kind": 0}]
    status, body, _ = await running.post("/score", {"instances": rows})
    assert status == 200
    assert body["predictions"] == [
        {"double_age": 60.0, "double_kind": 2.0},
        {"double_age": -5.0, "double_kind": 0.0},
    ]


async def test_the_request_id_is_echoed_on_every_kind_of_answer(running):
    for path in ("/v2/health/ready", "/v2/models/m", "/nowhere"):
        async with running.client.get(
            running.url + path, headers={"X-Request-Id": "abc-123"}
        ) as response:
            assert response.headers["X-Request-Id"] == "abc-123"
    for body in (tensor([0.0, 1.0], shape=[1, 2]), {"inputs": 3}):
        _, _, response = await running.infer(body, **{"X-Request-Id": "abc-123"})
        assert response.headers["X-Request-Id"] == "abc-123"


@pytest.mark.parametrize("given", ["", "x" * 201])
async def test_a_request_id_is_made_when_none_usable_came(running, given):
    seen = set()
    for _ in range(2):
        _, _, response = await running.infer({}, **{"X-Request-Id": given})
        seen.add(response.headers["X-Request-Id"])
    assert len(seen) == 2
    assert given not in seen


async def test_every_answer_names_the_version_that_wrote_it(running):
    for path in ("/v2/health/live", "/v2", "/nowhere", "/v2/models/other"):
        _, _, response = await running.get(path)
        assert response.headers["X-Model-Version"] == "1.4.0"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v2/models/other/infer", "no such model; got 'other'; allowed 'm'"),
        ("/v2/models/m/versions/2/infer", "no such version; got '2'; allowed '1.4.0'"),
        ("/elsewhere", "Not Found"),
    ],
)
async def test_an_unknown_address_is_404_with_one_line(running, path, said):
    status, body, _ = await running.post(path, tensor([1.0]))
    assert status == 404
    assert said in body["error"]
    assert "\n" not in body["error"]


async def test_a_model_with_one_answer_per_request_serves_tensors_and_single_rows(tmp_path):
    feature = {"name": "v", "input": "x", "edges": [0.0], "counts": [1, 1]}
    output = {"name": "total", "output": "y", "edges": [0.0], "counts": [1, 1]}
    write_reference(tmp_path / "reference.json", features=[feature], outputs=[output])
    flags = ("--reference", "reference.json", "--route", "/score")
    async with server(summing(tmp_path / "m.onnx"), *flags) as running:
        _, body, _ = await running.infer(tensor([1.0, 2.0, 4.0]))
        assert body["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [], "data": [7.0]}]
        _, body, _ = await running.post("/score", {"features": {"v": 3}})
        assert body["outputs"] == {"total": 3.0}
        status, body, _ = await running.post("/score", {"instances": [{"v": 3}, {"v": 4}]})
        assert status == 500
        assert body["error"].endswith("the model did not answer row by row")
