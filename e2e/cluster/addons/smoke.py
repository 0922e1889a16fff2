"""Does a running cluster's stack work? `python -m e2e.cluster.addons.smoke NAME`.

Two versions of a tiny server behind one weighted route, seen by a client and by Prometheus; and
pods that want one GPU more than there is.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import json
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

from e2e.cluster import addons, images
from e2e.cluster.cluster import GPU, Cluster
from e2e.cluster.errors import ClusterError
from e2e.cluster.progress import Progress

NAMESPACE = "smoke"
HOST = "smoke.test"
_SERVER = r"""
import http.server, os
NAME, count = os.environ["NAME"], 0
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    def do_GET(self):
        global count
        text = NAME
        if self.path == "/metrics":
            text = f"# TYPE smoke_requests_total counter\nsmoke_requests_total {count}\n"
        elif self.path == "/":
            count += 1
        head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
        self.wfile.write(f"{head}Content-Length: {len(text)}\r\n\r\n{text}".encode())
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""


def server(name: str, image: str) -> list[dict[str, Any]]:
    """Deployment and Service of one version; its labels are those of somebody else's workload."""
    labels = {"app": name, addons.OPT_IN: "true"}
    container = {
        "name": "server",
        "image": image,
        "command": ["python", "-c", _SERVER],
        "env": [{"name": "NAME", "value": name}],
        # The second port is closed: Prometheus must make one target of the pod all the same.
        "ports": [{"name": "http", "containerPort": 8000}, {"name": "idle", "containerPort": 8001}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1},
    }
    annotations = {"prometheus.io/scrape": "true", "prometheus.io/port": "8000"}
    template = {
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"selector": {"matchLabels": {"app": name}}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http"}]},
        },
    ]


def route(weights: dict[str, int]) -> dict[str, Any]:
    """An HTTPRoute from the public Gateway to Services by weight."""
    namespace, name = addons.GATEWAY
    backends = [{"name": n, "port": 80, "weight": w} for n, w in weights.items()]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "smoke", "namespace": NAMESPACE},
        "spec": {
            "parentRefs": [{"namespace": namespace, "name": name}],
            "hostnames": [HOST],
            "rules": [{"backendRefs": backends}],
        },
    }


def gpu_pod(name: str, image: str) -> dict[str, Any]:
    """A pod that holds one GPU."""
    container = {
        "name": "hold",
        "image": image,
        "command": ["python", "-c", "import signal; signal.pause()"],
        "resources": {"limits": {GPU: "1"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": "gpu"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }


def ask(address: str, count: int) -> collections.Counter[str]:
    """`count` requests over one connection; how often each text came (`status N` when not 200)."""
    seen: collections.Counter[str] = collections.Counter()
    connection = http.client.HTTPConnection(address, 80, timeout=5)
    with contextlib.closing(connection):
        for _ in range(count):
            connection.request("GET", "/", headers={"Host": HOST})
            answer = connection.getresponse()
            text = answer.read().decode()
            seen[text if answer.status == 200 else f"status {answer.status}"] += 1
    return seen


def query(url: str, expression: str) -> list[dict[str, Any]]:
    """An instant query; its result."""
    address = f"{url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    with urllib.request.urlopen(address, timeout=5) as answer:
        result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return result


@contextlib.contextmanager
def namespace(cluster: Cluster) -> Iterator[None]:
    """The test's namespace, removed at the end."""
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
    )
    try:
        yield
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def check_traffic(cluster: Cluster, say: Callable[[str], None]) -> None:
    """The route splits by weight, and Prometheus counts the same."""
    image = images.image_ref("serve")
    begun = time.monotonic()
    cluster.apply([*server("v1", image), *server("v2", image), route({"v1": 90, "v2": 10})])
    for name in ("v1", "v2"):
        cluster.kubectl("rollout", "status", f"--namespace={NAMESPACE}", f"deployment/{name}")
    say(f"two servers available after {time.monotonic() - begun:.1f} s")
    address = addons.gateway_address(cluster)
    cluster.wait(lambda: set(ask(address, 40)) == {"v1", "v2"}, "both versions to answer", 30)

    url = addons.prometheus_url(cluster)
    total = f'smoke_requests_total{{namespace="{NAMESPACE}"}}'
    before = settled(cluster, url, total)
    begun = time.monotonic()
    seen = ask(address, 2000)
    took = time.monotonic() - begun
    say(f"90/10 over 2000 requests: {dict(seen)}, {2000 / took:.0f} requests/s, one connection")
    if not (set(seen) == {"v1", "v2"} and 140 <= seen["v2"] <= 260):
        raise ClusterError(f"route: weights 90/10 gave {dict(seen)}")

    def counted() -> bool:
        now = settled(cluster, url, total)
        return {a: now[a] - before.get(a, 0) for a in now} == dict(seen)

    cluster.wait(counted, "Prometheus to count the same requests", 20)
    say("Prometheus counted the same")
    targets = {r["metric"]["namespace"] for r in query(url, "up")}
    if targets != {NAMESPACE}:
        raise ClusterError(f"Prometheus scrapes pods that did not ask for it: {targets}")
    if len(query(url, f'up{{namespace="{NAMESPACE}"}} == 1')) != 2:
        raise ClusterError("Prometheus: not one healthy target per pod")

    begun = time.monotonic()
    cluster.apply(route({"v1": 0, "v2": 100}))
    cluster.wait(lambda: set(ask(address, 20)) == {"v2"}, "all traffic on v2", 10)
    say(f"0/100 in effect {time.monotonic() - begun:.2f} s after kubectl apply began")


def settled(cluster: Cluster, url: str, expression: str) -> dict[str, float]:
    """Counters by app, once Prometheus has them for both."""

    def found() -> dict[str, float] | None:
        result = query(url, expression)
        values = {r["metric"]["app"]: float(r["value"][1]) for r in result}
        return values if set(values) == {"v1", "v2"} else None

    values: dict[str, float] = cluster.wait(found, "the servers' counters in Prometheus", 30)
    return values


def check_gpus(cluster: Cluster, say: Callable[[str], None]) -> None:
    """One pod more than there are GPUs stays pending until another one comes."""
    status = cluster.get("node", cluster.node)["status"]
    count = int(status["allocatable"].get(GPU, "0"))
    image = images.image_ref("serve")
    names = [f"gpu-{i}" for i in range(count + 1)]
    cluster.apply([gpu_pod(name, image) for name in names])
    selector = (f"--namespace={NAMESPACE}", "--selector=app=gpu")

    def phases() -> list[str]:
        return sorted(p["status"]["phase"] for p in cluster.get("pods", *selector)["items"])

    cluster.wait(lambda: phases() == ["Pending"] + ["Running"] * count, f"{count} pods to run", 30)

    def sentence() -> str | None:
        for pod in cluster.get("pods", *selector)["items"]:
            for condition in pod["status"].get("conditions", []):
                if condition["type"] == "PodScheduled" and condition["status"] == "False":
                    return str(condition["message"])
        return None

    say(f"{count} GPUs taken; the scheduler about the next: {cluster.wait(sentence, 'it', 10)}")
    addons.set_gpus(cluster, count + 1)
    cluster.wait(lambda: phases() == ["Running"] * (count + 1), "the last pod to run", 30)
    say("one GPU more: it runs")
    begun = time.monotonic()
    addons.set_gpus(cluster, 0)
    say(f"all GPUs vanished {time.monotonic() - begun:.1f} s after the command; pods: {phases()}")
    addons.set_gpus(cluster, count)


def main(arguments: list[str]) -> int:
    """Check the named cluster; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster.addons.smoke", description=__doc__)
    parser.add_argument("name", help="a running instance")
    given = parser.parse_args(arguments)
    from e2e.cluster import connect

    cluster = connect(given.name)
    if not isinstance(cluster, Cluster):
        print(f"{given.name}: has no node", file=sys.stderr)
        return 1
    progress = Progress()
    try:
        with namespace(cluster):
            with progress.phase("Route and metrics"):
                check_traffic(cluster, progress.note)
            with progress.phase("GPUs"):
                check_gpus(cluster, progress.note)
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
