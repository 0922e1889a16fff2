"""Handoffs that component tests start from: two steps, two metrics, short enough to watch."""

from __future__ import annotations

from typing import Any

from tests.builders import handoff

V1, V2, V3 = "1.0.0", "2.0.0", "3.0.0"


def version(number: str = V1, name: str = "fraud", **overrides: Any) -> dict[str, Any]:
    """The handoff of one model version; everything else the same."""
    digest = "sha256:" + number.replace(".", "")[0] * 64
    return handoff(
        name,
        **{
            "candidate": {
                "model": {"version": number},
                "artifacts": [
                    {
                        "role": "Model",
                        "uri": f"https://models.example/{number}/model.onnx",
                        "digest": digest,
                    }
                ],
            },
            "rollout": {
                "steps": [
                    {"weight": 10, "minDuration": "2m"},
                    {"weight": 50, "minDuration": "2m"},
                ],
                "decision": {"minLooks": 4},
                "warmup": {"requests": 10, "discard": "30s"},
                "scaleDownDelay": "10m",
            },
            "monitoring": {
                "interval": "30s",
                "metrics": [
                    {"name": "errors", "type": "ErrorRate", "max": 0.05},
                    {"name": "latency", "type": "Latency", "quantile": 0.9, "budget": "30ms"},
                ],
            },
            **overrides,
        },
    )


def quick(number: str = V1, name: str = "fraud") -> dict[str, Any]:
    """As :func:`version`, on its way in a few looks: for stories that are told a hundred times."""
    made = version(number, name)
    rollout, monitoring = made["spec"]["rollout"], made["spec"]["monitoring"]
    for step in rollout["steps"]:
        step["minDuration"] = "1m"
    rollout["decision"]["minLooks"] = 3
    if number == V1:
        rollout["warmup"]["requests"] = 0
    monitoring["metrics"] = [m for m in monitoring["metrics"] if m["type"] == "ErrorRate"]
    return made
