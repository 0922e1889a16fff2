"""Ready only when warm; leaving without losing a request."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys

import aiohttp
import pytest

from modelhandoff.serve.contract import bind
from modelhandoff.serve.model import ModelUnusable, load_model
from modelhandoff.serve.reference import BadReference
from modelhandoff.serve.service import State
from modelhandoff.serve.warmup import synthetic_examples, warm_up
from tests.unit.serve.onnx_files import (
    doubling,
    picky,
    server,
    slow,
    tensor,
    until,
    write_reference,
)


async def test_nothing_but_liveness_passes_before_the_model_is_loaded(tmp_path):
    async with server(doubling(tmp_path / "m.onnx"), load=False) as running:
        assert (await running.get("/v2/health/live"))[0] == 200
        for path in ("/v2/health/ready", "/v2/models/m/ready", "/v2/models/m"):
            assert (await running.get(path))[0] == 503
        status, body, response = await running.infer(tensor([1.0, 2.0], shape=[1, 2]))
        assert (status, body["error"]) == (503, "not ready: Loading")
        assert response.headers["Retry-After"] == "1"
        await running.service.load()
        assert (await running.get("/v2/health/ready"))[0] == 200


async def test_a_loaded_model_is_not_ready_until_it_has_answered(tmp_path):
    async with server(slow(tmp_path / "m.onnx"), load=False) as running:
        load = asyncio.create_task(running.service.load())
        seen = []
        while not load.done():
            status, body, _ = await running.get("/v2/health/ready")
            seen.append((body["state"], status))
        await load
        assert ("WarmingUp", 503) in seen
        assert ("WarmingUp", 200) not in seen
        assert (await running.get("/v2/health/ready"))[0] == 200
        series = await running.series()
    # The server's own calls are nobody's traffic.
    assert series['modelhandoff_server_requests_total{code="200"}'] == 0.0
    assert series["modelhandoff_server_batch_rows_count"] == 0.0


def test_a_slow_model_is_warm_after_a_few_calls(tmp_path):
    model = load_model(doubling(tmp_path / "m.onnx"), intra_op_threads=1)
    examples = synthetic_examples(bind(model.inputs, model.outputs, None))
    for calls, seconds_each, made in ((20, 0.0, 20), (20, 1.0, 3), (20, 60.0, 1)):
        times = itertools.count(step=seconds_each) if seconds_each else itertools.repeat(0.0)
        assert warm_up(model, examples, calls, enough=3.0, clock=times.__next__).calls == made


async def test_golden_requests_warm_the_model_up(tmp_path):
    model = picky(tmp_path / "m.onnx")
    lines = [json.dumps({"request": tensor([float(v)])}) for v in (0, 1, 9)]
    (tmp_path / "golden.jsonl").write_text("\n".join(lines) + "\n\n")
    async with server(model, "--warmup-requests", "3") as running:
        # One of the three fails in the model: being right is not the warm-up's business.
        assert running.service.ready


async def test_examples_that_all_fail_keep_the_server_from_being_ready(tmp_path):
    model = picky(tmp_path / "m.onnx")
    (tmp_path / "golden.jsonl").write_text(json.dumps({"request": tensor([9.0])}))
    async with server(model, load=False) as running:
        with pytest.raises(ModelUnusable, match="the model failed on every example"):
            await running.service.load()
        assert not running.service.ready


@pytest.mark.parametrize("content", [b"", b"age,kind\n1,2\n", b'{"request": {}}', b"\xff"])
async def test_test_data_of_another_kind_falls_back_to_made_up_requests(tmp_path, content):
    (tmp_path / "golden.jsonl").write_bytes(content)
    async with server(doubling(tmp_path / "m.onnx")) as running:
        assert running.service.ready


async def test_named_features_can_be_examples_too(tmp_path):
    write_reference(tmp_path / "reference.json")
    line = {"request": {"features": {"age": 1, "kind": 0}}}
    (tmp_path / "golden.jsonl").write_text(json.dumps(line))
    async with server(doubling(tmp_path / "m.onnx"), "--reference", "reference.json") as running:
        assert running.service.ready


async def test_a_file_that_is_no_model_is_refused_with_one_line(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"not a model")
    async with server(tmp_path / "m.onnx", load=False) as running:
        with pytest.raises(ModelUnusable, match="not a usable ONNX model") as caught:
            await running.service.load()
    assert len(str(caught.value).splitlines()) == 1


async def test_a_reference_that_names_other_tensors_is_refused(tmp_path):
    write_reference(tmp_path / "reference.json")
    async with server(
        picky(tmp_path / "m.onnx"), "--reference", "reference.json", load=False
    ) as running:
        with pytest.raises(BadReference, match=r"features\.kind: no such column in x; got 1"):
            await running.service.load()


async def test_a_drain_fails_readiness_first_and_serves_on(tmp_path):
    async with server(doubling(tmp_path / "m.onnx")) as running:
        running.service.start_draining()
        assert (await running.get("/v2/health/ready"))[0] == 503
        assert (await running.get("/v2/health/live"))[0] == 200
        status, _, response = await running.infer(tensor([1.0, 2.0], shape=[1, 2]))
        assert status == 200
        assert response.headers["Connection"] == "close"


async def test_a_drain_answers_every_request_in_flight(tmp_path):
    async with server(slow(tmp_path / "m.onnx"), "--max-batch", "1") as running:
        batcher = running.service.serving.batcher
        requests = [asyncio.create_task(running.infer(tensor([float(v)]))) for v in range(5)]
        await until(lambda: batcher.pending == 5)
        await running.listener.drain()
        results = await asyncio.gather(*requests)
        assert [status for status, _, _ in results] == [200] * 5
        with pytest.raises(aiohttp.ClientConnectionError):
            await running.get("/v2/health/live")


async def test_a_drain_during_a_load_is_not_undone_by_it(tmp_path):
    async with server(slow(tmp_path / "m.onnx"), load=False) as running:
        load = asyncio.create_task(running.service.load())
        await until(lambda: running.service.state is State.WARMING_UP)
        running.service.start_draining()
        await load
        assert running.service.state is State.DRAINING


class Process:
    """``modelhandoff-serve`` as its own process, configured by the environment alone."""

    def __init__(self, process):
        self.process = process
        self.port = 0

    @classmethod
    async def start(cls, directory, **extra):
        env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("MODELHANDOFF_")},
            "MODEL_DIR": str(directory),
            "MODELHANDOFF_MODEL_NAME": "m",
            "MODELHANDOFF_MODEL_VERSION": "1.4.0",
            "MODELHANDOFF_HOST": "127.0.0.1",
            "MODELHANDOFF_PORT": "0",
            "MODELHANDOFF_DRAIN_WAIT": "0",
            **extra,
        }
        command = (sys.executable, "-m", "modelhandoff.serve.main")
        return cls(
            await asyncio.create_subprocess_exec(*command, env=env, stderr=asyncio.subprocess.PIPE)
        )

    async def line(self, wanted):
        """The first log line that holds a text."""
        assert self.process.stderr is not None
        while line := (await self.process.stderr.readline()).decode():
            if wanted in line:
                return line
        raise AssertionError(f"the server ended without saying {wanted!r}")

    async def end(self):
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


@pytest.fixture
async def start():
    started = []

    async def begin(directory, **extra):
        started.append(await Process.start(directory, **extra))
        return started[-1]

    yield begin
    for process in started:
        await process.end()


async def test_sigterm_finishes_what_is_in_flight_and_exits_with_0(tmp_path, start):
    slow(tmp_path / "m.onnx", rounds=20_000)
    server_process = await start(tmp_path, MODELHANDOFF_WARMUP_REQUESTS="1")
    line = json.loads(await server_process.line("listening"))
    port = json.loads(line["message"].split("listening on ")[1].split(", loading")[0])[0]
    await server_process.line("ready: m 1.4.0")
    url = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession() as client:

        async def infer():
            async with client.post(url + "/v2/models/m/infer", json=tensor([1.0])) as response:
                return response.status

        requests = [asyncio.create_task(infer()) for _ in range(4)]
        # An answer to a request sent later proves that the four have arrived: connections are
        # accepted in order.
        async with client.get(url + "/v2/health/ready") as response:
            assert response.status == 200
        server_process.process.send_signal(signal.SIGTERM)
        assert await asyncio.gather(*requests) == [200] * 4
    assert await server_process.process.wait() == 0


async def test_an_unusable_model_ends_the_process_with_1_and_one_line(tmp_path, start):
    (tmp_path / "m.onnx").write_bytes(b"nonsense")
    server_process = await start(tmp_path)
    line = await server_process.line("modelhandoff-serve:")
    assert "m.onnx: not a usable ONNX model" in line
    assert await server_process.process.wait() == 1
