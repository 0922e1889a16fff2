"""A crash at every write: same end, one promotion, one verdict, nothing counted twice.

The undisturbed run is recorded once per story; then the operator is killed at each *kind* of
write it contains (kind, subresource, phase), before the write reaches the API server and right
after it has been committed, and started again as a kubelet would.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.component.collecting import FAULTY, HEALTHY, Behaviour
from tests.component.fakeapi.faults import Effect, Fault, Request
from tests.component.fakeapi.objects import Write
from tests.component.handoffs import V1, V2, version
from tests.component.world import USER_AGENT, World, world

Mark = tuple[str, str, str, str]
"""Kind, verb, subresource and phase after: one kind of write."""


@dataclass(frozen=True)
class Story:
    """A run to its end."""

    name: str
    candidate: Behaviour
    end: str
    marks: tuple[Mark, ...]


PROMOTE = Story(
    "promote",
    HEALTHY,
    "Promoted",
    (
        ("HandoffAttempt", "create", "", ""),
        ("HandoffAttempt", "update", "status", "Provisioning"),
        ("Service", "create", "", ""),
        ("Deployment", "create", "", ""),
        ("HandoffAttempt", "update", "status", "WarmingUp"),
        ("Job", "create", "", ""),
        ("Service", "patch", "", ""),
        ("Deployment", "patch", "", ""),
        ("HandoffAttempt", "update", "status", "Progressing"),
        ("HTTPRoute", "patch", "", ""),
        ("ModelHandoff", "update", "status", "Progressing"),
        ("HandoffAttempt", "update", "status", "Promoting"),
        ("Job", "delete", "", ""),
        ("HandoffAttempt", "update", "status", "Promoted"),
        ("ModelHandoff", "update", "status", "Promoted"),
    ),
)
ROLL_BACK = Story(
    "rollback",
    FAULTY,
    "RolledBack",
    (
        ("HandoffAttempt", "update", "status", "RollingBack"),
        ("HandoffAttempt", "update", "status", "RolledBack"),
        ("ModelHandoff", "update", "status", "RolledBack"),
    ),
)


@pytest.fixture
async def serving() -> AsyncIterator[World]:
    """Version 1 serves; metrics come in quickly."""
    async with world() as place:
        place.collector.per_second = 1000.0
        await place.start()
        await place.apply(version(V1))
        await place.run_until(lambda: place.phase() == "Promoted")
        place.keep_alive = True
        yield place


def mark_of(write: Write) -> Mark:
    status = (write.after.get("status") or {}) if write.subresource == "status" else {}
    return write.kind, write.verb, write.subresource, str(status.get("phase", ""))


def seen(place: World, since: int) -> list[Mark]:
    found: dict[Mark, None] = {}
    for write in place.writes(since):
        if write.kind != "Event":
            found[mark_of(write)] = None
    return list(found)


async def run(place: World, story: Story) -> int:
    since = place.objects.version
    place.collector.candidate = story.candidate
    await place.apply(version(V2))
    await place.run_until(lambda: place.phase() == story.end)
    await place.pass_time(3600)
    return since


def check(place: World, story: Story, since: int) -> None:
    """What must hold however often the operator died."""
    first, second = place.attempts()
    assert place.phase() == story.end
    promoted = story.end == "Promoted"
    assert place.share(second) == (100 if promoted else 0)
    assert place.share(first) == (0 if promoted else 100)
    verdicts: dict[str, set[tuple[str, str]]] = {}
    for write in place.objects.writes:
        verdict = (write.after.get("status") or {}).get("verdict") or {}
        if write.kind == "HandoffAttempt" and verdict:
            known = verdicts.setdefault(write.name, set())
            known.add((verdict["decision"], verdict["at"]))
    assert all(len(known) == 1 for known in verdicts.values()), verdicts
    stored = [i for _, i in place.collector.closed]
    # A kill after the question and before the write asks again; what is *stored* is dense.
    assert sorted(set(stored)) == list(range(min(stored), max(stored) + 1))
    looks = second["status"]["looks"]
    assert looks <= len(set(stored)), "an interval was counted twice"
    last = place.objects.version
    assert place.writes(last) == []


@pytest.mark.parametrize("story", [PROMOTE, ROLL_BACK], ids=lambda story: story.name)
async def test_the_list_of_writes_is_complete(serving: World, story: Story) -> None:
    """The marks above are what a run consists of: a new kind of write must be crashed at too."""
    since = await run(serving, story)
    check(serving, story, since)
    known = {*PROMOTE.marks, *ROLL_BACK.marks}
    # Whether a phase that passes at once reaches the handoff's status is a matter of timing.
    assert {m for m in seen(serving, since) if m[0] != "ModelHandoff"} <= known
    assert set(story.marks) <= set(seen(serving, since))


CASES = [(story, mark) for story in (PROMOTE, ROLL_BACK) for mark in story.marks]


@pytest.mark.parametrize(
    ("story", "mark"), CASES, ids=lambda value: getattr(value, "name", None) or "-".join(value)
)
async def test_killed_right_after_a_write(serving: World, story: Story, mark: Mark) -> None:
    struck: list[Write] = []

    def strike(_: Any) -> None:
        write = serving.objects.writes[-1]
        if struck or write.actor != USER_AGENT or mark_of(write) != mark:
            return
        struck.append(write)
        assert serving.process is not None
        serving.process.fence.close("killed by the test")

    serving.objects.listeners.append(strike)
    since = await run(serving, story)
    assert struck
    check(serving, story, since)


@pytest.mark.parametrize(
    ("story", "mark"), CASES, ids=lambda value: getattr(value, "name", None) or "-".join(value)
)
async def test_killed_before_a_write_arrives(serving: World, story: Story, mark: Mark) -> None:
    plurals = {
        "HandoffAttempt": "handoffattempts",
        "Service": "services",
        "Deployment": "deployments",
        "ModelHandoff": "modelhandoffs",
        "Job": "jobs",
        "HTTPRoute": "httproutes",
    }
    kind, verb, subresource, phase = mark

    def matches(request: Request) -> bool:
        status = (request.body or {}).get("status") or {} if subresource == "status" else {}
        if (request.plural, request.verb, request.subresource, request.actor) != (
            plurals[kind],
            verb,
            subresource,
            USER_AGENT,
        ) or str(status.get("phase", "")) != phase:
            return False
        assert serving.process is not None
        serving.process.fence.close("killed by the test")
        return True

    fault = serving.server.faults.add(Fault(Effect.DROP, matches))
    since = await run(serving, story)
    assert len(fault.hits) == 1
    check(serving, story, since)
