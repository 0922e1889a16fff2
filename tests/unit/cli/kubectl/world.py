"""Handoffs as the operator leaves them, with evidence from its own engine."""

from __future__ import annotations

import copy
import math
from datetime import UTC, datetime, timedelta
from typing import Any

from modelhandoff.analysis.intervals import Bins, Histogram, Interval, Rate
from modelhandoff.api import names
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.hashing import bundle_hash, revision_hash
from modelhandoff.api.resolve import resolve
from modelhandoff.api.vocabulary import Outcome, Phase
from modelhandoff.cluster.identity import Identity
from modelhandoff.cluster.objects import render
from modelhandoff.cluster.settings import ClusterSettings
from modelhandoff.rollout.attempt import AttemptState, Entry, Stage, Verdict
from modelhandoff.rollout.judging import judge_intervals
from modelhandoff.rollout.latching import summary
from tests.builders import IMAGE, handoff
from tests.unit.cli.kubectl.loopback import Loopback

Raw = dict[str, Any]
NAMESPACE = "payments"
STABLE = "fraud-1111111111"
LOOK = 60.0
REQUESTS = (200.0, 1800.0)


def spec_of(**changes: Any) -> Raw:
    """The smallest handoff with short steps."""
    rollout = {"steps": [{"weight": 10, "minDuration": "20m"}, {"weight": 50, "minDuration": "1h"}]}
    return handoff(rollout=rollout, **changes)["spec"]


def intervals(looks: int, start: datetime, *, errors: float = 0.0) -> list[Interval]:
    """Looks at 10 % with an error rate of the candidate; everything else is as the baseline."""
    own, other = REQUESTS
    edges = (0.01, 0.03, 0.1, math.inf)
    begin = start.timestamp()
    return [
        Interval(
            index=at,
            start=begin + at * LOOK,
            end=begin + (at + 1) * LOOK,
            step=0,
            weight=10,
            requests=REQUESTS,
            metrics={
                "errors": Rate((round(own * errors), own), (2.0, other)),
                "latency": Histogram(
                    edges, (100.0, 196.0, 200.0, own), (900.0, 1764.0, 1800.0, other)
                ),
                "scores": Bins((100.0, 60.0, 40.0), (900.0, 540.0, 360.0)),
            },
        )
        for at in range(looks)
    ]


class Story:
    """One handoff with its attempt, route, Deployments and pods, put into a server."""

    def __init__(
        self,
        server: Loopback,
        *,
        name: str = "fraud",
        namespace: str = NAMESPACE,
        now: datetime | None = None,
        spec: Raw | None = None,
    ) -> None:
        self.server, self.name, self.namespace = server, name, namespace
        self.now = now or datetime.now(UTC)
        self.spec = spec or spec_of()
        self.resolved: ModelHandoffSpec = resolve(self.spec)
        self.uid = f"uid-{namespace}-{name}"
        self.revision = revision_hash(self.spec)
        self.attempt = names.attempt_name(name, self.uid, bundle_hash(self.spec), 2)
        self.candidate = names.workload_name(name, self.revision)
        self.state = AttemptState(started_at=self.now - timedelta(minutes=40))

    def plain(self) -> Raw:
        """The handoff without any status but the one of its creation."""
        return self._handoff({"observedGeneration": -1})

    def judged(self, looks: int = 12, *, errors: float = 0.0) -> Story:
        """At 10 %, with that much evidence."""
        start = self.now - timedelta(seconds=looks * LOOK)
        state = self.state.but(
            phase=Phase.PROGRESSING,
            phase_since=start,
            step=0,
            step_since=start,
            first_weight_at=start,
            max_weight=10,
            warmed_up=True,
            stages=(Stage(start.timestamp(), 0, 10),),
            timeline=(
                Entry(start - timedelta(minutes=2), "Attempt for fraud-classifier 1.4.0 started."),
                Entry(start, "10 % landed on fraud-classifier 1.4.0."),
            ),
        )
        got = judge_intervals(
            self.resolved, state, intervals(looks, start, errors=errors), "{}", self.now
        )
        assert got.verdict is not None
        self.verdict = got.verdict
        self.state = state.but(
            evidence=got.evidence,
            bins=got.bins,
            looks=got.looks,
            step_looks=got.step_looks,
            step_requests=got.step_requests,
            last_data=got.last_data,
            metrics=tuple(summary(m, self.resolved) for m in got.verdict.metrics),
        )
        return self

    def ended(self, outcome: Outcome, reason: str, message: str) -> Story:
        """The attempt is over."""
        at = self.now - timedelta(minutes=1)
        self.state = self.state.but(
            phase=outcome.final_phase,
            phase_since=at,
            off_at=None if outcome.promotes else at,
            verdict=Verdict(outcome, reason, message, at, self.state.looks, 132.0),
        )
        return self

    def write(self, sentence: str, *, weight: int = 0, **more: Any) -> Story:
        """Put everything into the server.

        Args:
            sentence: the status's sentence.
            weight: of the candidate on the route.
            more: changes of the status; ``conditions`` are given as type=status.
        """
        phase = self.state.phase
        conditions = more.pop("conditions", {})
        steady = phase is Phase.PROMOTED
        values = {
            "Ready": "True" if steady else "False",
            "Reconciling": "False" if phase.terminal else "True",
            "Stalled": "True" if phase.terminal and not steady else "False",
            "Paused": "False",
            "TrafficAligned": "True",
            "MetricsAvailable": "True",
            **conditions,
        }
        verdict = self.state.verdict
        status: Raw = {
            "observedGeneration": 1,
            "phase": str(phase),
            "message": sentence,
            "attemptRef": {"name": self.attempt, "ordinal": 2},
            "candidate": {"version": "1.4.0", "revision": self.revision},
            "stable": {"version": "1.3.2", "revision": "v1-1111111111",
                       "since": "2026-01-01T00:00:00Z"},
            "step": {"index": 1, "count": 2, "label": "1/2", "weight": weight},
            "metrics": [dict(m) for m in self.state.metrics],
            "conditions": [
                {"type": kind, "status": value, "reason": more.get("reason", "Collecting"),
                 "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
                for kind, value in values.items()
            ],
        }  # fmt: skip
        if verdict is not None:
            status["verdict"] = {"decision": str(verdict.outcome), "reason": verdict.reason}
        more.pop("reason", None)
        status.update(more)
        self._handoff(status)
        self._attempt()
        self._route(weight)
        self._workload(STABLE, "1111111111", "1.3.2", names.ROLE_STABLE)
        self._workload(
            self.candidate, names.revision_label(self.revision), "1.4.0", names.ROLE_CANDIDATE
        )
        return self

    def annotate(self, **values: str) -> None:
        """Set verb annotations: ``retry="..."``."""
        thing = copy.deepcopy(self.server.find(names.HANDOFFS, self.namespace, self.name))
        for verb, value in values.items():
            thing["metadata"].setdefault("annotations", {})[f"{names.GROUP}/{verb}"] = value
        self.server.add(names.HANDOFFS, thing)

    def annotations(self) -> Raw:
        """The handoff's annotations now."""
        found = self.server.find(names.HANDOFFS, self.namespace, self.name)
        return dict(found["metadata"].get("annotations") or {})

    def weights(self) -> dict[str, int]:
        """The route's weights now."""
        route = self.server.find("httproutes", self.namespace, self.name)
        return {b["name"]: b["weight"] for b in route["spec"]["rules"][0]["backendRefs"]}

    def _handoff(self, status: Raw) -> Raw:
        return self.server.add(names.HANDOFFS, {
            "metadata": {
                "name": self.name, "namespace": self.namespace, "uid": self.uid, "generation": 1,
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "managedFields": [{"manager": "modelhandoff"}],
            },
            "spec": self.spec,
            "status": status,
        })  # fmt: skip

    def _attempt(self) -> None:
        who = Identity(
            namespace=self.namespace, handoff=self.name, uid=self.uid, revision=self.revision,
            attempt=self.attempt,
        )  # fmt: skip
        settings = ClusterSettings(fetch_image=IMAGE)
        self.server.add(names.ATTEMPTS, {
            "metadata": {
                "name": self.attempt, "namespace": self.namespace,
                "labels": {names.LABEL_HANDOFF: self.name},
            },
            "spec": {
                "handoffRef": {"name": self.name, "uid": self.uid},
                "bundleHash": bundle_hash(self.spec), "revision": self.revision, "ordinal": 2,
                "kind": "Rollout", "snapshot": render(self.resolved, who, settings),
            },
            "status": self.state.to_status(),
        })  # fmt: skip

    def _route(self, weight: int) -> None:
        backends = [{"name": STABLE, "port": 80, "weight": 100 - weight}]
        if weight:
            backends.append({"name": self.candidate, "port": 80, "weight": weight})
        owner = f"{self.namespace}/{self.name}/{self.uid}"
        self.server.add("httproutes", {
            "metadata": {
                "name": self.name, "namespace": self.namespace,
                "annotations": {names.ANNOTATION_OWNER: owner},
            },
            "spec": {"rules": [{"backendRefs": backends}]},
        })  # fmt: skip

    def _workload(self, name: str, revision: str, version: str, role: str) -> None:
        labels = {names.LABEL_HANDOFF: self.name, names.LABEL_REVISION: revision}
        self.server.add("deployments", {
            "metadata": {
                "name": name, "namespace": self.namespace,
                "labels": {**labels, names.LABEL_ROLE: role},
                "annotations": {names.ANNOTATION_MODEL_VERSION: version},
            },
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}},
            "status": {"readyReplicas": 1},
        })  # fmt: skip
        self.server.add("pods", {
            "metadata": {
                "name": f"{name}-abcde", "namespace": self.namespace, "labels": labels,
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {"nodeName": "node-7"},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "server", "restartCount": 2, "state": {}}],
            },
        })  # fmt: skip


def operator(server: Loopback, *, renewed_ago: float = 1.0, available: int = 1) -> None:
    """The operator's Deployment and lease."""
    at = datetime.now(UTC) - timedelta(seconds=renewed_ago)
    server.add("deployments", {
        "metadata": {
            "name": "modelhandoff", "namespace": "modelhandoff-system",
            "labels": {"app.kubernetes.io/name": "modelhandoff"},
        },
        "spec": {"replicas": 1},
        "status": {"availableReplicas": available},
    })  # fmt: skip
    server.add("leases", {
        "metadata": {"name": "modelhandoff", "namespace": "modelhandoff-system"},
        "spec": {
            "holderIdentity": "modelhandoff-0", "leaseDurationSeconds": 15,
            "renewTime": at.isoformat().replace("+00:00", "Z"),
        },
    })  # fmt: skip
