"""The work queue: no key is lost, none is worked on twice at once, none starves the others."""

import asyncio
import random
from collections.abc import Callable

import pytest

from modelhandoff.controller.workqueue import Backoff, WorkQueue
from tests.clocks import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def queue(clock: ManualClock) -> WorkQueue[str]:
    return WorkQueue(clock=clock, rng=random.Random(7))


async def taken(queue: WorkQueue[str]) -> str:
    async with asyncio.timeout(1), queue.take() as key:
        return key


async def nothing_ready(queue: WorkQueue[str]) -> bool:
    await asyncio.sleep(0)
    return queue.depth == 0


class TestDeduplication:
    async def test_a_key_added_twice_is_worked_on_once(self, queue: WorkQueue[str]) -> None:
        queue.add("a")
        queue.add("a")
        assert await taken(queue) == "a"
        assert await nothing_ready(queue)

    async def test_a_key_added_while_in_hand_comes_back(self, queue: WorkQueue[str]) -> None:
        queue.add("a")
        async with queue.take():
            queue.add("a")
            assert queue.depth == 0, "two workers must never hold one key"
        assert await taken(queue) == "a"

    async def test_keys_come_in_the_order_in_which_they_were_added(
        self, queue: WorkQueue[str]
    ) -> None:
        for key in "cab":
            queue.add(key)
        assert [await taken(queue) for _ in range(3)] == ["c", "a", "b"]

    async def test_an_urgent_key_goes_ahead_even_when_it_waits_already(
        self, queue: WorkQueue[str]
    ) -> None:
        for key in "abc":
            queue.add(key)
        queue.add("c", urgent=True)
        assert [await taken(queue) for _ in range(3)] == ["c", "a", "b"]


class TestDelays:
    async def test_a_delayed_key_comes_at_its_time_and_not_before(
        self, queue: WorkQueue[str], clock: ManualClock, running: Callable[..., object]
    ) -> None:
        seen = running(queue)
        queue.add_after("a", 30)
        await clock.advance(29.9)
        assert seen == []
        await clock.advance(0.2)
        assert seen == ["a"]

    async def test_the_earlier_of_two_deadlines_wins_and_comes_once(
        self, queue: WorkQueue[str], clock: ManualClock, running: Callable[..., object]
    ) -> None:
        seen = running(queue)
        queue.add_after("a", 30)
        queue.add_after("a", 10)
        queue.add_after("a", 20)
        await clock.advance(100)
        assert seen == ["a"]

    async def test_an_event_now_makes_the_deadline_needless(
        self, queue: WorkQueue[str], clock: ManualClock, running: Callable[..., object]
    ) -> None:
        seen = running(queue)
        queue.add_after("a", 30)
        queue.add("a")
        await clock.advance(100)
        assert seen == ["a"]

    async def test_a_deadline_set_while_in_hand_survives(
        self, queue: WorkQueue[str], clock: ManualClock, running: Callable[..., object]
    ) -> None:
        queue.add("a")
        async with queue.take():
            queue.add_after("a", 5)
        seen = running(queue)
        await clock.advance(6)
        assert seen == ["a"]


class TestBackoff:
    def test_it_doubles_to_its_cap_and_jitters_downwards_only(self) -> None:
        backoff = Backoff(first=1, most=8)
        for failures, whole in ((1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (2000, 8)):
            waits = [backoff.seconds(failures, random.Random(seed)) for seed in range(50)]
            assert whole / 2 <= min(waits) <= max(waits) <= whole
            assert len(set(waits)) > 40

    async def test_each_key_fails_for_itself_and_success_forgets(
        self, queue: WorkQueue[str]
    ) -> None:
        for _ in range(4):
            poisoned = queue.retry("poison")
        assert queue.retry("good") < poisoned
        queue.forget("poison")
        assert queue.failures("poison") == 0
        assert queue.failures("good") == 1

    async def test_a_poisoned_key_keeps_no_other_waiting(
        self, queue: WorkQueue[str], clock: ManualClock
    ) -> None:
        worked: list[str] = []

        async def work(key: str) -> None:
            worked.append(key)
            if key == "poison":
                queue.retry(key)

        task = asyncio.create_task(queue.run(1, work))
        for key in ("poison", *(f"good-{number}" for number in range(200))):
            queue.add(key)
        await queue.wait_idle()
        assert len(worked) == 201
        for _ in range(20):
            await clock.advance(60)
        assert 20 < worked.count("poison") < 60
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class TestWhatItTells:
    async def test_depth_and_age_count_what_waits_for_a_worker(
        self, queue: WorkQueue[str], clock: ManualClock
    ) -> None:
        assert (queue.depth, queue.age, queue.idle) == (0, 0.0, True)
        queue.add("a")
        await clock.advance(3)
        queue.add("b")
        await clock.advance(2)
        assert (queue.depth, queue.age, queue.idle) == (2, 5.0, False)
        assert await taken(queue) == "a"
        assert (queue.depth, queue.age) == (1, 2.0)

    async def test_the_earliest_timer_is_known(self, queue: WorkQueue[str]) -> None:
        assert queue.next_due is None
        queue.add_after("a", 30)
        queue.add_after("b", 10)
        assert queue.next_due == 10

    async def test_a_worker_that_is_cancelled_leaves_no_key_in_hand(
        self, queue: WorkQueue[str]
    ) -> None:
        queue.add("a")
        entered = asyncio.Event()

        async def hold(_: str) -> None:
            entered.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(queue.run(1, hold))
        await entered.wait()
        assert queue.working == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert queue.working == 0


@pytest.fixture
async def running() -> object:
    tasks: list[asyncio.Task[None]] = []

    def start(queue: WorkQueue[str]) -> list[str]:
        seen: list[str] = []

        async def work(key: str) -> None:
            seen.append(key)

        tasks.append(asyncio.create_task(queue.run(2, work)))
        return seen

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
