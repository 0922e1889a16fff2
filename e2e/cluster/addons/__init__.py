"""What a bare cluster lacks: names, a gateway, a metrics store, GPUs.

install(cluster, progress=p, gpus={"Tesla-T4": 2})
gateway_address(cluster)      "10.202.0.17": HTTP, routes of all namespaces
prometheus_url(cluster)       "http://10.202.0.23:9090", from here
PROMETHEUS                    the same from inside the cluster
install_registry(cluster)     "10.202.0.31:5000": an OCI registry over plain http, from here
REGISTRY                      the same from inside the cluster
set_gpus(cluster, 0)          the GPUs vanish; set_gpus(cluster, 2, broken=1): one is sick
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, get_args

import yaml

from e2e.cluster import images
from e2e.cluster.addons import gateway
from e2e.cluster.addons.manifests import render
from e2e.cluster.addons.prometheus import OPT_IN, configuration
from e2e.cluster.cluster import GPU, GPU_PRODUCT, Cluster
from e2e.cluster.errors import ClusterError
from e2e.cluster.external import ExternalCluster
from e2e.cluster.images.keys import key
from e2e.cluster.progress import SILENT, Progress

__all__ = [
    "GATEWAY",
    "OPT_IN",
    "PROMETHEUS",
    "REGISTRY",
    "Part",
    "gateway_address",
    "install",
    "install_registry",
    "prometheus_url",
    "set_gpus",
]

Part = Literal["dns", "prometheus", "gateway"]
PARTS: tuple[Part, ...] = get_args(Part)
GATEWAY = ("gateway-system", "public")
"""Namespace and name of the Gateway that routes attach to."""
REGISTRY = "registry.registry.svc.cluster.local:5000"
PROMETHEUS = "http://prometheus.monitoring.svc.cluster.local:9090"


def install(
    cluster: Cluster | ExternalCluster,
    *,
    progress: Progress = SILENT,
    parts: Collection[Part] = PARTS,
    gpus: Mapping[str, int] | None = None,
    scrape_interval: str = "2s",
) -> None:
    """Install add-ons side by side and wait until all of them work; repeating it repairs.

    Images that were built (`images.build_all`) and that the cluster lacks are imported first.

    Args:
        cluster: a running one.
        progress: told about phases.
        parts: which add-ons.
        gpus: product -> number, one product: the node gets a device plugin. None installs none.
            Never together with `Cluster.start(gpus=...)`, which writes the node's status by hand:
            pods admitted under the one fail under the other when the kubelet restarts.
        scrape_interval: how often Prometheus looks, as a Prometheus duration.

    Raises:
        ClusterError: a part did not become ready; the message says which and what it says.
    """
    if isinstance(cluster, Cluster):
        with progress.phase("Import new images"):
            images.load(cluster)
    with progress.phase("Install add-ons"), ThreadPoolExecutor(4) as pool:
        pending = []
        if "dns" in parts:
            pending.append(pool.submit(_install_dns, cluster, progress))
        if "gateway" in parts:
            pending.append(pool.submit(_install_gateway, cluster, progress))
        if "prometheus" in parts:
            pending.append(pool.submit(_install_prometheus, cluster, scrape_interval, progress))
        if gpus:
            pending.append(pool.submit(_install_gpus, cluster, gpus, progress))
        for future in pending:
            future.result()


def gateway_address(cluster: Cluster | ExternalCluster) -> str:
    """Where the Gateway speaks HTTP, as the caller reaches it: an address, or address:port."""
    namespace, name = GATEWAY
    if isinstance(cluster, ExternalCluster):
        selector = f"--selector=gateway.envoyproxy.io/owning-gateway-name={name}"
        found = cluster.get("services", f"--namespace={gateway.NAMESPACE}", selector)["items"]
        if not found:
            raise ClusterError(f"gateway {namespace}/{name} has no Service yet")
        return cluster.forward(gateway.NAMESPACE, f"service/{found[0]['metadata']['name']}", 80)
    found = cluster.get("gateway", name, f"--namespace={namespace}")
    addresses = found.get("status", {}).get("addresses", [])
    if not addresses:
        raise ClusterError(f"gateway {namespace}/{name} has no address yet")
    return str(addresses[0]["value"])


def prometheus_url(cluster: Cluster | ExternalCluster) -> str:
    """Address of Prometheus as the caller reaches it."""
    if isinstance(cluster, ExternalCluster):
        return f"http://{cluster.forward('monitoring', 'service/prometheus', 9090)}"
    service = cluster.get("service", "prometheus", "--namespace=monitoring")
    return f"http://{service['spec']['clusterIP']}:9090"


def install_registry(cluster: Cluster | ExternalCluster) -> str:
    """An OCI registry, empty at first and for whoever comes; its address as the caller reaches it.

    Not one of the parts: few tests need it.
    """
    cluster.apply(render("registry", image=images.image_ref("registry")))
    _rollout(cluster, "registry", "deployment/registry")
    if isinstance(cluster, ExternalCluster):
        return cluster.forward("registry", "service/registry", 5000)
    service = cluster.get("service", "registry", "--namespace=registry")
    return f"{service['spec']['clusterIP']}:5000"


def set_gpus(
    cluster: Cluster | ExternalCluster, count: int, *, broken: int = 0, timeout: float = 30
) -> None:
    """Change the device plugin's GPUs; returns when the scheduler sees it.

    Args:
        cluster: one with the device plugin.
        count: devices in all.
        broken: how many of them are unhealthy: capacity that cannot be allocated.
        timeout: seconds to wait.

    Raises:
        ClusterError: the plugin refused, or the node did not follow.
    """
    pods = cluster.get("pods", "--namespace=gpu-system", "--selector=app=gpu-plugin")["items"]
    if not pods:
        raise ClusterError("no device plugin; install(cluster, gpus={...}) makes one")
    pod = pods[0]["metadata"]["name"]
    path = f"/api/v1/namespaces/gpu-system/pods/{pod}:8080/proxy/devices"
    wanted = json.dumps({"count": count, "broken": broken})
    cluster.kubectl("replace", f"--raw={path}", "-f", "-", stdin=wanted)
    _wait_gpus(cluster, count, count - broken, timeout)


def _wait_gpus(
    cluster: Cluster | ExternalCluster, capacity: int, allocatable: int, timeout: float
) -> None:
    def follows() -> bool:
        status = cluster.get("node", cluster.node)["status"]
        seen = (status["capacity"].get(GPU, "0"), status["allocatable"].get(GPU, "0"))
        return seen == (str(capacity), str(allocatable))

    cluster.wait(follows, f"{allocatable} of {capacity} GPUs in the node's status", timeout)


def _install_dns(cluster: Cluster | ExternalCluster, progress: Progress) -> None:
    with progress.phase("Add-on: CoreDNS"):
        image = images.image_ref("coredns")
        cluster.apply(render("coredns", image=image, dns_ip=cluster.dns_ip))
        _rollout(cluster, "kube-system", "deployment/coredns")


def _install_prometheus(
    cluster: Cluster | ExternalCluster, interval: str, progress: Progress
) -> None:
    with progress.phase("Add-on: Prometheus"):
        config = yaml.safe_dump(configuration(interval), sort_keys=False)
        cluster.apply(
            render(
                "prometheus",
                image=images.image_ref("prometheus"),
                config=config,
                config_key=key(config),
            )
        )
        _rollout(cluster, "monitoring", "deployment/prometheus")


def _install_gateway(cluster: Cluster | ExternalCluster, progress: Progress) -> None:
    with progress.phase("Add-on: Envoy Gateway"), tempfile.TemporaryDirectory() as folder:
        chart = gateway.prepare_chart(Path(folder), images.image_ref("envoy-gateway"))
        gateway.install_controller(cluster, chart)
    with progress.phase("Add-on: the Gateway"):
        cluster.apply(render("gateway", envoy=images.image_ref("envoy")))
        namespace, name = GATEWAY
        cluster.kubectl(
            *("wait", f"--namespace={namespace}", f"gateway/{name}"),
            *("--for=condition=Programmed", "--timeout=120s"),
            timeout=130,
        )


def _install_gpus(
    cluster: Cluster | ExternalCluster, gpus: Mapping[str, int], progress: Progress
) -> None:
    if len(gpus) > 1:
        raise ClusterError(f"gpus: one product on a node; got {', '.join(gpus)}")
    ((product, count),) = gpus.items()
    with progress.phase(f"Add-on: {count} x {product} by device plugin"):
        _refuse_patched(cluster)
        cluster.kubectl("label", "--overwrite", "node", cluster.node, f"{GPU_PRODUCT}={product}")
        cluster.apply(render("gpuplugin", image=images.image_ref("gpu-plugin"), count=str(count)))
        _rollout(cluster, "gpu-system", "daemonset/gpu-plugin")
        _wait_gpus(cluster, count, count, 60)


def _refuse_patched(cluster: Cluster | ExternalCluster) -> None:
    capacity = cluster.get("node", cluster.node)["status"]["capacity"].get(GPU, "0")
    plugins = cluster.get("daemonsets", "--all-namespaces", "--selector=app=gpu-plugin")["items"]
    if capacity != "0" and not plugins:
        raise ClusterError(
            f"node {cluster.node}: already has {capacity} {GPU} by hand; start it without gpus=..."
        )


def _rollout(cluster: Cluster | ExternalCluster, namespace: str, workload: str) -> None:
    cluster.kubectl(
        *("rollout", "status", f"--namespace={namespace}", workload, "--timeout=120s"), timeout=130
    )
