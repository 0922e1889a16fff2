"""The loop itself, with a decision that is a stub: what is seen, when, and what is written."""

from __future__ import annotations

from typing import Any

from modelhandoff.rollout.actions import Collected, Decision
from modelhandoff.rollout.snapshot import Snapshot
from tests.builders import handoff
from tests.component.world import NAMESPACE, world


class Stub:
    """Decides nothing, and tells what it saw."""

    def __init__(self) -> None:
        self.seen: list[Snapshot] = []
        self.requeue: float | None = None

    def __call__(self, snapshot: Snapshot, collected: Collected | None) -> Decision:
        self.seen.append(snapshot)
        status: dict[str, Any] = {"observedGeneration": snapshot.handoff.generation}
        return Decision(None, status, "seen", requeue_after=self.requeue)


async def test_a_handoff_is_seen_and_its_status_written_once() -> None:
    stub = Stub()
    async with world(stub) as place:
        await place.start()
        await place.apply(handoff())
        assert place.status() == {"observedGeneration": 1}
        before = place.objects.version
        looks = len(stub.seen)
        await place.pass_time(3600)
        assert place.writes(before) == []
        assert looks < len(stub.seen) < looks + 10, "looked at now and then, by resync alone"


async def test_a_restart_asks_again_but_writes_nothing() -> None:
    stub = Stub()
    async with world(stub) as place:
        await place.start()
        await place.apply(handoff())
        before = place.objects.version
        await place.restart()
        assert place.writes(before) == []
        assert stub.seen[-1].handoff.namespace == NAMESPACE
