"""A test's own corner of the cluster: namespace, host name, client, and a watch on its route."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from e2e.cluster.errors import ClusterError
from e2e.stack import Stack
from e2e.traffic import Summary, Traffic

Raw = dict[str, Any]
Weights = dict[str, int]

ROOMY: Raw = {
    # The rules of the example with a latency budget that a busy machine does not reach; the one
    # test about latency has its own.
    "monitoring": {"metrics": [
        {"name": "errors", "type": "ErrorRate", "max": 0.01},
        {"name": "latency", "type": "Latency", "quantile": 0.95, "budget": "2s"},
        {"name": "scores", "type": "Drift", "of": "Output", "maxKL": 0.2},
    ]},
    "contracts": {"api": {"latency": {"p95": "2s"}}},
}  # fmt: skip
STAYS: Raw = {"rollout": {"steps": [{"weight": 10, "minDuration": "20m"}]}}
"""One step that does not end while a test looks at it."""
ENDS = ("Promoted", "RolledBack", "Rejected", "Inconclusive", "Aborted", "Superseded")


@dataclass
class RouteWatch:
    """Every set of weights that the route ever had, from the API server's own watch."""

    stack: Stack
    namespace: str
    seen: list[Weights] = field(default_factory=list)
    _version: str = ""
    _thread: threading.Thread | None = None
    _process: subprocess.Popen[str] | None = None

    def start(self) -> RouteWatch:
        """Watch from now on; returns once the route as it is now has been seen."""
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
        self.settle()
        return self

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        lines: list[str] = []
        for line in self._process.stdout:
            lines.append(line)
            if line.rstrip() != "}":  # only the end of a document begins in the first column
                continue
            found = json.loads("".join(lines))
            lines = []
            refs = found["spec"]["rules"][0].get("backendRefs") or []
            weights = {ref["name"]: ref["weight"] for ref in refs}
            if not self.seen or self.seen[-1] != weights:
                self.seen.append(weights)
            self._version = found["metadata"]["resourceVersion"]

    def settle(self, timeout: float = 30) -> None:
        """Wait until the watch has seen the route as it is stored now."""
        deadline = time.monotonic() + timeout
        while True:
            items = self.stack.cluster.get("httproutes", f"--namespace={self.namespace}")["items"]
            if not items or items[0]["metadata"]["resourceVersion"] == self._version:
                return
            if time.monotonic() > deadline:
                raise AssertionError("the watch on the route lags behind")
            time.sleep(0.1)

    def stop(self) -> None:
        """Watch no more."""
        if self._process is not None and self._process.stdout is not None and self._thread:
            self._process.kill()
            self._process.wait()
            self._thread.join(timeout=10)
            self._process.stdout.close()

    @property
    def last(self) -> Weights:
        """The weights as they are now."""
        self.settle()
        return self.seen[-1]

    def of(self, service: str) -> list[int]:
        """The weights that a Service had, one after the other."""
        self.settle()
        every = [weights.get(service, 0) for weights in self.seen]
        return [w for i, w in enumerate(every) if not i or every[i - 1] != w]

    def highest(self, service: str) -> int:
        """The largest weight that a Service ever had."""
        return max(self.of(service), default=0)


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

    # What a person does

    def handoff(self, version: str, *changes: Raw) -> Raw:
        """The example's handoff in this corner, with changed fields."""
        spec: Raw = ROOMY
        for change in changes:
            spec = _over(spec, change)
        document = self.stack.handoff(version, self.namespace, **spec)
        document["spec"]["rollout"]["route"]["hostnames"] = [self.host]
        return document

    def apply(self, version: str, *changes: Raw) -> Raw:
        """Apply it; what was applied."""
        document = self.handoff(version, *changes)
        self.stack.apply(document)
        return document

    def annotate(self, verb: str, value: str | None) -> None:
        """Write a verb on the handoff; ``None`` takes it off."""
        what = f"modelhandoff.dev/{verb}-" if value is None else f"modelhandoff.dev/{verb}={value}"
        self.kubectl("annotate", "mho", "fraud", "--overwrite", what)

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl in this corner."""
        return self.stack.cluster.kubectl(*arguments, f"--namespace={self.namespace}")

    # What a test waits for

    def wait(self, *phases: str, after: int = 0, **more: Any) -> Raw:
        """Wait for one of these phases; at once an error when it has ended in another.

        Args:
            phases: any of them.
            after: ordinal of an earlier attempt whose end is not meant.
            more: of ``Stack.wait``.
        """

        def ended(status: Raw) -> bool:
            newer = (status.get("attemptRef") or {}).get("ordinal", 0) > after
            return newer and status.get("phase") in (*phases, *ENDS)

        status = self.stack.wait(self.namespace, ended, what=" or ".join(phases), **more)
        if status["phase"] not in phases:
            raise AssertionError(f"{status['phase']} instead of {phases}: {status['message']}")
        return status

    def wait_weight(self, weight: int, timeout: float = 120, after: int = 0) -> Raw:
        """Wait until the candidate has this share of the traffic and it has landed."""

        def has(status: Raw) -> bool:
            step = status.get("step") or {}
            return step.get("weight") == weight and (not weight or bool(step.get("startedAt")))

        return self.until(has, f"at {weight} %", timeout, after)

    def wait_looks(self, looks: int, timeout: float = 120) -> Raw:
        """Wait until the running attempt rests on so many looks; its status as stored."""
        deadline = time.monotonic() + timeout
        while True:
            status: Raw = self.attempt().get("status") or {}
            if status.get("looks", 0) >= looks:
                return status
            if time.monotonic() > deadline:
                raise AssertionError(f"not {looks} looks after {timeout:.0f} s: {status}")
            time.sleep(0.5)

    def wait_message(self, part: str, timeout: float = 60) -> str:
        """Wait until the status's sentence has this in it; the sentence."""
        status = self.until(lambda s: part in s.get("message", ""), f"saying {part!r}", timeout)
        return str(status["message"])

    def wait_stalled(self, reason: str, timeout: float = 60) -> str:
        """Wait until the handoff is stalled for this reason; the sentence."""

        def stalled(status: Raw) -> bool:
            found = condition(status, "Stalled")
            return bool(found["status"] == "True" and found["reason"] == reason)

        status = self.stack.wait(self.namespace, stalled, what=reason, timeout=timeout)
        return str(status["message"])

    def until(self, wanted: Any, what: str, timeout: float = 120, after: int = 0) -> Raw:
        """Wait until the handoff's status is as wanted; at once an error when it has ended."""

        def checked(status: Raw) -> bool:
            if (status.get("attemptRef") or {}).get("ordinal", 0) <= after:
                return False
            if wanted(status):
                return True
            if status.get("phase") in ENDS:
                raise AssertionError(f"{status['phase']} before {what}: {status['message']}")
            return False

        return self.stack.wait(self.namespace, checked, what=what, timeout=timeout)

    def serve(self, version: str = "v1", *changes: Raw) -> str:
        """The first version, serving, with traffic on it; its workload's name."""
        self.apply(version, *changes)
        status = self.wait("Promoted")
        self.send()
        return self.workload(status)

    def send(self) -> None:
        """Send traffic, once there is somebody to answer, and watch the route."""
        until_answered(self)
        self.routes.start()
        self.traffic.start()

    # What a test looks at

    def workload(self, status: Raw) -> str:
        """Deployment and Service of the attempt's revision."""
        return f"fraud-{status['candidate']['revision'].removeprefix('v1-')[:10]}"

    def deployment(self, name: str) -> Raw:
        """One Deployment as stored."""
        return self.stack.cluster.get("deployment", name, f"--namespace={self.namespace}")

    def attempts(self) -> list[Raw]:
        """All attempts as stored, oldest first."""
        items = self.stack.cluster.get("handoffattempts", f"--namespace={self.namespace}")["items"]
        return sorted(items, key=lambda a: int(a["spec"]["ordinal"]))

    def attempt(self) -> Raw:
        """The newest attempt, as stored."""
        return self.attempts()[-1]

    def status(self) -> Raw:
        """The handoff's status, as stored."""
        found: Raw = self.stack.get(self.namespace)["status"]
        return found

    def pods(self, workload: str) -> list[Raw]:
        """The pods of one revision."""
        label = f"--selector=modelhandoff.dev/revision={workload.removeprefix('fraud-')}"
        items: list[Raw] = self.stack.cluster.get("pods", f"--namespace={self.namespace}", label)[
            "items"
        ]
        return items

    def nothing_lost(self, least: int = 200) -> Summary:
        """No request failed because of a routing change, from the first to now.

        Looked at once more than ``least`` were answered.
        """
        enough = f"more than {least} answers"
        self.stack.cluster.wait(lambda: self.traffic.summary().answered > least, enough, 60)
        summary = self.traffic.summary()
        assert summary.not_the_models_fault == 0, summary.failures
        return summary


def condition(status: Raw, kind: str) -> Raw:
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
    raise ClusterError(f"no answer through the gateway within {timeout:.0f} s")


def _over(base: Raw, change: Raw) -> Raw:
    """``change`` on top of ``base``, objects field by field."""
    found = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = _over(found[key], value) if both else value
    return found
