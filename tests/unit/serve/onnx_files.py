"""Small ONNX models with one trait each, and running servers for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from modelhandoff.serve.main import Listener
from modelhandoff.serve.service import Service
from modelhandoff.serve.settings import parse

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
info = helper.make_tensor_value_info


def save(
    path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], **constants: Any
) -> Path:
    initializers = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    graph = helper.make_graph(nodes, "test", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
    return path


def doubling(path: Path) -> Path:
    """y = 2 x, FP32 [rows, 2] to [rows, 2]; rows are independent."""
    return save(
        path,
        [helper.make_node("Add", ["x", "x"], ["y"])],
        [info("x", FLOAT, ["rows", 2])],
        [info("y", FLOAT, ["rows", 2])],
    )


def picky(path: Path) -> Path:
    """y = [10, 20, 30][x], FP32 [rows, 1] to [rows, 1]; fails for x of 3 or more."""
    return save(
        path,
        [
            helper.make_node("Cast", ["x"], ["index"], to=INT64),
            helper.make_node("Gather", ["table", "index"], ["y"]),
        ],
        [info("x", FLOAT, ["rows", 1])],
        [info("y", FLOAT, ["rows", 1])],
        table=np.array([10.0, 20.0, 30.0], dtype=np.float32),
    )


def row_mixing(path: Path) -> Path:
    """y = x - mean over the rows: an answer depends on who else is in the call."""
    return save(
        path,
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
            helper.make_node("Sub", ["x", "mean"], ["y"]),
        ],
        [info("x", FLOAT, ["rows", 1])],
        [info("y", FLOAT, ["rows", 1])],
    )


def summing(path: Path) -> Path:
    """y = the sum of all of x, one number for the whole request."""
    return save(
        path,
        [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)],
        [info("x", FLOAT, ["rows", 1])],
        [info("y", FLOAT, [])],
    )


def logarithm(path: Path) -> Path:
    """y = log x: not a finite number for x of 0 or below."""
    return save(
        path,
        [helper.make_node("Log", ["x"], ["y"])],
        [info("x", FLOAT, ["rows", 1])],
        [info("y", FLOAT, ["rows", 1])],
    )


def slow(path: Path, rounds: int = 5_000) -> Path:
    """y = x after ``rounds`` useless rotations, some hundredths of a second."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["a_in", "rotation"], ["a_out"]),
            helper.make_node("Identity", ["go_in"], ["go_out"]),
        ],
        "body",
        [info("i", INT64, []), info("go_in", BOOL, []), info("a_in", FLOAT, [8, 128])],
        [info("go_out", BOOL, []), info("a_out", FLOAT, [8, 128])],
    )
    rng = np.random.default_rng(0)
    return save(
        path,
        [
            helper.make_node("Loop", ["rounds", "", "start"], ["end"], body=body),
            helper.make_node("ReduceMean", ["end"], ["mean"], keepdims=0),
            helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
            helper.make_node("Add", ["x", "zero"], ["y"]),
        ],
        [info("x", FLOAT, ["rows", 1])],
        [info("y", FLOAT, ["rows", 1])],
        rounds=np.array(rounds, dtype=np.int64),
        start=rng.normal(size=(8, 128)).astype(np.float32),
        rotation=np.linalg.qr(rng.normal(size=(128, 128)))[0].astype(np.float32),
        nothing=np.array(0.0, dtype=np.float32),
    )


def typed(path: Path) -> Path:
    """Passes an INT8, a BOOL and a text input through; rows are independent."""
    names = {"i": TensorProto.INT8, "b": BOOL, "s": TensorProto.STRING, "d": TensorProto.DOUBLE}
    return save(
        path,
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in names],
        [info(name, kind, ["rows"]) for name, kind in names.items()],
        [info(f"{name}_out", kind, ["rows"]) for name, kind in names.items()],
    )


def tensor(values: list[Any], *, shape: list[int] | None = None, name: str = "x") -> dict[str, Any]:
    return {
        "inputs": [
            {"name": name, "datatype": "FP32", "shape": shape or [len(values), 1], "data": values}
        ]
    }


REFERENCE: dict[str, Any] = {
    "format": "modelhandoff.dev/reference/v1",
    "model": {"name": "m", "version": "1"},
    "features": [
        {
            "name": "age",
            "input": "x",
            "column": 0,
            "edges": [-1.0, 0.0, 10.0],
            "counts": [1, 2, 3, 4],
            "min": -5.0,
            "max": 100.0,
            "allowMissing": True,
        },
        {
            "name": "kind",
            "input": "x",
            "column": 1,
            "edges": [0.5],
            "counts": [5, 5],
            "categories": [0.0, 1.0],
        },
    ],
    "outputs": [
        {
            "name": "double_age",
            "output": "y",
            "column": 0,
            "edges": [0.0, 20.0],
            "counts": [1, 1, 1],
        },
        {"name": "double_kind", "output": "y", "column": 1, "edges": [1.0], "counts": [1, 1]},
    ],
}


def write_reference(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps({**REFERENCE, **changes}))
    return path


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that nobody signals."""
    while not condition():  # noqa: ASYNC110 (state of the code under test, which has no event)
        await asyncio.sleep(0.001)


@dataclass
class Running:
    """A server that listens on a free port."""

    service: Service
    listener: Listener
    client: aiohttp.ClientSession
    ports: list[int]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    async def get(self, path: str) -> tuple[int, Any, aiohttp.ClientResponse]:
        async with self.client.get(self.url + path) as response:
            return response.status, json.loads(await response.read()), response

    async def post(
        self, path: str, body: Any, **headers: str
    ) -> tuple[int, Any, aiohttp.ClientResponse]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.client.post(self.url + path, data=data, headers=headers) as response:
            return response.status, json.loads(await response.read()), response

    async def infer(self, body: Any, **headers: str) -> tuple[int, Any, aiohttp.ClientResponse]:
        return await self.post("/v2/models/m/infer", body, **headers)

    async def series(self) -> dict[str, float]:
        async with self.client.get(f"http://127.0.0.1:{self.ports[-1]}/metrics") as response:
            text = await response.text()
        lines = (line for line in text.splitlines() if not line.startswith("#"))
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


@asynccontextmanager
async def server(model: Path, *flags: str, load: bool = True) -> AsyncIterator[Running]:
    """A server for a model file, stopped at the end."""
    settings = parse(
        [
            *("--model-dir", str(model.parent), "--model-file", model.name),
            *("--model-name", "m", "--model-version", "1.4.0"),
            *("--host", "127.0.0.1", "--port", "0", "--drain-wait", "0", "--warmup-requests", "2"),
            *flags,
        ],
        {},
    )
    service = Service(settings)
    listener = Listener(service)
    ports = await listener.open()
    async with aiohttp.ClientSession() as client:
        try:
            if load:
                await service.load()
            yield Running(service, listener, client, ports)
        finally:
            await listener.drain()
