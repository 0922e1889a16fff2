"""The product on a real cluster: gateway, Prometheus, GPUs, artifacts over HTTP, the operator.

One object for the demo, the end-to-end tests and the benchmarks. Everything here is what a
platform team would do by hand with Helm and kubectl; nothing reaches into the operator.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import kubernetes
import onnx
import yaml

from e2e.cluster import Cluster, connect, images
from e2e.cluster.addons import (
    GATEWAY,
    PARTS,
    PROMETHEUS,
    gateway_address,
    install,
    prometheus_url,
)
from e2e.cluster.build import binaries
from e2e.cluster.coldstart import make_ready
from e2e.cluster.errors import ClusterError
from e2e.cluster.external import ExternalCluster
from e2e.cluster.progress import SILENT, Progress
from e2e.traffic import Plan, Traffic, read_bodies

ROOT = Path(__file__).parents[1]
CHART = ROOT / "charts" / "modelhandoff"
SYSTEM = "modelhandoff-system"
ARTIFACTS = "artifacts"
"""Namespace and Service of the web server that holds the models."""
HOST = "fraud.example"

Raw = dict[str, Any]


class Stack:
    """A cluster with everything on it.

    Attributes:
        cluster: the cluster.
        models: folder with the trained versions, served to the pods over HTTP.
        gateway: address, and port where it is not 80, that clients send to.
        prometheus: address of Prometheus, from here.
    """

    def __init__(self, cluster: Cluster | ExternalCluster, models: Path) -> None:
        self.cluster = cluster
        self.models = models
        self.gateway = gateway_address(cluster)
        self.prometheus = prometheus_url(cluster)
        self._namespaces: list[str] = []
        # A kubectl per look would cost a third of a core; this is one kept-alive connection.
        self._api = kubernetes.client.CustomObjectsApi(
            kubernetes.config.new_client_from_config(str(cluster.kubeconfig))
        )

    @classmethod
    def start(
        cls,
        name: str,
        *,
        gpus: int = 2,
        scrape: str = "1s",
        attached: bool = True,
        progress: Progress = SILENT,
        values: Mapping[str, Any] | None = None,
    ) -> Stack:
        """Build what is missing, start the cluster, install everything, wait until it works.

        With ``KUBECONFIG`` set that cluster is used instead, if it looks like a test cluster.
        """
        archives = make_ready(progress)
        cluster: Cluster | ExternalCluster
        if os.environ.get("KUBECONFIG"):
            found = connect()
            if not isinstance(found, ExternalCluster):
                raise ClusterError("KUBECONFIG: names no cluster with nodes")
            cluster = found
            with progress.phase("Load the images into the cluster"):
                cluster.import_images(archives)
        else:
            cluster = Cluster.start(
                name, images=archives, attached=attached, audit="all", progress=progress
            )
        try:
            with ThreadPoolExecutor(1) as pool:
                trained = pool.submit(train, progress)
                install(
                    cluster,
                    progress=progress,
                    parts=PARTS if isinstance(cluster, Cluster) else ("prometheus", "gateway"),
                    gpus={"Tesla-T4": gpus},
                    scrape_interval=scrape,
                )
                models = trained.result()
            stack = cls(cluster, models)
            with progress.phase("Serve the models over HTTP"):
                stack.serve_artifacts()
            with progress.phase("Install the operator with Helm"):
                stack.install_operator(values)
        except BaseException:
            cluster.stop()
            raise
        return stack

    def down(self) -> None:
        """End it; nothing stays. In a cluster of somebody else's add-ons and CRDs stay."""
        if isinstance(self.cluster, ExternalCluster):
            try:
                self._leave()
            except ClusterError as error:
                print(f"clean up by hand: {error}", file=sys.stderr)
        self.cluster.stop()

    def _leave(self) -> None:
        # Handoffs first: without the operator nobody would take their finalizers away.
        made = [*self._namespaces, ARTIFACTS]
        self.cluster.kubectl(
            "delete", "namespace", *made, "--ignore-not-found", "--timeout=120s", timeout=130
        )
        self.cluster.kubectl("delete", "handoffpolicy", "default", "--ignore-not-found")
        self.helm("uninstall", "modelhandoff", "--namespace", SYSTEM, "--wait", "--timeout=120s")
        self.cluster.kubectl(
            "delete", "namespace", SYSTEM, "--ignore-not-found", "--timeout=120s", timeout=130
        )

    # What a platform team does

    def install_operator(self, values: Mapping[str, Any] | None = None) -> None:
        """``helm upgrade --install`` of the chart with images of this checkout."""
        chosen = merged(
            {
                "image": reference(images.image_ref("operator")),
                "fetchImage": images.image_ref("serve"),
                "verifyImage": images.image_ref("verify"),
                "scrapeInterval": "1s",
            },
            values or {},
        )
        folder = ROOT / ".work"
        folder.mkdir(exist_ok=True)
        file = folder / f"values-{self.cluster.name}.yaml"
        file.write_text(yaml.safe_dump(chosen))
        self.helm(
            "upgrade", "--install", "modelhandoff", str(CHART), "--namespace", SYSTEM,
            "--create-namespace", "--values", str(file), "--wait", "--timeout", "180s",
        )  # fmt: skip
        self.cluster.apply([policy()])

    def helm(self, *arguments: str) -> str:
        """Run the real Helm; its output."""
        done = subprocess.run(
            [str(binaries("stack").helm), *arguments],
            env={"KUBECONFIG": str(self.cluster.kubeconfig), "HOME": str(ROOT / ".work")},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ClusterError(f"helm {arguments[0]}: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def serve_artifacts(self) -> None:
        """A web server in the cluster that holds the model files."""
        self.cluster.apply(artifact_server(self.models, images.image_ref("serve")))
        self.cluster.kubectl(
            "rollout", "status", "deployment/web", f"--namespace={ARTIFACTS}", "--timeout=120s"
        )

    # What a data scientist does

    def namespace(self, name: str) -> str:
        """A namespace that enforces Pod Security *restricted*."""
        self._namespaces.append(name)
        self.cluster.apply(
            [
                {
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "metadata": {
                        "name": name,
                        "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
                    },
                }
            ]
        )
        return name

    def handoff(self, version: str, namespace: str, **changes: Any) -> Raw:
        """The example's handoff for one trained version (``v1`` ...), with changed fields."""
        sys.path.insert(0, str(ROOT / "examples" / "fraud"))
        try:
            from render import render
        finally:
            sys.path.pop(0)
        text = render(
            self.models,
            version,
            uri=f"http://web.{ARTIFACTS}.svc.cluster.local/{version}",
            image=images.image_ref("serve"),
            namespace=namespace,
            repo="https://git.example/fraud",
        )
        document: Raw = yaml.safe_load(text)
        return {**document, "spec": merged(merged(document["spec"], QUICK), changes)}

    def apply(self, document: Raw) -> None:
        """``kubectl apply --server-side``."""
        self.cluster.apply([document])

    def get(self, namespace: str, name: str = "fraud", kind: str = "modelhandoffs") -> Raw:
        """One of our objects as stored."""
        found: Raw = self._api.get_namespaced_custom_object(
            "modelhandoff.dev", "v1alpha1", namespace, kind, name, _request_timeout=10
        )
        return found

    def wait(
        self,
        namespace: str,
        wanted: Callable[[Raw], bool],
        *,
        what: str,
        name: str = "fraud",
        timeout: float = 180,
        seen: Callable[[Raw], None] | None = None,
    ) -> Raw:
        """Watch one handoff until ``wanted`` holds of its status.

        Raises:
            ClusterError: it did not within ``timeout`` seconds; the message has the last status.
        """
        deadline = time.monotonic() + timeout
        status: Raw = {}
        while time.monotonic() < deadline:
            found = self.get(namespace, name)
            status = found.get("status") or {}
            if seen:
                seen(status)
            if status.get("observedGeneration") == found["metadata"]["generation"] and wanted(
                status
            ):
                return status
            time.sleep(0.25)
        raise ClusterError(
            f"{namespace}/{name} is not {what} after {timeout:.0f} s: {json.dumps(status)[:3000]}"
        )

    def wait_phase(self, namespace: str, *phases: str, **more: Any) -> Raw:
        """Watch until the handoff is in one of these phases."""
        return self.wait(
            namespace, lambda s: s.get("phase") in phases, what=" or ".join(phases), **more
        )

    def traffic(self, host: str = HOST, rate: float = 60, **more: Any) -> Traffic:
        """A client of the gateway; not started yet."""
        return Traffic(
            Plan(
                url=f"http://{self.gateway}",
                host=host,
                rate=rate,
                bodies=read_bodies(self.models / "traffic.jsonl"),
                **more,
            )
        )

    def operator_pods(self) -> list[Raw]:
        """The operator's pods."""
        found = self.cluster.get("pods", f"--namespace={SYSTEM}")
        return list(found["items"])


QUICK: Raw = {
    # Looks of two seconds: the same rules as in production, at the pace of a demo. Little CPU is
    # asked for, because everything shares one small node.
    "candidate": {"serving": {"resources": {"cpu": "100m", "memory": "256Mi"}}},
    "rollout": {
        "route": {"gateway": {"name": GATEWAY[1], "namespace": GATEWAY[0]}},
        "warmup": {"requests": 20, "maxDuration": "5m", "discard": "2s"},
        "steps": [{"weight": 10, "minDuration": "20s"}, {"weight": 50, "minDuration": "20s"}],
        "decision": {"minLooks": 8},
        "scaleDownDelay": "20s",
    },
    "monitoring": {"interval": "2s"},
}


def policy() -> Raw:
    """What the platform allows here: plain HTTP for artifacts, one metric source."""
    return {
        "apiVersion": "modelhandoff.dev/v1alpha1",
        "kind": "HandoffPolicy",
        "metadata": {"name": "default"},
        "spec": {
            "metricSources": [{"name": "default", "url": PROMETHEUS}],
            "allowHttp": True,
        },
    }


def train(progress: Progress = SILENT) -> Path:
    """The example's five models, trained once per checkout."""
    folder = ROOT / ".work" / "models"
    with progress.phase("Train the example models"):
        subprocess.run(
            [sys.executable, str(ROOT / "examples" / "fraud" / "train.py"), "--out", str(folder)],
            check=True,
            capture_output=True,
        )
        rebuild(folder)
    return folder


def rebuild(models: Path) -> None:
    """The first model built again as version 1.0.1, ``rebuilt``: the same graph, other bytes."""
    made = models / "rebuilt"
    shutil.copytree(models / "v1", made, dirs_exist_ok=True)
    graph = onnx.load(made / "model.onnx")
    onnx.helper.set_model_props(graph, {**_properties(graph), "version": "1.0.1"})
    onnx.save(graph, made / "model.onnx")
    index = json.loads((models / "index.json").read_text(encoding="utf-8"))
    entry = copy.deepcopy(index["versions"]["v1"]) | {"version": "1.0.1"}
    digest = hashlib.sha256((made / "model.onnx").read_bytes()).hexdigest()
    entry["files"]["model.onnx"]["digest"] = f"sha256:{digest}"
    index["versions"]["rebuilt"] = entry
    (models / "index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")


def _properties(graph: onnx.ModelProto) -> dict[str, str]:
    return {one.key: one.value for one in graph.metadata_props}


def artifact_server(models: Path, image: str) -> list[Raw]:
    """Python's own web server over the trained models, in a namespace of its own."""
    labels = {"app": "web"}
    versions = sorted(path.name for path in models.iterdir() if path.is_dir())
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ARTIFACTS}},
        *(_files(models / version) for version in versions),
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": ARTIFACTS},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "automountServiceAccountToken": False,
                        "containers": [
                            {
                                "name": "web",
                                "image": image,
                                "command": ["python", "-m", "http.server", "8080"],
                                "workingDir": "/models",
                                "ports": [{"containerPort": 8080}],
                                "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
                                "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}},
                                "volumeMounts": [
                                    {"name": v, "mountPath": f"/models/{v}", "readOnly": True}
                                    for v in versions
                                ],
                            }
                        ],
                        "volumes": [{"name": v, "configMap": {"name": v}} for v in versions],
                    },
                },
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": ARTIFACTS},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    ]


def _files(folder: Path) -> Raw:
    """A version's files as a ConfigMap; they are small."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": folder.name, "namespace": ARTIFACTS},
        "binaryData": {
            file.name: base64.b64encode(file.read_bytes()).decode()
            for file in sorted(folder.iterdir())
        },
    }


def reference(image: str) -> Raw:
    """``repository@sha256:...`` as the chart's values take it."""
    repository, digest = image.split("@")
    return {"repository": repository, "digest": digest}


def merged(base: Raw, changes: Mapping[str, Any]) -> Raw:
    """``base`` with ``changes`` on top, objects field by field, everything else as a whole."""
    found = copy.deepcopy(base)
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(found.get(key), dict):
            found[key] = merged(found[key], value)
        elif value is ...:
            found.pop(key, None)
        else:
            found[key] = copy.deepcopy(value)
    return found
