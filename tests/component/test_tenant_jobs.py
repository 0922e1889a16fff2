"""Tests and reproduction of the tenant's own through the API: Jobs, results, crashes, hands."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from modelhandoff.api.job_results import JobReport
from tests.builders import IMAGE
from tests.component.actors import JOB, Fate, Left
from tests.component.crashing import Killer, When
from tests.component.disturbances import BY_NAME, SOON, Disturbance
from tests.component.fakeapi.objects import Object
from tests.component.handoffs import V1, V2, quick
from tests.component.hands import JSON
from tests.component.invariants import check
from tests.component.phases import serving, workload
from tests.component.realapi.plane import Plane
from tests.component.realapi.site import RealSite
from tests.component.sites import FakeSite
from tests.component.test_matrix import HOURS, cells, end_of
from tests.component.test_verification import candidate_pods
from tests.component.world import ATTEMPT, NAMESPACE, POD, World, world_at

UNIT = {"name": "unit", "image": IMAGE, "command": ["pytest"]}
AGAIN = {
    "image": IMAGE,
    "command": ["train"],
    "tolerance": 0.02,
    "metrics": [{"name": "auc", "value": 0.91}],
}


def asking(number: str, **acceptance: object) -> Object:
    """A handoff with one test of its own, or whatever else is asked for."""
    made = quick(number)
    made["spec"]["acceptance"] = acceptance or {"tests": [UNIT]}
    return made


@pytest.fixture
async def logged() -> AsyncIterator[World]:
    """A world whose kubelet keeps logs, so that verification passes."""
    async with world_at(FakeSite()) as place:
        place.server.logs = place.actors.logs  # type: ignore[attr-defined]
        yield place


async def end(place: World, *phases: str) -> None:
    ended = ("Promoted", "Rejected", "Inconclusive", "Aborted", "RolledBack", "Superseded")
    await place.run_until(lambda: place.phase() in ended)
    assert place.phase() in phases, place.story()


def jobs(place: World, end: str = "-test-0") -> list[Object]:
    return place.objects.list(JOB, place.namespace, lambda o: o["metadata"]["name"].endswith(end))


def results(place: World) -> list[tuple[str, str, str]]:
    stored = place.attempt()["status"].get("jobs") or ()
    return [(one["name"], one["state"], one.get("reason", "")) for one in stored]


async def test_a_test_runs_after_the_checks_and_before_any_pod_and_is_kept(logged: World) -> None:
    await logged.start()
    await logged.apply(asking(V1))
    await end(logged, "Promoted")

    created = [w for w in logged.writes() if w.verb == "create" and w.kind in ("Job", "Deployment")]
    assert [w.name.rpartition("-")[2] for w in created[:2]] == ["verify", "0"]
    assert created[2].kind == "Deployment"
    assert results(logged) == [("Test/unit", "Passed", "ChecksPassed")]
    (job,) = jobs(logged)
    (owner,) = job["metadata"]["ownerReferences"]
    assert owner["kind"] == "HandoffAttempt"
    assert "3 tests passed" in logged.condition("AcceptancePassed")["message"]
    assert logged.condition("Reproduced")["reason"] == "NotDeclared"


async def test_the_end_of_the_log_is_kept_whatever_its_length(logged: World) -> None:
    def strike(write: object) -> None:
        if getattr(write, "kind", "") == "Pod" and "-test-0" in getattr(write, "name", ""):
            long = b"\xff\x00" * 200_000 + b"\nepoch 9\n"
            logged.actors.logs[NAMESPACE, getattr(write, "name", "")] = long

    logged.server.on_write.append(strike)
    await logged.start()
    await logged.apply(asking(V1))
    await end(logged, "Promoted")

    (kept,) = logged.attempt()["status"]["jobs"]
    assert 0 < len(kept["log"]) <= 2048
    assert "\0" not in kept["log"]


EMPTY = JobReport(found=True, numbers={"tests": 0.0}).model_dump_json(by_alias=True)
NO_FILE = JobReport(found=False).model_dump_json(by_alias=True)
OFF = JobReport(found=True, numbers={"auc": 0.8}).model_dump_json(by_alias=True)
REMADE = JobReport(found=True, numbers={"auc": 0.92}).model_dump_json(by_alias=True)


@pytest.mark.parametrize(
    ("left", "phase", "reason", "words"),
    [
        (Left(code=1, said="E  assert 3 == 4"), "Rejected", "TestFailed", "E assert 3 == 4"),
        (Left(receipt=EMPTY), "Rejected", "TestRanNothing", "it ran no test"),
        (Left(receipt=NO_FILE), "Rejected", "TestRanNothing", "no report in"),
        (Left(receipt=EMPTY, seconds=601), "Rejected", "TestTooSlow", "allowed 600 s"),
        (Left(receipt=""), "Inconclusive", "JobNotRun", "not collected"),
        (Left(receipt="garbage" * 500), "Inconclusive", "JobNotRun", "not collected"),
    ],
)
async def test_a_test_that_does_not_pass_lets_no_pod_of_the_candidate_exist(
    logged: World, left: Left, phase: str, reason: str, words: str
) -> None:
    await serving(logged)
    before, served = len(candidate_pods(logged)), logged.route()
    logged.actors.work = left
    await logged.apply(asking(V2))
    await end(logged, phase)

    assert logged.status()["verdict"]["reason"] == reason
    assert words in logged.status()["message"]
    assert len(candidate_pods(logged)) == before
    assert logged.route() == served
    assert [(name, state) for name, state, _ in results(logged)] == [
        ("Test/unit", "Failed" if phase == "Rejected" else "Inconclusive")
    ]


@pytest.mark.parametrize(
    ("left", "phase", "reason"),
    [
        (Left(receipt=REMADE, seconds=3000), "Promoted", "Reproduced"),
        (Left(receipt=REMADE, seconds=3700), "Rejected", "ReproductionTooSlow"),
        (Left(receipt=OFF), "Rejected", "ReproductionDiffers"),
        (Left(code=2, said="killed"), "Rejected", "ReproductionFailed"),
    ],
)
async def test_a_model_is_made_again_in_time_and_with_the_same_metrics(
    logged: World, left: Left, phase: str, reason: str
) -> None:
    logged.actors.work = left
    await logged.start()
    await logged.apply(asking(V1, reproduce=AGAIN))
    await end(logged, phase)

    assert logged.condition("Reproduced")["reason"] == reason
    assert logged.condition("Reproduced")["status"] == ("True" if phase == "Promoted" else "False")


@pytest.mark.parametrize("when", When, ids=lambda when: when.name.lower())
async def test_an_operator_that_dies_at_every_write_runs_each_job_once_and_loses_no_result(
    logged: World, when: When
) -> None:
    await logged.start()
    killer = Killer(logged, when)
    await logged.apply(asking(V1, tests=[UNIT, {**UNIT, "name": "two"}]))
    await end(logged, "Promoted")

    assert "jobs" in {request.plural for request in killer.struck}
    created = [
        w.name
        for w in logged.objects.writes
        if w.verb == "create" and w.kind == "Job" and "-test-" in w.name
    ]
    assert len(created) == len(set(created)) == 2
    assert [state for _, state, _ in results(logged)] == ["Passed", "Passed"]
    pods = [p for p in logged.objects.list(POD, NAMESPACE) if "-test-" in p["metadata"]["name"]]
    assert len(pods) == 2


async def test_a_job_that_never_starts_ends_without_blame(logged: World) -> None:
    await held(logged)
    await end(logged, "Inconclusive")

    assert logged.status()["verdict"]["reason"] == "JobNotRun"
    assert jobs(logged) == [], "a Job that nobody waits for is gone"
    assert len(candidate_pods(logged)) == 1


async def held(place: World) -> None:
    """Version 1 serves, and the test of version 2 is there and does not end."""
    await serving(place)

    def strike(write: object) -> None:
        name = getattr(write, "name", "")
        if getattr(write, "kind", "") == "Job" and name.endswith("-test-0"):
            place.actors.fate[name] = Fate.STARTING

    place.server.on_write.append(strike)
    await place.apply(asking(V2))
    await place.run_until(lambda: bool(jobs(place)))
    place.server.on_write.remove(strike)


def release(place: World) -> None:
    for name in [name for name in place.actors.fate if name.endswith("-test-0")]:
        place.actors.decide(name, Fate.READY)


async def _delete_job(place: World) -> None:
    for job in jobs(place):
        await place.hand.delete(JOB, place.namespace, job["metadata"]["name"])


HELD = [(cell.disturbance, cell.end) for cell in cells() if str(cell.stage) == "Pending"]


@pytest.mark.parametrize(
    ("disturbance", "wanted"),
    [*HELD, (Disturbance("delete-job", _delete_job), "P2")],
    ids=str,
)
async def test_whatever_happens_while_a_test_runs_the_end_is_that_of_a_waiting_attempt(
    logged: World, disturbance: Disturbance, wanted: str
) -> None:
    """The column Pending of the matrix holds here too: no pod of the candidate is there yet."""
    await held(logged)
    await disturbance.happen(logged)
    release(logged)
    logged.stride = 185.0
    await logged.pass_time(SOON)
    await disturbance.take_back(logged)
    await logged.pass_time(HOURS)

    assert end_of(logged) == wanted, logged.story()
    await check(logged, {workload(V1)} if disturbance.hurts_baseline else ())


def test_the_disturbances_are_all_there() -> None:
    assert {str(one) for one, _ in HELD} == set(BY_NAME) - {"lower"}


@pytest.mark.control_plane
async def test_the_jobs_are_taken_by_a_real_api_server(plane: Plane) -> None:
    """There is no kubelet, so what the checks found is written by hand; then the Jobs run."""
    passed = [{"op": "add", "path": "/status/checks", "value": [
        {"name": "Artifacts", "state": "Passed", "message": "fine"}
    ]}]  # fmt: skip
    async with world_at(RealSite(plane)) as place:
        place.actors.jobs = Fate.STARTING
        await place.start()
        await place.apply(asking(V1, tests=[UNIT], reproduce=AGAIN))
        await place.run_until(lambda: bool(place.attempts()) and place.phase() == "Verifying")
        name = place.attempt()["metadata"]["name"]
        await place.hand.patch(ATTEMPT, place.namespace, name, passed, JSON, "status")
        await place.run_until(lambda: bool(jobs(place)))
        place.actors.decide(jobs(place)[0]["metadata"]["name"], Fate.READY)
        await place.run_until(lambda: bool(jobs(place, "-reproduce")))
        place.actors.work = Left(receipt=OFF)
        place.actors.decide(jobs(place, "-reproduce")[0]["metadata"]["name"], Fate.READY)
        await end(place, "Rejected")

        assert place.status()["verdict"]["reason"] == "ReproductionDiffers", place.story()
        assert [state for _, state, _ in results(place)] == ["Passed", "Failed"]
        assert jobs(place)[0]["spec"]["podFailurePolicy"]["rules"][2]["onExitCodes"]["values"] == [
            0
        ]
