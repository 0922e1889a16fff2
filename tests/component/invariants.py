"""What must hold whatever happened: read off everything that was ever committed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container

from modelhandoff.api.vocabulary import Outcome, Phase
from tests.component.fakeapi.objects import Write
from tests.component.world import World

REPLACED_BY = {Outcome.ABORT, Outcome.SUPERSEDE}
"""A promotion that has not happened yet may still be called off by a person."""


async def check(place: World, excused: Container[str] = ()) -> None:
    """All invariants; ``excused``: Deployments that somebody took the pods of."""
    one_verdict_and_one_end(place)
    weights_are_whole(place)
    no_weight_without_a_ready_pod(place, excused)
    nothing_counted_twice(place)
    await nothing_written_at_rest(place)


def one_verdict_and_one_end(place: World) -> None:
    """One verdict per attempt; it ends once; after the end nothing but its metadata changes."""
    for name, writes in _of_attempts(place).items():
        verdicts: list[tuple[str, str]] = []
        ended = ""
        for write in writes:
            status = write.after.get("status") or {}
            phase = status.get("phase", "Pending")
            assert not ended or phase == ended, f"{name} went from {ended} to {phase}"
            ended = phase if Phase(phase).terminal else ""
            verdict = status.get("verdict")
            latched = (verdict["decision"], verdict["at"]) if verdict else None
            if latched and (not verdicts or verdicts[-1] != latched):
                verdicts.append(latched)
            assert bool(latched) or not verdicts, f"{name} lost its verdict"
        outcomes = [Outcome(decision) for decision, _ in verdicts]
        called_off = len(outcomes) == 2 and outcomes[0].promotes and outcomes[1] in REPLACED_BY
        assert len(outcomes) <= 1 or called_off, f"{name}: {verdicts}"
        if ended:
            assert Phase(ended) is outcomes[-1].final_phase, f"{name}: {ended} after {outcomes}"


def weights_are_whole(place: World) -> None:
    """Explicit weights that sum to 100, in every version of every route."""
    for name, history in place.weights.items():
        for seen in history:
            assert sum(seen.backends.values()) == 100, f"{name}: {seen}"


def no_weight_without_a_ready_pod(place: World, excused: Container[str] = ()) -> None:
    """Whatever the operator gave weight to had a ready pod at that moment."""
    for write in place.writes():
        if write.kind != "HTTPRoute" or write.verb == "delete":
            continue
        for rule in write.after["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                name, weight = backend["name"], backend["weight"]
                if weight and name not in excused:
                    ready = place.ready_at(name, write.version)
                    assert ready, f"{weight} % to {name} without a ready pod: {write}"


def nothing_counted_twice(place: World) -> None:
    """An attempt has judged no interval twice: its looks are no more than the intervals closed."""
    closed: dict[str, set[int]] = defaultdict(set)
    for candidate, index in place.collector.closed:
        closed[candidate].add(index)
    judged: dict[str, int] = defaultdict(int)
    for name, writes in _of_attempts(place).items():
        status = writes[-1].after.get("status") or {}
        looks = [(w.after.get("status") or {}).get("looks", 0) for w in writes]
        assert looks == sorted(looks), f"{name}: {looks}"
        if status.get("stages"):
            revision = writes[-1].after["spec"]["revision"].removeprefix("v1-")[:10]
            judged[revision] += status.get("looks", 0)
    for candidate, indices in closed.items():
        revision = candidate.rpartition("-")[2]
        assert judged[revision] <= len(indices), f"{candidate}: {judged[revision]} looks"


async def nothing_written_at_rest(place: World) -> None:
    """Converge and stay: several resyncs later not one write, and not one request."""
    await place.settle()
    last, asked = place.objects.version, len(place.server.faults.seen)
    await place.pass_time(3 * 700)
    assert place.writes(last) == []
    assert place.requests(asked) == []


def _of_attempts(place: World) -> dict[str, list[Write]]:
    """By uid: an attempt that somebody deleted is another one when it is made again."""
    found: dict[str, list[Write]] = defaultdict(list)
    for write in place.writes():
        if write.kind == "HandoffAttempt" and write.verb != "delete":
            found[write.after["metadata"]["uid"]].append(write)
    return found
