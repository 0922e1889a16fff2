"""The numbers: complete from the first scrape, equal to what was sent, in the agreed bins."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from modelhandoff.serve.metrics import DEFAULT_LATENCY_EDGES, latency_edges
from modelhandoff.serve.reference import bin_of
from tests.unit.serve.onnx_files import (
    REFERENCE,
    doubling,
    logarithm,
    picky,
    server,
    tensor,
    write_reference,
)

REQUESTS = "modelhandoff_server_requests_total"
DURATION = "modelhandoff_server_request_duration_seconds"


@pytest.fixture
async def running(tmp_path):
    write_reference(tmp_path / "reference.json")
    flags = ("--reference", "reference.json", "--route", "/score")
    abstain = ("--abstain-output", "double_kind", "--abstain-below", "1.5")
    async with server(doubling(tmp_path / "m.onnx"), *flags, *abstain) as started:
        yield started


async def test_every_series_is_there_with_zero_before_the_first_request(running):
    series = await running.series()
    for code in (200, 400, 404, 413, 429, 500, 503):
        assert series[f'{REQUESTS}{{code="{code}"}}'] == 0.0
    assert series[f"{DURATION}_count"] == 0.0
    assert series["modelhandoff_server_abstentions_total"] == 0.0
    for feature in ("age", "kind"):
        assert series[f'modelhandoff_server_feature_bucket{{feature="{feature}",le="+Inf"}}'] == 0.0
        assert series[f'modelhandoff_server_feature_missing_total{{feature="{feature}"}}'] == 0.0
    assert series['modelhandoff_server_output_missing_total{output="double_age"}'] == 0.0
    for field, rule in (("age", "range"), ("kind", "category"), ("x", "shape"), ("x", "type")):
        name = f'modelhandoff_server_contract_violations_total{{field="{field}",rule="{rule}"}}'
        assert series[name] == 0.0
    assert not [name for name in series if "_created" in name]


async def test_no_request_makes_a_new_series(running):
    before = set(await running.series())
    await running.infer(tensor([1.0, 7.0], shape=[1, 2]))
    await running.infer(tensor([1.0], shape=[1, 1]))
    await running.infer(tensor([1.0], name="z"))
    await running.post("/score", {"features": {"age": "x", "q": 1}})
    await running.post("/score", {"features": {"age": "x", "kind": 1}})
    await running.get("/nowhere")
    await running.get("/v2/models/m/infer")
    assert set(await running.series()) == before


async def test_the_process_says_when_it_started(running):
    series = await running.series()
    assert 0 < series["process_start_time_seconds"] <= time.time()
    assert series['modelhandoff_server_model_info{model_name="m",model_version="1.4.0"}'] == 1.0


async def test_counts_equal_the_requests_sent_and_probes_are_not_among_them(running):
    for path in (
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/m",
        "/v2/models/m/ready",
    ):
        await running.get(path)
    await running.series()
    sent: Counter[int] = Counter()
    for body in [tensor([1.0, 0.0], shape=[1, 2])] * 7 + [{"inputs": []}] * 3:
        status, _, _ = await running.infer(body)
        sent[status] += 1
    status, _, _ = await running.post("/score", {"features": {"age": 3, "kind": 0}})
    sent[status] += 1
    status, _, _ = await running.post("/nowhere", {})
    sent[status] += 1
    assert sent == {200: 8, 400: 3, 404: 1}
    series = await running.series()
    counted = {
        int(name.split('"')[1]): value
        for name, value in series.items()
        if name.startswith(REQUESTS)
    }
    assert {code: count for code, count in counted.items() if count} == sent
    assert series[f"{DURATION}_count"] == sent.total()
    assert series[f'{DURATION}_bucket{{le="+Inf"}}'] == sent.total()


async def test_a_model_that_fails_counts_as_500_and_the_answer_says_so(tmp_path):
    async with server(picky(tmp_path / "m.onnx")) as running:
        status, answer, _ = await running.infer(tensor([9.0]))
        assert status == 500
        assert answer["error"].startswith("model m failed on this input: ")
        assert len(answer["error"].splitlines()) == 1
        series = await running.series()
    assert series[f'{REQUESTS}{{code="500"}}'] == 1.0
    assert series[f'{REQUESTS}{{code="200"}}'] == 0.0


def test_a_budget_becomes_an_edge_once():
    assert latency_edges((0.01, 0.1), (0.03, 0.1)) == (0.01, 0.03, 0.1)
    assert 0.03 in DEFAULT_LATENCY_EDGES


async def test_the_latency_budget_is_an_edge_of_the_scraped_histogram(tmp_path):
    flags = ("--latency-budget", "37ms,0.1", "--latency-edges", "0.01,50ms")
    async with server(doubling(tmp_path / "m.onnx"), *flags) as running:
        series = await running.series()
    edges = [name.split('"')[1] for name in series if name.startswith(f"{DURATION}_bucket")]
    assert edges == ["0.01", "0.037", "0.05", "0.1", "+Inf"]


async def test_features_and_outputs_fall_into_the_bins_of_the_reference(running):
    # On, between and beyond the edges of both features and both outputs.
    rows = [(-1.0, 0.0), (-1.5, 1.0), (0.0, 0.0), (0.1, 1.0), (10.0, 1.0), (10.5, 0.0), (99.0, 1.0)]
    flat = [value for row in rows for value in row]
    await running.infer(tensor(flat, shape=[len(rows), 2]))
    series = await running.series()
    for kind, label, entries, factor in (
        ("feature", "feature", REFERENCE["features"], 1.0),
        ("output", "output", REFERENCE["outputs"], 2.0),
    ):
        for column, entry in enumerate(entries):
            bins = Counter(bin_of(entry["edges"], factor * row[column]) for row in rows)
            running_total = 0
            for index, edge in enumerate([*entry["edges"], "+Inf"]):
                running_total += bins[index]
                labels = sorted([f'{label}="{entry["name"]}"', f'le="{edge}"'])
                name = f"modelhandoff_server_{kind}_bucket{{{','.join(labels)}}}"
                assert series[name] == running_total
            name = f'modelhandoff_server_{kind}_sum{{{label}="{entry["name"]}"}}'
            if entry["edges"][0] < 0:
                assert name not in series  # a sum that may fall is no counter
                continue
            assert series[name] == pytest.approx(factor * sum(row[column] for row in rows))


async def test_a_missing_value_is_counted_beside_the_bins(running):
    status, _, _ = await running.infer(tensor([None, 0.0, 5.0, 1.0], shape=[2, 2]))
    # What leaves the model as NaN is no JSON number: an honest 500.
    assert status == 500
    series = await running.series()
    assert series['modelhandoff_server_feature_missing_total{feature="age"}'] == 1.0
    assert series['modelhandoff_server_feature_bucket{feature="age",le="+Inf"}'] == 1.0
    assert series['modelhandoff_server_output_missing_total{output="double_age"}'] == 1.0
    assert series['modelhandoff_server_output_bucket{le="+Inf",output="double_age"}'] == 1.0


async def test_an_output_that_is_no_finite_number_is_500(tmp_path):
    async with server(logarithm(tmp_path / "m.onnx")) as running:
        status, body, _ = await running.infer(tensor([1.0]))
        assert (status, body["outputs"][0]["data"]) == (200, [0.0])
        for value in (0.0, -1.0):
            status, body, _ = await running.infer(tensor([value]))
            assert status == 500
            assert body["error"].endswith("an output is not a finite number")


async def test_contract_violations_are_counted_by_field_and_rule(running):
    await running.infer(tensor([101.0, 3.0, 102.0, 0.0], shape=[2, 2]))
    await running.infer(tensor([1.0, None], shape=[1, 2]))
    await running.post("/score", {"features": {"age": "old", "kind": 0}})
    await running.post("/score", {"features": {"age": 1}})
    await running.infer(tensor([1.0], shape=[1, 1]))
    series = await running.series()
    prefix = "modelhandoff_server_contract_violations_total"
    counted = {
        name.removeprefix(prefix): value
        for name, value in series.items()
        if name.startswith(prefix) and value
    }
    assert counted == {
        '{field="age",rule="range"}': 2.0,
        '{field="kind",rule="category"}': 1.0,
        '{field="kind",rule="missing"}': 2.0,
        '{field="age",rule="type"}': 1.0,
        '{field="x",rule="shape"}': 1.0,
    }


async def test_abstentions_count_rows_below_the_agreed_confidence(running):
    await running.infer(tensor([1.0, 0.0, 1.0, 1.0, 1.0, 0.0], shape=[3, 2]))
    _, body, _ = await running.post("/score", {"features": {"age": 1, "kind": 0}})
    assert body["outputs"]["abstained"] is True
    _, body, _ = await running.post("/score", {"features": {"age": 1, "kind": 1}})
    assert body["outputs"]["abstained"] is False
    series = await running.series()
    assert series["modelhandoff_server_abstentions_total"] == 3.0
    assert series["modelhandoff_server_batch_rows_sum"] == 5.0


async def test_a_metrics_port_takes_metrics_off_the_public_one(tmp_path):
    async with server(doubling(tmp_path / "m.onnx"), "--metrics-port", "0") as running:
        assert len(running.ports) == 2
        assert (await running.series())[f'{REQUESTS}{{code="200"}}'] == 0.0
        status, _, _ = await running.get("/metrics")
        assert status == 404
