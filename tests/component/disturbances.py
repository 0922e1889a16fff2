"""What people and machines do to a handoff while it is under way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from modelhandoff.api import names
from tests.component.collecting import HEALTHY
from tests.component.handoffs import V1, V2, V3, quick
from tests.component.phases import workload
from tests.component.world import DEPLOYMENT, HANDOFF, World

Act = Callable[[World], Awaitable[None]]
SOON = 120.0
"""Seconds for which a disturbance that is taken back lasts."""


async def _nothing(_: World) -> None:
    pass


@dataclass(frozen=True)
class Disturbance:
    """Something that happens, and what takes it back a little later.

    Attributes:
        rival: there is a second handoff afterwards, which must not serve.
        hurts_baseline: the baseline has no ready pods for a while, and nobody can help it.
    """

    name: str
    happen: Act
    take_back: Act = _nothing
    rival: bool = False
    hurts_baseline: bool = False

    def __str__(self) -> str:
        return self.name


async def _kill(place: World) -> None:
    await place.restart()


def _verb(annotation: str) -> Act:
    async def say(place: World) -> None:
        await place.annotate(annotation, place.attempt()["metadata"]["name"])

    return say


async def _resume(place: World) -> None:
    await place.annotate(names.ANNOTATION_PAUSE, None)


async def _delete(place: World) -> None:
    await place.delete(policy="Foreground")


async def _gone(place: World) -> None:
    await place.eventually(lambda: place.objects.find(HANDOFF, place.namespace, "fraud") is None)


async def _create_again(place: World) -> None:
    await _gone(place)
    place.collector.candidate = HEALTHY
    await place.apply(quick(V2))


async def _edit(place: World) -> None:
    place.collector.candidate = HEALTHY
    await place.apply(quick(V3))


async def _revert(place: World) -> None:
    place.collector.candidate = HEALTHY
    await place.apply(quick(V1))


async def _retry(place: World) -> None:
    place.collector.candidate = HEALTHY
    await _verb(names.ANNOTATION_RETRY)(place)


async def _scale_baseline_to_zero(place: World) -> None:
    await place.scale(workload(V1), 0)


async def _scale_baseline_back(place: World) -> None:
    await place.scale(workload(V1), 1)


async def _delete_baseline(place: World) -> None:
    await place.remove(DEPLOYMENT, workload(V1))


async def _lower(place: World) -> None:
    now = place.route().get(workload(V2), 0)
    await place.reweigh({workload(V1): 100 - now // 2, workload(V2): now // 2})


async def _raise(place: World) -> None:
    more = place.route().get(workload(V2), 0) + 20
    await place.reweigh({workload(V1): 100 - more, workload(V2): more})


async def _rival(place: World) -> None:
    await place.apply(quick(V3, "rival"))


DISTURBANCES = (
    Disturbance("nothing", _nothing),
    Disturbance("SIGKILL", _kill),
    Disturbance("abort", _verb(names.ANNOTATION_ABORT)),
    Disturbance("delete", _delete, _gone),
    Disturbance("re-create", _delete, _create_again),
    Disturbance("edit", _edit),
    Disturbance("revert", _revert),
    Disturbance("pause", _verb(names.ANNOTATION_PAUSE), _resume),
    Disturbance("retry", _retry),
    Disturbance("promote", _verb(names.ANNOTATION_PROMOTE)),
    Disturbance("scale", _scale_baseline_to_zero, _scale_baseline_back, hurts_baseline=True),
    Disturbance("lost", _delete_baseline, hurts_baseline=True),
    Disturbance("lower", _lower),
    Disturbance("raise", _raise),
    Disturbance("rival", _rival, rival=True),
)
BY_NAME = {str(one): one for one in DISTURBANCES}
