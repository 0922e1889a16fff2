"""One stack for the whole run; a namespace, a host name and a client per test."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from e2e.cluster.progress import Progress
from e2e.stack import Stack
from e2e.traffic import Traffic

Raw = dict[str, Any]
_numbers = itertools.count(1)


@dataclass
class RouteWatch:
    """Every set of weights that the route ever had, from the API server's own watch."""

    stack: Stack
    namespace: str
    seen: list[dict[str, int]] = field(default_factory=list)
    _end: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _process: subprocess.Popen[str] | None = None

    def start(self) -> RouteWatch:
        """Watch from now on."""
        cluster = self.stack.cluster
        self._process = subprocess.Popen(
            cluster.kubectl_command(
                "get", "httproutes", f"--namespace={self.namespace}", "--watch", "--output=json"
            ),
            env=cluster.environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def _read(self) -> None:
        decoder, text = json.JSONDecoder(), ""
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text += line
            try:
                found, end = decoder.raw_decode(text)
            except ValueError:
                continue
            text = text[end:].lstrip()
            refs = found["spec"]["rules"][0].get("backendRefs") or []
            weights = {ref["name"]: ref["weight"] for ref in refs}
            if not self.seen or self.seen[-1] != weights:
                self.seen.append(weights)

    def stop(self) -> None:
        """Watch no more."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None and self._thread is not None:
                self._thread.join(timeout=10)
                self._process.stdout.close()

    def highest(self, service: str) -> int:
        """The largest weight that a Service ever had."""
        return max((weights.get(service, 0) for weights in self.seen), default=0)


@dataclass
class Case:
    """One test's corner of the cluster.

    Attributes:
        host: host name of its route; nobody else's.
        traffic: its client, started by ``serve``.
        routes: every set of weights its route ever had.
    """

    stack: Stack
    namespace: str
    host: str
    traffic: Traffic
    routes: RouteWatch

    def handoff(self, version: str, **changes: Any) -> Raw:
        """The example's handoff in this corner."""
        document = self.stack.handoff(version, self.namespace, **changes)
        document["spec"]["rollout"]["route"]["hostnames"] = [self.host]
        return document

    def apply(self, version: str, **changes: Any) -> Raw:
        """Apply it; what was applied."""
        document = self.handoff(version, **changes)
        self.stack.apply(document)
        return document

    def wait(self, *phases: str, **more: Any) -> Raw:
        """Wait for one of these phases."""
        return self.stack.wait_phase(self.namespace, *phases, **more)

    def wait_weight(self, weight: int, timeout: float = 120) -> Raw:
        """Wait until the candidate has this share of the traffic and it has landed."""
        return self.stack.wait(
            self.namespace,
            lambda s: (s.get("step") or {}).get("weight") == weight and s["step"].get("startedAt"),
            what=f"at {weight} %",
            timeout=timeout,
        )

    def serve(self, version: str = "v1") -> str:
        """The first version, serving, with traffic on it; its workload's name."""
        self.apply(version)
        status = self.wait("Promoted")
        until_answered(self)
        self.routes.start()
        self.traffic.start()
        return self.workload(status)

    def workload(self, status: Raw) -> str:
        """Deployment and Service of the attempt's revision."""
        return f"fraud-{status['candidate']['revision'].removeprefix('v1-')[:10]}"

    def attempt(self) -> Raw:
        """The newest attempt, as stored."""
        items = self.stack.cluster.get("handoffattempts", f"--namespace={self.namespace}")["items"]
        newest: Raw = max(items, key=lambda a: a["spec"]["ordinal"])
        return newest

    def annotate(self, verb: str, value: str) -> None:
        """Write a verb on the handoff."""
        self.stack.cluster.kubectl(
            "annotate", "mho", "fraud", f"--namespace={self.namespace}", "--overwrite",
            f"modelhandoff.dev/{verb}={value}",
        )  # fmt: skip

    def condition(self, status: Raw, kind: str) -> Raw:
        """One condition of a status."""
        found: Raw = next(c for c in status["conditions"] if c["type"] == kind)
        return found


def until_answered(case: Case, timeout: float = 30) -> None:
    """Wait until a model answers through the gateway."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        probe = case.stack.traffic(host=case.host, rate=5, duration=0.5)
        probe.start()
        probe.join()
        found = probe.summary()
        if found.answered and not found.not_the_models_fault:
            return
    raise AssertionError(f"no answer through the gateway within {timeout:.0f} s")


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The whole product on one cluster."""
    progress = Progress()
    found = Stack.start("e2e", gpus=4, progress=progress)
    try:
        yield found
    finally:
        found.down()


@pytest.fixture
def case(stack: Stack) -> Iterator[Case]:
    """A corner of the cluster, removed afterwards."""
    name = f"case-{next(_numbers)}"
    stack.namespace(name)
    host = f"{name}.example"
    traffic = stack.traffic(host=host, rate=60, duration=900)
    found = Case(stack, name, host, traffic, RouteWatch(stack, name))
    try:
        yield found
    finally:
        traffic.stop()
        found.routes.stop()
        stack.cluster.kubectl(
            "delete", "mho", "--all", f"--namespace={name}", "--wait=true", "--timeout=60s"
        )
        stack.cluster.kubectl("delete", "namespace", name, "--wait=true", "--timeout=120s")
