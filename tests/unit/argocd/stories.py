"""A handoff in every phase, with the status that the operator's own code renders for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from modelhandoff.api import names
from modelhandoff.rollout.decide import decide
from modelhandoff.rollout.snapshot import PodView
from tests.builders import DIGEST, spec
from tests.unit.rollout.model import HARM, OPEN, PROVEN, SETTINGS, Model

Raw = dict[str, Any]

GOLDEN = {"role": "TestData", "uri": "https://models.example/golden.jsonl", "digest": DIGEST}
MODEL = {"role": "Model", "uri": "https://models.example/model.onnx", "digest": DIGEST}
CHECKED = spec(
    candidate={"model": {"version": "2.0.0"}, "artifacts": [MODEL, GOLDEN]},
    acceptance={"smoke": {}},
    approvals={"roles": ["DataScience"]},
)


@dataclass(frozen=True)
class Story:
    """One moment.

    Attributes:
        name: of its file.
        handoff, attempt: the two objects; no attempt before there is one.
        health: what Argo CD shows, by the table of docs/argocd.md.
        actions: which of the five may be clicked.
    """

    name: str
    handoff: Raw
    attempt: Raw | None
    health: str
    actions: frozenset[str]


RUNNING = frozenset({"pause", "abort"})
JUDGED = RUNNING | {"promote"}
ENDED = frozenset({"retry"})
NOTHING: frozenset[str] = frozenset()


def tell() -> Iterator[Story]:
    """Every story."""
    yield Story("new", _handoff(Model(), {"observedGeneration": -1}), None, "Progressing", NOTHING)
    yield from _way_to_traffic()
    model = Model().started()
    yield _now("progressing", model, "Progressing", JUDGED)
    yield from _edited(model)
    yield from _paused()
    yield from _endings()


def _way_to_traffic() -> Iterator[Story]:
    """From a second version's first status to its promotion, every phase as it is passed."""
    model = Model().promoted()
    yield _now("promoted", model, "Healthy", NOTHING)
    model.raw_spec = CHECKED
    model.said = PROVEN
    seen = {"Progressing"}
    while model.state.phase != "Promoted" or len(model.attempts) == 1:
        found = decide(model.snapshot(), model.collected(fresh=True), SETTINGS)
        phase = found.status.get("phase", "")
        if phase not in seen and len(model.attempts) == 2 and model.state.phase == phase:
            seen.add(phase)
            model.status = dict(found.status)
            waits = phase == "AwaitingApproval"
            health = "Suspended" if waits else "Progressing"
            yield _now(_kebab(phase), model, health, RUNNING)
        if found.action is not None:
            model.apply(found.action)
            model.settle()
        elif phase == "AwaitingApproval":
            model.approve("DataScience", "ana@example.org")
        else:
            model.pass_time(hours=1)


def _edited(model: Model) -> Iterator[Story]:
    """A status about what the handoff said before."""
    told = _now("edited", model, "Progressing", JUDGED)
    told.handoff["metadata"]["generation"] = 2
    yield told


def _paused() -> Iterator[Story]:
    model = Model().started()
    model.annotations[names.ANNOTATION_PAUSE] = model.attempt.name
    model.run()
    yield _now("paused", model, "Suspended", frozenset({"resume", "abort", "promote"}))
    model = Model().started()
    model.raw_spec["suspend"] = True
    model.run()
    yield _now("suspended", model, "Suspended", frozenset({"abort", "promote"}))
    model = Model().promoted()
    model.raw_spec = spec(
        candidate={"model": {"version": "2.0.0"}}, rollout={"decision": {"promotion": "Manual"}}
    )
    model.said = OPEN
    model.run()
    for _ in range(3):
        model.look(PROVEN, hours=1)
    yield _now("manual-gate", model, "Suspended", JUDGED)


def _endings() -> Iterator[Story]:
    model = Model().started()
    model.look(HARM)
    yield _now("rolling-back", model, "Progressing", RUNNING)
    model.pass_time(seconds=11)
    model.run()
    yield _now("rolled-back", model, "Degraded", ENDED)
    model.annotations[names.ANNOTATION_RETRY] = model.attempt.name
    yield _now("retry-asked", model, "Degraded", NOTHING)

    model = Model().started()
    model.annotations[names.ANNOTATION_ABORT] = model.attempt.name
    model.run()
    model.pass_time(seconds=11)
    model.run()
    yield _now("aborted", model, "Degraded", ENDED)

    model = Model().promoted()
    model.raw_spec = CHECKED
    model.checks = [{"name": "GoldenCases", "state": "Failed", "message": "3 of 20 wrong."}]
    model.run()
    yield _now("rejected", model, "Degraded", ENDED)

    model = Model().promoted()
    model.raw_spec = CHECKED
    model.run()
    model.approve("DataScience", "ana@example.org", decision="Reject", comment="Not yet.")
    model.run()
    yield _now("rejected-by-people", model, "Degraded", NOTHING)

    model = Model().promoted()
    model.edit("2.0.0")
    _no_room(model)
    yield _now("inconclusive", model, "Degraded", ENDED)

    model = Model().started()
    model.edit("3.0.0")
    superseded = model.attempt.name
    model.run()
    model.pass_time(seconds=11)
    model.run()
    told = _now("superseded", model, "Progressing", JUDGED)
    yield dataclasses.replace(told, attempt=_attempt(model, superseded))


def _no_room(model: Model) -> None:
    """No node has room for the candidate until the time is over."""
    for _ in range(40):
        found = decide(model.snapshot(), None, SETTINGS)
        model.status = dict(found.status)
        if found.action is not None:
            model.apply(found.action)
        elif model.state.phase.terminal:
            return
        else:
            model.pass_time(minutes=10)
        waiting = model.workloads.get(model.candidate)
        if waiting is not None and waiting.desired and not waiting.pods:
            said = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
            model.pods(model.candidate, PodView("p", model.now, ready=False, deleting=False,
                                                restarts=0, unschedulable=said))  # fmt: skip
    raise AssertionError(model.status)


def _now(name: str, model: Model, health: str, actions: frozenset[str]) -> Story:
    return Story(
        name, _handoff(model, model.status), _attempt(model, model.attempt.name), health, actions
    )


def _handoff(model: Model, status: Raw) -> Raw:
    meta: Raw = {"name": "fraud", "namespace": "payments", "uid": model.uid, "generation": 1}
    if model.annotations:
        meta["annotations"] = dict(model.annotations)
    return {
        "apiVersion": names.API_VERSION,
        "kind": "ModelHandoff",
        "metadata": meta,
        "spec": model.raw_spec,
        "status": status,
    }


def _attempt(model: Model, name: str) -> Raw:
    view = model.attempts[name]
    return {
        "apiVersion": names.API_VERSION,
        "kind": "HandoffAttempt",
        "metadata": {"name": name, "namespace": "payments", "generation": 1},
        "spec": {"handoffRef": {"name": "fraud", "uid": model.uid}, "ordinal": view.ordinal},
        "status": dict(view.status),
    }


def _kebab(phase: str) -> str:
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in phase).strip("-")
