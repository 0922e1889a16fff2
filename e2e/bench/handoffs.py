"""The handoffs that are measured: three metrics, looks of ten seconds."""

from __future__ import annotations

import hashlib
from typing import Any

Raw = dict[str, Any]

NAMESPACE = "bench"
INTERVAL = 10.0

STAYING: list[Raw] = [
    {"weight": 20, "minDuration": "3h"},
    {"weight": 50, "minDuration": "3h"},
]
"""Steps that outlast every measurement: in progress, nothing moves."""

MOVING: list[Raw] = [
    {"weight": 10, "minDuration": "30s"},
    {"weight": 30, "minDuration": "30s"},
    {"weight": 60, "minDuration": "30s"},
]
"""Steps of a whole run to promotion."""


def name(index: int) -> str:
    """Name of the n-th handoff."""
    return f"model-{index:03d}"


def handoff(index: int, version: str, steps: list[Raw]) -> Raw:
    """One handoff; another version is another revision."""
    digest = hashlib.sha256(version.encode()).hexdigest()
    image = "registry.example/serve@sha256:" + "ab" * 32
    return {
        "apiVersion": "modelhandoff.dev/v1alpha1",
        "kind": "ModelHandoff",
        "metadata": {"name": name(index), "namespace": NAMESPACE},
        "spec": {
            "candidate": {
                "model": {"name": "fraud-classifier", "version": version},
                "artifacts": [
                    {
                        "role": "Model",
                        "uri": f"https://models.example/{version}/model.onnx",
                        "digest": f"sha256:{digest}",
                    }
                ],
                "provenance": {
                    "git": {"repo": "https://git.example/fraud", "commit": digest[:40]},
                    "seed": 42,
                    "environment": {"lockfile": "requirements.lock"},
                },
                "serving": {"image": image, "gpu": {"count": 1}},
            },
            "contracts": {"api": {"path": "/v2/models/fraud/infer", "latency": {"p95": "30ms"}}},
            "rollout": {
                "route": {
                    "gateway": {"name": "public"},
                    "hostnames": [f"{name(index)}.example"],
                },
                "steps": steps,
                "warmup": {"requests": 10, "discard": "10s"},
                "decision": {"minLooks": 8},
                "scaleDownDelay": "15s",
            },
            "monitoring": {
                "interval": f"{INTERVAL:.0f}s",
                "metrics": [
                    {"name": "errors", "type": "ErrorRate", "max": 0.01},
                    {"name": "latency", "type": "Latency", "quantile": 0.95, "budget": "30ms"},
                    {"name": "scores", "type": "Drift", "of": "Output", "maxKL": 0.2},
                ],
            },
            "runbook": {
                "url": "https://runbooks.example/fraud",
                "owners": {"team": "risk-ml", "escalation": ["#risk-oncall"]},
            },
        },
    }
