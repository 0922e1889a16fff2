"""What the operator writes never makes a resource from Git drift.

Argo CD applies server-side under its own field manager. In every phase the same manifest again
changes nothing, and no field has got another owner.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from modelhandoff.api import names
from tests.component.fakeapi.objects import Object
from tests.component.handoffs import V2, quick
from tests.component.phases import PROMOTED, STAGES, STEP_1, Stage, reach, serving
from tests.component.realapi.plane import Plane
from tests.component.realapi.site import RealSite
from tests.component.world import ATTEMPT, DEPLOYMENT, HANDOFF, ROUTE, SERVICE, World, world_at

pytestmark = pytest.mark.control_plane

ARGOCD = "argocd"
APPLY = "application/apply-patch+yaml"
TRACKING = "argocd.argoproj.io/tracking-id"
INSTANCE = "app.kubernetes.io/instance"


async def sync(place: World, manifest: Object) -> Object:
    """One sync of Argo CD; without force, so that a field of somebody else is a conflict."""
    meta = {
        **manifest["metadata"],
        "namespace": place.namespace,
        "labels": {INSTANCE: "models"},
        "annotations": {TRACKING: f"models:{names.GROUP}/ModelHandoff:{place.namespace}/fraud"},
    }
    name = f"{manifest['metadata']['name']}?fieldManager={ARGOCD}"
    return await place.hand.patch(
        HANDOFF, place.namespace, name, {**manifest, "metadata": meta}, APPLY
    )


@pytest.fixture
async def git(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A world whose manifests come from Git: applied, never created or edited."""
    async with world_at(RealSite(plane)) as place:
        monkeypatch.setattr(place, "submit", partial(sync, place))
        yield place


def owned(handoff: Object) -> dict[str, Any]:
    """Fields by manager; ``manager/subresource`` where it wrote to one."""
    return {
        "/".join(filter(None, (entry["manager"], entry.get("subresource", "")))): entry["fieldsV1"]
        for entry in handoff["metadata"]["managedFields"]
    }


@pytest.mark.parametrize("stage", STAGES, ids=str)
async def test_a_sync_of_the_same_manifest_is_a_no_op_in_every_phase(
    git: World, stage: Stage
) -> None:
    await serving(git)
    await reach(git, stage)
    before = git.handoff()
    after = await sync(git, stage.handoff())
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    owners = owned(after)
    mine = owners.pop(ARGOCD)
    assert set(mine) == {"f:metadata", "f:spec"}
    assert mine["f:spec"].keys() == {f"f:{key}" for key in stage.handoff()["spec"]}
    for manager, fields in owners.items():
        assert "f:spec" not in fields, manager
        assert set(fields) <= {"f:status", "f:metadata"}
        assert set(fields.get("f:metadata", {})) <= {"f:finalizers"}, manager
    assert owners, "the operator has written something"


async def test_a_verb_stays_and_is_no_drift(git: World) -> None:
    await serving(git)
    await reach(git, STEP_1)
    attempt = git.attempt()["metadata"]["name"]
    await git.annotate(names.ANNOTATION_PAUSE, attempt)
    before = git.handoff()
    after = await sync(git, quick(V2))
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert after["metadata"]["annotations"][names.ANNOTATION_PAUSE] == attempt


async def test_what_the_operator_makes_carries_no_mark_of_the_application(git: World) -> None:
    await serving(git)
    await reach(git, PROMOTED)
    for kind in (ATTEMPT, DEPLOYMENT, SERVICE, ROUTE):
        found = git.objects.list(kind, git.namespace)
        assert found, kind
        for one in found:
            meta = one["metadata"]
            assert TRACKING not in (meta.get("annotations") or {})
            assert (meta.get("labels") or {}).get(INSTANCE) != "models"
