"""A Prometheus that lies: a proxy in the cluster, a metric source of its own, a switch.

Everybody else keeps the honest one, so that tests of lies run beside all others.
"""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from typing import Any, Literal

from e2e.cluster import images
from e2e.cluster.addons import PROMETHEUS
from e2e.stack import Stack

Raw = dict[str, Any]
Lie = Literal["none", "nan", "two series", "html", "error", "silent"]

_PROXY = r"""
import http.server, json, os, sys, urllib.error, urllib.request

lie = "none"

def nan(answer):
    for series in answer["data"]["result"]:
        series["values"] = [[at, "NaN"] for at, _ in series["values"]]

def two(answer):
    # The same pods under a second address, with other numbers.
    answer["data"]["result"] += [
        {
            "metric": {**series["metric"], "instance": "10.9.9.9:8080"},
            "values": [[at, str(2 * float(value))] for at, value in series["values"]],
        }
        for series in answer["data"]["result"]
    ]

LIES = {"nan": nan, "two series": two}

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 300

    def do_PUT(self):
        global lie
        lie = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.say(200, "text/plain", lie.encode())

    def do_GET(self):
        self.say(200, "text/plain", lie.encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if lie == "silent":
            self.close_connection = True
        elif lie == "html":
            self.say(200, "text/html", b"<html><body>Sign in to continue</body></html>")
        elif lie == "error":
            self.say(500, "text/plain", b"upstream connect error")
        else:
            request = urllib.request.Request(os.environ["UPSTREAM"] + self.path, body)
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    status, text = answer.status, answer.read()
            except urllib.error.HTTPError as error:
                status, text = error.code, error.read()
            except OSError as error:
                status, text = 502, str(error).encode()
            if lie in LIES and status == 200:
                found = json.loads(text)
                LIES[lie](found)
                text = json.dumps(found).encode()
            self.say(status, "application/json", text)

    def say(self, status, kind, text):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass

http.server.ThreadingHTTPServer(("", 9090), Handler).serve_forever()
"""


class LyingPrometheus:
    """A proxy in front of the real one, and the name handoffs choose it by.

    Attributes:
        source: for ``monitoring.source``.
    """

    def __init__(self, stack: Stack, namespace: str) -> None:
        self._stack = stack
        self.source = namespace
        self._where = namespace
        stack.cluster.apply([*_manifests(namespace), _policy(namespace)])
        stack.cluster.kubectl(
            "rollout", "status", "deployment/prometheus", f"--namespace={namespace}",
            "--timeout=60s",
        )  # fmt: skip
        service = stack.cluster.get("service", "prometheus", f"--namespace={namespace}")
        self._url = f"http://{service['spec']['clusterIP']}:9090"
        stack.cluster.wait(self._answers, "the proxy to answer", 30)

    def tell(self, lie: Lie) -> None:
        """From now on."""
        request = urllib.request.Request(self._url, lie.encode(), method="PUT")
        with urllib.request.urlopen(request, timeout=5) as answer:
            assert answer.read().decode() == lie

    def close(self) -> None:
        """Forget the metric source."""
        self._stack.cluster.kubectl("delete", "handoffpolicy", self.source)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self._url, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def _policy(name: str) -> Raw:
    url = f"http://prometheus.{name}.svc.cluster.local:9090"
    return {
        "apiVersion": "modelhandoff.dev/v1alpha1",
        "kind": "HandoffPolicy",
        "metadata": {"name": name},
        "spec": {"metricSources": [{"name": name, "url": url}], "allowHttp": True},
    }


def _manifests(namespace: str) -> list[Raw]:
    labels = {"app": "prometheus"}
    container = {
        "name": "proxy",
        "image": images.image_ref("serve"),
        "command": ["python", "-c", _PROXY],
        "env": [{"name": "UPSTREAM", "value": PROMETHEUS}],
        "ports": [{"containerPort": 9090}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 9090}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "prometheus", "namespace": namespace},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "automountServiceAccountToken": False,
                        "terminationGracePeriodSeconds": 1,
                        "containers": [container],
                    },
                },
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "prometheus", "namespace": namespace},
            "spec": {"selector": labels, "ports": [{"port": 9090}]},
        },
    ]


def counter(stack: Stack, selector: str, at: float, window: float) -> list[tuple[float, float]]:
    """Raw samples of one counter from the honest Prometheus, oldest first.

    Args:
        stack: whose Prometheus.
        selector: PromQL selector of exactly one series per process.
        at: Unix seconds up to which samples are read.
        window: seconds before ``at``.
    """
    query = urllib.parse.urlencode({"query": f"{selector}[{window:.0f}s]", "time": f"{at:.3f}"})
    with urllib.request.urlopen(f"{stack.prometheus}/api/v1/query?{query}", timeout=10) as answer:
        result = json.load(answer)["data"]["result"]
    assert len(result) == 1, f"one process expected: {result}"
    return [(float(when), float(value)) for when, value in result[0]["values"]]
