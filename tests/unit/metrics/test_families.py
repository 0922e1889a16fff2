"""Built-in metric names against what the servers publish."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import pytest

from modelhandoff.analysis.intervals import Bins, Histogram, Interval, Rate
from modelhandoff.api.monitoring import ServerKind
from modelhandoff.metrics.families import FAMILIES
from modelhandoff.metrics.reads import reads
from modelhandoff.serve.metrics import ServerMetrics
from modelhandoff.serve.reference import Reference
from modelhandoff.serve.refusals import Rule

from .history import START, Stored
from .looking import Watcher, metric, request

TARGET = {
    "namespace": "shop", "pod": "fraud-v2-7d9f-abcde", "job": "pods", "instance": "10.0.0.1:80",
    "app": "fraud",
}  # fmt: skip


def samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Samples of a text exposition by their own names, as Prometheus stores them.

    ``prometheus_client``'s parser would add ``_total`` to Triton's counters.
    """
    for line in text.splitlines():
        if line and not line.startswith("#"):
            found = re.fullmatch(r"([\w:]+)(?:\{(.*)\})? (\S+)", line)
            assert found is not None, line
            labels = dict(re.findall(r'(\w+)="([^"]*)"', found[2] or ""))
            yield found[1], labels, float(found[3])


def look_at(metrics: list[dict[str, object]], before: str, after: str) -> tuple[Interval, Watcher]:
    """Scrape two expositions, 10 s apart, and close the interval between them."""
    stored = Stored()
    for at, text in ((START - 1, before), (START + 9, after)):
        stored.put(at, "up", 1.0, TARGET)
        for name, labels, value in samples(text):
            stored.put(at, name, value, {**TARGET, **labels})
    watcher = Watcher(stored, request(metrics))
    watcher.look(START + 15)
    return watcher.intervals[0], watcher


def of(server: str, *kinds: str) -> list[dict[str, object]]:
    known: dict[str, dict[str, object]] = {
        "errors": {"name": "errors", "type": "ErrorRate", "max": 0.01},
        "latency": {"name": "latency", "type": "Latency", "quantile": 0.95, "budget": "1s"},
        "abstain": {"name": "abstain", "type": "AbstainRate", "max": 0.1},
        "contract": {"name": "contract", "type": "ContractViolations", "max": 0.1},
        "scores": {"name": "scores", "type": "Drift", "of": "Output", "maxKL": 0.1},
    }
    return [{**known[kind], "server": server} for kind in kinds]


def test_our_own_server_in_full() -> None:
    server = ServerMetrics("fraud", "1", (0.01, 0.03))
    server.add_inputs(["features"])
    server.add_reference(
        Reference.model_validate(
            {
                "format": "modelhandoff.dev/reference/v1",
                "model": {"name": "fraud", "version": "1"},
                "features": [],
                "outputs": [{"name": "score", "output": "score", "edges": [0.5], "counts": [1, 1]}],
            }
        )
    )
    before = server.exposition().decode()
    for _ in range(9):
        server.answered(200, 0.02)
    server.answered(500, 0.5)
    server.answered(400, 0.001)
    server.ran(20)
    server.abstained(3)
    server.violated("features", Rule.RANGE, 2)
    for value in (0.1, 0.9, 0.8, math.nan):
        server.output("score", value)
    after = server.exposition().decode()
    kinds = ("errors", "latency", "abstain", "contract", "scores")
    interval, watcher = look_at(of("ModelHandoff", *kinds), before, after)
    assert interval.requests == (11, None)
    assert interval.metrics == {
        "errors": Rate((1, 11)),
        "latency": Histogram((0.01, 0.03, math.inf), (1, 10, 11)),
        "abstain": Rate((3, 20)),
        "contract": Rate((2, 11)),
        "scores": Bins((1, 2, 1)),
    }
    assert watcher.warnings == []


def test_more_violations_than_requests_are_a_share_of_one() -> None:
    server = ServerMetrics("fraud", "1", (0.01,))
    before = server.exposition().decode()
    server.answered(400, 0.001)
    server.violated("unknown", Rule.UNKNOWN, 70)
    interval, _ = look_at(of("ModelHandoff", "contract"), before, server.exposition().decode())
    assert interval.metrics["contract"] == Rate((1, 1))


TRITON = """
# TYPE nv_inference_request_success counter
nv_inference_request_success{{model="fraud",version="1"}} {ok}
# TYPE nv_inference_request_failure counter
nv_inference_request_failure{{model="fraud",reason="OTHER",version="1"}} {other}
nv_inference_request_failure{{model="fraud",reason="BACKEND",version="1"}} {backend}
# TYPE nv_inference_first_response_histogram_ms histogram
nv_inference_first_response_histogram_ms_count{{model="fraud",version="1"}} {ok}
nv_inference_first_response_histogram_ms_sum{{model="fraud",version="1"}} 1
nv_inference_first_response_histogram_ms_bucket{{model="fraud",version="1",le="100"}} {fast}
nv_inference_first_response_histogram_ms_bucket{{model="fraud",version="1",le="500"}} {ok}
nv_inference_first_response_histogram_ms_bucket{{model="fraud",version="1",le="+Inf"}} {ok}
"""


def test_triton_counts_failures_by_reason_and_milliseconds() -> None:
    interval, _ = look_at(
        of("Triton", "errors", "latency"),
        TRITON.format(ok=100, other=1, backend=0, fast=90),
        TRITON.format(ok=190, other=4, backend=7, fast=130),
    )
    assert interval.requests == (100, None)
    assert interval.metrics["errors"] == Rate((10, 100))
    assert interval.metrics["latency"] == Histogram((0.1, 0.5, math.inf), (40, 90, 90))


VLLM = """
# TYPE http_requests_total counter
http_requests_total{{handler="/v1/chat/completions",method="POST",status="2xx"}} {ok}
http_requests_total{{handler="/v1/chat/completions",method="POST",status="4xx"}} {bad}
http_requests_total{{handler="/v1/chat/completions",method="POST",status="5xx"}} {failed}
http_requests_total{{handler="/v1/models",method="GET",status="2xx"}} {listed}
# TYPE vllm:e2e_request_latency_seconds histogram
vllm:e2e_request_latency_seconds_bucket{{engine="0",le="0.5",model_name="m"}} {fast}
vllm:e2e_request_latency_seconds_bucket{{engine="0",le="1.0",model_name="m"}} {ok}
vllm:e2e_request_latency_seconds_bucket{{engine="0",le="+Inf",model_name="m"}} {ok}
"""


def test_vllm_counts_answers_and_not_the_list_of_models() -> None:
    interval, _ = look_at(
        of("VLLM", "errors", "latency"),
        VLLM.format(ok=10, bad=1, failed=0, listed=500, fast=5),
        VLLM.format(ok=30, bad=3, failed=2, listed=900, fast=12),
    )
    assert interval.requests == (24, None)
    assert interval.metrics["errors"] == Rate((2, 24))
    assert interval.metrics["latency"] == Histogram((0.5, 1.0, math.inf), (7, 20, 20))


MLSERVER = """
# TYPE rest_server_requests_total counter
rest_server_requests_total{{app_name="mlserver",method="POST",path="/v2/models/{{model_name}}/infer",status_code="200"}} {ok}
rest_server_requests_total{{app_name="mlserver",method="POST",path="/v2/models/{{model_name}}/infer",status_code="500"}} {failed}
rest_server_requests_total{{app_name="mlserver",method="GET",path="/v2/health/ready",status_code="200"}} {probes}
# TYPE rest_server_request_duration_seconds histogram
rest_server_request_duration_seconds_bucket{{app_name="mlserver",le="0.05",method="POST",path="/v2/models/{{model_name}}/infer",status_code="200"}} {ok}
rest_server_request_duration_seconds_bucket{{app_name="mlserver",le="+Inf",method="POST",path="/v2/models/{{model_name}}/infer",status_code="200"}} {ok}
rest_server_request_duration_seconds_bucket{{app_name="mlserver",le="0.05",method="GET",path="/v2/health/ready",status_code="200"}} {probes}
rest_server_request_duration_seconds_bucket{{app_name="mlserver",le="+Inf",method="GET",path="/v2/health/ready",status_code="200"}} {probes}
"""  # noqa: E501


def test_open_inference_counts_infer_calls_and_not_probes() -> None:
    interval, _ = look_at(
        of("OpenInference", "errors", "latency"),
        MLSERVER.format(ok=10, failed=0, probes=7),
        MLSERVER.format(ok=18, failed=2, probes=900),
    )
    assert interval.requests == (10, None)
    assert interval.metrics["errors"] == Rate((2, 10))
    assert interval.metrics["latency"] == Histogram((0.05, math.inf), (8, 8))


KSERVE = """
# TYPE request_predict_seconds histogram
request_predict_seconds_bucket{{le="0.05",model_name="fraud"}} {fast}
request_predict_seconds_bucket{{le="+Inf",model_name="fraud"}} {all}
"""


def test_kserves_python_server_has_latency_and_its_missing_errors_are_named() -> None:
    interval, watcher = look_at(
        of("OpenInference", "errors", "latency"),
        KSERVE.format(fast=1, all=2),
        KSERVE.format(fast=4, all=9),
    )
    assert interval.metrics == {"latency": Histogram((0.05, math.inf), (3, 7))}
    assert any("publishes rest_server_requests_total" in one for one in watcher.warnings)


@pytest.mark.parametrize("kind", list(ServerKind))
def test_every_name_of_a_family_has_its_labels(kind: ServerKind) -> None:
    family = FAMILIES[kind]
    found = reads([metric(**one) for one in of(str(kind), "errors", "latency")])
    assert found.builtin <= family.labels.keys()
    assert found.templates == ()


def test_what_a_server_cannot_give_is_refused_with_advice() -> None:
    found = reads([metric(**one) for one in of("Triton", "scores", "abstain")])
    assert found.recipes == {}
    assert found.refused["scores"] == (
        "a Triton server publishes nothing for Drift; name series of your own"
    )
