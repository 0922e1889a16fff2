"""Builders of legal objects for tests: change what the test is about, keep the rest."""

from __future__ import annotations

import copy
from typing import Any

DIGEST = "sha256:" + "ab" * 32
IMAGE = f"registry.example/serve@{DIGEST}"


def spec(**overrides: Any) -> dict[str, Any]:
    """The spec of the smallest legal handoff. ``overrides`` as in :func:`handoff`."""
    base = {
        "candidate": {
            "model": {"name": "fraud-classifier", "version": "1.4.0"},
            "artifacts": [
                {"role": "Model", "uri": "https://models.example/model.onnx", "digest": DIGEST}
            ],
            "provenance": {
                "git": {
                    "repo": "https://git.example/fraud",
                    "commit": "9fceb02d0ae598e95dc970b74767f19372d61af8",
                },
                "seed": 42,
                "environment": {"lockfile": "requirements.lock"},
            },
            "serving": {"image": IMAGE, "gpu": {"count": 1}},
        },
        "contracts": {"api": {"path": "/v2/models/fraud/infer", "latency": {"p95": "30ms"}}},
        "rollout": {
            "route": {"gateway": {"name": "public"}, "hostnames": ["fraud.example"]},
            "steps": [
                {"weight": 10, "minDuration": "1h"},
                {"weight": 50, "minDuration": "1h"},
            ],
        },
        "monitoring": {
            "metrics": [
                {"name": "errors", "type": "ErrorRate", "max": 0.01},
                {"name": "latency", "type": "Latency", "quantile": 0.95, "budget": "30ms"},
                {"name": "scores", "type": "Drift", "of": "Output", "maxKL": 0.2},
            ]
        },
        "runbook": {
            "url": "https://runbooks.example/fraud",
            "owners": {"team": "risk-ml", "escalation": ["#risk-oncall"]},
        },
    }
    return _merged(base, overrides)


def handoff(name: str = "fraud", namespace: str = "payments", **overrides: Any) -> dict[str, Any]:
    """The smallest legal ModelHandoff.

    Keyword arguments are merged into the spec, objects field by field, everything else as a
    whole: ``handoff(candidate={"model": {"version": "2.0.0"}}, suspend=True)``. ``...`` as a
    value removes the field.
    """
    return {
        "apiVersion": "modelhandoff.dev/v1alpha1",
        "kind": "ModelHandoff",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec(**overrides),
    }


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = copy.deepcopy(base)
    for key, value in changes.items():
        if value is ...:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merged(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged
