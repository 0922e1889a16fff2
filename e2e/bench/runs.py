"""The runs that are measured. Every figure is counted, not estimated."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from e2e.bench.actors import Actors
from e2e.bench.client import Client
from e2e.bench.handoffs import INTERVAL, MOVING, NAMESPACE, STAYING, handoff, name
from e2e.bench.place import ROOT, Operator, StandinProcess, cpu_of, install, memory_of, until
from e2e.bench.requests_log import Request, by_kind, pods_created, requests
from e2e.cluster import ControlPlane

HANDOFFS = f"/apis/modelhandoff.dev/v1alpha1/namespaces/{NAMESPACE}/modelhandoffs"
ATTEMPTS = f"/apis/modelhandoff.dev/v1alpha1/namespaces/{NAMESPACE}/handoffattempts"
ROUTES = f"/apis/gateway.networking.k8s.io/v1/namespaces/{NAMESPACE}/httproutes"
LOOK = "update handoffattempts/status"

Raw = dict[str, Any]


def load() -> float:
    """Load average of the last minute."""
    return os.getloadavg()[0]


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} [load {load():.1f}] {text}", flush=True)


def share(values: Iterable[float], part: float) -> float:
    """A quantile (nearest rank); NaN of nothing."""
    ordered = sorted(values)
    return ordered[round(part * (len(ordered) - 1))] if ordered else float("nan")


def spread(values: Iterable[float]) -> str:
    """p50 / p95 / max in seconds."""
    known = list(values)
    return (
        f"p50 {share(known, 0.5):.2f} s, p95 {share(known, 0.95):.2f} s, "
        f"max {max(known, default=float('nan')):.2f} s ({len(known)})"
    )


@dataclass(frozen=True, slots=True)
class Span:
    """What one stretch of time cost."""

    seconds: float
    cpu: float
    memory: float
    peak: float
    server_cpu: float
    server_memory: float
    requests: list[Request]
    queries: int
    series: int

    def lines(self, handoffs: int) -> dict[str, Any]:
        reads = sum(not one.write for one in self.requests)
        writes = sum(one.write for one in self.requests)
        return {
            "seconds": round(self.seconds, 1),
            "cpu_percent_of_a_core": round(100 * self.cpu / self.seconds, 1),
            "cpu_ms_per_handoff_and_interval": round(
                1000 * self.cpu / self.seconds * INTERVAL / handoffs, 2
            ),
            "cpu_seconds_per_object_hour": round(self.cpu / self.seconds * 3600 / handoffs, 3),
            "memory_mib": round(self.memory),
            "memory_peak_mib": round(self.peak),
            "api_reads": reads,
            "api_writes": writes,
            "api_requests_per_second": round((reads + writes) / self.seconds, 2),
            "api_by_kind": dict(by_kind(self.requests)),
            "queries": self.queries,
            "queries_per_interval": round(self.queries / self.seconds * INTERVAL, 2),
            "series_per_query": self.series,
            "apiserver_cpu_percent": round(100 * self.server_cpu / self.seconds),
            "apiserver_mib": round(self.server_memory),
        }


@dataclass
class Bench:
    """One control plane with one operator."""

    plane: ControlPlane
    client: Client
    actors: Actors
    operator: Operator
    standin: StandinProcess
    scrape: float
    log: Path
    results: dict[str, Any] = field(default_factory=dict)
    restarts: int = 0
    killing: bool = False
    keeper: asyncio.Task[None] | None = None

    @property
    def lag(self) -> float:
        """As the operator computes it: two scrapes and a little."""
        return 2 * self.scrape + 2.0

    @classmethod
    async def start(cls, scrape: float, rate: float, profile: str = "") -> Self:
        """Start everything; the operator is running but has nothing to do."""
        plane = await asyncio.to_thread(
            ControlPlane.start,
            f"bench-{os.getpid()}",
            # Three Services per handoff; the usual range of a test cluster holds 254.
            apiserver_args=["--service-cluster-ip-range=10.96.0.0/16"],
        )
        folder = ROOT / ".work"
        folder.mkdir(exist_ok=True)
        log = folder / "bench-operator.log"
        log.unlink(missing_ok=True)
        await asyncio.to_thread(install, plane)
        standin = StandinProcess(scrape)
        client = await Client(plane).__aenter__()
        actors = Actors(client, standin.url, rate)
        actors.start()
        operator = Operator(plane, standin.url, scrape, log, profile)
        operator.start()
        made = cls(plane, client, actors, operator, standin, scrape, log)
        made.keeper = asyncio.create_task(made._keep_alive())
        return made

    async def _keep_alive(self) -> None:
        """Start the operator again when it ended by itself, as a kubelet would; it is counted."""
        while True:
            await asyncio.sleep(1.0)
            if not self.killing and not self.operator.running:
                self.restarts += 1
                say("the operator ended by itself and is started again; see its log")
                self.operator.start()

    async def stop(self) -> None:
        if self.keeper is not None:
            self.keeper.cancel()
        await asyncio.to_thread(self.operator.stop)
        await self.actors.close()
        await self.client.__aexit__()
        self.standin.stop()
        await asyncio.to_thread(self.plane.stop)

    # What people do

    async def apply(self, count: int, version: str, steps: list[Raw]) -> dict[str, float]:
        """Create or change handoffs; when each was accepted, Unix seconds."""
        gate = asyncio.Semaphore(16)
        done: dict[str, float] = {}

        async def one(index: int) -> None:
            manifest = handoff(index, version, steps)
            async with gate:
                answer = await self.client.request("POST", HANDOFFS, manifest)
                if not answer:
                    await self.client.request(
                        "PATCH", f"{HANDOFFS}/{name(index)}", {"spec": manifest["spec"]}
                    )
                done[name(index)] = time.time()

        await asyncio.gather(*(one(index) for index in range(count)))
        return done

    async def statuses(self) -> dict[str, Raw]:
        """Status by handoff; empty where it is not of the present generation."""
        listed = await self.client.request("GET", HANDOFFS)
        return {
            item["metadata"]["name"]: (item.get("status") or {})
            if (item.get("status") or {}).get("observedGeneration")
            == item["metadata"]["generation"]
            else {}
            for item in listed["items"]
        }

    async def attempts(self) -> dict[str, Raw]:
        """Status of the newest attempt by handoff."""
        listed = await self.client.request("GET", ATTEMPTS)
        found: dict[str, Raw] = {}
        for item in sorted(listed["items"], key=lambda i: i["spec"]["ordinal"]):
            found[item["metadata"]["labels"]["modelhandoff.dev/handoff"]] = item.get("status") or {}
        return found

    async def phases(self) -> Counter[str]:
        return Counter(s.get("phase", "") for s in (await self.statuses()).values())

    async def all_in(self, count: int, phase: str, patience: float = 1500) -> float:
        """Wait until so many handoffs are in a phase."""

        async def there() -> bool:
            return bool((await self.phases())[phase] >= count)

        return await until(f"{count} handoffs {phase}", there, patience, every=1.0)

    async def calm(self, seconds: float = 12.0, patience: float = 300) -> None:
        """Wait until the operator has written nothing for a while."""
        started = time.monotonic()
        while time.monotonic() - started < patience:
            offset = self.plane.audit_offset()
            await asyncio.sleep(seconds)
            if not any(one.write for one in requests(self.plane, offset)):
                return
        raise TimeoutError("the operator does not come to rest")

    async def looked(self, count: int, looks: int, patience: float = 300) -> None:
        """Wait until so many handoffs have judged so many intervals."""

        async def there() -> bool:
            found = await self.attempts()
            return sum(s.get("looks", 0) >= looks for s in found.values()) >= count

        await until(f"{looks} looks of {count} handoffs", there, patience, every=2.0)

    # Measuring

    async def span(self, seconds: float) -> Span:
        """Wait and count."""
        offset = self.plane.audit_offset()
        server = self.plane.pids["kube-apiserver"]
        asked = len((await self.actors.state())["asked"])
        began, cpu, server_cpu = time.monotonic(), self.operator.cpu(), cpu_of(server)
        await asyncio.sleep(seconds)
        took = time.monotonic() - began
        used, server_used = self.operator.cpu() - cpu, cpu_of(server) - server_cpu
        memory, peak = self.operator.memory()
        questions = (await self.actors.state())["asked"][asked:]
        return Span(
            took,
            used,
            memory,
            peak,
            server_used,
            memory_of(server)[0],
            requests(self.plane, offset),
            len(questions),
            max((q[2] for q in questions), default=0),
        )

    def slips(self, found: Iterable[Request]) -> list[float]:
        """How late after its due time each look was written down, seconds."""
        late = [(one.at - self.lag) % INTERVAL for one in found if one.kind == LOOK]
        return [one for one in late if one < INTERVAL * 0.8]

    def record(self, key: str, value: Any) -> None:
        self.results[key] = value
        say(f"{key}: {json.dumps(value)}")


async def scale(bench: Bench, count: int, parts: set[str]) -> None:
    """N handoffs at rest, on their way, hurt, restarted and blind."""
    say(f"{count} handoffs")
    await bench.apply(count, "1.0.0", STAYING)
    await bench.all_in(count, "Promoted")
    await bench.calm()
    if "idle" in parts:
        bench.record(f"{count} idle", (await bench.span(60)).lines(count))
    await _launch(bench, count)
    if "progress" in parts:
        await bench.looked(count, 3)
        span = await bench.span(100)
        bench.record(f"{count} in progress", span.lines(count))
        bench.record(f"{count} look slip", spread(bench.slips(span.requests)))
    if "breach" in parts:
        await bench.looked(count, 8)
        await _breach(bench, count)
    if "restart" in parts:
        await _restart(bench)
    if "outage" in parts:
        await _outage(bench)
    bench.record(f"{count} times the operator ended by itself", bench.restarts)
    bench.record(f"{count} phases at the end", dict(await bench.phases()))


async def _launch(bench: Bench, count: int) -> None:
    """A new revision for all of them at once."""
    offset, began = bench.plane.audit_offset(), time.time()
    await bench.apply(count, "2.0.0", STAYING)
    applied = time.time() - began

    async def measuring() -> bool:
        found = await bench.attempts()
        return sum(bool(s.get("firstWeightAt")) for s in found.values()) >= count

    await until("first weights", measuring, 1200, every=2.0)
    found = requests(bench.plane, offset)
    created = [
        one.at - began
        for one in found
        if one.kind.endswith(" deployments") and one.body.get("spec", {}).get("template")
    ]
    pods = [at - began for at, _ in pods_created(bench.plane, offset)]
    bench.record(f"{count} apply: all accepted after", f"{applied:.2f} s")
    bench.record(
        f"{count} apply -> Deployment created",
        spread(created),
    )
    bench.record(f"{count} apply -> first pod created", spread(pods))
    weights = [one.at - began for one in found if one.kind == "patch httproutes"]
    bench.record(f"{count} apply -> first weight written", spread(weights))
    bench.record(f"{count} requests from apply to first weight", dict(by_kind(found)))


async def _candidates(bench: Bench) -> dict[str, str]:
    """Candidate Deployment by handoff: the backend that is no stable one."""
    listed = await bench.client.request("GET", ROUTES)
    found = {}
    for route in listed["items"]:
        backends = route["spec"]["rules"][0]["backendRefs"]
        if len(backends) == 2:
            found[route["metadata"]["name"]] = min(backends, key=lambda b: b["weight"])["name"]
    return found


async def _breach(bench: Bench, count: int) -> None:
    """A tenth of the candidates goes bad, in two sizes, everybody at once."""
    candidates = sorted((await _candidates(bench)).items())
    each = max(1, round(len(candidates) / 20))
    groups = {"half of the requests fail": candidates[:each]}
    if len(candidates) > each:
        groups["5 % errors"] = candidates[each : 2 * each]
    errors = {"half of the requests fail": 0.5, "5 % errors": 0.05}
    offset = bench.plane.audit_offset()
    began = time.time()
    # In the middle of an interval, as a breach comes.
    for what, group in groups.items():
        await bench.actors.change({"behave": {w: {"errors": errors[what]} for _, w in group}})
    hurt = {handoff for group in groups.values() for handoff, _ in group}

    def off() -> dict[str, float]:
        return {
            one.name: one.at
            for one in requests(bench.plane, offset)
            if one.kind == "patch httproutes" and one.name in hurt
        }

    async def all_off() -> bool:
        return len(off()) >= len(hurt)

    try:
        await until("rollbacks", all_off, 300, every=2.0)
    except TimeoutError as error:
        say(str(error))
    visible = (await bench.actors.state())["visible"]
    ended = off()
    attempts = await bench.attempts()
    for what, group in groups.items():
        taken = [ended[h] - visible[w] for h, w in group if h in ended and w in visible]
        first = min(began, *(visible[w] for _, w in group if w in visible))
        looks = [_looks_between(visible[w], ended[h], bench.lag) for h, w in group if h in ended]
        bench.record(
            f"{count} breach ({what}): visible in Prometheus -> weight 0 written",
            f"{spread(taken)}; looks that had seen it: {dict(sorted(Counter(looks).items()))}; "
            f"{len(taken)} of {len(group)} (first sample {first - began:.1f} s after the change)",
        )
    healthy = {h for h, _ in candidates} - hurt
    wrong = [h for h in healthy if attempts[h].get("phase") in ("RollingBack", "RolledBack")]
    bench.record(f"{count} healthy candidates rolled back meanwhile", len(wrong))


def _looks_between(visible: float, off: float, lag: float) -> int:
    """Looks whose interval held samples of the breach, up to the one that acted."""
    first = visible // INTERVAL
    last = (off - lag) // INTERVAL - 1
    return round(last - first + 1)


async def _restart(bench: Bench) -> None:
    """SIGKILL just before a look is due, started again at once."""
    running = {h: s for h, s in (await bench.attempts()).items() if s.get("phase") == "Progressing"}
    phase = (time.time() - bench.lag) % INTERVAL
    await asyncio.sleep(INTERVAL - phase - 0.3 if phase < INTERVAL - 0.3 else INTERVAL)
    offset, killed = bench.plane.audit_offset(), time.time()
    bench.killing = True
    bench.operator.kill()
    bench.operator.start()
    bench.killing = False

    async def looking() -> bool:
        return any(one.kind == LOOK for one in requests(bench.plane, offset))

    await until("a look after the restart", looking, 120, every=0.2)
    bench.record(
        f"{len(running)} kill -9: CPU seconds of the new process at its first looks",
        round(bench.operator.cpu(), 1),
    )
    await asyncio.sleep(45)
    found = requests(bench.plane, offset)
    first: dict[str, float] = {}
    for one in found:
        if one.kind == LOOK:
            first.setdefault(one.name, one.at - killed)
    after = await bench.attempts()
    lost = sum(_lost(before, after[h]) for h, before in running.items())
    bench.record(f"{len(running)} kill -9 -> next look", spread(first.values()))
    bench.record(
        f"{len(running)} kill -9: requests until 45 s after the first look, by kind",
        dict(by_kind(found)),
    )
    bench.record(f"{len(running)} kill -9: intervals lost or counted twice", lost)


def _lost(before: Raw, after: Raw) -> int:
    """Judged looks must have grown by exactly as much as the cursor moved."""
    closed = json.loads(after["cursor"])["i"] - json.loads(before["cursor"])["i"]
    return abs(int(closed) - (int(after["looks"]) - int(before["looks"])))


async def _outage(bench: Bench) -> None:
    """Prometheus answers 500 for two minutes."""
    running = {h for h, s in (await bench.attempts()).items() if s.get("phase") == "Progressing"}
    raised = {route: len(history) for route, history in bench.actors.raised.items()}
    before = {h: s.get("looks", 0) for h, s in (await bench.attempts()).items()}
    await bench.actors.change({"failing": True})
    span = await bench.span(120)
    await bench.actors.change({"failing": False})
    during = await bench.attempts()
    aborted = [h for h in running if during[h].get("phase") != "Progressing"]
    moved = [r for r, n in raised.items() if len(bench.actors.raised[r]) != n]
    began = time.time()

    async def resumed() -> bool:
        found = await bench.attempts()
        return all(found[h].get("looks", 0) > before[h] for h in running)

    try:
        await until("looks again", resumed, 120, every=1.0)
        again = f"{time.time() - began:.1f} s"
    except TimeoutError:
        again = "not within 120 s"
    bench.record(
        f"{len(running)} Prometheus answers 500 for 120 s",
        {
            "aborted": len(aborted),
            "weights changed": len(moved),
            "all look again after": again,
            "queries per interval": round(span.queries / span.seconds * INTERVAL, 1),
            "api requests per second": round(len(span.requests) / span.seconds, 2),
            "cpu percent": round(100 * span.cpu / span.seconds, 1),
        },
    )


async def promote(bench: Bench, count: int) -> None:
    """Whole runs to promotion: three steps; every request from the edit to rest is counted."""
    await bench.apply(count, "1.0.0", MOVING)
    await bench.all_in(count, "Promoted")
    await bench.calm()
    offset, began = bench.plane.audit_offset(), time.monotonic()
    await bench.apply(count, "2.0.0", MOVING)
    await asyncio.sleep(5)
    await bench.all_in(count, "Promoted", 1200)
    took = time.monotonic() - began
    # Longer than scaleDownDelay: the old version's retirement belongs to the run.
    await bench.calm(25)
    found = requests(bench.plane, offset)
    attempts = await bench.attempts()
    looks = statistics.median(s.get("looks", 0) for s in attempts.values())
    reads = [one for one in found if not one.write and one.verb != "watch"]
    bench.record(
        f"whole promote run of {count} handoffs, per handoff",
        {
            "seconds": round(took),
            "judged looks": looks,
            "reads": round(len(reads) / count, 1),
            "writes": round(sum(one.write for one in found) / count, 1),
            "by kind": {
                kind: round(number / count, 1) for kind, number in sorted(by_kind(found).items())
            },
            "refused or in conflict": sum(one.code >= 400 for one in found),
        },
    )
    offset = bench.plane.audit_offset()
    await asyncio.sleep(60)
    quiet = requests(bench.plane, offset)
    bench.record("requests in one minute of stable handoffs, the lease aside", dict(by_kind(quiet)))
