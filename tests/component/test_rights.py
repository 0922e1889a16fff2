"""What only a real API server has: rights that are taken away, and a crowd."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from modelhandoff.api import names
from tests.component.fakeapi.objects import Object
from tests.component.handoffs import V1, V2, quick
from tests.component.invariants import check
from tests.component.phases import LONG, STEP_1, reach, serving
from tests.component.realapi.plane import Plane, binding, rights
from tests.component.realapi.site import RealSite, until
from tests.component.world import ATTEMPT, World, world_at

pytestmark = pytest.mark.control_plane

GUEST = "guest"
GOOD = 200
AT_ONCE = 10


@pytest.fixture
async def guest(plane: Plane) -> AsyncIterator[World]:
    """An operator whose rights are its own: nobody else is hurt when they go."""
    plane.control_plane.apply(rights(GUEST))
    site = RealSite(plane, GUEST)
    async with world_at(site) as place:
        await until(site, allowed=True)
        yield place


async def test_rights_taken_away_stop_everything_and_harm_nothing(
    guest: World, plane: Plane
) -> None:
    site = guest.server
    assert isinstance(site, RealSite)
    await serving(guest)
    await reach(guest, STEP_1)
    since, weights = guest.objects.version, guest.route()

    plane.control_plane.kubectl("delete", "clusterrolebinding", GUEST)
    await until(site, allowed=False)
    site.drop_watches()
    asked = len(site.faults.seen)
    await guest.pass_time(600)
    assert guest.writes(since) == []
    assert guest.route() == weights, "nothing is moved on what is not known"
    assert 0 < len(guest.requests(asked)) < 200, "tried now and then"

    plane.control_plane.apply(binding(GUEST))
    await until(site, allowed=True)
    guest.stride = LONG
    await guest.run_until(lambda: guest.phase() == "Promoted")
    assert guest.exit_codes == [], "it was one process all the time"
    await guest.pass_time(3600)
    await check(guest)


@pytest.mark.timeout(600)
async def test_a_poison_object_among_two_hundred_good_ones(plane: Plane) -> None:
    """An attempt that cannot be read: its handoff is stuck, every other one is served."""
    async with world_at(RealSite(plane)) as place:
        await place.start()
        await place.apply(_own_host("poison"))
        await place.run_until(lambda: place.phase("poison") == "Promoted")
        await place.hand.create(ATTEMPT, place.namespace, _unreadable(place.attempt("poison")))
        good = [f"good-{number}" for number in range(GOOD)]
        for first in range(0, GOOD, AT_ONCE):
            for name in good[first : first + AT_ONCE]:
                await place.submit(_own_host(name))
            await place.settle()
        # No time has passed on the operator's clock: nobody waited for anybody's retry.
        assert {place.phase(name) for name in good} == {"Promoted"}
        since = len(place.server.faults.seen)
        await place.apply(_own_host(good[0], V2))
        place.collector.per_second = 10_000.0
        place.stride = LONG
        await place.run_until(lambda: place.phase(good[0]) == "Promoted")
        touched = {r.name for r in place.requests(since) if r.plural == "modelhandoffs" and r.name}
        assert touched <= {good[0], "poison"}, "the others are left in peace"
        assert place.share(place.attempts("poison")[0], "poison") == 100


def _own_host(name: str, number: str = V1) -> Object:
    handoff = quick(number, name)
    handoff["spec"]["rollout"]["route"]["hostnames"] = [f"{name}.example"]
    return handoff


def _unreadable(attempt: Object) -> Object:
    """A newer attempt of the same handoff whose snapshot is no JSON."""
    name = f"{attempt['spec']['handoffRef']['name']}-0000000000"
    labels = {**attempt["metadata"]["labels"], names.LABEL_MANAGED_BY: "vandal"}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {**attempt["spec"], "ordinal": 7, "snapshot": "}{ not what the operator wrote"},
    }
