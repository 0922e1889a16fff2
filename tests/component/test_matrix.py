"""Every phase, and everything that people and machines do to a handoff meanwhile.

Version 1 serves, version 2 is on its way and is held in a phase; something happens; the phase
is let go. Hours later the end is the one in the table, and every invariant has held. The whole
table runs on the real API server; two columns of it on the API in this process, at every check.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.component.disturbances import BY_NAME, DISTURBANCES, SOON, Disturbance
from tests.component.handoffs import V1, V2, V3
from tests.component.invariants import check
from tests.component.phases import (
    LONG,
    PROMOTING,
    STAGES,
    STEP_1,
    Stage,
    reach,
    serving,
    workload,
)
from tests.component.realapi.site import RealSite
from tests.component.sites import FakeSite
from tests.component.world import HANDOFF, World, world_at

# First letter: how the newest attempt ended (Promoted, RolledBack, Aborted, Superseded), G the
# handoff is gone, N it needs no attempt. Then the version that serves; * is two at a time, as
# somebody wanted it. "==" is neutral: end and verdicts of the undisturbed run. "." cannot be.
TABLE = """
           Pending  Provisioning  WarmingUp  Step1  Step2  Probation  Promoting  Promoted  RollingBack  RolledBack
nothing    P2       P2            P2         P2     P2     P2         P2         P2        R1           R1
SIGKILL    ==       ==            ==         ==     ==     ==         ==         ==        ==           ==
abort      A1       A1            A1         A1     A1     A1         A1         ==        ==           ==
delete     G1       G1            G1         G1     G1     G1         G1         G2        G1           G1
re-create  P2       P2            P2         P2     P2     P2         P2         N2        P2           P2
edit       P3       P3            P3         P3     P3     P3         P3         P3        P3           P3
revert     S1       S1            S1         S1     S1     S1         S1         P1        R1           R1
pause      ==       ==            ==         ==     ==     ==         ==         ==        ==           ==
retry      ==       ==            ==         ==     ==     ==         ==         ==        P2           P2
promote    P2       P2            P2         P2     P2     P2         ==         ==        ==           ==
scale      ==       ==            ==         ==     ==     ==         ==         ==        ==           ==
lost       ==       ==            ==         ==     ==     ==         ==         ==        ==           ==
lower      .        .             .          A1     A1     A1         A1         P*        .            .
raise      ==       ==            ==         ==     ==     .          .          .         ==           ==
rival      ==       ==            ==         ==     ==     ==         ==         ==        ==           ==
"""  # noqa: E501
UNDISTURBED = {
    "P2": [("Initial", "Initial"), ("Promote", "ProofsComplete")],
    "R1": [("Initial", "Initial"), ("Rollback", "Catastrophe")],
}
LETTERS = {"Promoted": "P", "RolledBack": "R", "Aborted": "A", "Superseded": "S"}
HOURS = 3 * 3600.0
QUICK = (STEP_1, PROMOTING)


@dataclass(frozen=True)
class Cell:
    """One entry of the table."""

    disturbance: Disturbance
    stage: Stage
    end: str
    neutral: bool

    def __str__(self) -> str:
        return f"{self.disturbance}-{self.stage}"


def cells() -> list[Cell]:
    header, undisturbed, *rows = [line.split() for line in TABLE.strip().splitlines()]
    assert header == [str(stage) for stage in STAGES]
    assert [undisturbed[0], *(row[0] for row in rows)] == [str(one) for one in DISTURBANCES]
    return [
        Cell(BY_NAME[name], stage, plain if end == "==" else end, name == "nothing" or end == "==")
        for name, *ends in (undisturbed, *rows)
        for stage, end, plain in zip(STAGES, ends, undisturbed[1:], strict=True)
        if end != "."
    ]


def end_of(place: World) -> str:
    """How it ended, in the words of the table."""
    versions = {workload(number): number[0] for number in (V1, V2, V3)}
    serve = [versions[name] for name, weight in place.route().items() if weight]
    serves = serve[0] if len(serve) == 1 else "*"
    if place.objects.find(HANDOFF, place.namespace, "fraud") is None:
        return f"G{serves}"
    phase = place.attempt()["status"]["phase"] if place.attempts() else ""
    return f"{LETTERS[phase] if phase else 'N'}{serves}"


def verdicts(place: World) -> list[tuple[str, str]]:
    found = [attempt["status"]["verdict"] for attempt in place.attempts()]
    return [(verdict["decision"], verdict["reason"]) for verdict in found]


async def tell(place: World, cell: Cell) -> None:
    await serving(place)
    await reach(place, cell.stage)
    await cell.disturbance.happen(place)
    cell.stage.release(place)
    place.stride = LONG
    await place.pass_time(SOON)
    await cell.disturbance.take_back(place)
    await place.pass_time(HOURS)
    assert end_of(place) == cell.end, place.story()
    if cell.neutral:
        assert verdicts(place) == UNDISTURBED[cell.end]
    if cell.disturbance.rival:
        assert place.condition("Stalled", "rival")["reason"] == "RouteConflict"
        assert place.route("rival") == {}
    await check(place, {workload(V1)} if cell.disturbance.hurts_baseline else ())


@pytest.mark.parametrize("cell", [c for c in cells() if c.stage in QUICK], ids=str)
async def test_in_this_process(cell: Cell) -> None:
    async with world_at(FakeSite()) as place:
        await tell(place, cell)


@pytest.mark.control_plane
@pytest.mark.parametrize("cell", cells(), ids=str)
async def test_on_the_real_api_server(plane, cell: Cell) -> None:
    async with world_at(RealSite(plane)) as place:
        await tell(place, cell)
