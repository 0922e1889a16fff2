"""What Prometheus scrapes: pods that ask for it and that belong to us. Pure."""

from __future__ import annotations

from typing import Any

OPT_IN = "modelhandoff.dev/scrape"
"""Label for pods that carry none of the project's labels, such as an adopted Deployment's."""

_POD = "__meta_kubernetes_pod"
_LABELS = ("modelhandoff_dev_handoff", "app_kubernetes_io_part_of", "modelhandoff_dev_scrape")


def configuration(scrape_interval: str = "2s") -> dict[str, Any]:
    """Prometheus's configuration.

    A pod is scraped when its annotation `prometheus.io/scrape` is `true` and it has the label
    `modelhandoff.dev/handoff`, `app.kubernetes.io/part-of: modelhandoff`, or `OPT_IN: "true"`:
    the gateway's own pods carry the same annotation and thousands of series nobody asked for.

    Args:
        scrape_interval: a Prometheus duration; also the timeout of one scrape.
    """
    return {
        "global": {"scrape_interval": scrape_interval, "scrape_timeout": scrape_interval},
        "scrape_configs": [
            {
                "job_name": "pods",
                "kubernetes_sd_configs": [{"role": "pod"}],
                "relabel_configs": relabeling(),
            }
        ],
    }


def relabeling() -> list[dict[str, Any]]:
    """From what discovery knows of a pod to the labels of its target."""
    return [
        {
            "source_labels": [f"{_POD}_annotation_prometheus_io_scrape"],
            "regex": "true",
            "action": "keep",
        },
        {
            "source_labels": [f"{_POD}_label_{label}" for label in _LABELS],
            "regex": "[^;]+;.*|.*;modelhandoff;.*|.*;true",
            "action": "keep",
        },
        {"source_labels": [f"{_POD}_phase"], "regex": "Running", "action": "keep"},
        # Until here every declared port of a pod is a target; with one address they become one.
        {
            "source_labels": [f"{_POD}_ip", f"{_POD}_annotation_prometheus_io_port"],
            "regex": r"(.+);(\d+)",
            "replacement": "$1:$2",
            "target_label": "__address__",
        },
        {
            "source_labels": [f"{_POD}_annotation_prometheus_io_path"],
            "regex": "(.+)",
            "target_label": "__metrics_path__",
        },
        # Before the fixed ones: a pod label called `namespace` must not move a pod.
        {"regex": f"{_POD}_label_(.+)", "action": "labelmap"},
        {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        {"source_labels": [f"{_POD}_name"], "target_label": "pod"},
        {"source_labels": [f"{_POD}_node_name"], "target_label": "node"},
    ]
