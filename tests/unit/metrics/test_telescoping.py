"""Any pattern of scrapes, restarts, births and late samples: every exposed request counts once."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelhandoff.metrics.trouble import MetricsError

from .history import START, Server, Stored
from .looking import Watcher, request

INTERVAL, LAG = 10.0, 5.0
LENGTH = 12


@dataclass(frozen=True)
class Pod:
    """What is special about a pod: born within the run or before it; tells its start time."""

    name: str
    young: bool
    tells_start: bool


@st.composite
def moments(draw: st.DrawFn) -> list[tuple[float, str, int]]:
    """Events of one pod in order of time: requests, restarts, scrapes and failed scrapes."""
    times = draw(
        st.lists(
            st.integers(1, int(LENGTH * INTERVAL * 4) - 1), min_size=1, max_size=60, unique=True
        )
    )
    kinds = st.sampled_from(
        ["requests", "requests", "scrape", "scrape", "scrape", "restart", "fail", "new code"]
    )
    return [(START + t / 4, draw(kinds), draw(st.integers(0, 50))) for t in sorted(times)]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    pods=st.lists(moments(), min_size=1, max_size=3),
    born=st.lists(st.booleans(), min_size=3, max_size=3),
    delays=st.lists(st.floats(0, 2 * LAG - 0.5), min_size=8, max_size=8),
    tells_start=st.booleans(),
    skipped=st.sets(st.integers(0, LENGTH - 2)),
)
def test_counts_telescope_to_what_was_exposed(
    pods: list[list[tuple[float, str, int]]],
    born: list[bool],
    delays: list[float],
    tells_start: bool,
    skipped: set[int],
) -> None:
    stored = Stored()
    expected = 0.0
    for index, events in enumerate(pods):
        # A pod that cannot tell its start time is only taken for granted from its first scrape.
        pod = Pod(f"fraud-v2-7d9f-abcd{index}", born[index] and tells_start, tells_start)
        expected += _play(stored, pod, events, delays)
    # A pod that never moves keeps every interval closable, so that only counting is at stake.
    steady = Server(stored, "fraud-v2-7d9f-zzzzz", START - 100, instance="10.0.0.9:8080")
    steady.requests(5)
    for tick in range(-2, int(LENGTH * INTERVAL) + 40):
        steady.scrape(START + tick)
    watcher = Watcher(stored, request(interval=INTERVAL, lag=LAG))
    for index in range(LENGTH + 3):
        if index not in skipped:
            watcher.look(START + (index + 1) * INTERVAL + LAG)
    assert watcher.counted == expected
    assert [one.index for one in watcher.intervals] == sorted({i.index for i in watcher.intervals})


def _play(
    stored: Stored, pod: Pod, events: list[tuple[float, str, int]], delays: list[float]
) -> float:
    """Store the pod's scrapes; returns the requests that a reader of all of them can know of."""
    instance = f"10.0.0.{pod.name[-1]}:8080"
    first = events[0][0] if pod.young else START - 100
    young, tells_start = pod.young, pod.tells_start
    server = Server(stored, pod.name, first, instance=instance, tells_start=tells_start)
    server.requests(0)
    if not young:
        server.requests(1000)
        server.scrape(START - 1)
    counted, base, visible, last_start = 0.0, 0.0 if young else 1000.0, 0.0, first
    for number, (at, kind, amount) in enumerate(events):
        if kind == "requests":
            server.requests(amount)
        elif kind == "new code":
            server.requests(amount, code=503)
        elif kind == "restart":
            # A start time is known to 1.5 s, and a process without one gives itself away only
            # by a counter that falls, not by one that is gone: anything else is a stated limit.
            falls = server.counts[("modelhandoff_server_requests_total", (("code", "200"),))] > 0
            if at - last_start > 1.5 and (tells_start or falls):
                if not tells_start:
                    server.scrape(at, max(visible, at))
                    counted += sum(server.counts.values()) - base
                server.restart(at)
                server.requests(0)
                base, last_start = 0.0, at
                if not tells_start:
                    server.scrape(at + 0.125, max(visible, at + 0.125))
        elif kind == "scrape":
            # Late, but in order: Prometheus appends to a series in order of time.
            visible = max(visible, at + delays[number % len(delays)])
            server.scrape(at, visible)
            counted += sum(server.counts.values()) - base
            base = sum(server.counts.values())
        elif kind == "fail":
            server.fail(at)
    return counted


def test_a_look_that_is_repeated_after_a_crash_gives_the_same() -> None:
    stored = Stored()
    server = Server(stored, "fraud-v2-7d9f-abcde", START - 100)
    server.requests(0)
    for tick in range(-5, 40):
        server.requests(3)
        server.scrape(START + tick)
    first = Watcher(stored, request())
    first.look(START + 15)
    again = Watcher(stored, request(), first.cursor)
    once, twice = Watcher(stored, request(), first.cursor), again
    assert once.look(START + 25) == twice.look(START + 25)
    try:
        again.look(START + 26)
    except MetricsError as error:  # pragma: no cover - a failure worth reading
        raise AssertionError(str(error)) from error
    assert again.intervals == once.intervals
