"""The decision report: kept once when an attempt has ended, and never in anybody's way."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from modelhandoff.api import names
from tests.component.collecting import FAULTY, HEALTHY
from tests.component.fakeapi.faults import Effect, Fault, Request
from tests.component.fakeapi.objects import Write
from tests.component.handoffs import V2, V3, quick
from tests.component.invariants import check
from tests.component.phases import LONG, serving
from tests.component.reports import CONFIG_MAP, kept_once, reports, texts
from tests.component.world import ATTEMPT, USER_AGENT, World, world


@pytest.fixture
async def served() -> AsyncIterator[World]:
    """Version 1 serves."""
    async with world() as place:
        await serving(place)
        yield place


def of_reports(request: Request) -> bool:
    return request.actor == USER_AGENT and request.plural == "configmaps"


async def ended(place: World, phase: str = "RolledBack") -> None:
    place.collector.candidate = FAULTY if phase == "RolledBack" else HEALTHY
    place.stride = LONG
    await place.apply(quick(V2))
    await place.run_until(lambda: place.phase() == phase)


async def test_a_decision_is_kept_with_its_reasons(served: World) -> None:
    await ended(served)
    await served.pass_time(60)
    kept_once(served)
    last = served.attempt()
    kept = reports(served)[names.report_name(last["metadata"]["name"])]
    markdown = texts(kept)["report.md"]
    assert "Rolled back at" in markdown
    assert "100 % on 1.0.0." in markdown, "it names the version that serves, not its pods"
    assert kept["metadata"]["ownerReferences"][0]["uid"] == last["metadata"]["uid"]


async def test_it_is_kept_after_the_status_has_told_the_end(served: World) -> None:
    since = served.objects.version
    await ended(served)
    await served.pass_time(60)
    kinds = [w.kind for w in served.writes(since) if w.kind != "Event"]
    assert kinds[-3:] == ["ModelHandoff", "ConfigMap", "HandoffAttempt"]


async def test_once_kept_nothing_is_written_any_more(served: World) -> None:
    await ended(served)
    await served.pass_time(3600)
    since = served.objects.version
    await served.pass_time(24 * 3600)
    assert served.writes(since) == []
    await check(served)


async def test_an_attempt_that_was_superseded_has_one_too(served: World) -> None:
    served.collector.candidate = HEALTHY
    served.stride = LONG
    await served.apply(quick(V2))
    await served.run_until(lambda: served.phase() == "Progressing")
    await served.apply(quick(V3))
    await served.run_until(lambda: served.phase() == "Promoted")
    await served.pass_time(60)
    assert [a["status"]["phase"] for a in served.attempts()] == [
        "Promoted", "Superseded", "Promoted",
    ]  # fmt: skip
    kept_once(served)


@pytest.mark.parametrize("status", [403, 422, 500, 429])
@pytest.mark.parametrize("phase", ["RolledBack", "Promoted"])
async def test_without_it_everything_goes_on(served: World, status: int, phase: str) -> None:
    fault = Fault(Effect.STATUS, of_reports, times=100_000, status=status)
    served.server.faults.add(fault)
    await ended(served, phase)
    await served.pass_time(1800)
    last = served.attempt()
    assert last["status"]["phase"] == phase
    assert "reportRef" not in last["status"]
    assert served.condition("Stalled")["reason"] == (
        "RolledBack" if phase == "RolledBack" else "Working"
    )
    running = [d for d in served.deployments().values() if d["spec"]["replicas"]]
    assert len(running) == 1, "old capacity has retired all the same"
    assert 0 < len(fault.hits) < 200

    served.server.faults.clear()
    since = served.objects.version
    await served.pass_time(3700)
    assert [w.kind for w in served.writes(since)] == ["ConfigMap", "HandoffAttempt"]
    kept_once(served)


async def test_a_running_rollout_is_looked_at_as_often_while_a_report_cannot_be_kept(
    served: World,
) -> None:
    fault = Fault(Effect.STATUS, of_reports, times=100_000, status=500)
    served.server.faults.add(fault)
    await ended(served)
    served.collector.candidate = HEALTHY
    await served.apply(quick(V3))
    await served.run_until(lambda: served.phase() == "Promoted")
    assert served.attempt()["status"]["verdict"]["reason"] == "ProofsComplete"


async def test_a_report_that_cannot_be_made_stops_nothing(
    served: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> dict[str, str]:
        raise ZeroDivisionError("a defect of the report")

    monkeypatch.setattr("modelhandoff.controller.process.documents", broken)
    await ended(served, "Promoted")
    await served.pass_time(1800)
    assert served.condition("Ready")["status"] == "True"
    assert len([d for d in served.deployments().values() if d["spec"]["replicas"]]) == 1


async def test_crds_that_do_not_know_the_field_are_not_written_at_again_and_again(
    served: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an API server with older CRDs does: it takes the write and keeps nothing of it."""
    asked = []

    async def dropped(*args: object) -> None:
        asked.append(args)

    await served.pass_time(60)
    monkeypatch.setattr("modelhandoff.cluster.reports.keep", dropped)
    await ended(served)
    await served.pass_time(3 * 3600)
    assert 1 <= len(asked) <= 4
    assert served.phase() == "RolledBack"


async def test_an_attempt_that_changes_meanwhile_is_looked_at_again(served: World) -> None:
    touched = []

    def touch(write: Write) -> None:
        if write.kind == "ConfigMap" and not touched:
            attempt = served.attempt()
            touched.append(attempt)
            served.objects.patch(
                ATTEMPT,
                served.namespace,
                attempt["metadata"]["name"],
                {"metadata": {"annotations": {"seen": "yes"}}},
            )

    served.server.on_write.append(touch)
    await ended(served)
    await served.pass_time(600)
    assert touched
    kept_once(served)


async def test_somebody_elses_config_map_is_left_alone(served: World) -> None:
    taken = []

    def take(write: Write) -> None:
        if write.kind == "HandoffAttempt" and write.verb == "create" and not taken:
            name = names.report_name(write.after["metadata"]["name"])
            body = {"metadata": {"name": name}, "data": {"mine": "yes"}}
            taken.append(served.objects.create(CONFIG_MAP, served.namespace, body))

    served.server.on_write.append(take)
    await ended(served)
    await served.pass_time(7200)
    (mine,) = taken
    assert reports(served)[mine["metadata"]["name"]]["data"] == {"mine": "yes"}
    assert "reportRef" not in served.attempt()["status"]
    assert served.phase() == "RolledBack"


async def test_a_report_that_was_planted_is_not_taken_for_ours(served: World) -> None:
    """Whoever may make ConfigMaps can make this one first, owner and digests included."""
    planted = []

    def plant(write: Write) -> None:
        if write.kind == "HandoffAttempt" and write.verb == "create" and not planted:
            meta = write.after["metadata"]
            owner = {
                "apiVersion": names.API_VERSION,
                "kind": "HandoffAttempt",
                "name": meta["name"],
                "uid": meta["uid"],
            }
            body = {
                "metadata": {
                    "name": names.report_name(meta["name"]),
                    "ownerReferences": [owner],
                    "annotations": {
                        names.ANNOTATION_DOCUMENTS: '[{"key":"report.md","sha256":"0","size":4}]'
                    },
                },
                "data": {"report.md": "fine"},
            }
            planted.append(served.objects.create(CONFIG_MAP, served.namespace, body))

    served.server.on_write.append(plant)
    await ended(served)
    await served.pass_time(7200)
    assert planted
    assert "reportRef" not in served.attempt()["status"]
    assert served.phase() == "RolledBack"


async def test_it_goes_with_its_attempt(served: World) -> None:
    await ended(served)
    await served.pass_time(60)
    first, last = served.attempts()
    await served.remove(ATTEMPT, first["metadata"]["name"])
    assert set(reports(served)) == {names.report_name(last["metadata"]["name"])}
