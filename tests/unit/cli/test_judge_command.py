"""``modelhandoff judge``: recordings through the operator's own code, line by line."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from modelhandoff.analysis import Plan, RatePlan
from modelhandoff.analysis.schema import INTERVAL_SCHEMA
from modelhandoff.analysis.synthetic import (
    DriftTruth,
    LatencyTruth,
    RateTruth,
    Scenario,
    Traffic,
)

SCHEMA = Path(__file__).parents[3] / "docs" / "schema" / "interval.schema.json"
PLAN = {"plan": Plan(metrics=(RatePlan("errors", limit=0.01),)).to_json()}
EDGES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, float("inf"))


def recording(looks, *, errors=0.005, drift=0.0, seed=3, silent=()):
    """Intervals of 6,000 requests a look at 10 %, as JSON values."""
    truths = {
        "errors": RateTruth(0.005, errors),
        "latency": LatencyTruth(0.95, 0.027, 0.027, EDGES),
        "scores": DriftTruth(10, drift),
    }
    traffic = Traffic(Scenario(6000.0, truths), np.random.default_rng(seed), looks)
    out = [traffic.interval(look, 0, 10).to_json() for look in range(1, looks + 1)]
    for at in silent:
        out[at]["requests"], out[at]["metrics"] = [0, 5400], {}
    return out


def verdicts(result):
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_one_verdict_per_look(call, recorded):
    lines = recording(40)
    found = verdicts(call("judge", recorded(PLAN, *lines)))
    assert [one["index"] for one in found] == list(range(1, 41))
    assert [one["look"] for one in found] == list(range(1, 41))
    assert found[0]["decision"] == "Continue"
    assert found[-1]["decision"] == "Promote"
    assert found[0]["at"] == "1970-01-01T00:00:30+00:00"
    assert [m["name"] for m in found[0]["metrics"]] == ["errors"]


def test_harm_is_latched_as_the_operator_latches_it(call, recorded):
    found = verdicts(call("judge", recorded(PLAN, *recording(12, errors=0.05))))
    first = next(one for one in found if one["decision"] == "Rollback")
    assert "decided" not in first
    after = [one for one in found if one["index"] > first["index"]]
    assert after
    assert all(one["decided"] == {"decision": "Rollback", "index": first["index"]} for one in after)


def test_a_handoff_judges_with_its_own_rules(call, recorded, written):
    metrics = [
        {"name": "errors", "type": "ErrorRate", "max": 0.01},
        {"name": "latency", "type": "Latency", "quantile": 0.95, "budget": "30ms"},
        {"name": "scores", "type": "Drift", "of": "Output", "maxKL": 0.1},
    ]
    steps = [{"weight": 10, "minDuration": "1m"}]
    path = written(rollout={"steps": steps}, monitoring={"metrics": metrics})
    healthy = verdicts(call("judge", recorded(*recording(40)), "--handoff", path))
    assert {m["name"] for m in healthy[-1]["metrics"]} == {"errors", "latency", "scores"}
    assert healthy[-1]["decision"] == "Promote"
    drifted = verdicts(call("judge", recorded(*recording(40, drift=0.5)), "--handoff", path))
    stopped = next(one for one in drifted if one["decision"] == "Rollback")
    assert stopped["blame"] == ["scores"]


def test_silence_is_never_a_pass(call, recorded):
    found = verdicts(call("judge", recorded(PLAN, *recording(70, silent=range(20, 70)))))
    assert "Promote" not in [one["decision"] for one in found]
    assert (found[-1]["decision"], found[-1]["reason"]) == ("Hold", "NoData")


def test_the_documented_schema_is_the_one_in_force():
    assert json.loads(SCHEMA.read_text()) == INTERVAL_SCHEMA
    check = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    for line in recording(3):
        check.validate(line)


GOOD = recording(3)


def changed(at, **changes):
    return [{**one, **changes} if i == at else one for i, one in enumerate(GOOD)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([PLAN, *changed(1, weight=101)],
         "3: weight: expected an integer in [0, 100]; got 101"),
        ([PLAN, *changed(2, metrics={"errors": {"rate": {"candidate": [7, 6]}}})],
         "4: metrics.errors.rate.candidate[0]: expected a number in [0, 6]; got 7.0"),
        ([PLAN, *changed(1, index=1)], "3: index: expected an index above 1; got 1"),
        ([PLAN, *changed(1, start=29.0)], "3: start: expected a start at or after 30; got 29.0"),
        ([PLAN, *changed(2, end=1e300)], "4: end: expected a number in [0, 2.53402e+11]"),
        ([PLAN, GOOD[0], PLAN], "3: plan: expected a plan in the first line only; got 'a second"),
        ([PLAN, "{"], "2: value: expected one JSON object per line at column"),
        ([PLAN, '{"index": 1, "index": 2}'], "2: index: expected each key once"),
        ([PLAN, '{"index": NaN}'], "2: start: expected to be present"),
        ([PLAN, "[" * 100_000], "2: value: expected"),
        ([PLAN, "7"], "2: value: expected an object; got 7"),
        ([{"plan": {"metrics": [{"type": "rate", "name": "e", "limit": 2}]}}, GOOD[0]],
         "1: plan.metrics[0].limit: expected a number in [1e-06, 0.5]; got 2"),
        ([{"plan": {"metrics": [{"type": "guess", "name": "e"}]}}, GOOD[0]],
         "1: plan.metrics[0].type: expected one of rate, latency"),
        ([{**PLAN, "more": 1}, GOOD[0]], "1: more: expected one of plan; got 'this key'"),
        (GOOD, '1: plan: expected a first line {"plan": {...}}, or --handoff; got nothing'),
        ([PLAN], "1: value: expected at least one interval; got nothing"),
    ],
)  # fmt: skip
def test_a_malformed_line_is_named_and_nothing_is_judged(call, recorded, lines, message):
    path = recorded(*lines)
    result = call("judge", path)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"{path}:{message}"), result.stderr
    assert len(result.stderr.splitlines()) == 1
