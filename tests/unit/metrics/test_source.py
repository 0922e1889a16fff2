"""One question to one Prometheus: every failure has its own name and one line, none is evidence."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest

from modelhandoff.api.vocabulary import Reason
from modelhandoff.metrics.prometheus import PrometheusEndpoint, Source, parse
from modelhandoff.metrics.samples import Series
from modelhandoff.metrics.trouble import MetricsError, Trouble

from .history import START
from .loopback import JSON, LoopbackPrometheus, Reply, matrix

QUERY = '{__name__=~"up"}[15000ms]'
AT = round(START * 1000)


def ask(api: LoopbackPrometheus, **limits: object) -> tuple[Series, ...]:
    source = Source("main", api.url, **{"timeout": 5.0, **limits})  # type: ignore[arg-type]
    endpoint = PrometheusEndpoint(source, time.monotonic)
    try:
        return endpoint.ask(QUERY, AT)
    finally:
        endpoint.close()


def failure(api: LoopbackPrometheus, **limits: object) -> MetricsError:
    with pytest.raises(MetricsError) as caught:
        ask(api, **limits)
    error = caught.value
    assert "\n" not in str(error)
    assert str(error).startswith("main: ")
    assert QUERY in str(error)
    return error


def test_a_clean_answer_gives_raw_samples_with_their_own_times(api: LoopbackPrometheus) -> None:
    api.stored.put(START - 3.25, "up", 1, {"pod": "a"})
    api.stored.put(START - 1, "up", 0, {"pod": "a"})
    (series,) = ask(api)
    assert series == Series("up", {"pod": "a"}, (AT - 3250, AT - 1000), (1.0, 0.0))


def test_the_question_travels_in_the_body_with_its_bounds(api: LoopbackPrometheus) -> None:
    ask(api, timeout=2.5, max_series=7)
    (form,) = api.asked
    assert form["path"] == "/api/v1/query"
    assert form["query"] == QUERY
    assert float(form["time"]) == START
    assert form["timeout"] == "2500ms"
    assert form["limit"] == "8"


def test_a_token_is_read_anew_for_every_question(api: LoopbackPrometheus, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    source = Source("main", api.url, token_file=token)
    endpoint = PrometheusEndpoint(source, time.monotonic)
    endpoint.ask(QUERY, AT)
    token.write_text("second\n")
    endpoint.ask(QUERY, AT)
    endpoint.close()
    assert [one["Authorization"] for one in api.headers] == ["Bearer first", "Bearer second"]
    token.unlink()
    with pytest.raises(MetricsError, match="cannot read the token") as caught:
        PrometheusEndpoint(source, time.monotonic).ask(QUERY, AT)
    assert caught.value.trouble is Trouble.MISCONFIGURED


def test_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    source = Source("main", url, timeout=5.0)
    with pytest.raises(MetricsError, match=r"cannot connect to .*refused") as caught:
        PrometheusEndpoint(source, time.monotonic).ask(QUERY, AT)
    assert caught.value.trouble is Trouble.REFUSED
    assert caught.value.trouble.reason is Reason.METRICS_ERROR


def test_no_answer_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = Source("main", f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2)
        with pytest.raises(MetricsError, match=r"no full answer within 0\.2 s") as caught:
            PrometheusEndpoint(source, time.monotonic).ask(QUERY, AT)
    assert caught.value.trouble is Trouble.TIMEOUT


def test_an_answer_that_drips_meets_the_deadline(api: LoopbackPrometheus) -> None:
    ticks = iter([0.0, 99.0])
    source = Source("main", api.url, timeout=5.0)
    endpoint = PrometheusEndpoint(source, lambda: next(ticks))
    with pytest.raises(MetricsError, match="no full answer within 5 s") as caught:
        endpoint.ask(QUERY, AT)
    endpoint.close()
    assert caught.value.trouble is Trouble.TIMEOUT


HTML = b"<html><body>Please log in</body></html>"
GOOD = json.dumps(matrix([Series("up", {"pod": "a"}, (AT,), (1.0,))])).encode()


def error_body(kind: str, said: str) -> bytes:
    return json.dumps({"status": "error", "errorType": kind, "error": said}).encode()


def warned() -> bytes:
    return json.dumps({**json.loads(GOOD), "warnings": ["partial response: store gone"]}).encode()


@pytest.mark.parametrize(
    ("reply", "trouble", "says"),
    [
        ((200, {"Content-Type": "text/html"}, HTML), Trouble.NOT_JSON, "Please log in"),
        ((502, {}, HTML), Trouble.HTTP_STATUS, "HTTP 502: <html>"),
        ((503, {}, b""), Trouble.HTTP_STATUS, "HTTP 503"),
        ((302, {"Location": "http://127.0.0.1:1/"}, b""), Trouble.HTTP_STATUS, "HTTP 302"),
        ((401, {}, b"Unauthorized"), Trouble.HTTP_STATUS, "HTTP 401: Unauthorized"),
        (
            (400, JSON, error_body("bad_data", "parse error: unexpected end")),
            Trouble.BAD_QUERY,
            "HTTP 400 bad_data: parse error",
        ),
        (
            (422, JSON, error_body("execution", "would load too many samples")),
            Trouble.TOO_HEAVY,
            "too many samples",
        ),
        ((413, {}, HTML), Trouble.TOO_HEAVY, "HTTP 413"),
        (
            (503, JSON, error_body("timeout", "query timed out")),
            Trouble.TIMEOUT,
            "query timed out",
        ),
        ((500, JSON, error_body("internal", "boom")), Trouble.HTTP_STATUS, "HTTP 500 internal"),
        ((200, JSON, error_body("internal", "boom")), Trouble.HTTP_STATUS, "boom"),
        ((200, JSON, GOOD[:-20]), Trouble.TRUNCATED, "ends too early"),
        ((200, JSON, b""), Trouble.NOT_JSON, "nothing"),
        ((200, JSON, b"[1, 2]"), Trouble.NOT_JSON, "not an answer of Prometheus"),
        ((200, JSON, b"[" * 100_000), Trouble.NOT_JSON, "not JSON"),
        (
            (200, {**JSON, "Content-Length": str(len(GOOD))}, GOOD[:-20]),
            Trouble.TRUNCATED,
            "broke off",
        ),
        (
            (200, JSON, GOOD.replace(b'"matrix"', b'"vector"')),
            Trouble.WRONG_TYPE,
            "result type is vector",
        ),
        ((200, JSON, b'{"status":"success","data":{}}'), Trouble.WRONG_TYPE, "None"),
        ((200, JSON, b'{"status":"success","data":[]}'), Trouble.WRONG_TYPE, "None"),
        (
            (200, JSON, GOOD.replace(b'"values"', b'"value"')),
            Trouble.WRONG_TYPE,
            "not a series",
        ),
        (
            (200, JSON, GOOD.replace(b'"values"', b'"histograms"')),
            Trouble.WRONG_TYPE,
            "native histogram",
        ),
        ((200, JSON, warned()), Trouble.WARNINGS, "partial response: store gone"),
    ],
)
def test_an_answer_that_is_not_clean_is_named(
    api: LoopbackPrometheus, reply: Reply, trouble: Trouble, says: str
) -> None:
    api.behave = lambda form: reply
    error = failure(api)
    assert error.trouble is trouble
    assert says in str(error)
    assert len(api.asked) == 1, "nothing is retried"


def test_a_body_over_the_limit_is_not_read_to_its_end(api: LoopbackPrometheus) -> None:
    api.behave = lambda form: (200, JSON, b" " * 300_000 + GOOD)
    error = failure(api, max_bytes=100_000)
    assert error.trouble is Trouble.TOO_LARGE
    assert "larger than 100000 bytes" in str(error)


def test_more_series_than_allowed(api: LoopbackPrometheus) -> None:
    for number in range(9):
        api.stored.put(START, "up", 1, {"pod": f"p{number}"})
    assert len(ask(api, max_series=9)) == 9
    error = failure(api, max_series=8)
    assert error.trouble is Trouble.TOO_MANY_SERIES
    assert "more than 8 series" in str(error)


def test_every_trouble_has_a_reason_for_status() -> None:
    assert {one.reason for one in Trouble} == {
        Reason.METRICS_ERROR, Reason.METRICS_INVALID, Reason.METRICS_AMBIGUOUS,
        Reason.METRICS_STALE, Reason.METRICS_MISSING,
    }  # fmt: skip


def test_samples_out_of_order_are_refused() -> None:
    body = matrix([Series("up", {}, (2000, 1000), (1.0, 0.0))])
    with pytest.raises(MetricsError, match="samples out of order") as caught:
        parse(200, json.dumps(body).encode(), 10)
    assert caught.value.trouble is Trouble.WRONG_TYPE
