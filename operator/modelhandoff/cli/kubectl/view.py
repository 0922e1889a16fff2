"""Everything ``status`` and ``explain`` show, read at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from modelhandoff.api import names
from modelhandoff.api.vocabulary import TERMINAL
from modelhandoff.cli.kubectl import lookup
from modelhandoff.cli.kubectl.api import Api, Raw
from modelhandoff.cli.kubectl.heartbeat import Heartbeat, listen
from modelhandoff.cluster.kinds import POD

if TYPE_CHECKING:
    from modelhandoff.rollout.snapshot import PodView


@dataclass(frozen=True, slots=True)
class Arm:
    """One version: its Deployment and its pods.

    Attributes:
        name: of the Deployment; empty when there is none.
        weight: on the route; ``None`` when no route is seen.
        pods: ``None`` without the right to see pods.
    """

    version: str
    revision: str
    name: str
    weight: int | None
    ready: int
    desired: int
    pods: tuple[PodView, ...] | None


@dataclass(frozen=True)
class View:
    """One handoff and what is around it.

    Attributes:
        attempt: the attempt that the status speaks of; ``None`` before the first, or gone.
        spec: the frozen spec of that attempt, else the handoff's own.
        stable, candidate: ``None`` when nothing has that part.
        missing: what this user may not see, one clause each.
        signed: role -> who has approved the attempt's bundle.
    """

    now: datetime
    handoff: Raw
    attempt: Raw | None
    spec: Mapping[str, Any]
    route: Raw | None
    stable: Arm | None
    candidate: Arm | None
    heartbeat: Heartbeat
    missing: tuple[str, ...] = field(default=())
    signed: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> Raw:
        """The handoff's status."""
        return lookup.status_of(self.handoff)

    @property
    def state(self) -> Raw:
        """The attempt's status; empty without one."""
        return lookup.status_of(self.attempt) if self.attempt else {}

    @property
    def place(self) -> str:
        """``namespace/name``."""
        meta = self.handoff["metadata"]
        return f"{meta['namespace']}/{meta['name']}"

    @property
    def phase(self) -> str:
        """The phase as the status says it; empty before the first visit."""
        return str(self.status.get("phase") or "")

    @property
    def ended(self) -> bool:
        """Whether the attempt is over."""
        return self.phase in TERMINAL

    @property
    def seen(self) -> bool:
        """Whether the operator has seen the handoff as it is now."""
        wanted = int(self.handoff["metadata"].get("generation") or 0)
        return int(self.status.get("observedGeneration", -1)) >= wanted

    @property
    def sentence(self) -> str:
        """The one sentence."""
        told = str(self.status.get("message") or "")
        if self.seen and told:
            return told
        if not self.seen and told:
            return f"An edit waits for the operator. Before it: {told}"
        return "The operator has not looked at this handoff yet."

    def metric_spec(self, name: str) -> Mapping[str, Any]:
        """A metric's entry in the spec."""
        for metric in (self.spec.get("monitoring") or {}).get("metrics") or ():
            if metric.get("name") == name:
                return dict(metric)
        return {}


def look(api: Api, handoff: Raw, *, now: datetime | None = None) -> View:
    """Read what is around a handoff; what may not be read is left out and said."""
    attempt = lookup.current_attempt(api, handoff)
    workloads = lookup.workloads_of(api, handoff)
    pods = lookup.pods_of(api, handoff)
    route = lookup.route_of(api, handoff)
    weights = lookup.weights(route) if route else None
    missing = []
    if workloads is None:
        missing.append("Deployments")
    if pods is None:
        missing.append("pods")
    stable = _stable(api, handoff, workloads or {}, pods, weights)
    spec = lookup.frozen_spec(attempt) or handoff["spec"]
    return View(
        now=now or datetime.now(UTC),
        handoff=handoff,
        attempt=attempt,
        spec=spec,
        signed=lookup.signed(api, handoff, attempt) if spec.get("approvals") else {},
        route=route,
        stable=stable,
        candidate=_candidate(handoff, attempt, workloads or {}, pods, weights, stable),
        heartbeat=listen(api),
        missing=tuple(missing),
    )


def _stable(
    api: Api,
    handoff: Raw,
    workloads: Mapping[str, Raw],
    pods: list[Raw] | None,
    weights: Mapping[str, int] | None,
) -> Arm | None:
    marked = [
        one
        for one in workloads.values()
        if (one["metadata"].get("labels") or {}).get(names.LABEL_ROLE) == names.ROLE_STABLE
    ]
    marked.sort(key=lambda one: str(_annotation(one, names.ANNOTATION_PROMOTED_AT)))
    said = lookup.status_of(handoff).get("stable") or {}
    if marked:
        return _arm(handoff, marked[-1], pods, weights, str(said.get("version") or ""))
    reference = (handoff["spec"].get("baseline") or {}).get("workloadRef") or {}
    adopted = workloads.get(reference.get("name") or "")
    if adopted is not None:
        selector = (adopted["spec"].get("selector") or {}).get("matchLabels") or {}
        labels = ",".join(f"{key}={value}" for key, value in selector.items())
        space = handoff["metadata"]["namespace"]
        own = lookup.if_any(lambda: api.list(POD, space, labels=labels)) if labels else []
        return _arm(handoff, adopted, own, weights, str(said.get("version") or ""), adopted=True)
    if not said:
        return None
    return Arm(said.get("version", ""), said.get("revision", ""), "", None, 0, 0, ())


def _candidate(  # noqa: PLR0917 - each is another part of what was seen
    handoff: Raw,
    attempt: Raw | None,
    workloads: Mapping[str, Raw],
    pods: list[Raw] | None,
    weights: Mapping[str, int] | None,
    stable: Arm | None,
) -> Arm | None:
    said = lookup.status_of(handoff).get("candidate") or {}
    revision = str((attempt["spec"] if attempt else said).get("revision") or "")
    if not revision:
        return None
    name = names.workload_name(handoff["metadata"]["name"], revision)
    if stable is not None and stable.name == name:
        return None
    found = workloads.get(name)
    version = str(said.get("version") or "")
    if found is None:
        weight = (weights or {}).get(name, 0) if weights is not None else None
        return Arm(version, revision, "", weight, 0, 0, () if pods is not None else None)
    return _arm(handoff, found, pods, weights, version)


def _arm(
    handoff: Raw,
    workload: Raw,
    pods: list[Raw] | None,
    weights: Mapping[str, int] | None,
    version: str,
    *,
    adopted: bool = False,
) -> Arm:
    from modelhandoff.cluster import views

    meta, status = workload["metadata"], workload.get("status") or {}
    revision = (meta.get("labels") or {}).get(names.LABEL_REVISION, "")
    service = names.baseline_service_name(handoff["metadata"]["name"]) if adopted else meta["name"]
    mine = pods
    if pods is not None and not adopted:
        mine = [
            p
            for p in pods
            if p["metadata"]["labels"].get(names.LABEL_REVISION) == revision
            and "job-name" not in p["metadata"]["labels"]
        ]
    return Arm(
        version=str(_annotation(workload, names.ANNOTATION_MODEL_VERSION) or version),
        revision=str(revision),
        name=meta["name"],
        weight=None if weights is None else _percent(weights, service),
        ready=int(status.get("readyReplicas") or 0),
        desired=int(workload["spec"].get("replicas", 1)),
        pods=None
        if mine is None
        else tuple(sorted((views.pod(p) for p in mine), key=lambda p: (p.created, p.name))),
    )


def _percent(weights: Mapping[str, int], service: str) -> int:
    total = sum(weights.values())
    return round(100 * weights.get(service, 0) / total) if total else 0


def _annotation(thing: Raw, name: str) -> str:
    return str((thing["metadata"].get("annotations") or {}).get(name) or "")
