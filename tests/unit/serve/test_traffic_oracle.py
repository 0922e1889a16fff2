"""The traffic client of the end-to-end tests: whose fault each answer is, and when it stops."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from aiohttp import web

from e2e.traffic import Answer, Outcome, Plan, Traffic, main, read_bodies, summarise

BODY = b'{"inputs":[]}'


class Site:
    """A gateway with two model versions behind it, one of which can be told to misbehave."""

    def __init__(self):
        self.requests = []
        self.behave = "well"
        self.url = ""

    async def handle(self, request):
        document = await request.json()
        self.requests.append(
            (request.headers, document, request.transport.get_extra_info("peername"))
        )
        if self.behave == "hang":
            await asyncio.sleep(60)
        if self.behave == "no upstream":
            return web.Response(status=503, text="no healthy upstream")
        headers = {"X-Model-Version": "2" if len(self.requests) % 4 == 0 else "1"}
        if self.behave == "model error" and headers["X-Model-Version"] == "2":
            return web.json_response({"error": "boom"}, status=500, headers=headers)
        if self.behave == "mixed up":
            return web.json_response({"id": "somebody else's"}, headers=headers)
        if self.behave == "not json":
            return web.Response(text="<html>", headers=headers)
        return web.json_response({"id": document.get("id")}, headers=headers)


@pytest.fixture
async def site():
    site = Site()
    app = web.Application()
    app.router.add_post("/v2/models/fraud/infer", site.handle)
    app.router.add_post("/score", site.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield site
    await runner.cleanup()


async def finished(plan):
    traffic = Traffic(plan)
    traffic.start()
    await asyncio.to_thread(traffic.join)
    return traffic


async def test_it_sends_what_it_was_told_and_stops_by_itself(site):
    plan = Plan(url=site.url, bodies=[BODY], host="fraud.example", rate=200, duration=0.2)
    traffic = await finished(plan)
    assert not traffic.running
    summary = traffic.summary()
    assert summary.answered + summary.skipped == 40
    assert summary.outcomes == {"ok": summary.answered}
    assert len(site.requests) == summary.answered
    assert {headers["Host"] for headers, _, _ in site.requests} == {"fraud.example"}
    assert len({headers["X-Request-Id"] for headers, _, _ in site.requests}) == summary.answered
    assert all(doc["id"] == headers["X-Request-Id"] for headers, doc, _ in site.requests)
    assert summary.not_the_models_fault == 0
    assert summary.share("2") == pytest.approx(0.25, abs=0.05)
    assert summary.share("absent") == 0.0


async def test_a_share_of_the_requests_opens_a_connection_of_its_own(site):
    plan = Plan(url=site.url, bodies=[BODY], rate=100, duration=0.4, new_connection_share=0.25)
    traffic = await finished(plan)
    reconnected = [answer for answer in traffic.answers() if answer.reconnected]
    assert len(reconnected) == len(traffic.answers()) // 4
    assert len({peer for _, _, peer in site.requests}) > len(reconnected)


@pytest.mark.parametrize(
    ("behave", "outcome"),
    [
        ("no upstream", Outcome.GATEWAY),
        ("mixed up", Outcome.MIXED_UP),
        ("not json", Outcome.MIXED_UP),
        ("hang", Outcome.CONNECTION),
    ],
)
async def test_failures_on_the_way_are_nobodys_version(site, behave, outcome):
    site.behave = behave
    traffic = await finished(Plan(url=site.url, bodies=[BODY], rate=50, duration=0.1, timeout=0.2))
    summary = traffic.summary()
    assert summary.answered > 0
    assert summary.outcomes == {outcome.value: summary.answered}
    assert summary.not_the_models_fault == summary.answered
    assert summary.failures[0].detail


async def test_a_models_own_errors_are_booked_on_its_version(site):
    site.behave = "model error"
    traffic = await finished(Plan(url=site.url, bodies=[BODY], rate=100, duration=0.2))
    summary = traffic.summary()
    assert summary.not_the_models_fault == 0
    assert summary.versions["1"].errors == 0
    assert summary.versions["2"].errors == summary.versions["2"].answers > 0


async def test_a_refused_connection_is_a_failure_on_the_way(unused_tcp_port):
    plan = Plan(url=f"http://127.0.0.1:{unused_tcp_port}", bodies=[BODY], rate=50, duration=0.1)
    traffic = await finished(plan)
    assert set(traffic.summary().outcomes) == {"connection"}


async def test_stop_ends_it_early_and_waits_for_what_is_due(site):
    traffic = Traffic(Plan(url=site.url, bodies=[BODY], rate=100, duration=600))
    traffic.start()
    while len(traffic.answers()) < 3:  # noqa: ASYNC110 (another thread's progress)
        await asyncio.sleep(0.005)
    await asyncio.to_thread(traffic.stop)
    assert not traffic.running
    assert traffic.summary().answered == len(site.requests)
    await asyncio.to_thread(traffic.stop)
    with pytest.raises(RuntimeError, match="was started before"):
        traffic.start()


async def test_a_mark_cuts_a_stretch_out_of_the_run(site):
    traffic = Traffic(Plan(url=site.url, bodies=[BODY], rate=100, duration=600))
    traffic.start()
    while len(traffic.answers()) < 3:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    mark = traffic.now()
    before = len(traffic.answers()) - len(traffic.answers(since=mark))
    await asyncio.to_thread(traffic.stop)
    assert before >= 3
    assert traffic.summary(since=mark).answered <= traffic.summary().answered - before


async def test_a_full_pipe_skips_instead_of_piling_up(site):
    site.behave = "hang"
    plan = Plan(url=site.url, bodies=[BODY], rate=100, duration=0.1, timeout=0.3, max_in_flight=4)
    summary = (await finished(plan)).summary()
    assert (summary.answered, summary.skipped) == (4, 6)


async def test_the_log_has_one_line_per_request(site, tmp_path):
    (tmp_path / "requests.jsonl").write_text('{"request": {"inputs": []}}\n')
    flags = ["--url", site.url, "--requests", str(tmp_path / "requests.jsonl")]
    pace = ["--rate", "50", "--duration", "0.2", "--log", str(tmp_path / "log.jsonl")]
    assert await asyncio.to_thread(main, [*flags, *pace]) == 0
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert len(lines) == len(site.requests)
    assert {line["outcome"] for line in lines} == {"ok"}
    assert all(abs(line["at"] - time.time()) < 60 for line in lines)
    assert read_bodies(tmp_path / "requests.jsonl") == [b'{"inputs": []}']


async def test_the_command_line_fails_when_a_request_failed_on_the_way(site, tmp_path):
    site.behave = "no upstream"
    (tmp_path / "requests.jsonl").write_text('{"request": {}}\n')
    flags = ["--url", site.url, "--requests", str(tmp_path / "requests.jsonl"), "--path", "/score"]
    assert await asyncio.to_thread(main, [*flags, "--rate", "20", "--duration", "0.1"]) == 1


@pytest.mark.parametrize(
    "change", [{"rate": 501}, {"rate": 0}, {"duration": 20_000}, {"bodies": []}]
)
def test_no_plan_is_without_bounds(change):
    with pytest.raises(ValueError, match=r"allowed|must hold"):
        Plan(**{"url": "http://127.0.0.1:1", "bodies": [BODY], **change})


def test_a_summary_has_quantiles_per_version():
    answers = [
        Answer(float(i), Outcome.OK, 200, "1", i / 100, str(i), reconnected=False)
        for i in range(100)
    ]
    summary = summarise(answers)
    assert (summary.versions["1"].p50, summary.versions["1"].p95) == (0.5, 0.95)
