"""Many handoffs, few queries; and one bad tenant blinds nobody else."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from modelhandoff.api.vocabulary import Reason
from modelhandoff.metrics.collect import PrometheusCollector
from modelhandoff.metrics.collector import Answer, Closed, CollectRequest, Cursor, NotYet, Unknown
from modelhandoff.metrics.prometheus import Source
from modelhandoff.metrics.trouble import Trouble

from .history import START, Server
from .looking import ERRORS, LATENCY, metric, request
from .loopback import JSON, LoopbackPrometheus, Reply

DRIFT = {"name": "scores", "type": "Drift", "of": "Output", "maxKL": 0.2}
Open = Callable[..., PrometheusCollector]


@pytest.fixture
async def collector(api: LoopbackPrometheus) -> AsyncIterator[Open]:
    made: list[PrometheusCollector] = []

    def make(**limits: object) -> PrometheusCollector:
        source = Source("main", api.url, **{"timeout": 5.0, **limits})  # type: ignore[arg-type]
        made.append(PrometheusCollector([source], time.monotonic))
        return made[-1]

    yield make
    for one in made:
        await one.close()


class Tenant:
    """A handoff with one pod per arm, scraped every 5 s."""

    def __init__(self, api: LoopbackPrometheus, number: int, **more: object) -> None:
        self.name = f"model{number}"
        self.request: CollectRequest = request(
            (ERRORS, LATENCY, DRIFT),
            candidate=f"{self.name}-aaaaaaaaaa",
            baseline=f"{self.name}-bbbbbbbbbb",
            **more,  # type: ignore[arg-type]
        )
        arms = (self.request.arms.candidate, self.request.arms.baseline)
        self.servers = [
            Server(api.stored, f"{arm}-7d9f-x{number:04}", START - 100, instance=f"10.{n}.0.1:80")
            for n, arm in enumerate(arms)
        ]
        self.cursor: Cursor | None = None

    def live(self, upto: float, step: float = 5.0) -> None:
        """Answer requests and be scraped until ``START + upto``."""
        at = -step
        while at <= upto:
            for server in self.servers:
                server.requests(3)
                server.requests(1, code=500)
                for name, value in (("request_duration_seconds", 0.02), ("output", 0.7)):
                    labels = {"output": "score"} if name == "output" else {}
                    server.observe(value, (0.03, 0.5), f"modelhandoff_server_{name}", 4, **labels)
                server.scrape(START + at)
            at += step

    async def look(self, collector: PrometheusCollector, now: float) -> Answer:
        answer = await collector.collect(self.request, self.cursor, START + now)
        if isinstance(answer, Closed):
            self.cursor = answer.cursor
        return answer


async def look_all(
    tenants: list[Tenant], collector: PrometheusCollector, now: float, workers: int = 50
) -> list[Answer]:
    """All tenants look, with so many at the same time."""
    gate = asyncio.Semaphore(workers)

    async def one(tenant: Tenant) -> Answer:
        async with gate:
            return await tenant.look(collector, now)

    return await asyncio.gather(*(one(tenant) for tenant in tenants))


@pytest.mark.parametrize("workers", [4, 50])
async def test_fifty_handoffs_cost_one_query_per_interval(
    api: LoopbackPrometheus, collector: Open, workers: int
) -> None:
    tenants = [Tenant(api, number) for number in range(50)]
    for tenant in tenants:
        tenant.live(40)
    metrics = collector()
    await look_all(tenants, metrics, 15, workers)
    for interval in (25, 35):
        before = metrics.asked
        answers = await look_all(tenants, metrics, interval, workers)
        assert metrics.asked - before == 1
        for answer in answers:
            assert isinstance(answer, Closed)
            (closed,) = answer.intervals
            assert closed.requests == (8, 8)
            assert set(closed.metrics) == {"errors", "latency", "scores"}


async def test_a_handoff_that_has_ended_is_no_longer_asked_for(
    api: LoopbackPrometheus, collector: Open
) -> None:
    stays, ends = Tenant(api, 1), Tenant(api, 2)
    for tenant in (stays, ends):
        tenant.live(80)
    metrics = collector()
    await look_all([stays, ends], metrics, 15)
    for now in range(25, 75, 10):
        await look_all([stays], metrics, now)
    assert "model2" in api.asked[0]["query"]
    assert "model2" in api.asked[2]["query"]
    assert "model2" not in api.asked[-1]["query"]


def names(query: str) -> int:
    """Tenants in a query."""
    return query.count("-aaaaaaaaaa")


async def test_names_that_do_not_fit_into_one_query_are_split(
    api: LoopbackPrometheus, collector: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelhandoff.metrics.batching.LONGEST", 200)
    tenants = [Tenant(api, number) for number in range(12)]
    for tenant in tenants:
        tenant.live(10)
    metrics = collector()
    answers = await look_all(tenants, metrics, 15)
    assert all(isinstance(answer, Closed) for answer in answers)
    assert metrics.asked == 3
    assert max(names(one["query"]) for one in api.asked) == 4


async def test_a_tenant_with_too_many_series_blinds_nobody_else(
    api: LoopbackPrometheus, collector: Open
) -> None:
    tenants = [Tenant(api, number) for number in range(16)]
    for tenant in tenants:
        tenant.live(30)
    flood = tenants[5].servers[0]
    for number in range(2000):
        flood.requests(1, code=1000 + number)
    flood.scrape(START + 9)
    flood.scrape(START + 19)
    metrics = collector(max_series=1000)
    answers = await look_all(tenants, metrics, 15)
    bad = answers.pop(5)
    assert isinstance(bad, Unknown)
    assert bad.trouble is Trouble.TOO_MANY_SERIES
    assert bad.reason is Reason.METRICS_INVALID
    assert "more than 1000 series" in bad.message
    assert all(isinstance(answer, Closed) for answer in answers)
    assert metrics.asked <= 2 * 4 + 1 + 3, "a binary search, not one query each"
    before = metrics.asked
    answers = await look_all(tenants, metrics, 25)
    assert isinstance(answers.pop(5), Unknown)
    assert all(isinstance(answer, Closed) for answer in answers)
    assert metrics.asked - before <= 3, "the guilty one asks alone for a while"


async def test_one_slow_tenant_is_found_and_a_slow_source_is_not_asked_more(
    api: LoopbackPrometheus, collector: Open
) -> None:
    tenants = [Tenant(api, number) for number in range(8)]
    for tenant in tenants:
        tenant.live(30)
    slow = json.dumps({"status": "error", "errorType": "timeout", "error": "too slow"}).encode()
    guilty = tenants[3].name + "-"

    def one_is_slow(form: dict[str, str]) -> Reply | None:
        return (503, JSON, slow) if guilty in form["query"] else None

    api.behave = one_is_slow
    metrics = collector()
    answers = await look_all(tenants, metrics, 15)
    bad = answers.pop(3)
    assert isinstance(bad, Unknown)
    assert bad.trouble is Trouble.TIMEOUT
    assert all(isinstance(answer, Closed) for answer in answers)

    api.behave = lambda form: (503, JSON, slow)
    before = metrics.asked
    everybody = await look_all(tenants, metrics, 25)
    assert all(isinstance(answer, Unknown) for answer in everybody)
    assert metrics.asked - before <= 4, "one batch, its halves, and the one that asks alone"


async def test_a_dead_source_is_asked_once_for_everybody(
    api: LoopbackPrometheus, collector: Open
) -> None:
    tenants = [Tenant(api, number) for number in range(20)]
    for tenant in tenants:
        tenant.live(40)
    metrics = collector()
    await look_all(tenants, metrics, 15, workers=4)
    api.behave = lambda form: (500, {}, b"")
    before = metrics.asked
    answers = await look_all(tenants, metrics, 25, workers=4)
    assert {type(answer) for answer in answers} == {Unknown}
    assert metrics.asked - before == 1
    retries = {answer.retry_at for answer in answers if isinstance(answer, Unknown)}
    assert retries == {START + 30}
    again = await look_all(tenants, metrics, 29.9, workers=4)
    assert {type(answer) for answer in again} == {Unknown}
    assert metrics.asked - before == 1, "not before retry_at"
    api.behave = lambda form: None
    healed = await look_all(tenants, metrics, 30, workers=4)
    assert {type(answer) for answer in healed} == {Closed}


async def test_those_who_failed_together_ask_again_together(
    api: LoopbackPrometheus, collector: Open
) -> None:
    tenants = [Tenant(api, number) for number in range(20)]
    for tenant in tenants:
        tenant.live(40)
    metrics = collector()
    await look_all(tenants, metrics, 15)
    api.behave = lambda form: (500, {}, b"")
    assert all(isinstance(a, Unknown) for a in await look_all(tenants, metrics, 25))
    before = metrics.asked
    for number, tenant in enumerate(tenants):
        # One after the other, as they come back from their own waits.
        answer = await tenant.look(metrics, 30.1 + number * 0.1)
        assert isinstance(answer, Unknown)
    assert metrics.asked - before == 1
    for number, tenant in enumerate(tenants):
        await tenant.look(metrics, 35.2 + number * 0.05)
    assert metrics.asked - before == 2


async def test_an_invalid_pattern_of_one_tenant_fails_that_tenants_metric_alone(
    api: LoopbackPrometheus, collector: Open
) -> None:
    good, bad = Tenant(api, 1), Tenant(api, 2)
    for tenant in (good, bad):
        tenant.live(10)
    own = {
        "name": "orders", "type": "Count", "maxDrop": 0.1,
        "counter": {
            "metric": "orders_total",
            "matchers": [{"label": "kind", "operator": "Matches", "value": "("}],
        },
    }  # fmt: skip
    bad.request = request((ERRORS, own), candidate=bad.request.arms.candidate)
    refusal = json.dumps(
        {"status": "error", "errorType": "bad_data", "error": "missing closing )"}
    ).encode()
    api.behave = lambda form: (400, JSON, refusal) if "orders_total" in form["query"] else None
    metrics = collector()
    answers = await look_all([good, bad], metrics, 15)
    assert isinstance(answers[0], Closed)
    assert isinstance(answers[1], Unknown)
    assert answers[1].trouble is Trouble.BAD_QUERY
    assert 'kind=~"("' in answers[1].message


async def test_never_more_questions_at_a_time_than_allowed(
    api: LoopbackPrometheus, collector: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelhandoff.metrics.batching.LONGEST", 60)
    tenants = [Tenant(api, number) for number in range(24)]
    for tenant in tenants:
        tenant.live(10)
    metrics = collector(max_in_flight=3)
    await look_all(tenants, metrics, 15)
    assert metrics.asked == 24
    assert api.together <= 3


async def test_an_asker_that_is_cancelled_does_not_take_the_others_with_him(
    api: LoopbackPrometheus, collector: Open
) -> None:
    first, second = Tenant(api, 1), Tenant(api, 2)
    for tenant in (first, second):
        tenant.live(10)
    metrics = collector()
    gone = asyncio.create_task(first.look(metrics, 15))
    kept = asyncio.create_task(second.look(metrics, 15))
    await asyncio.sleep(0)
    gone.cancel()
    assert isinstance(await kept, Closed)
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_who_asks_again_gets_the_same_answer_without_a_query(
    api: LoopbackPrometheus, collector: Open
) -> None:
    metrics = collector()
    tenant = Tenant(api, 1)
    tenant.live(10)
    first = await metrics.collect(tenant.request, None, START + 15)
    again = await metrics.collect(tenant.request, None, START + 19)
    assert first is again
    assert isinstance(first, Closed)
    stale = await metrics.collect(tenant.request, first.cursor, START + 45)
    assert isinstance(stale, Unknown)
    assert stale.trouble is Trouble.STALE
    assert stale.retry_at == START + 55
    assert await metrics.collect(tenant.request, first.cursor, START + 54) is stale
    assert metrics.asked == 2


async def test_who_has_been_served_is_not_asked_for_again(
    api: LoopbackPrometheus, collector: Open
) -> None:
    old, new = Tenant(api, 1), Tenant(api, 2)
    for tenant in (old, new):
        tenant.live(30)
    metrics = collector()
    await look_all([old, new], metrics, 15)
    await old.look(metrics, 25)
    assert names(api.asked[-1]["query"]) == 2, "the first to ask asks for both"
    more = {"name": "abstain", "type": "AbstainRate", "max": 0.5}
    wanted = (*new.request.metrics, metric(**more))
    new.request = replace(new.request, key="shop/other", metrics=wanted)
    assert isinstance(await new.look(metrics, 25), Closed)
    assert names(api.asked[-1]["query"]) == 1, "and nobody asks for the first again"
    assert metrics.asked == 3


async def test_too_early_asks_nobody(api: LoopbackPrometheus, collector: Open) -> None:
    metrics = collector()
    tenant = Tenant(api, 1)
    answer = await tenant.look(metrics, 14.9)
    assert answer == NotYet(START + 15)
    assert metrics.asked == 0


async def test_an_unknown_source_is_named(api: LoopbackPrometheus, collector: Open) -> None:
    metrics = collector()
    metrics.configure([])
    answer = await Tenant(api, 1).look(metrics, 15)
    assert isinstance(answer, Unknown)
    assert answer.trouble is Trouble.MISCONFIGURED
    assert answer.message == "no metric source named 'main'; configured: none"


async def test_a_source_that_moves_is_asked_at_its_new_address(
    api: LoopbackPrometheus, collector: Open
) -> None:
    metrics = collector()
    tenant = Tenant(api, 1)
    tenant.live(30)
    assert isinstance(await tenant.look(metrics, 15), Closed)
    other = LoopbackPrometheus(api.stored)
    try:
        metrics.configure([Source("main", other.url)])
        assert isinstance(await tenant.look(metrics, 25), Closed)
        assert len(other.asked) == 1
        assert metrics.asked == 2
    finally:
        other.close()


async def test_every_query_is_told_with_its_result_and_its_time(
    api: LoopbackPrometheus, collector: Open
) -> None:
    told: list[tuple[str, str, float]] = []
    one = collector()
    one.on_query = lambda *query: told.append(query)
    good, bad = Tenant(api, 1), Tenant(api, 2)
    good.live(60)
    await one.collect(good.request, None, START + 60)
    api.behave = lambda form: (503, {}, b"no")
    await one.collect(bad.request, None, START + 60)
    assert [(source, result) for source, result, _ in told[:2]] == [
        ("main", "Answered"),
        ("main", "HttpStatus"),
    ]
    assert all(0 <= seconds < 5 for *_, seconds in told)
