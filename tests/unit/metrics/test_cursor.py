"""The cursor: compact, exact, and refused by name rather than misread."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelhandoff.metrics.cursor import Cursor, CursorError, Target

from .history import START, Server, Stored
from .looking import ERRORS, LATENCY, Watcher, request

names = st.text(st.characters(codec="utf-8"), max_size=8)
numbers = st.floats(0, 1e15, allow_nan=False)
labels = st.dictionaries(st.sampled_from(["code", "le", "feature", ""]), names, max_size=3)
keys = st.builds(
    lambda name, pairs: (name, *(part for pair in sorted(pairs.items()) for part in pair)),
    names,
    labels,
)
targets = st.builds(
    Target,
    pod=names,
    endpoint=names,
    scraped=numbers,
    started=st.none() | numbers,
    readings=st.dictionaries(keys, numbers, max_size=8),
    spacing=numbers,
    silent=st.booleans(),
)
cursors = st.builds(
    Cursor,
    interval=st.floats(0.001, 3600),
    first=st.just(5),
    closed=st.integers(4, 10**9),
    targets=st.lists(targets, max_size=3).map(tuple),
    asked=st.frozensets(names, max_size=3),
    edges=st.dictionaries(names, st.lists(numbers, max_size=4).map(tuple), max_size=2),
)


@given(cursors)
def test_what_is_written_is_read_back(cursor: Cursor) -> None:
    assert Cursor.from_json(cursor.to_json()) == cursor


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("[]", "unknown version"),
        ('{"v":2}', "unknown version; got 2"),
        ('{"v":1}', "damaged"),
        ('{"v":1,"d":10,"f":3,"i":1,"n":[],"b":{},"k":[],"t":[]}', "cannot be"),
        ('{"v":1,"d":10,"f":1,"i":true,"n":[],"b":{},"k":[],"t":[]}', "not a whole number"),
        ('{"v":1,"d":NaN,"f":1,"i":1,"n":[],"b":{},"k":[],"t":[]}', "not a number"),
        (
            '{"v":1,"d":10,"f":1,"i":1,"n":[],"b":{},"k":[["a"]],"t":[["p","e",1,null,0,0,[]]]}',
            "0 values for 1 counters",
        ),
        ('{"v":1,"d":10,"f":1,"i":1,"n":[],"b":{},"k":[["a","b"]],"t":[]}', "without a value"),
    ],
)
def test_a_cursor_that_cannot_be_used_is_refused_in_one_line(text: str, says: str) -> None:
    with pytest.raises(CursorError) as caught:
        Cursor.from_json(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.user_action


def test_a_usual_cursor_is_a_few_kilobytes() -> None:
    stored = Stored()
    edges = [0.001 * 1.6**n for n in range(21)]
    for number in range(6):
        server = Server(
            stored, f"fraud-v{1 + number % 2}-7d9f8b6c5d-abcd{number}", START, job="kubernetes-pods"
        )
        for tick in (1, 6, 11):
            for code in (200, 400, 404, 405, 413, 429, 500, 503):
                server.requests(12345, code=code)
            server.observe(
                0.02, edges, "modelhandoff_server_request_duration_seconds", 98760 + number
            )
            for feature in range(10):
                server.observe(
                    number, range(19), "modelhandoff_server_feature", 98760, feature=f"f{feature}"
                )
            server.scrape(START + tick + number / 10)
    drift = [
        {"name": f"drift{n}", "type": "Drift", "of": "Feature", "feature": f"f{n}", "maxKL": 0.1}
        for n in range(10)
    ]
    watcher = Watcher(stored, request((ERRORS, LATENCY, *drift), baseline="fraud-v1"))
    watcher.look(START + 25)
    assert watcher.cursor is not None
    assert len(json.loads(watcher.cursor)["t"]) == 6
    assert len(watcher.cursor) < 16_000
