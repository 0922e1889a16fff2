"""The questions to Prometheus: for every server and every kind of metric, with the time inside."""

import pytest

from modelhandoff.api.vocabulary import Outcome
from modelhandoff.report import read
from modelhandoff.report.replay import replay
from tests.unit.report.exports import BASELINE, GOOD, PROMOTED, attempt, changed, ended, untouched


def asked(raw=PROMOTED, **metrics):
    found = replay(read([raw]), None)
    assert found is not None
    return {one.metric: one.text for one in found.questions}, found


def with_metrics(*metrics):
    state = ended(GOOD, Outcome.PROMOTE, "ProofsComplete").but(evidence="", metrics=())
    return attempt(state, monitoring={"metrics": list(metrics)})


def test_every_metric_is_asked_for_both_arms_with_its_time_range():
    texts, found = asked()
    assert set(texts) == {"errors", "latency", "scores"}
    for text in texts.values():
        assert text.count("# candidate: ") == 1
        assert text.count(f"# baseline: {BASELINE}") == 1
        assert f'pod=~"{BASELINE}-.+"' in text
        assert 'namespace="payments"' in text
        assert "[1204s] @ 1795566004" in text
    assert found.start == 1_795_564_800.0
    assert found.end == 1_795_566_004.0


def test_a_share_of_zero_is_zero_and_not_no_answer():
    texts, _ = asked()
    assert "or vector(0)) / (" in texts["errors"]
    assert 'code=~"5.*"' in texts["errors"]


def test_the_budget_is_asked_as_prometheus_writes_edges():
    texts, _ = asked()
    assert 'le=~"0\\\\.03"' in texts["latency"]
    whole = {"name": "latency", "type": "Latency", "quantile": 0.95, "budget": "1s"}
    texts, _ = asked(with_metrics(whole))
    assert 'le=~"1|1\\\\.0"' in texts["latency"]


def test_the_raw_selector_is_the_operators_own():
    _, found = asked()
    assert found.raw.startswith('curl -sG "$PROMETHEUS/api/v1/query"')
    assert "[1204000ms]" in found.raw
    assert "modelhandoff_server_requests_total" in found.raw
    assert found.raw.endswith("time=1795566004")


@pytest.mark.parametrize(
    ("server", "seen"),
    [
        ("OpenInference", 'path=~".*/infer",status_code=~"5.*"'),
        ("Triton", "nv_inference_request_failure"),
        ("VLLM", 'handler=~"(?:/v1/chat/completions|'),
    ],
)
def test_other_servers_are_asked_by_their_own_names(server, seen):
    one = {"name": "errors", "type": "ErrorRate", "max": 0.01, "server": server}
    texts, _ = asked(with_metrics(one))
    assert seen in texts["errors"]


def test_milliseconds_are_asked_in_milliseconds():
    one = {"name": "latency", "type": "Latency", "quantile": 0.95, "budget": "30ms",
           "server": "Triton"}  # fmt: skip
    texts, _ = asked(with_metrics(one))
    assert 'le=~"30|30\\\\.0"' in texts["latency"]


def test_series_of_ones_own_keep_their_matchers():
    def counter(name, value="x"):
        return {"metric": name, "matchers": [{"label": "kind", "value": value}]}

    texts, found = asked(
        with_metrics(
            {
                "name": "errors",
                "type": "ErrorRate",
                "max": 0.01,
                "counters": {"bad": counter("bad_total", 'a"b\\'), "total": counter("all_total")},
            },
            {
                "name": "sales",
                "type": "Mean",
                "sum": counter("value_sum"),
                "count": counter("value_count"),
                "maxRegression": 0.05,
            },
            {"name": "clicks", "type": "Count", "counter": counter("clicks_total"), "maxDrop": 0.1},
            {
                "name": "shape",
                "type": "Drift",
                "of": "Output",
                "maxKL": 0.2,
                "histogram": {"metric": "score"},
            },
        )
    )
    assert 'bad_total{kind="a\\"b\\\\",namespace="payments"' in texts["errors"]
    assert "value_sum{" in texts["sales"]
    assert "/ sum(increase(value_count{" in texts["sales"]
    assert "sum(increase(clicks_total{" in texts["clicks"]
    assert texts["shape"].count("sum by (le) (increase(score_bucket{") == 2
    assert found.raw == ""


def test_a_metric_that_the_server_lacks_is_named():
    _, found = asked(
        with_metrics(
            {"name": "errors", "type": "ErrorRate", "max": 0.01},
            {"name": "abstained", "type": "AbstainRate", "max": 0.1, "server": "Triton"},
        )
    )
    assert found.refused[0][0] == "abstained"
    assert "abstained" not in {one.metric for one in found.questions}


def test_a_hostile_namespace_stays_inside_its_quotes():
    raw = changed(PROMOTED, ("metadata", "namespace"), 'x"} or up{a="')
    texts, found = asked(raw)
    assert 'namespace="x\\"} or up{a=\\""' in texts["errors"]
    assert found.raw.count("'") % 2 == 0


def test_nothing_is_asked_when_nothing_was_measured():
    raw = attempt(untouched(Outcome.REJECT, "CanaryCrashed", "exit code 1"))
    assert replay(read([raw]), None) is None
