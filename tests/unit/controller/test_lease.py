"""The lease: one leader at a time, and a leader that slept writes nothing."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import pytest

from modelhandoff.cluster.client import Client
from modelhandoff.cluster.kinds import HANDOFF, LEASE
from modelhandoff.controller.lease import Fence, Leadership, LeaseTimes
from modelhandoff.errors import FencedError
from tests.clocks import ManualClock
from tests.component.fakeapi.faults import Effect, Fault, Request
from tests.component.fakeapi.server import Server

TIMES = LeaseTimes(duration=15, renew_deadline=10, retry=2)


class Process:
    """One operator process as the lease sees it, with a clock of its own that can stand still."""

    def __init__(self, server: Server, name: str) -> None:
        self.clock = clock = ManualClock()
        self.fence = Fence(clock.monotonic)
        self.client = Client.at(server.url, gate=self.fence.check, timeout=2)
        self.leadership = Leadership(
            self.client,
            namespace="ops",
            name="modelhandoff",
            identity=name,
            fence=self.fence,
            clock=clock,
            rng=random.Random(3),
            times=TIMES,
            boottime=clock.monotonic,
        )
        self.lost: FencedError | None = None
        self.running: asyncio.Task[None] | None = None

    def start(self) -> "Process":
        self.running = asyncio.create_task(self._run())
        return self

    async def _run(self) -> None:
        await self.leadership.acquire()
        self.lost = await self.leadership.hold()

    async def kill(self) -> None:
        if self.running is not None:
            self.running.cancel()
            await asyncio.gather(self.running, return_exceptions=True)
        await self.client.close()

    @property
    def may_write(self) -> bool:
        try:
            self.fence.check()
        except FencedError:
            return False
        return True


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def processes(server: Server) -> AsyncIterator[list[Process]]:
    found: list[Process] = []
    yield found
    for process in found:
        await process.kill()


async def settle(processes: list[Process]) -> None:
    """Wait until every running process waits for time to pass."""
    async with asyncio.timeout(5):
        for process in processes:
            while not (process.running is None or process.running.done()):
                if process.clock.sleepers:
                    break
                await asyncio.sleep(0.001)


async def until(
    condition: Callable[[], object], processes: list[Process], most: float = 60
) -> float:
    """Let time pass for these processes until the condition holds; returns the seconds passed."""
    passed = 0.0
    await settle(processes)
    while not condition():
        assert passed < most, f"still not after {most} s"
        for process in processes:
            process.clock.move(0.5)
        passed += 0.5
        await settle(processes)
    return passed


async def pass_time(seconds: float, processes: list[Process]) -> None:
    passed = iter(range(int(seconds * 2)))
    await until(lambda: next(passed, None) is None, processes, most=seconds + 1)


async def test_the_first_one_leads_and_the_second_waits(
    server: Server, processes: list[Process]
) -> None:
    first, second = (Process(server, name) for name in ("a", "b"))
    processes += [first, second]
    first.start()
    await settle(processes)
    assert first.may_write
    second.start()
    await pass_time(40, processes)
    assert not second.may_write
    assert first.may_write
    assert first.leadership.epoch == 1


async def test_after_a_kill_another_takes_over_once_the_lease_ran_out(
    server: Server, processes: list[Process]
) -> None:
    first, second = (Process(server, name) for name in ("a", "b"))
    processes += [first, second]
    first.start()
    await settle(processes)
    second.start()
    await settle(processes)
    await first.kill()
    waited = await until(lambda: second.may_write, processes)
    assert TIMES.duration <= waited <= TIMES.duration + 2 * TIMES.retry
    assert second.leadership.epoch == 2
    assert not first.may_write


async def test_a_process_that_ends_in_order_hands_over_at_the_next_look(
    server: Server, processes: list[Process]
) -> None:
    first, second = (Process(server, name) for name in ("a", "b"))
    processes += [first, second]
    first.start()
    await settle(processes)
    second.start()
    await settle(processes)
    await first.leadership.release()
    assert not first.may_write, "nothing may be written after the lease is given up"
    assert await until(lambda: second.may_write, [second]) <= 2 * TIMES.retry


async def test_the_same_pod_takes_its_own_lease_back_at_once_with_a_new_epoch(
    server: Server, processes: list[Process]
) -> None:
    before, after = Process(server, "pod-0"), Process(server, "pod-0")
    processes += [before, after]
    before.start()
    await settle(processes)
    await before.kill()
    after.start()
    assert await until(lambda: after.may_write, [after]) == 0
    assert after.leadership.epoch == 2


async def test_a_frozen_leader_is_fenced_before_another_leads_and_writes_nothing_when_woken(
    server: Server, processes: list[Process]
) -> None:
    frozen, other = Process(server, "a"), Process(server, "b")
    processes += [frozen, other]
    frozen.start()
    await settle(processes)
    other.start()
    # Frozen: time passes for the other only.
    slept = await until(lambda: other.may_write, [other])
    # It wakes and sends at once; the boot clock went on while it slept.
    frozen.clock.move(slept)
    before = len(server.objects.writes)
    with pytest.raises(FencedError):
        await frozen.client.create(HANDOFF, "payments", {"metadata": {"name": "late"}})
    assert [w for w in server.objects.writes[before:] if w.kind != "Lease"] == []
    await until(lambda: frozen.lost is not None, processes)
    assert other.may_write


async def test_the_fence_closes_before_anybody_else_may_lead(
    server: Server, processes: list[Process]
) -> None:
    cut_off, other = Process(server, "a"), Process(server, "b")
    processes += [cut_off, other]
    cut_off.start()
    await settle(processes)
    other.start()
    await settle(processes)

    def renews(request: Request) -> bool:
        return request.plural == "leases" and request.verb == "update"

    server.faults.add(Fault(Effect.STATUS, renews, times=5, status=500))
    closed_after = await until(lambda: not cut_off.may_write, processes)
    assert not other.may_write
    assert closed_after <= TIMES.renew_deadline
    server.faults.clear()
    assert await until(lambda: other.may_write, processes) > 0


async def test_a_renewal_whose_answer_was_lost_does_not_end_the_reign(
    server: Server, processes: list[Process]
) -> None:
    leader = Process(server, "a")
    processes.append(leader)
    leader.start()
    fault = server.faults.add(
        Fault(Effect.CUT, lambda request: request.plural == "leases" and request.verb == "update")
    )
    await until(lambda: fault.hits, processes)
    await pass_time(30, processes)
    assert leader.lost is None
    assert leader.may_write
    assert leader.leadership.epoch == 1


async def test_a_deleted_lease_ends_the_reign(server: Server, processes: list[Process]) -> None:
    leader = Process(server, "a")
    processes.append(leader)
    leader.start()
    await settle(processes)
    await leader.client.unfenced().delete(LEASE, "ops", "modelhandoff")
    await until(lambda: leader.lost is not None, processes)
    assert not leader.may_write


def test_the_fence_refuses_before_the_first_lease_and_never_opens_again_once_closed() -> None:
    clock = ManualClock()
    fence = Fence(clock.monotonic)
    with pytest.raises(FencedError, match="no lease"):
        fence.check()
    fence.open_until(100)
    fence.check()
    clock.move(100)
    with pytest.raises(FencedError, match="not renewed in time"):
        fence.check()
    fence.open_until(200)
    with pytest.raises(FencedError, match="not renewed in time"):
        fence.check()


@pytest.mark.parametrize("times", [(15, 10, 10), (15, 15, 2), (10, 15, 2), (15, 10, 0)], ids=str)
def test_times_that_would_let_two_lead_are_refused(times: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="allowed retry < renewDeadline < duration"):
        LeaseTimes(*times)
