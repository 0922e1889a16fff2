"""Counted requests equal sent requests, whatever happens to scrapes, pods and Prometheus."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

import pytest

from modelhandoff.api.vocabulary import Reason
from modelhandoff.metrics.collect import PrometheusCollector
from modelhandoff.metrics.collector import Unknown
from modelhandoff.metrics.prometheus import Source
from modelhandoff.metrics.trouble import Trouble

from .exposition import Pod
from .handoff import INTERVAL, Handoff, exposed, until
from .prometheus import SCRAPE, Prometheus

pytestmark = pytest.mark.control_plane


class Shop:
    """Pods, a Prometheus that scrapes them, and the handoff under observation."""

    def __init__(
        self, make_pod: Callable[[str], Pod], make_prometheus: Callable[..., Prometheus]
    ) -> None:
        self._make_pod = make_pod
        self._make_prometheus = make_prometheus
        self._collectors: list[PrometheusCollector] = []

    def pod(self, name: str) -> Pod:
        return self._make_pod(name)

    async def open(self, *pods: Pod, jobs: int = 1, baseline: bool = False) -> Handoff:
        """Scrape the pods; the evidence begins once all that run have been scraped."""
        self.prometheus = self._make_prometheus(list(pods), jobs)
        await exposed(*(one for one in pods if one.running))
        source = Source("main", self.prometheus.url, timeout=5.0)
        self._collectors.append(PrometheusCollector([source], time.monotonic))
        handoff = Handoff(self._collectors[-1], "fraud-v2", "fraud-v1" if baseline else None)
        await until(handoff.first + SCRAPE)
        return handoff

    async def close(self) -> None:
        for one in self._collectors:
            await one.close()


@pytest.fixture
async def shop(
    pod: Callable[[str], Pod], prometheus: Callable[..., Prometheus]
) -> AsyncIterator[Shop]:
    made = Shop(pod, prometheus)
    yield made
    await made.close()


async def test_steady_traffic_is_counted_once_by_arm_and_code(shop: Shop) -> None:
    new, old = shop.pod("fraud-v2-7d9f-abcde").start(), shop.pod("fraud-v1-7d9f-abcde").start()
    new.answer(1000)
    handoff = await shop.open(new, old, baseline=True)
    for _ in range(20):
        new.answer(3)
        new.answer(1, code=500, seconds=0.2)
        old.answer(30)
        await until(time.time() + 0.1)
    await handoff.closed_through(time.time() + INTERVAL)
    assert handoff.counted() == 80, "the 1000 before the evidence began are no evidence"
    assert handoff.errors() == 20
    assert handoff.counted_baseline() == 600
    latency = [one.metrics["latency"] for one in handoff.intervals]
    assert [sum(one.candidate[i] for one in latency) for i in range(4)] == [0, 60, 60, 80]
    assert all(not one.quality for one in handoff.intervals)
    assert handoff.warnings == []


async def test_a_crashed_process_loses_nothing_that_was_exposed(shop: Shop) -> None:
    pod = shop.pod("fraud-v2-7d9f-abcde").start()
    handoff = await shop.open(pod)
    pod.answer(50)
    await exposed(pod)
    pod.restart()
    pod.answer(7, code=500)
    await exposed(pod)
    await handoff.closed_through(time.time())
    assert handoff.counted() == pod.sent == 57
    assert handoff.errors() == 7
    assert "restarted between its scrapes" in " ".join(handoff.warnings)


async def test_a_reset_that_has_overtaken_the_old_value_is_still_a_reset(shop: Shop) -> None:
    pod = shop.pod("fraud-v2-7d9f-abcde").start()
    handoff = await shop.open(pod)
    pod.answer(50)
    await exposed(pod)
    # The start time of a process is known to 1.5 s only: an older process must have died.
    await until(time.time() + 1.6)
    pod.restart(answered=80)
    await exposed(pod)
    await handoff.closed_through(time.time())
    assert handoff.counted() == pod.sent == 130


async def test_a_series_that_appears_late_counts_from_zero(shop: Shop) -> None:
    pod = shop.pod("fraud-v2-7d9f-abcde").start()
    handoff = await shop.open(pod)
    pod.answer(10)
    await handoff.closed_through(handoff.first + INTERVAL)
    pod.answer(9, code=503, seconds=0.2)
    await exposed(pod)
    await handoff.closed_through(time.time())
    assert handoff.counted() == pod.sent == 19
    assert handoff.errors() == 9


async def test_a_pod_born_within_the_run_counts_from_its_start(shop: Shop) -> None:
    first, second = shop.pod("fraud-v2-7d9f-abcde").start(), shop.pod("fraud-v2-7d9f-fghij")
    handoff = await shop.open(first, second)
    first.answer(10)
    await handoff.closed_through(handoff.first + INTERVAL)
    second.start()
    second.answer(33)
    await exposed(first, second)
    await handoff.closed_through(time.time())
    assert handoff.counted() == first.sent + second.sent == 43


async def test_a_drained_pod_keeps_what_it_exposed(shop: Shop) -> None:
    stays, goes = shop.pod("fraud-v2-7d9f-abcde").start(), shop.pod("fraud-v2-7d9f-fghij").start()
    handoff = await shop.open(stays, goes)
    stays.answer(10)
    goes.answer(25)
    await exposed(stays, goes)
    goes.kill()
    await exposed(stays)
    await handoff.closed_through(time.time() + 2 * INTERVAL)
    assert handoff.counted() == 35


async def test_what_a_killed_pod_never_exposed_is_bounded_and_named(shop: Shop) -> None:
    stays, goes = shop.pod("fraud-v2-7d9f-abcde").start(), shop.pod("fraud-v2-7d9f-fghij").start()
    handoff = await shop.open(stays, goes)
    for _ in range(10):
        goes.answer(10)
        await until(time.time() + 0.1)
    await exposed(goes)
    goes.refuse()
    goes.answer(13)
    goes.kill()
    await handoff.closed_through(time.time() + 2 * INTERVAL)
    assert handoff.counted() == 100, "the last 13 can never be known"
    named = [one for one in handoff.warnings if "fraud-v2-7d9f-fghij silent" in one]
    assert len(named) == 1, handoff.warnings
    assert "requests at most" in named[0]


async def test_a_scrape_gap_is_settled_as_one_interval_for_both_arms(shop: Shop) -> None:
    new, old = shop.pod("fraud-v2-7d9f-abcde").start(), shop.pod("fraud-v1-7d9f-abcde").start()
    handoff = await shop.open(new, old, baseline=True)
    new.answer(5)
    old.answer(50)
    await handoff.closed_through(handoff.first + INTERVAL)
    new.refuse()
    gap = time.time()
    for _ in range(30):
        new.answer(1)
        old.answer(10)
        await until(time.time() + 0.1)
    new.refuse(False)
    await exposed(new, old)
    await handoff.closed_through(time.time())
    assert handoff.counted() == new.sent == 35
    assert handoff.counted_baseline() == old.sent == 350
    settled = [one for one in handoff.intervals if one.end > gap + INTERVAL]
    assert settled[0].end - settled[0].start >= 2 * INTERVAL
    ends = [one.end for one in handoff.intervals]
    assert [one.start for one in handoff.intervals[1:]] == ends[:-1], "no time is left out"


async def test_two_scrapers_of_one_pod_count_once(shop: Shop) -> None:
    pod = shop.pod("fraud-v2-7d9f-abcde").start()
    handoff = await shop.open(pod, jobs=2)
    for _ in range(20):
        pod.answer(5)
        await until(time.time() + 0.1)
    await exposed(pod)
    await exposed(pod)
    await handoff.closed_through(time.time())
    assert handoff.counted() == pod.sent == 100


async def test_a_restart_of_prometheus_is_unknown_and_then_caught_up(shop: Shop) -> None:
    pod = shop.pod("fraud-v2-7d9f-abcde").start()
    handoff = await shop.open(pod)
    pod.answer(10)
    await exposed(pod)
    await handoff.closed_through(handoff.first + INTERVAL)
    shop.prometheus.stop()
    pod.answer(20)
    await until(time.time() + 2.5 * INTERVAL)
    answer = await handoff.look()
    assert isinstance(answer, Unknown)
    assert answer.trouble is Trouble.REFUSED
    assert answer.reason is Reason.METRICS_ERROR
    shop.prometheus.start()
    pod.answer(3)
    await exposed(pod)
    await handoff.closed_through(time.time())
    assert handoff.counted() == pod.sent == 33


async def test_counting_survives_a_restart_of_the_target_and_of_prometheus_together(
    shop: Shop,
) -> None:
    pod = shop.pod("fraud-v2-7d9f-abcde").start()
    handoff = await shop.open(pod)
    pod.answer(40)
    await exposed(pod)
    await handoff.closed_through(handoff.first + INTERVAL)
    shop.prometheus.stop()
    await until(time.time() + 1.6)
    pod.restart(answered=90)
    shop.prometheus.start()
    await exposed(pod)
    await handoff.closed_through(time.time())
    assert handoff.counted() == pod.sent == 130
