"""Component tests: the whole controller against an API in this process, and against a real one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from e2e.cluster import ControlPlane
from tests.component.realapi.plane import CONTROLLERS, FLAGS, Plane
from tests.component.realapi.site import RealSite
from tests.component.sites import FakeSite, Site
from tests.component.world import World, world, world_at


@pytest.fixture
async def place() -> AsyncIterator[World]:
    """A world without an operator yet."""
    async with world() as made:
        yield made


@pytest.fixture(scope="session")
def plane() -> Iterator[Plane]:
    """One real control plane for all tests that want one."""
    with ControlPlane.start(controllers=CONTROLLERS, apiserver_args=FLAGS) as control_plane:
        yield Plane.install(control_plane)


@pytest.fixture(
    params=["fake", pytest.param("real", marks=pytest.mark.control_plane)],
)
def site(request: pytest.FixtureRequest) -> Site:
    """Both kinds of API: the same stories are told on each."""
    if request.param == "fake":
        return FakeSite()
    return RealSite(request.getfixturevalue("plane"))


@pytest.fixture
async def anywhere(site: Site) -> AsyncIterator[World]:
    """A world on either API."""
    async with world_at(site) as made:
        yield made
