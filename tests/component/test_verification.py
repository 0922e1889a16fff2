"""The gate before any pod: the verification Job through the API, its report, crashes and hands."""

from __future__ import annotations

from typing import Any

import pytest

from modelhandoff.api import names
from modelhandoff.api.checks import CheckName, CheckState, sha256
from modelhandoff.verify.findings import status as check_status
from tests.component.actors import CONFIG_MAP, JOB, Fate, all_passed, reported
from tests.component.crashing import Killer, When
from tests.component.fakeapi.kinds import Kind
from tests.component.fakeapi.objects import Object
from tests.component.handoffs import V1, V2, quick
from tests.component.realapi.plane import Plane
from tests.component.realapi.site import RealSite
from tests.component.world import NAMESPACE, POD, World, world_at

LINE = "golden.jsonl:7: output score[0] is wrong; got 0.9; allowed 0.1 +- 0.0001"


def asking(number: str) -> Object:
    """A handoff that declares golden cases."""
    made = quick(number)
    artifacts = made["spec"]["candidate"]["artifacts"]
    artifacts.append(
        {**artifacts[0], "role": "TestData", "uri": "https://models.example/golden.jsonl"}
    )
    made["spec"]["acceptance"] = {"smoke": {}}
    return made


def one_wrong(spec: bytes) -> tuple[str, bytes]:
    return reported(
        spec,
        check_status(CheckName.ARTIFACTS, CheckState.PASSED, "2 files."),
        check_status(CheckName.GOLDEN_CASES, CheckState.FAILED, LINE, {"cases": 20, "wrong": 1}),
    )


@pytest.fixture
def logged(place: World) -> World:
    """A world whose kubelet keeps logs."""
    place.server.logs = place.actors.logs  # type: ignore[attr-defined]
    return place


async def end(place: World, *phases: str) -> None:
    ended = ("Promoted", "Rejected", "Inconclusive", "Aborted", "RolledBack", "Superseded")
    await place.run_until(lambda: place.phase() in ended)
    assert place.phase() in phases, place.story()


def verifying(place: World, kind: Kind) -> list[Object]:
    """What there is of one kind for verification."""
    return place.objects.list(
        kind, place.namespace, lambda o: o["metadata"]["name"].endswith("-verify")
    )


def candidate_pods(place: World) -> list[str]:
    """Every pod of any revision there ever was."""
    label = names.LABEL_REVISION
    return [
        w.name
        for w in place.objects.writes
        if w.kind == "Pod" and w.verb == "create" and label in w.after["metadata"].get("labels", {})
    ]


async def test_the_checks_come_first_and_are_kept(logged: World) -> None:
    await logged.start()
    await logged.apply(asking(V1))
    await end(logged, "Promoted")

    kinds = [w.kind for w in logged.writes() if w.verb == "create"]
    assert kinds.index("ConfigMap") < kinds.index("Job") < kinds.index("Deployment")
    attempt = logged.attempt()
    assert attempt["status"]["checks"] == [
        {"name": "GoldenCases", "state": "Passed", "message": "20 are right.", "numbers": {}},
        {
            "name": "CanaryGoldenCases", "state": "Passed", "message": "20 from 1 pod.",
            "numbers": {},
        },
    ]  # fmt: skip
    assert logged.condition("AcceptancePassed")["status"] == "True"
    (job,) = verifying(logged, JOB)
    (spec,) = verifying(logged, CONFIG_MAP)
    for owned in (job, spec):
        (owner,) = owned["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("HandoffAttempt", attempt["metadata"]["uid"])


async def test_a_wrong_answer_is_rejected_and_no_pod_of_the_candidate_ever_exists(
    logged: World,
) -> None:
    await logged.start()
    await logged.apply(quick(V1))
    await end(logged, "Promoted")
    before = len(candidate_pods(logged))
    served = logged.route()
    logged.actors.check = one_wrong
    await logged.apply(asking(V2))
    await end(logged, "Rejected")

    assert len(candidate_pods(logged)) == before
    assert logged.route() == served
    status = logged.status()
    assert status["verdict"]["reason"] == "AcceptanceFailed"
    assert LINE in status["message"]
    assert logged.attempt()["status"]["checks"][1]["numbers"] == {"cases": 20.0, "wrong": 1.0}
    assert logged.condition("AcceptancePassed")["message"] == f"GoldenCases: {LINE}"


async def test_an_answer_that_is_wrong_only_from_the_pods_is_rejected_before_any_weight(
    logged: World,
) -> None:
    await logged.start()
    await logged.apply(quick(V1))
    await end(logged, "Promoted")
    served = logged.route()
    wrong = f"{LINE} (1 of 20 cases are wrong on pod fraud-x)"
    logged.actors.canary = (
        check_status(CheckName.CANARY_GOLDEN_CASES, CheckState.FAILED, wrong, {"wrong": 1}),
    )
    await logged.apply(asking(V2))
    await end(logged, "Rejected")

    assert logged.route() == served
    status = logged.status()
    assert status["verdict"]["reason"] == "AcceptanceFailed"
    assert f"CanaryGoldenCases: {wrong}" in status["message"]
    assert logged.condition("AcceptancePassed")["status"] == "False"
    assert [c["state"] for c in logged.attempt()["status"]["checks"]] == ["Passed", "Failed"]
    assert "maxWeight" not in logged.attempt()["status"]


async def test_a_warm_up_that_leaves_no_report_lets_nothing_through(logged: World) -> None:
    logged.actors.canary = None
    await logged.start()
    await logged.apply(asking(V1))
    await end(logged, "Inconclusive")

    assert logged.status()["verdict"]["reason"] == "ReportUnreadable"
    assert "not the model's fault" in logged.status()["message"]


def _tampered(spec: bytes) -> tuple[str, bytes]:
    return all_passed(spec.replace(b'"absTolerance":1e-05', b'"absTolerance":99999'))


def _garbage(_: bytes) -> tuple[str, bytes]:
    return "Traceback (most recent call last):", b"\xff\xfe garbage"


def _nothing(_: bytes) -> tuple[str, bytes]:
    return "", b""


def _other_log(spec: bytes) -> tuple[str, bytes]:
    receipt, log = all_passed(spec)
    return receipt, log.replace(b"20 are right", b"21 are right")


def _ten_megabytes(spec: bytes) -> tuple[str, bytes]:
    receipt, log = all_passed(spec)
    return receipt, b"x" * 10_000_000 + b"\n" + log


def _lies(spec: bytes) -> tuple[str, bytes]:
    """The receipt says passed, the body that it names says failed."""
    receipt, log = one_wrong(spec)
    return receipt.replace('"verdict":"Failed"', '"verdict":"Passed"'), log


@pytest.mark.parametrize(
    ("check", "phase", "reason"),
    [
        (_tampered, "Rejected", "TamperedSpec"),
        (_garbage, "Inconclusive", "ReportUnreadable"),
        (_nothing, "Inconclusive", "ReportUnreadable"),
        (_other_log, "Inconclusive", "ReportUnreadable"),
        (_ten_megabytes, "Inconclusive", "ReportUnreadable"),
        (_lies, "Inconclusive", "ReportUnreadable"),
    ],
)
async def test_what_is_no_report_of_this_spec_lets_nothing_through(
    logged: World, check: Any, phase: str, reason: str
) -> None:
    logged.actors.check = check
    await logged.start()
    await logged.apply(asking(V1))
    await end(logged, phase)

    assert logged.status()["verdict"]["reason"] == reason
    assert candidate_pods(logged) == []


async def test_a_spec_that_somebody_put_there_before_is_noticed(logged: World) -> None:
    await logged.start()
    logged.actors.check = all_passed
    logged.actors.decide("fraud", Fate.STARTING)
    await logged.apply(asking(V1))
    # The Job does not get on; meanwhile its ConfigMap is exchanged, and the Job made anew.
    (spec,) = verifying(logged, CONFIG_MAP)
    name = spec["metadata"]["name"]
    await logged.hand.delete(CONFIG_MAP, NAMESPACE, name)
    easier = spec["data"]["spec.json"].replace('"absTolerance":1e-05', '"absTolerance":99999')
    meta = {key: spec["metadata"][key] for key in ("name", "labels", "ownerReferences")}
    await logged.hand.create(
        CONFIG_MAP, NAMESPACE, {"metadata": meta, "data": {"spec.json": easier}}
    )
    logged.actors.decide("fraud", Fate.READY)
    await end(logged, "Rejected")

    assert logged.status()["verdict"]["reason"] == "TamperedSpec"
    assert candidate_pods(logged) == []


async def test_a_pod_whose_log_is_gone_is_nobodys_fault(logged: World) -> None:
    def gone(spec: bytes) -> tuple[str, bytes]:
        return all_passed(spec)

    logged.actors.check = gone
    logged.server.logs = {}  # type: ignore[attr-defined]
    await logged.start()
    await logged.apply(asking(V1))
    await end(logged, "Inconclusive")

    assert "cannot be read" in logged.status()["message"]
    assert "not the model's fault" in logged.status()["message"]


@pytest.mark.parametrize("when", When, ids=lambda when: when.name.lower())
async def test_an_operator_that_dies_at_every_write_makes_one_job_and_loses_no_result(
    logged: World, when: When
) -> None:
    await logged.start()
    killer = Killer(logged, when)
    await logged.apply(asking(V1))
    await end(logged, "Promoted")

    assert {"configmaps", "jobs"} <= {request.plural for request in killer.struck}
    created = [
        w.name
        for w in logged.objects.writes
        if w.verb == "create" and w.kind in ("Job", "ConfigMap") and w.name.endswith("-verify")
    ]
    assert len(created) == len(set(created)) + 1, "one Job and one ConfigMap, of one name"
    assert [c["state"] for c in logged.attempt()["status"]["checks"]] == ["Passed", "Passed"]
    verifying = [p for p in logged.objects.list(POD, NAMESPACE) if "verify" in str(p["metadata"])]
    assert len(verifying) == 1


async def test_no_room_for_the_job_ends_without_blame(logged: World) -> None:
    logged.actors.decide("fraud", Fate.STARTING)
    await logged.start()
    await logged.apply(asking(V1))
    assert logged.phase() == "Verifying"
    await end(logged, "Inconclusive")

    assert logged.status()["verdict"]["reason"] == "VerificationNotRun"
    assert candidate_pods(logged) == []


@pytest.mark.control_plane
async def test_the_spec_is_the_same_bytes_on_a_real_api_server(plane: Plane) -> None:
    """There is no kubelet, so no log; but what the Job would read is what was frozen."""
    async with world_at(RealSite(plane)) as place:
        await place.start()
        await place.apply(asking(V1))
        await end(place, "Inconclusive")

        assert place.status()["verdict"]["reason"] == "ReportUnreadable", place.story()
        (job,) = verifying(place, JOB)
        (spec,) = verifying(place, CONFIG_MAP)
        digest = job["metadata"]["annotations"][names.ANNOTATION_SPEC_DIGEST]
        assert sha256(spec["data"]["spec.json"].encode()) == digest
        assert spec["immutable"] is True
