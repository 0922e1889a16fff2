"""Waiting requests share calls of the model, and nothing else."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from modelhandoff.serve.batching import Batcher, BatchLimits, TooManyWaiting
from modelhandoff.serve.model import ModelFailed
from modelhandoff.serve.tensors import TensorSpec
from tests.unit.serve.onnx_files import picky, row_mixing, server, slow, tensor, until


class Gated:
    """Doubles x; each call waits until the gate is open. Negative values make a call fail."""

    inputs = (TensorSpec("x", "FP32", (None, 1)),)
    outputs = (TensorSpec("y", "FP32", (None, 1)),)

    def __init__(self):
        self.gate = threading.Event()
        self.calls = []

    def run(self, feeds):
        self.gate.wait(timeout=30)
        x = feeds["x"]
        self.calls.append(x.ravel().tolist())
        if (x < 0).any():
            raise ModelFailed("negative")
        return {"y": 2 * x}


def row(*values):
    return {"x": np.array(values, dtype=np.float32).reshape(-1, 1)}


@pytest.fixture
def model():
    return Gated()


@pytest.fixture
async def make(model):
    made = []

    def build(joins_rows=True, **limits):
        batcher = Batcher(model, BatchLimits(**limits), joins_rows=joins_rows)
        made.append(batcher)
        return batcher

    yield build
    model.gate.set()
    for batcher in made:
        await batcher.close()


async def waiting(batcher, count):
    """Until so many requests are waiting or running."""
    await until(lambda: batcher.pending >= count)


async def submit_all(batcher, *feeds):
    tasks = []
    for index, feed in enumerate(feeds, start=1):
        tasks.append(asyncio.create_task(batcher.submit(feed, len(feed["x"]))))
        await waiting(batcher, index)
    return tasks


async def test_requests_that_wait_share_the_next_call(model, make):
    batcher = make(max_rows=16)
    tasks = await submit_all(batcher, row(1))
    await until(lambda: not batcher._waiting)
    tasks += [asyncio.create_task(batcher.submit(row(v), 1)) for v in (2, 3, 4)]
    await waiting(batcher, 4)
    model.gate.set()
    answers = await asyncio.gather(*tasks)
    assert model.calls == [[1], [2, 3, 4]]
    assert [answer["y"].item() for answer in answers] == [2, 4, 6, 8]


async def test_a_shared_call_is_no_larger_than_allowed_and_keeps_the_order(model, make):
    batcher = make(max_rows=3)
    tasks = await submit_all(batcher, row(0))
    await until(lambda: not batcher._waiting)
    rest = [row(1, 1), row(2, 2), row(3), row(4, 4, 4, 4), row(5)]
    tasks += [asyncio.create_task(batcher.submit(feed, len(feed["x"]))) for feed in rest]
    await waiting(batcher, 6)
    model.gate.set()
    await asyncio.gather(*tasks)
    assert model.calls == [[0], [1, 1], [2, 2, 3], [4, 4, 4, 4], [5]]


async def test_one_bad_row_costs_its_own_request_only(model, make):
    batcher = make(max_rows=16)
    tasks = await submit_all(batcher, row(0))
    await until(lambda: not batcher._waiting)
    tasks += [asyncio.create_task(batcher.submit(row(v), 1)) for v in (1, -1, 2)]
    await waiting(batcher, 4)
    model.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [dict, dict, ModelFailed, dict]
    assert [answers[i]["y"].item() for i in (0, 1, 3)] == [0, 2, 4]
    assert model.calls == [[0], [1, -1, 2], [1], [-1], [2]]


async def test_requests_run_alone_when_rows_are_not_independent(model, make):
    batcher = make(joins_rows=False, max_rows=16)
    model.gate.set()
    await asyncio.gather(*(batcher.submit(row(v), 1) for v in (1, 2, 3)))
    assert sorted(model.calls) == [[1], [2], [3]]


async def test_an_idle_worker_waits_for_company_when_told_to(model, make):
    model.gate.set()
    batcher = make(max_rows=3, max_wait=30.0)
    # Three rows fill the call, so nobody waits the thirty seconds.
    await asyncio.gather(*(batcher.submit(row(v), 1) for v in (1, 2, 3)))
    assert model.calls == [[1, 2, 3]]


async def test_the_wait_for_company_ends(model, make):
    model.gate.set()
    batcher = make(max_rows=3, max_wait=0.01)
    answer = await batcher.submit(row(1), 1)
    assert answer["y"].item() == 2


async def test_above_the_bound_a_request_is_turned_away(model, make):
    batcher = make(max_pending=2)
    tasks = await submit_all(batcher, row(1), row(2))
    with pytest.raises(TooManyWaiting):
        await batcher.submit(row(3), 1)
    model.gate.set()
    await asyncio.gather(*tasks)
    assert (await batcher.submit(row(3), 1))["y"].item() == 6


async def test_two_workers_call_at_the_same_time(model, make):
    batcher = make(workers=2, max_rows=1)
    tasks = await submit_all(batcher, row(1), row(2))
    await until(lambda: not batcher._waiting)  # both are in a worker's hands, the gate is shut
    model.gate.set()
    await asyncio.gather(*tasks)


async def test_a_request_given_up_is_not_run(model, make):
    batcher = make(max_rows=1)
    first = await submit_all(batcher, row(1))
    await until(lambda: not batcher._waiting)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await batcher.submit(row(2), 1)
    model.gate.set()
    await asyncio.gather(*first)
    await batcher.submit(row(3), 1)
    assert model.calls == [[1], [3]]
    assert batcher.pending == 0


async def test_over_http_a_failing_row_is_isolated_and_the_sums_are_right(tmp_path):
    async with server(picky(tmp_path / "m.onnx"), "--max-batch", "8") as running:
        values = [0, 1, 2, 7, 0, 9, 1, 2] * 10
        results = await asyncio.gather(*(running.infer(tensor([float(v)])) for v in values))
        for value, (status, body, _) in zip(values, results, strict=True):
            if value > 2:
                assert status == 500
            else:
                assert (status, body["outputs"][0]["data"]) == (200, [10.0 * (value + 1)])
        series = await running.series()
    assert series['modelhandoff_server_requests_total{code="200"}'] == 60.0
    assert series['modelhandoff_server_requests_total{code="500"}'] == 20.0


async def test_the_warm_up_finds_out_that_a_model_mixes_rows(tmp_path):
    async with server(row_mixing(tmp_path / "m.onnx"), "--max-batch", "8") as running:
        values = [float(v) for v in range(30)]
        results = await asyncio.gather(*(running.infer(tensor([v])) for v in values))
        # Alone, a row is its own mean.
        assert {body["outputs"][0]["data"][0] for _, body, _ in results} == {0.0}
        series = await running.series()
    assert series["modelhandoff_server_batch_rows_count"] == 30.0


async def test_too_many_waiting_is_429_and_too_long_is_503(tmp_path):
    flags = ("--max-pending", "1", "--request-timeout", "1ms")
    async with server(slow(tmp_path / "m.onnx"), *flags) as running:
        results = await asyncio.gather(*(running.infer(tensor([1.0])) for _ in range(4)))
        by_status = {status: (body, response) for status, body, response in results}
        assert set(by_status) == {429, 503}
        assert by_status[429][0]["error"] == "too many requests waiting; allowed 1"
        assert by_status[503][0]["error"] == "no answer within 0.001 s"
        assert all(response.headers["Retry-After"] == "1" for _, response in by_status.values())
