"""Bringing a handoff from version 1 to 2 into a phase and keeping it there while things happen.

Most phases pass within one look. Each is held by what would hold it on a cluster: an API server
that refuses a write, pods that are not ready, a warm-up that does not end, a gateway that does
not answer, a drain that takes its time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelhandoff.api import names
from modelhandoff.api.hashing import revision_hash
from tests.component.actors import Fate
from tests.component.collecting import FAULTY, HEALTHY, Behaviour
from tests.component.fakeapi.faults import Effect, Fault, Request
from tests.component.fakeapi.objects import Write
from tests.component.handoffs import V1, V2, quick
from tests.component.world import USER_AGENT, World

LONG = 185.0
"""A stride that closes six intervals at once: a run of twelve looks in a few writes."""


def workload(number: str) -> str:
    """Deployment and Service of a version."""
    return names.workload_name("fraud", revision_hash(quick(number)["spec"]))


@dataclass(frozen=True)
class Stage:
    """A phase that can be held.

    Attributes:
        candidate: how version 2 behaves on this way.
        hold: what is done before version 2 is applied, so that it stops there.
        reached: whether it has stopped there.
        release: lets it go on.
        stride: of the world on the way there (see ``World``).
        probation: of version 2.
    """

    name: str
    hold: Callable[[World], None]
    reached: Callable[[World], bool]
    release: Callable[[World], None]
    candidate: Behaviour = HEALTHY
    stride: float = 0.0
    probation: str | None = None

    def __str__(self) -> str:
        return self.name

    def handoff(self) -> dict[str, Any]:
        """Version 2 as it is applied on the way here."""
        wanted = quick(V2)
        if self.probation is not None:
            wanted["spec"]["rollout"]["probation"] = self.probation
        return wanted


async def serving(place: World) -> None:
    """Version 1 serves, and nothing is under way."""
    place.collector.per_second = 10_000.0
    await place.start()
    await place.apply(quick(V1))
    await place.run_until(lambda: place.phase() == "Promoted")


async def reach(place: World, stage: Stage) -> None:
    """Apply version 2 and run until it stops in the phase."""
    place.collector.candidate = stage.candidate
    place.stride = stage.stride
    stage.hold(place)
    await place.apply(stage.handoff())
    await place.run_until(lambda: len(place.attempts()) == 2 and stage.reached(place))


def _nothing(_: World) -> None:
    pass


def _refuse_status_of_attempts(place: World) -> None:
    def matches(request: Request) -> bool:
        return (request.actor, request.plural, request.verb, request.subresource) == (
            USER_AGENT,
            "handoffattempts",
            "update",
            "status",
        )

    place.server.faults.add(Fault(Effect.STATUS, matches, times=100_000, status=500))


def _let_jobs_end(place: World) -> None:
    place.actors.jobs = Fate.READY
    place.actors.again()


def _let_jobs_run(place: World) -> None:
    place.actors.jobs = Fate.STARTING


def _silence_gateway_at_the_verdict(place: World) -> None:
    def strike(write: Write) -> None:
        status = write.after.get("status") or {}
        if write.kind == "HandoffAttempt" and status.get("phase") == "Promoting":
            place.actors.gateway = False
            place.server.on_write.remove(strike)

    place.server.on_write.append(strike)


def _wake_gateway(place: World) -> None:
    place.actors.gateway = True
    place.actors.again()


def _phase(place: World) -> str:
    return str((place.attempt().get("status") or {}).get("phase", ""))


def _looked(place: World, weight: int) -> bool:
    looks = (place.attempt().get("status") or {}).get("stepLooks", 0)
    return place.share(place.attempt()) == weight and looks >= 1


PENDING = Stage(
    "Pending",
    _refuse_status_of_attempts,
    lambda place: not _phase(place),
    lambda place: place.server.faults.clear(),
)
PROVISIONING = Stage(
    "Provisioning",
    lambda place: place.actors.fate.update({workload(V2): Fate.STARTING}),
    lambda place: _phase(place) == "Provisioning" and workload(V2) in place.deployments(),
    lambda place: place.actors.decide(workload(V2), Fate.READY),
)
WARMING_UP = Stage(
    "WarmingUp",
    _let_jobs_run,
    lambda place: _phase(place) == "WarmingUp",
    _let_jobs_end,
)
STEP_1 = Stage("Step1", _nothing, lambda place: _looked(place, 10), _nothing)
STEP_2 = Stage("Step2", _nothing, lambda place: _looked(place, 50), _nothing)
PROBATION = Stage(
    "Probation", _nothing, lambda place: _looked(place, 100), _nothing, probation="10m"
)
PROMOTING = Stage(
    "Promoting",
    _silence_gateway_at_the_verdict,
    lambda place: _phase(place) == "Promoting" and place.share(place.attempt()) == 100,
    _wake_gateway,
    stride=LONG,
)
PROMOTED = Stage(
    "Promoted", _nothing, lambda place: _phase(place) == "Promoted", _nothing, stride=LONG
)
ROLLING_BACK = Stage(
    "RollingBack", _nothing, lambda place: _phase(place) == "RollingBack", _nothing, FAULTY, LONG
)
ROLLED_BACK = Stage(
    "RolledBack", _nothing, lambda place: _phase(place) == "RolledBack", _nothing, FAULTY, LONG
)
STAGES = (
    PENDING,
    PROVISIONING,
    WARMING_UP,
    STEP_1,
    STEP_2,
    PROBATION,
    PROMOTING,
    PROMOTED,
    ROLLING_BACK,
    ROLLED_BACK,
)
