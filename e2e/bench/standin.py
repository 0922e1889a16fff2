"""A Prometheus stand-in: answers range selectors with raw samples of counters that keep growing.

It scrapes made-up pods (each at its own moment, seeded random traffic), keeps their last samples
and answers ``/api/v1/query`` like Prometheus does. What the pods do, and whether it answers at
all, can be changed while it runs. A process of its own, so that it does not share the GIL with
whoever measures: ``python -m e2e.bench.standin --scrape 5`` prints its address.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import web

EDGES = ("0.005", "0.01", "0.02", "0.03", "0.05", "0.1", "+Inf")
FAST = (0.30, 0.35, 0.22, 0.10, 0.02, 0.008, 0.002)
"""Share of requests per latency bucket; 3 % lie above 30 ms."""
BINS = (*tuple(f"{n / 10:.1f}" for n in range(1, 10)), "+Inf")
SHAPE = (0.30, 0.20, 0.12, 0.08, 0.06, 0.05, 0.05, 0.05, 0.05, 0.04)
"""Share of outputs per bin."""
ERRORS = 0.002
KEPT_SECONDS = 240.0
TICK = 0.02
OURS = "modelhandoff_server_"


@dataclass(slots=True)
class Pod:
    """One scrape target; ``counts`` are its counters in the order of ``prefixes``."""

    name: str
    workload: str
    prefixes: list[tuple[str, str]]
    rng: np.random.Generator
    offset: float
    rate: float = 0.0
    errors: float = ERRORS
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    samples: deque[tuple[int, tuple[int, ...]]] = field(default_factory=deque)
    due: float = 0.0
    breached: bool = False


class Standin:
    """All pods and the answers.

    Attributes:
        asked: (Unix seconds, characters of the query, series of the answer) per question.
        visible: by workload, when the first sample under its present behaviour was stored.
        failing: whether every question gets HTTP 500.
    """

    def __init__(self, scrape: float) -> None:
        self.scrape = scrape
        self.pods: dict[tuple[str, str], Pod] = {}
        self.rates: dict[str, float] = {}
        self.errors: dict[str, float] = {}
        self.asked: list[tuple[float, int, int]] = []
        self.visible: dict[str, float] = {}
        self.failing = False

    def add(self, namespace: str, name: str, workload: str) -> None:
        if (namespace, name) in self.pods:
            return
        seed = int(hashlib.sha256(name.encode()).hexdigest()[:12], 16)
        target = {
            "namespace": namespace,
            "pod": name,
            "job": "pods",
            "instance": f"10.{seed % 200}.{seed // 200 % 250}.{seed // 50000 % 250}:8080",
        }
        started = time.time()
        pod = Pod(
            name,
            workload,
            [
                (metric, json.dumps({"__name__": metric, **target, **labels}))
                for metric, labels in _series()
            ],
            np.random.default_rng(seed),
            offset=self.scrape * (seed % 1000) / 1000,
            rate=self.rates.get(workload, 0.0),
            errors=self.errors.get(workload, ERRORS),
        )
        pod.counts = np.zeros(len(pod.prefixes), dtype=np.int64)
        pod.counts[0] = 1
        pod.counts[1] = int(started)
        pod.due = self._next(pod, started)
        self.pods[namespace, name] = pod

    def remove(self, namespace: str, name: str) -> None:
        self.pods.pop((namespace, name), None)

    def behave(self, workload: str, *, rate: float | None, errors: float | None) -> None:
        """Change what a Deployment's pods do from now on."""
        if rate is not None:
            self.rates[workload] = rate
        if errors is not None:
            self.errors[workload] = errors
        for pod in self.pods.values():
            if pod.workload == workload:
                pod.rate = self.rates.get(workload, 0.0)
                pod.errors = self.errors.get(workload, ERRORS)
                if errors is not None:
                    self.visible.pop(workload, None)
                    pod.breached = True

    async def scrape_forever(self) -> None:
        while True:
            now = time.time()
            for pod in self.pods.values():
                while pod.due <= now:
                    self._scrape(pod)
            await asyncio.sleep(TICK)

    def _next(self, pod: Pod, after: float) -> float:
        return (after - pod.offset) // self.scrape * self.scrape + self.scrape + pod.offset

    def _scrape(self, pod: Pod) -> None:
        total = int(pod.rng.poisson(pod.rate * self.scrape))
        bad = int(pod.rng.binomial(total, pod.errors))
        latency = np.cumsum(pod.rng.multinomial(total, FAST))
        outputs = np.cumsum(pod.rng.multinomial(total, SHAPE))
        pod.counts[2:] += np.concatenate(([total - bad, bad], latency, [total], outputs, [0]))
        pod.samples.append((round(pod.due * 1000), tuple(pod.counts.tolist())))
        while pod.samples[0][0] < (pod.due - KEPT_SECONDS) * 1000:
            pod.samples.popleft()
        if pod.breached:
            pod.breached = False
            self.visible[pod.workload] = time.time()
        pod.due += self.scrape

    def answer(self, query: str, at: float) -> str:
        names, namespaces, pods, length = _parse(query)
        end = round(at * 1000)
        begin = end - length
        parts: list[str] = []
        for (namespace, name), pod in self.pods.items():
            if not namespaces.fullmatch(namespace) or not pods.fullmatch(name):
                continue
            seen = [one for one in pod.samples if begin < one[0] <= end]
            if not seen:
                continue
            times = [f"[{at / 1000:.3f}," for at, _ in seen]
            rows = [counts for _, counts in seen]
            for index, (metric, prefix) in enumerate(pod.prefixes):
                if names.fullmatch(metric):
                    values = ",".join(
                        f'{t}"{row[index]}"]' for t, row in zip(times, rows, strict=True)
                    )
                    parts.append(f'{{"metric":{prefix},"values":[{values}]}}')
        self.asked.append((time.time(), len(query), len(parts)))
        return (
            '{"status":"success","data":{"resultType":"matrix","result":[' + ",".join(parts) + "]}}"
        )


def _series() -> list[tuple[str, dict[str, str]]]:
    return [
        ("up", {}),
        ("process_start_time_seconds", {}),
        (OURS + "requests_total", {"code": "200"}),
        (OURS + "requests_total", {"code": "500"}),
        *((OURS + "request_duration_seconds_bucket", {"le": edge}) for edge in EDGES),
        (OURS + "request_duration_seconds_count", {}),
        *((OURS + "output_bucket", {"le": edge, "output": "score"}) for edge in BINS),
        (OURS + "output_missing_total", {"output": "score"}),
    ]


def _parse(query: str) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str], int]:
    """Matchers of ``__name__``, ``namespace`` and ``pod``, and the range in milliseconds."""
    found = re.fullmatch(r"\{(.*)\}\[(\d+)ms\]", query)
    if found is None:
        raise ValueError(f"not a range selector: {query[:200]}")
    matchers = {}
    for label, operator, text in re.findall(r'(\w+)(=~|=)("(?:[^"\\]|\\.)*")', found[1]):
        value = json.loads(text)
        matchers[label] = re.compile(value if operator == "=~" else re.escape(value))
    return matchers["__name__"], matchers["namespace"], matchers["pod"], int(found[2])


def application(standin: Standin) -> web.Application:
    """The HTTP side: Prometheus' query, and ours to change and to count."""

    async def query(request: web.Request) -> web.Response:
        form = await request.post()
        if standin.failing:
            standin.asked.append((time.time(), 0, 0))
            return web.json_response(
                {"status": "error", "errorType": "internal", "error": "told to fail"}, status=500
            )
        text = standin.answer(str(form["query"]), float(str(form["time"])))
        return web.Response(text=text, content_type="application/json")

    async def change(request: web.Request) -> web.Response:
        told: dict[str, Any] = await request.json()
        for one in told.get("add", ()):
            standin.add(*one)
        for one in told.get("remove", ()):
            standin.remove(*one)
        for workload, changes in told.get("behave", {}).items():
            standin.behave(workload, rate=changes.get("rate"), errors=changes.get("errors"))
        if "failing" in told:
            standin.failing = bool(told["failing"])
        return web.json_response({})

    async def state(_: web.Request) -> web.Response:
        return web.json_response(
            {"asked": standin.asked, "visible": standin.visible, "pods": len(standin.pods)}
        )

    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/api/v1/query", query)
    app.router.add_post("/change", change)
    app.router.add_get("/state", state)
    return app


async def serve(scrape: float) -> None:
    standin = Standin(scrape)
    runner = web.AppRunner(application(standin), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    print(f"http://127.0.0.1:{port}", flush=True)
    await standin.scrape_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--scrape", type=float, default=5.0)
    asyncio.run(serve(parser.parse_args().scrape))
