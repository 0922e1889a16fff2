"""Exported attempts as the operator writes them: real evidence from made-up traffic.

The intervals go through ``judge_intervals`` one by one, as in the operator, and the status is
what ``AttemptState.to_status`` writes; only the clock and the requests are invented.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np

from modelhandoff.analysis.synthetic import (
    DriftTruth,
    LatencyTruth,
    RateTruth,
    Scenario,
    Traffic,
)
from modelhandoff.api import names
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.hashing import bundle_hash, revision_hash
from modelhandoff.api.resolve import resolve
from modelhandoff.api.vocabulary import Outcome, Phase
from modelhandoff.rollout.attempt import AttemptState, Verdict, Withheld
from modelhandoff.rollout.judging import judge_intervals
from modelhandoff.rollout.latching import summary
from modelhandoff.rollout.measure import Exclusion, Stage
from tests.builders import spec as written

BEGIN = 1_795_564_800.0
"""2026-11-25 00:00:00 UTC."""
EDGES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, float("inf"))
BINS = tuple(i / 10 for i in range(1, 10))
BASELINE = "fraud-0123456789"

GOOD = {"errors": 0.004, "drift": 0.0, "median": 0.027}
FAILING = {"errors": 0.05, "drift": 0.0, "median": 0.027}
DRIFTED = {"errors": 0.004, "drift": 0.6, "median": 0.027}
SLOW = {"errors": 0.004, "drift": 0.0, "median": 0.060}


def at(seconds: float) -> datetime:
    """A time after the begin of the story."""
    return datetime.fromtimestamp(BEGIN + seconds, UTC)


def spec_of(**changes: Any) -> tuple[dict[str, Any], ModelHandoffSpec]:
    """A spec as written and as resolved."""
    raw = written(**changes)
    return raw, resolve(raw, None)


@cache
def judged(
    errors: float, drift: float, median: float, looks: int = 40
) -> tuple[AttemptState, float, str]:
    """The state after so many looks of this traffic, the combined evidence and the message."""
    _, spec = spec_of()
    truths = {
        "errors": RateTruth(0.004, errors),
        "latency": LatencyTruth(0.95, 0.027, median, EDGES),
        "scores": DriftTruth(10, drift),
    }
    traffic = Traffic(Scenario(6000.0, truths), np.random.default_rng(5), looks)
    state = AttemptState(
        phase=Phase.PROGRESSING,
        started_at=at(-60),
        phase_since=at(0),
        step=0,
        step_since=at(0),
        stages=(Stage(BEGIN, 0, 10),),
        first_weight_at=at(0),
        max_weight=10,
        last_data=BEGIN,
    ).note(at(-60), "Attempt for fraud-classifier 1.4.0 started.")
    verdict = None
    for look in range(1, looks + 1):
        made = traffic.interval(look, 0, 10)
        made = dataclasses.replace(made, start=made.start + BEGIN, end=made.end + BEGIN)
        got = judge_intervals(spec, state, (made,), "", at(30.0 * look), edges={"scores": BINS})
        verdict = got.verdict
        state = state.but(
            evidence=got.evidence,
            bins=got.bins,
            looks=got.looks,
            step_looks=got.step_looks,
            step_requests=got.step_requests,
            last_data=got.last_data,
        )
        if verdict is not None and verdict.decision == "Rollback":
            break
    assert verdict is not None
    state = state.but(
        cursor=json.dumps({"t": [[f"{BASELINE}-5cfcc97d78-nj4mr"], [f"{_own()}-54559dd55-n4x5g"]]}),
        metrics=tuple(summary(one, spec) for one in verdict.metrics),
        exclusions=(Exclusion(BEGIN - 2.0, BEGIN + 2.0, "first requests"),),
        warmed_up=True,
    )
    return state, verdict.total_e, verdict.message


def _own() -> str:
    return names.workload_name("fraud", revision_hash(spec_of()[0]))


def ended(
    traffic: dict[str, float],
    outcome: Outcome,
    reason: str,
    *,
    message: str = "",
    looks: int = 40,
) -> AttemptState:
    """The state of an attempt whose verdict fell after this traffic and was carried out."""
    state, total_e, said = judged(**traffic, looks=looks)
    when = at(30.0 * state.looks + 4)
    verdict = Verdict(outcome, reason, message or said, when, state.looks, total_e)
    done = when + timedelta(seconds=10)
    promoted = outcome.promotes
    state = state.but(
        verdict=verdict,
        promoted_at=done if promoted else None,
        off_at=None if promoted else when,
    ).note(when, f"{outcome}: {verdict.message}")
    return state.enter(outcome.final_phase, done, f"{outcome.final_phase}.")


def untouched(outcome: Outcome, reason: str, message: str) -> AttemptState:
    """The state of an attempt that ended before its candidate had traffic."""
    verdict = Verdict(outcome, reason, message, at(90))
    state = AttemptState(phase=Phase.PROVISIONING, phase_since=at(0), started_at=at(0))
    state = state.note(at(0), "Attempt started.").but(verdict=verdict)
    return state.enter(outcome.final_phase, at(100), f"{outcome.final_phase}.")


def held() -> AttemptState:
    """A running attempt whose weight is 0 for now."""
    state, _, _ = judged(**GOOD, looks=10)
    return state.but(withheld=Withheld("NoData", "No data for 10 min.", at(700)))


def attempt(
    state: AttemptState,
    *,
    kind: str = "Rollout",
    ordinal: int = 2,
    name: str = "",
    namespace: str = "payments",
    **changes: Any,
) -> dict[str, Any]:
    """The HandoffAttempt as ``kubectl get -o yaml`` would print it."""
    raw, resolved = spec_of(**changes)
    bundle = bundle_hash(raw)
    snapshot = {"objects": {}, "spec": resolved.model_dump(mode="json", by_alias=True)}
    return {
        "apiVersion": "modelhandoff.dev/v1alpha1",
        "kind": "HandoffAttempt",
        "metadata": {
            "name": name or names.attempt_name("fraud", "uid", bundle, ordinal),
            "namespace": namespace,
            "creationTimestamp": "2026-11-24T23:59:00Z",
        },
        "spec": {
            "handoffRef": {"name": "fraud", "uid": "uid"},
            "bundleHash": bundle,
            "revision": revision_hash(raw),
            "ordinal": ordinal,
            "kind": kind,
            "snapshot": json.dumps(snapshot),
        },
        "status": state.to_status(),
    }


def handoff(current: str, **status: Any) -> dict[str, Any]:
    """The ModelHandoff at this attempt."""
    return {
        "apiVersion": "modelhandoff.dev/v1alpha1",
        "kind": "ModelHandoff",
        "metadata": {"name": "fraud", "namespace": "payments"},
        "spec": written(),
        "status": {"attemptRef": {"name": current, "ordinal": 2}, **status},
    }


ROLLED_BACK = attempt(ended(FAILING, Outcome.ROLLBACK, "HarmDetected"))
PROMOTED = attempt(ended(GOOD, Outcome.PROMOTE, "ProofsComplete"))


def texts(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Paths of all texts in a JSON value."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from texts(one, (*path, key))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from texts(one, (*path, index))


def changed(value: Any, path: tuple[str | int, ...], new: Callable[[Any], Any] | Any) -> Any:
    """A copy with another value at a path."""
    out = copy.deepcopy(value)
    node = out
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = new(node[path[-1]]) if callable(new) else new
    return out
