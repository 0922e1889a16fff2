"""Recorded intervals: read strictly, written back unchanged, refused with path and value."""

import json
import math

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelhandoff.analysis import (
    Bins,
    Count,
    Histogram,
    Interval,
    Moments,
    Rate,
    WireError,
)
from modelhandoff.analysis.schema import INTERVAL_SCHEMA

GOOD = {
    "index": 7, "start": 210.0, "end": 240.0, "step": 1, "weight": 10, "requests": [600, 5400],
    "metrics": {
        "errors": {"rate": {"candidate": [3, 600], "baseline": [27, 5400]}},
        "p95": {"histogram": {"edges": [0.01, 0.03, "+Inf"], "candidate": [400, 590, 600]}},
        "scores": {"bins": {"candidate": [1, 2, 3], "baseline": [3, 2, 1]}},
        "value": {"moments": {"candidate": [3, -2.5, 9.0]}},
        "sold": {"count": {"candidate": 4, "baseline": None, "exposure_candidate": 300}},
    },
    "quality": ["BucketMismatch"],
}  # fmt: skip


def test_every_kind_survives_a_round_trip_and_fits_the_schema():
    one = Interval.from_json(GOOD)
    assert one.metrics["p95"] == Histogram((0.01, 0.03, math.inf), (400.0, 590.0, 600.0))
    assert one.metrics["sold"] == Count(4.0, None, 300.0)
    text = json.dumps(one.to_json(), allow_nan=False)
    assert Interval.from_json(json.loads(text)) == one
    for value in (GOOD, json.loads(text)):
        jsonschema.Draft202012Validator(INTERVAL_SCHEMA).validate(value)


def changed(path, value):
    """A deep copy of GOOD with one place replaced."""
    copy = json.loads(json.dumps(GOOD))
    at = copy
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return copy


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("index",), "7", "index: expected an integer; got '7'"),
        (("index",), True, "index: expected an integer; got True"),
        (("index",), -1, "index: expected an integer >= 0; got -1"),
        (("end",), 210.0, "end: expected an end after the start 210; got 210.0"),
        (("end",), math.nan, "end: expected a finite number; got nan"),
        (("weight",), 101, "weight: expected an integer in [0, 100]; got 101"),
        (("requests",), [1], "requests: expected [candidate, baseline]; got [1]"),
        (("requests", 0), -3, "requests[0]: expected a number >= 0; got -3"),
        (("metrics",), [], "metrics: expected an object; got []"),
        (("metrics", "errors"), {"rat": {}}, "metrics.errors.rat: expected one of rate"),
        (("metrics", "errors"), {}, "metrics.errors: expected exactly one of rate"),
        (("metrics", "errors", "rate", "candidate"), [4, 3],
         "metrics.errors.rate.candidate[0]: expected a number in [0, 3]; got 4.0"),
        (("metrics", "errors", "rate", "candidate"), [1, 2, 3],
         "metrics.errors.rate.candidate: expected a list of 2"),
        (("metrics", "errors", "rate", "candidate", 1), "many",
         "metrics.errors.rate.candidate[1]: expected a finite number; got 'many'"),
        (("metrics", "p95", "histogram", "edges"), [0.03, 0.01, "+Inf"],
         "metrics.p95.histogram.edges: expected strictly rising edges"),
        (("metrics", "p95", "histogram", "edges"), [0.01, 0.03, 0.05],
         "metrics.p95.histogram.edges: expected at least two edges, the last +Inf"),
        (("metrics", "p95", "histogram", "candidate"), [400, 300, 600],
         "metrics.p95.histogram.candidate[1]: expected a cumulative count >= 400; got 300.0"),
        (("metrics", "scores", "bins", "baseline"), [1.0],
         "metrics.scores.bins.baseline: expected 3 bins; got (1.0,)"),
        (("metrics", "value", "moments", "candidate"), [1, 2, -3],
         "metrics.value.moments.candidate[2]: expected a number >= 0; got -3.0"),
        (("surprise",), 1, "surprise: expected one of index"),
        (("quality",), "flag", "quality: expected a list of texts; got 'flag'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(path, value, message):
    with pytest.raises(WireError) as wrong:
        Interval.from_json(changed(path, value))
    assert str(wrong.value).startswith(message)
    assert "\n" not in str(wrong.value)
    assert len(str(wrong.value)) < 250


@pytest.mark.parametrize(
    "missing", ["index", "start", "end", "step", "weight", "requests", "metrics"]
)
def test_every_field_is_needed(missing):
    copy = {k: v for k, v in GOOD.items() if k != missing}
    with pytest.raises(WireError, match=rf"{missing}: expected to be present"):
        Interval.from_json(copy)


count = st.floats(0, 1e12)


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8),
        st.one_of(
            st.builds(lambda n, p: Rate((n * p, n)), count, st.floats(0, 1)),
            st.builds(lambda c: Bins(tuple(c)), st.lists(count, min_size=1, max_size=5)),
            st.builds(lambda n, s, q: Moments((n, s, q)), count, st.floats(-1e9, 1e9), count),
            st.builds(Count, count, st.none() | count, st.none() | count, st.none() | count),
        ),
        max_size=4,
    )
)
def test_any_legal_interval_survives_json(metrics):
    one = Interval(1, 0.0, 30.0, 0, 10, (5.0, None), metrics)
    assert Interval.from_json(json.loads(json.dumps(one.to_json()))) == one
