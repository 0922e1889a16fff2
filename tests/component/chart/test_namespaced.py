"""A whole rollout with no more rights than the chart gives a namespaced install."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.component.chart.helm import Raw, of_kind, render
from tests.component.phases import PROMOTED, reach, serving
from tests.component.realapi.plane import Plane
from tests.component.realapi.site import RealSite, until
from tests.component.world import world_at

pytestmark = pytest.mark.control_plane

TENANT = "tenant"


async def test_the_roles_of_a_namespaced_install_are_enough(plane: Plane, tmp_path: Path) -> None:
    site = RealSite(plane, TENANT)
    async with world_at(site) as place:
        objects = render(tmp_path, {"namespaces": [site.namespace], "watchNodes": False})
        plane.control_plane.apply(roles(objects))
        await until(site, allowed=True)
        await serving(place)
        await reach(place, PROMOTED)
        assert place.process is not None
        told = place.process.telemetry.text().decode()
        assert 'code="200"' in told
        assert 'code="403"' not in told


def roles(objects: list[Raw]) -> list[Raw]:
    """The operator's roles, bound to a user instead of its service account."""
    found = [
        *of_kind(objects, "ClusterRole", "ops-modelhandoff"),
        *of_kind(objects, "Role", "modelhandoff"),
        *of_kind(objects, "Role", "modelhandoff-lease"),
    ]
    assert len(found) == 3
    return [
        one
        for role in found
        for one in (
            role,
            {
                "apiVersion": role["apiVersion"],
                "kind": f"{role['kind']}Binding",
                "metadata": role["metadata"],
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": role["kind"],
                    "name": role["metadata"]["name"],
                },
                "subjects": [
                    {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": TENANT}
                ],
            },
        )
    ]
