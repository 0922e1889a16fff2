"""A crash at every write: same end, same verdict, one promotion, nothing counted twice.

On the API in this process the operator is killed at each *kind* of write in a run of its own; on
the real API server at every single write, one after another in one run: before the request
arrives, between its commit and the reply, and after the reply. Each time it is started again as
a kubelet would.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.component.collecting import FAULTY, HEALTHY, Behaviour
from tests.component.crashing import Killer, When
from tests.component.fakeapi.faults import Effect, Fault, Request
from tests.component.fakeapi.objects import Object, Write
from tests.component.handoffs import V2, quick
from tests.component.invariants import check
from tests.component.phases import LONG, serving, workload
from tests.component.realapi.site import RealSite
from tests.component.reports import kept_once
from tests.component.world import USER_AGENT, World, world, world_at

Mark = tuple[str, str, str, str]
"""Kind, verb, subresource and phase after: one kind of write."""


@dataclass(frozen=True)
class Story:
    """A run to its end."""

    name: str
    candidate: Behaviour
    end: str
    verdict: tuple[str, str]
    marks: tuple[Mark, ...]

    def __str__(self) -> str:
        return self.name


PROMOTE = Story(
    "promote",
    HEALTHY,
    "Promoted",
    ("Promote", "ProofsComplete"),
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
        ("ConfigMap", "create", "", ""),
        ("HandoffAttempt", "update", "status", "Promoted with report"),
    ),
)
ROLL_BACK = Story(
    "rollback",
    FAULTY,
    "RolledBack",
    ("Rollback", "Catastrophe"),
    (
        ("HandoffAttempt", "update", "status", "RollingBack"),
        ("HandoffAttempt", "update", "status", "RolledBack"),
        ("ModelHandoff", "update", "status", "RolledBack"),
        ("ConfigMap", "create", "", ""),
        ("HandoffAttempt", "update", "status", "RolledBack with report"),
    ),
)
STORIES = (PROMOTE, ROLL_BACK)
PLURALS = {
    "HandoffAttempt": "handoffattempts",
    "Service": "services",
    "Deployment": "deployments",
    "ModelHandoff": "modelhandoffs",
    "Job": "jobs",
    "HTTPRoute": "httproutes",
    "ConfigMap": "configmaps",
}


@pytest.fixture
async def served() -> AsyncIterator[World]:
    """Version 1 serves."""
    async with world() as place:
        await serving(place)
        place.keep_alive = True
        yield place


def mark_of(write: Write) -> Mark:
    status = (write.after.get("status") or {}) if write.subresource == "status" else {}
    return write.kind, write.verb, write.subresource, stage_of(status)


def stage_of(status: Object) -> str:
    return str(status.get("phase", "")) + (" with report" if status.get("reportRef") else "")


def seen(place: World, since: int) -> set[Mark]:
    return {mark_of(write) for write in place.writes(since) if write.kind != "Event"}


async def run(place: World, story: Story) -> int:
    since = place.objects.version
    place.collector.candidate = story.candidate
    place.stride = LONG
    await place.apply(quick(V2))
    await place.run_until(lambda: place.phase() == story.end)
    await place.pass_time(3600)
    return since


async def same_end(place: World, story: Story) -> None:
    """What the undisturbed run ends with, however often the operator died."""
    first, second = place.attempts()
    assert place.phase() == story.end
    verdict = second["status"]["verdict"]
    assert (verdict["decision"], verdict["reason"]) == story.verdict
    kept = second if story.end == "Promoted" else first
    assert place.share(kept) == 100
    assert len(place.route()) == 1
    kept_once(place)
    await check(place)


@pytest.mark.parametrize("story", STORIES, ids=str)
async def test_the_list_of_writes_is_complete(served: World, story: Story) -> None:
    """The marks above are what a run consists of: a new kind of write must be crashed at too."""
    since = await run(served, story)
    await same_end(served, story)
    known = {*PROMOTE.marks, *ROLL_BACK.marks}
    # Whether a phase that passes at once reaches the handoff's status is a matter of timing.
    assert {m for m in seen(served, since) if m[0] != "ModelHandoff"} <= known
    assert set(story.marks) <= seen(served, since)


CASES = [
    pytest.param(story, mark, id=f"{story}-{'-'.join(filter(None, mark))}")
    for story in STORIES
    for mark in story.marks
]


@pytest.mark.parametrize(("story", "mark"), CASES)
async def test_killed_right_after_a_write(served: World, story: Story, mark: Mark) -> None:
    struck: list[Write] = []

    def strike(write: Write) -> None:
        if struck or write.actor != USER_AGENT or mark_of(write) != mark:
            return
        struck.append(write)
        assert served.process is not None
        served.process.fence.close("killed by the test")

    served.server.on_write.append(strike)
    await run(served, story)
    assert struck
    await same_end(served, story)


@pytest.mark.parametrize(("story", "mark"), CASES)
async def test_killed_before_a_write_arrives(served: World, story: Story, mark: Mark) -> None:
    kind, verb, subresource, phase = mark

    def matches(request: Request) -> bool:
        status = (request.body or {}).get("status") or {} if subresource == "status" else {}
        wanted = (PLURALS[kind], verb, subresource, USER_AGENT)
        asked = (request.plural, request.verb, request.subresource, request.actor)
        if asked != wanted or stage_of(status) != phase:
            return False
        assert served.process is not None
        served.process.fence.close("killed by the test")
        return True

    fault = served.server.faults.add(Fault(Effect.DROP, matches))
    await run(served, story)
    assert len(fault.hits) == 1
    await same_end(served, story)


@pytest.mark.control_plane
@pytest.mark.parametrize("when", When, ids=lambda when: when.name.lower())
@pytest.mark.parametrize("story", STORIES, ids=str)
async def test_killed_at_every_single_write_on_the_real_api_server(
    plane, story: Story, when: When
) -> None:
    async with world_at(RealSite(plane)) as place:
        await serving(place)
        killer = Killer(place, when)
        since = await run(place, story)
        place.server.faults.clear()
        await same_end(place, story)
        assert set(story.marks) <= seen(place, since)
        struck = {(request.plural, request.verb) for request in killer.struck}
        assert struck >= {(PLURALS[kind], verb) for kind, verb, _, _ in story.marks}
        assert workload(V2) in place.deployments()
        print(f"died {len(killer.struck)} times")
