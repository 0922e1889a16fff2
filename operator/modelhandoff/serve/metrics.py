"""Every number the server publishes, and the promise that no series is ever born late.

A counter that first appears with the first error has no earlier value to be differenced from,
so every label value that can occur is created at start with 0. Probes and ``/metrics`` itself
are never counted: a canary under no traffic must look like one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from modelhandoff.serve.histograms import BinnedCounts, BinnedFamily
from modelhandoff.serve.reference import Reference
from modelhandoff.serve.refusals import Rule

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
CODES: Final = (200, 400, 404, 405, 413, 429, 500, 503)
DEFAULT_LATENCY_EDGES: Final = (
    0.001, 0.002, 0.003, 0.005, 0.0075, 0.010, 0.015, 0.020, 0.030, 0.050, 0.075,
    0.100, 0.150, 0.200, 0.300, 0.500, 0.750, 1.0, 2.0, 5.0, 10.0,
)  # fmt: skip


def latency_edges(base: Iterable[float], budgets: Iterable[float]) -> tuple[float, ...]:
    """Bucket borders in seconds: the base ones plus every budget, sorted, without repeats.

    A latency budget that is no border could only be judged through its neighbours.
    """
    return tuple(sorted({*base, *budgets}))


class ServerMetrics:
    """The server's metric families in a registry of their own.

    Args:
        model_name: served model, for the info series.
        model_version: served version, for the info series.
        edges: borders of the request duration histogram, in seconds.
    """

    def __init__(self, model_name: str, model_version: str, edges: tuple[float, ...]) -> None:
        # `_created` series double the scrape and carry nothing that process start does not.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        info = Gauge(
            "modelhandoff_server_model_info",
            "Always 1; which model and version this process serves.",
            ["model_name", "model_version"],
            registry=self.registry,
        )
        info.labels(model_name, model_version).set(1)
        self._requests = Counter(
            "modelhandoff_server_requests",
            "Requests answered, by HTTP status; probes, metadata and /metrics are not counted.",
            ["code"],
            registry=self.registry,
        )
        for code in CODES:
            self._requests.labels(str(code))
        self._duration = Histogram(
            "modelhandoff_server_request_duration_seconds",
            "From the request's headers to its finished answer, every counted request.",
            buckets=edges,
            registry=self.registry,
        )
        self._violations = Counter(
            "modelhandoff_server_contract_violations",
            "Values that broke the data contract, by field and rule.",
            ["field", "rule"],
            registry=self.registry,
        )
        self._violations.labels("unknown", Rule.UNKNOWN.value)
        self._abstentions = Counter(
            "modelhandoff_server_abstentions",
            "Rows on which the model's confidence was below the agreed level.",
            registry=self.registry,
        )
        self._batch = Histogram(
            "modelhandoff_server_batch_rows",
            "Rows per call of the model.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=self.registry,
        )
        self._feature_family = BinnedFamily(
            "modelhandoff_server_feature",
            "Values of a model input, in the bins of the reference file.",
            "feature",
            self.registry,
        )
        self._output_family = BinnedFamily(
            "modelhandoff_server_output",
            "Values of a model output, in the bins of the reference file.",
            "output",
            self.registry,
        )
        self._features: dict[str, BinnedCounts] = {}
        self._features_missing: dict[str, Counter] = {}
        self._outputs: dict[str, BinnedCounts] = {}
        self._outputs_missing: dict[str, Counter] = {}

    def add_inputs(self, names: Iterable[str]) -> None:
        """Create the violation series of the model's input tensors."""
        for name in names:
            for rule in (Rule.SHAPE, Rule.TYPE, Rule.MISSING, Rule.RANGE):
                self._violations.labels(name, rule.value)

    def add_reference(self, reference: Reference) -> None:
        """Create histograms with the reference's edges, all at 0."""
        missing = Counter(
            "modelhandoff_server_feature_missing",
            "Rows without a value for the feature.",
            ["feature"],
            registry=self.registry,
        )
        for feature in reference.features:
            self._features[feature.name] = self._feature_family.add(feature.name, feature.edges)
            self._features_missing[feature.name] = missing.labels(feature.name)
            rules = {Rule.TYPE, Rule.MISSING, Rule.RANGE}
            if feature.categories is not None:
                rules.add(Rule.CATEGORY)
            for rule in sorted(rules):
                self._violations.labels(feature.name, rule.value)
        missing = Counter(
            "modelhandoff_server_output_missing",
            "Rows on which the model's output was not a finite number.",
            ["output"],
            registry=self.registry,
        )
        for output in reference.outputs:
            self._outputs[output.name] = self._output_family.add(output.name, output.edges)
            self._outputs_missing[output.name] = missing.labels(output.name)

    def answered(self, code: int, seconds: float) -> None:
        """Count one answered request."""
        self._requests.labels(str(code)).inc()
        self._duration.observe(seconds)

    def violated(self, field: str, rule: Rule, times: int = 1) -> None:
        """Count contract violations of one field."""
        self._violations.labels(field, rule.value).inc(times)

    def feature(self, name: str, value: float) -> None:
        """Count one feature value; NaN counts as missing and enters no bin."""
        if math.isfinite(value):
            self._features[name].observe(value)
        else:
            self._features_missing[name].inc()

    def output(self, name: str, value: float) -> None:
        """Count one output value; a value that is not finite enters no bin."""
        if math.isfinite(value):
            self._outputs[name].observe(value)
        else:
            self._outputs_missing[name].inc()

    def abstained(self, rows: int) -> None:
        """Count rows the model abstained on."""
        self._abstentions.inc(rows)

    def ran(self, rows: int) -> None:
        """Count one call of the model."""
        self._batch.observe(rows)

    def exposition(self) -> bytes:
        """All series in the Prometheus text format 0.0.4."""
        return generate_latest(self.registry)
