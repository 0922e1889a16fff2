"""What known model servers publish, as data: names, labels and units of their metrics.

Checked against the servers' published expositions:

- our own server: ``modelhandoff.serve.metrics``;
- Open Inference (KServe): MLServer's REST middleware (``rest_server_*``, path templates, probes
  counted under paths of their own) and KServe's Python model server (``request_predict_seconds``,
  which counts no errors);
- Triton: ``nv_inference_request_success`` and ``_failure`` (counters without ``_total``); the
  only histogram is the opt-in ``nv_inference_first_response_histogram_ms`` (milliseconds);
- vLLM: ``vllm:e2e_request_latency_seconds`` and the HTTP counters of its API server, whose
  ``status`` is grouped (``5xx``); ``vllm:request_success`` never counts a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from modelhandoff.api.monitoring import ServerKind
from modelhandoff.metrics.cursor import Key

__all__ = ["FAMILIES", "Bucketed", "Family", "Pick", "Rated", "Where"]


@dataclass(frozen=True, slots=True)
class Where:
    """A condition on one label's value: begins with one of, or ends with one of."""

    label: str
    begins: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()

    def holds(self, value: str) -> bool:
        """Whether a label's value satisfies the condition."""
        return value.startswith(self.begins) or value.endswith(self.ends)


@dataclass(frozen=True, slots=True)
class Pick:
    """Counters that are added up: all of one name whose labels satisfy every condition."""

    name: str
    where: tuple[Where, ...] = ()

    def takes(self, key: Key) -> bool:
        """Whether a counter is one of these."""
        if key[0] != self.name:
            return False
        if not self.where:
            return True
        labels = dict(zip(key[1::2], key[2::2], strict=True))
        return all(one.holds(labels.get(one.label, "")) for one in self.where)


@dataclass(frozen=True, slots=True)
class Rated:
    """Events out of trials."""

    events: tuple[Pick, ...]
    trials: tuple[Pick, ...]


@dataclass(frozen=True, slots=True)
class Bucketed:
    """A classic histogram: its ``_bucket`` series, and seconds per unit of ``le``."""

    buckets: Pick
    scale: float = 1.0
    count: Pick | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """One server's metrics.

    Attributes:
        requests: all requests that count.
        errors: failed requests out of all.
        latency: histograms of the duration of a request; the first one present is used.
        abstentions: abstained rows out of all rows.
        violations: broken values out of requests, an upper bound on the share of requests.
        features: histogram of features and the label that names them.
        outputs: histogram of outputs and the label that names them.
        missing: counters of missing features and outputs.
        labels: by metric name, the labels the server itself gives.
    """

    kind: ServerKind
    requests: tuple[Pick, ...]
    labels: Mapping[str, tuple[str, ...]]
    errors: Rated | None = None
    latency: tuple[Bucketed, ...] = ()
    abstentions: Rated | None = None
    violations: Rated | None = None
    features: tuple[Bucketed, str] | None = None
    outputs: tuple[Bucketed, str] | None = None
    missing_features: Pick | None = None
    missing_outputs: Pick | None = None


_OURS = "modelhandoff_server_"
_ALL = Pick(_OURS + "requests_total")
_MODELHANDOFF = Family(
    kind=ServerKind.MODEL_HANDOFF,
    requests=(_ALL,),
    errors=Rated((Pick(_ALL.name, (Where("code", begins=("5",)),)),), (_ALL,)),
    latency=(
        Bucketed(
            Pick(_OURS + "request_duration_seconds_bucket"),
            count=Pick(_OURS + "request_duration_seconds_count"),
        ),
    ),
    abstentions=Rated((Pick(_OURS + "abstentions_total"),), (Pick(_OURS + "batch_rows_sum"),)),
    violations=Rated((Pick(_OURS + "contract_violations_total"),), (_ALL,)),
    features=(Bucketed(Pick(_OURS + "feature_bucket")), "feature"),
    outputs=(Bucketed(Pick(_OURS + "output_bucket")), "output"),
    missing_features=Pick(_OURS + "feature_missing_total"),
    missing_outputs=Pick(_OURS + "output_missing_total"),
    labels={
        _OURS + "requests_total": ("code",),
        _OURS + "request_duration_seconds_bucket": ("le",),
        _OURS + "request_duration_seconds_count": (),
        _OURS + "abstentions_total": (),
        _OURS + "batch_rows_sum": (),
        _OURS + "contract_violations_total": ("field", "rule"),
        _OURS + "feature_bucket": ("feature", "le"),
        _OURS + "output_bucket": ("le", "output"),
        _OURS + "feature_missing_total": ("feature",),
        _OURS + "output_missing_total": ("output",),
    },
)

_INFER = Where("path", ends=("/infer",))
_REST = Pick("rest_server_requests_total", (_INFER,))
_OPEN_INFERENCE = Family(
    kind=ServerKind.OPEN_INFERENCE,
    requests=(_REST,),
    errors=Rated(
        (Pick(_REST.name, (_INFER, Where("status_code", begins=("5",)))),),
        (_REST,),
    ),
    latency=(
        Bucketed(Pick("rest_server_request_duration_seconds_bucket", (_INFER,))),
        Bucketed(Pick("request_predict_seconds_bucket")),
    ),
    labels={
        "rest_server_requests_total": ("app_name", "method", "path", "status_code"),
        "rest_server_request_duration_seconds_bucket": (
            "app_name", "le", "method", "path", "status_code",
        ),
        "request_predict_seconds_bucket": ("le", "model_name"),
    },
)  # fmt: skip

_SUCCESS = Pick("nv_inference_request_success")
_FAILURE = Pick("nv_inference_request_failure")
_TRITON = Family(
    kind=ServerKind.TRITON,
    requests=(_SUCCESS, _FAILURE),
    errors=Rated((_FAILURE,), (_SUCCESS, _FAILURE)),
    latency=(Bucketed(Pick("nv_inference_first_response_histogram_ms_bucket"), scale=0.001),),
    labels={
        _SUCCESS.name: ("gpu_uuid", "model", "version"),
        _FAILURE.name: ("gpu_uuid", "model", "reason", "version"),
        "nv_inference_first_response_histogram_ms_bucket": ("le", "model", "version"),
    },
)

_ENDPOINTS = Where(
    "handler",
    begins=(
        "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/v1/score",
        "/v1/rerank", "/v1/audio/", "/v1/messages", "/classify", "/pooling",
    ),
)  # fmt: skip
_HTTP = Pick("http_requests_total", (_ENDPOINTS,))
_VLLM = Family(
    kind=ServerKind.VLLM,
    requests=(_HTTP,),
    errors=Rated((Pick(_HTTP.name, (_ENDPOINTS, Where("status", begins=("5",)))),), (_HTTP,)),
    latency=(Bucketed(Pick("vllm:e2e_request_latency_seconds_bucket")),),
    labels={
        "http_requests_total": ("handler", "method", "status"),
        "vllm:e2e_request_latency_seconds_bucket": ("engine", "le", "model_name"),
    },
)

FAMILIES: Final[Mapping[ServerKind, Family]] = {
    one.kind: one for one in (_MODELHANDOFF, _OPEN_INFERENCE, _TRITON, _VLLM)
}
