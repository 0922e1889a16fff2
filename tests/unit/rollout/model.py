"""A cluster as a value: actions change it, snapshots read it. No clock but its own.

It plays what Kubernetes would do: pods become ready when ``settle`` is called, a route lands,
a Job succeeds. Everything can be broken by hand in between.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from modelhandoff.analysis.verdict import Decision as Judgement
from modelhandoff.analysis.verdict import Reason as JudgedReason
from modelhandoff.analysis.verdict import Verdict
from modelhandoff.api import names
from modelhandoff.api.checks import Receipt, verdict_of
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.hashing import bundle_hash
from modelhandoff.api.verification import needed
from modelhandoff.rollout.actions import (
    AddFinalizer,
    ApplyBaselineService,
    ApplyRoute,
    ApplyStableService,
    ApplyWorkload,
    Collected,
    CreateAttempt,
    Decision,
    DeleteAttempt,
    DeleteRoute,
    DeleteWarmup,
    DeleteWorkload,
    MarkWorkload,
    RecordChecks,
    RecordJob,
    ReleaseWorkload,
    RemoveFinalizer,
    RunTenantJob,
    RunVerification,
    RunWarmup,
    ScaleWorkload,
    WriteApproval,
    WriteAttempt,
)
from modelhandoff.rollout.attempt import AttemptState
from modelhandoff.rollout.context import RolloutSettings
from modelhandoff.rollout.decide import decide
from modelhandoff.rollout.snapshot import (
    ApprovalView,
    AttemptView,
    ExemptionView,
    FreezeView,
    HandoffView,
    JobView,
    PodView,
    RouteView,
    ServiceView,
    Snapshot,
    WorkloadView,
    WorkView,
)
from tests.builders import spec as minimal_spec

SPEC_DIGEST = "sha256:" + "5" * 64
START = datetime(2026, 1, 1, 3, 0, tzinfo=UTC)
SETTINGS = RolloutSettings(drain=timedelta(seconds=10))


class StaleWriteError(Exception):
    """A write that rested on an object that has changed since."""


def verdict(
    decision: Judgement, reason: JudgedReason, message: str = "told so", **more: Any
) -> Verdict:
    return Verdict(
        decision=decision,
        reason=reason,
        message=message,
        step_complete=more.pop("step_complete", False),
        metrics=(),
        total_e=more.pop("total_e", 0.5),
        look=more.pop("look", 1),
        **more,
    )


GOOD = verdict(Judgement.Continue, JudgedReason.Collecting, step_complete=True)
PROVEN = verdict(Judgement.Promote, JudgedReason.ProofsComplete, step_complete=True)
OPEN = verdict(Judgement.Continue, JudgedReason.Collecting)
HARM = verdict(
    Judgement.Rollback, JudgedReason.HarmDetected, "errors 5 % against 0.5 %", total_e=900.0
)


@dataclass
class Model:
    """One handoff's world."""

    raw_spec: dict[str, Any] = field(default_factory=minimal_spec)
    now: datetime = START
    annotations: dict[str, str] = field(default_factory=dict)
    finalizer: bool = False
    deleting: bool = False
    gone: bool = False
    status: dict[str, Any] = field(default_factory=dict)
    attempts: dict[str, AttemptView] = field(default_factory=dict)
    workloads: dict[str, WorkloadView] = field(default_factory=dict)
    services: dict[str, ServiceView] = field(default_factory=dict)
    route: RouteView | None = None
    jobs: dict[str, JobView] = field(default_factory=dict)
    conflicts: tuple[str, ...] = ()
    products: dict[str, str] = field(default_factory=dict)
    approvals: dict[str, ApprovalView] = field(default_factory=dict)
    accounts: frozenset[str] = frozenset()
    freezes: tuple[FreezeView, ...] = ()
    exempted: tuple[ExemptionView, ...] = ()
    required: frozenset[str] = frozenset()
    said: Verdict | None = None
    unknown: str = ""
    writes: list[Any] = field(default_factory=list)
    weights: list[dict[str, int]] = field(default_factory=list)
    versions: Any = field(default_factory=lambda: itertools.count(1))
    uid: str = "uid-1"
    looks: int = 0
    checks: list[dict[str, Any]] = field(
        default_factory=lambda: [{"name": "GoldenCases", "state": "Passed", "message": "20 right."}]
    )
    read_spec: str = SPEC_DIGEST
    left_behind: dict[str, tuple[WorkView, str]] = field(default_factory=dict)
    job_runs: bool = True
    promises: str = ""
    canary: str = ""
    """What the warm-up Job leaves as termination message."""

    def version(self) -> str:
        return str(next(self.versions))

    def snapshot(self) -> Snapshot:
        handoff = HandoffView(
            name="fraud",
            namespace="payments",
            uid=self.uid,
            generation=1,
            resource_version="1",
            raw_spec=self.raw_spec,
            spec=ModelHandoffSpec.model_validate(self.raw_spec),
            annotations=dict(self.annotations),
            deleting=self.deleting,
            has_finalizer=self.finalizer,
            status=self.status,
        )
        return Snapshot(
            now=self.now,
            handoff=handoff,
            attempts=tuple(sorted(self.attempts.values(), key=lambda a: a.ordinal)),
            workloads=dict(self.workloads),
            services=dict(self.services),
            route=self.route,
            conflicting_routes=self.conflicts,
            jobs=dict(self.jobs),
            approvals=tuple(
                sorted(self.approvals.values(), key=lambda a: (a.created or self.now, a.name))
            ),
            approving_accounts=self.accounts,
            freezes=self.freezes,
            exemptions=self.exempted,
            required_checks=self.required,
        )

    def receipt(self) -> str:
        """What the verification Job leaves as termination message."""
        return Receipt(
            verdict=verdict_of(str(check["state"]) for check in self.checks),
            body="sha256:" + "b" * 64,
            spec=self.read_spec,
        ).model_dump_json(by_alias=True)

    # What the world does by itself

    def settle(self) -> None:
        """Pods become ready, routes land, Jobs succeed."""
        for name, workload in self.workloads.items():
            self.workloads[name] = dataclasses.replace(
                workload,
                ready=workload.desired,
                pods=tuple(
                    PodView(
                        f"{name}-{i}",
                        self.now,
                        ready=True,
                        deleting=False,
                        restarts=0,
                        init_exit_code=0,
                        node="node",
                        gpu_product=self.products.get(name, ""),
                    )
                    for i in range(workload.desired)
                ),
            )
        if self.route is not None:
            self.route = dataclasses.replace(self.route, landed=True)
        for name, job in self.jobs.items():
            if name.endswith("-reproduce") or "-test-" in name:
                self._work(name, job)
            elif not name.endswith("-verify"):
                self.jobs[name] = dataclasses.replace(job, succeeded=True, receipt=self.canary)
            elif self.job_runs and not job.receipt:
                self.jobs[name] = dataclasses.replace(
                    job, succeeded=True, receipt=self.receipt(), reporter=f"{name}-x"
                )

    def _work(self, name: str, job: JobView) -> None:
        """The tenant's container ends, and the collector reports; by the end of the Job's name."""
        left = next((one for end, one in self.left_behind.items() if name.endswith(end)), None)
        if left is None or job.work is not None or job.failed:
            return
        work, report = left
        well = work.exit_code == 0
        self.jobs[name] = dataclasses.replace(
            job, work=work, succeeded=well, failed=not well and work.exit_code is not None,
            receipt=report if well else "", reporter=f"{name}-x" if well else "",
        )  # fmt: skip

    def pods(self, workload: str, *pods: PodView, ready: int = 0) -> None:
        self.workloads[workload] = dataclasses.replace(
            self.workloads[workload], pods=pods, ready=ready
        )

    def adopt(self, name: str = "legacy", ready: int = 2) -> None:
        """A Deployment that was there before."""
        self.workloads[name] = WorkloadView(
            name, f"uid-{name}", self.version(), "", "", "1.0", False, False, False, False,
            ready, ready, True, pod_labels={"app": name},
        )  # fmt: skip

    # What the operator does

    def apply(self, action: Any) -> None:
        self.writes.append(action)
        match action:
            case AddFinalizer():
                self.finalizer = True
            case RemoveFinalizer():
                self.finalizer = False
                self.gone = self.deleting
            case CreateAttempt():
                assert action.name not in self.attempts, "an attempt is created once"
                self.attempts[action.name] = AttemptView(
                    action.name, f"uid-{action.name}", self.version(), self.uid, action.ordinal,
                    action.kind, action.bundle, action.revision, action.spec, {},
                    SPEC_DIGEST if needed(action.spec) else "", self.promises,
                )  # fmt: skip
            case WriteAttempt():
                old = self.attempts[action.name]
                if old.resource_version != action.resource_version:
                    raise StaleWriteError
                status = json.loads(json.dumps(action.status))
                self._latched(old, status)
                self.attempts[action.name] = dataclasses.replace(
                    old, status=status, resource_version=self.version()
                )
            case WriteApproval():
                told = self.approvals[action.name]
                if told.resource_version != action.resource_version:
                    raise StaleWriteError
                self.approvals[action.name] = dataclasses.replace(
                    told, status=json.loads(json.dumps(action.status)),
                    resource_version=self.version(),
                )  # fmt: skip
            case ApplyWorkload():
                attempt = self.attempts[action.attempt]
                self.workloads[action.workload] = WorkloadView(
                    action.workload, "uid", self.version(), names.revision_label(attempt.revision),
                    "", attempt.spec.candidate.model.version, False, True, True, False,
                    action.replicas, 0, True,
                )  # fmt: skip
                self.services[action.workload] = ServiceView(action.workload, "1", {}, True)
            case ScaleWorkload():
                w = self.workloads[action.workload]
                self.workloads[action.workload] = dataclasses.replace(
                    w, desired=action.replicas, ready=min(w.ready, action.replicas),
                    pods=w.pods[: action.replicas], resource_version=self.version(),
                )  # fmt: skip
            case ReleaseWorkload():
                self._change(action.workload, action.resource_version, owned=False)
            case MarkWorkload(stable=True):
                self._change(
                    action.workload, action.resource_version, stable=True, bundle=action.bundle,
                    promoted_at=datetime.fromisoformat(action.promoted_at),
                )  # fmt: skip
            case MarkWorkload():
                self._change(action.workload, action.resource_version, stable=False)
            case DeleteWorkload():
                self.workloads.pop(action.workload)
                self.services.pop(action.workload, None)
            case ApplyBaselineService():
                self.services[action.name] = ServiceView(
                    action.name, self.version(), action.selector, True
                )
            case ApplyRoute():
                if (self.route.resource_version if self.route else "") != action.resource_version:
                    raise StaleWriteError
                total = sum(weight for _, weight in action.backends)
                assert total == 100, "weights sum to 100"
                self._must_serve(action)
                backends = {name: weight for name, weight in action.backends if weight}
                self.route = RouteView(
                    "fraud", self.version(), backends, action.stamp, action.intent,
                    False, "not seen yet", True,
                )  # fmt: skip
                self.weights.append(dict(action.backends))
            case DeleteRoute():
                self.route = None
            case ApplyStableService():
                self.services["fraud"] = ServiceView("fraud", self.version(), action.selector, True)
            case RunVerification():
                self.jobs[action.job] = JobView(action.job, False, False)
            case RecordChecks():
                old = self.attempts[action.name]
                if old.resource_version != action.resource_version:
                    raise StaleWriteError
                told = (
                    {"checks": json.loads(json.dumps(self.checks))}
                    if self.checks
                    else {"checksProblem": "the log is gone"}
                )
                self.attempts[action.name] = dataclasses.replace(
                    old,
                    status={**json.loads(json.dumps(action.status)), **told},
                    resource_version=self.version(),
                )
            case RecordJob():
                old = self.attempts[action.name]
                if old.resource_version != action.resource_version:
                    raise StaleWriteError
                self.attempts[action.name] = dataclasses.replace(
                    old, status=json.loads(json.dumps(action.status)),
                    resource_version=self.version(),
                )  # fmt: skip
            case RunTenantJob():
                self.jobs[action.job] = JobView(action.job, False, False, started_at=self.now)
            case RunWarmup():
                self.jobs[action.job] = JobView(action.job, False, False)
            case DeleteWarmup():
                self.jobs.pop(action.job)
            case DeleteAttempt():
                self.attempts.pop(action.name)
            case _:
                raise AssertionError(action)

    def _must_serve(self, action: ApplyRoute) -> None:
        """Promise 1: no write gives weight to a backend that has no ready pod."""
        before = dict(self.route.backends) if self.route else {}
        for service, weight in action.backends:
            name = "legacy" if service == "fraud-baseline" else service
            if weight > before.get(service, 0):
                assert self.workloads[name].ready > 0, f"{service} gets {weight} % unready"

    def _latched(self, old: AttemptView, status: dict[str, Any]) -> None:
        """Promise 4: a verdict stays, but for an abort of a promotion that did not happen."""
        before = (old.status.get("verdict") or {}).get("decision")
        after = (status.get("verdict") or {}).get("decision")
        if before and before != after:
            assert before in ("Promote", "Initial"), f"{before} became {after}"
            assert after in ("Abort", "Supersede"), f"{before} became {after}"

    def _change(self, name: str, version: str, **changes: Any) -> None:
        if self.workloads[name].resource_version != version:
            raise StaleWriteError
        self.workloads[name] = dataclasses.replace(
            self.workloads[name], resource_version=self.version(), **changes
        )

    # Driving it

    @property
    def attempt(self) -> AttemptView:
        return max(self.attempts.values(), key=lambda a: a.ordinal)

    @property
    def state(self) -> AttemptState:
        return AttemptState.from_status(self.attempt.status)

    @property
    def candidate(self) -> str:
        return names.workload_name("fraud", self.attempt.revision)

    def collected(self, *, fresh: bool = False) -> Collected | None:
        if not self.attempts or not self.state.stages or self.state.verdict is not None:
            return None
        if self.unknown:
            return Collected(
                unknown_reason="MetricsError", unknown_message=self.unknown, next_due=30
            )
        if self.said is None:
            return None
        state = self.state
        more = 1 if fresh else 0
        return Collected(
            evidence=f"e{state.looks + more}",
            cursor=f"c{state.looks + more}",
            looks=state.looks + more,
            step_looks=state.step_looks + more,
            last_data=self.now.timestamp(),
            verdict=self.said,
            fresh=fresh,
            next_due=30.0,
        )

    def decide(self, *, fresh: bool = False) -> Decision:
        return decide(self.snapshot(), self.collected(fresh=fresh), SETTINGS)

    def run(self, *, fresh: bool = False, limit: int = 40) -> Decision:
        """Passes until nothing is left to do; the world moves on after every write."""
        collected = self.collected(fresh=fresh)
        for _ in range(limit):
            decision = decide(self.snapshot(), collected, SETTINGS)
            if decision.action is None:
                self.status = dict(decision.status)
                return decision
            self.apply(decision.action)
            if isinstance(decision.action, WriteAttempt):
                collected = self.collected()
            self.settle()
        raise AssertionError(f"still busy after {limit} writes: {self.writes[-5:]}")

    def pass_time(self, **span: float) -> None:
        self.now += timedelta(**span)

    def look(self, said: Verdict | None = None, **span: float) -> Decision:
        """One interval later, with this verdict."""
        self.pass_time(**(span or {"seconds": 30}))
        self.said = said if said is not None else self.said
        return self.run(fresh=True)

    def edit(self, version: str) -> None:
        self.raw_spec = minimal_spec(candidate={"model": {"version": version}})

    def approve(
        self,
        role: str,
        approver: str,
        *,
        decision: str = "Approve",
        bundle: str = "",
        comment: str = "",
    ) -> str:
        """Somebody signs what the handoff says now; the name of the approval."""
        name = f"fraud-{role.lower()}-{approver.partition('@')[0]}-{len(self.approvals)}"
        self.approvals[name] = ApprovalView(
            name, self.version(), 1, role, bundle or bundle_hash(self.raw_spec), decision,
            approver, self.now, comment,
        )  # fmt: skip
        return name

    def promoted(self, version: str = "1.0.0") -> Model:
        """A world in which ``version`` is stable."""
        self.edit(version)
        self.run()
        assert self.state.phase == "Promoted", self.state
        return self

    def promoted_as_is(self) -> Model:
        """A world in which what the handoff says now is stable."""
        self.run()
        assert self.state.phase == "Promoted", self.state
        return self

    def started(self, version: str = "2.0.0") -> Model:
        """A world in which ``version`` has its first weight beside a stable one."""
        if not self.attempts:
            self.promoted()
        self.edit(version)
        self.said = OPEN
        self.run()
        assert self.state.phase == "Progressing", (self.state.phase, self.writes[-3:])
        self.weights.clear()
        self.writes.clear()
        return self

    def share(self) -> int:
        return self.route.backends.get(self.candidate, 0) if self.route else 0
