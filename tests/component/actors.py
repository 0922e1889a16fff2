"""Played controllers: Deployments get pods, routes get a gateway's answer, Jobs run.

They see the same objects as the real ones and write the same status fields; how an object fares
is decided by name beforehand (``Actors.fate``). A few tasks work side by side, each object always
with the same one.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from modelhandoff.api import names
from modelhandoff.api.checks import (
    CANARY_REPORT,
    CanaryReport,
    CheckName,
    CheckState,
    CheckStatus,
)
from modelhandoff.api.job_results import JobReport
from modelhandoff.api.promises import BROKEN_EXIT
from modelhandoff.cluster.jobs import CHECK, WORK
from modelhandoff.cluster.pods import FETCH, SERVER
from modelhandoff.cluster.warmup import WARMUP
from modelhandoff.verify.check import receipt_text, report_body
from modelhandoff.verify.findings import status as check_status
from tests.component.fakeapi.kinds import BY_PLURAL, Kind
from tests.component.fakeapi.objects import ApiError, Change, Object, Reads
from tests.component.hands import JSON, Hand

POD = BY_PLURAL["", "pods"]
SERVICE = BY_PLURAL["", "services"]
CONFIG_MAP = BY_PLURAL["", "configmaps"]
DEPLOYMENT = BY_PLURAL["apps", "deployments"]
JOB = BY_PLURAL["batch", "jobs"]
ROUTE = BY_PLURAL["gateway.networking.k8s.io", "httproutes"]
GATEWAY_CONTROLLER = "played.example/gateway"
WORKERS = 6
NO_GPU = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."


class Fate(Enum):
    """How the pods of a Deployment, or a Job, fare."""

    READY = "ready"
    UNSCHEDULABLE = "no node has room"
    NO_IMAGE = "the image cannot be pulled"
    STARTING = "starts, but is not ready yet"
    CRASHED = "was ready, crashed and is down"
    FAILED = "a Job that fails"


Check = Callable[[bytes], tuple[str, bytes]]
"""From the spec file to a termination message and a log."""


@dataclass(frozen=True)
class Left:
    """What the container of a tenant's Job comes to, and what the collector says of it.

    Attributes:
        code: its exit code.
        said: the end of its log, where it failed.
        receipt: the collector's termination message.
        seconds: how long it ran.
    """

    code: int = 0
    said: str = ""
    receipt: str = ""
    seconds: int = 1


def all_green() -> Left:
    """Three test cases that pass."""
    numbers = {"tests": 3.0, "failures": 0.0, "errors": 0.0, "skipped": 0.0}
    return Left(receipt=JobReport(found=True, numbers=numbers).model_dump_json(by_alias=True))


def all_passed(spec: bytes) -> tuple[str, bytes]:
    """A verification pod that finds nothing wrong."""
    return reported(spec, check_status(CheckName.GOLDEN_CASES, CheckState.PASSED, "20 are right."))


def reported(spec: bytes, *checks: CheckStatus) -> tuple[str, bytes]:
    """What the real runner would leave behind for these checks."""
    body = report_body(checks, 1.0)
    return receipt_text(checks, body, spec), body + b"\n"


KEPT = (check_status(CheckName.CANARY_GOLDEN_CASES, CheckState.PASSED, "20 from 1 pod."),)
Act = Callable[[Object], Awaitable[None]]


class Actors:
    """All played controllers of one API.

    Attributes:
        fate: what becomes of a Deployment or Job, by the beginning of its name.
        jobs: what becomes of Jobs that ``fate`` does not name.
        gateway: whether the gateway answers at all.
        check: what the pod of a verification Job leaves behind for the spec that it reads: its
            termination message and its log.
        work: what the container of a tenant's Job comes to.
        canary: what a warm-up Job that was told promises reports; ``None``: it leaves nothing.
        logs: of pods, by namespace and name.
    """

    def __init__(self, objects: Reads, hand: Hand) -> None:
        self._objects = objects
        self._hand = hand
        self.fate: dict[str, Fate] = {}
        self.jobs = Fate.READY
        self.gateway = True
        self.check: Check = all_passed
        self.canary: tuple[CheckStatus, ...] | None = KEPT
        self.work: Left = all_green()
        self.logs: dict[tuple[str, str], bytes] = {}
        self._waiting: list[asyncio.Queue[tuple[Act, Object]]] = [
            asyncio.Queue() for _ in range(WORKERS)
        ]
        self._pending = 0
        self._acts: dict[Kind, Act] = {
            DEPLOYMENT: self._deployment,
            ROUTE: self._route,
            JOB: self._job,
        }
        self._of_pods = (self._pod_going, self._pod_gone)
        self._tasks: list[asyncio.Task[None]] = []
        objects.listeners.append(self._seen)

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._work(waiting)) for waiting in self._waiting]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def idle(self) -> bool:
        for task in self._tasks:
            if task.done():
                task.result()  # a bug in here must fail the test
        return self._pending == 0

    def decide(self, name: str, fate: Fate) -> None:
        """From now on this is how a Deployment or Job of this name fares, existing ones too."""
        self.fate[name] = fate
        self.again()

    def again(self) -> None:
        """Look at everything once more, after a change of fate or of the gateway."""
        for kind, act in self._acts.items():
            for obj in self._objects.list(kind):
                self._later(act, obj)

    def _seen(self, change: Change) -> None:
        act = self._acts.get(change.kind)
        if change.kind == POD:
            act = self._pod_gone if change.type == "DELETED" else self._pod_going
            if change.type != "DELETED" and "deletionTimestamp" not in change.after["metadata"]:
                return
        elif act is None or change.type == "DELETED":
            return
        self._later(act, change.after)

    def _later(self, act: Act, obj: Object) -> None:
        self._pending += 1
        # A pod belongs to its Deployment's task.
        owners = obj["metadata"].get("ownerReferences") or () if act in self._of_pods else ()
        name = next((owner["name"] for owner in owners), obj["metadata"]["name"])
        worker = zlib.crc32(name.encode()) % WORKERS
        self._waiting[worker].put_nowait((act, obj))

    async def _work(self, waiting: asyncio.Queue[tuple[Act, Object]]) -> None:
        while True:
            act, obj = await waiting.get()
            try:
                await act(obj)
            except ApiError as error:
                # Gone or changed meanwhile: what changed it makes us look again.
                if error.code not in (404, 409):
                    raise
            self._pending -= 1

    def _of(self, name: str, otherwise: Fate = Fate.READY) -> Fate:
        longest = max((p for p in self.fate if name.startswith(p)), key=len, default=None)
        return otherwise if longest is None else self.fate[longest]

    # Deployments

    async def _pod_going(self, pod: Object) -> None:
        # The kubelet's part of a deletion.
        meta = pod["metadata"]
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}}
        await self._hand.delete(POD, meta["namespace"], meta["name"], options)

    async def _pod_gone(self, pod: Object) -> None:
        for owner in pod["metadata"].get("ownerReferences") or ():
            found = self._objects.find(DEPLOYMENT, pod["metadata"]["namespace"], owner["name"])
            if found is not None:
                await self._deployment(found)

    def _pods(self, deployment: Object) -> list[Object]:
        uid = deployment["metadata"]["uid"]

        def own(pod: Object) -> bool:
            meta = pod["metadata"]
            owners = meta.get("ownerReferences") or ()
            return "deletionTimestamp" not in meta and any(o["uid"] == uid for o in owners)

        return self._objects.list(POD, deployment["metadata"]["namespace"], own)

    async def _deployment(self, obj: Object) -> None:
        meta = obj["metadata"]
        found = self._objects.find(DEPLOYMENT, meta["namespace"], meta["name"])
        if found is None or found["metadata"]["uid"] != meta["uid"]:
            return
        if "deletionTimestamp" in found["metadata"]:
            return
        wanted = found["spec"].get("replicas", 1)
        pods = self._pods(found)
        for pod in pods[wanted:]:
            options = {"gracePeriodSeconds": 0}
            await self._hand.delete(POD, meta["namespace"], pod["metadata"]["name"], options)
        pods = pods[:wanted]
        for number in range(len(pods), wanted):
            pods.append(await self._hand.create(POD, meta["namespace"], _pod(found, number)))
        fate = self._of(meta["name"])
        for pod in pods:
            await self._status(POD, pod, _pod_status(self._now(), pod, fate))
        ready = wanted if fate is Fate.READY else 0
        await self._status(
            DEPLOYMENT,
            found,
            {
                "observedGeneration": found["metadata"]["generation"],
                "replicas": wanted,
                "updatedReplicas": wanted,
                "readyReplicas": ready,
                "availableReplicas": ready,
                "conditions": [
                    {"type": "Available", "status": "True" if ready >= wanted else "False"}
                ],
            },
        )

    # Routes

    async def _route(self, obj: Object) -> None:
        meta = obj["metadata"]
        found = self._objects.find(ROUTE, meta["namespace"], meta["name"])
        if found is None or not self.gateway:
            return
        backends = [
            backend["name"]
            for rule in found["spec"].get("rules") or ()
            for backend in rule.get("backendRefs") or ()
        ]
        missing = [n for n in backends if self._objects.find(SERVICE, meta["namespace"], n) is None]
        resolved = {
            "type": "ResolvedRefs",
            "status": "False" if missing else "True",
            "reason": "BackendNotFound" if missing else "ResolvedRefs",
            "message": f"Service {missing[0]} not found" if missing else "",
        }
        accepted = {"type": "Accepted", "status": "True", "reason": "Accepted", "message": ""}
        generation = found["metadata"]["generation"]
        parents = [
            {
                "parentRef": parent,
                "controllerName": GATEWAY_CONTROLLER,
                "conditions": [
                    {**c, "observedGeneration": generation, "lastTransitionTime": self._now()}
                    for c in (accepted, resolved)
                ],
            }
            for parent in found["spec"].get("parentRefs") or ()
        ]
        before = (found.get("status") or {}).get("parents") or []
        if _without_times(before) != _without_times(parents):
            await self._status(ROUTE, found, {"parents": parents})

    # Jobs

    async def _job(self, obj: Object) -> None:
        meta = obj["metadata"]
        found = self._objects.find(JOB, meta["namespace"], meta["name"])
        if found is None:
            return
        before = found.get("status") or {}
        if before.get("conditions"):
            return  # It has ended, and stays so.
        fate, now = self._of(meta["name"], self.jobs), self._now()
        started = before.get("startTime") or now
        if meta["name"].endswith("-verify") and fate is Fate.READY:
            await self._verified(found)
        if meta["name"].endswith("-warmup") and fate is Fate.READY and self.canary is not None:
            fate = await self._warmed(found, self.canary)
        if _tenants(meta["name"]) and fate is Fate.READY:
            await self._worked(found)
            fate = Fate.FAILED if self.work.code else Fate.READY
        if fate is Fate.READY:
            ended = [_ended(kind, now) for kind in ("SuccessCriteriaMet", "Complete")]
            status = {"succeeded": 1, "completionTime": now, "conditions": ended}
        elif fate is Fate.FAILED:
            message = "BackoffLimitExceeded: Job has reached the specified backoff limit"
            ended = [_ended(kind, now, message) for kind in ("FailureTarget", "Failed")]
            status = {"failed": 1, "conditions": ended}
        else:
            status = {"active": 1}
        await self._status(JOB, found, {**status, "startTime": started})

    async def _worked(self, job: Object) -> None:
        """The pod of a tenant's Job: their container, and the collector where it ended well."""
        pod = await self._pod_of(job)
        if pod is None:
            return
        now, left = self._objects.now(), self.work
        ended = {
            "exitCode": left.code,
            "reason": "Error" if left.code else "Completed",
            "message": left.said,
            "startedAt": _time(now - timedelta(seconds=left.seconds)),
            "finishedAt": _time(now),
        }
        done = {"exitCode": 0, "reason": "Completed"}
        status: Object = {
            "phase": "Failed" if left.code else "Succeeded",
            "initContainerStatuses": [
                {"name": FETCH, "state": {"terminated": done}},
                {"name": WORK, "state": {"terminated": ended}},
            ],
        }
        if not left.code:
            told = {"terminated": {**done, "message": left.receipt}}
            status["containerStatuses"] = [{"name": CHECK, "state": told}]
        await self._status(POD, pod, status)

    async def _warmed(self, job: Object, canary: tuple[CheckStatus, ...]) -> Fate:
        """The pod of a warm-up Job that was told promises: it leaves its report."""
        meta = job["metadata"]
        promised = (meta.get("annotations") or {}).get(names.ANNOTATION_SPEC_DIGEST)
        if not promised:
            return Fate.READY
        broken = any(check.state != "Passed" for check in canary)
        report = CanaryReport(promises=promised, checks=canary)
        said = {CANARY_REPORT: report.model_dump(mode="json", by_alias=True)}
        pod = await self._pod_of(job)
        if pod is not None:
            code = BROKEN_EXIT if broken else 0
            ended = {"exitCode": code, "reason": "Completed", "message": json.dumps(said)}
            statuses = [{"name": WARMUP, "state": {"terminated": ended}}]
            phase = "Failed" if broken else "Succeeded"
            await self._status(POD, pod, {"phase": phase, "containerStatuses": statuses})
        return Fate.FAILED if broken else Fate.READY

    async def _verified(self, job: Object) -> None:
        """The pod of a verification Job: it reads the mounted spec and leaves its report."""
        meta = job["metadata"]
        spec = self._objects.get(CONFIG_MAP, meta["namespace"], meta["name"])
        receipt, log = self.check(spec["data"]["spec.json"].encode())
        pod = await self._pod_of(job)
        if pod is None:
            return
        self.logs[meta["namespace"], pod["metadata"]["name"]] = log
        done = {"exitCode": 0, "reason": "Completed"}
        await self._status(
            POD,
            pod,
            {
                "phase": "Succeeded",
                "initContainerStatuses": [{"name": FETCH, "state": {"terminated": done}}],
                "containerStatuses": [
                    {"name": CHECK, "state": {"terminated": {**done, "message": receipt}}}
                ],
            },
        )

    async def _pod_of(self, job: Object) -> Object | None:
        """A new pod of a Job; ``None`` when it has one."""
        meta = job["metadata"]
        own = [
            pod
            for pod in self._objects.list(POD, meta["namespace"])
            if any(o["uid"] == meta["uid"] for o in pod["metadata"].get("ownerReferences") or ())
        ]
        if own:
            return None
        owner = {
            "apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"],
            "controller": True,
        }  # fmt: skip
        return await self._hand.create(
            POD,
            meta["namespace"],
            {
                "metadata": {
                    "generateName": f"{meta['name']}-",
                    "labels": dict(job["spec"]["template"]["metadata"]["labels"]),
                    "ownerReferences": [owner],
                },
                "spec": {**job["spec"]["template"]["spec"], "nodeName": "node-1"},
            },
        )

    async def _status(self, kind: Kind, obj: Object, status: Object) -> None:
        meta = obj["metadata"]
        if _includes(obj.get("status") or {}, status):
            return
        await self._hand.patch(
            kind,
            meta.get("namespace", ""),
            meta["name"],
            [{"op": "add", "path": "/status", "value": status}],
            JSON,
            "status",
        )

    def _now(self) -> str:
        return _time(self._objects.now())


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _tenants(job: str) -> bool:
    """Whether it is one of the tenant's own Jobs."""
    return job.endswith("-reproduce") or "-test-" in job


def _ended(kind: str, now: str, message: str = "") -> Object:
    return {"type": kind, "status": "True", "message": message, "lastTransitionTime": now}


def _includes(there: Any, wanted: Any) -> bool:
    """Whether an object already says all of this; a server adds fields of its own."""
    if isinstance(wanted, dict) and isinstance(there, dict):
        return all(_includes(there.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(there, list):
        return len(there) == len(wanted) and all(map(_includes, there, wanted))
    return bool(there == wanted) or (wanted in (0, "", [], False) and there is None)


def _without_times(parents: list[Any]) -> list[Any]:
    return [
        {
            **parent,
            "conditions": [
                {k: v for k, v in c.items() if k != "lastTransitionTime"}
                for c in parent["conditions"]
            ],
        }
        for parent in parents
    ]


def _pod(deployment: Object, number: int) -> Object:
    meta = deployment["metadata"]
    return {
        "metadata": {
            "generateName": f"{meta['name']}-{number}",
            "labels": dict(deployment["spec"]["template"]["metadata"].get("labels") or {}),
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "name": meta["name"],
                    "uid": meta["uid"],
                    "controller": True,
                }
            ],
        },
        "spec": {**deployment["spec"]["template"].get("spec", {}), "nodeName": "node-1"},
    }


def _pod_status(now: str, pod: Object, fate: Fate) -> Object:
    before = pod.get("status") or {}
    server: Object = {"name": SERVER, "ready": fate is Fate.READY, "restartCount": 0}
    old = {c["name"]: c for c in before.get("containerStatuses") or ()}.get(SERVER, {})
    server["restartCount"] = old.get("restartCount", 0)
    if fate is Fate.UNSCHEDULABLE:
        unscheduled = _condition(before, now, "PodScheduled", "False", "Unschedulable", NO_GPU)
        return {"phase": "Pending", "conditions": [unscheduled]}
    scheduled = _condition(before, now, "PodScheduled", "True")
    ready = _condition(before, now, "Ready", "True" if fate is Fate.READY else "False")
    status: Object = {"phase": "Running", "conditions": [scheduled, ready]}
    if fate is Fate.NO_IMAGE:
        waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}
        return {
            "phase": "Pending",
            "conditions": [scheduled, ready],
            "initContainerStatuses": [{"name": FETCH, "state": {"waiting": waiting}}],
        }
    status["initContainerStatuses"] = [
        {"name": FETCH, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
    ]
    if fate is Fate.CRASHED:
        ended = {"terminated": {"exitCode": 139, "reason": "Error", "message": "segfault"}}
        server |= {"state": ended, "lastState": ended, "restartCount": server["restartCount"] or 1}
    status["containerStatuses"] = [server]
    return status


def _condition(  # noqa: PLR0917
    before: Object, now: str, kind: str, value: str, reason: str = "", message: str = ""
) -> Object:
    old = {c["type"]: c for c in before.get("conditions") or ()}.get(kind)
    same = old is not None and old["status"] == value
    return {
        "type": kind,
        "status": value,
        "lastTransitionTime": old["lastTransitionTime"] if same and old else now,
        **({"reason": reason, "message": message} if reason else {}),
    }
